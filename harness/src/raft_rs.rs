//! A node of raft-rs 0.7.0, as an embedder runs it.
//!
//! Owns the node, and what an embedder has to do for it that almadia does itself. Must not know
//! almadia's node: the two meet in `node.rs`, and talk through bytes. What is broken in raft-rs and
//! must not break a mixed cluster is gone around here for a [`Careful`](Embedding::Careful)
//! embedder, each time with the reason. Where that needs a membership worked out, almadia's
//! [`Membership`] does it; what raft-rs works out itself is compared with what the other nodes have.

mod adapter;
mod wire;

use std::fmt;

use almadia::{
    Body, Bytes, ConfState, Entries, HardState, LogId, LogIndex, Membership, MembershipChange,
    Message, NodeId, Payload, Proposal, ReadState, RoleKind, Snapshot, SnapshotStatus, Term,
};
use raft::eraftpb::{self, ConfChange, ConfChangeV2, EntryType};
use raft::{RawNode, ReadOnlyOption, StateRole};

use self::adapter::Adapter;
use self::wire::{
    change_to_raft_rs, conf_state_from_raft_rs, entries_from_raft_rs, from_raft_rs, read,
    to_raft_rs,
};
use crate::dice::Dice;
use crate::digest::Digest;
use crate::embedder::Store;
use crate::host::Settings;
use crate::node::{Batch, Embedding, Refusal};
use crate::trace::Look;
use crate::unreliable::Unreliable;

/// How a node is started.
pub(crate) struct Start<'a> {
    pub(crate) id: NodeId,
    pub(crate) settings: &'a Settings,
    pub(crate) embedding: Embedding,
    pub(crate) applied: LogIndex,
    /// How often the machine was started before.
    pub(crate) incarnation: u64,
}

/// A node of raft-rs.
pub(crate) struct RaftRs<S: Store> {
    node: RawNode<Adapter<S>>,
    id: NodeId,
    embedding: Embedding,
    membership: Membership,
    /// From what its election timeouts are drawn.
    seed: u64,
    timeouts: std::ops::Range<u32>,
    /// Up to where a snapshot reaches that was handed out and is not restored yet.
    restoring: Option<LogIndex>,
}

fn configuration(start: &Start<'_>) -> raft::Config {
    let settings = start.settings;
    let ticks = |ticks: u32| usize::try_from(ticks).unwrap_or(usize::MAX);
    raft::Config {
        id: start.id.get(),
        election_tick: ticks(settings.election_timeout_ticks),
        heartbeat_tick: ticks(settings.heartbeat_interval_ticks),
        applied: start.applied.0,
        max_size_per_msg: settings.max_message_bytes,
        max_inflight_msgs: settings.max_inflight_messages,
        check_quorum: settings.check_quorum,
        pre_vote: settings.pre_vote,
        min_election_tick: ticks(settings.election_timeout_ticks),
        max_election_tick: ticks(settings.longest_timeout()),
        read_only_option: if settings.lease_reads {
            ReadOnlyOption::LeaseBased
        } else {
            ReadOnlyOption::Safe
        },
        skip_bcast_commit: settings.skip_commit_broadcast,
        batch_append: false,
        priority: settings.priority,
        // It refuses to start with less.
        max_uncommitted_size: settings
            .max_uncommitted_bytes
            .max(settings.max_message_bytes),
        max_committed_size_per_ready: settings.max_committed_bytes_per_ready,
    }
}

impl<S: Store> RaftRs<S> {
    /// Starts a node from its storage.
    pub(crate) fn start(start: &Start<'_>, storage: Unreliable<S>) -> Result<Self, String> {
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let adapter = Adapter::new(storage, start.applied);
        let node = RawNode::new(&configuration(start), adapter, &logger);
        let settings = start.settings;
        let mut node = Self {
            node: node.map_err(|error| error.to_string())?,
            id: start.id,
            embedding: start.embedding,
            membership: Membership::default(),
            seed: Digest::of(&(settings.seed, start.id, start.incarnation)),
            timeouts: settings.election_timeout_ticks..settings.longest_timeout(),
            restoring: None,
        };
        node.called();
        Ok(node)
    }

    /// What an embedder does after each call.
    fn called(&mut self) {
        // raft-rs draws its timeouts by a generator of the thread, which no seed repeats. It looks
        // at one only in a tick, so it can be drawn anew until then.
        let spread = u64::from(self.timeouts.end - self.timeouts.start).max(1);
        let drawn = Dice::new(Digest::of(&(self.seed, self.node.raft.term))).below(spread);
        let timeout = u64::from(self.timeouts.start) + drawn;
        let timeout = usize::try_from(timeout).unwrap_or(usize::MAX);
        self.node.raft.set_randomized_election_timeout(timeout);
        let conf_state = self.node.raft.prs().conf().to_conf_state();
        let conf_state = conf_state_from_raft_rs(&conf_state);
        if conf_state != self.membership.to_conf_state() {
            self.membership = Membership::try_from(&conf_state)
                .unwrap_or_else(|error| panic!("raft-rs has come to {conf_state:?}: {error}"));
        }
        if self.is_careful() {
            self.take_care();
        }
    }

