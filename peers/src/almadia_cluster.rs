//! A cluster of almadia.
//!
//! Owns the nodes, and the loop of an embedder around each of them.

use std::hint::black_box;

use almadia::{
    ConfState, Config, LogId, LogIndex, MemStorage, Message, NodeId, RawNode, RoleKind, Snapshot,
    Storage,
};

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

/// The ids from 1.
#[must_use]
pub fn ids(size: u64) -> Vec<NodeId> {
    (1..=size).filter_map(NodeId::new).collect()
}

/// What all nodes run with. Elections come when they are asked for.
///
/// # Panics
///
/// If the values do not go together.
#[must_use]
pub fn config(id: NodeId) -> Config {
    config_of_applied(id, LogId::ZERO)
}

fn config_of_applied(id: NodeId, applied: LogId) -> Config {
    Config::builder(id)
        .applied(applied)
        .max_message_bytes(MAX_MESSAGE_BYTES)
        .max_inflight_messages(MAX_INFLIGHT)
        .election_timeout_ticks(1 << 29)
        .max_election_timeout_ticks(1 << 30)
        .heartbeat_interval_ticks(1 << 28)
        .build()
        .expect("the values go together")
}

impl Cluster {
    /// A cluster that has elected node 1.
    #[must_use]
    pub fn of(size: u64) -> Self {
        let ids = ids(size);
        let store = || (MemStorage::with_voters(ids.clone()), LogId::ZERO);
        let stores = ids.iter().map(|_| store());
        let mut cluster = Self::on(stores.collect());
        cluster.elect();
        cluster
    }

    /// A cluster on these logs, each applied up to there, which has elected nobody.
    ///
    /// # Panics
    ///
    /// If a log is none.
    #[must_use]
    pub fn on(stores: Vec<(MemStorage, LogId)>) -> Self {
        let nodes = (1..).filter_map(NodeId::new).zip(stores);
        let nodes = nodes.map(|(id, (store, applied))| {
            let node = Node::new(config_of_applied(id, applied), store);
            node.expect("the log is a good start")
        });
        Self {
            nodes: nodes.collect(),
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
        assert_eq!(self.nodes[0].role(), RoleKind::Leader);
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
                let to = message.to.get() as usize - 1;
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
            let proposed = self.nodes[0].propose("", crate::command(bytes));
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
        let commits = self.nodes.iter().map(|node| node.commit_index().0);
        commits.min().unwrap_or_default()
    }
}

/// Does what a node asks for, and tells how many reads were answered.
///
/// # Panics
///
/// If the node halts.
pub fn work(node: &mut Node, mail: &mut Vec<Message>) -> usize {
    let mut reads = 0;
    while let Some(mut ready) = node.ready().expect("memory does not fail") {
        pass_on(&mut ready.messages, mail);
        for run in &ready.entries {
            let appended = node.storage_mut().append(run);
            appended.expect("entries continue the log");
        }
        if let Some(hard_state) = ready.hard_state {
            node.storage_mut().set_hard_state(hard_state);
        }
        pass_on(&mut ready.messages_after_persist, mail);
        for entry in ready.committed_entries.iter().flatten() {
            black_box(entry);
        }
        reads += ready.read_states.len();
        node.advance(ready).expect("the ready is this node's");
    }
    reads
}

/// Cuts the log of a node that has grown long.
///
/// # Panics
///
/// If memory fails.
pub fn compact(node: &mut Node) {
    let index = node.last_applied();
    let first = node.storage().first_index().expect("memory does not fail");
    if index.since(first) >= KEPT {
        cut(node, index);
    }
}

/// Cuts the log of a node up to this index, which is applied.
///
/// # Panics
///
/// If it is not in the log.
pub fn cut(node: &mut Node, index: LogIndex) {
    let term = node.storage().term(index).expect("applied is in the log");
    let snapshot = Snapshot {
        last_included: LogId { term, index },
        conf_state: ConfState::of_voters(node.membership().voters()),
        data: almadia::Bytes::new(),
    };
    let store = node.storage_mut();
    store
        .save_snapshot(snapshot)
        .expect("applied is in the log");
    store.compact(index).expect("the snapshot covers it");
}
