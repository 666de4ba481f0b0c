//! A leader: takes proposals, counts acknowledgements, commits, and knows when it has lost its
//! quorum.
//!
//! Owns what only a leader has: every peer's progress and the bookkeeping of its proposals. What it
//! sends is in `replication.rs`; membership changes are in `reconfigure.rs`. Dropped as a whole
//! when the node steps down.

use ::core::cell::Cell;
use ::core::iter;
use ::core::mem::take;
use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use super::Next;
use super::core::Core;
use super::read_index::Rounds;
use super::transfer::{Target, Transfer};
use crate::entry::{Entry, Payload};
use crate::error::{ProposeError, StepError};
use crate::event::Event;
use crate::message::{AppendEntriesResponse, Body, HeartbeatResponse, Proposal, Token};
use crate::outstanding::Outstanding;
use crate::progress::{Progress, ProgressState};
use crate::storage::{Storage, StorageError};
use crate::types::{LogId, LogIndex, NodeId, Term};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Leader {
    /// All members but this node, ascending by id.
    pub(crate) peers: Vec<(NodeId, Progress)>,
    /// Ticks from when heartbeats were due last to when the clock began to count.
    heartbeat_phase: u32,
    /// Heartbeats leave with the next `Ready`.
    pub(super) heartbeat_due: bool,
    /// Whether a quorum had answered at the last check.
    pub(super) has_quorum: bool,
    /// The index of the entry that opened the term. Only from here on does counting
    /// acknowledgements commit anything (Raft 5.4.2).
    pub(super) term_start: LogIndex,
    /// No membership change may be proposed before this index is applied (Raft 6).
    pub(super) pending_change: LogIndex,
    pub(super) transfer: Option<Box<Transfer>>,
    pub(super) rounds: Rounds,
    /// The entries that are not committed: index and bytes of each proposal of this term, behind
    /// one record for all that the leader has found in its log.
    uncommitted: Outstanding,
}

impl Leader {
    /// Takes over: assumes nothing of the peers, and opens the term with an entry of its own
    /// (Raft 8), behind which everything older commits.
    pub(super) fn start<S: Storage>(core: &mut Core<S>) -> Result<Self, StorageError> {
        let next_index = core.log.last_index().next();
        // What cannot be counted now counts as the most there may be.
        let found = core.log.uncommitted_bytes()?;
        let found = found.unwrap_or(core.config.max_uncommitted_bytes);
        let mut leader = Self {
            peers: Vec::new(),
            heartbeat_phase: 0,
            heartbeat_due: false,
            has_quorum: true,
            term_start: next_index,
            pending_change: core.log.last_index(),
            transfer: None,
            rounds: Rounds::new(&core.config),
            uncommitted: Outstanding::default(),
        };
        if found > 0 {
            leader.uncommitted.add(core.log.last_index(), found);
        }
        leader.sync_peers(core, false);
        let opening = Payload::Data(Bytes::new());
        core.log
            .append_proposal(core.current_term, || (opening, Bytes::new()));
        Ok(leader)
    }

    /// Gives the memory back in which nothing is.
    pub(super) fn give_back_buffers(&mut self) {
        self.rounds.give_back_buffers();
        self.uncommitted.give_back_buffers();
        for (_, progress) in &mut self.peers {
            progress.give_back_buffers();
        }
    }

    #[inline]
    pub(crate) fn progress(&self, peer: NodeId) -> Option<&Progress> {
        let position = self.peers.binary_search_by_key(&peer, |(id, _)| *id).ok()?;
        self.peers.get(position).map(|(_, progress)| progress)
    }

    #[inline]
    pub(super) fn progress_mut(&mut self, peer: NodeId) -> Option<&mut Progress> {
        let position = self.peers.binary_search_by_key(&peer, |(id, _)| *id).ok()?;
        self.peers.get_mut(position).map(|(_, progress)| progress)
    }

