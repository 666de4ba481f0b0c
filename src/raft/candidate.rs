//! Standing for election: first asking whether it makes sense (Thesis 9.6), then in earnest (Raft
//! 5.2).
//!
//! Owns the count of pre-votes and votes. Must not know how to follow or to lead; the outcome is a
//! [`Next`].

use super::Next;
use super::core::Core;
use crate::error::{ProposeError, ReadError, StepError, TransferError};
use crate::message::{Body, VoteResponse};
use crate::quorum::{Tally, VoteResult};
use crate::storage::{Storage, StorageError};
use crate::types::NodeId;

/// Asks for pre-votes, still in the old term.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PreCandidate {
    tally: Tally,
}

/// Asks for votes, in a term of its own making.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Candidate {
    tally: Tally,
}

impl PreCandidate {
    pub(super) const fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Begins a round.
    pub(super) fn start<S: Storage>(core: &mut Core<S>) -> Result<Self, StorageError> {
        core.broadcast_pre_vote()?;
        Ok(Self {
            tally: own_vote(core),
        })
    }

    pub(super) fn tick<S: Storage>(&self, core: &mut Core<S>) -> Next {
        tick(core)
    }

    /// What the round has come to.
    pub(super) fn outcome<S: Storage>(&self, core: &Core<S>) -> Next {
        match core.membership.vote_result(&self.tally) {
            VoteResult::Won => Next::StandForElection,
            VoteResult::Lost => Next::StepDown,
            VoteResult::Pending => Next::Stay,
        }
    }

    /// A message of the current term; a granted pre-vote, which carries the next term, counts as
    /// one.
    pub(super) fn step<S: Storage>(
        &mut self,
        core: &mut Core<S>,
        from: NodeId,
        body: &mut Body,
    ) -> Result<Next, StepError> {
        if let Body::PreVoteResponse(response) = *body {
            self.tally.record(from, response == VoteResponse::Granted);
            return Ok(self.outcome(core));
        }
        // The leader has stepped down for this node, which need not ask any more (Thesis 3.10).
        if *body == Body::TimeoutNow && core.membership.contains(from) {
            return Ok(Next::TakeOver);
        }
        step(core, from, body)
    }
}

impl Candidate {
    pub(super) const fn tally(&self) -> &Tally {
        &self.tally
    }

    pub(super) fn has_won<S: Storage>(&self, core: &Core<S>) -> bool {
        core.membership.vote_result(&self.tally) == VoteResult::Won
    }

    /// Begins an election in the current term, which is new and in which this node votes for
    /// itself.
    pub(super) fn start<S: Storage>(
        core: &mut Core<S>,
        leadership_transfer: bool,
    ) -> Result<Self, StorageError> {
        core.broadcast_request_vote(leadership_transfer)?;
        Ok(Self {
            tally: own_vote(core),
        })
    }

    pub(super) fn tick<S: Storage>(&self, core: &mut Core<S>) -> Next {
        tick(core)
    }

    /// What the election has come to.
    ///
    /// Deviation D1: nobody leads before its own term and vote are durable, whatever the others
    /// voted. Else a crash could let this node forget that it led, and lead the same term again
    /// with another log.
    pub(super) fn outcome<S: Storage>(&self, core: &Core<S>) -> Next {
        match core.membership.vote_result(&self.tally) {
            VoteResult::Won if core.vote_is_durable() => Next::Lead,
            VoteResult::Won | VoteResult::Pending => Next::Stay,
            VoteResult::Lost => Next::StepDown,
        }
    }

    /// A message of the current term.
    pub(super) fn step<S: Storage>(
        &mut self,
        core: &mut Core<S>,
        from: NodeId,
        body: &mut Body,
    ) -> Result<Next, StepError> {
        if let Body::RequestVoteResponse(response) = *body {
            self.tally.record(from, response == VoteResponse::Granted);
            return Ok(self.outcome(core));
        }
        step(core, from, body)
    }
}

fn own_vote<S: Storage>(core: &Core<S>) -> Tally {
    let mut tally = Tally::default();
    tally.record(core.id(), true);
    tally
}

fn tick<S: Storage>(core: &mut Core<S>) -> Next {
    if !core.election_is_due() {
        return Next::Stay;
    }
    core.failed_rounds = core.failed_rounds.saturating_add(1);
    Next::Campaign
}

/// What a node that stands for election does with a message of its term, other than the votes it
/// asked for.
fn step<S: Storage>(core: &mut Core<S>, from: NodeId, body: &Body) -> Result<Next, StepError> {
    match body {
        // Somebody else has won this term (Raft 5.2).
        Body::AppendEntries(_) | Body::Heartbeat(_) | Body::InstallSnapshot(_) => {
            Ok(Next::Follow { leader: from })
        }
        Body::RequestVote(request) => {
            core.on_request_vote(from, request, None)?;
            Ok(Next::Stay)
        }
        Body::PreVote(request) => {
            core.on_pre_vote(from, core.current_term, request, None)?;
            Ok(Next::Stay)
        }
        Body::Propose(_) => Err(StepError::Propose(ProposeError::NotLeader { leader: None })),
        Body::ReadIndex(_) => Err(StepError::Read(ReadError::NotLeader { leader: None })),
        Body::TransferLeader { .. } => Err(StepError::Transfer(TransferError::NotLeader {
            leader: None,
        })),
        // Votes of a round that is over, answers to what this node sent in another role, and a
        // wish that it fulfils already.
        Body::RequestVoteResponse(_)
        | Body::PreVoteResponse(_)
        | Body::AppendEntriesResponse(_)
        | Body::HeartbeatResponse(_)
        | Body::ReadIndexResponse(_)
        | Body::TimeoutNow => Ok(Next::Stay),
    }
}
