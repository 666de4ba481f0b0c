//! A batch's way through the log: it is appended, handed out to the disk, stored, committed, handed out to
//! be applied, and released.
//!
//! Owns both sides' rounds, on the in-memory store that comes with each: raft-rs reads what is to be
//! applied from there. The stores are cut outside of the time.

use std::hint::black_box;

use almadia::layers::LogLayer;
use almadia::{Bytes, ConfState, Entries, Entry, LogId, LogIndex, Snapshot, Term};
use almadia_peers::almadia_side::{Almadia, ids};
use almadia_peers::library::Library;
use almadia_peers::raft_rs_side::RaftRs;
use almadia_peers::{silent, workloads};
use criterion::{Bencher, Criterion, Throughput};
use raft::storage::MemStorage as RaftRsStorage;
use raft::{RaftLog, eraftpb};

use crate::rounds::measure;

/// So many batches come before the stores are cut.
const AT_ONCE: u64 = 16;

const TERM: Term = Term(1);

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("log");
    for size in [1, 64] {
        group.throughput(Throughput::Elements(size));
        group.bench_function(format!("propose_{size}/almadia"), |bencher| {
            let batches = |log: &mut Ours, count| log.batches(count, size);
            let work = |log: &mut Ours, batch: Vec<Entry>| {
                log.layer.propose(batch).expect("memory does not fail");
            };
            measure(bencher, AT_ONCE, &mut Ours::new(), batches, work, Ours::cut);
        });
        group.bench_function(format!("propose_{size}/raft-rs"), |bencher| {
            let work = |log: &mut Theirs, batch: Vec<eraftpb::Entry>| {
                log.log.append(&batch);
                log.commit();
            };
            Theirs::measure(bencher, size, work);
        });
        group.bench_function(format!("receive_{size}/almadia"), |bencher| {
            let runs = |log: &mut Ours, count| {
                let batches = log.batches(count, size);
                batches.into_iter().map(Entries::from).collect()
            };
            let work = |log: &mut Ours, run| {
                log.layer.receive(run).expect("memory does not fail");
            };
            measure(bencher, AT_ONCE, &mut Ours::new(), runs, work, Ours::cut);
        });
        group.bench_function(format!("receive_{size}/raft-rs"), |bencher| {
            let work = |log: &mut Theirs, batch: Vec<eraftpb::Entry>| {
                let before = batch[0].index - 1;
                let appended = log.log.maybe_append(before, TERM.0, before, &batch);
                appended.expect("the batch continues the log");
                log.commit();
            };
            Theirs::measure(bencher, size, work);
        });
    }
    group.finish();
}

/// So many batches of so many entries, behind the last one.
fn batches(last: &mut u64, count: u64, size: u64) -> Vec<Vec<Entry>> {
    let mut next = || {
        *last += 1;
        workloads::entry(TERM, *last, 16)
    };
    (0..count)
        .map(|_| (0..size).map(|_| next()).collect())
        .collect()
}

/// The log begins behind an entry of its term.
const BEFORE_FIRST: u64 = 1;

struct Ours {
    layer: LogLayer,
    last: u64,
}

impl Ours {
    fn new() -> Self {
        let storage = Almadia::filled(3, &[workloads::entry(TERM, BEFORE_FIRST, 0)], 1);
        let applied = LogId {
            term: TERM,
            index: LogIndex(BEFORE_FIRST),
        };
        let layer = LogLayer::new(storage, applied);
        Self {
            layer: layer.expect("the log is a good start"),
            last: BEFORE_FIRST,
        }
    }

    fn batches(&mut self, count: u64, size: u64) -> Vec<Vec<Entry>> {
        batches(&mut self.last, count, size)
    }

    fn cut(&mut self) {
        let index = self.layer.last_applied();
        assert_eq!(index.0, self.last);
        let snapshot = Snapshot {
            last_included: LogId { term: TERM, index },
            conf_state: ConfState::of_voters(ids(3)),
            data: Bytes::new(),
        };
        let storage = self.layer.storage_mut();
        storage.save_snapshot(snapshot).expect("it is in the log");
        storage.compact(index).expect("the snapshot covers it");
    }
}

struct Theirs {
    log: RaftLog<RaftRsStorage>,
    last: u64,
}

impl Theirs {
    fn new() -> Self {
        let first = RaftRs::entry(&workloads::entry(TERM, BEFORE_FIRST, 0));
        let store = RaftRs::filled(3, &[first], 1);
        let mut log = RaftLog::new(store, silent().clone());
        log.commit_to(BEFORE_FIRST);
        let mut log = Self {
            log,
            last: BEFORE_FIRST,
        };
        log.applied_to(BEFORE_FIRST);
        log
    }

    /// Measures what is done with each batch of this size.
    fn measure(
        bencher: &mut Bencher<'_>,
        size: u64,
        work: impl Fn(&mut Self, Vec<eraftpb::Entry>),
    ) {
        let batches = |log: &mut Self, count| log.batches(count, size);
        measure(bencher, AT_ONCE, &mut Self::new(), batches, work, Self::cut);
    }

    fn batches(&mut self, count: u64, size: u64) -> Vec<Vec<eraftpb::Entry>> {
        let batches = batches(&mut self.last, count, size);
        let read = |batch: Vec<Entry>| batch.iter().map(RaftRs::entry).collect();
        batches.into_iter().map(read).collect()
    }

    /// As its `RawNode` does it.
    fn commit(&mut self) {
        let entries = self.log.unstable_entries().to_vec();
        let last = entries.last().map_or(0, |entry| entry.index);
        self.log.stable_entries(last, TERM.0);
        let stored = self.log.store.wl().append(&entries);
        stored.expect("entries continue the log");
        self.log.maybe_persist(last, TERM.0);
        self.log.commit_to(last);
        let committed = self.log.next_entries(None);
        drop(black_box(committed));
        self.applied_to(last);
    }

    #[allow(
        deprecated,
        reason = "what is to be called instead is a node's, and calls this"
    )]
    fn applied_to(&mut self, index: u64) {
        self.log.applied_to(index);
    }

    fn cut(&mut self) {
        assert_eq!(self.log.applied, self.last);
        let cut = self.log.store.wl().compact(self.last);
        cut.expect("it is in the log");
    }
}