    pub(super) fn tick<S: Storage>(&mut self, core: &mut Core<S>) -> Next {
        if core.election_elapsed >= core.config.election_timeout_ticks {
            self.heartbeat_phase = self.ticks_since_heartbeat(core);
            let passed = core.restart_clock();
            self.rounds.clock_restarted(passed);
            self.has_quorum = self.check_quorum(core);
            if core.config.check_quorum && !self.has_quorum {
                let term = core.current_term;
                core.tell(&Event::QuorumLost { term });
                return Next::StepDown;
            }
        }
        if self.tick_transfer(core) == Next::StepDown {
            return Next::StepDown;
        }
        let is_due = self.ticks_since_heartbeat(core) == 0;
        self.heartbeat_due |= is_due && !self.peers.is_empty();
        Next::Stay
    }

    /// Ticks since heartbeats were due last, whether there was anybody to hear them or not.
    fn ticks_since_heartbeat<S: Storage>(&self, core: &Core<S>) -> u32 {
        let ticks = u64::from(self.heartbeat_phase) + u64::from(core.election_elapsed);
        let since = ticks % u64::from(core.config.heartbeat_interval_ticks);
        u32::try_from(since).unwrap_or(0)
    }

    /// After how many ticks something happens.
    pub(super) fn ticks_until_action<S: Storage>(&self, core: &Core<S>) -> u32 {
        let heartbeat = if self.peers.is_empty() {
            u32::MAX
        } else {
            core.config.heartbeat_interval_ticks - self.ticks_since_heartbeat(core)
        };
        let quorum = core.config.election_timeout_ticks - core.election_elapsed;
        let transfer = self.ticks_until_transfer_fails(core).unwrap_or(u32::MAX);
        heartbeat.min(quorum).min(transfer)
    }

    /// Whether a quorum has answered since the last time this was asked (Thesis 6.2).
    fn check_quorum<S: Storage>(&mut self, core: &Core<S>) -> bool {
        let active = core.membership.has_quorum(|voter| {
            voter == core.id() || self.progress(voter).is_some_and(Progress::recently_active)
        });
        for (_, progress) in &mut self.peers {
            progress.recently_active = false;
        }
        active
    }

    /// A message of the current term. Entries and tokens are taken out of it.
    pub(super) fn step<S: Storage>(
        &mut self,
        core: &mut Core<S>,
        from: NodeId,
        body: &mut Body,
    ) -> Result<Next, StepError> {
        match body {
            Body::AppendEntriesResponse(response) => {
                self.on_append_entries_response(core, from, *response)?;
                return Ok(self.hand_over_if_ready(core)?);
            }
            Body::HeartbeatResponse(response) => {
                self.on_heartbeat_response(core, from, response)?;
            }
            // There is one leader in a term (Election Safety, Raft 5.2).
            Body::AppendEntries(_) | Body::Heartbeat(_) | Body::InstallSnapshot(_) => {
                return Err(StepError::SecondLeader {
                    from,
                    term: core.current_term,
                });
            }
            Body::RequestVote(request) => {
                core.on_request_vote(from, request, Some(core.id()))?;
            }
            Body::PreVote(request) => {
                core.on_pre_vote(from, core.current_term, request, Some(core.id()))?;
            }
            Body::Propose(proposals) => {
                self.propose_all(core, take(proposals))
                    .map_err(StepError::Propose)?;
            }
            Body::ReadIndex(token) => {
                self.take_read(core, from, take(token))
                    .map_err(StepError::Read)?;
            }
            Body::TransferLeader { transferee } => {
                self.start_transfer(core, *transferee)
                    .map_err(StepError::Transfer)?;
                return Ok(self.hand_over_if_ready(core)?);
            }
            // Votes that are not needed any more, answers to what this node asked before it led,
            // and a wish that it fulfils already.
            Body::RequestVoteResponse(_)
            | Body::PreVoteResponse(_)
            | Body::ReadIndexResponse(_)
            | Body::TimeoutNow => {}
        }
        Ok(Next::Stay)
    }

