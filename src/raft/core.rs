//! What every role has in common: the state of Figure 2 and the rules that cut across roles.
//!
//! Owns the term and vote, the log, the membership and the outbox; the vote rule (Raft 5.4.1,
//! Thesis 9.6), the receiver's side of AppendEntries, Heartbeat and InstallSnapshot (Raft 5.3, 7),
//! and the decision whether a message waits for the disk. Never changes the role; that is `raft.rs`
//! alone. What time does to it stands in `clock.rs`.

use ::core::mem::take;
use alloc::boxed::Box;
use alloc::vec::Vec;

use super::durability::{Durability, Vote};
use super::read_index::Reads;
use super::transfer::Transfers;
use crate::buffer::push_made;
use crate::config::Config;
use crate::entry::Snapshot;
use crate::error::{Halted, StartError};
use crate::event::{Event, Observing};
use crate::log::Log;
use crate::membership::Membership;
use crate::message::{
    AppendEntries, AppendEntriesResponse, Body, Heartbeat, HeartbeatResponse, Message, RequestVote,
    VoteResponse,
};
use crate::quorum::CommitGroups;
use crate::ready::{NextReady, Ready};
use crate::storage::{Storage, StorageError};
use crate::types::{HardState, LogIndex, NodeId, Term};

/// Whether the embedder wants a snapshot from the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum SnapshotWish {
    /// It wants none.
    None,
    /// It wants one, for which the leader of the current term was not asked.
    Waiting,
    /// The leader of the current term was asked for one that reaches at least to this index; the log
    /// does not grow beyond it before it has come.
    Asked(LogIndex),
}

impl SnapshotWish {
    /// What the leader of the current term was asked for.
    const fn asked(self) -> Option<LogIndex> {
        match self {
            Self::None | Self::Waiting => None,
            Self::Asked(index) => Some(index),
        }
    }

