//! One region's Raft node, and who waits for what of it.
//!
//! Owns the pairing of requests with what comes of them, and what is to be done for a
//! [`Ready`](almadia::Ready). Knows no thread: where wishes go is handed in.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::mpsc::Sender;

use almadia::{
    AcknowledgeError, Body, Config, ConfigError, Halted, HardState, LogId, LogIndex, MemberChange,
    MembershipChange, Message, NodeId, ProposeError, RawNode, RoleKind, Snapshot, SnapshotStatus,
    StartError, Storage, Term,
};
use thiserror::Error;

use crate::applier;
use crate::command::Outcome;
use crate::log::{LogError, RegionLog};
use crate::log_writer;
use crate::raft::{Refusal, Reply, Request, Settings};
use crate::region::{KeyRange, Region, RegionId};
use crate::routes::Route;
use crate::transport::Transport;

mod output;
#[cfg(test)]
mod tests;

/// So many ticks without anything to do, and a region sleeps.
const TICKS_BEFORE_SLEEP: u32 = 150;
/// So many entries behind, and a learner may vote.
const MAX_LAG: u64 = 256;
/// The log is cut when so many times what is to be kept could go.
const CUT_WHEN: u64 = 2;

/// Why a region's node stopped. It is not to go on: what it promised may not be kept.
#[derive(Debug, Error)]
pub enum GroupError {
    /// It is told to run with what does not go together.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It cannot be started.
    #[error("a region's node does not start: {0}")]
    Start(#[from] StartError),
    /// It has stopped.
    #[error("a region's node has stopped: {0}")]
    Halted(#[from] Halted),
    /// It was told something that cannot be.
    #[error("a region's node was told something that cannot be: {0}")]
    Acknowledge(#[from] AcknowledgeError),
    /// The log cannot be read or written.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// A region's node.
pub struct Group {
    id: RegionId,
    /// Which one of the nodes that this process has started for the region, one after another.
    generation: u64,
    node: RawNode<RegionLog>,
    /// As of what is applied; `None` as long as this node was told nothing of it.
    region: Option<Region>,
    /// Proposals in the log, by their place.
    proposed: BTreeMap<(LogIndex, Term), Reply>,
    /// Reads whose index is not known yet.
    asked: HashMap<u64, Reply>,
    next_read: u64,
    /// Reads that wait until this index is applied.
    waiting: BTreeMap<LogIndex, Vec<Reply>>,
    applied: LogIndex,
    /// A snapshot that goes into the state machine once the write of this number is durable.
    snapshot: Option<(u64, Snapshot)>,
    handed_out: u64,
    persisted: u64,
    transfer: Option<Reply>,
    /// The keys of a snapshot that is being taken in.
    incoming: Option<(LogId, KeyRange)>,
    /// The entry by which this node ceases to be a member.
    leaves_at: Option<LogIndex>,
    quiet_ticks: u32,
    may_sleep: bool,
    published: (RoleKind, Option<NodeId>),
}

impl Group {
    /// Starts the node.
    ///
    /// # Errors
    ///
    /// If the log does not go with what is applied.
    pub fn open(
        settings: &Settings,
        id: RegionId,
        generation: u64,
        region: Option<Region>,
        log: RegionLog,
    ) -> Result<Self, GroupError> {
        let applied = region.as_ref().map_or(LogId::ZERO, Region::applied);
        let config = Config::builder(settings.id)
            .heartbeat_interval_ticks(5)
            .election_timeout_ticks(50)
            .max_election_timeout_ticks(100)
            .lease_reads(settings.lease_reads)
            // Each node that is started for the region must tell answers to its reads from those of the
            // ones before, in this process too.
            .incarnation((settings.incarnation << 10) | (generation & 1023) as u32)
            .applied(applied)
            .seed(settings.seed ^ id.0)
            .build()?;
        Ok(Self {
            id,
            generation,
            node: RawNode::new(config, log)?,
            region,
            proposed: BTreeMap::new(),
            asked: HashMap::new(),
            next_read: 0,
            waiting: BTreeMap::new(),
            applied: applied.index,
            snapshot: None,
            handed_out: 0,
            persisted: 0,
            transfer: None,
            incoming: None,
            leaves_at: None,
            quiet_ticks: 0,
            may_sleep: !settings.lease_reads,
            published: (RoleKind::Follower, None),
        })
    }

    /// What is known of the region.
    #[must_use]
    pub const fn region(&self) -> Option<&Region> {
        self.region.as_ref()
    }

    /// Whether this node leads it.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.node.role() == RoleKind::Leader
    }

    /// Whether this node knows the other one as a member.
    #[must_use]
    pub fn is_member(&self, id: NodeId) -> bool {
        self.node.membership().contains(id)
    }

    /// Whether this node was a member, and has applied that it is none any more.
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.leaves_at.is_some_and(|index| index <= self.applied) && !self.leads()
    }

    /// The keys that it has here, or will have once a snapshot is taken in.
    pub fn ranges(&self) -> impl Iterator<Item = &KeyRange> {
        let region = self.region.as_ref().map(|region| &region.range);
        let incoming = self.incoming.as_ref().map(|(_, range)| range);
        region.into_iter().chain(incoming)
    }

    /// Whether this snapshot is being taken in.
    #[must_use]
    pub fn is_taking(&self, snapshot: &Snapshot) -> bool {
        let pending = self.snapshot.as_ref();
        pending.is_some_and(|(_, pending)| pending.data == snapshot.data)
    }

    /// Whether nothing of what came after this index is in the log.
    #[must_use]
    pub fn is_behind(&self, index: LogIndex) -> bool {
        self.node.last_log().index < index
    }

    /// Up to where it is applied.
    #[must_use]
    pub const fn last_applied(&self) -> LogIndex {
        self.applied
    }

    /// Whether another node leads it, or could not.
    #[must_use]
    pub fn is_led_elsewhere(&self) -> bool {
        let is_alone = self.node.membership().voters().len() < 2;
        is_alone || (!self.leads() && self.node.leader().is_some())
    }

    /// The node's hard state.
    #[must_use]
    pub fn hard_state(&self) -> HardState {
        self.node.hard_state()
    }

    /// What the clients' side has to know; `None` if this node knows no more than its id.
    #[must_use]
    pub fn route(&self) -> Option<Route> {
        let region = self.region.as_ref()?;
        let status = self.node.basic_status();
        let progress = |id| {
            self.node
                .progress(id)
                .map(|progress| progress.match_index().0)
        };
        let members = self.node.membership().members();
        Some(Route {
            region: self.id,
            range: region.range.clone(),
            version: region.version,
            role: status.role,
            leader: status.leader,
            term: status.current_term.0,
            last: status.last_log.index.0,
            committed: status.commit_index.0,
            applied: self.applied.0,
            log_len: self.node.storage().entry_count(),
            is_asleep: self.is_asleep(),
            membership: self.node.membership().to_conf_state(),
            matched: members.into_iter().map(|id| (id, progress(id))).collect(),
        })
    }

    const fn is_asleep(&self) -> bool {
        self.quiet_ticks >= TICKS_BEFORE_SLEEP
    }

    // --- What happens to it ---

    /// Time has passed. Returns whether the node noticed.
    ///
    /// # Errors
    ///
    /// If the node has stopped.
    pub fn tick(&mut self, ticks: u32) -> Result<bool, GroupError> {
        if self.is_asleep() {
            return Ok(false);
        }
        let is_quiet = self.may_sleep && self.node.is_quiescent() && self.proposed.is_empty();
        self.quiet_ticks = if is_quiet {
            self.quiet_ticks + ticks
        } else {
            0
        };
        self.node.tick_many(ticks)?;
        Ok(self.node.has_ready())
    }

    /// Somebody wants something of it: the others are told, in case they sleep.
    pub fn wake(&mut self, transport: &Arc<Transport>) {
        if self.is_asleep() {
            let me = self.node.id();
            let members = self.node.membership().members().into_iter();
            transport.wake(self.id, members.filter(|id| *id != me));
        }
        self.woken();
    }

    /// It is awake.
    pub const fn woken(&mut self) {
        self.quiet_ticks = 0;
    }

    /// A message has come.
    pub fn step(&mut self, message: Message) {
        // Heartbeats of a leader that is about to sleep do not wake its followers.
        if !matches!(
            message.body,
            Body::Heartbeat(_) | Body::HeartbeatResponse(_)
        ) {
            self.woken();
        }
        let from = message.from;
        if let Err(error) = self.node.step(message) {
            tracing::debug!(region = %self.id, %from, %error, "a message was not taken");
        }
    }

    /// What was sent to this peer is lost. Returns whether it is a member.
    pub fn unreachable(&mut self, peer: NodeId) -> bool {
        let is_member = self.node.membership().contains(peer);
        if is_member {
            self.node.report_unreachable(peer);
        }
        is_member
    }

    /// The connection to this peer has ended: if it leads, it may be gone.
    pub fn disconnected(&mut self, peer: NodeId) {
        if self.node.leader() == Some(peer) {
            self.woken();
        }
    }

    /// A snapshot has reached its peer, or not.
    pub fn snapshot_sent(&mut self, peer: NodeId, status: SnapshotStatus) {
        self.node.report_snapshot(peer, status);
    }

    /// The writes up to this number are durable.
    ///
    /// # Errors
    ///
    /// If the node has stopped.
    pub fn persisted(
        &mut self,
        written: log_writer::Written,
        apply: &Sender<applier::Task>,
    ) -> Result<(), GroupError> {
        let number = written.number;
        if written.generation != self.generation {
            return Ok(());
        }
        if let Some((_, snapshot)) = self.snapshot.take_if(|(due, _)| *due <= number) {
            self.node.storage_mut().set_cut(snapshot.last_included);
            drop(apply.send(applier::Task::Restore(self.id, snapshot)));
        }
        self.persisted = number;
        Ok(self.node.persisted(number)?)
    }

    /// The state machine is what a snapshot says.
    ///
    /// # Errors
    ///
    /// If the node has stopped.
    pub fn restored(&mut self, region: Region) -> Result<(), GroupError> {
        // Another one may have come meanwhile.
        self.incoming.take_if(|(at, _)| *at == region.applied());
        self.applied(region.applied().index, Some(region))
    }

    /// The state machine contains everything up to this index.
    ///
    /// # Errors
    ///
    /// If the node has stopped.
    pub fn applied(&mut self, index: LogIndex, changed: Option<Region>) -> Result<(), GroupError> {
        if changed.is_some() {
            self.region = changed;
        }
        self.applied = self.applied.max(index);
        self.node.applied(index)?;
        let later = self.waiting.split_off(&self.applied.next());
        for reply in std::mem::replace(&mut self.waiting, later)
            .into_values()
            .flatten()
        {
            reply.send(Ok(Outcome::Done));
        }
        Ok(())
    }

    /// The state machine is durable up to this entry. Returns up to where the log is to be cut, if that
    /// is worth it.
    pub fn durable(&mut self, applied: LogId, keep: u64) -> Option<LogId> {
        let log = self.node.storage();
        let first = log.first_index().ok()?;
        let cut = LogIndex(applied.index.0.checked_sub(keep)?);
        // Where a snapshot is being written the log begins elsewhere.
        if cut.0 < first.0 + keep * (CUT_WHEN - 1) || self.snapshot.is_some() {
            return None;
        }
        let term = log.term(cut).ok()?;
        let cut = LogId { term, index: cut };
        self.node.storage_mut().set_cut(cut);
        Some(cut)
    }

    /// Begins an election.
    pub fn campaign(&mut self) {
        if let Err(error) = self.node.campaign() {
            tracing::debug!(region = %self.id, %error, "no election was begun");
        }
    }

    /// Has another node lead, if this one does.
    pub fn hand_over(&mut self) {
        if !self.leads() {
            return;
        }
        let me = self.node.id();
        let voters = self.node.membership().voters().into_iter();
        let matched = |id: &NodeId| {
            self.node
                .progress(*id)
                .map(|progress| progress.match_index())
        };
        if let Some(next) = voters.filter(|id| *id != me).max_by_key(matched) {
            self.woken();
            drop(self.node.transfer_leader(next));
        }
    }

    /// Somebody wants something.
    pub fn request(&mut self, request: Request, reply: Reply) {
        let leader = self.node.leader().map(NodeId::get);
        match request {
            Request::Propose(command) => {
                let proposed = self.node.propose("", command);
                self.await_entry(proposed, reply);
            }
            Request::Change(change) if self.lags(&change) => {
                let why = "the node has yet to catch up before it may vote";
                reply.send(Err(Refusal::NotNow(why.to_owned())));
            }
            Request::Change(change) => {
                let proposed = self.node.propose_conf_change("", change);
                self.await_entry(proposed, reply);
            }
            Request::Read { by_lease } => {
                let number = self.next_read;
                self.next_read += 1;
                let context = number.to_le_bytes().to_vec();
                let asked = if by_lease {
                    self.node.lease_read(context)
                } else {
                    self.node.read_index(context)
                };
                match asked {
                    Ok(()) => drop(self.asked.insert(number, reply)),
                    Err(error) => reply.send(Err(Refusal::NotNow(error.to_string()))),
                }
            }
            Request::Transfer(_) if !self.leads() => {
                reply.send(Err(Refusal::NotLeader(leader)));
            }
            Request::Transfer(to) => match self.node.transfer_leader(to) {
                Ok(()) => self.transfer = Some(reply),
                Err(error) => reply.send(Err(Refusal::Impossible(error.to_string()))),
            },
        }
    }

    /// Whether the change lets somebody vote who is so far behind that nothing could be committed
    /// without waiting for it.
    fn lags(&self, change: &MembershipChange) -> bool {
        // One that has nothing yet waits for a snapshot, however short the log is.
        let enough = self.node.commit_index().0.saturating_sub(MAX_LAG).max(1);
        change.changes.iter().any(|change| match change {
            MemberChange::AddVoter(id) => {
                let progress = self.node.progress(*id);
                self.leads() && progress.is_none_or(|progress| progress.match_index().0 < enough)
            }
            MemberChange::AddLearner(_) | MemberChange::Remove(_) | MemberChange::Nothing => false,
        })
    }

    fn await_entry(&mut self, proposed: Result<LogId, ProposeError>, reply: Reply) {
        match proposed {
            Ok(id) => drop(self.proposed.insert((id.index, id.term), reply)),
            Err(ProposeError::NotLeader { leader }) => {
                reply.send(Err(Refusal::NotLeader(leader.map(NodeId::get))));
            }
            Err(ProposeError::Membership(error)) => {
                reply.send(Err(Refusal::Impossible(error.to_string())));
            }
            Err(error) => reply.send(Err(Refusal::NotNow(error.to_string()))),
        }
    }
}
