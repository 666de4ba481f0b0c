//! A cluster in one process, without threads or clocks: every event is a call.
//!
//! Owns the API for scenario tests, and the hosts, network and checkers behind it. How a node's
//! output is carried out is in `cluster/drive.rs`; random runs are made by `simulation.rs` on top
//! of this.

mod ask;
mod drive;
mod mixing;
mod perform;
mod recover;
mod tracing;

use self::mixing::Mixing;
pub use self::recover::RECOVERY_TICKS;

use almadia::{
    ConfState, LogId, LogIndex, MembershipChange, Message, NodeId, ReadState, RoleKind,
    SnapshotStatus, TransferOutcome,
};

use crate::checker::{Checker, Checks};
use crate::digest::Digest;
use crate::disk::EmbedderFault;
use crate::embedder::{Embedder, Simulated};
use crate::host::{DiskMode, Host, Settings};
use crate::network::Network;
use crate::node::{Kind, Node};
use crate::recorder::{Options, Recorded};
use crate::scenario::{MachineSetup, Scenario};
use crate::state_machine::StateMachine;
use crate::stats::Stats;
use crate::trace::{TraceRecorder, What};
use crate::unreliable::Unreliable;
use crate::violation::{Violation, ViolationKind};

pub(crate) use self::tracing::Tap;

/// A snapshot message whose fate the transport has still to report.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PendingReport {
    pub(crate) due: u64,
    pub(crate) sender: NodeId,
    pub(crate) incarnation: u64,
    pub(crate) peer: NodeId,
    pub(crate) status: SnapshotStatus,
}

/// How reads and transfers have ended that users have asked for on one node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcomes {
    /// The node.
    pub node: NodeId,
    /// The reads, in the order in which they have ended.
    pub reads: Vec<ReadState>,
    /// The transfers, in the same order.
    pub transfers: Vec<TransferOutcome>,
}

/// Some nodes, their disks, and the network between them.
///
/// Node ids are numbers from 1. Whatever a call sets off on the called node is carried out at
/// once: messages go onto the network, writes to the disk (unless it is
/// [stalled](Self::stall_disk)), and committed entries to the state machine. Messages wait on the
/// network until they are delivered. The checkers look at everything; a broken promise of Raft
/// panics with its description.
///
/// ```
/// use almadia_harness::Cluster;
///
/// let mut cluster = Cluster::new(3, 42);
/// cluster.campaign(1);
/// cluster.deliver_all();
/// assert_eq!(cluster.leader(), Some(1));
///
/// // The third node hears nothing of this, and crashes.
/// cluster.isolate(3);
/// let id = cluster.propose(1, "hello").expect("node 1 leads");
/// cluster.deliver_all();
/// assert!(cluster.is_committed(id));
/// cluster.crash(3);
///
/// // It comes back, and the cluster brings it up to date.
/// cluster.heal();
/// cluster.restart(3);
/// cluster.settle();
/// assert_eq!(cluster.state_machine(3), cluster.state_machine(1));
/// ```
#[derive(Debug)]
pub struct Cluster<E: Embedder = Simulated> {
    pub(crate) hosts: Vec<Host<E>>,
    pub(crate) network: Network,
    pub(crate) checker: Checker,
    pub(crate) stats: Stats,
    pub(crate) reports: Vec<PendingReport>,
    /// Ticks of the cluster, for what has to happen some ticks later.
    pub(crate) now: u64,
    /// How reads and transfers have ended, if anybody wants to know.
    outcomes: Option<Vec<Outcomes>>,
    /// How many commands the cluster has proposed of its own accord.
    own_commands: u64,
    /// Whether writes and applies are carried out at once. Random runs do them step by step.
    pub(crate) is_instant: bool,
    /// Whether a violation panics.
    pub(crate) panics: bool,
    pub(crate) violation: Option<Violation>,
    /// Whether messages are encoded and decoded on their way.
    #[cfg(feature = "raft-rs")]
    talks_in_bytes: bool,
    mixing: Mixing,
    /// Whoever records what happens, if somebody does.
    recorder: Option<TraceRecorder>,
    seed: u64,
}

impl Cluster {
    /// A cluster of `voters` nodes, none of them leading.
    #[must_use]
    pub fn new(voters: u64, seed: u64) -> Self {
        Self::with_settings(voters, 0, seed, Settings::default())
    }

    /// A cluster of `voters` nodes, and `others` more that are running and may be added to it.
    #[must_use]
    pub fn with_settings(voters: u64, others: u64, seed: u64, settings: Settings) -> Self {
        Self::of(voters, others, seed, settings)
    }
}