    /// Goes around what breaks it.
    fn take_care(&mut self) {
        let raft = &mut self.node.raft;
        // A leader that is no member any more goes on as a leader, and panics when the next entry
        // is acknowledged; one without a vote goes on.
        if raft.state == StateRole::Leader && !self.membership.is_voter(self.id) {
            let term = raft.term;
            raft.become_follower(term, raft::INVALID_ID);
        }
    }

    const fn is_careful(&self) -> bool {
        matches!(self.embedding, Embedding::Careful)
    }

    // --- Inputs ---

    pub(crate) fn tick(&mut self) {
        if self.may_campaign() {
            self.node.tick();
            self.called();
        }
    }

    /// A node that stands for election reads all that it has not applied, and panics where a
    /// snapshot is in the place of that.
    fn may_campaign(&self) -> bool {
        self.restoring.is_none() || !self.is_careful()
    }

    /// Whether it panics on a message that a correct node has sent.
    fn breaks(&self, message: &Message) -> bool {
        match &message.body {
            Body::TimeoutNow => !self.may_campaign(),
            // Whoever is in term 0 cannot refuse a pre-vote, not even for its priority
            // (raft-rs #511).
            Body::PreVote(request) => {
                self.node.raft.term == 0 && request.priority < self.node.raft.priority
            }
            Body::RequestVote(_)
            | Body::RequestVoteResponse(_)
            | Body::PreVoteResponse(_)
            | Body::AppendEntries(_)
            | Body::AppendEntriesResponse(_)
            | Body::Heartbeat(_)
            | Body::HeartbeatResponse(_)
            | Body::InstallSnapshot(_)
            | Body::Propose(_)
            | Body::ReadIndex(_)
            | Body::ReadIndexResponse(_)
            | Body::TransferLeader { .. } => false,
        }
    }

    pub(crate) fn step(&mut self, message: &Message) -> Result<(), Refusal> {
        if self.is_careful() && self.breaks(message) {
            return Ok(());
        }
        let result = self.node.step(to_raft_rs(message));
        self.called();
        result.map_err(|error| Refusal {
            is_expected: matches!(
                error,
                raft::Error::StepPeerNotFound | raft::Error::ProposalDropped
            ),
            is_for_strangers: matches!(error, raft::Error::StepPeerNotFound),
            error: error.to_string(),
            is_relayed: false,
            has_halted: false,
            reply: None,
        })
    }

    fn leads(&self) -> bool {
        self.node.raft.state == StateRole::Leader
    }

    /// Only a leader is asked: a follower would forward the proposal, and could not tell where it
    /// has come to lie.
    pub(crate) fn propose(&mut self, context: &Bytes, data: &Bytes) -> Option<LogId> {
        if !self.leads() {
            return None;
        }
        let result = self.node.propose(context.to_vec(), data.to_vec());
        self.called();
        result.ok().map(|()| self.last_log())
    }

    /// A follower sends these to its leader, each in a message of its own.
    pub(crate) fn forward(&mut self, proposals: &[Proposal]) {
        for Proposal { payload, context } in proposals {
            if let Payload::Data(data) = payload {
                // It tells whether it knows a leader, and nothing of what becomes of them.
                drop(self.node.propose(context.to_vec(), data.to_vec()));
            }
        }
        self.called();
    }

    /// A careful embedder looks for itself whether the change can be made: raft-rs takes what it
    /// cannot apply, and puts an empty entry in the place of what it refuses.
    pub(crate) fn propose_conf_change(&mut self, change: &MembershipChange) -> Option<LogId> {
        if !self.leads() || (self.is_careful() && self.membership.changed(change).is_err()) {
            return None;
        }
        let entry = change_to_raft_rs(change);
        let mut message = eraftpb::Message::default();
        message.set_msg_type(eraftpb::MessageType::MsgPropose);
        message.set_entries(vec![entry].into());
        let result = self.node.raft.step(message);
        self.called();
        result.ok().map(|()| self.last_log())
    }

