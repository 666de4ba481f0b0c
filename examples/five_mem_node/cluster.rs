//! The nodes as the main thread sees them: threads to start and stop, and the disks of those
//! that do not run.
//!
//! Owns the threads and the channels to them. Knows nothing of commands or of what the nodes say.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use almadia::{LogIndex, MemStorage, NodeId, Storage};

use crate::mail::{AnyError, Event, Input};
use crate::node::Node;
use crate::tracer::Tracer;

/// How many nodes there are, at the start and at the end.
pub(crate) const NODES: u64 = 5;

/// A node that runs, as far as the main thread has hold of it.
struct Running {
    inbox: Sender<Input>,
    thread: JoinHandle<Result<MemStorage, AnyError>>,
}

/// All nodes, and where their events arrive.
pub(crate) struct Cluster {
    nodes: BTreeMap<NodeId, Running>,
    /// The disks of the nodes that do not run.
    disks: BTreeMap<NodeId, MemStorage>,
    /// How often any node was started.
    starts: u32,
    events: Receiver<Event>,
    event_sender: Sender<Event>,
    tracer: Tracer,
}

impl Cluster {
    /// Five nodes with empty disks, all stopped.
    pub(crate) fn new(tracer: Tracer) -> Self {
        let ids = || (1..=NODES).filter_map(NodeId::new);
        let (event_sender, events) = mpsc::channel();
        Self {
            nodes: BTreeMap::new(),
            disks: ids()
                .map(|id| (id, MemStorage::with_voters(ids())))
                .collect(),
            starts: 0,
            events,
            event_sender,
            tracer,
        }
    }

    /// Adds one more node, stopped, with an empty disk: it does not know yet whom it belongs to.
    pub(crate) fn add(&mut self, id: NodeId) {
        self.disks.insert(id, MemStorage::new());
    }

    /// The nodes that run.
    pub(crate) fn running(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    /// Whether this node runs.
    pub(crate) fn is_running(&self, id: NodeId) -> bool {
        self.nodes.contains_key(&id)
    }

    /// The nodes that do not run.
    pub(crate) fn stopped(&self) -> Vec<NodeId> {
        self.disks.keys().copied().collect()
    }

    /// Starts a stopped node from its disk, and connects it with the running ones.
    pub(crate) fn start(&mut self, id: NodeId) -> Result<(), AnyError> {
        let disk = self.disks.remove(&id);
        let disk = disk.ok_or_else(|| format!("node {id} is not there to be started"))?;
        let (inbox, receiver) = mpsc::channel();
        let mut peers = BTreeMap::new();
        for (peer, running) in &self.nodes {
            peers.insert(*peer, running.inbox.clone());
            let inbox = inbox.clone();
            // A peer that has failed meanwhile is found by `check_threads`.
            let _ = running.inbox.send(Input::Connect { peer: id, inbox });
        }
        let events = self.event_sender.clone();
        self.starts += 1;
        let tracer = self.tracer.clone();
        let node = Node::start(id, self.starts, disk, receiver, peers, events, tracer)
            .map_err(|error| format!("node {id} cannot start: {error}"))?;
        let thread = thread::Builder::new()
            .name(format!("node {id}"))
            .spawn(move || node.run())?;
        self.nodes.insert(id, Running { inbox, thread });
        Ok(())
    }

    /// Stops a running node at once. What it had not written is lost; its disk stays. Returns
    /// where the log on it ends.
    pub(crate) fn kill(&mut self, id: NodeId) -> Result<LogIndex, AnyError> {
        let running = self.nodes.remove(&id);
        let Running { inbox, thread } = running.ok_or_else(|| format!("node {id} does not run"))?;
        // If it has failed by itself, its thread says why.
        let _ = inbox.send(Input::Stop);
        let disk = match thread.join() {
            Ok(Ok(disk)) => disk,
            Ok(Err(error)) => return Err(format!("node {id} has failed: {error}").into()),
            Err(_) => return Err(format!("node {id} has panicked; its message is above").into()),
        };
        self.tracer.stopped(id);
        let last = disk.last_index()?;
        self.disks.insert(id, disk);
        Ok(last)
    }

    /// Gives an input to a node. Returns whether the node was there to take it.
    pub(crate) fn send(&self, id: NodeId, input: Input) -> bool {
        self.nodes
            .get(&id)
            .is_some_and(|running| running.inbox.send(input).is_ok())
    }

    /// The next event, if one comes within this time.
    pub(crate) fn next_event(&self, patience: Duration) -> Option<Event> {
        self.events.recv_timeout(patience).ok()
    }

    /// An error if a node has stopped without being told to.
    pub(crate) fn check_threads(&mut self) -> Result<(), AnyError> {
        let ended = |running: &Running| running.thread.is_finished();
        let Some((&id, _)) = self.nodes.iter().find(|(_, running)| ended(running)) else {
            return Ok(());
        };
        self.kill(id)?;
        Err(format!("node {id} has stopped without being told to").into())
    }
}
