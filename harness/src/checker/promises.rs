//! The durability rules: what a message promises must be on its sender's disk when it leaves.
//!
//! Owns the table of what each kind of message speaks for. Must not know what receivers make of it.

use almadia::{AppendEntriesResponse, Body, HardState, Message, Storage, VoteResponse};

use super::{Checked, Checker, last_of};
use crate::embedder::{Embedder, Store};
use crate::host::Host;
use crate::node::Node;
use crate::violation::ViolationKind;

impl Checker {
    /// A message leaves its sender, the node at this position.
    pub(crate) fn on_send<E: Embedder>(
        &mut self,
        sender: &Host<E>,
        at: usize,
        message: &Message,
    ) -> Checked {
        if let Some(node) = sender.node.as_ref().and_then(Node::as_almadia) {
            self.windows[at].on_send(node, message)?;
        }
        if let Body::RequestVoteResponse(VoteResponse::Granted) = &message.body {
            self.on_vote(message)?;
        }
        let durable = &sender.disk.durable;
        let is_kept = is_covered(durable, durable.hard_state(), message)
            && self.matches_leader(sender, message);
        if !self.checks.durability || is_kept {
            return Ok(());
        }
        Err(ViolationKind::PromisedTooEarly {
            from: message.from,
            to: message.to,
            term: message.term,
            what: format!("{:?}", message.body),
        })
    }

    /// What a follower says to be the leader's is the same entry on the follower's disk, if the
    /// leader still leads and its log is known there.
    fn matches_leader<E: Embedder>(&self, sender: &Host<E>, message: &Message) -> bool {
        let Body::AppendEntriesResponse(AppendEntriesResponse::Accepted { match_index, .. }) =
            message.body
        else {
            return true;
        };
        let durable = &sender.disk.durable;
        let leader = self
            .logs
            .get(usize::try_from(message.to.get()).map_or(0, |id| id - 1));
        let expected = leader
            .filter(|log| log.led == Some(message.term))
            .and_then(|log| log.at(match_index));
        let is_later = durable.hard_state().current_term > message.term;
        is_later || expected.is_none_or(|entry| sender.disk.holds(entry))
    }

    /// Nobody votes for two candidates of one term.
    fn on_vote(&mut self, message: &Message) -> Checked {
        let place = (message.term, message.from);
        let first = *self.votes.entry(place).or_insert(message.to);
        if first == message.to {
            Ok(())
        } else {
            Err(ViolationKind::VotedTwice {
                voter: message.from,
                term: message.term,
                first,
                second: message.to,
            })
        }
    }
}

/// Whether the sender's disk, with its log and hard state, holds all that the message speaks for.
pub(crate) fn is_covered(durable: &impl Storage, hard_state: HardState, message: &Message) -> bool {
    let HardState {
        current_term,
        voted_for,
        ..
    } = hard_state;
    let is_later = current_term > message.term;
    match &message.body {
        Body::RequestVoteResponse(VoteResponse::Granted) => {
            is_later || (current_term == message.term && voted_for == Some(message.to))
        }
        // Only a leader says these, and nobody leads on a vote that is not durable.
        Body::AppendEntries(_) | Body::Heartbeat(_) | Body::InstallSnapshot(_) => {
            is_later || (current_term == message.term && voted_for == Some(message.from))
        }
        // In an older term the promise was kept until the log was rightly overwritten.
        Body::AppendEntriesResponse(AppendEntriesResponse::Accepted { match_index, .. }) => {
            is_later || (current_term == message.term && last_of(durable).index >= *match_index)
        }
        Body::RequestVoteResponse(VoteResponse::Refused { .. })
        | Body::PreVoteResponse(VoteResponse::Refused { .. }) => current_term >= message.term,
        // It speaks for the log that it names.
        Body::RequestVote(request) => is_later || last_of(durable) >= request.last_log,
        // A pre-vote is granted for a term to come, and promises nothing.
        Body::PreVoteResponse(VoteResponse::Granted)
        | Body::PreVote(_)
        | Body::AppendEntriesResponse(
            AppendEntriesResponse::Rejected { .. }
            | AppendEntriesResponse::SnapshotRequested { .. }
            | AppendEntriesResponse::TermOutdated,
        )
        | Body::HeartbeatResponse(_)
        | Body::TimeoutNow
        | Body::Propose(_)
        | Body::ReadIndex(_)
        | Body::ReadIndexResponse(_)
        | Body::TransferLeader { .. } => true,
    }
}
