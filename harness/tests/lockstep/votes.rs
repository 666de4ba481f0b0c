//! How raft-rs is given votes: by which priorities, with which commit points, and what they do to
//! the wait for an election.
//!
//! Owns the rules on votes that apply when raft-rs gets one.

use almadia::{Body, LogId, Message, NodeId, RequestVote, RoleKind, VoteResponse};
use raft::StateRole;

use crate::ours::Output;
use crate::pair::{Before, Pair, Stop};
use crate::rules::Rule;

impl Pair {
    /// The commit point of a vote message, which raft-rs takes from some. Returns whether a
    /// candidate steps down for it, which begins a new wait.
    pub(crate) fn learn_commit(&mut self, message: &Message) -> bool {
        let (Body::RequestVote(RequestVote { commit, .. })
        | Body::PreVote(RequestVote { commit, .. })
        | Body::RequestVoteResponse(VoteResponse::Refused { commit })
        | Body::PreVoteResponse(VoteResponse::Refused { commit })) = message.body
        else {
            return false;
        };
        let raft = &mut self.theirs.node.raft;
        let is_for_us = raft.state != StateRole::Leader
            && commit.index.0 > raft.raft_log.committed
            && raft.prs().get(message.from.get()).is_some();
        let (first, term) = (raft.raft_log.committed + 1, raft.term);
        if !is_for_us || !raft.raft_log.maybe_commit(commit.index.0, commit.term.0) {
            return false;
        }
        self.rules.apply(Rule::CommitLearnt);
        if raft.state == StateRole::Follower {
            return false;
        }
        // As `maybe_commit_by_vote` does.
        let context = raft::GetEntriesContext::empty(false);
        let entries = raft
            .raft_log
            .slice(first, commit.index.0 + 1, None, context)
            .expect("they are in the log");
        let is_change = |entry: &raft::eraftpb::Entry| {
            entry.get_entry_type() != raft::eraftpb::EntryType::EntryNormal
        };
        let steps_down = entries.iter().any(is_change);
        if steps_down {
            raft.become_follower(term, raft::INVALID_ID);
        }
        steps_down
    }

    /// RequestVote or PreVote, which raft-rs is brought to judge as almadia does.
    pub(crate) fn give_request(
        &mut self,
        before: &Before,
        message: &Message,
        request: RequestVote,
        ours: &Output,
    ) -> Result<(), Stop> {
        let raft = &self.theirs.node.raft;
        let (own, commit) = (raft.priority, raft.raft_log.committed);
        if self.passes_by_priority(before, message, request) {
            if is_granted(message, ours) {
                self.rules.apply(Rule::Priority);
            }
            self.theirs.node.raft.set_priority(i64::MIN);
        }
        // A leader learns no commit index from others, also if it steps down for what they say.
        let request = if before.role == RoleKind::Leader && request.commit.index.0 > commit {
            self.rules.apply(Rule::CommitLearnt);
            RequestVote {
                commit: LogId::ZERO,
                ..request
            }
        } else {
            request
        };
        let body = if matches!(message.body, Body::PreVote(_)) {
            Body::PreVote(request)
        } else {
            Body::RequestVote(request)
        };
        let result = self.step_theirs(&Message {
            body,
            ..message.clone()
        });
        self.theirs.node.raft.set_priority(own);
        result
    }

    /// Whether raft-rs would refuse for its priority what nothing else stands against.
    fn passes_by_priority(&self, before: &Before, message: &Message, request: RequestVote) -> bool {
        let raft = &self.theirs.node.raft;
        let last = LogId::new(raft.raft_log.last_term(), raft.raft_log.last_index());
        let is_outranked = raft.priority > request.priority && request.last_log.index <= last.index;
        let limit = self
            .ours
            .node
            .config()
            .max_election_timeout_ticks()
            .saturating_mul(3);
        let may_pass =
            request.last_log > last || request.leadership_transfer || self.quiet_ticks >= limit;
        is_outranked && may_pass && message.term.0 >= before.term
    }

    /// A later term that nobody leads yet has restarted the clock.
    pub(crate) fn keep_election_clock(&mut self, before: &Before, message: &Message) {
        let raft = &mut self.theirs.node.raft;
        let is_new = raft.term > before.term && message.term.0 == raft.term;
        let waited = before.role != RoleKind::Leader && raft.state == StateRole::Follower;
        let is_without = NodeId::new(raft.leader_id).is_none();
        if !is_new || !waited || !is_without || raft.election_elapsed > 0 {
            return;
        }
        // A vote begins a new wait on both sides.
        let has_voted = raft.vote != raft::INVALID_ID;
        if before.election_elapsed > 0 && !has_voted {
            self.rules.apply(Rule::TermKeepsClock);
            raft.election_elapsed = before.election_elapsed;
        }
    }
}

fn is_granted(request: &Message, ours: &Output) -> bool {
    ours.messages.iter().any(|answer| {
        answer.to == request.from
            && matches!(
                answer.body,
                Body::RequestVoteResponse(VoteResponse::Granted)
                    | Body::PreVoteResponse(VoteResponse::Granted)
            )
    })
}