    /// A careful embedder does not tell the node what is behind a snapshot that it has accepted: it
    /// has the snapshot's membership already, though the state machine does not.
    pub(crate) fn apply_conf_change(
        &mut self,
        change: &MembershipChange,
        index: LogIndex,
        before: &ConfState,
    ) -> Result<ConfState, String> {
        if self.is_careful() && index.0 < self.node.raft.raft_log.first_index() {
            let before = Membership::try_from(before);
            let after = before.and_then(|before| before.changed(change));
            return after
                .map(|after| after.to_conf_state())
                .map_err(|error| error.to_string());
        }
        let entry = change_to_raft_rs(change);
        let result = match entry.get_entry_type() {
            EntryType::EntryConfChange => {
                let change: ConfChange = read(entry.get_data());
                self.node.apply_conf_change(&change)
            }
            EntryType::EntryNormal | EntryType::EntryConfChangeV2 => {
                let change: ConfChangeV2 = read(entry.get_data());
                self.node.apply_conf_change(&change)
            }
        };
        self.called();
        result
            .map(|state| conf_state_from_raft_rs(&state))
            .map_err(|error| error.to_string())
    }

    /// A careful embedder does not ask a node that has no vote: a learner stands for election all
    /// the same, and a node without members panics.
    pub(crate) fn campaign(&mut self) -> bool {
        let may_campaign = self.may_campaign() && self.node.raft.promotable();
        if self.is_careful() && !may_campaign {
            return false;
        }
        let result = self.node.campaign();
        self.called();
        result.is_ok()
    }

    /// Where nobody leads, raft-rs drops the read without a word.
    pub(crate) fn read_index(&mut self, context: &Bytes) -> bool {
        if self.leader().is_none() {
            return false;
        }
        self.node.read_index(context.to_vec());
        self.called();
        true
    }

    /// Nobody is told how it ends, so nobody waits for that.
    pub(crate) fn transfer_leader(&mut self, transferee: NodeId) -> bool {
        self.node.transfer_leader(transferee.get());
        self.called();
        false
    }

    pub(crate) fn ping(&mut self) {
        self.node.ping();
        self.called();
    }

    /// A careful embedder waits until all of the node's log is committed: what it acknowledges no
    /// more while it waits may be what the snapshot has to cover.
    pub(crate) fn request_snapshot(&mut self) -> bool {
        if self.is_careful() && self.commit_index() < self.last_log().index {
            return false;
        }
        let result = self.node.request_snapshot();
        self.called();
        result.is_ok()
    }

    /// Everything that was to be fetched is there.
    pub(crate) fn on_entries_fetched(&mut self) {
        let fetched = std::mem::take(&mut *self.node.store().to_fetch.borrow_mut());
        for context in fetched {
            self.node.on_entries_fetched(context);
        }
        self.called();
    }

    pub(crate) fn set_group_commit(&mut self, in_force: bool) {
        self.node.raft.enable_group_commit(in_force);
        self.called();
    }

    pub(crate) fn assign_commit_group(
        &mut self,
        member: NodeId,
        group: Option<std::num::NonZeroU64>,
    ) {
        let raft = &mut self.node.raft;
        if let Some(group) = group {
            raft.assign_commit_groups(&[(member.get(), group.get())]);
        } else if let Some(progress) = raft.mut_prs().get_mut(member.get()) {
            // To none it can only be assigned by hand.
            progress.commit_group_id = 0;
        }
        self.called();
    }

    pub(crate) fn set_priority(&mut self, priority: i64) {
        self.node.set_priority(priority);
    }

    pub(crate) fn set_skip_commit_broadcast(&mut self, skip: bool) {
        self.node.skip_bcast_commit(skip);
    }

    pub(crate) fn report_unreachable(&mut self, peer: NodeId) {
        self.node.report_unreachable(peer.get());
        self.called();
    }

    pub(crate) fn report_snapshot(&mut self, peer: NodeId, status: SnapshotStatus) {
        let status = match status {
            SnapshotStatus::Delivered => raft::SnapshotStatus::Finish,
            SnapshotStatus::Failed => raft::SnapshotStatus::Failure,
        };
        self.node.report_snapshot(peer.get(), status);
        self.called();
    }

    // --- Output ---

    pub(crate) fn has_ready(&self) -> bool {
        self.node.has_ready()
    }

