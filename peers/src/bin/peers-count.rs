//! Does one workload so many times, and nothing else, so that its instructions can be counted:
//! `cargo xtask instructions`.
//!
//! Owns the workloads of almadia alone. What is made before the first repetition is made once; the caller
//! subtracts it. Every run does exactly the same.

use std::hint::black_box;
use std::process::ExitCode;

use almadia::{Message, Term};
use almadia_peers::almadia_side::Almadia;
use almadia_peers::library::{Library, Settings};
use almadia_peers::{KEPT, cluster, command, workloads};
use almadia_proto::{Decode, Encode};

/// How far the follower is behind that catches up.
const BEHIND: u64 = 1024;

type Cluster = cluster::Cluster<Almadia>;

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
    let mut cluster = Cluster::of(&Settings::of(nodes));
    for _ in 0..times {
        cluster.commit(batch, 16);
        cluster.compact();
    }
    assert_eq!(cluster.committed(), 1 + u64::from(times) * batch);
}

/// The making of the message is counted too.
fn follower_append(times: u32) {
    let mut follower = Cluster::of(&Settings::of(3)).nodes.swap_remove(1);
    let term = follower.current_term();
    let last = follower.last_log().index.0;
    let mut mail = Vec::new();
    for index in last + 1..=last + u64::from(times) {
        let message = workloads::append(term, index);
        Almadia::step(&mut follower, message);
        Almadia::work(&mut follower, &mut mail);
        mail.clear();
        Almadia::cut(&mut follower, KEPT, 0);
    }
    assert_eq!(follower.last_log().index.0, last + u64::from(times));
}

fn read_index(times: u32) {
    let mut cluster = Cluster::of(&Settings::of(3));
    cluster.commit(1, 16);
    for _ in 0..times {
        let leader = &mut cluster.nodes[0];
        leader.read_index(command(8)).expect("node 1 leads");
        cluster.settle();
        assert_eq!(cluster.take_reads(), 1);
    }
}

fn tick_idle(times: u32) {
    let mut node = Cluster::of(&Settings::of(3)).nodes.swap_remove(1);
    for _ in 0..times {
        node.tick().expect("memory does not fail");
        assert!(!node.has_ready());
    }
}

fn new(times: u32) {
    let settings = Settings::of(3);
    let store = Almadia::store(3);
    for _ in 0..times {
        let node = Almadia::node(1, &settings, black_box(&store).clone());
        drop(black_box(node));
    }
}

/// The making of the nodes is counted too.
fn catch_up(times: u32) {
    let settings = Settings::of(3);
    let log = (1..=BEHIND).map(|index| workloads::entry(Term(1), index, 16));
    let log: Vec<almadia::Entry> = log.collect();
    let full = Almadia::filled(3, &log, 64);
    let empty = Almadia::store(3);
    for _ in 0..times {
        let stores = vec![full.clone(), full.clone(), empty.clone()];
        let mut cluster = Cluster::on(&settings, stores);
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