impl<E: Embedder> Cluster<E> {
    /// The same with an embedder's own store and state machine.
    ///
    /// ```
    /// use almadia_harness::{Cluster, Settings, Simulated};
    ///
    /// // Whatever implements `Embedder` may stand in the place of `Simulated`.
    /// let mut cluster = Cluster::<Simulated>::of(3, 0, 42, Settings::default());
    /// cluster.campaign(1);
    /// cluster.deliver_all();
    /// assert_eq!(cluster.leader(), Some(1));
    /// ```
    #[must_use]
    pub fn of(voters: u64, others: u64, seed: u64, settings: Settings) -> Self {
        let machine = MachineSetup {
            settings: Settings { seed, ..settings },
            kind: Kind::Almadia,
            mode: DiskMode::default(),
            fault: EmbedderFault::None,
        };
        let count = usize::try_from(voters + others).unwrap_or(0);
        let scenario = Scenario {
            seed,
            voters,
            learners: 0,
            machines: vec![machine; count],
            checks: Checks::default(),
            actions: Vec::new(),
        };
        let mut cluster = Self::of_machines(&scenario, None);
        cluster.outcomes = Some(Vec::new());
        cluster.start_all();
        cluster
    }

    /// The cluster with which a scenario begins, all of whose nodes may be recorded. None of them
    /// runs yet.
    pub(crate) fn of_machines(scenario: &Scenario, recording: Option<Options>) -> Self {
        let ids = |range: std::ops::RangeInclusive<u64>| range.filter_map(NodeId::new);
        let Scenario {
            voters, learners, ..
        } = *scenario;
        let conf_state = ConfState {
            learners: ids(voters + 1..=voters + learners).collect(),
            ..ConfState::of_voters(ids(1..=voters))
        };
        let all = ids(1..=scenario.machines.len() as u64);
        let hosts = all
            .zip(&scenario.machines)
            .map(|(id, machine)| Host::new(id, &conf_state, machine, recording));
        let hosts: Vec<Host<E>> = hosts.collect();
        Self {
            checker: Checker::new(hosts.len()),
            hosts,
            network: Network::default(),
            stats: Stats::default(),
            reports: Vec::new(),
            now: 0,
            outcomes: None,
            own_commands: 0,
            is_instant: true,
            panics: true,
            violation: None,
            #[cfg(feature = "raft-rs")]
            talks_in_bytes: scenario.is_mixed(),
            mixing: Mixing::default(),
            recorder: None,
            seed: scenario.seed,
        }
    }

    /// Starts all nodes for the first time.
    pub(crate) fn start_all(&mut self) {
        for at in 0..self.hosts.len() {
            self.start(at);
        }
    }

    // --- Nodes ---

    /// One tick passes on this node. Nothing happens if it is down.
    pub fn tick(&mut self, id: u64) {
        let at = self.position(id);
        self.tick_at(at);
    }

    /// One tick passes on every node that is up.
    pub fn tick_all(&mut self) {
        self.now += 1;
        self.send_due_reports();
        for at in 0..self.hosts.len() {
            self.tick_at(at);
        }
    }

    /// The node begins an election, if it may. Returns whether it did.
    pub fn campaign(&mut self, id: u64) -> bool {
        let at = self.position(id);
        self.call(at, Node::campaign) == Some(true)
    }

    /// Proposes a command on this node. Returns its place in the log, or `None` if it was not
    /// taken.
    pub fn propose(&mut self, id: u64, data: impl Into<Vec<u8>>) -> Option<LogId> {
        let at = self.position(id);
        let data = data.into();
        self.call(at, |node| node.propose("", data)).flatten()
    }

    /// Proposes a membership change on this node. Returns its place in the log, or `None` if it was
    /// not taken.
    pub fn propose_conf_change(&mut self, id: u64, change: MembershipChange) -> Option<LogId> {
        let at = self.position(id);
        self.call(at, |node| node.propose_conf_change(&change))
            .flatten()
    }

    /// How reads and transfers have ended since this was last asked, in order. They are asked for
    /// by [`perform`](Self::perform).
    pub fn take_outcomes(&mut self) -> Vec<Outcomes> {
        let outcomes = self.outcomes.as_mut().map(std::mem::take);
        outcomes.unwrap_or_default()
    }

    /// Tells the node that a peer cannot be reached.
    pub fn report_unreachable(&mut self, id: u64, peer: u64) {
        let at = self.position(id);
        let peer = self.hosts[self.position(peer)].id;
        self.call(at, |node| node.report_unreachable(peer));
    }

    /// The node, to look at.
    ///
    /// # Panics
    ///
    /// If it is down, or not one of almadia's.
    #[must_use]
    pub fn node(&self, id: u64) -> &Recorded<Unreliable<E::Store>> {
        let node = self.running(id).as_almadia();
        node.unwrap_or_else(|| panic!("node {id} is raft-rs's"))
    }

