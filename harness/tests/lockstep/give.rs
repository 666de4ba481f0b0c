//! How each node gets an input: almadia as it is, raft-rs as the decisions have it.
//!
//! Owns the rules that apply before raft-rs gets an input: what is kept from it because almadia has
//! refused it, and how it is brought to decide as almadia does.

use almadia::{
    AppendEntries, AppendEntriesResponse, Body, ChangeForm, LogId, MembershipChange, Message,
    Payload, Proposal, ProposeError, ReadError, SnapshotStatus, StepError, Token, TransferError,
    VoteResponse,
};
use raft::StateRole;
use raft::eraftpb::ConfChangeV2;

use crate::disk::write;
use crate::ours::Output;
use crate::pair::{Before, Input, Pair, Stop, different};
use crate::reads::{Asked, Key};
use crate::rules::Rule;

/// How almadia has refused an input, if it has.
#[derive(Debug)]
pub(crate) enum Refused {
    Step(StepError),
    Propose(ProposeError),
    Read(ReadError),
    Transfer(TransferError),
    Campaign(almadia::CampaignError),
}

impl Pair {
    pub(crate) fn give_ours(&mut self, input: &Input) -> Result<(), Refused> {
        let node = &mut self.ours.node;
        match input {
            Input::Tick => node.tick().expect("a storage in memory never fails"),
            Input::Message(message) => node.step(message.clone()).map_err(Refused::Step)?,
            Input::Propose(data) => {
                node.propose("", data.clone()).map_err(Refused::Propose)?;
            }
            Input::Change(change) => {
                node.propose_conf_change("", change.clone())
                    .map_err(Refused::Propose)?;
            }
            Input::Read(context) => node.read_index(context.clone()).map_err(Refused::Read)?,
            Input::Transfer(to) => node.transfer_leader(*to).map_err(Refused::Transfer)?,
            Input::Campaign => node.campaign().map_err(Refused::Campaign)?,
            Input::Ping => node.ping(),
            Input::Unreachable(peer) => node.report_unreachable(*peer),
            Input::SnapshotReported { peer, delivered } => {
                let status = if *delivered {
                    SnapshotStatus::Delivered
                } else {
                    SnapshotStatus::Failed
                };
                node.report_snapshot(*peer, status);
            }
            Input::Compact(index) => self.ours.compact(*index),
            Input::Restart => {}
        }
        Ok(())
    }

    pub(crate) fn give_theirs(
        &mut self,
        before: &Before,
        input: &Input,
        result: Result<(), Refused>,
        ours: &Output,
    ) -> Result<(), Stop> {
        match (input, result) {
            (Input::Message(message), result) => {
                let refused = match result {
                    Ok(()) => None,
                    Err(Refused::Step(error)) => Some(error),
                    Err(other) => return unexplained(&other),
                };
                return self.give_message(before, message, refused, ours);
            }
            (_, Err(refused)) => return self.refused(before, input, &refused),
            (Input::Tick, Ok(())) => self.tick_theirs(),
            (Input::Propose(data), Ok(())) => {
                let _ = self.theirs.node.propose(Vec::new(), data.to_vec());
            }
            (Input::Change(change), Ok(())) => {
                let _ = self.theirs.propose_change(&almadia::Bytes::new(), change);
            }
            (Input::Read(context), Ok(())) => self.read_theirs(context),
            (Input::Transfer(to), Ok(())) => {
                self.theirs.node.transfer_leader(to.get());
                self.keep_quorum_clock(before);
            }
            (Input::Campaign, Ok(())) => {
                let _ = self.theirs.node.campaign();
                let raft = &mut self.theirs.node.raft;
                if raft.state == StateRole::PreCandidate && raft.election_elapsed > 0 {
                    self.rules.apply(Rule::CampaignClock);
                    raft.election_elapsed = 0;
                }
            }
            (Input::Ping, Ok(())) => self.theirs.node.ping(),
            (Input::Unreachable(peer), Ok(())) => self.theirs.node.report_unreachable(peer.get()),
            (Input::SnapshotReported { peer, delivered }, Ok(())) => {
                let status = if *delivered {
                    raft::SnapshotStatus::Finish
                } else {
                    raft::SnapshotStatus::Failure
                };
                self.theirs.node.report_snapshot(peer.get(), status);
            }
            (Input::Compact(_), Ok(())) => {
                let storage = self.ours.node.storage();
                self.theirs.node.mut_store().compact_like(storage);
            }
            (Input::Restart, Ok(())) => {}
        }
        Ok(())
    }

