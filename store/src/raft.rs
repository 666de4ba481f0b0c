//! The thread that drives the Raft nodes of all regions.
//!
//! Owns every [`RawNode`](almadia::RawNode) of this process, and the loop around them: inputs come in
//! batches, time among them; then each node that something has happened to is asked what it wants
//! done, and that is handed on to the log, to the state machine and to the network. No write is waited
//! for here, but where a region begins or ends. What a node is asked and answered is in `raft/group.rs`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use almadia::{
    Body, ConfState, HardState, LogId, LogIndex, Message, NodeId, Snapshot, SnapshotStatus,
};
use bytes::Bytes;
use tokio::sync::oneshot;

use crate::applier::{self, Applied};
use crate::command::Outcome;
use crate::log::{Log, LogError, RegionLog};
use crate::log_writer;
use crate::raft::group::{Group, GroupError};
use crate::region::{BEGIN, KeyRange, Region, RegionId, begins_with};
use crate::routes::Routes;
use crate::snapshot::{Description, Snapshots};
use crate::transport::Transport;

pub mod group;
#[cfg(test)]
mod tests;

/// One tick of the nodes' time.
pub const TICK: Duration = Duration::from_millis(20);
/// So many regions may be named by peers that this node does not know.
const MAX_UNKNOWN: usize = 10_000;
/// The most inputs that are taken in before the nodes are asked what they want done.
const MAX_INPUTS: usize = 1024;

/// Why something asked for was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, serde::Serialize, serde::Deserialize)]
pub enum Refusal {
    /// Not done; another node leads the region.
    #[error("this node does not lead the region")]
    NotLeader(Option<u64>),
    /// Not done; the region is not here.
    #[error("this node has no such region")]
    NoRegion,
    /// Not done; later it may be.
    #[error("not now: {0}")]
    NotNow(String),
    /// Not done, and never will be.
    #[error("{0}")]
    Impossible(String),
    /// It may be done or not.
    #[error("the node stopped, or lost its leadership, before it knew how this ended")]
    Unknown,
    /// Not done; the leader's disk is full.
    #[error("{0}")]
    Full(String),
}

/// Somebody waits for how this ends.
#[derive(Debug)]
pub struct Reply(Option<oneshot::Sender<Result<Outcome, Refusal>>>);

impl Reply {
    /// A reply, and where it comes out.
    #[must_use]
    pub fn new() -> (Self, oneshot::Receiver<Result<Outcome, Refusal>>) {
        let (sender, receiver) = oneshot::channel();
        (Self(Some(sender)), receiver)
    }

    /// This is how it ended.
    pub fn send(mut self, result: Result<Outcome, Refusal>) {
        if let Some(sender) = self.0.take() {
            // Whoever asked may have given up.
            drop(sender.send(result));
        }
    }
}

/// What happens to the nodes.
#[derive(Debug)]
pub enum Input {
    /// Messages have come.
    Messages(Vec<(RegionId, Message)>),
    /// What was sent to this peer is lost.
    Unreachable(NodeId),
    /// The connection to this peer has ended.
    Disconnected(NodeId),
    /// The log has forgotten a region.
    Forgotten(RegionId),
    /// A snapshot has reached its peer, or not.
    SnapshotSent(RegionId, NodeId, SnapshotStatus),
    /// The writes up to these numbers are durable.
    Persisted(Vec<(RegionId, log_writer::Written)>),
    /// The state machine has changed.
    Applied(Vec<Applied>),
    /// Somebody wants something of a region.
    Request(RegionId, Request, Reply),
    /// A peer has woken this region.
    Wake(RegionId),
    /// A peer says that this node was no member of the region any more when it had applied this index.
    Gone(RegionId, LogIndex),
    /// Hand leadership over, then end.
    Stop,
}

/// What is wanted of a region.
#[derive(Debug)]
pub enum Request {
    /// To put a command into its log; the reply comes when it is applied.
    Propose(Bytes),
    /// To be told when a read of the state machine shows everything that was done before.
    Read {
        /// Whether a lease is enough.
        by_lease: bool,
    },
    /// To change its members.
    Change(almadia::MembershipChange),
    /// To have another node lead it.
    Transfer(NodeId),
}

/// What the nodes run with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This node.
    pub id: NodeId,
    /// How often it was started.
    pub incarnation: u32,
    /// Whether leases are kept; then regions never sleep.
    pub lease_reads: bool,
    /// How many entries of a region's log are kept behind what is durable in the state machine.
    pub keep_entries: u64,
    /// From this follows when elections begin.
    pub seed: u64,
}

