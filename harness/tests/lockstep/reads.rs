//! Reads on both sides: who has asked, what was answered, and by which marks.
//!
//! Owns the ledger of reads. almadia marks them by numbers of its own and raft-rs by what the
//! caller gave, so answers are compared read by read, and marks are translated by what both nodes
//! have sent at the same moment. What almadia answers before raft-rs does, or where raft-rs answers
//! nothing at all, is judged by itself: by who has answered which heartbeat.

use std::collections::BTreeMap;
use std::slice;

use almadia::{
    Body, Bytes, HeartbeatResponse, LogIndex, Message, NodeId, ReadIndexResponse, ReadState,
    RoleKind, Term, Token,
};

use crate::messages::same_bytes;
use crate::ours::Output;
use crate::pair::{Before, Input, Pair, Stop, different, same};
use crate::rules::Rule;

/// One read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    /// Asked for on the node itself, by this context.
    Own(Bytes),
    /// Forwarded by a peer, with this token.
    Of(NodeId, Mark),
}

/// A number that a peer has chosen.
pub(crate) type Mark = u64;

impl Key {
    /// The read that a peer's token stands for; the peers are almadia nodes.
    pub(crate) fn of(from: NodeId, token: &Token) -> Result<Self, Stop> {
        match token {
            Token::Number(number) => Ok(Self::Of(from, *number)),
            Token::None | Token::Bytes(_) => different(format!("no read of {from} has {token:?}")),
        }
    }
}

/// When a read was asked for.
#[derive(Clone, Copy, Debug, Default)]
struct Moment {
    step: u64,
    tick: u64,
    commit_index: LogIndex,
}

#[derive(Clone, Debug)]
struct Answers {
    key: Key,
    /// The mark by which raft-rs knows it. Two peers may choose the same, and one may repeat its
    /// own.
    mark: Bytes,
    asked: Moment,
    ours: Option<LogIndex>,
    /// In which step almadia has answered.
    ours_step: u64,
    theirs: Option<LogIndex>,
    /// raft-rs was asked for it later than almadia.
    was_queued: bool,
    /// raft-rs has forgotten it, or has never been asked.
    is_lost: bool,
    /// almadia has told its caller that there will be no answer.
    is_dropped: bool,
}

/// A read that raft-rs has not been given yet.
pub(crate) enum Asked {
    /// On the node itself, with this context.
    Here(Bytes),
    /// By a peer, in this message.
    ByPeer(Message),
}

#[derive(Default)]
pub(crate) struct Reads {
    ledger: Vec<Answers>,
    /// How many reads peers have forwarded.
    count: u64,
    /// What raft-rs is to be given once it has committed an entry of its term.
    queued: Vec<Asked>,
    /// What raft-rs's heartbeats carried where almadia's carried this number in this term.
    heartbeats: BTreeMap<(u64, u64), Token>,
    /// By which context raft-rs knows the read that almadia has forwarded under this number.
    forwarded: BTreeMap<u64, Bytes>,
    /// Which read almadia has forwarded under this number.
    own: BTreeMap<u64, Key>,
    /// What this step is.
    now: Moment,
    /// In which step almadia's heartbeats carried this number for the first time, while it leads.
    rounds: BTreeMap<u64, u64>,
    /// In which step, at the earliest, the last heartbeat left that this peer has answered.
    answered: BTreeMap<NodeId, u64>,
}

impl Reads {
    /// A new step begins.
    pub(crate) fn begin_step(&mut self, commit_index: LogIndex, is_tick: bool) {
        self.now.step += 1;
        self.now.tick += u64::from(is_tick);
        self.now.commit_index = commit_index;
    }

