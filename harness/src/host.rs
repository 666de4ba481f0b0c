//! One simulated machine: a node, its disk, its state machine, and what waits between them.
//!
//! Owns what a crash loses and a start reads. Must not know the network or the other machines; the
//! order in which obligations are met is in `cluster/drive.rs`.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use almadia::{ConfState, ConfigBuilder};
use almadia::{Config, Entries, LogIndex, NodeId, RawNode, Snapshot, StartError};

use crate::cluster::Tap;
use crate::disk::Disk;
use crate::embedder::{Embedder, Simulated, Store};
#[cfg(feature = "raft-rs")]
use crate::node::Embedding;
use crate::node::{Batch, Kind, Node};
#[cfg(feature = "raft-rs")]
use crate::raft_rs::{RaftRs, Start};
use crate::recorder::{Options, Recorded, Tape, Witness};
use crate::scenario::MachineSetup;
use crate::state_machine::StateMachine;
use crate::unreliable::Unreliable;

/// How an embedder does its writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DiskMode {
    /// One `Ready` at a time, ended by `advance`. The node does nothing while the disk works.
    #[default]
    Synchronous,
    /// `Ready`s go on while writes are pending, acknowledged by `persisted` and `applied`.
    Asynchronous,
}

/// What the state machine is to do next.
#[derive(Clone, Debug)]
pub(crate) enum ApplyJob {
    /// Apply these, and then report this index.
    Entries {
        runs: Vec<Entries>,
        through: LogIndex,
    },
    /// Restore this, once the write of this number is durable.
    Restore { snapshot: Snapshot, number: u64 },
}

/// One simulated machine.
#[derive(Debug)]
pub(crate) struct Host<E: Embedder> {
    pub(crate) id: NodeId,
    /// How often it was started.
    pub(crate) incarnation: u64,
    /// `None` while the machine is down.
    pub(crate) node: Option<Node<E::Store>>,
    /// What runs here from the next start on.
    pub(crate) kind: Kind,
    pub(crate) disk: Disk<E>,
    pub(crate) machine: StateMachine<E::Machine>,
    pub(crate) mode: DiskMode,
    /// The `Ready` that the synchronous embedder is busy with.
    pub(crate) busy: Option<Batch>,
    pub(crate) jobs: VecDeque<ApplyJob>,
    /// The number of the last `Ready` whose writes are durable.
    pub(crate) persisted: u64,
    /// Ticks that have passed and that the node was not told, because it was busy or nobody had
    /// anything to say to it.
    pub(crate) owed_ticks: u32,
    pub(crate) settings: Settings,
    /// What the present node was told of groups.
    pub(crate) groups: Groups,
    /// Whether the last life may have applied what it had not persisted.
    was_eager: bool,
    /// What the node tells of itself.
    pub(crate) tap: Arc<Tap>,
    /// How the nodes of this machine are recorded, if they are.
    recording: Option<Options>,
    /// The recording of the present node.
    reel: Reel,
    /// The nodes that were here, if they were recorded.
    pub(crate) lives: Vec<Life<E>>,
}

/// Which members fail together, and whether entries wait for a second group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Groups {
    pub(crate) in_force: bool,
    of: BTreeMap<NodeId, u64>,
}

impl Groups {
    /// Puts a member into a group; zero is none.
    pub(crate) fn assign(&mut self, member: NodeId, group: u64) {
        self.of.insert(member, group);
    }

    /// The group of a member, if it is of one.
    pub(crate) fn of(&self, member: NodeId) -> Option<u64> {
        self.of.get(&member).copied().filter(|&group| group > 0)
    }
}

/// A recorded node from its start to its end, which may be a crash.
#[derive(Debug)]
pub struct Life<E: Embedder = Simulated> {
    /// The node as it was at the end.
    pub node: RawNode<Witness<Unreliable<E::Store>>>,
    /// What [`Recording::open`](crate::recorder::Recording::open) reads.
    pub recording: Vec<u8>,
}

/// A file in memory. Clones share it.
#[derive(Clone, Debug, Default)]
struct Reel(Arc<Mutex<Vec<u8>>>);

