//! A cluster of raft-rs 0.7.
//!
//! Owns the nodes, and the loop of an embedder around each of them, as raft-rs documents it.

use std::hint::black_box;

use raft::eraftpb::{ConfState, Message};
use raft::storage::MemStorage;
use raft::{Config, RawNode, StateRole, Storage};

use crate::{KEPT, MAX_INFLIGHT, MAX_MESSAGE_BYTES, pass_on};

/// One node.
pub type Node = RawNode<MemStorage>;

/// Some nodes, of which the first one leads.
pub struct Cluster {
    /// The nodes, the one with id 1 first.
    pub nodes: Vec<Node>,
    mail: Vec<Message>,
    reads: usize,
}

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
        Self {
            nodes: nodes
                .map(|(id, (store, applied))| node(id, batch_append, store, applied))
                .collect(),
            mail: Vec::new(),
            reads: 0,
        }
    }

    /// Makes node 1 the leader.
    ///
    /// # Panics
    ///
    /// If it is not elected.
    pub fn elect(&mut self) {
        self.nodes[0].campaign().expect("a voter may campaign");
        self.settle();
        assert_eq!(self.nodes[0].raft.state, StateRole::Leader);
    }

    /// Lets messages pass until nobody has anything left to do.
    ///
    /// # Panics
    ///
    /// If a node refuses a message.
    pub fn settle(&mut self) {
        loop {
            for node in &mut self.nodes {
                self.reads += work(node, &mut self.mail);
            }
            if self.mail.is_empty() {
                return;
            }
            for message in self.mail.drain(..) {
                let to = message.to as usize - 1;
                self.nodes[to].step(message).expect("peers are correct");
            }
        }
    }

    /// Has the leader propose so many commands, and lets all nodes commit them.
    ///
    /// # Panics
    ///
    /// If one is not taken.
    pub fn commit(&mut self, count: u64, bytes: usize) {
        for _ in 0..count {
            let proposed = self.nodes[0].propose(vec![], crate::command(bytes));
            proposed.expect("node 1 leads");
        }
        self.settle();
    }

    /// Cuts the logs, now and then.
    pub fn compact(&mut self) {
        self.nodes.iter_mut().for_each(compact);
    }

    /// How many reads were answered since this was asked last.
    pub fn take_reads(&mut self) -> usize {
        std::mem::take(&mut self.reads)
    }

    /// What all nodes know to be committed.
    #[must_use]
    pub fn committed(&self) -> u64 {
        let commits = self.nodes.iter().map(|node| node.raft.raft_log.committed);
        commits.min().unwrap_or_default()
    }
}

/// Does what a node asks for, and tells how many reads were answered.
///
/// # Panics
///
/// If its storage fails.
pub fn work(node: &mut Node, mail: &mut Vec<Message>) -> usize {
    let mut reads = 0;
    while node.has_ready() {
        let mut ready = node.ready();
        pass_on(&mut ready.take_messages(), mail);
        reads += ready.read_states().len();
        for entry in ready.take_committed_entries() {
            black_box(entry);
        }
        if !ready.entries().is_empty() {
            let appended = node.store().wl().append(ready.entries());
            appended.expect("entries continue the log");
        }
        if let Some(hard_state) = ready.hs() {
            node.store().wl().set_hardstate(hard_state.clone());
        }
        pass_on(&mut ready.take_persisted_messages(), mail);
        let mut light = node.advance(ready);
        if let Some(commit) = light.commit_index() {
            node.store().wl().mut_hard_state().set_commit(commit);
        }
        pass_on(&mut light.take_messages(), mail);
        for entry in light.take_committed_entries() {
            black_box(entry);
        }
        node.advance_apply();
    }
    reads
}

/// Cuts the log of a node that has grown long.
///
/// # Panics
///
/// If memory fails.
pub fn compact(node: &mut Node) {
    let applied = node.raft.raft_log.applied;
    let store = node.raft.raft_log.store.clone();
    let first = store.first_index().expect("memory does not fail");
    if applied.saturating_sub(first) >= KEPT {
        store.wl().compact(applied).expect("applied is in the log");
    }
}
