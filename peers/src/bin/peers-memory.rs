//! What an idle node holds in memory, in bytes: almadia beside raft-rs. A program of its own, because
//! counting allocations costs time.
//!
//! Prints a table, and a line `RATIO name value` for each workload, as `peers` does.

use std::hint::black_box;

use allocation_counter::measure;
use almadia::{AppendEntriesResponse, Body, LogIndex, MemStorage, Message, Term, VoteResponse};
use almadia_peers::groups::Host;
use almadia_peers::library::{Almadia, Library, RaftRs};
use almadia_peers::rounds::Table;
use almadia_peers::{almadia_cluster as ours, command, raft_rs_cluster as raft_rs};
use raft::eraftpb::{self, MessageType};

fn main() {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let wanted =
        |name: &str| names.is_empty() || names.iter().any(|wanted| name.starts_with(wanted));
    let mut table = Table::begun("raft-rs");
    if wanted("memory_follower") {
        let ours = held(our_follower);
        table.count("memory_follower", ours, held(raft_rs_follower));
    }
    if wanted("memory_leader") {
        let ours = held(our_leader);
        table.count("memory_leader", ours, held(raft_rs_leader));
    }
    if wanted("groups_memory") {
        let ours = of_a_group::<Almadia>();
        table.count("groups_memory", ours, of_a_group::<RaftRs>());
    }
    table.finish();
}

/// The size of what is made, and of all that it holds on the heap.
fn held<T>(make: impl Fn() -> T) -> usize {
    // What is made once for all is made now.
    drop(make());
    let mut made = None;
    let info = measure(|| made = Some(make()));
    drop(black_box(made));
    size_of::<T>() + usize::try_from(info.bytes_current).expect("what is made is held")
}

/// What a group of three holds that has elected its leader and rests, its stores included: the mean of
/// some.
fn of_a_group<L: Library>() -> usize {
    const GROUPS: usize = 1000;
    let held = held(|| {
        let mut host = Host::<L>::of(GROUPS);
        host.elect();
        // The host's own lists are not the groups'.
        let mut nodes = host.into_nodes();
        for _ in 0..RESTS {
            nodes.iter_mut().for_each(L::tick);
        }
        nodes
    });
    held / GROUPS
}

/// Of a cluster of three, in its first term.
fn our_follower() -> ours::Node {
    let ids = ours::ids(3);
    let store = MemStorage::with_voters(ids.clone());
    ours::Node::new(ours::config(ids[1]), store).expect("the log is a good start")
}

fn raft_rs_follower() -> raft_rs::Node {
    raft_rs::node(2, false, raft_rs::store(3), 0)
}

/// How many entries the leaders have committed: the one that opened their term, and another one, for
/// which there is a window to each peer.
const COMMITTED: u64 = 2;

/// For how many ticks they have rested then.
const RESTS: u32 = 3;

/// Elected, with some entries that its followers have acknowledged.
fn our_leader() -> ours::Node {
    let ids = ours::ids(3);
    let store = MemStorage::with_voters(ids.clone());
    let mut node = ours::Node::new(ours::config(ids[0]), store).expect("the log is a good start");
    let mut mail = Vec::new();
    node.campaign().expect("a voter may campaign");
    ours::work(&mut node, &mut mail);
    let votes = [
        Body::PreVoteResponse(VoteResponse::Granted),
        Body::RequestVoteResponse(VoteResponse::Granted),
    ];
    let accepted = |index| {
        Body::AppendEntriesResponse(AppendEntriesResponse::Accepted {
            match_index: LogIndex(index),
            commit_index: LogIndex(index - 1),
        })
    };
    for body in votes.into_iter().chain((1..=COMMITTED).map(accepted)) {
        if node.last_applied() > LogIndex::ZERO {
            node.propose("", command(16)).expect("it leads");
            ours::work(&mut node, &mut mail);
        }
        for &from in &ids[1..] {
            let answer = Message {
                to: ids[0],
                from,
                term: Term(1),
                body: body.clone(),
            };
            node.step(answer).expect("peers are correct");
            ours::work(&mut node, &mut mail);
        }
    }
    assert_eq!(node.last_applied(), LogIndex(COMMITTED));
    for _ in 0..RESTS {
        node.tick().expect("memory does not fail");
    }
    node
}

fn raft_rs_leader() -> raft_rs::Node {
    let mut node = raft_rs::node(1, false, raft_rs::store(3), 0);
    let mut mail = Vec::new();
    node.campaign().expect("a voter may campaign");
    raft_rs::work(&mut node, &mut mail);
    let votes = [
        (MessageType::MsgRequestPreVoteResponse, 0),
        (MessageType::MsgRequestVoteResponse, 0),
    ];
    let accepted = |index| (MessageType::MsgAppendResponse, index);
    for (kind, index) in votes.into_iter().chain((1..=COMMITTED).map(accepted)) {
        if node.raft.raft_log.applied > 0 {
            node.propose(vec![], command(16)).expect("it leads");
            raft_rs::work(&mut node, &mut mail);
        }
        for from in [2, 3] {
            let mut answer = eraftpb::Message::default();
            answer.set_msg_type(kind);
            answer.from = from;
            answer.to = 1;
            answer.term = 1;
            answer.index = index;
            answer.commit = index.saturating_sub(1);
            node.step(answer).expect("peers are correct");
            raft_rs::work(&mut node, &mut mail);
        }
    }
    assert_eq!(node.raft.raft_log.applied, COMMITTED);
    for _ in 0..RESTS {
        node.tick();
    }
    node
}
