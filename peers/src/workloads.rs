//! What all do: commit, catch up, read, wait.
//!
//! Owns the workloads; one function each. A cluster's state does not grow from one round to the next:
//! logs are cut, and who has caught up is built anew.

use std::hint::black_box;
use std::time::{Duration, Instant};

use almadia::{
    AppendEntries, Body, Bytes, Entries, Entry, HardState, LogId, LogIndex, MemStorage, Message,
    Payload, Term,
};
use almadia_proto::{Decode, Encode};
use protobuf::Message as _;
use raft::eraftpb;

use crate::rounds::{Side, Table};
use crate::{almadia_cluster as ours, command, raft_rs_cluster as raft_rs};

/// The peer's two ways to batch.
const BATCHING: [(&str, bool); 2] = [("raft-rs", false), ("raft-rs, batch_append", true)];

/// How far the follower is behind that catches up.
const BEHIND: u64 = 100_000;
/// In how large batches its leader has written these entries.
const WRITTEN_AT_ONCE: usize = 64;

/// All of them, in the order in which they are printed.
pub fn run_all(table: &mut Table, wanted: &dyn Fn(&str) -> bool) {
    let mut run = |name: &str, work: &dyn Fn(&mut Table, &str)| {
        if wanted(name) {
            work(table, name);
        }
    };
    for nodes in [3, 5, 7] {
        for (batch, bytes) in [(1, 16), (64, 16), (1, 4096), (64, 4096)] {
            let mut name = format!("commit_{batch}");
            if nodes != 3 {
                name += &format!("_nodes_{nodes}");
            }
            if bytes != 16 {
                name += &format!("_bytes_{bytes}");
            }
            run(&name, &|table, name| {
                commit(table, name, nodes, batch, bytes)
            });
        }
    }
    run("single_voter", &|table, name| commit(table, name, 1, 1, 16));
    run("follower_append", &follower_append);
    run("catch_up", &catch_up);
    run("tick_idle", &|table, name| tick(table, name, 1));
    run("tick_leader", &|table, name| tick(table, name, 0));
    run("new", &new);
    run("read_index", &read_index);
    run("encode_64", &encode_64);
    run("decode_64", &decode_64);
}

/// The whole cluster's cost of a committed entry.
fn commit(table: &mut Table, name: &str, nodes: u64, batch: u32, bytes: usize) {
    let mut cluster = ours::Cluster::of(nodes);
    let mut sides = vec![Side::new("almadia", move || {
        let before = cluster.committed();
        cluster.commit(batch.into(), bytes);
        assert_eq!(cluster.committed(), before + u64::from(batch));
        cluster.compact();
    })];
    for (mode, batch_append) in BATCHING {
        let mut cluster = raft_rs::Cluster::of(nodes, batch_append);
        sides.push(Side::new(mode, move || {
            let before = cluster.committed();
            cluster.commit(batch.into(), bytes);
            assert_eq!(cluster.committed(), before + u64::from(batch));
            cluster.compact();
        }));
    }
    table.compare(name, batch, sides);
}

/// An append of one entry, which tells that the entry before it is committed.
#[must_use]
pub fn append(term: Term, index: u64) -> Message {
    let [leader, follower] = [0, 1].map(|at| ours::ids(2)[at]);
    Message {
        to: follower,
        from: leader,
        term,
        body: Body::AppendEntries(AppendEntries {
            prev_log: LogId {
                term,
                index: LogIndex(index - 1),
            },
            leader_commit: LogIndex(index - 1),
            entries: Entries::from([entry(term, index, 16)]),
        }),
    }
}

/// An entry with a command of so many bytes.
#[must_use]
pub fn entry(term: Term, index: u64, bytes: usize) -> Entry {
    Entry {
        id: LogId {
            term,
            index: LogIndex(index),
        },
        payload: Payload::Data(command(bytes).into()),
        context: Bytes::new(),
    }
}

/// The same message, of raft-rs.
///
/// # Panics
///
/// If raft-rs does not read it.
#[must_use]
pub fn of_raft_rs(message: &Message) -> eraftpb::Message {
    let mut read = eraftpb::Message::default();
    read.merge_from_bytes(&message.encode())
        .expect("both have one format");
    read
}

