//! The public API of a node.
//!
//! Owns the grammar of calls: inputs ([`RawNode::tick`], [`RawNode::step`]), commands
//! ([`RawNode::propose`], [`RawNode::campaign`] and others), the output ([`RawNode::ready`]) and
//! its acknowledgement, and after which of them nobody need look at the rest. Decides nothing
//! else; that is `raft.rs` and below.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::num::NonZeroU64;

use bytes::Bytes;

use crate::config::Config;
use crate::entry::Payload;
use crate::error::{
    AcknowledgeError, CampaignError, ChangeError, Halted, ProposeError, ReadError,
    RequestSnapshotError, StartError, StepError, TransferError,
};
use crate::event::{Observer, Observing};
use crate::explain::{NoLeader, NotCommitting, Paused};
use crate::membership::{ConfState, Membership, MembershipChange};
use crate::message::Message;
use crate::progress::{Progress, Window};
use crate::quiet::Quiet;
use crate::raft::{Raft, Role};
use crate::ready::Ready;
use crate::status::{BasicStatus, RoleKind, Status};
use crate::storage::{Purpose, Storage};
use crate::types::{HardState, LogId, LogIndex, NodeId, Term};

/// One node of a Raft group: messages and ticks go in, [`Ready`] batches come out.
///
/// Pure: the same calls on equal nodes have equal results, so a node can be cloned, compared,
/// hashed and replayed. No method panics, whatever it is given; an assertion that fails is a bug
/// of this crate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RawNode<S> {
    raft: Raft<S>,
    quiet: Quiet,
}

/// Whether a snapshot has reached its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SnapshotStatus {
    /// The transport has delivered it.
    Delivered,
    /// It is lost, or was given up.
    Failed,
}

impl<S: Storage> RawNode<S> {
    /// Starts a node from what its storage holds, as a follower.
    ///
    /// # Errors
    ///
    /// If the storage cannot be read, or holds what no node could have left there.
    pub fn new(config: Config, storage: S) -> Result<Self, StartError> {
        Ok(Self {
            raft: Raft::open(config, storage, Observing::default())?,
            quiet: Quiet::NONE,
        })
    }

    /// Like [`new`](Self::new), with somebody who is told what happens on the node.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn with_observer(
        config: Config,
        storage: S,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, StartError> {
        Ok(Self {
            raft: Raft::open(config, storage, Observing(Some(observer)))?,
            quiet: Quiet::NONE,
        })
    }

    /// Like [`new`](Self::new), with a logger for what happens on the node. (Feature `slog`.)
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    #[cfg(feature = "slog")]
    pub fn with_logger(
        config: Config,
        storage: S,
        logger: &slog::Logger,
    ) -> Result<Self, StartError> {
        let observer = crate::event::SlogObserver::new(logger);
        Self::with_observer(config, storage, Arc::new(observer))
    }

    /// Something may happen now: what was known of the quiet holds no more.
    #[inline]
    const fn active(&mut self) -> &mut Raft<S> {
        self.quiet = Quiet::NONE;
        &mut self.raft
    }

    // --- Inputs ---

    /// One tick of time has passed.
    ///
    /// # Errors
    ///
    /// [`Halted`] if the storage fails, now or before.
    #[inline]
    pub fn tick(&mut self) -> Result<(), Halted> {
        let core = &mut self.raft.core;
        if core.election_elapsed < self.quiet.until {
            core.move_clock(1);
            return Ok(());
        }
        self.tick_in_full()
    }

    /// A tick that is not passed over: for tests, which show that it makes no difference.
    #[doc(hidden)]
    #[inline(never)]
    pub fn tick_in_full(&mut self) -> Result<(), Halted> {
        let was_quiet = self.quiet.since_last_tick;
        self.active().tick()?;
        self.look_ahead(was_quiet);
        Ok(())
    }