    /// Notes a read. Returns the mark that raft-rs is to know it by.
    pub(crate) fn asked(&mut self, key: Key) -> Bytes {
        self.count += 1;
        let mark = match &key {
            Key::Own(context) => context.clone(),
            Key::Of(from, mark) => format!("{}: read {mark} of {from}", self.count).into(),
        };
        self.ledger.push(Answers {
            key,
            mark: mark.clone(),
            asked: self.now,
            ours: None,
            ours_step: 0,
            theirs: None,
            was_queued: false,
            is_lost: false,
            is_dropped: false,
        });
        mark
    }

    /// Whether this read waits already.
    pub(crate) fn is_repeated(&self, key: &Key) -> bool {
        self.ledger.iter().any(|answers| answers.key == *key)
    }

    /// The read that was asked for last is not given to raft-rs yet.
    pub(crate) fn queue(&mut self, asked: Asked) {
        if let Some(answers) = self.ledger.last_mut() {
            answers.was_queued = true;
        }
        self.queued.push(asked);
    }

    pub(crate) fn take_queued(&mut self) -> Vec<Asked> {
        std::mem::take(&mut self.queued)
    }

    /// The reads of this node that wait, oldest first.
    fn own_waiting(&self) -> impl Iterator<Item = &Answers> {
        self.ledger.iter().filter(|answers| {
            matches!(answers.key, Key::Own(_)) && answers.ours.is_none() && !answers.is_dropped
        })
    }

    /// Whether no read of this node waits, which would wake it up.
    pub(crate) fn none_waits(&self) -> bool {
        self.own_waiting().next().is_none()
    }

    /// Whether almadia still has to answer a read that raft-rs has forgotten.
    pub(crate) fn some_are_lost(&self) -> bool {
        self.ledger
            .iter()
            .any(|answers| answers.ours.is_none() && answers.is_lost)
    }

    /// raft-rs keeps reads for one term and one role.
    pub(crate) fn forget_theirs(&mut self) {
        self.queued.clear();
        self.heartbeats.clear();
        self.rounds.clear();
        self.answered.clear();
        for answers in &mut self.ledger {
            answers.is_lost = true;
        }
        let step = self.now.step;
        self.ledger.retain(|answers| {
            let is_open = answers.ours.is_none() || answers.ours_step == step;
            matches!(answers.key, Key::Own(_)) && is_open && !answers.is_dropped
        });
    }

    /// Both sent a heartbeat.
    pub(crate) fn pair_heartbeats(
        &mut self,
        term: u64,
        ours: &Token,
        theirs: &Token,
    ) -> Result<Option<Rule>, Stop> {
        let is_answered = |mark: &Bytes| {
            let asked = self.ledger.iter().find(|answers| answers.mark == *mark);
            asked.is_some_and(|answers| answers.ours.is_some() && answers.theirs.is_none())
        };
        match (ours, theirs) {
            (Token::None, Token::None) => Ok(None),
            (Token::Number(number), Token::Number(_) | Token::Bytes(_)) => {
                self.heartbeats.insert((term, *number), theirs.clone());
                Ok(None)
            }
            (Token::None, Token::Bytes(mark)) if is_answered(mark) => Ok(Some(Rule::ReadConfirmed)),
            (Token::Number(_), Token::None) if self.some_are_lost() => {
                Ok(Some(Rule::ReadAskedAgain))
            }
            _ => different(format!(
                "heartbeats for different reads: {ours:?} and {theirs:?}"
            )),
        }
    }

    /// An answer with the mark that raft-rs has sent.
    pub(crate) fn as_theirs(&self, message: &Message) -> Message {
        let mut message = message.clone();
        match &mut message.body {
            Body::HeartbeatResponse(HeartbeatResponse { token, .. }) => {
                if let Token::Number(number) = *token {
                    let sent = self.heartbeats.get(&(message.term.0, number));
                    *token = sent.cloned().unwrap_or_default();
                }
            }
            Body::ReadIndexResponse(ReadIndexResponse { token, .. }) => {
                if let Token::Number(number) = *token {
                    let sent = self.forwarded.get(&number).cloned();
                    *token = Token::Bytes(sent.unwrap_or_else(|| "unknown".into()));
                }
            }
            Body::RequestVote(_)
            | Body::RequestVoteResponse(_)
            | Body::PreVote(_)
            | Body::PreVoteResponse(_)
            | Body::AppendEntries(_)
            | Body::AppendEntriesResponse(_)
            | Body::Heartbeat(_)
            | Body::InstallSnapshot(_)
            | Body::TimeoutNow
            | Body::Propose(_)
            | Body::ReadIndex(_)
            | Body::TransferLeader { .. } => {}
        }
        message
    }