/// A follower takes an append of one entry, and answers it.
fn follower_append(table: &mut Table, name: &str) {
    let mut follower = ours::Cluster::of(3).nodes.swap_remove(1);
    let term = follower.current_term();
    let mut last = follower.last_log().index.0;
    let mut mail = Vec::new();
    let ours = Side::timed("almadia", move |times| {
        let indexes = last + 1..=last + u64::from(times);
        last += u64::from(times);
        let messages: Vec<Message> = indexes.map(|index| append(term, index)).collect();
        let start = Instant::now();
        for message in messages {
            follower.step(message).expect("it continues the log");
            ours::work(&mut follower, &mut mail);
            mail.clear();
        }
        let taken = start.elapsed();
        ours::compact(&mut follower);
        taken
    });
    let mut follower = raft_rs::Cluster::of(3, false).nodes.swap_remove(1);
    let term = Term(follower.raft.term);
    let mut last = follower.raft.raft_log.last_index();
    let mut mail = Vec::new();
    let theirs = Side::timed("raft-rs", move |times| {
        let indexes = last + 1..=last + u64::from(times);
        last += u64::from(times);
        let messages = indexes.map(|index| of_raft_rs(&append(term, index)));
        let messages: Vec<eraftpb::Message> = messages.collect();
        let start = Instant::now();
        for message in messages {
            follower.step(message).expect("it continues the log");
            raft_rs::work(&mut follower, &mut mail);
            mail.clear();
        }
        let taken = start.elapsed();
        raft_rs::compact(&mut follower);
        taken
    });
    table.compare(name, 1, vec![ours, theirs]);
}

/// A follower with an empty log is brought up to a leader's, in messages of up to a megabyte, or of what
/// the leader's store gives at once: its reading is part of the cost.
fn catch_up(table: &mut Table, name: &str) {
    let term = Term(1);
    let log: Vec<Entry> = (1..=BEHIND).map(|index| entry(term, index, 16)).collect();
    let hard_state = HardState {
        current_term: term,
        voted_for: None,
        commit_index: LogIndex(BEHIND),
    };
    let peer_log: Vec<eraftpb::Entry> = log
        .iter()
        .map(|entry| {
            let mut read = eraftpb::Entry::default();
            read.merge_from_bytes(&entry.encode())
                .expect("both have one format");
            read
        })
        .collect();
    let full = || {
        let mut store = MemStorage::with_voters(ours::ids(3));
        for batch in log.chunks(WRITTEN_AT_ONCE) {
            store.append(batch).expect("the entries are a log");
        }
        store.set_hard_state(hard_state);
        let applied = LogId {
            term,
            index: LogIndex(BEHIND),
        };
        (store, applied)
    };
    let empty = || (MemStorage::with_voters(ours::ids(3)), LogId::ZERO);
    let ours = Side::timed("almadia", |times| {
        repeat(times, || {
            let mut cluster = ours::Cluster::on(vec![full(), full(), empty()]);
            let start = Instant::now();
            cluster.elect();
            assert_eq!(cluster.committed(), BEHIND + 1);
            start.elapsed()
        })
    });
    let mut sides = vec![ours];
    for (mode, batch_append) in BATCHING {
        let peer_log = &peer_log;
        sides.push(Side::timed(mode, move |times| {
            repeat(times, || {
                let stores: Vec<_> = [true, true, false]
                    .into_iter()
                    .map(|is_full| {
                        let store = raft_rs::store(3);
                        if is_full {
                            let mut core = store.wl();
                            for batch in peer_log.chunks(WRITTEN_AT_ONCE) {
                                core.append(batch).expect("the entries are a log");
                            }
                            core.mut_hard_state().term = term.0;
                            core.mut_hard_state().commit = BEHIND;
                        }
                        (store, if is_full { BEHIND } else { 0 })
                    })
                    .collect();
                let mut cluster = raft_rs::Cluster::on(stores, batch_append);
                let start = Instant::now();
                cluster.elect();
                assert_eq!(cluster.committed(), BEHIND + 1);
                start.elapsed()
            })
        }));
    }
    table.compare(name, BEHIND.try_into().expect("not many"), sides);
}