    /// Finds out what comes if nothing but ticks does.
    ///
    /// A node that has rested for a whole tick gives its buffers back. One that is sent a heartbeat with
    /// each tick, or more, keeps them.
    fn look_ahead(&mut self, was_quiet: bool) {
        let ticks = self.raft.ticks_until_action().saturating_sub(1);
        let is_quiet = ticks > 0 && !self.raft.has_ready();
        if is_quiet && was_quiet {
            self.raft.give_back_buffers();
        }
        let counts_alone = was_quiet && self.raft.only_the_clock_counts();
        let until = self.raft.core.election_elapsed.saturating_add(ticks);
        self.quiet = Quiet {
            until: if counts_alone { until } else { 0 },
            peers_served: is_quiet,
            has_no_ready: is_quiet,
            since_last_tick: is_quiet,
        };
    }

    /// So many ticks of time have passed: the same as so many calls of [`tick`](Self::tick), at
    /// the cost of those in which something happens.
    ///
    /// # Errors
    ///
    /// [`Halted`] if the storage fails, now or before.
    pub fn tick_many(&mut self, ticks: u32) -> Result<(), Halted> {
        let clock = self.raft.core.election_elapsed;
        if ticks <= self.quiet.until.saturating_sub(clock) {
            self.raft.core.move_clock(ticks);
            return Ok(());
        }
        let was_quiet = self.quiet.since_last_tick;
        self.active().tick_many(ticks)?;
        self.look_ahead(was_quiet);
        Ok(())
    }

    /// After how many ticks this node will do something, if nothing else happens: before that a
    /// host of many groups need not tell it the time, and may make up for it with
    /// [`tick_many`](Self::tick_many) then, or before the next other call. At least 1;
    /// [`u32::MAX`] if never.
    ///
    /// A node gives the memory of its buffers back when it is told of a second tick in which nothing
    /// has happened; so tell it two before it is left alone for long.
    #[must_use]
    pub fn ticks_until_action(&self) -> u32 {
        self.raft.ticks_until_action().max(1)
    }

    /// A message has come from a peer.
    ///
    /// # Errors
    ///
    /// If the message makes no sense; the node is then exactly as it was. Report it and go on. One
    /// error has an answer for the sender: see [`StepError::into_reply`].
    #[inline]
    pub fn step(&mut self, mut message: Message) -> Result<(), StepError> {
        self.active().step(&mut message)
    }

    // --- Commands ---

    /// Puts a command into the log, if this node leads. Returns the place that it has there: when
    /// an entry of that index is applied, it is this command if the term is the same too, and
    /// another one, proposed by another leader in its place, if not.
    ///
    /// Empty data cannot be told from the entry with which a leader opens its term; do not give it
    /// a meaning.
    ///
    /// Nothing is sent before the next [`ready`](Self::ready), so proposals between two of them
    /// travel together.
    ///
    /// # Errors
    ///
    /// If it was not taken, and why.
    pub fn propose(
        &mut self,
        context: impl Into<Bytes>,
        data: impl Into<Bytes>,
    ) -> Result<LogId, ProposeError> {
        let mut payload = Payload::Data(data.into());
        self.active().propose(&mut payload, &mut context.into())
    }

    /// Puts a change of membership into the log, if this node leads and no other change is in
    /// progress. It takes effect when it is applied: see
    /// [`apply_conf_change`](Self::apply_conf_change).
    ///
    /// # Errors
    ///
    /// If it was not taken, and why.
    pub fn propose_conf_change(
        &mut self,
        context: impl Into<Bytes>,
        change: MembershipChange,
    ) -> Result<LogId, ProposeError> {
        let mut payload = Payload::Change(Arc::new(change));
        self.active().propose(&mut payload, &mut context.into())
    }

    /// Puts a membership change into effect. To be called for every [`Payload::Change`] among the
    /// committed entries, in order, before their application is reported. Returns the new
    /// membership, to be stored with the applied state.
    ///
    /// # Errors
    ///
    /// If the change is impossible from the current membership, which then stays as it is.
    pub fn apply_conf_change(
        &mut self,
        change: &MembershipChange,
    ) -> Result<ConfState, ChangeError> {
        self.active().apply_change(change)?;
        Ok(self.membership().to_conf_state())
    }

