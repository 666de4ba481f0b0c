//! What is on its way to a peer, and what has arrived.
//!
//! Owns the order of sending and acknowledging. Indexes rise; nothing else does.

use std::hint::black_box;

use almadia::LogIndex;
use almadia::layers::{InflightLayer, ProgressLayer};
use almadia_peers::MAX_INFLIGHT;
use criterion::Criterion;
use raft::{Inflights, Progress};

/// What each message carries, in bytes; raft-rs does not ask.
const BYTES: u64 = 40;

/// As many messages as may be on their way.
const DEPTH: u64 = MAX_INFLIGHT as u64;

pub(crate) fn bench(criterion: &mut Criterion) {
    progress(criterion);
    inflight(criterion);
}

/// So many messages leave, and the last of them is acknowledged.
fn progress(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("progress");
    for messages in [1, 64] {
        let mut last = 0;
        let mut ours = ProgressLayer::replicating(LogIndex::ZERO);
        group.bench_function(format!("sent_{messages}_accepted/almadia"), |bencher| {
            bencher.iter(|| {
                for _ in 0..messages {
                    last += 1;
                    ours.sent(black_box(LogIndex(last)), BYTES);
                }
                ours.accepted(black_box(LogIndex(last)));
                black_box(&ours);
            });
        });
        let mut last = 0;
        let mut theirs = Progress::new(1, MAX_INFLIGHT);
        theirs.become_replicate();
        group.bench_function(format!("sent_{messages}_accepted/raft-rs"), |bencher| {
            bencher.iter(|| {
                for _ in 0..messages {
                    last += 1;
                    theirs.update_state(black_box(last));
                }
                theirs.maybe_update(black_box(last));
                theirs.ins.free_to(black_box(last));
                black_box(&theirs);
            });
        });
    }
    group.finish();
}

fn inflight(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("inflight");
    let mut last = 0;
    let mut ours = InflightLayer::default();
    let mut add = |ours: &mut InflightLayer| {
        last += 1;
        ours.add(black_box(LogIndex(last)), BYTES);
        last
    };
    group.bench_function(format!("fill_and_free_{DEPTH}/almadia"), |bencher| {
        bencher.iter(|| {
            let last = (0..DEPTH).map(|_| add(&mut ours)).last();
            ours.free_through(LogIndex(last.unwrap_or_default()));
            black_box(&ours);
        });
    });
    for _ in 0..DEPTH {
        add(&mut ours);
    }
    group.bench_function(format!("slide_{DEPTH}/almadia"), |bencher| {
        bencher.iter(|| {
            assert!(ours.is_full(MAX_INFLIGHT));
            let oldest = add(&mut ours) - DEPTH;
            ours.free_through(black_box(LogIndex(oldest)));
        });
    });

    let mut last = 0;
    let mut theirs = Inflights::new(MAX_INFLIGHT);
    let mut add = |theirs: &mut Inflights| {
        last += 1;
        theirs.add(black_box(last));
        last
    };
    group.bench_function(format!("fill_and_free_{DEPTH}/raft-rs"), |bencher| {
        bencher.iter(|| {
            let last = (0..DEPTH).map(|_| add(&mut theirs)).last();
            theirs.free_to(last.unwrap_or_default());
            black_box(&theirs);
        });
    });
    let mut newest = 0;
    for _ in 0..DEPTH {
        newest = add(&mut theirs);
    }
    group.bench_function(format!("slide_{DEPTH}/raft-rs"), |bencher| {
        bencher.iter(|| {
            assert!(theirs.full());
            // It takes no more than it has room for.
            theirs.free_to(black_box(newest - DEPTH + 1));
            newest = add(&mut theirs);
        });
    });
    group.finish();
}
