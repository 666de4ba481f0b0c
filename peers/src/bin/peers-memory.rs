//! What an idle node holds in memory, in bytes: almadia beside raft-rs. A program of its own, because
//! counting allocations costs time.
//!
//! Prints a table, and a line `RATIO name value` for each workload, as `peers` does.

use std::hint::black_box;

use allocation_counter::measure;
use almadia::{AppendEntriesResponse, Body, LogIndex, Message, Term, VoteResponse};
use almadia_peers::almadia_side::{Almadia, ids};
use almadia_peers::command;
use almadia_peers::groups::Host;
use almadia_peers::library::{Library, Settings};
use almadia_peers::raft_rs_side::RaftRs;
use almadia_peers::rounds::Table;

fn main() {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let wanted =
        |name: &str| names.is_empty() || names.iter().any(|wanted| name.starts_with(wanted));
    let mut table = Table::begun("raft-rs");
    if wanted("memory_follower") {
        let ours = held(follower::<Almadia>);
        table.count("memory_follower", ours, held(follower::<RaftRs>));
    }
    if wanted("memory_leader") {
        let ours = held(leader::<Almadia>);
        table.count("memory_leader", ours, held(leader::<RaftRs>));
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
fn follower<L: Library>() -> L::Node {
    L::node(2, &Settings::of(3), L::store(3))
}

/// How many entries the leaders have committed: the one that opened their term, and another one, for
/// which there is a window to each peer.
const COMMITTED: u64 = 2;

/// For how many ticks they have rested then.
const RESTS: u32 = 3;

/// Elected, with some entries that its followers have acknowledged.
fn leader<L: Library>() -> L::Node {
    let ids = ids(3);
    let mut node = L::node(1, &Settings::of(3), L::store(3));
    let mut mail = Vec::new();
    L::campaign(&mut node);
    L::work(&mut node, &mut mail);
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
        if L::committed(&node) > 0 {
            L::propose(&mut node, command(16));
            L::work(&mut node, &mut mail);
        }
        for &from in &ids[1..] {
            let answer = Message {
                to: ids[0],
                from,
                term: Term(1),
                body: body.clone(),
            };
            L::step(&mut node, L::message(&answer));
            L::work(&mut node, &mut mail);
        }
    }
    assert_eq!(L::committed(&node), COMMITTED);
    for _ in 0..RESTS {
        L::tick(&mut node);
    }
    node
}