    /// What raft-rs would do with a wish that almadia has refused, it is not asked to do.
    fn refused(&mut self, before: &Before, input: &Input, refused: &Refused) -> Result<(), Stop> {
        let raft = &self.theirs.node.raft;
        let (leads, leader) = (raft.state == StateRole::Leader, self.theirs.leader());
        let rule = match refused {
            Refused::Propose(ProposeError::NotLeader { leader: told })
                if !leads && *told == leader =>
            {
                Rule::NotForwarded
            }
            Refused::Read(ReadError::NoLeader) | Refused::Transfer(TransferError::NoLeader)
                if leader.is_none() =>
            {
                Rule::NotForwarded
            }
            // raft-rs drops these too.
            Refused::Propose(ProposeError::Transferring) if raft.lead_transferee.is_some() => {
                return Ok(());
            }
            Refused::Propose(ProposeError::ChangePending) if raft.has_pending_conf() => {
                Rule::ChangeRefused
            }
            Refused::Propose(ProposeError::Membership(_)) if self.is_impossible(input) => {
                Rule::ChangeRefused
            }
            Refused::Transfer(error) if self.has_no_use(before, error) => Rule::TransferRefused,
            Refused::Campaign(almadia::CampaignError::AlreadyLeader) if leads => return Ok(()),
            Refused::Campaign(almadia::CampaignError::NotAVoter) if !raft.promotable() => {
                Rule::CampaignRefused
            }
            Refused::Step(_)
            | Refused::Propose(_)
            | Refused::Read(_)
            | Refused::Transfer(_)
            | Refused::Campaign(_) => return unexplained(refused),
        };
        self.rules.apply(rule);
        Ok(())
    }

    /// Whether raft-rs's own rules of configurations refuse this change, too.
    fn is_impossible(&self, input: &Input) -> bool {
        let Some(change) = change_in(input) else {
            return false;
        };
        let change: ConfChangeV2 = write(&MembershipChange {
            form: ChangeForm::V2,
            ..change.clone()
        });
        let mut changer = raft::Changer::new(self.theirs.node.raft.prs());
        let result = if change.leave_joint() {
            changer.leave_joint()
        } else if let Some(auto_leave) = change.enter_joint() {
            changer.enter_joint(auto_leave, &change.changes)
        } else {
            changer.simple(&change.changes)
        };
        result.is_err()
    }

    /// Whether a transfer is refused to whoever leads, or to somebody without a vote.
    fn has_no_use(&self, before: &Before, error: &TransferError) -> bool {
        if let TransferError::AlreadyLeader(to) = error {
            return self.theirs.leader() == Some(*to);
        }
        matches!(error, TransferError::NotAVoter(to) if !before.membership.is_voter(*to))
    }

    fn tick_theirs(&mut self) {
        self.theirs.node.tick();
        let timeout = self.theirs.node.raft.randomized_election_timeout();
        let raft = &mut self.theirs.node.raft;
        let is_due = raft.state == StateRole::Follower && raft.election_elapsed >= timeout;
        if is_due && !raft.promotable() {
            raft.election_elapsed = 0;
            if raft.leader_id != raft::INVALID_ID {
                self.rules.apply(Rule::LeaderForgotten);
                raft.leader_id = raft::INVALID_ID;
            }
        }
    }

    /// A transfer that has begun has restarted the clock of the quorum check.
    pub(crate) fn keep_quorum_clock(&mut self, before: &Before) {
        let raft = &mut self.theirs.node.raft;
        let is_leader = raft.state == StateRole::Leader;
        if is_leader && raft.election_elapsed != before.election_elapsed {
            self.rules.apply(Rule::TransferClock);
            raft.election_elapsed = before.election_elapsed;
        }
    }

    fn read_theirs(&mut self, context: &almadia::Bytes) {
        self.reads.asked(Key::Own(context.clone()));
        if self.is_leader() && !self.theirs.node.raft.commit_to_current_term() {
            self.rules.apply(Rule::ReadQueued);
            self.reads.queue(Asked::Here(context.clone()));
        } else {
            self.theirs.node.read_index(context.to_vec());
        }
    }

