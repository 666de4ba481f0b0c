//! The presets.

use super::preset::{Bounds, DiskKind, Opening, Preset};
use almadia::{ConfState, MemberChange, MembershipChange, MessageKind, NodeId, Transition};

fn node(id: u64) -> NodeId {
    NodeId::new(id).unwrap_or_else(|| unreachable!())
}

fn env(name: &str, default: u8) -> u8 { std::env::var(name).ok().and_then(|it| it.parse().ok()).unwrap_or(default) }
fn bounds(b: Bounds) -> Bounds {
    Bounds {
        max_term: env("TERM_", b.max_term as u8).into(),
        campaigns: env("CAMP", b.campaigns),
        crashes: env("CRASH", b.crashes),
        duplicates: env("DUP", b.duplicates),
        in_flight: env("FLIGHT", b.in_flight),
        proposals: env("PROP", b.proposals),
        changes: env("CHANGE", b.changes),
        reads: env("READ", b.reads),
        transfers: env("TRANS", b.transfers),
        pings: env("PING", b.pings),
        ticks: env("TICK", b.ticks),
    }
}

/// All presets.
#[must_use]
pub fn presets() -> Vec<Preset> {
    let mut all = vec![];
    let mut elections = Preset::new("elections", "", &[DiskKind::Delayed; 3]);
    elections.configure = |builder| builder.pre_vote(false).check_quorum(false);
    elections.bounds = bounds(Bounds {
        max_term: 2,
        campaigns: 2,
        crashes: 1,
        ..Bounds::default()
    });
    elections.loses = vec![MessageKind::AppendEntriesResponse];
    elections.alike = vec![node(1), node(2), node(3)];
    all.push(elections);

    let mut p = Preset::new("replication", "", &[DiskKind::Delayed; 3]);
    p.configure = |builder| builder.pre_vote(false).check_quorum(false).skip_commit_broadcast(env("SKIP", 1) == 1).max_inflight_messages(env("INFL", 100).into());
    for (i, (_, disk)) in p.machines.iter_mut().enumerate() { if env("IMM", 0) & (1 << i) != 0 { *disk = DiskKind::Immediate; } }
    p.opening = vec![Opening::Campaign(node(1)), Opening::Settle(vec![node(1), node(2), node(3)])];
    p.bounds = bounds(Bounds { max_term: 2, campaigns: 1, crashes: 1, proposals: 2, ..Bounds::default() });
    p.alike = vec![node(2), node(3)];
    all.push(p);

    let mut p = Preset::new("figure-8", "", &[DiskKind::Immediate; 3]);
    p.configure = |builder| builder.pre_vote(false).check_quorum(false).max_message_bytes(1);
    p.opening = vec![
        Opening::Elect(node(1)), Opening::Settle(vec![node(1)]), Opening::LoseMessages,
        Opening::Elect(node(2)), Opening::Settle(vec![node(2)]), Opening::LoseMessages,
    ];
    p.bounds = bounds(Bounds { max_term: 4, campaigns: 2, crashes: 0, proposals: 0, ..Bounds::default() });
    all.push(p);

    let mut p = Preset::new("overwrites", "", &[DiskKind::Immediate, DiskKind::Immediate, DiskKind::Immediate, DiskKind::LateWord]);
    p.conf_state = ConfState { voters: vec![node(1), node(2), node(3)], learners: vec![node(4)], ..ConfState::default() };
    p.configure = |builder| builder.pre_vote(false).check_quorum(false).max_tail_bytes(0).skip_commit_broadcast(env("SKIP", 0) == 1);
    p.opening = vec![
        Opening::Elect(node(1)), Opening::Settle(vec![node(1)]), Opening::Deliver { from: node(1), to: node(4) },
        Opening::LoseMessages,
    ];
    p.bounds = bounds(Bounds { max_term: 3, campaigns: 2, crashes: 1, ..Bounds::default() });
    p.campaigning = vec![node(1), node(2)];
    p.crashing = vec![node(4)];
    all.push(p);

    let mut p = Preset::new("membership", "", &[DiskKind::Immediate; 4]);
    p.conf_state = ConfState::of_voters([node(1), node(2), node(3)]);
    p.configure = |builder| builder.pre_vote(false).check_quorum(false).skip_commit_broadcast(env("SKIP", 1) == 1);
    p.applies_later = env("LATER", 1) == 1;
    p.opening = vec![Opening::Campaign(node(1)), Opening::Settle(vec![node(1), node(2), node(3)])];
    p.changes = vec![MembershipChange {
        transition: Transition::Implicit,
        ..MembershipChange::of([MemberChange::Remove(node(2)), MemberChange::Remove(node(3)), MemberChange::AddVoter(node(4))])
    }];
    p.bounds = bounds(Bounds { max_term: 2, campaigns: 2, crashes: 1, changes: 1, ..Bounds::default() });
    p.alike = vec![node(2), node(3)];
    all.push(p);

    let mut p = Preset::new("reads", "", &[DiskKind::Immediate; 3]);
    p.configure = |builder| builder.pre_vote(false).check_quorum(false).skip_commit_broadcast(env("SKIP", 1) == 1);
    p.opening = vec![Opening::Campaign(node(1)), Opening::Settle(vec![node(1), node(2), node(3)])];
    p.bounds = bounds(Bounds { max_term: 2, campaigns: 1, reads: 2, proposals: 1, ..Bounds::default() });
    p.alike = vec![node(2), node(3)];
    all.push(p);

    let mut p = Preset::new("leases", "", &[DiskKind::Immediate; 3]);
    p.configure = |builder| builder.pre_vote(env("PV", 1) == 1).skip_commit_broadcast(env("SKIP", 1) == 1).lease_reads(true).heartbeat_interval_ticks(env("HB", 2).into()).election_timeout_ticks(env("ET", 4).into()).max_election_timeout_ticks(env("ET", 4) as u32 + 1).lease_margin_ticks(2);
    p.opening = vec![Opening::Tick(node(2), 4), Opening::Tick(node(3), 4), Opening::LoseMessages, Opening::Tick(node(1), 4), Opening::Settle(vec![node(1), node(2), node(3)])];
    p.bounds = bounds(Bounds { max_term: 2, ticks: 7, transfers: 1, in_flight: 6, ..Bounds::default() }); p.alike = vec![node(2), node(3)];
    all.push(p);
    all
}