    /// Begins an election now (with a pre-vote, if these are on).
    ///
    /// # Errors
    ///
    /// If the node may not campaign, and why.
    pub fn campaign(&mut self) -> Result<(), CampaignError> {
        self.active().campaign()
    }

    /// Asks for the index that a linearizable read must wait for (Thesis 6.4). On a follower or
    /// learner the leader is asked, and a new one again if the old one has not answered. The end
    /// comes in [`Ready::read_states`], with the `context`, which need not be unique: either an
    /// index, or the reason why there is none.
    ///
    /// Reads between two [`ready`](Self::ready) share one round of messages.
    ///
    /// # Errors
    ///
    /// If the read was not taken, and why.
    pub fn read_index(&mut self, context: impl Into<Bytes>) -> Result<(), ReadError> {
        self.active().read_index(context.into())
    }

    /// Like [`read_index`](Self::read_index), but answered without asking anybody where this node
    /// leads and holds a lease (Thesis 6.4.1): see
    /// [`Config::lease_reads`](crate::Config::lease_reads). Without a lease it *is* `read_index`.
    ///
    /// A lease trusts clocks: all ticks that have passed must have been told before this is
    /// called, also after the process was paused, and the clocks of two nodes may not drift apart
    /// by more than [`Config::lease_margin_ticks`](crate::Config::lease_margin_ticks) allows.
    ///
    /// # Errors
    ///
    /// If the read was not taken, and why.
    pub fn lease_read(&mut self, context: impl Into<Bytes>) -> Result<(), ReadError> {
        self.active().lease_read(context.into())
    }

    /// Asks that this voter lead in place of the present leader (Thesis 3.10). Any node that knows
    /// the leader may be asked. How it ends is told in [`Ready::transfer_outcomes`]. Until then the
    /// leader takes no proposals, and serves no lease reads; it gives up after an election timeout.
    ///
    /// # Errors
    ///
    /// If the transfer was not begun, and why.
    pub fn transfer_leader(&mut self, transferee: NodeId) -> Result<(), TransferError> {
        self.active().transfer_leader(transferee)
    }

    /// The leader is known, by other ways, to be gone: this node votes from now on as if it had not
    /// heard from it. One such node alone deposes nobody. Returns whether there was a leader to
    /// forget; with [`Config::lease_reads`](crate::Config::lease_reads) there is none as long as
    /// its lease may last.
    pub fn forget_leader(&mut self) -> bool {
        self.active().forget_leader()
    }

    /// On a leader, sends heartbeats now.
    pub fn ping(&mut self) {
        self.active().ping();
    }

    /// Asks the leader for a snapshot, because the state machine is lost or in doubt. The request is
    /// repeated until a snapshot has come that covers the whole log as it was when the leader was
    /// asked, and meanwhile the log does not grow. A leader is asked once the log has an entry of
    /// its term. Given up if this node becomes the leader.
    ///
    /// # Errors
    ///
    /// If it was not asked for, and why.
    pub fn request_snapshot(&mut self) -> Result<(), RequestSnapshotError> {
        self.active().request_snapshot()
    }

    /// What the storage answered with
    /// [`TemporarilyUnavailable`](crate::StorageError::TemporarilyUnavailable) to a request for
    /// this purpose is there now. Without this report the node asks again by and by.
    pub fn on_entries_fetched(&mut self, purpose: Purpose) {
        self.active().entries_fetched(purpose);
    }

    /// On a leader, changes how much may be on its way to this peer; `None` for what
    /// [`Config`] says. In force until the node steps down. Returns whether there is such a peer.
    pub fn set_window(&mut self, peer: NodeId, window: Option<Window>) -> bool {
        self.active().set_window(peer, window)
    }

    /// Puts group commit into force or out of it: whether an entry commits only when voters of two
    /// groups at least have it on their disks, besides a majority; see
    /// [`quorum::grouped_index`](crate::quorum::grouped_index). It concerns a leader, but outlives
    /// changes of role; not a restart.
    pub fn set_group_commit(&mut self, in_force: bool) {
        self.active()
            .change_groups(|groups| groups.are_in_force = in_force);
    }

