//! The protocol: one node's common state and its role, and the only place where the role changes.
//!
//! Owns the order of things: the door, the comparison of terms (Raft 5.1), the role's answer, the
//! change of role. What a role does with a message stands in that role's file, in one match.

mod acknowledge;
mod candidate;
mod clock;
mod commands;
mod core;
mod door;
mod durability;
mod explain;
mod follower;
mod invariants;
mod leader;
mod output;
mod read_index;
mod reconfigure;
mod replication;
mod transfer;

use ::core::cmp::Ordering;
use alloc::boxed::Box;

pub(crate) use self::candidate::{Candidate, PreCandidate};
pub(crate) use self::core::{Core, SnapshotWish};
pub(crate) use self::follower::Follower;
pub(crate) use self::leader::Leader;
use crate::config::Config;
use crate::error::{CampaignError, ChangeError, Halted, StartError, StepError};
use crate::event::{Event, Observing};
use crate::membership::MembershipChange;
use crate::message::{AppendEntriesResponse, Body, Message, RequestVote, VoteResponse};
use crate::status::RoleKind;
use crate::storage::{Storage, StorageError};
use crate::types::{LogIndex, NodeId, Term};

/// A node, without the outer form of its API.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Raft<S> {
    pub(crate) core: Core<S>,
    pub(crate) role: Role,
}

/// The role and all that belongs to it; stepping down drops it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    Follower(Follower),
    PreCandidate(PreCandidate),
    Candidate(Candidate),
    Leader(Box<Leader>),
}

impl Role {
    pub(crate) const fn kind(&self) -> RoleKind {
        match self {
            Self::Follower(_) => RoleKind::Follower,
            Self::PreCandidate(_) => RoleKind::PreCandidate,
            Self::Candidate(_) => RoleKind::Candidate,
            Self::Leader(_) => RoleKind::Leader,
        }
    }
}

/// What a role wants to happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Stay,
    /// Follow this leader of the current term, and take its message as a follower.
    Follow {
        leader: NodeId,
    },
    /// Become a follower without a leader, in the same term.
    StepDown,
    /// The election timeout has passed.
    Campaign,
    /// The leader has stepped down for this node (Thesis 3.10).
    TakeOver,
    /// The pre-votes are won.
    StandForElection,
    /// The election is won.
    Lead,
}

impl<S: Storage> Raft<S> {
    pub(crate) fn open(
        config: Config,
        storage: S,
        observer: Observing,
    ) -> Result<Self, StartError> {
        let core = Core::open(config, storage, observer)?;
        Ok(Self {
            core,
            role: Role::Follower(Follower::of(None)),
        })
    }

    pub(crate) fn leader(&self) -> Option<NodeId> {
        match &self.role {
            Role::Follower(follower) => follower.leader,
            Role::PreCandidate(_) | Role::Candidate(_) => None,
            Role::Leader(_) => Some(self.core.id()),
        }
    }

    // --- Inputs ---

    /// Takes entries, proposals and tokens out of the message, if they are kept.
    pub(crate) fn step(&mut self, message: &mut Message) -> Result<(), StepError> {
        self.core.check_running()?;
        let result = self.take(message);
        if let Err(error) = &result {
            self.refused(message, error);
        }
        result
    }

    #[cold]
    fn refused(&mut self, message: &Message, error: &StepError) {
        let (from, kind) = (message.from, message.body.kind());
        if let StepError::Halted(halted) = error {
            self.core.halt(halted.error.clone());
        } else {
            self.core.tell(&Event::MessageRefused { from, kind, error });
        }
    }

    fn take(&mut self, message: &mut Message) -> Result<(), StepError> {
        door::check(&self.core, message)?;
        self.learn_commit(message)?;
        self.receive(message)
    }

    /// Votes and their refusals tell what the sender knows to be committed. Where the log holds
    /// that very entry, it is committed here too. Without this, a node that is the only one who may
    /// lead but does not know the last change would wait for those who are no voters any more
    /// (etcd#12359).
    fn learn_commit(&mut self, message: &Message) -> Result<(), StorageError> {
        let (Body::RequestVote(RequestVote { commit, .. })
        | Body::PreVote(RequestVote { commit, .. })
        | Body::RequestVoteResponse(VoteResponse::Refused { commit })
        | Body::PreVoteResponse(VoteResponse::Refused { commit })) = &message.body
        else {
            return Ok(());
        };
        let is_news = commit.index > self.core.log.commit_index();
        let is_for_us =
            !matches!(self.role, Role::Leader(_)) && self.core.membership.contains(message.from);
        if !is_news || !is_for_us || !self.core.log.holds(*commit)? {
            return Ok(());
        }
        self.core.log.commit_to(commit.index);
        let stands = matches!(self.role, Role::Candidate(_) | Role::PreCandidate(_));
        // Who does not know the latest membership must not stand for election (Thesis 4.1).
        if stands && self.core.log.has_unapplied_change()? {
            self.become_follower(self.core.current_term, None);
        }
        Ok(())
    }