    fn on_append_entries_response<S: Storage>(
        &mut self,
        core: &mut Core<S>,
        from: NodeId,
        response: AppendEntriesResponse,
    ) -> Result<(), StepError> {
        match response {
            AppendEntriesResponse::Accepted {
                match_index,
                commit_index,
            } => {
                check_ack(core, match_index.max(commit_index))?;
                let Some(progress) = self.progress_mut(from) else {
                    return Ok(());
                };
                // It matters while a snapshot is on its way, and only then it may cost a look.
                let log_reaches = !matches!(progress.state, ProgressState::Snapshot { .. })
                    || core.log.goes_on_from(match_index)?;
                progress.heard_of_commit(commit_index);
                progress.accepted(match_index, log_reaches);
                // What is committed already says nothing new of what lies behind it.
                if match_index > core.log.commit_index() {
                    self.commit(core);
                }
            }
            AppendEntriesResponse::Rejected {
                prev_index,
                hint,
                commit_index,
            } => {
                check_ack(core, prev_index.max(hint.index).max(commit_index))?;
                // The peer's word on where the logs can agree at best, then this log's. A peer
                // without such an entry names no term.
                let agree_at_most = if hint.term == Term::ZERO {
                    hint.index
                } else {
                    core.log.latest_not_after(hint)?.index
                };
                let Some(progress) = self.progress_mut(from) else {
                    return Ok(());
                };
                progress.heard_of_commit(commit_index);
                progress.rejected(prev_index, agree_at_most);
            }
            AppendEntriesResponse::SnapshotRequested {
                commit_index,
                request_index,
                ..
            } => {
                check_ack(core, commit_index.max(request_index))?;
                let Some(progress) = self.progress_mut(from) else {
                    return Ok(());
                };
                progress.heard_of_commit(commit_index);
                progress.snapshot_requested(request_index);
            }
            // News only to a leader of an older term.
            AppendEntriesResponse::TermOutdated => {}
        }
        Ok(())
    }

    fn on_heartbeat_response<S: Storage>(
        &mut self,
        core: &mut Core<S>,
        from: NodeId,
        response: &HeartbeatResponse,
    ) -> Result<(), StepError> {
        check_ack(core, response.commit_index)?;
        self.check_round(from, &response.token)?;
        let Some(progress) = self.progress_mut(from) else {
            return Ok(());
        };
        progress.heard_of_commit(response.commit_index);
        progress.heartbeat_answered(response.commit_index, core.log.last_index());
        if let Token::Number(round) = response.token {
            progress.round_answered = progress.round_answered.max(round);
            self.confirm_rounds(core);
        }
        Ok(())
    }

    /// Commits what a quorum has on disk (Raft 5.3), if it is of this term; what is older commits
    /// with it (Raft 5.4.2). This node counts for what is on its own disk.
    pub(super) fn commit<S: Storage>(&mut self, core: &mut Core<S>) {
        let index = self.quorum_index(core);
        if index < self.term_start {
            return;
        }
        core.log.commit_to(index);
        self.uncommitted.free_through(index);
    }

    /// Up to where this node knows a member's log to be durable.
    pub(super) fn acknowledged<S: Storage>(&self, core: &Core<S>, member: NodeId) -> LogIndex {
        if member == core.id() {
            core.durability.log()
        } else {
            self.progress(member)
                .map_or(LogIndex::ZERO, Progress::match_index)
        }
    }

    /// What a quorum has on disk.
    fn quorum_index<S: Storage>(&self, core: &Core<S>) -> LogIndex {
        // Voters are asked for in the order of the peers: mostly the next one is meant.
        let next = Cell::new(0);
        let acknowledged = |voter| {
            let at = next.get();
            match self.peers.get(at) {
                Some((peer, progress)) if *peer == voter => {
                    next.set(at + 1);
                    progress.match_index
                }
                Some(_) | None => self.acknowledged(core, voter),
            }
        };
        match &core.commit_groups {
            Some(groups) if groups.are_in_force => {
                let group = |voter| groups.of(voter);
                core.membership.grouped_index(acknowledged, group).index
            }
            Some(_) | None => core.membership.quorum_index(acknowledged),
        }
    }

