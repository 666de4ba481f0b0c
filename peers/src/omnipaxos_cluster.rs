//! A cluster of omnipaxos 0.2.
//!
//! Owns the nodes, and the loop of an embedder around each of them, as omnipaxos documents it.
//!
//! It is driven as a `RawNode` is: messages go in, messages come out, and time is told by ticks. But its
//! protocol is another one, and it promises other things, so its figure is no measure of a Raft:
//!
//! * It is Sequence Paxos with ballot leader election: nodes agree on a ballot, no matter whose log is how
//!   long, and who leads then takes over the log of a majority. Here node 1 leads from the start.
//! * It writes to its store inside of the call that brings a message or a proposal, and answers at once.
//!   So the embedder is told neither what has to be on disk before which message leaves, nor when to write,
//!   and cannot write while it does something else. That is what the `Ready`s of the Rafts are for.
//! * What is proposed goes into the message that waits to be taken. If told so it is gathered before, in
//!   batches that leave when they are full, or after some ticks. The better of both ways counts.
//! * An entry has neither a term nor an index, and messages have no check of the entry before. They are
//!   numbered, and whoever misses one asks to be brought up again.
//! * There is no bound for what is on its way.
//! * What is decided is read from the log, as copies. The Rafts hand it out to be applied.
//! * An entry is of the embedder's type. Here copies of it share their bytes.
//! * A cluster of one is refused.

use std::hint::black_box;
use std::sync::Arc;

use omnipaxos::messages::Message;
use omnipaxos::storage::{Entry, NoSnapshot};
use omnipaxos::{ClusterConfig, OmniPaxos, ServerConfig};
use omnipaxos_storage::memory_storage::MemoryStorage;

use crate::KEPT;

/// What is proposed. Its copies share their bytes.
#[derive(Clone, Debug)]
pub struct Command(pub Arc<[u8]>);

impl Entry for Command {
    type Snapshot = NoSnapshot;
}

/// One node, and how far its decided entries were read.
pub struct Node {
    paxos: OmniPaxos<Command, MemoryStorage<Command>>,
    read: usize,
}

/// Some nodes, of which the first one leads.
pub struct Cluster {
    /// The nodes, the one with id 1 first.
    pub nodes: Vec<Node>,
    mail: Vec<Message<Command>>,
}

/// A node of the cluster of this size, whose batches are of so many proposals.
///
/// # Panics
///
/// If the values do not go together.
#[must_use]
pub fn node(id: u64, size: u64, batch: usize) -> Node {
    let cluster = ClusterConfig {
        configuration_id: 1,
        nodes: (1..=size).collect(),
        flexible_quorum: None,
    };
    let server = ServerConfig {
        pid: id,
        batch_size: batch,
        // As many messages have room from the start. It is no limit.
        buffer_size: crate::MAX_INFLIGHT,
        ..ServerConfig::default()
    };
    let paxos = cluster.build_for_server(server, MemoryStorage::default());
    Node {
        paxos: paxos.expect("the values go together"),
        read: 0,
    }
}

impl Cluster {
    /// A cluster that has elected node 1, whose batches are of so many proposals.
    #[must_use]
    pub fn of(size: u64, batch: usize) -> Self {
        let nodes = (1..=size).map(|id| node(id, size, batch));
        let mut cluster = Self {
            nodes: nodes.collect(),
            mail: Vec::new(),
        };
        cluster.elect();
        cluster
    }

    /// Makes node 1 the leader.
    ///
    /// # Panics
    ///
    /// If it is not elected.
    pub fn elect(&mut self) {
        self.nodes[0].paxos.try_become_leader();
        self.settle();
        for node in &self.nodes {
            assert_eq!(node.paxos.get_current_leader(), Some((1, true)));
        }
    }

    /// Lets messages pass until nobody has anything left to do.
    pub fn settle(&mut self) {
        loop {
            for node in &mut self.nodes {
                work(node, &mut self.mail);
            }
            if self.mail.is_empty() {
                return;
            }
            for message in self.mail.drain(..) {
                let to = message.get_receiver() as usize - 1;
                self.nodes[to].paxos.handle_incoming(message);
            }
        }
    }

    /// Has the leader propose so many commands, and lets all nodes decide them.
    ///
    /// # Panics
    ///
    /// If one is not taken.
    pub fn commit(&mut self, count: u64, bytes: usize) {
        for _ in 0..count {
            let command = Command(crate::command(bytes).into());
            let proposed = self.nodes[0].paxos.append(command);
            proposed.expect("nothing is reconfigured");
        }
        self.settle();
    }

    /// Cuts the logs, now and then. It is the leader that has all of them cut.
    ///
    /// # Panics
    ///
    /// If a node has not cut its log.
    pub fn compact(&mut self) {
        let decided = self.nodes[0].paxos.get_decided_idx();
        if decided - self.nodes[0].paxos.get_compacted_idx() < KEPT as usize {
            return;
        }
        let trimmed = self.nodes[0].paxos.trim(Some(decided));
        trimmed.expect("all have decided it");
        self.settle();
        for node in &self.nodes {
            assert_eq!(node.paxos.get_compacted_idx(), decided);
        }
    }

    /// What all nodes know to be decided, and have read.
    #[must_use]
    pub fn committed(&self) -> u64 {
        let read = self.nodes.iter().map(|node| node.read as u64);
        read.min().unwrap_or_default()
    }
}

/// Takes what a node has to send, and reads what it has decided.
///
/// # Panics
///
/// If its storage fails.
pub fn work(node: &mut Node, mail: &mut Vec<Message<Command>>) {
    node.paxos.take_outgoing_messages(mail);
    let decided = node.paxos.get_decided_idx();
    if decided > node.read {
        let entries = node.paxos.read_decided_suffix(node.read);
        let entries = entries.expect("what is decided is in the log");
        assert_eq!(entries.len(), decided - node.read);
        for entry in entries {
            black_box(entry);
        }
        node.read = decided;
    }
}
