//! The comparison of what both nodes have sent after one input.
//!
//! Owns the normalisation: messages are compared in the form of their bytes, peer by peer; appends
//! that continue each other are one; marks of reads are matched. And the rules that concern
//! messages alone.

use std::collections::{BTreeMap, BTreeSet};

use almadia::{
    AppendEntries, AppendEntriesResponse, Body, Entry, Heartbeat, LogId, LogIndex, Message, NodeId,
    Term, Token, VoteResponse,
};
use almadia_proto::{Decode as _, Encode as _};

use crate::follow::leaves_joint;
use crate::ours::Output;
use crate::pair::{Before, Input, Pair, Stop, same};
use crate::rules::Rule;

/// Appends to one peer that continue each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) term: Term,
    pub(crate) prev_log: LogId,
    pub(crate) entries: Vec<Entry>,
    /// How far the peer may commit by it.
    pub(crate) told: LogIndex,
}

impl Run {
    fn end(&self) -> LogId {
        self.entries.last().map_or(self.prev_log, |last| last.id)
    }

    fn of(term: Term, append: &AppendEntries) -> Self {
        let mut run = Self {
            term,
            prev_log: append.prev_log,
            entries: append.entries.to_vec(),
            told: LogIndex::ZERO,
        };
        run.told = append.leader_commit.min(run.end().index);
        run
    }
}

/// Everything that was sent after one input.
#[derive(Default)]
pub(crate) struct Sent {
    pub(crate) appends: BTreeMap<NodeId, Vec<Run>>,
    heartbeats: BTreeMap<NodeId, Vec<Heartbeat>>,
    reads: Vec<Token>,
    others: Vec<Message>,
}

impl Sent {
    pub(crate) fn of(messages: impl IntoIterator<Item = Message>) -> Self {
        let mut sent = Self::default();
        for message in messages {
            let (to, term) = (message.to, message.term);
            match message.body {
                Body::AppendEntries(append) => {
                    let runs = sent.appends.entry(to).or_default();
                    let run = Run::of(term, &append);
                    match runs.last_mut() {
                        Some(last) if last.end() == run.prev_log && last.term == term => {
                            last.entries.extend(run.entries);
                            last.told = last.told.max(run.told);
                        }
                        Some(_) | None => runs.push(run),
                    }
                }
                Body::Heartbeat(heartbeat) => {
                    sent.heartbeats.entry(to).or_default().push(heartbeat);
                }
                Body::ReadIndex(token) => sent.reads.push(token),
                // Compared read by read.
                Body::ReadIndexResponse(_) => {}
                body @ (Body::RequestVote(_)
                | Body::RequestVoteResponse(_)
                | Body::PreVote(_)
                | Body::PreVoteResponse(_)
                | Body::AppendEntriesResponse(_)
                | Body::HeartbeatResponse(_)
                | Body::InstallSnapshot(_)
                | Body::TimeoutNow
                | Body::Propose(_)
                | Body::TransferLeader { .. }) => sent.others.push(Message { body, ..message }),
            }
        }
        sent
    }
}

/// As it comes out of the bytes.
pub(crate) fn through_bytes(message: &Message) -> Message {
    Message::decode(message.encode()).expect("what a node sends can be read")
}

impl Pair {
    pub(crate) fn compare_messages(
        &mut self,
        before: &Before,
        input: &Input,
        ours: &Output,
        theirs: Vec<Message>,
    ) -> Result<(), Stop> {
        self.note_answers(&ours.messages, &theirs);
        let mut ours = Sent::of(ours.messages.iter().map(through_bytes));
        let mut theirs = Sent::of(theirs);
        self.compare_heartbeats(before, &mut ours, &mut theirs)?;
        self.compare_forwarded(&ours.reads, &theirs.reads)?;
        let peers: BTreeSet<NodeId> = ours
            .appends
            .keys()
            .chain(theirs.appends.keys())
            .copied()
            .collect();
        for peer in peers {
            let ours = ours.appends.remove(&peer).unwrap_or_default();
            let theirs = theirs.appends.remove(&peer).unwrap_or_default();
            self.compare_appends(before, input, peer, &ours, theirs)?;
            self.note_sent(peer, &ours);
        }
        self.compare_others(before, input, ours.others, theirs.others)
    }

