//! A message on its way, and when it has become idle.
//!
//! Owns the rule by which messages that make no difference are left out, so that situations which
//! differ in nothing else are one. Must not know the other messages.

use almadia::{Body, LogId, Message, RoleKind, VoteResponse};

use super::machine::Machine;

/// A message that was met.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) message: Message,
    /// The position of its receiver.
    pub(super) to: usize,
    waits_for: Waiting,
}

/// In which role a receiver waits for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    /// In any, for it is answered, or tells something whatever its term.
    Always,
    /// As a pre-candidate, who is in the term before.
    BeforeTerm,
    /// As a candidate of its term.
    Candidate,
    /// As a candidate or leader of its term.
    Leader,
}

impl Letter {
    pub(super) fn new(message: Message, to: usize) -> Self {
        let waits_for = waits_for(&message.body);
        Self {
            message,
            to,
            waits_for,
        }
    }

    /// Whether the receiver is to do nothing about it, now and for ever. A node that has its term
    /// on its disk stands for election in later terms only. Whether the node keeps to that is for
    /// others to look at.
    pub(super) fn is_idle(&self, receiver: &Machine) -> bool {
        if self.waits_for == Waiting::Always {
            return false;
        }
        let Message { term, .. } = self.message;
        let durable = receiver.disk().hard_state().current_term;
        if durable != term {
            return durable > term;
        }
        let role = receiver
            .node()
            .filter(|node| node.current_term() == term)
            .map(almadia::RawNode::role);
        match self.waits_for {
            Waiting::Always => false,
            Waiting::BeforeTerm => true,
            Waiting::Candidate => role != Some(RoleKind::Candidate),
            Waiting::Leader => role != Some(RoleKind::Candidate) && role != Some(RoleKind::Leader),
        }
    }
}

fn waits_for(body: &Body) -> Waiting {
    match body {
        Body::RequestVoteResponse(VoteResponse::Granted) => Waiting::Candidate,
        Body::PreVoteResponse(VoteResponse::Granted) => Waiting::BeforeTerm,
        // A refusal tells a commit index, whatever its term.
        Body::RequestVoteResponse(VoteResponse::Refused { commit }) if *commit == LogId::ZERO => {
            Waiting::Candidate
        }
        Body::AppendEntriesResponse(_) | Body::HeartbeatResponse(_) => Waiting::Leader,
        Body::RequestVoteResponse(VoteResponse::Refused { .. })
        | Body::PreVoteResponse(VoteResponse::Refused { .. })
        | Body::RequestVote(_)
        | Body::PreVote(_)
        | Body::AppendEntries(_)
        | Body::Heartbeat(_)
        | Body::InstallSnapshot(_)
        | Body::TimeoutNow
        | Body::Propose(_)
        | Body::ReadIndex(_)
        | Body::ReadIndexResponse(_)
        | Body::TransferLeader { .. } => Waiting::Always,
    }
}