    /// Returns when this read was asked for, if it waits.
    fn ours_answered(&mut self, key: &Key, read_index: LogIndex) -> Option<Moment> {
        let answers = self
            .ledger
            .iter_mut()
            .find(|answers| answers.key == *key && answers.ours.is_none() && !answers.is_dropped)?;
        answers.ours = Some(read_index);
        answers.ours_step = self.now.step;
        Some(answers.asked)
    }

    /// Returns whose read it was, if it is known.
    fn theirs_answered(&mut self, mark: &Bytes, read_index: LogIndex) -> Option<Key> {
        let answers = self
            .ledger
            .iter_mut()
            .find(|answers| answers.mark == *mark)?;
        answers.theirs = Some(read_index);
        Some(answers.key.clone())
    }

    fn dropped(&mut self, key: &Key) {
        for answers in self.ledger.iter_mut().filter(|it| it.key == *key) {
            answers.is_dropped = true;
        }
        self.queued.retain(
            |asked| !matches!(asked, Asked::Here(context) if *key == Key::Own(context.clone())),
        );
    }
}

impl Pair {
    /// Whether almadia may give each answer that it gives, and may drop what it drops.
    pub(crate) fn judge_answers(
        &mut self,
        before: &Before,
        input: &Input,
        ours: &Output,
    ) -> Result<(), Stop> {
        self.note_heartbeat_answer(before, input);
        for message in &ours.messages {
            if let Body::ReadIndexResponse(response) = &message.body {
                let key = Key::of(message.to, &response.token)?;
                self.judge_answer(before, input, &key, response.read_index)?;
                let expected = self.answer(before, message.to, message.body.clone());
                same_bytes("answer", slice::from_ref(message), &[expected])?;
            }
        }
        for read in &ours.reads {
            let key = Key::Own(read.context.clone());
            match read.outcome {
                Ok(read_index) => self.judge_answer(before, input, &key, read_index)?,
                Err(_) => self.judge_drop(input, &key)?,
            }
        }
        for message in &ours.messages {
            if let Body::Heartbeat(almadia::Heartbeat {
                token: Token::Number(number),
                ..
            }) = message.body
            {
                let step = self.reads.now.step;
                self.reads.rounds.entry(number).or_insert(step);
            }
        }
        Ok(())
    }

    /// A voter that answers a heartbeat knew no later leader when it got it.
    fn note_heartbeat_answer(&mut self, before: &Before, input: &Input) {
        let Input::Message(message) = input else {
            return;
        };
        if let Body::HeartbeatResponse(HeartbeatResponse {
            token: Token::Number(number),
            ..
        }) = message.body
        {
            let is_current = before.role == RoleKind::Leader && message.term.0 == before.term;
            let sent = self.reads.rounds.get(&number).filter(|_| is_current);
            if let Some(&sent) = sent {
                let last = self.reads.answered.entry(message.from).or_default();
                *last = sent.max(*last);
            }
        }
    }

    /// The term in which reads are answered in this step.
    fn answering_term(&self, before: &Before) -> Term {
        if before.role == RoleKind::Leader {
            Term(before.term)
        } else {
            self.ours.node.current_term()
        }
    }

    /// An answer as this node has to send it.
    fn answer(&self, before: &Before, to: NodeId, body: Body) -> Message {
        let (from, term) = (self.id(), self.answering_term(before));
        Message {
            to,
            from,
            term,
            body,
        }
    }