    fn give_message(
        &mut self,
        before: &Before,
        message: &Message,
        refused: Option<StepError>,
        ours: &Output,
    ) -> Result<(), Stop> {
        if let Some(error) = refused {
            return self.refused_message(before, message, &error);
        }
        let has_stepped_down = self.learn_commit(message);
        self.answer_of_later_term(before, message);
        if self.is_kept_away(before, message) {
            return Ok(());
        }
        match &message.body {
            Body::RequestVote(request) | Body::PreVote(request) => {
                self.give_request(before, message, *request, ours)
            }
            Body::AppendEntries(append) => self.give_append(before, message, append),
            Body::TimeoutNow => self.give_timeout_now(before, message),
            Body::ReadIndex(token) => self.give_read(message, token),
            Body::HeartbeatResponse(_) | Body::ReadIndexResponse(_) => {
                let message = self.reads.as_theirs(message);
                self.step_theirs(&message)
            }
            Body::TransferLeader { .. } => {
                let term = almadia::Term(before.term);
                if message.term != term {
                    self.rules.apply(Rule::WishOfAnyTerm);
                }
                self.step_theirs(&Message {
                    term,
                    ..message.clone()
                })?;
                self.keep_quorum_clock(before);
                Ok(())
            }
            Body::AppendEntriesResponse(AppendEntriesResponse::Accepted { .. }) => {
                self.end_snapshot(before, message.from);
                self.step_theirs(message)
            }
            Body::RequestVoteResponse(_)
            | Body::PreVoteResponse(_)
            | Body::AppendEntriesResponse(_)
            | Body::Heartbeat(_)
            | Body::InstallSnapshot(_)
            | Body::Propose(_) => self.step_theirs(message),
        }?;
        if !has_stepped_down {
            self.keep_election_clock(before, message);
        }
        Ok(())
    }

    /// A message that almadia has refused does not reach raft-rs.
    fn refused_message(
        &mut self,
        before: &Before,
        message: &Message,
        error: &StepError,
    ) -> Result<(), Stop> {
        let raft = &self.theirs.node.raft;
        let is_transferring = matches!(error, StepError::Propose(ProposeError::Transferring));
        if is_transferring && raft.lead_transferee.is_some() {
            // raft-rs drops these too.
            return Ok(());
        }
        let is_of_stranger = matches!(error, StepError::NotAMember { .. });
        let is_wish_of_others = matches!(
            error,
            StepError::Propose(ProposeError::NotLeader { .. })
                | StepError::Read(ReadError::NotLeader { .. })
                | StepError::Transfer(TransferError::NotLeader { .. })
        );
        let is_pending = matches!(error, StepError::Propose(ProposeError::ChangePending));
        let is_impossible = matches!(error, StepError::Propose(ProposeError::Membership(_)));
        let input = Input::Message(message.clone());
        let rule = if is_of_stranger && raft.prs().get(message.from.get()).is_none() {
            Rule::FromStranger
        } else if is_wish_of_others && raft.state != StateRole::Leader {
            Rule::NotForwarded
        } else if (is_pending && raft.has_pending_conf())
            || (is_impossible && self.is_impossible(&input))
        {
            Rule::ChangeRefused
        } else if matches!(error, StepError::Transfer(error) if self.has_no_use(before, error)) {
            Rule::TransferRefused
        } else {
            return unexplained(error);
        };
        self.rules.apply(rule);
        Ok(())
    }

    pub(crate) fn step_theirs(&mut self, message: &Message) -> Result<(), Stop> {
        self.theirs
            .step(message)
            .map_err(|error| Stop::Difference(format!("raft-rs refuses the message: {error}")))
    }

    /// The answer to a read from a leader of a later term: its term counts, and not its answer.
    fn answer_of_later_term(&mut self, before: &Before, message: &Message) {
        let term = message.term.0;
        if matches!(message.body, Body::ReadIndexResponse(_)) && term > before.term {
            let raft = &mut self.theirs.node.raft;
            raft.become_follower(term, raft::INVALID_ID);
            self.keep_election_clock(before, message);
        }
    }