    /// The node, whatever it is, which has to be up.
    pub(crate) fn running(&self, id: u64) -> &Node<E::Store> {
        let node = self.hosts[self.position(id)].node.as_ref();
        node.unwrap_or_else(|| panic!("node {id} is down"))
    }

    /// Whether the node is up.
    #[must_use]
    pub fn is_up(&self, id: u64) -> bool {
        self.hosts[self.position(id)].node.is_some()
    }

    /// The running node that leads the latest term, if one does.
    #[must_use]
    pub fn leader(&self) -> Option<u64> {
        let nodes = self.hosts.iter().filter_map(|host| host.node.as_ref());
        nodes
            .filter(|node| node.role() == RoleKind::Leader)
            .max_by_key(|node| node.current_term())
            .map(|node| node.id().get())
    }

    /// What the node's state machine holds; for a node that is down, what it held last.
    #[must_use]
    pub fn state_machine(&self, id: u64) -> &StateMachine<E::Machine> {
        &self.hosts[self.position(id)].machine
    }

    /// What a crash would leave of the node's log and hard state.
    #[must_use]
    pub fn durable(&self, id: u64) -> &E::Store {
        &self.hosts[self.position(id)].disk.durable
    }

    /// Whether this very entry was committed by some leader.
    #[must_use]
    pub fn is_committed(&self, id: LogId) -> bool {
        self.checker.is_committed(id)
    }

    // --- Crashes and disks ---

    /// The node crashes, and loses all writes that are pending. Its disk is not stalled any more.
    pub fn crash(&mut self, id: u64) {
        let at = self.position(id);
        self.crash_at(at, 0, false);
    }

    /// The node crashes, but the first `kept` of its pending writes had become durable; their
    /// messages are lost.
    pub fn crash_keeping(&mut self, id: u64, kept: usize) {
        let at = self.position(id);
        self.crash_at(at, kept, false);
    }

    /// Starts the node again from its disk. Nothing happens if it is up.
    pub fn restart(&mut self, id: u64) {
        let at = self.position(id);
        if self.hosts[at].node.is_none() {
            self.start(at);
        }
    }

    /// Lets the embedder of this node acknowledge writes in one or the other way from now on.
    pub fn set_disk_mode(&mut self, id: u64, mode: DiskMode) {
        let at = self.position(id);
        self.hosts[at].mode = mode;
    }

    /// Gives the node a faulty embedder.
    pub fn set_fault(&mut self, id: u64, fault: EmbedderFault) {
        let at = self.position(id);
        self.hosts[at].disk.fault = fault;
    }

    /// Chooses which watchers are on.
    pub const fn set_checks(&mut self, checks: Checks) {
        self.checker.checks = checks;
    }

    /// From now on writes of this node stay pending.
    pub fn stall_disk(&mut self, id: u64) {
        let at = self.position(id);
        self.hosts[at].disk.is_stalled = true;
        let text = "its disk is stalled".into();
        self.tell(at, || What::Paused { text });
    }

    /// The disk works again, and everything pending becomes durable.
    pub fn complete_writes(&mut self, id: u64) {
        let at = self.position(id);
        if std::mem::take(&mut self.hosts[at].disk.is_stalled) {
            self.tell(at, || What::Resumed);
        }
        while self.complete_write(at) {}
        self.apply_all(at);
        self.pump(at);
    }

    /// The first `count` pending writes become durable; the disk stays stalled.
    pub fn complete_some_writes(&mut self, id: u64, count: usize) {
        let at = self.position(id);
        for _ in 0..count {
            self.complete_write(at);
        }
        self.apply_all(at);
        self.pump(at);
    }

    /// How many writes are pending.
    #[must_use]
    pub fn pending_writes(&self, id: u64) -> usize {
        self.hosts[self.position(id)].disk.pending.len()
    }

    /// Saves a snapshot of the node's state machine and compacts its log up to there. Returns up
    /// to where; `None` if there was nothing to compact.
    pub fn compact(&mut self, id: u64) -> Option<LogIndex> {
        let at = self.position(id);
        self.compact_at(at)
    }

    // --- Network ---

    /// Delivers messages, oldest first, and those that they give rise to, until there are none.
    ///
    /// # Panics
    ///
    /// If the nodes do not stop talking.
    pub fn deliver_all(&mut self) {
        const LIMIT: u64 = 100_000;
        for _ in 0..LIMIT {
            let hosts = &self.hosts;
            let next = self
                .network
                .take_first(|message| !is_busy(hosts, message.to));
            let Some(message) = next else { return };
            self.deliver(message);
        }
        panic!("the nodes do not stop talking");
    }

    /// Delivers the oldest message for which `wanted` holds. Returns whether there was one.
    pub fn deliver_one(&mut self, wanted: impl Fn(&Message) -> bool) -> bool {
        let message = self.network.take_first(wanted);
        message.map(|message| self.deliver(message)).is_some()
    }