    /// Whether everything that is committed is in two groups at least; `None` if this cannot be
    /// told now, or is not asked for.
    pub(super) fn is_commit_grouped<S: Storage>(&self, core: &Core<S>) -> Option<bool> {
        let groups = core.commit_groups.as_ref().filter(|it| it.are_in_force)?;
        if !self.has_committed_in_term(core) {
            return None;
        }
        let acknowledged = |voter| self.acknowledged(core, voter);
        let grouped = core
            .membership
            .grouped_index(acknowledged, |voter| groups.of(voter));
        Some(grouped.spans_groups && grouped.index >= core.log.commit_index())
    }

    /// Appends proposals to the log (Figure 2): all of them or none.
    pub(super) fn propose_all<S: Storage>(
        &mut self,
        core: &mut Core<S>,
        proposals: Vec<Proposal>,
    ) -> Result<(), ProposeError> {
        let sizes = proposals.iter().map(|it| (&it.payload, it.size_bytes()));
        self.check_proposals(core, sizes)?;
        for Proposal {
            mut payload,
            mut context,
        } in proposals
        {
            let bytes = Entry::size_bytes_of(&payload, &context);
            self.take_proposal(core, &mut payload, &mut context, bytes);
        }
        Ok(())
    }

    /// Appends a proposal to the log, which takes it out. Returns its log id.
    #[inline(always)]
    pub(super) fn propose<S: Storage>(
        &mut self,
        core: &mut Core<S>,
        payload: &mut Payload,
        context: &mut Bytes,
    ) -> Result<LogId, ProposeError> {
        let bytes = Entry::size_bytes_of(payload, context);
        self.check_proposals(core, iter::once((&*payload, bytes)))?;
        Ok(self.take_proposal(core, payload, context, bytes))
    }

    // Inlined, so that the entry is made of the proposal where it lies, and not of a copy.
    #[inline(always)]
    fn take_proposal<S: Storage>(
        &mut self,
        core: &mut Core<S>,
        payload: &mut Payload,
        context: &mut Bytes,
        bytes: u64,
    ) -> LogId {
        let is_change = matches!(payload, Payload::Change(_));
        let id = core
            .log
            .append_proposal(core.current_term, || (payload.take(), take(context)));
        self.uncommitted.add(id.index, bytes);
        if is_change {
            self.pending_change = id.index;
        }
        id
    }

    /// Whether all of these may be taken. Each is given by what it is to carry and by its bytes.
    #[inline(always)]
    fn check_proposals<'a, S: Storage>(
        &self,
        core: &Core<S>,
        proposals: impl ExactSizeIterator<Item = (&'a Payload, u64)>,
    ) -> Result<(), ProposeError> {
        let count = proposals.len();
        match self.transfer.as_ref().map(|transfer| transfer.target) {
            Some(Target::Node(_)) => return Err(ProposeError::Transferring),
            Some(Target::MostCaughtUp) => return Err(ProposeError::Removed),
            None => {}
        }
        let mut total = self.uncommitted.bytes();
        let mut change_seen = false;
        for (payload, bytes) in proposals {
            if let Payload::Change(change) = payload {
                if change_seen {
                    return Err(ProposeError::ChangePending);
                }
                self.check_change(core, change)?;
                change_seen = true;
            }
            total = total.saturating_add(bytes);
        }
        if LogIndex::MAX.since(core.log.last_index()) < count as u64 {
            return Err(ProposeError::NoIndexLeft);
        }
        let is_alone = self.uncommitted.is_empty() && count == 1;
        if total > core.config.max_uncommitted_bytes && !is_alone {
            return Err(ProposeError::TooManyUncommitted);
        }
        Ok(())
    }
}

/// A peer cannot have what this leader does not have.
fn check_ack<S: Storage>(core: &Core<S>, index: LogIndex) -> Result<(), StepError> {
    let last_index = core.log.last_index();
    if index > last_index {
        Err(StepError::AcknowledgedBeyondLog { index, last_index })
    } else {
        Ok(())
    }
}
