//! Does one workload so many times, and nothing else, so that its instructions can be counted:
//! `cargo xtask instructions`.
//!
//! Owns the workloads of almadia alone. What is made before the first repetition is made once; the caller
//! subtracts it. Every run does exactly the same.

use std::hint::black_box;
use std::process::ExitCode;

use almadia::{LogId, LogIndex, MemStorage, Message, Term};
use almadia_peers::almadia_cluster::{Cluster, Node, compact, config, ids, work};
use almadia_peers::{command, workloads};
use almadia_proto::{Decode, Encode};

/// How far the follower is behind that catches up.
const BEHIND: u64 = 1024;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    let times = arguments.next().and_then(|times| times.parse().ok());
    let Some(times) = times else {
        eprintln!("usage: peers-count WORKLOAD TIMES");
        return ExitCode::FAILURE;
    };
    match name.as_str() {
        "commit_1" => commit(times, 3, 1),
        "commit_64" => commit(times, 3, 64),
        "single_voter" => commit(times, 1, 1),
        "follower_append" => follower_append(times),
        "read_index" => read_index(times),
        "tick_idle" => tick_idle(times),
        "new" => new(times),
        "catch_up" => catch_up(times),
        "encode_64" => encode_64(times),
        "decode_64" => decode_64(times),
        _ => {
            eprintln!("no such workload: {name}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn commit(times: u32, nodes: u64, batch: u64) {
    let mut cluster = Cluster::of(nodes);
    for _ in 0..times {
        cluster.commit(batch, 16);
        cluster.compact();
    }
    assert_eq!(cluster.committed(), 1 + u64::from(times) * batch);
}

/// The making of the message is counted too.
fn follower_append(times: u32) {
    let mut follower = Cluster::of(3).nodes.swap_remove(1);
    let term = follower.current_term();
    let last = follower.last_log().index.0;
    let mut mail = Vec::new();
    for index in last + 1..=last + u64::from(times) {
        let message = workloads::append(term, index);
        follower.step(message).expect("it continues the log");
        work(&mut follower, &mut mail);
        mail.clear();
        compact(&mut follower);
    }
    assert_eq!(follower.last_log().index.0, last + u64::from(times));
}

fn read_index(times: u32) {
    let mut cluster = Cluster::of(3);
    cluster.commit(1, 16);
    for _ in 0..times {
        let leader = &mut cluster.nodes[0];
        leader.read_index(command(8)).expect("node 1 leads");
        cluster.settle();
        assert_eq!(cluster.take_reads(), 1);
    }
}

fn tick_idle(times: u32) {
    let mut node = Cluster::of(3).nodes.swap_remove(1);
    for _ in 0..times {
        node.tick().expect("memory does not fail");
        assert!(!node.has_ready());
    }
}

fn new(times: u32) {
    let store = MemStorage::with_voters(ids(3));
    for _ in 0..times {
        let node = Node::new(config(ids(1)[0]), black_box(&store).clone());
        drop(black_box(node.expect("the log is a good start")));
    }
}

/// The making of the nodes is counted too.
fn catch_up(times: u32) {
    let (term, index) = (Term(1), LogIndex(BEHIND));
    let empty = MemStorage::with_voters(ids(3));
    let mut full = empty.clone();
    let log = (1..=BEHIND).map(|index| workloads::entry(term, index, 16));
    let log: Vec<almadia::Entry> = log.collect();
    for batch in log.chunks(64) {
        full.append(batch).expect("the entries are a log");
    }
    full.set_hard_state(almadia::HardState {
        current_term: term,
        voted_for: None,
        commit_index: index,
    });
    let full = (full, LogId { term, index });
    for _ in 0..times {
        let empty = (empty.clone(), LogId::ZERO);
        let mut cluster = Cluster::on(vec![full.clone(), full.clone(), empty]);
        cluster.elect();
        assert_eq!(cluster.committed(), BEHIND + 1);
    }
}

fn encode_64(times: u32) {
    let message = workloads::append_of(64);
    for _ in 0..times {
        drop(black_box(black_box(&message).encode()));
    }
}

fn decode_64(times: u32) {
    let bytes = workloads::append_of(64).encode();
    for _ in 0..times {
        let message = Message::decode(black_box(&bytes).clone());
        drop(black_box(message.expect("it was encoded")));
    }
}
