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
        pre_votes(),
        replication(),
        slow_followers(),
        heartbeats(),
        unpersisted(),
        figure_8(),
        overwrites(),
        lost_overwrites(),
        membership(),
        membership_later(),
        reads(),
        two_reads(),
        reads_restarts(),
        leases(),
        leases_restarts(),
    ]
}

fn elections() -> Preset {
    Preset {
        configure: bare,
        bounds: Bounds {
            max_term: 3,
            campaigns: 3,
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

fn pre_votes() -> Preset {
    Preset {
        configure: |builder| builder.check_quorum(false),
        bounds: Bounds {
            max_term: 2,
            campaigns: 2,
            crashes: 1,
            duplicates: 1,
            ..Bounds::default()
        },
        loses: vec![MessageKind::AppendEntriesResponse],
        alike: vec![node(1), node(2), node(3)],
        ..Preset::new(
            "pre-votes",
            "Three nodes ask whether an election makes sense, and campaign.",
            &[DiskKind::Immediate; 3],
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

fn slow_followers() -> Preset {
    let [slow, fast] = [DiskKind::Delayed, DiskKind::Immediate];
    Preset {
        bounds: Bounds {
            max_term: 2,
            campaigns: 1,
            crashes: 1,
            proposals: 1,
            ..Bounds::default()
        },
        ..Preset {
            name: "slow-followers",
            about: "The same with slow disks of the others, and one entry.",
            machines: Preset::new("", "", &[fast, slow, slow]).machines,
            ..replication()
        }
    }
}

fn heartbeats() -> Preset {
    Preset {
        configure: bare,
        opening: [leads_alone(1), leads_alone(2)].concat(),
        bounds: Bounds {
            max_term: 3,
            campaigns: 1,
            pings: 2,
            duplicates: 1,
            ..Bounds::default()
        },
        ..Preset::new(
            "heartbeats",
            "After two leaders have left an entry each, heartbeats of a third overtake its entries.",
            &[DiskKind::Immediate; 3],
        )
    }
}

fn unpersisted() -> Preset {
    let [slow, fast] = [DiskKind::Delayed, DiskKind::Immediate];
    Preset {
        configure: |builder| quiet(builder).max_apply_unpersisted_entries(2),
        opening: vec![
            Opening::Campaign(node(1)),
            Opening::Settle(vec![node(1), node(2), node(3)]),
        ],
        bounds: Bounds {
            max_term: 2,
            campaigns: 1,
            crashes: 1,
            proposals: 1,
            pings: 1,
            ..Bounds::default()
        },
        campaigning: vec![node(2)],
        crashing: vec![node(1)],
        ..Preset::new(
            "unpersisted",
            "A node applies entries before they are on its slow disk, and crashes.",
            &[slow, fast, fast],
        )
    }
}

/// This node is elected, and nobody hears of its first entry.
fn leads_alone(leader: u64) -> [Opening; 3] {
    [
        Opening::Elect(node(leader)),
        Opening::Settle(vec![node(leader)]),
        Opening::LoseMessages,
    ]
}

fn figure_8() -> Preset {
    Preset {
        configure: |builder| bare(builder).max_message_bytes(1),
        opening: [leads_alone(1), leads_alone(2)].concat(),
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
        // A voter that holds the first leader's entry would keep the second from being elected.
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

fn lost_overwrites() -> Preset {
    let [fast, slow] = [DiskKind::Immediate, DiskKind::Delayed];
    let all = [1, 2, 3, 4, 5].map(node);
    Preset {
        configure: |builder| bare(builder).max_message_bytes(1),
        // Node 1 has led and has two entries more than the others, of which node 2 has the first.
        // Node 3 has led since, and overwrites both; this is not on node 1's disk yet.
        opening: vec![
            Opening::Campaign(node(1)),
            Opening::Settle(all.to_vec()),
            Opening::Propose(node(1), 0),
            Opening::Settle(vec![node(1), node(2)]),
            Opening::LoseMessages,
            Opening::Propose(node(1), 1),
            Opening::Settle(vec![node(1)]),
            Opening::LoseMessages,
            Opening::Elect(node(3)),
            Opening::Settle(vec![node(3)]),
            Opening::Deliver {
                from: node(3),
                to: node(1),
            },
            Opening::LoseMessages,
        ],
        bounds: Bounds {
            max_term: 3,
            campaigns: 1,
            crashes: 1,
            ..Bounds::default()
        },
        campaigning: vec![node(2)],
        crashing: vec![node(1)],
        alike: vec![node(4), node(5)],
        ..Preset::new(
            "lost-overwrites",
            "A crash takes back that entries were overwritten, after a leader was told of it.",
            &[slow, fast, fast, fast, fast],
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
            campaigns: 2,
            changes: 1,
            crashes: 1,
            ..Bounds::default()
        },
        crashing: vec![node(1)],
        alike: vec![node(2), node(3)],
        ..Preset::new(
            "membership",
            "A leader replaces two of three nodes by a new one, crashes, and others campaign.",
            &[DiskKind::Immediate; 4],
        )
    }
}

fn membership_later() -> Preset {
    let replaces_all = MembershipChange {
        transition: Transition::Implicit,
        ..MembershipChange::of([
            MemberChange::Remove(node(1)),
            MemberChange::Remove(node(2)),
            MemberChange::AddVoter(node(3)),
        ])
    };
    Preset {
        configure: bare,
        conf_state: ConfState::of_voters([1, 2].map(node)),
        opening: vec![
            Opening::Campaign(node(1)),
            Opening::Settle(vec![node(1), node(2)]),
        ],
        changes: vec![replaces_all],
        bounds: Bounds {
            max_term: 2,
            campaigns: 2,
            changes: 1,
            crashes: 1,
            ..Bounds::default()
        },
        applies_later: [1, 2, 3].map(node).to_vec(),
        ..Preset::new(
            "membership-later",
            "All nodes are replaced by a new one, and apply late what is committed; any campaigns.",
            &[DiskKind::Immediate; 3],
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

fn two_reads() -> Preset {
    Preset {
        bounds: Bounds {
            proposals: 0,
            reads: 2,
            ..reads().bounds
        },
        campaigning: vec![node(2)],
        reading: vec![node(1), node(2)],
        alike: Vec::new(),
        ..Preset {
            name: "two-reads",
            about: "The old leader and the new one are asked to read twice.",
            ..reads()
        }
    }
}

fn reads_restarts() -> Preset {
    Preset {
        bounds: Bounds {
            max_term: 1,
            crashes: 1,
            proposals: 1,
            reads: 2,
            ..Bounds::default()
        },
        reading: vec![node(2)],
        crashing: vec![node(2)],
        alike: Vec::new(),
        ..Preset {
            name: "reads-restarts",
            about: "A follower is asked to read before and after a crash.",
            ..reads()
        }
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
            ticks: 5,
            transfers: 1,
            in_flight: 2,
            ..Bounds::default()
        },
        // All have the same election timeout, for there is one number in the range.
        alike: vec![node(2), node(3)],
        ..Preset::new(
            "leases",
            "A leader reads by its lease while time passes, and may hand over.",
            &[DiskKind::Immediate; 3],
        )
    }
}

fn leases_restarts() -> Preset {
    Preset {
        bounds: Bounds {
            max_term: 2,
            ticks: 6,
            crashes: 1,
            in_flight: 2,
            ..Bounds::default()
        },
        ..Preset {
            name: "leases-restarts",
            about: "A leader reads by its lease while time passes, and who has promised it crashes.",
            ..leases()
        }
    }
}