    /// A leader answers with an entry of its own term (Thesis 6.4), which was committed when the
    /// read was asked for or later, and once a quorum has answered a heartbeat that was sent after
    /// that. Everybody else repeats what the leader has answered.
    fn judge_answer(
        &mut self,
        before: &Before,
        input: &Input,
        key: &Key,
        read_index: LogIndex,
    ) -> Result<(), Stop> {
        let Some(asked) = self.reads.ours_answered(key, read_index) else {
            return different(format!("{key:?} is answered, and does not wait"));
        };
        let leads = before.role == RoleKind::Leader || self.is_leader();
        if !leads {
            return self.judge_repeated(before, input, key, read_index);
        }
        let log = &self.theirs.node.raft.raft_log;
        let commit_index = self.ours.node.commit_index();
        // Of a compacted entry nobody knows the term.
        let is_compacted = read_index.0 + 1 < log.first_index();
        let is_of_term = is_compacted
            || log
                .term(read_index.0)
                .is_ok_and(|term| term == self.answering_term(before).0);
        if !is_of_term || read_index < asked.commit_index || read_index > commit_index {
            return different(format!(
                "{key:?}, asked for at {asked:?}, is answered with {read_index}"
            ));
        }
        let has_answered = |voter| {
            let sent = self.reads.answered.get(&voter);
            voter == self.id() || sent.is_some_and(|&sent| sent >= asked.step)
        };
        // A change that was applied in this step may have ended the wait.
        let memberships = [&before.membership, self.ours.node.membership()];
        if !memberships.iter().any(|it| it.has_quorum(has_answered)) {
            let answered = &self.reads.answered;
            return different(format!(
                "{key:?}, asked for at {asked:?}, is answered without a quorum: {answered:?}"
            ));
        }
        Ok(())
    }

    fn judge_repeated(
        &self,
        before: &Before,
        input: &Input,
        key: &Key,
        read_index: LogIndex,
    ) -> Result<(), Stop> {
        if let Input::Message(message) = input {
            let is_of_leader = message.term.0 == before.term && before.leader == Some(message.from);
            let is_repeated = matches!(
                &message.body,
                Body::ReadIndexResponse(ReadIndexResponse { read_index: told, token: Token::Number(number) })
                    if *told == read_index && self.reads.own.get(number) == Some(key)
            );
            if is_of_leader && is_repeated {
                return Ok(());
            }
        }
        different(format!("nobody has answered {key:?} with {read_index}"))
    }

    /// After how many ticks a read is dropped: two of the longest election timeouts.
    fn ticks_to_wait(&self) -> u64 {
        2 * u64::from(self.ours.node.config().max_election_timeout_ticks())
    }

    fn judge_drop(&mut self, input: &Input, key: &Key) -> Result<(), Stop> {
        let waiting = self.reads.own_waiting().find(|answers| answers.key == *key);
        let waited = waiting.map(|answers| self.reads.now.tick - answers.asked.tick);
        if !matches!(input, Input::Tick) || waited != Some(self.ticks_to_wait()) {
            return different(format!("{key:?} is dropped after {waited:?} ticks"));
        }
        self.rules.apply(Rule::ReadDropped);
        self.reads.dropped(key);
        Ok(())
    }

    /// The answers that leave for peers on raft-rs's side.
    pub(crate) fn note_answers(&mut self, before: &Before, theirs: &[Message]) -> Result<(), Stop> {
        for message in theirs {
            if let Body::ReadIndexResponse(ReadIndexResponse {
                read_index,
                token: Token::Bytes(mark),
            }) = &message.body
            {
                let key = self.reads.theirs_answered(mark, *read_index);
                if let Some(Key::Of(to, _)) = key {
                    let expected = self.answer(before, to, message.body.clone());
                    same_bytes("answer", &[expected], slice::from_ref(message))?;
                }
            }
        }
        Ok(())
    }