    /// Tells which group (zone, rack, region) a member belongs to; `None` for none.
    pub fn assign_commit_group(&mut self, member: NodeId, group: Option<NonZeroU64>) {
        self.active()
            .change_groups(|groups| groups.assign(member, group));
    }

    /// Whether everything committed is in two groups at least. `None` if this node does not lead,
    /// has not committed an entry of its term yet, or group commit is not in force.
    #[must_use]
    pub fn is_commit_grouped(&self) -> Option<bool> {
        self.raft.is_commit_grouped()
    }

    /// Changes [`Config::priority`](crate::Config::priority).
    pub fn set_priority(&mut self, priority: i64) {
        self.active().core.config.priority = priority;
    }

    /// Changes [`Config::skip_commit_broadcast`](crate::Config::skip_commit_broadcast).
    pub fn set_skip_commit_broadcast(&mut self, skip: bool) {
        self.active().core.config.skip_commit_broadcast = skip;
    }

    /// The transport could not deliver to this peer: what is on its way is probably lost. A lost
    /// snapshot is reported by [`report_snapshot`](Self::report_snapshot) besides.
    pub fn report_unreachable(&mut self, peer: NodeId) {
        self.active().report_unreachable(peer);
    }

    /// The snapshot sent to this peer has arrived or not. The transport owes this report for every
    /// snapshot; until then the peer is sent no entries.
    pub fn report_snapshot(&mut self, peer: NodeId, status: SnapshotStatus) {
        self.active()
            .report_snapshot(peer, status == SnapshotStatus::Delivered);
    }

    // --- Output ---

    /// Whether [`ready`](Self::ready) has something to do.
    #[must_use]
    #[inline]
    pub fn has_ready(&self) -> bool {
        debug_assert!(!self.quiet.has_no_ready || !self.raft.has_ready());
        !self.quiet.has_no_ready && self.raft.has_ready()
    }

    /// What is to be done now, or `None`. Each obligation is handed out once.
    ///
    /// # Errors
    ///
    /// [`Halted`] if the storage fails, now or before.
    #[inline]
    pub fn ready(&mut self) -> Result<Option<Box<Ready>>, Halted> {
        if self.quiet.has_no_ready && !self.has_ready() {
            return Ok(None);
        }
        let ready = self.active().ready()?;
        self.quiet.peers_served = true;
        // All that peers are to be sent is in it. If there was nothing to write or to apply, that is all.
        self.quiet.has_no_ready = ready.as_ref().is_none_or(|ready| ready.is_without_work());
        Ok(ready)
    }

    /// Everything in this `Ready` has been done: [`persisted`](Self::persisted) and
    /// [`applied`](Self::applied) in one, and its memory is used again.
    ///
    /// # Errors
    ///
    /// If the `Ready` is not from this node, or the node has [`Halted`].
    pub fn advance(&mut self, ready: Box<Ready>) -> Result<(), AcknowledgeError> {
        let before = self.quiet;
        let is_news = self.active().done(ready)?;
        // What gives peers something to hear of moves the log's end or the commit index: that is output.
        self.quiet.peers_served = before.peers_served;
        self.quiet.has_no_ready = match is_news {
            true => before.peers_served && !self.raft.core.has_output(),
            false => before.has_no_ready,
        };
        Ok(())
    }

    /// The writes of the `Ready` of this number, and of all before it, are durable.
    ///
    /// # Errors
    ///
    /// If there was no such `Ready`, or the node has [`Halted`].
    pub fn persisted(&mut self, number: u64) -> Result<(), AcknowledgeError> {
        self.active().persisted(number)
    }

    /// The state machine contains everything up to this index. An index reported before says
    /// nothing new, unless a snapshot has taken the state machine back since.
    ///
    /// # Errors
    ///
    /// If the index was not handed out to be applied, if it needs a snapshot that is not persisted
    /// yet, or if the node has [`Halted`].
    pub fn applied(&mut self, index: LogIndex) -> Result<(), AcknowledgeError> {
        self.active().applied(index)
    }

    // --- Questions ---

