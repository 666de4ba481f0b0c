//! What is explored by default: clusters of a few nodes, each with what is dangerous in one matter.
//!
//! Owns their bounds, which are as wide as some minutes on two cores allow.

use almadia::{
    ConfState, ConfigBuilder, MemberChange, MembershipChange, MessageKind, NodeId, Transition,
};

use super::preset::{Bounds, DiskKind, Opening, Preset};

fn node(id: u64) -> NodeId {
    NodeId::new(id).unwrap_or_else(|| unreachable!("the ids here are not zero"))
}

/// The protocol of the paper, in which a node asks for votes at once and stands by no leader.
fn bare(builder: ConfigBuilder) -> ConfigBuilder {
    builder.pre_vote(false).check_quorum(false)
}

/// The same; a new commit index travels with entries and heartbeats alone.
fn quiet(builder: ConfigBuilder) -> ConfigBuilder {
    bare(builder).skip_commit_broadcast(true)
}

/// All presets.
#[must_use]
pub fn presets() -> Vec<Preset> {
    vec![
        elections(),
        replication(),
        figure_8(),
        overwrites(),
        membership(),
        reads(),
        leases(),
    ]
}

fn elections() -> Preset {
    Preset {
        configure: bare,
        bounds: Bounds {
            max_term: 2,
            campaigns: 2,
            crashes: 1,
            ..Bounds::default()
        },
        loses: vec![MessageKind::AppendEntriesResponse],
        alike: vec![node(1), node(2), node(3)],
        ..Preset::new(
            "elections",
            "Three nodes with slow disks campaign, and one crashes with any part of its writes.",
            &[DiskKind::Delayed; 3],
        )
    }
}

fn replication() -> Preset {
    let [slow, fast] = [DiskKind::Delayed, DiskKind::Immediate];
    Preset {
        configure: quiet,
        opening: vec![
            Opening::Campaign(node(1)),
            Opening::Settle(vec![node(1), node(2), node(3)]),
        ],
        bounds: Bounds {
            max_term: 2,
            campaigns: 1,
            crashes: 1,
            proposals: 2,
            ..Bounds::default()
        },
        alike: vec![node(2), node(3)],
        ..Preset::new(
            "replication",
            "A leader with a slow disk replicates two entries, a node crashes, and another campaigns.",
            &[slow, fast, fast],
        )
    }
}

fn figure_8() -> Preset {
    let alone = |leader| {
        [
            Opening::Elect(node(leader)),
            Opening::Settle(vec![node(leader)]),
            Opening::LoseMessages,
        ]
    };
    Preset {
        configure: |builder| bare(builder).max_message_bytes(1),
        opening: [alone(1), alone(2)].concat(),
        bounds: Bounds {
            max_term: 4,
            campaigns: 2,
            ..Bounds::default()
        },
        ..Preset::new(
            "figure-8",
            "Two leaders have left an entry each that nobody else has, and two more elections follow.",
            &[DiskKind::Immediate; 3],
        )
    }
}

fn overwrites() -> Preset {
    Preset {
        configure: |builder| bare(builder).max_tail_bytes(0),
        conf_state: ConfState {
            learners: vec![node(4)],
            ..ConfState::of_voters([1, 2, 3].map(node))
        },
        opening: vec![
            Opening::Elect(node(1)),
            Opening::Settle(vec![node(1)]),
            Opening::Deliver {
                from: node(1),
                to: node(4),
            },
            Opening::LoseMessages,
        ],
        bounds: Bounds {
            max_term: 3,
            campaigns: 2,
            crashes: 1,
            ..Bounds::default()
        },
        campaigning: vec![node(1), node(2)],
        crashing: vec![node(4)],
        ..Preset::new(
            "overwrites",
            "A node whose disk answers late has entries overwritten, and overwritten back.",
            &[
                DiskKind::Immediate,
                DiskKind::Immediate,
                DiskKind::Immediate,
                DiskKind::LateWord,
            ],
        )
    }
}

fn membership() -> Preset {
    let replaces_two = MembershipChange {
        transition: Transition::Implicit,
        ..MembershipChange::of([
            MemberChange::Remove(node(2)),
            MemberChange::Remove(node(3)),
            MemberChange::AddVoter(node(4)),
        ])
    };
    Preset {
        configure: quiet,
        conf_state: ConfState::of_voters([1, 2, 3].map(node)),
        opening: vec![
            Opening::Campaign(node(1)),
            Opening::Settle(vec![node(1), node(2), node(3)]),
        ],
        changes: vec![replaces_two],
        bounds: Bounds {
            max_term: 2,
            campaigns: 1,
            changes: 1,
            crashes: 1,
            ..Bounds::default()
        },
        alike: vec![node(2), node(3)],
        ..Preset::new(
            "membership",
            "A leader replaces two of three nodes by a new one, crashes, and others campaign.",
            &[DiskKind::Immediate; 4],
        )
    }
}

fn reads() -> Preset {
    Preset {
        configure: quiet,
        opening: vec![
            Opening::Campaign(node(1)),
            Opening::Settle(vec![node(1), node(2), node(3)]),
        ],
        bounds: Bounds {
            max_term: 2,
            campaigns: 1,
            proposals: 1,
            reads: 1,
            ..Bounds::default()
        },
        alike: vec![node(2), node(3)],
        ..Preset::new(
            "reads",
            "A leader is deposed without knowing it, the next one commits, and both are asked to read.",
            &[DiskKind::Immediate; 3],
        )
    }
}

fn leases() -> Preset {
    Preset {
        configure: |builder| {
            builder
                .lease_reads(true)
                .skip_commit_broadcast(true)
                .heartbeat_interval_ticks(2)
                .election_timeout_ticks(4)
                .max_election_timeout_ticks(5)
                .lease_margin_ticks(2)
        },
        // Whoever was just started may have promised its vote away: that has to pass first.
        opening: vec![
            Opening::Tick(node(2), 4),
            Opening::Tick(node(3), 4),
            Opening::LoseMessages,
            Opening::Tick(node(1), 4),
            Opening::Settle(vec![node(1), node(2), node(3)]),
        ],
        bounds: Bounds {
            max_term: 2,
            ticks: 6,
            transfers: 1,
            in_flight: 2,
            ..Bounds::default()
        },
        alike: vec![node(2), node(3)],
        ..Preset::new(
            "leases",
            "A leader reads by its lease while time passes, and may hand over.",
            &[DiskKind::Immediate; 3],
        )
    }
}
