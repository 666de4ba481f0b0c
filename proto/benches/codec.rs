//! What an append costs on its way to bytes and back: this codec, raft-rs's, and one made of
//! generated types with conversions, in one run.
//!
//! Each side goes from what its node works with to bytes and back: the domain types here and for the
//! generated code, `eraftpb::Message` for raft-rs.
#![allow(missing_docs, reason = "a bench")]

#[path = "common/append.rs"]
mod append;

use std::hint::black_box;

use almadia::{AppendEntries, Body, Entry, LogId, LogIndex, Message, NodeId, Payload, Term};
use almadia_proto::{Decode, Encode};
use almadia_proto_oracle::eraftpb as generated;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use protobuf::Message as _;
use protobuf_of_raft_rs::Message as _;
use raft_proto::eraftpb as raft_rs;

/// What a codec of generated types would do with an append.
fn to_generated(message: &Message) -> generated::Message {
    let Body::AppendEntries(append) = &message.body else {
        unreachable!("an append");
    };
    generated::Message {
        msg_type: generated::MessageType::MsgAppend.into(),
        to: message.to.get(),
        from: message.from.get(),
        term: message.term.0,
        log_term: append.prev_log.term.0,
        index: append.prev_log.index.0,
        commit: append.leader_commit.0,
        entries: append
            .entries
            .iter()
            .map(|entry| generated::Entry {
                term: entry.id.term.0,
                index: entry.id.index.0,
                data: match &entry.payload {
                    Payload::Data(data) => data.clone(),
                    Payload::Change(_) => unreachable!("data"),
                },
                context: entry.context.clone(),
                ..generated::Entry::default()
            })
            .collect(),
        ..generated::Message::default()
    }
}

/// And back.
fn from_generated(message: generated::Message) -> Message {
    Message {
        to: NodeId::new(message.to).expect("above zero"),
        from: NodeId::new(message.from).expect("above zero"),
        term: Term(message.term),
        body: Body::AppendEntries(AppendEntries {
            prev_log: LogId::new(message.log_term, message.index),
            leader_commit: LogIndex(message.commit),
            entries: message
                .entries
                .into_iter()
                .map(|entry| Entry {
                    id: LogId::new(entry.term, entry.index),
                    payload: Payload::Data(entry.data),
                    context: entry.context,
                })
                .collect(),
        }),
    }
}

fn codec(criterion: &mut Criterion) {
    for entries in [1, 64] {
        for payload in [16, 128, 4096] {
            let message = append::append(entries, payload);
            let bytes = message.encode();
            let peer: raft_rs::Message = {
                let mut peer = raft_rs::Message::default();
                peer.merge_from_bytes(&bytes).expect("raft-rs reads it");
                peer
            };
            let size = format!("{entries}x{payload}");

            let mut group = criterion.benchmark_group("encode");
            group.throughput(Throughput::Bytes(bytes.len() as u64));
            group.bench_function(BenchmarkId::new("almadia", &size), |bencher| {
                bencher.iter(|| black_box(&message).encode());
            });
            group.bench_function(BenchmarkId::new("generated", &size), |bencher| {
                bencher.iter(|| {
                    to_generated(black_box(&message))
                        .write_to_bytes()
                        .expect("it is written")
                });
            });
            group.bench_function(BenchmarkId::new("raft-rs", &size), |bencher| {
                bencher.iter(|| black_box(&peer).write_to_bytes().expect("it is written"));
            });
            group.finish();

            let mut group = criterion.benchmark_group("decode");
            group.throughput(Throughput::Bytes(bytes.len() as u64));
            group.bench_function(BenchmarkId::new("almadia", &size), |bencher| {
                bencher.iter(|| Message::decode(black_box(&bytes).clone()).expect("it is read"));
            });
            group.bench_function(BenchmarkId::new("generated", &size), |bencher| {
                bencher.iter(|| {
                    let read = generated::Message::parse_from_tokio_bytes(black_box(&bytes));
                    from_generated(read.expect("it is read"))
                });
            });
            group.bench_function(BenchmarkId::new("raft-rs", &size), |bencher| {
                bencher.iter(|| {
                    let mut read = raft_rs::Message::default();
                    read.merge_from_bytes(black_box(&bytes))
                        .expect("it is read");
                    read
                });
            });
            group.finish();
        }
    }
}

criterion_group!(benches, codec);
criterion_main!(benches);