    /// The node's id.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.raft.core.id()
    }

    /// Its settings.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.raft.core.config
    }

    /// Its role.
    #[must_use]
    pub fn role(&self) -> RoleKind {
        self.raft.role.kind()
    }

    /// The leader of the current term, if this node knows it.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        self.raft.leader()
    }

    /// The current term.
    #[must_use]
    pub fn current_term(&self) -> Term {
        self.raft.core.current_term
    }

    /// The term, vote and commit index as they are in memory; a `Ready` says when to persist them.
    #[must_use]
    pub fn hard_state(&self) -> HardState {
        self.raft.core.hard_state()
    }

    /// The highest index known to be committed.
    #[must_use]
    pub fn commit_index(&self) -> LogIndex {
        self.raft.core.log.commit_index()
    }

    /// The highest index reported as applied.
    #[must_use]
    pub fn last_applied(&self) -> LogIndex {
        self.raft.core.log.last_applied()
    }

    /// The last entry of the log, persisted or not.
    #[must_use]
    pub fn last_log(&self) -> LogId {
        self.raft.core.log.last()
    }

    /// The membership as applied here.
    #[must_use]
    pub fn membership(&self) -> &Membership {
        &self.raft.core.membership
    }

    /// On a leader, what it knows of a peer.
    #[must_use]
    pub fn progress(&self, peer: NodeId) -> Option<&Progress> {
        if let Role::Leader(leader) = &self.raft.role {
            leader.progress(peer)
        } else {
            None
        }
    }

    /// Why the node has stopped, if it has.
    #[must_use]
    pub fn halted(&self) -> Option<&Halted> {
        self.raft.core.halted.as_deref()
    }

    /// The most important things at once, without an allocation.
    #[must_use]
    pub fn basic_status(&self) -> BasicStatus {
        let core = &self.raft.core;
        BasicStatus {
            id: core.id(),
            role: self.role(),
            leader: self.leader(),
            current_term: core.current_term,
            voted_for: core.voted_for,
            commit_index: core.log.commit_index(),
            last_applied: core.log.last_applied(),
            last_log: core.log.last(),
            persisted_index: core.durability.log(),
            transferee: self.raft.transferee(),
        }
    }

    /// Everything at once.
    #[must_use]
    pub fn status(&self) -> Status {
        let progress = match &self.raft.role {
            Role::Leader(leader) => leader.peers.clone(),
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => Vec::new(),
        };
        Status {
            basic: self.basic_status(),
            membership: self.membership().clone(),
            progress,
        }
    }

    /// Whether everything is applied here and, on a leader, known to be committed on every member:
    /// then nothing is lost if the whole group stops its clocks until somebody wants something of
    /// it. Whoever wakes it must tell all its nodes that they are awake, with a tick at least, in
    /// case the leader has died meanwhile. Never with
    /// [`Config::lease_reads`](crate::Config::lease_reads): a lease needs clocks that run.
    #[must_use]
    pub fn is_quiescent(&self) -> bool {
        self.raft.is_quiescent()
    }

    /// Why this node knows no leader; `None` if it knows one.
    #[must_use]
    pub fn why_no_leader(&self) -> Option<NoLeader> {
        self.raft.why_no_leader()
    }

    /// Why this entry is not committed; `None` if it is.
    #[must_use]
    pub fn why_not_committing(&self, index: LogIndex) -> Option<NotCommitting> {
        self.raft.why_not_committing(index)
    }

    /// On a leader, why a peer is sent no entries; `None` if nothing keeps it from that, or if
    /// there is no such peer.
    #[must_use]
    pub fn why_paused(&self, peer: NodeId) -> Option<Paused> {
        self.raft.why_paused(peer)
    }

    /// The storage.
    #[must_use]
    pub fn storage(&self) -> &S {
        self.raft.core.log.storage()
    }

    /// The storage, to write what a [`Ready`] asks for, and to compact.
    pub fn storage_mut(&mut self) -> &mut S {
        self.raft.core.log.storage_mut()
    }

    /// Ends the node, and gives back its storage. What the node had in memory alone is lost.
    #[must_use]
    pub fn into_storage(self) -> S {
        self.raft.core.log.into_storage()
    }
}
