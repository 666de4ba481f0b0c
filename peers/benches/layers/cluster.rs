//! A cluster of either side, as far as the benches of nodes need it.
//!
//! Owns the one form in which both take their inputs, and the cost of a commit on all nodes.

use std::hint::black_box;

use almadia::{MemStorage, Message};
use almadia_peers::{almadia_cluster as ours, raft_rs_cluster as raft_rs, workloads};
use criterion::{Criterion, Throughput};
use raft::eraftpb;

/// Nodes in one thread, of which the first one leads. What nodes say to each other is lost, except in
/// [`settle`](Self::settle) and [`commit`](Self::commit).
pub(crate) trait Cluster: Sized {
    const NAME: &'static str;
    type Message;
    type Store;

    fn of(size: u64, batch_append: bool) -> Self;
    fn message(message: &Message) -> Self::Message;
    fn term(&self) -> u64;
    fn last_index(&self, node: usize) -> u64;
    fn propose(&mut self, command: Vec<u8>);
    fn read_index(&mut self, context: Vec<u8>);
    /// Whether there is something to do.
    fn tick(&mut self, node: usize) -> bool;
    fn step(&mut self, node: usize, message: Self::Message);
    /// Takes each `Ready`, stores what it says, and gives it back.
    fn work(&mut self, node: usize);
    fn settle(&mut self);
    fn commit(&mut self, batch: u64);
    fn compact(&mut self);
    fn store() -> Self::Store;
    /// Makes a node, and drops it.
    fn open(store: Self::Store);
}

impl Cluster for ours::Cluster {
    const NAME: &'static str = "almadia";
    type Message = Message;
    type Store = MemStorage;

    fn of(size: u64, _: bool) -> Self {
        Self::of(size)
    }

    fn message(message: &Message) -> Message {
        message.clone()
    }

    fn term(&self) -> u64 {
        self.nodes[0].current_term().0
    }

    fn last_index(&self, node: usize) -> u64 {
        self.nodes[node].last_log().index.0
    }

    fn propose(&mut self, command: Vec<u8>) {
        let proposed = self.nodes[0].propose("", command);
        proposed.expect("node 1 leads");
    }

    fn read_index(&mut self, context: Vec<u8>) {
        self.nodes[0].read_index(context).expect("node 1 leads");
    }

    fn tick(&mut self, node: usize) -> bool {
        self.nodes[node].tick().expect("memory does not fail");
        self.nodes[node].has_ready()
    }

    fn step(&mut self, node: usize, message: Message) {
        self.nodes[node].step(message).expect("peers are correct");
    }

    fn work(&mut self, node: usize) {
        ours::work(&mut self.nodes[node], &mut Vec::new());
    }

    fn settle(&mut self) {
        self.settle();
    }

    fn commit(&mut self, batch: u64) {
        self.commit(batch, 16);
    }

    fn compact(&mut self) {
        self.compact();
    }

    fn store() -> MemStorage {
        MemStorage::with_voters(ours::ids(3))
    }

    fn open(store: MemStorage) {
        let node = ours::Node::new(ours::config(ours::ids(1)[0]), store);
        drop(black_box(node.expect("the log is a good start")));
    }
}

impl Cluster for raft_rs::Cluster {
    const NAME: &'static str = "raft-rs";
    type Message = eraftpb::Message;
    type Store = raft::storage::MemStorage;

    fn of(size: u64, batch_append: bool) -> Self {
        Self::of(size, batch_append)
    }

    fn message(message: &Message) -> eraftpb::Message {
        workloads::of_raft_rs(message)
    }

    fn term(&self) -> u64 {
        self.nodes[0].raft.term
    }

    fn last_index(&self, node: usize) -> u64 {
        self.nodes[node].raft.raft_log.last_index()
    }

    fn propose(&mut self, command: Vec<u8>) {
        let proposed = self.nodes[0].propose(vec![], command);
        proposed.expect("node 1 leads");
    }

    fn read_index(&mut self, context: Vec<u8>) {
        self.nodes[0].read_index(context);
    }

    fn tick(&mut self, node: usize) -> bool {
        self.nodes[node].tick();
        self.nodes[node].has_ready()
    }

    fn step(&mut self, node: usize, message: eraftpb::Message) {
        self.nodes[node].step(message).expect("peers are correct");
    }

    fn work(&mut self, node: usize) {
        raft_rs::work(&mut self.nodes[node], &mut Vec::new());
    }

    fn settle(&mut self) {
        self.settle();
    }

    fn commit(&mut self, batch: u64) {
        self.commit(batch, 16);
    }

    fn compact(&mut self) {
        self.compact();
    }

    fn store() -> raft::storage::MemStorage {
        raft_rs::store(3)
    }

    fn open(store: raft::storage::MemStorage) {
        let node = raft_rs::Node::new(&raft_rs::config(1, false), store, almadia_peers::silent());
        drop(black_box(node.expect("the log is a good start")));
    }
}

/// So many proposals at once, until all nodes have committed them.
pub(crate) fn bench(criterion: &mut Criterion) {
    for (size, batch) in [(1, 1), (3, 1), (3, 64), (5, 1), (5, 64)] {
        commit::<ours::Cluster>(criterion, size, batch);
        commit::<raft_rs::Cluster>(criterion, size, batch);
    }
}

fn commit<C: Cluster>(criterion: &mut Criterion, size: u64, batch: u64) {
    let mut group = criterion.benchmark_group("commit");
    group.throughput(Throughput::Elements(batch));
    let name = format!("nodes_{size}_batch_{batch}/{}", C::NAME);
    // Raft-rs's other way to batch pays off where there is something to batch.
    let mut cluster = C::of(size, batch > 1);
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            cluster.commit(batch);
            cluster.compact();
        });
    });
    group.finish();
}