/// Where the nodes' wishes go.
pub struct Outlets {
    /// To the log.
    pub log: Sender<log_writer::Task>,
    /// To the state machine.
    pub apply: Sender<applier::Task>,
    /// To the peers.
    pub transport: Arc<Transport>,
    /// To the clients' side.
    pub routes: Arc<Routes>,
}

/// The thread's state.
pub struct Raft {
    settings: Settings,
    log: Log,
    snapshots: Arc<Snapshots>,
    outlets: Outlets,
    groups: HashMap<RegionId, Group>,
    generations: u64,
    /// Regions that this node has left and has not forgotten yet, with their hard states and keys.
    leaving: HashMap<RegionId, (HardState, Vec<KeyRange>)>,
    /// To whom something has happened since it was asked last.
    touched: HashSet<RegionId>,
    next_tick: Instant,
    stopping: Option<Instant>,
}

impl Raft {
    /// Starts the nodes of these regions.
    ///
    /// # Errors
    ///
    /// If the log does not go with the state machine, or cannot be read.
    pub fn new(
        settings: Settings,
        log: Log,
        snapshots: Arc<Snapshots>,
        outlets: Outlets,
        regions: Vec<Region>,
    ) -> Result<Self, GroupError> {
        let mut raft = Self {
            settings,
            log,
            snapshots,
            outlets,
            groups: HashMap::new(),
            generations: 0,
            leaving: HashMap::new(),
            touched: HashSet::new(),
            next_tick: Instant::now(),
            stopping: None,
        };
        for region in regions {
            raft.open(region.id, Some(region))?;
        }
        raft.publish();
        Ok(raft)
    }

    fn open(&mut self, id: RegionId, region: Option<Region>) -> Result<(), GroupError> {
        let membership = match &region {
            Some(region) => region.membership().map_err(LogError::from)?,
            None => ConfState::default(),
        };
        let log = RegionLog::open(
            self.log.clone(),
            id,
            membership,
            Arc::clone(&self.snapshots),
        )?;
        self.generations += 1;
        let group = Group::open(&self.settings, id, self.generations, region, log)?;
        self.learn_addresses(group.region());
        self.groups.insert(id, group);
        self.touched.insert(id);
        Ok(())
    }