impl Reel {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Reel {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut reel = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        reel.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The limits and switches of a node, beside its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The seed of the node's election timeouts.
    pub seed: u64,
    /// After how many ticks a leader sends the next heartbeats.
    pub heartbeat_interval_ticks: u32,
    /// The shortest election timeout, in ticks.
    pub election_timeout_ticks: u32,
    /// Timeouts are drawn from the shortest to below this; `None` for the double of that.
    pub max_election_timeout_ticks: Option<u32>,
    /// Whether pre-votes are on.
    pub pre_vote: bool,
    /// Whether leaders check their quorum.
    pub check_quorum: bool,
    /// The most bytes of entries in one message.
    pub max_message_bytes: u64,
    /// The most append messages on their way to one peer.
    pub max_inflight_messages: usize,
    /// The most bytes of entries on their way to one peer.
    pub max_inflight_bytes: u64,
    /// The most bytes of uncommitted entries in a leader's log.
    pub max_uncommitted_bytes: u64,
    /// The most bytes of committed entries in one `Ready`.
    pub max_committed_bytes_per_ready: u64,
    /// The most bytes of entries that are kept in memory although they are persisted.
    pub max_tail_bytes: u64,
    /// How much the node is preferred as a leader, at each start.
    pub priority: i64,
    /// Whether leaders answer reads by their lease.
    pub lease_reads: bool,
    /// How many ticks before the election timeout a lease ends.
    pub lease_margin_ticks: u32,
    /// The most reads that wait.
    pub max_pending_reads: usize,
    /// How many entries may be applied before they are persisted.
    pub max_apply_unpersisted_entries: u64,
    /// Whether a new commit index waits for entries or a heartbeat to be told.
    pub skip_commit_broadcast: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            seed: 0,
            heartbeat_interval_ticks: 1,
            election_timeout_ticks: 10,
            max_election_timeout_ticks: None,
            pre_vote: true,
            check_quorum: true,
            max_message_bytes: 1 << 20,
            max_inflight_messages: 256,
            max_inflight_bytes: 16 << 20,
            max_uncommitted_bytes: 64 << 20,
            max_committed_bytes_per_ready: 16 << 20,
            max_tail_bytes: 16 << 20,
            priority: 0,
            lease_reads: false,
            lease_margin_ticks: 2,
            max_pending_reads: 4096,
            max_apply_unpersisted_entries: 0,
            skip_commit_broadcast: false,
        }
    }
}

impl Settings {
    /// What election timeouts stay below.
    pub(crate) fn longest_timeout(&self) -> u32 {
        let double = self.election_timeout_ticks.saturating_mul(2);
        self.max_election_timeout_ticks.unwrap_or(double)
    }

    /// The same clock and elections, with the limits of others.
    pub(crate) fn with_limits_of(self, others: &Self) -> Self {
        Self {
            heartbeat_interval_ticks: self.heartbeat_interval_ticks,
            election_timeout_ticks: self.election_timeout_ticks,
            max_election_timeout_ticks: self.max_election_timeout_ticks,
            pre_vote: self.pre_vote,
            check_quorum: self.check_quorum,
            priority: self.priority,
            ..*others
        }
    }

    fn builder(&self, id: NodeId) -> ConfigBuilder {
        Config::builder(id)
            .seed(self.seed)
            .heartbeat_interval_ticks(self.heartbeat_interval_ticks)
            .election_timeout_ticks(self.election_timeout_ticks)
            .max_election_timeout_ticks(self.longest_timeout())
            .pre_vote(self.pre_vote)
            .check_quorum(self.check_quorum)
            .max_message_bytes(self.max_message_bytes)
            .max_inflight_messages(self.max_inflight_messages)
            .max_inflight_bytes(self.max_inflight_bytes)
            .max_uncommitted_bytes(self.max_uncommitted_bytes)
            .max_committed_bytes_per_ready(self.max_committed_bytes_per_ready)
            .max_tail_bytes(self.max_tail_bytes)
            .priority(self.priority)
            .lease_reads(self.lease_reads)
            .lease_margin_ticks(self.lease_margin_ticks)
            .max_pending_reads(self.max_pending_reads)
            .max_apply_unpersisted_entries(self.max_apply_unpersisted_entries)
            .skip_commit_broadcast(self.skip_commit_broadcast)
    }
}