    /// Reads that were forwarded to the leader. raft-rs forwards what is asked for now; almadia
    /// also asks a new leader for everything that waits, once.
    pub(crate) fn compare_forwarded(
        &mut self,
        before: &Before,
        input: &Input,
        ours: Vec<Message>,
        theirs: &[Message],
    ) -> Result<(), Stop> {
        let node = &self.ours.node;
        let leader = node.leader().filter(|_| !self.is_leader());
        let is_new = (before.leader, before.term) != (node.leader(), node.current_term().0);
        let mut expected: Vec<Key> = Vec::new();
        if leader.is_some() && is_new {
            expected.extend(self.reads.own_waiting().map(|it| it.key.clone()));
        } else if let (Input::Read(context), Some(_)) = (input, leader) {
            expected.push(Key::Own(context.clone()));
        }
        same("reads forwarded", &ours.len(), &expected.len())?;
        let known = ours.len().checked_sub(theirs.len());
        let Some(known) = known else {
            return different(format!("raft-rs alone forwards reads: {theirs:?}"));
        };
        if known > 0 {
            self.rules.apply(Rule::ReadAskedAgain);
        }
        for (position, (mut message, key)) in ours.into_iter().zip(expected).enumerate() {
            let number = self.note_forwarded(&message, key)?;
            let theirs = position.checked_sub(known).and_then(|at| theirs.get(at));
            let mut expected = Message {
                to: leader.unwrap_or(message.to),
                from: self.id(),
                term: Term::ZERO,
                body: message.body.clone(),
            };
            if let Some(theirs) = theirs {
                if let Body::ReadIndex(Token::Bytes(context)) = &theirs.body {
                    self.reads.forwarded.insert(number, context.clone());
                }
                message.body = theirs.body.clone();
                expected = theirs.clone();
            }
            same_bytes("forwarded read", &[message], &[expected])?;
        }
        Ok(())
    }

    /// Each read has one number, and no other read has that.
    fn note_forwarded(&mut self, message: &Message, key: Key) -> Result<u64, Stop> {
        let Body::ReadIndex(Token::Number(number)) = message.body else {
            return different(format!("a read without a number: {message:?}"));
        };
        let earlier = self.reads.own.insert(number, key.clone());
        same(
            "read forwarded",
            &earlier.unwrap_or_else(|| key.clone()),
            &key,
        )?;
        Ok(number)
    }

    /// Each read has the same answer on both sides, and almadia's comes no later.
    pub(crate) fn compare_reads(&mut self, theirs: &[ReadState]) -> Result<(), Stop> {
        for read in theirs {
            if let Ok(read_index) = read.outcome {
                self.reads.theirs_answered(&read.context, read_index);
            }
        }
        let (now, limit) = (self.reads.now.tick, self.ticks_to_wait());
        let mut waiting = self.reads.own_waiting();
        if let Some(overdue) = waiting.find(|it| now - it.asked.tick >= limit) {
            return different(format!("{:?} still waits", overdue.key));
        }
        drop(waiting);
        let mut difference = None;
        self.reads.ledger.retain(|answers| match answers {
            Answers {
                is_dropped: true,
                theirs: Some(_),
                ..
            } => false,
            Answers {
                was_queued: true,
                ours: Some(ours),
                theirs: Some(theirs),
                ..
            } if ours < theirs => false,
            Answers {
                key,
                ours: Some(ours),
                theirs: Some(theirs),
                ..
            } => {
                if ours != theirs {
                    difference = Some(format!("{key:?} is answered with {ours} and {theirs}"));
                }
                false
            }
            Answers {
                key,
                ours: None,
                theirs: Some(theirs),
                ..
            } => {
                difference = Some(format!("{key:?} is answered by raft-rs alone: {theirs}"));
                false
            }
            Answers {
                ours: Some(_),
                is_lost: true,
                ..
            } => false,
            Answers { theirs: None, .. } => true,
        });
        difference.map_or(Ok(()), different)
    }
}