    /// What the node wants done. It is told at once that this is under way, and from then on reads
    /// in its storage what it has handed out.
    pub(crate) fn ready(&mut self) -> Result<Option<Batch>, String> {
        if !self.node.has_ready() {
            return Ok(None);
        }
        let mut ready = self.node.ready();
        let snapshot = ready.snapshot();
        let snapshot: Option<Snapshot> = (!snapshot.is_empty()).then(|| from_raft_rs(snapshot));
        let entries = entries_from_raft_rs(&ready.take_entries());
        let committed = entries_from_raft_rs(&ready.take_committed_entries());
        let hard_state: Option<HardState> = ready.hs().map(from_raft_rs);
        let restored = snapshot.as_ref().map(|it| it.last_included.index);
        let applies_to = committed.last_id().map(|last| last.index).or(restored);
        let runs = |run: Entries| if run.is_empty() { vec![] } else { vec![run] };
        let now = ready.take_messages();
        let messages_after_persist = ready.take_persisted_messages();
        let reads = ready.take_read_states();
        let batch = Batch {
            number: ready.number(),
            messages: messages_from_raft_rs(&now),
            snapshot,
            entries: runs(entries),
            hard_state,
            must_sync: ready.must_sync(),
            messages_after_persist: messages_from_raft_rs(&messages_after_persist),
            committed_entries: runs(committed),
            read_states: reads.into_iter().map(read_state).collect(),
            applies_to,
            transfer_outcomes: Vec::new(),
            ready: None,
        };
        self.restoring = restored.or(self.restoring);
        self.keep(&batch)?;
        self.node.advance_append_async(ready);
        self.called();
        Ok(Some(batch))
    }

    fn keep(&mut self, batch: &Batch) -> Result<(), String> {
        let store = self.node.mut_store().store.inner_mut();
        if let Some(snapshot) = &batch.snapshot {
            let result = store.install_snapshot(snapshot.clone());
            result.map_err(|error| error.to_string())?;
        }
        for run in &batch.entries {
            store.append(run).map_err(|error| error.to_string())?;
        }
        if let Some(hard_state) = batch.hard_state {
            store.set_hard_state(hard_state);
        }
        Ok(())
    }

    pub(crate) fn persisted(&mut self, number: u64) {
        self.node.on_persist_ready(number);
        self.called();
    }

    pub(crate) fn applied(&mut self, index: LogIndex) {
        self.restoring = self.restoring.filter(|&restored| restored > index);
        self.node.advance_apply_to(index.0);
        self.called();
    }

    // --- Questions ---

    pub(crate) const fn id(&self) -> NodeId {
        self.id
    }

    pub(crate) fn role(&self) -> RoleKind {
        match self.node.raft.state {
            StateRole::Follower => RoleKind::Follower,
            StateRole::PreCandidate => RoleKind::PreCandidate,
            StateRole::Candidate => RoleKind::Candidate,
            StateRole::Leader => RoleKind::Leader,
        }
    }

    pub(crate) fn leader(&self) -> Option<NodeId> {
        NodeId::new(self.node.raft.leader_id)
    }

    pub(crate) fn current_term(&self) -> Term {
        Term(self.node.raft.term)
    }

    pub(crate) fn commit_index(&self) -> LogIndex {
        LogIndex(self.node.raft.raft_log.committed)
    }

    pub(crate) fn last_applied(&self) -> LogIndex {
        LogIndex(self.node.raft.raft_log.applied())
    }

    pub(crate) fn last_log(&self) -> LogId {
        let log = &self.node.raft.raft_log;
        LogId::new(log.last_term(), log.last_index())
    }

    pub(crate) const fn membership(&self) -> &Membership {
        &self.membership
    }

    pub(crate) fn look(&self) -> Look {
        Look {
            id: self.id,
            role: self.role(),
            leader: self.leader(),
            current_term: self.current_term(),
            voted_for: NodeId::new(self.node.raft.vote),
            commit_index: self.commit_index(),
            last_applied: self.last_applied(),
            last_log: self.last_log(),
        }
    }

    pub(crate) fn storage(&self) -> &Unreliable<S> {
        &self.node.store().store
    }

    pub(crate) fn storage_mut(&mut self) -> &mut Unreliable<S> {
        &mut self.node.mut_store().store
    }
}

/// An almadia message as it arrives.
pub(crate) fn carried(message: &Message) -> Message {
    wire::carried(message)
}

/// What almadia reads of a message must be all that is in it.
fn message_from_raft_rs(message: &eraftpb::Message) -> Message {
    let read = from_raft_rs(message);
    let again: eraftpb::Message = to_raft_rs(&read);
    assert!(again == *message, "{message:?} has become {again:?}");
    read
}

fn messages_from_raft_rs(messages: &[eraftpb::Message]) -> Vec<Message> {
    messages.iter().map(message_from_raft_rs).collect()
}

fn read_state(state: raft::ReadState) -> ReadState {
    ReadState {
        context: state.request_ctx.into(),
        outcome: Ok(LogIndex(state.index)),
    }
}

impl<S: Store> fmt::Debug for RaftRs<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let progress = self.node.raft.prs().iter();
        let progress: Vec<_> = progress.collect();
        f.debug_struct("RaftRs")
            .field("look", &self.look())
            .field("membership", &self.membership)
            .field("progress", &progress)
            .finish_non_exhaustive()
    }
}