    /// A message that has passed the door: compares terms (Raft 5.1), then asks the role.
    fn receive(&mut self, message: &mut Message) -> Result<(), StepError> {
        let &mut Message {
            from,
            term,
            ref mut body,
            ..
        } = message;
        // Wishes are for whoever leads, whatever the term. (raft-rs forwards a transfer with one.)
        let is_wish = matches!(
            body,
            Body::Propose(_) | Body::ReadIndex(_) | Body::TransferLeader { .. }
        );
        let is_for_role = is_wish
            || match term.cmp(&self.core.current_term) {
                Ordering::Less => {
                    self.answer_outdated(from, body)?;
                    false
                }
                // A granted pre-vote carries the term that it is for. This one has begun meanwhile.
                Ordering::Equal => !matches!(body, Body::PreVoteResponse(VoteResponse::Granted)),
                Ordering::Greater => self.receive_later_term(from, term, body)?,
            };
        if is_for_role {
            self.dispatch(from, body)
        } else {
            Ok(())
        }
    }

    /// A message of a later term, which mostly begins here then. Returns whether the role is to see it.
    fn receive_later_term(
        &mut self,
        from: NodeId,
        term: Term,
        body: &Body,
    ) -> Result<bool, StorageError> {
        match body {
            // Leader stickiness: who hears from a live leader takes no part (Thesis 4.2.3).
            Body::RequestVote(request) | Body::PreVote(request)
                if !request.leadership_transfer && self.stands_by_a_leader() =>
            {
                Ok(false)
            }
            // Asking does not begin the term.
            Body::PreVote(request) => {
                let leader = self.leader();
                self.core.on_pre_vote(from, term, request, leader)?;
                Ok(false)
            }
            // The answer to a pre-vote carries the term that was asked for.
            Body::PreVoteResponse(VoteResponse::Granted) => {
                let is_candidate = matches!(self.role, Role::PreCandidate(_));
                Ok(is_candidate && term == self.core.current_term.next())
            }
            Body::AppendEntries(_) | Body::Heartbeat(_) | Body::InstallSnapshot(_) => {
                self.become_follower(term, Some(from));
                Ok(true)
            }
            Body::RequestVote(_)
            | Body::RequestVoteResponse(_)
            | Body::PreVoteResponse(VoteResponse::Refused { .. })
            | Body::AppendEntriesResponse(_)
            | Body::HeartbeatResponse(_)
            | Body::TimeoutNow
            | Body::Propose(_)
            | Body::ReadIndex(_)
            | Body::ReadIndexResponse(_)
            | Body::TransferLeader { .. } => {
                self.become_follower(term, None);
                Ok(true)
            }
        }
    }

    /// Whether this node has heard from a leader within the election timeout, or is one whom a
    /// quorum has answered.
    fn stands_by_a_leader(&self) -> bool {
        if self.core.lease_ticks_left() > 0 {
            return true;
        }
        let Config {
            pre_vote,
            check_quorum,
            election_timeout_ticks,
            ..
        } = self.core.config;
        match &self.role {
            Role::Follower(follower) => {
                (pre_vote || check_quorum)
                    && follower.leader.is_some()
                    && self.core.election_elapsed < election_timeout_ticks
            }
            Role::PreCandidate(_) | Role::Candidate(_) => false,
            Role::Leader(leader) => (pre_vote || check_quorum) && leader.has_quorum,
        }
    }