impl<E: Embedder> Host<E> {
    /// A machine that was never started, in a cluster that began with these members.
    pub(crate) fn new(
        id: NodeId,
        conf_state: &ConfState,
        machine: &MachineSetup,
        recording: Option<Options>,
    ) -> Self {
        let mut disk = Disk::new(conf_state);
        disk.fault = machine.fault;
        Self {
            id,
            incarnation: 0,
            node: None,
            kind: machine.kind,
            machine: disk.machine.clone(),
            disk,
            mode: machine.mode,
            busy: None,
            jobs: VecDeque::new(),
            persisted: 0,
            owed_ticks: 0,
            settings: machine.settings,
            groups: Groups::default(),
            was_eager: false,
            tap: Arc::default(),
            recording,
            reel: Reel::default(),
            lives: Vec::new(),
        }
    }

    /// Starts the node from what is durable. If the last life has left the state machine ahead of
    /// the log, that must be allowed again.
    pub(crate) fn start(&mut self) -> Result<(), String> {
        let result = match self.kind {
            Kind::Almadia => self.start_almadia().map_err(|error| error.to_string()),
            #[cfg(feature = "raft-rs")]
            Kind::RaftRs(embedding) => self.start_raft_rs(embedding),
            #[cfg(not(feature = "raft-rs"))]
            Kind::RaftRs(_) => Err("this crate was built without the feature raft-rs".into()),
        };
        result?;
        self.incarnation += 1;
        self.persisted = 0;
        self.was_eager = self.settings.max_apply_unpersisted_entries > 0;
        Ok(())
    }

    fn start_almadia(&mut self) -> Result<(), StartError> {
        match self.try_start() {
            Err(StartError::AppliedBeyondLog { .. } | StartError::AppliedDiffers { .. })
                if self.was_eager =>
            {
                self.settings.max_apply_unpersisted_entries = 1;
                self.try_start()
            }
            result => result,
        }
    }

    /// What a node starts from.
    fn storage(&mut self) -> Unreliable<E::Store> {
        self.machine = self.disk.machine.clone();
        let mut storage = self.disk.durable.clone();
        storage.set_conf_state(self.machine.conf_state().clone());
        Unreliable::new(storage)
    }

    #[cfg(feature = "raft-rs")]
    fn start_raft_rs(&mut self, embedding: Embedding) -> Result<(), String> {
        let storage = self.storage();
        let start = Start {
            id: self.id,
            settings: &self.settings,
            embedding,
            applied: self.machine.applied_index(),
            incarnation: self.incarnation,
        };
        let node = RaftRs::start(&start, storage)?;
        self.node = Some(Node::RaftRs(Box::new(node)));
        Ok(())
    }

    fn try_start(&mut self) -> Result<(), StartError> {
        let storage = self.storage();
        let config = self
            .settings
            .builder(self.id)
            .applied(self.machine.applied())
            .incarnation(u32::try_from(self.incarnation).unwrap_or(u32::MAX))
            .build()
            .unwrap_or_else(|error| panic!("the settings of node {}: {error}", self.id));
        // What a start that was refused has left.
        self.reel.take();
        let tape = self.recording.map(|options| {
            // Memory does not fail.
            Tape::writer(self.reel.clone(), options).ok()
        });
        let tap = Arc::clone(&self.tap);
        let node = Recorded::with_observer(config, storage, tap, tape.flatten())?;
        self.node = Some(Node::Almadia(Box::new(node)));
        Ok(())
    }

    /// Whether the node has stopped because its storage could not be read.
    pub(crate) fn has_halted(&self) -> bool {
        self.node.as_ref().is_some_and(Node::has_halted)
    }

    /// Everything in memory is gone.
    pub(crate) fn stop(&mut self) {
        self.disk.is_stalled = false;
        let node = self.node.take().and_then(Node::into_almadia);
        if let Some(node) = node.filter(|_| self.recording.is_some()) {
            let node = node.into_node();
            let recording = self.reel.take();
            self.lives.push(Life { node, recording });
        }
        self.busy = None;
        self.owed_ticks = 0;
        self.groups = Groups::default();
        self.jobs.clear();
    }
}