fn repeat(times: u32, mut once: impl FnMut() -> Duration) -> Duration {
    (0..times).map(|_| once()).sum()
}

/// A tick in which nothing happens, and the question whether anything did.
fn tick(table: &mut Table, name: &str, node: usize) {
    let mut ours = ours::Cluster::of(3).nodes.swap_remove(node);
    let mut theirs = raft_rs::Cluster::of(3, false).nodes.swap_remove(node);
    let sides = vec![
        Side::new("almadia", move || {
            ours.tick().expect("memory does not fail");
            assert!(!ours.has_ready());
        }),
        Side::new("raft-rs", move || {
            theirs.tick();
            assert!(!theirs.has_ready());
        }),
    ];
    table.compare(name, 1, sides);
}

/// A node is made of its log.
fn new(table: &mut Table, name: &str) {
    let ours = Side::timed("almadia", |times| {
        let id = ours::ids(1)[0];
        let stores = (0..times).map(|_| MemStorage::with_voters(ours::ids(3)));
        let stores: Vec<MemStorage> = stores.collect();
        let start = Instant::now();
        for store in stores {
            let node = ours::Node::new(ours::config(id), store);
            drop(black_box(node.expect("the log is a good start")));
        }
        start.elapsed()
    });
    let theirs = Side::timed("raft-rs", |times| {
        let stores: Vec<_> = (0..times).map(|_| raft_rs::store(3)).collect();
        let start = Instant::now();
        for store in stores {
            let node = raft_rs::Node::new(&raft_rs::config(1, false), store, crate::silent());
            drop(black_box(node.expect("the log is a good start")));
        }
        start.elapsed()
    });
    table.compare(name, 1, vec![ours, theirs]);
}

/// A linearizable read at the leader, and the round of heartbeats that it takes.
fn read_index(table: &mut Table, name: &str) {
    let mut cluster = ours::Cluster::of(3);
    cluster.commit(1, 16);
    let ours = Side::new("almadia", move || {
        let leader = &mut cluster.nodes[0];
        leader.read_index(command(8)).expect("node 1 leads");
        cluster.settle();
        assert_eq!(cluster.take_reads(), 1);
    });
    let mut cluster = raft_rs::Cluster::of(3, false);
    cluster.commit(1, 16);
    let mut number = 0_u64;
    let theirs = Side::new("raft-rs", move || {
        // It wants each context to be another one.
        number += 1;
        cluster.nodes[0].read_index(number.to_be_bytes().to_vec());
        cluster.settle();
        assert_eq!(cluster.take_reads(), 1);
    });
    table.compare(name, 1, vec![ours, theirs]);
}

/// An append of so many entries, far into a log.
#[must_use]
pub fn append_of(count: u64) -> Message {
    let mut message = append(Term(7), 1_000_001);
    if let Body::AppendEntries(append) = &mut message.body {
        let entries = (0..count).map(|at| entry(Term(7), 1_000_001 + at, 16));
        append.entries = entries.collect();
    }
    message
}

fn encode_64(table: &mut Table, name: &str) {
    let ours = append_of(64);
    let theirs = of_raft_rs(&ours);
    let sides = vec![
        Side::new("almadia", || drop(black_box(black_box(&ours).encode()))),
        Side::new("raft-rs", || {
            drop(black_box(black_box(&theirs).write_to_bytes()));
        }),
    ];
    table.compare(name, 1, sides);
}

fn decode_64(table: &mut Table, name: &str) {
    let bytes = append_of(64).encode();
    let sides = vec![
        Side::new("almadia", || {
            let message = Message::decode(black_box(&bytes).clone());
            drop(black_box(message.expect("it was encoded")));
        }),
        Side::new("raft-rs", || {
            let mut message = eraftpb::Message::default();
            let read = message.merge_from_bytes(black_box(&bytes));
            read.expect("it was encoded");
            drop(black_box(message));
        }),
        Side::new("raft-rs, shared", || {
            let bytes = black_box(&bytes).clone();
            let message = eraftpb::Message::parse_from_carllerche_bytes(&bytes);
            drop(black_box(message.expect("it was encoded")));
        }),
    ];
    table.compare(name, 1, sides);
}