    /// Loses all messages for which `unwanted` holds. Returns how many.
    pub fn drop_messages(&mut self, unwanted: impl Fn(&Message) -> bool) -> usize {
        let mut count = 0;
        while let Some(message) = self.network.take_first(&unwanted) {
            self.lose(&message);
            count += 1;
        }
        count
    }

    /// The messages on their way, oldest first.
    #[must_use]
    pub fn messages(&self) -> &[Message] {
        self.network.messages()
    }

    /// Puts a message of the test's own making onto the network.
    pub fn inject(&mut self, message: Message) {
        self.post(message);
    }

    /// Cuts the node off from all others, in both directions.
    pub fn isolate(&mut self, id: u64) {
        for other in 1..=self.hosts.len() as u64 {
            self.cut(id, other);
            self.cut(other, id);
        }
    }

    /// Cuts the link from one node to another, in this direction only.
    pub fn cut(&mut self, from: u64, to: u64) {
        let at = self.position(from);
        let [from, to] = [from, to].map(|id| self.hosts[self.position(id)].id);
        if from != to && !self.network.is_cut(from, to) {
            self.tell(at, || What::Cut { to });
        }
        self.network.cut(from, to);
    }

    /// All links carry messages again.
    pub fn heal(&mut self) {
        self.tell_healed();
        self.network.heal();
    }

    /// Lets ticks pass and delivers everything, until a leader is there and every member has
    /// applied all of its log.
    ///
    /// # Panics
    ///
    /// If that does not come about within [`Cluster::SETTLE_TICKS`] ticks.
    pub fn settle(&mut self) {
        for _ in 0..Self::SETTLE_TICKS {
            self.deliver_all();
            if self.unsettled().is_none() && self.without_end().is_none() {
                return;
            }
            self.tick_all();
        }
        let waits = |(node, what)| format!("node {node} waits for {what}");
        let missing = self.unsettled().or_else(|| self.without_end().map(waits));
        let missing = missing.unwrap_or_default();
        panic!("seed {}: the cluster does not settle: {missing}", self.seed);
    }

    /// How many ticks [`settle`](Self::settle) gives the cluster.
    pub const SETTLE_TICKS: u64 = 300;

    // --- The run ---

    /// The first broken promise of Raft, if one was found.
    #[must_use]
    pub const fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// What happened so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.checker.count(self.stats)
    }

    /// What keeps the cluster from being settled, if anything does.
    pub(crate) fn unsettled(&self) -> Option<String> {
        let Some(leader) = self.leader() else {
            return Some("there is no leader".into());
        };
        let leader = self.running(leader);
        if !leader.membership().is_voter(leader.id()) {
            return Some(format!("node {} leads without a vote", leader.id()));
        }
        if leader.membership().is_joint() && leader.membership().auto_leave() {
            return Some("the joint configuration is not left".into());
        }
        let last = leader.last_log();
        let members = leader.membership().members();
        let behind = self.hosts.iter().find(|host| {
            members.contains(&host.id)
                && host.node.is_some()
                && host.machine.applied_index() < last.index
        });
        behind.map(|host| {
            let applied = host.machine.applied_index();
            format!("node {} has applied {applied} of {last}", host.id)
        })
    }

    /// What was asked of a node that is up, and has not ended.
    pub(crate) fn without_end(&self) -> Option<(NodeId, String)> {
        let mut running = (0..self.hosts.len()).filter(|&at| self.hosts[at].node.is_some());
        running.find_map(|at| Some((self.hosts[at].id, self.checker.without_end(at)?)))
    }

    fn position(&self, id: u64) -> usize {
        let position = usize::try_from(id).ok().and_then(|id| id.checked_sub(1));
        position
            .filter(|&position| position < self.hosts.len())
            .unwrap_or_else(|| panic!("there is no node {id}"))
    }

    pub(crate) fn trace(&mut self, event: &impl std::hash::Hash) {
        self.stats.trace = Digest::fold(self.stats.trace, event);
    }

    pub(crate) fn check(&mut self, checked: Result<(), ViolationKind>) {
        let Err(kind) = checked else { return };
        if self.violation.is_some() {
            return;
        }
        let violation = Violation {
            seed: self.seed,
            step: self.stats.steps,
            kind,
        };
        self.tell_violation(&violation.kind);
        assert!(!self.panics, "{violation}");
        self.violation = Some(violation);
    }
}

/// Whether the node waits for its disk, and takes no message meanwhile.
pub(crate) fn is_busy<E: Embedder>(hosts: &[Host<E>], id: NodeId) -> bool {
    hosts
        .iter()
        .any(|host| host.id == id && host.busy.is_some())
}
