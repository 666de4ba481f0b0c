//! A cluster of almadia.
//!
//! Owns the nodes, and the loop of an embedder around each of them.

use std::hint::black_box;

use almadia::{
    ConfState, Config, LogId, MemStorage, Message, NodeId, RawNode, RoleKind, Snapshot, Storage,
};

use crate::cluster::{self, Peer};
use crate::{KEPT, MAX_INFLIGHT, MAX_MESSAGE_BYTES};

/// One node.
pub type Node = RawNode<MemStorage>;

/// Some of them.
pub type Cluster = cluster::Cluster<Node>;

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
        Self::of_nodes(nodes.collect())
    }
}

impl Peer for Node {
    type Message = Message;

    fn receiver(message: &Message) -> u64 {
        message.to.get()
    }

    fn campaign(&mut self) {
        self.campaign().expect("a voter may campaign");
    }

    fn leads(&self) -> bool {
        self.role() == RoleKind::Leader
    }

    fn propose(&mut self, command: Vec<u8>) {
        self.propose("", command).expect("it leads");
    }

    fn step(&mut self, message: Message) {
        self.step(message).expect("peers are correct");
    }

    fn work(&mut self, mail: &mut Vec<Message>) -> usize {
        let mut reads = 0;
        while let Some(mut ready) = self.ready().expect("memory does not fail") {
            mail.append(&mut ready.messages);
            for run in &ready.entries {
                let appended = self.storage_mut().append(run);
                appended.expect("entries continue the log");
            }
            if let Some(hard_state) = ready.hard_state {
                self.storage_mut().set_hard_state(hard_state);
            }
            mail.append(&mut ready.messages_after_persist);
            for entry in ready.committed_entries.iter().flatten() {
                black_box(entry);
            }
            reads += ready.read_states.len();
            self.advance(ready).expect("the ready is this node's");
        }
        reads
    }

    fn compact(&mut self) {
        let index = self.last_applied();
        let first = self.storage().first_index().expect("memory does not fail");
        if index.since(first) < KEPT {
            return;
        }
        let term = self.storage().term(index).expect("applied is in the log");
        let snapshot = Snapshot {
            last_included: LogId { term, index },
            conf_state: ConfState::of_voters(self.membership().voters()),
            data: almadia::Bytes::new(),
        };
        let store = self.storage_mut();
        store
            .save_snapshot(snapshot)
            .expect("applied is in the log");
        store.compact(index).expect("the snapshot covers it");
    }

    fn committed(&self) -> u64 {
        self.commit_index().0
    }
}