    /// A request from an earlier term is answered with the current one, so that its sender does
    /// not stay behind (Raft 5.1). Answers from an earlier term say nothing.
    fn answer_outdated(&mut self, from: NodeId, body: &Body) -> Result<(), StorageError> {
        match body {
            Body::AppendEntries(_) | Body::Heartbeat(_) | Body::InstallSnapshot(_) => {
                let outdated = AppendEntriesResponse::TermOutdated;
                self.core
                    .send(from, || Body::AppendEntriesResponse(outdated));
                Ok(())
            }
            Body::RequestVote(_) => self.core.refuse_vote(from, Body::RequestVoteResponse),
            Body::PreVote(_) => self.core.refuse_vote(from, Body::PreVoteResponse),
            Body::RequestVoteResponse(_)
            | Body::PreVoteResponse(_)
            | Body::AppendEntriesResponse(_)
            | Body::HeartbeatResponse(_)
            | Body::TimeoutNow
            | Body::Propose(_)
            | Body::ReadIndex(_)
            | Body::ReadIndexResponse(_)
            | Body::TransferLeader { .. } => Ok(()),
        }
    }

    fn dispatch(&mut self, from: NodeId, body: &mut Body) -> Result<(), StepError> {
        let next = match &mut self.role {
            Role::Follower(follower) => follower.step(&mut self.core, from, body),
            Role::PreCandidate(candidate) => candidate.step(&mut self.core, from, body),
            Role::Candidate(candidate) => candidate.step(&mut self.core, from, body),
            Role::Leader(leader) => leader.step(&mut self.core, from, body),
        }?;
        if let Next::Follow { leader } = next {
            return self.follow(leader, body);
        }
        Ok(self.go(next)?)
    }

    /// Follows whom the message shows to lead, and takes it as a follower.
    #[cold]
    fn follow(&mut self, leader: NodeId, body: &mut Body) -> Result<(), StepError> {
        self.become_follower(self.core.current_term, Some(leader));
        self.dispatch(leader, body)
    }

    pub(crate) fn apply_change(&mut self, change: &MembershipChange) -> Result<(), ChangeError> {
        self.core.check_running()?;
        if self.core.membership.is_empty() {
            return Err(ChangeError::NoMembership);
        }
        self.core.membership = self.core.membership.changed(change)?;
        self.core
            .tell(&Event::MembershipChanged(&self.core.membership));
        let is_voter = self.core.membership.is_voter(self.core.id());
        let next = match &mut self.role {
            Role::Leader(leader) => leader.membership_changed(&mut self.core),
            // Who has no vote any more must not go on (Thesis 4.2.2, Deviation D6).
            Role::PreCandidate(_) | Role::Candidate(_) if !is_voter => Ok(Next::StepDown),
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => Ok(Next::Stay),
        };
        let result = next.and_then(|next| self.go(next));
        Ok(self.finish(result)?)
    }

    // --- Output ---

    /// Gives the memory back in which nothing is.
    pub(crate) fn give_back_buffers(&mut self) {
        self.core.give_back_buffers();
        if let Role::Leader(leader) = &mut self.role {
            leader.give_back_buffers();
        }
    }

    /// Stops the node if its storage failed.
    fn finish<T>(&mut self, result: Result<T, StorageError>) -> Result<T, Halted> {
        let result = result.map_err(|error| self.core.halt(error));
        self.check_invariants();
        result
    }

    // --- Changes of role ---

    #[inline]
    fn go(&mut self, next: Next) -> Result<(), StorageError> {
        if matches!(next, Next::Stay) {
            return Ok(());
        }
        self.change_role(next)
    }

    fn change_role(&mut self, next: Next) -> Result<(), StorageError> {
        match next {
            Next::Stay => Ok(()),
            Next::Follow { leader } => {
                self.become_follower(self.core.current_term, Some(leader));
                Ok(())
            }
            Next::StepDown => {
                self.become_follower(self.core.current_term, None);
                Ok(())
            }
            Next::Campaign => match self.try_campaign() {
                Ok(()) => Ok(()),
                Err(CampaignError::Halted(halted)) => Err(halted.error),
                // Not now; ask again after another timeout. The leader was not heard for one, so
                // this node does not stand by it any more: others may need its vote.
                Err(refusal) => {
                    self.core.tell(&Event::CampaignRefused(&refusal));
                    self.become_follower(self.core.current_term, None);
                    Ok(())
                }
            },
            Next::TakeOver => self.take_over(),
            Next::StandForElection => self.become_candidate(false),
            Next::Lead => self.become_leader(),
        }
    }