    /// Whether almadia takes no notice of this message, where raft-rs would.
    fn is_kept_away(&mut self, before: &Before, message: &Message) -> bool {
        let raft = &self.theirs.node.raft;
        let (term, node) = (message.term.0, &self.ours.node);
        let rule = match &message.body {
            Body::RequestVote(request) | Body::PreVote(request) => {
                let may_be_barred =
                    term > before.term && !request.leadership_transfer && raft.pre_vote;
                let hears = raft.state == StateRole::Follower
                    && raft.leader_id != raft::INVALID_ID
                    && raft.election_elapsed < raft.election_timeout();
                let leads = raft.state == StateRole::Leader;
                let is_barred = may_be_barred && (hears || (leads && self.has_quorum));
                (is_barred && !raft.check_quorum).then_some(Rule::StandsByLeader)
            }
            Body::PreVoteResponse(VoteResponse::Granted) => {
                let counts = raft.state == StateRole::PreCandidate && term >= before.term;
                (counts && term != before.term + 1).then_some(Rule::GrantOfAnotherTerm)
            }
            Body::ReadIndexResponse(_) => {
                let is_leader = self.theirs.leader() == Some(message.from);
                let may_answer = raft.state == StateRole::Follower && term >= before.term;
                (may_answer && !is_leader).then_some(Rule::LeaderAnswers)
            }
            Body::TimeoutNow => {
                let is_known = node.membership().contains(message.from)
                    || self.theirs.leader() == Some(message.from);
                (term >= before.term && !is_known).then_some(Rule::FromStranger)
            }
            Body::RequestVoteResponse(_)
            | Body::PreVoteResponse(VoteResponse::Refused { .. })
            | Body::AppendEntries(_)
            | Body::AppendEntriesResponse(_)
            | Body::Heartbeat(_)
            | Body::HeartbeatResponse(_)
            | Body::InstallSnapshot(_)
            | Body::Propose(_)
            | Body::ReadIndex(_)
            | Body::TransferLeader { .. } => None,
        };
        if let Some(rule) = rule {
            self.rules.apply(rule);
        }
        rule.is_some()
    }

    fn give_append(
        &mut self,
        before: &Before,
        message: &Message,
        append: &AppendEntries,
    ) -> Result<(), Stop> {
        let log = &self.theirs.node.raft.raft_log;
        let commit = log.committed;
        let end = append.prev_log.index.0 + append.entries.len() as u64;
        let begins_before = append.prev_log.index.0 < commit && end > commit;
        if !begins_before || message.term.0 < before.term {
            return self.step_theirs(message);
        }
        self.rules.apply(Rule::BeginsBehindCommit);
        let skipped = usize::try_from(commit - append.prev_log.index.0).expect("a short log");
        let append = AppendEntries {
            prev_log: LogId::new(log.term(commit).expect("it is in the log"), commit),
            leader_commit: append.leader_commit,
            entries: append.entries.slice(skipped, append.entries.len()),
        };
        self.step_theirs(&Message {
            body: Body::AppendEntries(append),
            ..message.clone()
        })
    }

    fn give_timeout_now(&mut self, before: &Before, message: &Message) -> Result<(), Stop> {
        let raft = &mut self.theirs.node.raft;
        let is_of_term = message.term.0 == before.term;
        if is_of_term && raft.state == StateRole::PreCandidate {
            self.rules.apply(Rule::PreCandidateTakesOver);
            raft.become_follower(before.term, raft::INVALID_ID);
        }
        self.step_theirs(message)?;
        let raft = &mut self.theirs.node.raft;
        let is_late = message.term.0 < before.term;
        if raft.state == StateRole::Follower && !raft.promotable() && !is_late {
            self.rules.apply(Rule::TimeoutNowHeard);
            raft.leader_id = message.from.get();
            raft.election_elapsed = 0;
        }
        Ok(())
    }

    /// A read that a peer has forwarded; raft-rs tells reads apart by their marks alone.
    fn give_read(&mut self, message: &Message, token: &Token) -> Result<(), Stop> {
        let key = Key::of(message.from, token)?;
        if self.reads.is_repeated(&key) {
            self.rules.apply(Rule::ReadMarks);
        }
        let mark = self.reads.asked(key);
        let message = Message {
            body: Body::ReadIndex(Token::Bytes(mark)),
            ..message.clone()
        };
        if self.theirs.node.raft.commit_to_current_term() {
            return self.step_theirs(&message);
        }
        self.rules.apply(Rule::ReadQueued);
        self.reads.queue(Asked::ByPeer(message));
        Ok(())
    }
}

fn unexplained<T: std::fmt::Debug>(refused: &T) -> Result<(), Stop> {
    different(format!("almadia refuses it: {refused:?}"))
}

/// The one change that is proposed, if one is.
fn change_in(input: &Input) -> Option<&MembershipChange> {
    if let Input::Change(change) = input {
        return Some(change);
    }
    let Input::Message(Message { body, .. }) = input else {
        return None;
    };
    let Body::Propose(proposals) = body else {
        return None;
    };
    match &proposals[..] {
        [
            Proposal {
                payload: Payload::Change(change),
                ..
            },
        ] => Some(change),
        _ => None,
    }
}