    /// Runs until it is told to stop.
    ///
    /// # Errors
    ///
    /// If a node has stopped, because the disk fails or its promises are broken.
    pub fn run(mut self, inputs: &Receiver<Input>) -> Result<(), GroupError> {
        let me = self.settings.id;
        let is_member = |group: &Group| group.region().is_none_or(|region| region.has_member(me));
        let is_left =
            |group: &Group| !is_member(group) && group.is_behind(group.last_applied().next());
        let left = self.groups.iter().filter(|(_, group)| is_left(group));
        for id in left.map(|(id, _)| *id).collect::<Vec<_>>() {
            // A crash has come before it could leave: see `begin`. (With more in its log it may be yet to
            // become a member again, and has acknowledged that.)
            self.leave(id);
        }
        self.next_tick = Instant::now() + TICK;
        loop {
            let mut batch = Vec::new();
            match inputs.recv_timeout(self.next_tick.saturating_duration_since(Instant::now())) {
                Ok(input) => {
                    batch.push(input);
                    batch.extend(inputs.try_iter().take(MAX_INPUTS));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            self.tell_time()?;
            for input in batch {
                // After the process stood still, or waited for the disk, a lease must not be believed
                // that has run out meanwhile.
                self.tell_time()?;
                self.take(input)?;
            }
            self.work()?;
            if self
                .stopping
                .is_some_and(|at| Instant::now() >= at || self.is_handed_over())
            {
                return Ok(());
            }
        }
    }

    /// Whether other nodes lead all regions.
    fn is_handed_over(&self) -> bool {
        self.groups.values().all(Group::is_led_elsewhere)
    }

    /// Tells the nodes of the ticks that have passed.
    fn tell_time(&mut self) -> Result<(), GroupError> {
        let now = Instant::now();
        if now < self.next_tick {
            return Ok(());
        }
        let late = now.duration_since(self.next_tick).as_nanos() / TICK.as_nanos();
        let ticks = u32::try_from(late).unwrap_or(u32::MAX).saturating_add(1);
        self.next_tick += TICK * ticks;
        self.tick(ticks)
    }

    fn tick(&mut self, ticks: u32) -> Result<(), GroupError> {
        for (id, group) in &mut self.groups {
            if group.tick(ticks)? {
                self.touched.insert(*id);
            }
        }
        // One that led until now leaves now.
        let left = self.groups.iter().filter(|(_, group)| group.has_left());
        for id in left.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.leave(id);
        }
        self.publish();
        Ok(())
    }

    /// Asks each node that something has happened to what it wants done.
    fn work(&mut self) -> Result<(), GroupError> {
        let mut is_changed = false;
        for id in self.touched.drain() {
            if let Some(group) = self.groups.get_mut(&id) {
                is_changed |= group.work(&self.outlets)?;
            }
        }
        if is_changed {
            self.publish();
        }
        Ok(())
    }

    fn publish(&self) {
        let routes = self.groups.values().filter_map(Group::route);
        self.outlets.routes.publish(routes.collect());
    }

    fn learn_addresses(&self, region: Option<&Region>) {
        if let Some(region) = region {
            self.outlets.transport.learn(&region.addresses);
        }
    }

    fn take(&mut self, input: Input) -> Result<(), GroupError> {
        match input {
            Input::Messages(messages) => {
                for (region, message) in messages {
                    self.step(region, message)?;
                }
            }
            Input::Unreachable(peer) => {
                for (id, group) in &mut self.groups {
                    if group.unreachable(peer) {
                        self.touched.insert(*id);
                    }
                }
            }
            Input::Disconnected(peer) => {
                for group in self.groups.values_mut() {
                    group.disconnected(peer);
                }
                self.take(Input::Unreachable(peer))?;
            }
            Input::SnapshotSent(region, peer, status) => {
                if let Some(group) = self.touch(region) {
                    group.snapshot_sent(peer, status);
                }
            }
            Input::Persisted(numbers) => {
                for (region, written) in numbers {
                    let apply = self.outlets.apply.clone();
                    if let Some(group) = self.touch(region) {
                        group.persisted(written, &apply)?;
                    }
                }
            }
            Input::Applied(applied) => {
                for applied in applied {
                    self.applied(applied)?;
                }
            }
            Input::Request(region, request, reply) => {
                let transport = Arc::clone(&self.outlets.transport);
                match self.touch(region) {
                    Some(group) => {
                        group.wake(&transport);
                        group.request(request, reply);
                    }
                    None => reply.send(Err(Refusal::NoRegion)),
                }
            }
            Input::Forgotten(region) => drop(self.leaving.remove(&region)),
            Input::Wake(region) => {
                if let Some(group) = self.touch(region) {
                    group.woken();
                }
            }
            Input::Gone(region, index) => {
                let me = self.settings.id;
                let is_news = |group: &Group| group.is_member(me) && group.is_behind(index);
                if self.groups.get(&region).is_some_and(is_news) {
                    self.leave(region);
                }
            }
            Input::Stop => {
                self.stopping = Some(Instant::now() + Duration::from_secs(3));
                for (id, group) in &mut self.groups {
                    group.hand_over();
                    self.touched.insert(*id);
                }
            }
        }
        Ok(())
    }

    /// A region to which something happens now.
    fn touch(&mut self, region: RegionId) -> Option<&mut Group> {
        let group = self.groups.get_mut(&region)?;
        self.touched.insert(region);
        Some(group)
    }

    fn step(&mut self, region: RegionId, message: Message) -> Result<(), GroupError> {
        let Body::InstallSnapshot(snapshot) = &message.body else {
            return self.step_what_is_welcome(region, message);
        };
        let snapshot = snapshot.clone();
        self.step_what_is_welcome(region, message)?;
        if let Some(group) = self.groups.get_mut(&region) {
            // From now on its keys are spoken for.
            group.work(&self.outlets)?;
        }
        let group = self.groups.get(&region);
        if !group.is_some_and(|group| group.is_taking(&snapshot)) {
            tracing::debug!(%region, "a snapshot was not taken");
            self.snapshots.remove(&snapshot);
        }
        Ok(())
    }

    fn step_what_is_welcome(
        &mut self,
        region: RegionId,
        message: Message,
    ) -> Result<(), GroupError> {
        if message.to != self.settings.id {
            return Ok(());
        }
        if self.leaving.contains_key(&region) {
            return Ok(());
        }
        if !self.groups.contains_key(&region) {
            // A region that this node is new to: it is told by a snapshot what it is. One whose log
            // begins is a part that comes off when what it comes off is applied here (again).
            let is_from_leader = matches!(
                message.body,
                Body::AppendEntries(_) | Body::Heartbeat(_) | Body::InstallSnapshot(_)
            );
            let unknown = self
                .groups
                .values()
                .filter(|group| group.region().is_none());
            if !is_from_leader
                || self.log.cut(region)? != LogId::ZERO
                || unknown.count() >= MAX_UNKNOWN
            {
                return Ok(());
            }
            self.open(region, None)?;
        }
        let is_vote = matches!(message.body, Body::PreVote(_) | Body::RequestVote(_));
        if is_vote && self.has_forgotten(region) {
            return Ok(());
        }
        if let Body::InstallSnapshot(snapshot) = &message.body
            && !self.may_take(region, snapshot)
        {
            return Ok(());
        }
        let transport = Arc::clone(&self.outlets.transport);
        if let Some(group) = self.touch(region) {
            // Nobody else tells one that was removed while it was away.
            if is_vote && !group.is_member(message.from) {
                transport.tell_gone(message.from, region, group.last_applied());
            }
            group.step(message);
        }
        Ok(())
    }

    /// This node has no part in the region any more.
    fn leave(&mut self, id: RegionId) {
        let Some(group) = self.groups.remove(&id) else {
            return;
        };
        tracing::info!(region = %id, "this node is no member any more");
        let ranges = group.ranges().cloned().collect();
        self.leaving.insert(id, (group.hard_state(), ranges));
        self.snapshots.forget(id);
        log_writer::wait_for(&self.outlets.log, |done| log_writer::Task::Leave(id, done));
        drop(self.outlets.apply.send(applier::Task::Forget(id)));
        self.publish();
    }

    /// Whether this node knew the region once, and knows no more than its votes: its log, which it had
    /// acknowledged, is gone, so it must not help somebody lead who lacks what was in it.
    fn has_forgotten(&self, id: RegionId) -> bool {
        let group = self.groups.get(&id);
        group.is_some_and(|group| group.region().is_none()) && self.log.has_forgotten(id)
    }

    /// Whether the snapshot is one of the region, whose keys are no other region's here: that one has
    /// yet to apply that it was divided.
    fn may_take(&self, id: RegionId, snapshot: &Snapshot) -> bool {
        let Ok(description) = Description::of(snapshot) else {
            return false;
        };
        let region = description.region;
        let others = self.groups.iter().filter(|(other, _)| **other != id);
        let left = self.leaving.values().flat_map(|(_, ranges)| ranges);
        let mut taken = others.flat_map(|(_, group)| group.ranges()).chain(left);
        region.id == id
            && region.membership().as_ref() == Ok(&snapshot.conf_state)
            && !taken.any(|range| range.overlaps(&region.range))
    }

    fn applied(&mut self, applied: Applied) -> Result<(), GroupError> {
        match applied {
            Applied::Entries {
                region,
                index,
                parts,
                changed,
            } => {
                self.learn_addresses(changed.as_ref());
                let mut led = false;
                if let Some(group) = self.touch(region) {
                    led = group.leads();
                    group.applied(index, changed)?;
                }
                for part in parts {
                    self.begin(part, led)?;
                }
                if self.groups.get(&region).is_some_and(Group::has_left) {
                    self.leave(region);
                }
            }
            Applied::Restored(region) => {
                self.learn_addresses(Some(&region));
                let (id, at) = (region.id, region.applied());
                if let Some(group) = self.touch(id) {
                    group.restored(region)?;
                }
                let task = log_writer::Task::SnapshotRestored(id, at);
                drop(self.outlets.log.send(task));
            }
            Applied::Forgotten(id) => {
                // It stays among those that are left until the log has forgotten it too.
                if let Some((hard_state, _)) = self.leaving.get(&id) {
                    let task = log_writer::Task::Forget(id, *hard_state);
                    drop(self.outlets.log.send(task));
                }
            }
            Applied::Durable(regions) => {
                let keep = self.settings.keep_entries;
                for (region, applied) in regions {
                    let cut = self
                        .groups
                        .get_mut(&region)
                        .and_then(|group| group.durable(applied, keep));
                    if let Some(cut) = cut {
                        drop(self.outlets.log.send(log_writer::Task::Cut(region, cut)));
                    }
                }
            }
        }
        Ok(())
    }

    /// A part has come off a region. If this node led the whole, it is first to ask for votes.
    fn begin(&mut self, part: Region, led: bool) -> Result<(), GroupError> {
        let id = part.id;
        // Its log may be here, from before the state machine forgot that it applied this.
        if self.log.cut(id)? == LogId::ZERO {
            // A node may have voted before it knew what the region is, in this life or an earlier one.
            let voted = match self.groups.get(&id) {
                Some(group) => group.hard_state(),
                None => self.log.hard_state(id)?,
            };
            let hard_state = begins_with(voted);
            // Behind whatever the node that was here before wanted written.
            log_writer::wait_for(&self.outlets.log, |begun| {
                log_writer::Task::Begin(id, BEGIN, hard_state, begun)
            });
        }
        let is_member = part.has_member(self.settings.id);
        self.open(id, Some(part))?;
        if !is_member {
            // It was divided after this node was removed, and before it had heard of that.
            self.leave(id);
            return Ok(());
        }
        if let Some(group) = self.touch(id).filter(|_| led) {
            group.campaign();
        }
        Ok(())
    }
}
