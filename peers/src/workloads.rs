//! What all do: commit, catch up, read, wait.
//!
//! Owns the workloads; one function each. A cluster's state does not grow from one round to the next:
//! logs are cut, and who has caught up is built anew.

use std::hint::black_box;
use std::time::{Duration, Instant};

use almadia::{
    AppendEntries, Body, Bytes, Entries, Entry, LogId, LogIndex, Message, Payload, Term,
};
use almadia_proto::{Decode, Encode};
use protobuf::Message as _;
use raft::eraftpb;

use crate::almadia_side::{Almadia, ids};
use crate::cluster::Cluster;
use crate::library::{Library, Settings};
use crate::raft_rs_side::RaftRs;
use crate::rounds::{Side, Table};
use crate::{KEPT, command};

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
    run("follower_append", &|table, name| {
        let sides = vec![follower_append::<Almadia>(), follower_append::<RaftRs>()];
        table.compare(name, 1, sides);
    });
    run("catch_up", &catch_up);
    for (name, node) in [("tick_idle", 1), ("tick_leader", 0)] {
        run(name, &|table, name| {
            table.compare(name, 1, vec![tick::<Almadia>(node), tick::<RaftRs>(node)]);
        });
    }
    run("new", &|table, name| {
        table.compare(name, 1, vec![new::<Almadia>(), new::<RaftRs>()]);
    });
    run("read_index", &|table, name| {
        let sides = vec![read_index::<Almadia>(), read_index::<RaftRs>()];
        table.compare(name, 1, sides);
    });
    run("encode_64", &encode_64);
    run("decode_64", &decode_64);
}

/// The whole cluster's cost of a committed entry.
fn commit(table: &mut Table, name: &str, nodes: u64, batch: u32, bytes: usize) {
    table.compare(name, batch, each_side(nodes, &Commit { batch, bytes }));
}

/// A workload that every side takes on.
trait Workload {
    fn side<L: Library + 'static>(&self, mode: &'static str, settings: Settings) -> Side<'static>;
}

/// almadia, and raft-rs in its two ways to batch.
fn each_side(voters: u64, work: &impl Workload) -> Vec<Side<'static>> {
    let settings = Settings::of(voters);
    let mut sides = vec![work.side::<Almadia>(Almadia::NAME, settings)];
    for (mode, batch_append) in BATCHING {
        let settings = Settings {
            batch_append,
            ..settings
        };
        sides.push(work.side::<RaftRs>(mode, settings));
    }
    sides
}

/// So many commands of so many bytes at a time.
struct Commit {
    batch: u32,
    bytes: usize,
}

impl Workload for Commit {
    fn side<L: Library + 'static>(&self, mode: &'static str, settings: Settings) -> Side<'static> {
        commits::<L>(mode, &settings, self.batch, self.bytes)
    }
}

/// A cluster that commits so many commands of so many bytes at a time. The work panics if it does not.
///
/// # Panics
///
/// If node 1 is not elected.
#[must_use]
pub fn commits<L: Library + 'static>(
    mode: &'static str,
    settings: &Settings,
    batch: u32,
    bytes: usize,
) -> Side<'static> {
    let mut cluster = Cluster::<L>::of(settings);
    Side::new(mode, move || {
        let before = cluster.committed();
        cluster.commit(batch.into(), bytes);
        assert_eq!(cluster.committed(), before + u64::from(batch));
        cluster.compact();
    })
}

/// An append of one entry, which tells that the entry before it is committed.
#[must_use]
pub fn append(term: Term, index: u64) -> Message {
    let [leader, follower] = [0, 1].map(|at| ids(2)[at]);
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

/// A follower takes an append of one entry, and answers it.
fn follower_append<L: Library + 'static>() -> Side<'static> {
    let mut follower = Cluster::<L>::of(&Settings::of(3)).nodes.swap_remove(1);
    let term = Term(L::term(&follower));
    let mut last = L::last_index(&follower);
    let mut mail = Vec::new();
    Side::timed(L::NAME, move |times| {
        let indexes = last + 1..=last + u64::from(times);
        last += u64::from(times);
        let messages = indexes.map(|index| L::message(&append(term, index)));
        let messages: Vec<L::Message> = messages.collect();
        let start = Instant::now();
        for message in messages {
            L::step(&mut follower, message);
            L::work(&mut follower, &mut mail);
            mail.clear();
        }
        let taken = start.elapsed();
        L::cut(&mut follower, KEPT, 0);
        taken
    })
}

/// A follower with an empty log is brought up to a leader's, in messages of up to a megabyte, or of what
/// the leader's store gives at once: its reading is part of the cost.
struct CatchUp {
    log: Vec<Entry>,
}

impl Workload for CatchUp {
    fn side<L: Library + 'static>(&self, mode: &'static str, settings: Settings) -> Side<'static> {
        let log: Vec<L::Entry> = self.log.iter().map(L::entry).collect();
        let full = move || L::filled(settings.voters, &log, WRITTEN_AT_ONCE);
        Side::timed(mode, move |times| {
            repeat(times, || {
                let stores = vec![full(), full(), L::store(settings.voters)];
                let mut cluster = Cluster::<L>::on(&settings, stores);
                let start = Instant::now();
                cluster.elect();
                assert_eq!(cluster.committed(), BEHIND + 1);
                start.elapsed()
            })
        })
    }
}

fn catch_up(table: &mut Table, name: &str) {
    let log = (1..=BEHIND).map(|index| entry(Term(1), index, 16));
    let work = CatchUp { log: log.collect() };
    let entries = BEHIND.try_into().expect("not many");
    table.compare(name, entries, each_side(3, &work));
}

fn repeat(times: u32, mut once: impl FnMut() -> Duration) -> Duration {
    (0..times).map(|_| once()).sum()
}

/// A tick in which nothing happens, and the question whether anything did.
fn tick<L: Library + 'static>(node: usize) -> Side<'static> {
    let mut node = Cluster::<L>::of(&Settings::of(3)).nodes.swap_remove(node);
    Side::new(L::NAME, move || {
        L::tick(&mut node);
        assert!(!L::has_ready(&node));
    })
}

/// A node is made of its log.
fn new<L: Library + 'static>() -> Side<'static> {
    let settings = Settings::of(3);
    Side::timed(L::NAME, move |times| {
        let stores = (0..times).map(|_| L::store(settings.voters));
        let stores: Vec<L::Store> = stores.collect();
        let start = Instant::now();
        for store in stores {
            drop(black_box(L::node(1, &settings, store)));
        }
        start.elapsed()
    })
}

/// A linearizable read at the leader, and the round of heartbeats that it takes. The work panics if it is not
/// answered.
///
/// # Panics
///
/// If node 1 is not elected.
#[must_use]
pub fn read_index<L: Library + 'static>() -> Side<'static> {
    let mut cluster = Cluster::<L>::of(&Settings::of(3));
    cluster.commit(1, 16);
    let mut number = 0_u64;
    Side::new(L::NAME, move || {
        // Raft-rs wants each context to be another one.
        number += 1;
        L::read_index(&mut cluster.nodes[0], number.to_be_bytes().to_vec());
        cluster.settle();
        assert_eq!(cluster.take_reads(), 1);
    })
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
    let theirs = RaftRs::message(&ours);
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
