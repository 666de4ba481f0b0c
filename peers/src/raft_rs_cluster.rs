//! A cluster of raft-rs 0.7.
//!
//! Owns the nodes, and the loop of an embedder around each of them, as raft-rs documents it.

use std::hint::black_box;

use raft::eraftpb::{ConfState, Message};
use raft::storage::MemStorage;
use raft::{Config, RawNode, StateRole, Storage};

use crate::cluster::{self, Peer};
use crate::{KEPT, MAX_INFLIGHT, MAX_MESSAGE_BYTES};

/// One node.
pub type Node = RawNode<MemStorage>;

/// Some of them.
pub type Cluster = cluster::Cluster<Node>;

/// What all nodes run with: the same as almadia's.
#[must_use]
pub fn config(id: u64, batch_append: bool) -> Config {
    Config {
        id,
        election_tick: 1 << 29,
        heartbeat_tick: 1 << 28,
        max_size_per_msg: MAX_MESSAGE_BYTES,
        max_inflight_msgs: MAX_INFLIGHT,
        check_quorum: true,
        pre_vote: true,
        batch_append,
        ..Config::default()
    }
}

/// A store of a node of the cluster of this size.
#[must_use]
pub fn store(size: u64) -> MemStorage {
    MemStorage::new_with_conf_state(ConfState::from(((1..=size).collect::<Vec<_>>(), vec![])))
}

/// A node on this log, which is applied up to there.
///
/// # Panics
///
/// If the log is none.
#[must_use]
pub fn node(id: u64, batch_append: bool, store: MemStorage, applied: u64) -> Node {
    let config = Config {
        applied,
        ..config(id, batch_append)
    };
    let node = Node::new(&config, store, crate::silent());
    node.expect("the log is a good start")
}

impl Cluster {
    /// A cluster that has elected node 1.
    #[must_use]
    pub fn of(size: u64, batch_append: bool) -> Self {
        let stores = (1..=size).map(|_| (store(size), 0)).collect();
        let mut cluster = Self::on(stores, batch_append);
        cluster.elect();
        cluster
    }

    /// A cluster on these logs, each applied up to there, which has elected nobody.
    #[must_use]
    pub fn on(stores: Vec<(MemStorage, u64)>, batch_append: bool) -> Self {
        let nodes = (1..).zip(stores);
        let nodes = nodes.map(|(id, (store, applied))| node(id, batch_append, store, applied));
        Self::of_nodes(nodes.collect())
    }
}

impl Peer for Node {
    type Message = Message;

    fn receiver(message: &Message) -> u64 {
        message.to
    }

    fn campaign(&mut self) {
        self.campaign().expect("a voter may campaign");
    }

    fn leads(&self) -> bool {
        self.raft.state == StateRole::Leader
    }

    fn propose(&mut self, command: Vec<u8>) {
        self.propose(vec![], command).expect("it leads");
    }

    fn step(&mut self, message: Message) {
        self.step(message).expect("peers are correct");
    }

    fn work(&mut self, mail: &mut Vec<Message>) -> usize {
        let mut reads = 0;
        while self.has_ready() {
            let mut ready = self.ready();
            mail.append(&mut ready.take_messages());
            reads += ready.read_states().len();
            for entry in ready.take_committed_entries() {
                black_box(entry);
            }
            if !ready.entries().is_empty() {
                let appended = self.store().wl().append(ready.entries());
                appended.expect("entries continue the log");
            }
            if let Some(hard_state) = ready.hs() {
                self.store().wl().set_hardstate(hard_state.clone());
            }
            mail.append(&mut ready.take_persisted_messages());
            let mut light = self.advance(ready);
            if let Some(commit) = light.commit_index() {
                self.store().wl().mut_hard_state().set_commit(commit);
            }
            mail.append(&mut light.take_messages());
            for entry in light.take_committed_entries() {
                black_box(entry);
            }
            self.advance_apply();
        }
        reads
    }

    fn compact(&mut self) {
        let applied = self.raft.raft_log.applied;
        let store = self.raft.raft_log.store.clone();
        let first = store.first_index().expect("memory does not fail");
        if applied.saturating_sub(first) >= KEPT {
            store.wl().compact(applied).expect("applied is in the log");
        }
    }

    fn committed(&self) -> u64 {
        self.raft.raft_log.committed
    }
}