    fn compare_heartbeats(
        &mut self,
        before: &Before,
        ours: &mut Sent,
        theirs: &mut Sent,
    ) -> Result<(), Stop> {
        let hands_over_to = ours
            .others
            .iter()
            .find(|message| message.body == Body::TimeoutNow)
            .map(|message| message.to);
        let peers: BTreeSet<NodeId> = ours
            .heartbeats
            .keys()
            .chain(theirs.heartbeats.keys())
            .copied()
            .collect();
        let term = self.theirs.node.raft.term;
        for peer in peers {
            let mut ours = ours.heartbeats.remove(&peer).unwrap_or_default();
            let mut theirs = theirs.heartbeats.remove(&peer).unwrap_or_default();
            // Members may get a vote, or lose it, by what was committed together with the reads.
            let is_voter =
                before.voters.contains(&peer) && self.ours.node.membership().is_voter(peer);
            let is_for_reads = |it: &Heartbeat| it.token != Token::None;
            if ours.is_empty() && !is_voter && theirs.iter().all(is_for_reads) {
                self.rules.apply(Rule::ReadHeartbeats);
                theirs.clear();
            }
            let rounds = ours.iter().filter(|it| is_for_reads(it)).count();
            if theirs.len() > 1 && rounds == 1 && theirs.iter().all(is_for_reads) {
                self.rules.apply(Rule::ReadHeartbeats);
                theirs.drain(..theirs.len() - 1);
            }
            if hands_over_to == Some(peer) && ours.len() > theirs.len() {
                self.rules.apply(Rule::SuccessorTold);
                ours.pop();
            }
            let was_voter = before.voters.contains(&peer) && !is_voter;
            if was_voter && theirs.is_empty() && ours.iter().all(is_for_reads) {
                self.rules.apply(Rule::ReadHeartbeats);
                ours.clear();
            }
            if theirs.is_empty() && ours.iter().all(is_for_reads) && self.reads.some_are_lost() {
                self.rules.apply(Rule::ReadAskedAgain);
                ours.clear();
            }
            if let ([ours], [theirs]) = (&ours[..], &mut theirs[..]) {
                // It left before a change of membership committed more.
                if self.has_asked_late && ours.leader_commit < theirs.leader_commit {
                    self.rules.apply(Rule::ReadQueued);
                    theirs.leader_commit = ours.leader_commit;
                }
            }
            let commits = |heartbeats: &[Heartbeat]| -> Vec<LogIndex> {
                heartbeats.iter().map(|it| it.leader_commit).collect()
            };
            same(
                &format!("heartbeats to {peer}"),
                &commits(&ours),
                &commits(&theirs),
            )?;
            for (ours, theirs) in ours.iter().zip(&theirs) {
                let rule = self
                    .reads
                    .pair_heartbeats(term, &ours.token, &theirs.token)?;
                if let Some(rule) = rule {
                    self.rules.apply(rule);
                }
            }
        }
        Ok(())
    }

    /// Reads that were forwarded to the leader: almadia's last one is the one that is new.
    fn compare_forwarded(&mut self, ours: &[Token], theirs: &[Token]) -> Result<(), Stop> {
        if ours.len() > theirs.len() {
            self.rules.apply(Rule::ReadAskedAgain);
        } else if ours.len() < theirs.len() {
            return Err(Stop::Difference(format!(
                "raft-rs alone forwards reads: {theirs:?}"
            )));
        }
        for (ours, theirs) in ours.iter().rev().zip(theirs.iter().rev()) {
            self.reads.pair_forwarded(ours, theirs);
        }
        Ok(())
    }

    /// What both sent to a peer of the log.
    fn compare_appends(
        &mut self,
        before: &Before,
        input: &Input,
        peer: NodeId,
        ours: &[Run],
        mut theirs: Vec<Run>,
    ) -> Result<(), Stop> {
        if ours == theirs {
            return Ok(());
        }
        if before.added_again.contains(&peer) {
            self.rules.apply(Rule::AddedAgain);
            return Ok(());
        }
        if self.is_first_probe(before, peer) {
            self.rules.apply(Rule::FirstProbe);
            return Ok(());
        }
        let node = &self.ours.node;
        let is_fetching = node.progress(peer).is_some_and(|it| it.is_fetching());
        if ours.is_empty() && is_fetching {
            self.rules.apply(Rule::TriedAgain);
            return Ok(());
        }
        let keeps = ours.iter().all(|run| run.entries.is_empty()) && theirs.len() <= 1;
        if keeps && self.window_was_full(before, input, peer) {
            self.rules.apply(Rule::WindowKept);
            return Ok(());
        }
        let (known, may_be_told) = self.known_commit(peer);
        // The answer to a heartbeat has one append follow on both sides, while anything is missing.
        let is_nudge = matches!(input, Input::Message(Message { from, body, .. })
            if *from == peer && matches!(body, Body::HeartbeatResponse(_)));
        let mut rules = Vec::new();
        theirs.retain(|run| {
            let says_nothing = run.entries.is_empty() && !ours.contains(run);
            if says_nothing && run.told <= known && !is_nudge {
                rules.push(Rule::SaysNothingNew);
            } else if says_nothing && may_be_told && ours.is_empty() {
                rules.push(Rule::CommitNotBroadcast);
            } else {
                return true;
            }
            false
        });
        let mut mended = ours.to_vec();
        if mended.len() == theirs.len() {
            for (ours, theirs) in mended.iter_mut().zip(&theirs) {
                let paused = self
                    .theirs
                    .node
                    .raft
                    .prs()
                    .get(peer.get())
                    .is_some_and(raft::Progress::is_paused);
                if ours.told > theirs.told {
                    rules.push(Rule::CommitRepeated);
                    ours.told = theirs.told;
                } else if ours.told < theirs.told && may_be_told {
                    rules.push(Rule::CommitNotBroadcast);
                    ours.told = theirs.told;
                } else if ours.told < theirs.told
                    && paused
                    && ours.entries.last().is_some_and(leaves_joint)
                {
                    // It left before it was committed, and raft-rs's after that.
                    rules.push(Rule::JointLeft);
                    ours.told = theirs.told;
                } else if ours.told < theirs.told && theirs.told <= known {
                    rules.push(Rule::SaysNothingNew);
                    ours.told = theirs.told;
                }
            }
        }
        for rule in rules {
            self.rules.apply(rule);
        }
        same(&format!("appends to {peer}"), &mended, &theirs)
    }