    /// Begins an election, if this node may (Raft 5.2).
    fn try_campaign(&mut self) -> Result<(), CampaignError> {
        self.check_may_campaign()?;
        let ticks = self.core.lease_ticks_left();
        if ticks > 0 {
            return Err(CampaignError::BoundByLease { ticks });
        }
        let result = if self.core.config.pre_vote {
            self.become_pre_candidate()
        } else {
            self.become_candidate(false)
        };
        result.map_err(|error| CampaignError::Halted(Halted { error }))
    }

    /// Campaigns at once, without asking first and without regard to the lease of the leader, who
    /// has ended it (Thesis 3.10). If a membership change or a snapshot is to be applied first, then
    /// after that.
    fn take_over(&mut self) -> Result<(), StorageError> {
        let allowed = self.check_may_campaign();
        match allowed {
            Ok(()) => self.become_candidate(true),
            Err(CampaignError::Halted(halted)) => Err(halted.error),
            Err(error) => {
                if let Role::Follower(follower) = &mut self.role {
                    follower.takes_over = matches!(
                        error,
                        CampaignError::UnappliedChange | CampaignError::InstallingSnapshot
                    );
                }
                Ok(())
            }
        }
    }

    /// The guard on membership changes is that of Thesis 4.1: only who has applied the committed
    /// configuration knows who votes.
    fn check_may_campaign(&self) -> Result<(), CampaignError> {
        if matches!(self.role, Role::Leader(_)) {
            return Err(CampaignError::AlreadyLeader);
        }
        if self.core.log.is_installing_snapshot() {
            return Err(CampaignError::InstallingSnapshot);
        }
        if self.core.current_term >= Term::MAX || self.core.log.last_index() >= LogIndex::MAX {
            return Err(CampaignError::NothingLeft);
        }
        let halted = |error: StorageError| CampaignError::Halted(Halted { error });
        if self.core.log.has_unapplied_change().map_err(halted)? {
            return Err(CampaignError::UnappliedChange);
        }
        if !self.core.membership.is_voter(self.core.id()) {
            return Err(CampaignError::NotAVoter);
        }
        Ok(())
    }

    /// A vote is for a term, so it outlives a change of role within the term (Raft 5.2).
    ///
    /// Nor does a later term alone begin the wait for an election anew (Raft 5.2): else a node with
    /// a short timeout and a short log, which nobody elects, could keep all others from trying.
    fn become_follower(&mut self, term: Term, leader: Option<NodeId>) {
        assert!(term >= self.core.current_term, "terms never go back");
        let in_new_term = term > self.core.current_term;
        let still_waits = in_new_term && leader.is_none() && !matches!(self.role, Role::Leader(_));
        if in_new_term {
            self.core.current_term = term;
            self.core.voted_for = None;
            self.core.snapshot_wish.ask_anew();
        }
        self.core.log.seal();
        if !still_waits {
            self.core.restart_election_clock();
        }
        self.set_role(Role::Follower(Follower::of(leader)), in_new_term);
        if let Some(leader) = leader {
            self.core.leader_found(leader);
        }
    }

    fn become_pre_candidate(&mut self) -> Result<(), StorageError> {
        self.core.restart_election_clock();
        let pre_candidate = PreCandidate::start(&mut self.core)?;
        let next = pre_candidate.outcome(&self.core);
        self.set_role(Role::PreCandidate(pre_candidate), false);
        self.go(next)
    }

    fn become_candidate(&mut self, leadership_transfer: bool) -> Result<(), StorageError> {
        self.core.current_term = self.core.current_term.next();
        self.core.voted_for = Some(self.core.id());
        self.core.snapshot_wish.ask_anew();
        self.core.restart_election_clock();
        let candidate = Candidate::start(&mut self.core, leadership_transfer)?;
        self.set_role(Role::Candidate(candidate), true);
        Ok(())
    }

    fn become_leader(&mut self) -> Result<(), StorageError> {
        assert!(
            self.core.vote_is_durable(),
            "nobody leads on a vote that a crash could undo"
        );
        self.core.heard_from_leader();
        self.core.snapshot_wish = SnapshotWish::None;
        let leader = Leader::start(&mut self.core)?;
        self.set_role(Role::Leader(Box::new(leader)), false);
        let id = self.core.id();
        self.core.settle_transfer(id);
        Ok(())
    }

    fn set_role(&mut self, role: Role, in_new_term: bool) {
        let before = self.role.kind();
        self.role = role;
        let role = self.role.kind();
        if in_new_term || role != before {
            let term = self.core.current_term;
            self.core.tell(&Event::RoleChanged { role, term });
        }
    }
}
