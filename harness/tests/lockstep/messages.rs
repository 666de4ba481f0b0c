//! The comparison of what both nodes have sent after one input.
//!
//! Owns the normalisation: messages are compared in the form of their bytes, peer by peer; marks of
//! reads are matched before; appends that continue each other are one, of which the bytes are not
//! compared, but the sender, the term, the places and entries, and how far the peer may commit. And
//! the rules that concern messages alone.

use std::collections::{BTreeMap, BTreeSet};

use almadia::{
    AppendEntries, AppendEntriesResponse, Body, Entry, Heartbeat, LogId, LogIndex, Message, NodeId,
    Term, Token, VoteResponse,
};
use almadia_proto::{Decode as _, Encode as _};

use crate::follow::{is_answer_of, leaves_joint};
use crate::ours::Output;
use crate::pair::{Before, Input, Pair, Stop, different, same};
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

    /// Whether both are as good as one message: not if neither carries anything, since one would
    /// have done.
    fn goes_on_with(&self, next: &Self) -> bool {
        let is_for_nothing = self.entries.is_empty() && next.entries.is_empty();
        self.end() == next.prev_log && self.term == next.term && !is_for_nothing
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

/// A heartbeat to some peer.
#[derive(Clone, Debug)]
struct Beat {
    from: NodeId,
    term: Term,
    leader_commit: LogIndex,
    token: Token,
}

impl Beat {
    fn to(&self, peer: NodeId) -> Message {
        let &Self {
            from,
            term,
            leader_commit,
            ..
        } = self;
        let token = self.token.clone();
        Message {
            to: peer,
            from,
            term,
            body: Body::Heartbeat(Heartbeat {
                leader_commit,
                token,
            }),
        }
    }

    fn is_for_reads(&self) -> bool {
        self.token != Token::None
    }
}

/// Everything that was sent after one input.
#[derive(Default)]
pub(crate) struct Sent {
    pub(crate) appends: BTreeMap<NodeId, Vec<Run>>,
    heartbeats: BTreeMap<NodeId, Vec<Beat>>,
    reads: Vec<Message>,
    others: Vec<Message>,
}

impl Sent {
    pub(crate) fn of(messages: impl IntoIterator<Item = Message>) -> Self {
        let mut sent = Self::default();
        for message in messages {
            let (to, from, term) = (message.to, message.from, message.term);
            match message.body {
                Body::AppendEntries(append) => {
                    let runs = sent.appends.entry(to).or_default();
                    let run = Run::of(term, &append);
                    match runs.last_mut() {
                        Some(last) if last.goes_on_with(&run) => {
                            last.entries.extend(run.entries);
                            last.told = last.told.max(run.told);
                        }
                        Some(_) | None => runs.push(run),
                    }
                }
                Body::Heartbeat(heartbeat) => {
                    let beat = Beat {
                        from,
                        term,
                        leader_commit: heartbeat.leader_commit,
                        token: heartbeat.token,
                    };
                    sent.heartbeats.entry(to).or_default().push(beat);
                }
                Body::ReadIndex(_) => sent.reads.push(message),
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

/// Compares the bytes of messages. Equal messages have equal bytes, and some others have, too.
pub(crate) fn same_bytes(what: &str, ours: &[Message], theirs: &[Message]) -> Result<(), Stop> {
    let bytes =
        |messages: &[Message]| -> Vec<_> { messages.iter().map(|it| it.encode()).collect() };
    if ours == theirs || bytes(ours) == bytes(theirs) {
        return Ok(());
    }
    different(format!("{what}:\n  almadia {ours:?}\n  raft-rs {theirs:?}"))
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
        self.note_answers(before, &theirs)?;
        self.check_appends(&ours.messages)?;
        let mut ours = Sent::of(ours.messages.iter().map(through_bytes));
        let mut theirs = Sent::of(theirs);
        self.compare_heartbeats(before, &mut ours, &mut theirs)?;
        self.compare_forwarded(before, input, ours.reads, &theirs.reads)?;
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
            let was_voter = before.membership.is_voter(peer);
            let is_voter = was_voter && self.ours.node.membership().is_voter(peer);
            if ours.is_empty() && !is_voter && theirs.iter().all(Beat::is_for_reads) {
                self.rules.apply(Rule::ReadHeartbeats);
                theirs.clear();
            }
            let rounds = ours.iter().filter(|it| it.is_for_reads()).count();
            if theirs.len() > 1 && rounds == 1 && theirs.iter().all(Beat::is_for_reads) {
                self.rules.apply(Rule::ReadHeartbeats);
                theirs.drain(..theirs.len() - 1);
            }
            let is_told = ours.last().is_some_and(|it| self.is_news(peer, it));
            if hands_over_to == Some(peer) && ours.len() > theirs.len() && is_told {
                self.rules.apply(Rule::SuccessorTold);
                ours.pop();
            }
            let has_lost_vote = was_voter && !is_voter;
            if has_lost_vote && theirs.is_empty() && ours.iter().all(Beat::is_for_reads) {
                self.rules.apply(Rule::ReadHeartbeats);
                ours.clear();
            }
            let all_for_reads = ours.iter().all(Beat::is_for_reads);
            if theirs.is_empty() && all_for_reads && self.reads.some_are_lost() {
                self.rules.apply(Rule::ReadAskedAgain);
                ours.clear();
            }
            if let ([ours], [theirs]) = (&mut ours[..], &mut theirs[..]) {
                // It left before a change of membership committed more.
                if self.has_asked_late && ours.leader_commit < theirs.leader_commit {
                    self.rules.apply(Rule::ReadQueued);
                    theirs.leader_commit = ours.leader_commit;
                }
            }
            for (ours, theirs) in ours.iter_mut().zip(&theirs) {
                let rule = self
                    .reads
                    .pair_heartbeats(term, &ours.token, &theirs.token)?;
                if let Some(rule) = rule {
                    self.rules.apply(rule);
                }
                ours.token = theirs.token.clone();
            }
            let to_peer =
                |beats: &[Beat]| -> Vec<Message> { beats.iter().map(|it| it.to(peer)).collect() };
            same_bytes("heartbeats", &to_peer(&ours), &to_peer(&theirs))?;
        }
        Ok(())
    }

    /// Whether a heartbeat tells the commit index to a peer that does not know it.
    fn is_news(&self, peer: NodeId, beat: &Beat) -> bool {
        let commit_index = self.ours.node.commit_index();
        let (known, _) = self.known_commit(peer);
        !beat.is_for_reads() && beat.leader_commit == commit_index && known < commit_index
    }

    /// Appends are compared as runs; here is what a run has not: who says it, and a commit index
    /// that is one.
    fn check_appends(&self, messages: &[Message]) -> Result<(), Stop> {
        let commit_index = self.ours.node.commit_index();
        for message in messages {
            if let Body::AppendEntries(append) = &message.body {
                if message.from != self.id() || append.leader_commit > commit_index {
                    return different(format!("committed is {commit_index}, sent {message:?}"));
                }
            }
        }
        Ok(())
    }

    /// What almadia sends instead of raft-rs's appends, where a rule asks for other ones.
    fn explain_appends(
        &self,
        before: &Before,
        input: &Input,
        peer: NodeId,
        ours: &[Run],
        theirs: &[Run],
    ) -> Option<Rule> {
        if self.is_added_again(before, peer) {
            return self.goes_on(before, peer, ours).then_some(Rule::AddedAgain);
        }
        if self.is_first_probe(before, peer) {
            return self.asks_for_last(ours).then_some(Rule::FirstProbe);
        }
        if ours.is_empty() && self.may_wait(before, input, peer) {
            return Some(Rule::TriedAgain);
        }
        let is_one = matches!(ours, [run] if run.entries.is_empty());
        if is_one && theirs.len() <= 1 && self.window_was_full(before, input, peer) {
            return Some(Rule::WindowKept);
        }
        None
    }

    /// Whether this is one probe for the entry that was the last one when the peer became a member.
    /// What was appended after that, in this very step, may go with it.
    fn asks_for_last(&self, ours: &[Run]) -> bool {
        let log = &self.theirs.node.raft.raft_log;
        let [run] = ours else {
            return false;
        };
        let prev = run.prev_log;
        let is_in_log = log.term(prev.index.0).is_ok_and(|term| term == prev.term.0);
        let leaves = run.entries.iter().all(leaves_joint);
        is_in_log && leaves && run.end().index.0 == log.last_index()
    }

    /// Whether a peer that one change removes and adds again is sent what it had not been sent.
    fn goes_on(&self, before: &Before, peer: NodeId, ours: &[Run]) -> bool {
        let was = before.peers.get(&peer);
        let first = was.map_or(0, |was| match was.state {
            raft::ProgressState::Replicate => was.next_idx,
            raft::ProgressState::Probe | raft::ProgressState::Snapshot => was.matched + 1,
        });
        ours.iter().all(|run| run.prev_log.index.0 + 1 >= first)
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
        if let Some(rule) = self.explain_appends(before, input, peer, ours, &theirs) {
            self.rules.apply(rule);
            return Ok(());
        }
        let (known, may_be_told) = self.known_commit(peer);
        // The answer to a heartbeat has one append follow on both sides, while anything is missing.
        let is_nudge = is_answer_of(input, peer);
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
                } else if ours.told < theirs.told
                    && paused
                    && ours.told == before.commit_index
                    && ours.entries.len() > 1
                {
                    // All entries left before they were committed, and raft-rs's last ones after.
                    rules.push(Rule::AtOnce);
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
        self.drop_early_snapshots(before, input, &ours, &mut theirs);
        let in_order = |messages: &mut Vec<Message>| {
            messages.sort_by_cached_key(|message| (message.to, message.encode()));
        };
        in_order(&mut ours);
        in_order(&mut theirs);
        same_bytes("messages", &ours, &theirs)
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

    /// Snapshots that almadia asks its storage for later: raft-rs asks at every occasion, and sends
    /// them to silent peers, too.
    fn drop_early_snapshots(
        &mut self,
        before: &Before,
        input: &Input,
        ours: &[Message],
        theirs: &mut Vec<Message>,
    ) {
        let mut rules = Vec::new();
        theirs.retain(|message| {
            let peer = message.to;
            let is_snapshot = matches!(message.body, Body::InstallSnapshot(_));
            if !is_snapshot || ours.contains(message) {
                return true;
            }
            let progress = self.ours.node.progress(peer);
            // Who is removed in this step is sent nothing more.
            let is_gone = progress.is_none() && before.fetching.contains(&peer);
            if !is_gone && !self.may_wait(before, input, peer) {
                return true;
            }
            let is_silent = progress.is_some_and(|it| !it.recently_active());
            rules.push(if is_silent {
                Rule::ActivityForgotten
            } else {
                Rule::TriedAgain
            });
            false
        });
        for rule in rules {
            self.rules.apply(rule);
        }
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