    fn compare_others(
        &mut self,
        before: &Before,
        input: &Input,
        mut ours: Vec<Message>,
        mut theirs: Vec<Message>,
    ) -> Result<(), Stop> {
        if let Input::Message(message) = input {
            if message.term.0 < before.term {
                self.drop_outdated(message, &mut ours, &mut theirs);
            }
            if let Body::InstallSnapshot(_) = message.body {
                self.add_commit(&ours, &mut theirs);
            }
        }
        self.drop_early_snapshots(before, &ours, &mut theirs);
        let in_order = |messages: &mut Vec<Message>| {
            messages.sort_by_cached_key(|message| (message.to, message.encode()));
        };
        in_order(&mut ours);
        in_order(&mut theirs);
        same("messages", &ours, &theirs)
    }

    /// The answer to a request of an earlier term.
    fn drop_outdated(
        &mut self,
        request: &Message,
        ours: &mut Vec<Message>,
        theirs: &mut Vec<Message>,
    ) {
        let is_answer = |message: &Message| {
            let kind_fits = match request.body {
                Body::RequestVote(_) => {
                    matches!(
                        message.body,
                        Body::RequestVoteResponse(VoteResponse::Refused { .. })
                    )
                }
                Body::PreVote(_) => {
                    matches!(
                        message.body,
                        Body::PreVoteResponse(VoteResponse::Refused { .. })
                    )
                }
                Body::AppendEntries(_) | Body::Heartbeat(_) | Body::InstallSnapshot(_) => {
                    // The bytes of `TermOutdated`; which of the two is meant, the term tells.
                    let bare = AppendEntriesResponse::Accepted {
                        match_index: LogIndex::ZERO,
                        commit_index: LogIndex::ZERO,
                    };
                    message.body == Body::AppendEntriesResponse(bare)
                }
                Body::RequestVoteResponse(_)
                | Body::PreVoteResponse(_)
                | Body::AppendEntriesResponse(_)
                | Body::HeartbeatResponse(_)
                | Body::TimeoutNow
                | Body::Propose(_)
                | Body::ReadIndex(_)
                | Body::ReadIndexResponse(_)
                | Body::TransferLeader { .. } => false,
            };
            kind_fits && message.to == request.from
        };
        if ours != theirs && ours.len() == 1 && ours.iter().all(is_answer) {
            let is_bare = theirs.iter().all(|message| {
                let bare = VoteResponse::Refused {
                    commit: LogId::ZERO,
                };
                is_answer(message) && message.body == Body::PreVoteResponse(bare)
            });
            if is_bare {
                self.rules.apply(Rule::OutdatedAnswered);
                ours.clear();
                theirs.clear();
            }
        }
    }

    /// Snapshots that almadia asks its storage for later.
    fn drop_early_snapshots(
        &mut self,
        before: &Before,
        ours: &[Message],
        theirs: &mut Vec<Message>,
    ) {
        let node = &self.ours.node;
        theirs.retain(|message| {
            let waits = node
                .progress(message.to)
                .map_or(before.fetching.contains(&message.to), |it| it.is_fetching());
            let is_snapshot = matches!(message.body, Body::InstallSnapshot(_));
            !is_snapshot || !waits || ours.contains(message)
        });
    }

    /// raft-rs's acknowledgement of a snapshot has no commit index.
    fn add_commit(&mut self, ours: &[Message], theirs: &mut [Message]) {
        for (ours, theirs) in ours.iter().zip(theirs) {
            if let (
                Body::AppendEntriesResponse(AppendEntriesResponse::Accepted {
                    commit_index, ..
                }),
                Body::AppendEntriesResponse(AppendEntriesResponse::Accepted {
                    commit_index: untold @ LogIndex::ZERO,
                    ..
                }),
            ) = (&ours.body, &mut theirs.body)
            {
                self.rules.apply(Rule::SnapshotAckTellsCommit);
                *untold = *commit_index;
            }
        }
    }
}
