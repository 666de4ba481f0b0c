//! Up to where a quorum has acknowledged, and how a vote stands.
//!
//! Owns the configurations. What a voter has acknowledged is looked up as a leader does it, here in a sorted
//! list and there in a hash map.

use std::hint::black_box;

use almadia::layers::ProgressLayer;
use almadia::quorum::{self, Tally};
use almadia::{LogIndex, NodeId};
use almadia_peers::almadia_side::ids;
use criterion::Criterion;
use raft::eraftpb::{ConfChangeSingle, ConfChangeType};
use raft::{Changer, ProgressTracker};

/// The sizes of clusters.
const VOTERS: [u64; 4] = [3, 5, 7, 101];

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("quorum");
    for voters in VOTERS {
        for is_joint in [false, true] {
            let ours = Ours::of(voters, is_joint);
            let mut theirs = tracker(voters, is_joint);
            let kind = if is_joint { "joint" } else { "majority" };
            assert_eq!(ours.index().0, theirs.maximal_committed_index().0);
            group.bench_function(format!("index_{kind}_{voters}/almadia"), |bencher| {
                bencher.iter(|| black_box(&ours).index());
            });
            group.bench_function(format!("index_{kind}_{voters}/raft-rs"), |bencher| {
                bencher.iter(|| black_box(&mut theirs).maximal_committed_index());
            });
        }
        let ours = Ours::of(voters, false);
        let theirs = tracker(voters, false);
        group.bench_function(format!("vote_{voters}/almadia"), |bencher| {
            bencher.iter(|| black_box(&ours).vote());
        });
        group.bench_function(format!("vote_{voters}/raft-rs"), |bencher| {
            bencher.iter(|| black_box(&theirs).vote_result(black_box(&theirs).votes()));
        });
    }
    group.finish();
}

/// What the members have acknowledged: something else each.
fn acknowledged(member: u64) -> u64 {
    1_000_000 + member * 7919 % 1009
}

/// A membership of almadia. In a joint one, the first voter makes room for another.
struct Ours {
    incoming: Vec<NodeId>,
    outgoing: Vec<NodeId>,
    peers: Vec<(NodeId, ProgressLayer)>,
    tally: Tally,
}

impl Ours {
    fn of(voters: u64, is_joint: bool) -> Self {
        let mut members = ids(voters + u64::from(is_joint));
        let peers = members.iter().map(|&id| {
            let acknowledged = LogIndex(acknowledged(id.get()));
            (id, ProgressLayer::replicating(acknowledged))
        });
        let peers = peers.collect();
        let mut tally = Tally::default();
        for &id in &members {
            tally.record(id, true);
        }
        let outgoing = if is_joint {
            members.remove(0);
            ids(voters)
        } else {
            Vec::new()
        };
        Self {
            incoming: members,
            outgoing,
            peers,
            tally,
        }
    }

    fn index(&self) -> LogIndex {
        let acknowledged = |voter| {
            let position = self.peers.binary_search_by_key(&voter, |(id, _)| *id);
            let peer = position.ok().and_then(|at| self.peers.get(at));
            peer.map_or(LogIndex::ZERO, |(_, progress)| progress.match_index())
        };
        quorum::joint_index(&self.incoming, &self.outgoing, acknowledged).unwrap_or_default()
    }

    fn vote(&self) -> quorum::VoteResult {
        let vote = |voter| self.tally.vote(voter);
        quorum::joint_vote(&self.incoming, &self.outgoing, vote)
    }
}

/// The same of raft-rs.
fn tracker(voters: u64, is_joint: bool) -> ProgressTracker {
    let mut tracker = ProgressTracker::new(1);
    let change = |kind, id| {
        let mut change = ConfChangeSingle::default();
        change.set_change_type(kind);
        change.node_id = id;
        change
    };
    let mut members = voters;
    for id in 1..=voters {
        let added = change(ConfChangeType::AddNode, id);
        let changed = Changer::new(&tracker).simple(&[added]);
        let (configuration, changes) = changed.expect("the change is simple");
        tracker.apply_conf(configuration, changes, 1);
    }
    if is_joint {
        members += 1;
        let removed = change(ConfChangeType::RemoveNode, 1);
        let added = change(ConfChangeType::AddNode, members);
        let changed = Changer::new(&tracker).enter_joint(false, &[removed, added]);
        let (configuration, changes) = changed.expect("there was no other change");
        tracker.apply_conf(configuration, changes, 1);
    }
    for id in 1..=members {
        let progress = tracker.get_mut(id).expect("it is a member");
        progress.matched = acknowledged(id);
        tracker.record_vote(id, true);
    }
    tracker
}