    /// In a new term the new leader is asked, once the log is known to be its log.
    pub(super) const fn ask_anew(&mut self) {
        if let Self::Asked(_) = self {
            *self = Self::Waiting;
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Core<S> {
    pub(crate) config: Config,
    pub(crate) log: Log<S>,
    pub(crate) membership: Membership,
    /// Which voters fail together, if anybody has told.
    pub(crate) commit_groups: Option<Box<CommitGroups>>,
    /// The membership of a snapshot that was accepted and is not applied yet, and its last index.
    /// Changes from before the snapshot may still be on their way to the state machine.
    pub(crate) restoring: Option<Box<(LogIndex, Membership)>>,
    pub(crate) current_term: Term,
    pub(crate) voted_for: Option<NodeId>,
    pub(crate) durability: Durability,
    /// The hard state of the last `Ready` that carried one.
    pub(crate) handed_out: HardState,
    pub(crate) next_ready: NextReady,
    /// Ticks since a leader was heard, a vote was given, or an election was begun; on a leader, since
    /// it looked last whether it has a quorum. The one clock: what is due at some time is noted as a count
    /// of it; only what waits for an answer counts by itself.
    pub(crate) election_elapsed: u32,
    /// When the next election is due, in ticks.
    pub(crate) randomized_election_timeout: u32,
    /// Elections that ran out since a leader was last heard; new ones get new timeouts.
    pub(crate) failed_rounds: u32,
    /// When priorities end to count, if no leader is heard; of no importance once the clock is there.
    pub(super) priorities_count_until: u32,
    pub(crate) reads: Reads,
    pub(crate) transfers: Transfers,
    pub(crate) snapshot_wish: SnapshotWish,
    pub(crate) halted: Option<Box<Halted>>,
    observer: Observing,
}

impl<S: Storage> Core<S> {
    pub(crate) fn open(
        config: Config,
        storage: S,
        observer: Observing,
    ) -> Result<Self, StartError> {
        let initial = storage.initial_state()?;
        let hard_state = initial.hard_state;
        if hard_state.current_term > Term::MAX {
            return Err(StorageError::Contract("the hard state's term is out of range").into());
        }
        let membership = Membership::try_from(&initial.conf_state)?;
        let may_apply_unpersisted = config.max_apply_unpersisted_entries > 0;
        let log = Log::open(storage, &hard_state, config.applied, may_apply_unpersisted)?;
        let vote = (hard_state.current_term, hard_state.voted_for);
        let durability = Durability::at_start(log.last_index(), vote);
        let reads = Reads::new(config.incarnation);
        let mut core = Self {
            config,
            log,
            membership,
            commit_groups: None,
            restoring: None,
            current_term: hard_state.current_term,
            voted_for: hard_state.voted_for,
            durability,
            handed_out: hard_state,
            next_ready: NextReady::default(),
            election_elapsed: 0,
            randomized_election_timeout: 0,
            failed_rounds: 0,
            priorities_count_until: 0,
            reads,
            transfers: Transfers::default(),
            snapshot_wish: SnapshotWish::None,
            halted: None,
            observer,
        };
        core.heard_from_leader();
        core.restart_election_clock();
        Ok(core)
    }

    pub(crate) const fn id(&self) -> NodeId {
        self.config.id
    }

    pub(crate) const fn hard_state(&self) -> HardState {
        HardState {
            current_term: self.current_term,
            voted_for: self.voted_for,
            commit_index: self.log.commit_index(),
        }
    }

    pub(crate) const fn vote(&self) -> Vote {
        (self.current_term, self.voted_for)
    }

    /// Whether the current term, and the vote in it, are on disk.
    pub(crate) fn vote_is_durable(&self) -> bool {
        self.durability.vote() == self.vote()
    }

    /// Stops the node.
    pub(crate) fn halt(&mut self, error: StorageError) -> Halted {
        if self.halted.is_none() {
            self.tell(&Event::Halted(&Halted {
                error: error.clone(),
            }));
        }
        let halted = self
            .halted
            .get_or_insert_with(|| Box::new(Halted { error }));
        Halted::clone(halted)
    }

    /// Tells the observer, if there is one.
    pub(super) fn tell(&self, event: &Event<'_>) {
        if let Some(observer) = &self.observer.0 {
            observer.on_event(self.id(), event);
        }
    }

    pub(crate) fn check_running(&self) -> Result<(), Halted> {
        match &self.halted {
            None => Ok(()),
            Some(halted) => Err(Halted::clone(halted)),
        }
    }

    /// Somebody leads: whatever waited for that goes on.
    pub(super) fn leader_found(&mut self, leader: NodeId) {
        let term = self.current_term;
        self.tell(&Event::LeaderFound { leader, term });
        self.settle_transfer(leader);
        self.forward_reads(leader);
    }

    // --- Sending ---

    pub(super) fn next_ready(&mut self) -> &mut Ready {
        let id = self.id();
        self.next_ready.open(id)
    }

    /// Queues a message that may leave before anything is written. What it says is made when its place
    /// is there: see [`push_made`].
    #[inline(always)]
    pub(crate) fn send(&mut self, to: NodeId, body: impl FnOnce() -> Body) {
        let (from, term) = (self.id(), self.current_term);
        push_message(&mut self.next_ready().messages, to, from, term, body);
    }

    /// Queues a message of a kind that belongs to no term.
    pub(super) fn send_without_term(&mut self, to: NodeId, body: impl FnOnce() -> Body) {
        let from = self.id();
        push_message(&mut self.next_ready().messages, to, from, Term::ZERO, body);
    }

    /// Queues a message that speaks for the current term and vote, and for the log up to
    /// `log_through`: it leaves once these are durable.
    #[inline(always)]
    fn send_once_durable(
        &mut self,
        to: NodeId,
        term: Term,
        body: impl FnOnce() -> Body,
        log_through: LogIndex,
    ) {
        let is_durable = self.vote_is_durable() && log_through <= self.durability.log();
        let from = self.id();
        let ready = self.next_ready();
        let queue = if is_durable {
            &mut ready.messages
        } else {
            &mut ready.messages_after_persist
        };
        push_message(queue, to, from, term, body);
    }

    // --- Votes ---

    /// RequestVote in the current term (Figure 2).
    pub(crate) fn on_request_vote(
        &mut self,
        from: NodeId,
        request: &RequestVote,
        leader: Option<NodeId>,
    ) -> Result<(), StorageError> {
        let free = self.voted_for == Some(from) || (self.voted_for.is_none() && leader.is_none());
        let granted = free && self.would_elect(request);
        if granted {
            self.voted_for = Some(from);
            // A leader has noted counts of the clock, but it has voted for itself.
            self.restart_clock();
        }
        let answer = self.vote_response(granted)?;
        let term = self.current_term;
        self.send_once_durable(
            from,
            term,
            || Body::RequestVoteResponse(answer),
            LogIndex::ZERO,
        );
        Ok(())
    }

    /// PreVote for a term that is not before the current one (Thesis 9.6). Changes nothing here, so
    /// the election clock goes on: a node that only asks must not keep others from asking.
    pub(crate) fn on_pre_vote(
        &mut self,
        from: NodeId,
        term: Term,
        request: &RequestVote,
        leader: Option<NodeId>,
    ) -> Result<(), StorageError> {
        let free = term > self.current_term
            || self.voted_for == Some(from)
            || (self.voted_for.is_none() && leader.is_none());
        let granted = free && self.would_elect(request);
        let answer = self.vote_response(granted)?;
        // A grant carries the term that was asked for, a refusal the voter's.
        let term = if granted { term } else { self.current_term };
        self.send_once_durable(from, term, || Body::PreVoteResponse(answer), LogIndex::ZERO);
        Ok(())
    }

    /// Raft 5.4.1: the candidate's log is at least as up-to-date as this one. If it is just the
    /// same, priorities decide, for a while; and a lease that may be in force stands against it. A
    /// candidate whom the leader itself has chosen is bound by nothing else (Deviation D7).
    fn would_elect(&self, request: &RequestVote) -> bool {
        let own_last = self.log.last();
        let is_outranked = request.last_log == own_last
            && request.priority < self.config.priority
            && self.priority_ticks_left() > 0;
        let is_barred = is_outranked || self.lease_ticks_left() > 0;
        request.last_log >= own_last && (request.leadership_transfer || !is_barred)
    }

    fn vote_response(&self, granted: bool) -> Result<VoteResponse, StorageError> {
        if granted {
            return Ok(VoteResponse::Granted);
        }
        let commit = self.log.id_or_zero(self.log.commit_index())?;
        Ok(VoteResponse::Refused { commit })
    }

    /// Answers a vote request of an earlier term, so that its sender learns the current one.
    pub(crate) fn refuse_vote(
        &mut self,
        to: NodeId,
        body: fn(VoteResponse) -> Body,
    ) -> Result<(), StorageError> {
        let answer = self.vote_response(false)?;
        self.send_once_durable(to, self.current_term, || body(answer), LogIndex::ZERO);
        Ok(())
    }

    /// The vote request of this node's own candidacy.
    fn vote_request(&self, leadership_transfer: bool) -> Result<RequestVote, StorageError> {
        Ok(RequestVote {
            last_log: self.log.last(),
            commit: self.log.id_or_zero(self.log.commit_index())?,
            priority: self.config.priority,
            leadership_transfer,
        })
    }

    /// Asks every other voter for a pre-vote. Nothing hangs on it, so nothing is waited for.
    pub(crate) fn broadcast_pre_vote(&mut self) -> Result<(), StorageError> {
        let body = Body::PreVote(self.vote_request(false)?);
        let messages = self.to_voters(self.current_term.next(), body);
        self.next_ready().messages.extend(messages);
        Ok(())
    }

    /// Asks every other voter for its vote. The request speaks for the log that it names: a vote
    /// that was won with entries which a crash then takes away could elect this node, in a second
    /// life and the same term, without them. So it waits for the log, but not for its own term.
    pub(crate) fn broadcast_request_vote(
        &mut self,
        leadership_transfer: bool,
    ) -> Result<(), StorageError> {
        let body = Body::RequestVote(self.vote_request(leadership_transfer)?);
        let messages = self.to_voters(self.current_term, body);
        if self.log.last_index() <= self.durability.log() {
            self.next_ready().messages.extend(messages);
        } else {
            self.next_ready().messages_after_persist.extend(messages);
        }
        Ok(())
    }

    fn to_voters(&self, term: Term, body: Body) -> Vec<Message> {
        let from = self.id();
        let mut voters = self.membership.voters();
        voters.retain(|&to| to != from);
        voters
            .into_iter()
            .map(|to| Message {
                to,
                from,
                term,
                body: body.clone(),
            })
            .collect()
    }

    // --- The receiver's side of replication ---

    /// AppendEntries of the current term's leader (Figure 2). The door has made sure that the
    /// entries are well-formed and do not contradict what is committed.
    pub(crate) fn on_append_entries(
        &mut self,
        leader: NodeId,
        append: &mut AppendEntries,
    ) -> Result<(), StorageError> {
        let AppendEntries {
            prev_log: mut prev,
            leader_commit,
            ref mut entries,
        } = *append;
        if let Some(limit) = self.snapshot_wish.asked() {
            let room = usize::try_from(limit.since(prev.index)).unwrap_or(usize::MAX);
            if entries.len() > room || prev.index > limit {
                // The leader does not know of the request, or it would send nothing.
                self.ask_for_snapshot(leader);
            }
            entries.narrow(0, room);
        }
        let last_new = entries.last_id().unwrap_or(prev);
        let commit = self.log.commit_index();
        if prev.index < commit {
            if last_new.index <= commit {
                // An old message. All of it is committed here, and the leader has all of that
                // (Deviation D3).
                self.accept(leader, commit);
                return Ok(());
            }
            // What is committed is known to match; begin behind it.
            let committed = usize::try_from(commit.since(prev.index)).unwrap_or(usize::MAX);
            entries.narrow(committed, entries.len());
            prev = self.log.id_or_zero(commit)?;
        }
        if !self.log.holds(prev)? {
            let hint = self.log.latest_not_after(prev)?;
            let commit_index = self.log.commit_index();
            let prev_index = prev.index;
            let rejected = AppendEntriesResponse::Rejected {
                prev_index,
                hint,
                commit_index,
            };
            self.send(leader, || Body::AppendEntriesResponse(rejected));
            return Ok(());
        }
        if let Some(kept) = self.log.append_from_leader(entries)? {
            self.durability.truncated_to(kept);
            self.tell(&Event::LogTruncated { kept });
        }
        // Only up to the last new entry: what lies behind it may not be the leader's (Figure 2).
        self.log.commit_to(leader_commit.min(last_new.index));
        self.accept(leader, last_new.index);
        Ok(())
    }

    /// Heartbeat of the current term's leader. The door has made sure that the log reaches the
    /// commit index, which the leader knows to be the same on both sides.
    pub(crate) fn on_heartbeat(&mut self, leader: NodeId, heartbeat: &mut Heartbeat) {
        self.log.commit_to(heartbeat.leader_commit);
        let commit_index = self.log.commit_index();
        self.send(leader, || {
            Body::HeartbeatResponse(HeartbeatResponse {
                commit_index,
                token: take(&mut heartbeat.token),
            })
        });
    }

    /// InstallSnapshot of the current term's leader (Raft 7).
    pub(crate) fn on_install_snapshot(
        &mut self,
        leader: NodeId,
        snapshot: &Snapshot,
        membership: Membership,
    ) -> Result<(), StorageError> {
        let last = snapshot.last_included;
        let commit = self.log.commit_index();
        let is_requested = self
            .snapshot_wish
            .asked()
            .is_some_and(|request_index| last.index >= request_index);
        if is_requested && last.index >= self.log.last_index() {
            self.install(leader, snapshot.clone(), membership);
        } else if last.index <= commit {
            self.accept(leader, commit);
        } else if self.log.holds(last)? {
            // The log has it all: nothing to install, and what follows is kept (Raft 7).
            self.log.commit_to(last.index);
            self.accept(leader, last.index);
        } else {
            self.install(leader, snapshot.clone(), membership);
        }
        Ok(())
    }

    fn install(&mut self, leader: NodeId, snapshot: Snapshot, membership: Membership) {
        let last = snapshot.last_included;
        self.snapshot_wish = SnapshotWish::None;
        self.durability.truncated_to(self.log.commit_index());
        self.log.restore(snapshot);
        let last_included = last;
        self.tell(&Event::SnapshotAccepted { last_included });
        // A state machine that is just there has that membership already.
        let is_there = self.log.last_applied() == last.index;
        self.restoring = (!is_there).then(|| Box::new((last.index, membership)));
        self.accept(leader, last.index);
    }

    /// Asks the leader for a snapshot, if one is wanted. Until it comes, the log does not grow:
    /// whatever was acknowledged is in the snapshot then.
    ///
    /// Waits for an entry of the current term: only then is the log known to be the leader's, and
    /// only such an entry commits by counting (Raft 5.4.2). A log that stopped growing before it
    /// could keep the leader from committing what the snapshot is to cover.
    #[inline]
    pub(super) fn ask_for_snapshot(&mut self, leader: NodeId) {
        match self.snapshot_wish {
            SnapshotWish::None => {}
            SnapshotWish::Waiting => self.ask_for_snapshot_from(leader, self.log.last_index()),
            SnapshotWish::Asked(index) => self.ask_for_snapshot_from(leader, index),
        }
    }

    #[cold]
    fn ask_for_snapshot_from(&mut self, leader: NodeId, request_index: LogIndex) {
        let last_log = self.log.last();
        if last_log.term < self.current_term {
            return;
        }
        self.snapshot_wish = SnapshotWish::Asked(request_index);
        let requested = AppendEntriesResponse::SnapshotRequested {
            last_log,
            commit_index: self.log.commit_index(),
            request_index,
        };
        self.send(leader, || Body::AppendEntriesResponse(requested));
        // The leader sends nothing more that could be acknowledged, and may not have heard what
        // was: it has to commit that before a snapshot can cover it.
        self.accept(leader, last_log.index);
    }

    fn accept(&mut self, leader: NodeId, match_index: LogIndex) {
        let commit_index = self.log.commit_index();
        let accepted = AppendEntriesResponse::Accepted {
            match_index,
            commit_index,
        };
        let body = || Body::AppendEntriesResponse(accepted);
        self.send_once_durable(leader, self.current_term, body, match_index);
    }
}

/// Builds a message where it is to lie.
#[inline(always)]
fn push_message(
    queue: &mut Vec<Message>,
    to: NodeId,
    from: NodeId,
    term: Term,
    body: impl FnOnce() -> Body,
) {
    push_made(queue, || Message {
        to,
        from,
        term,
        body: body(),
    });
}
