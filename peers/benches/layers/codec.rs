//! An append on its way to bytes and back.
//!
//! Owns the sizes. Raft-rs reads bytes in two ways: the payloads are copied, or share the bytes' memory as
//! ours do.

use std::hint::black_box;

use almadia::Message;
use almadia_peers::library::Library;
use almadia_peers::raft_rs_side::RaftRs;
use almadia_peers::workloads::append_of;
use almadia_proto::{Decode, Encode};
use criterion::Criterion;
use protobuf::Message as _;
use raft::eraftpb;

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codec");
    for entries in [1, 64] {
        let ours = append_of(entries);
        let theirs = RaftRs::message(&ours);
        let bytes = ours.encode();
        group.bench_function(format!("encode_{entries}/almadia"), |bencher| {
            bencher.iter(|| black_box(&ours).encode());
        });
        group.bench_function(format!("encode_{entries}/raft-rs"), |bencher| {
            bencher.iter(|| black_box(&theirs).write_to_bytes());
        });
        group.bench_function(format!("decode_{entries}/almadia"), |bencher| {
            bencher.iter(|| Message::decode(black_box(&bytes).clone()));
        });
        group.bench_function(format!("decode_{entries}/raft-rs"), |bencher| {
            bencher.iter(|| {
                let mut message = eraftpb::Message::default();
                let read = message.merge_from_bytes(black_box(&bytes));
                read.map(|()| message)
            });
        });
        group.bench_function(format!("decode_{entries}/raft-rs shared"), |bencher| {
            bencher
                .iter(|| eraftpb::Message::parse_from_carllerche_bytes(&black_box(&bytes).clone()));
        });
    }
    group.finish();
}
