//! What the node itself costs, without any disk or network.
//!
//! Owns the workloads of one node and of an in-memory cluster of three. The logs are compacted
//! inside the loop, so nothing grows from one iteration to the next.

use std::hint::black_box;

use almadia::{ConfState, Config, LogId, MemStorage, Message, NodeId, RawNode, Snapshot};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

type Node = RawNode<MemStorage>;

/// Logs are cut when they hold this many entries.
const KEPT: u64 = 1024;

fn cluster(size: u64) -> Vec<Node> {
    let ids: Vec<NodeId> = (1..=size).filter_map(NodeId::new).collect();
    let mut nodes: Vec<Node> = ids
        .iter()
        .map(|&id| {
            let storage = MemStorage::with_voters(ids.iter().copied());
            RawNode::new(Config::new(id), storage).expect("an empty log is a good start")
        })
        .collect();
    nodes[0].campaign().expect("a voter may campaign");
    settle(&mut nodes);
    nodes
}

/// Lets messages pass until nobody has anything left to do.
fn settle(nodes: &mut [Node]) {
    let mut mail: Vec<Message> = Vec::new();
    loop {
        for node in nodes.iter_mut() {
            work(node, &mut mail);
        }
        if mail.is_empty() {
            return;
        }
        for message in mail.drain(..) {
            let to = usize::try_from(message.to.get() - 1).expect("a small id");
            nodes[to].step(message).expect("peers are correct");
        }
    }
}

fn work(node: &mut Node, mail: &mut Vec<Message>) {
    while let Some(mut ready) = node.ready().expect("memory does not fail") {
        mail.append(&mut ready.messages);
        for run in &ready.entries {
            node.storage_mut()
                .append(run)
                .expect("entries continue the log");
        }
        if let Some(hard_state) = ready.hard_state {
            node.storage_mut().set_hard_state(hard_state);
        }
        mail.append(&mut ready.messages_after_persist);
        black_box(&ready.committed_entries);
        node.advance(ready).expect("the ready is this node's");
    }
}

fn compact(node: &mut Node) {
    let applied = node.last_applied();
    let first = almadia::Storage::first_index(node.storage()).expect("memory does not fail");
    if applied.since(first) < KEPT {
        return;
    }
    let term = almadia::Storage::term(node.storage(), applied).expect("applied is in the log");
    let snapshot = Snapshot {
        last_included: LogId {
            term,
            index: applied,
        },
        conf_state: ConfState::of_voters(node.membership().voters()),
        data: almadia::Bytes::new(),
    };
    node.storage_mut()
        .save_snapshot(snapshot)
        .expect("applied is in the log");
    node.storage_mut()
        .compact(applied)
        .expect("the snapshot covers it");
}

fn commit(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("commit");
    for (size, batch) in [(1, 1), (3, 1), (3, 64), (5, 1), (5, 64)] {
        let mut nodes = cluster(size);
        group.throughput(Throughput::Elements(batch));
        group.bench_function(format!("{size}_nodes_batch_{batch}"), |bencher| {
            bencher.iter(|| {
                for _ in 0..batch {
                    nodes[0].propose("", &[7_u8; 16][..]).expect("node 1 leads");
                }
                settle(&mut nodes);
                nodes.iter_mut().for_each(compact);
            });
        });
    }
    group.finish();
}

fn idle(criterion: &mut Criterion) {
    let id = NodeId::new(1).expect("not zero");
    let learner_only = MemStorage::with_voters(NodeId::new(2));
    let mut node = RawNode::new(Config::new(id), learner_only).expect("a good start");
    criterion.bench_function("tick_idle", |bencher| {
        bencher.iter(|| {
            node.tick().expect("memory does not fail");
            black_box(node.has_ready())
        });
    });
}

fn construction(criterion: &mut Criterion) {
    let ids: Vec<NodeId> = (1..=3).filter_map(NodeId::new).collect();
    let storage = MemStorage::with_voters(ids.iter().copied());
    criterion.bench_function("new", |bencher| {
        bencher.iter(|| RawNode::new(Config::new(ids[0]), black_box(storage.clone())));
    });
}

criterion_group!(benches, commit, idle, construction);
criterion_main!(benches);
