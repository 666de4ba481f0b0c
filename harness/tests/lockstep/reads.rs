//! Reads on both sides: who has asked, what was answered, and by which marks.
//!
//! Owns the ledger of reads. almadia marks them by numbers of its own and raft-rs by what the
//! caller gave, so answers are compared read by read, and marks are translated by what both nodes
//! have sent at the same moment.

use std::collections::BTreeMap;

use almadia::{
    Body, Bytes, HeartbeatResponse, LogIndex, Message, NodeId, ReadIndexResponse, ReadState, Token,
};

use crate::pair::{Pair, Stop};
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
    /// The read that a peer's token stands for.
    pub(crate) fn of(from: NodeId, token: &Token) -> Self {
        match token {
            Token::Number(number) => Self::Of(from, *number),
            Token::None | Token::Bytes(_) => panic!("the peers are almadia nodes"),
        }
    }
}

#[derive(Clone, Debug)]
struct Answers {
    key: Key,
    /// The mark by which raft-rs knows it. Two peers may choose the same, and one may repeat its
    /// own.
    mark: Bytes,
    ours: Option<LogIndex>,
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
}

impl Reads {
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
            ours: None,
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

    /// Whether no read of this node waits, which would wake it up.
    pub(crate) fn none_waits(&self) -> bool {
        !self.ledger.iter().any(|answers| {
            matches!(answers.key, Key::Own(_)) && answers.ours.is_none() && !answers.is_dropped
        })
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
        for answers in &mut self.ledger {
            answers.is_lost = true;
        }
        self.ledger.retain(|answers| {
            matches!(answers.key, Key::Own(_)) && answers.ours.is_none() && !answers.is_dropped
        });
    }

    /// Both sent a heartbeat.
    pub(crate) fn pair_heartbeats(
        &mut self,
        term: u64,
        ours: &Token,
        theirs: &Token,
    ) -> Result<Option<Rule>, Stop> {
        let is_ahead = |answers: &Answers| answers.ours.is_some() && answers.theirs.is_none();
        match (ours, theirs) {
            (Token::None, Token::None) => Ok(None),
            (Token::Number(number), Token::Number(_) | Token::Bytes(_)) => {
                self.heartbeats.insert((term, *number), theirs.clone());
                Ok(None)
            }
            (Token::None, _) if self.ledger.iter().any(is_ahead) => Ok(Some(Rule::ReadConfirmed)),
            (Token::Number(_), Token::None) if self.some_are_lost() => {
                Ok(Some(Rule::ReadAskedAgain))
            }
            _ => Err(Stop::Difference(format!(
                "heartbeats for different reads: {ours:?} and {theirs:?}"
            ))),
        }
    }

    /// Both asked the leader.
    pub(crate) fn pair_forwarded(&mut self, ours: &Token, theirs: &Token) {
        if let (Token::Number(number), Token::Bytes(context)) = (ours, theirs) {
            self.forwarded.insert(*number, context.clone());
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

    fn ours_answered(&mut self, key: &Key, read_index: LogIndex) {
        let asked = self
            .ledger
            .iter_mut()
            .find(|answers| answers.key == *key && answers.ours.is_none());
        if let Some(answers) = asked {
            answers.ours = Some(read_index);
        }
    }

    fn theirs_answered(&mut self, mark: &Bytes, read_index: LogIndex) {
        let asked = self.ledger.iter_mut().find(|answers| answers.mark == *mark);
        if let Some(answers) = asked {
            answers.theirs = Some(read_index);
        }
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
    /// The answers that leave for peers.
    pub(crate) fn note_answers(&mut self, ours: &[Message], theirs: &[Message]) {
        for message in ours {
            if let Body::ReadIndexResponse(response) = &message.body {
                let key = Key::of(message.to, &response.token);
                self.reads.ours_answered(&key, response.read_index);
            }
        }
        for message in theirs {
            if let Body::ReadIndexResponse(ReadIndexResponse {
                read_index,
                token: Token::Bytes(mark),
            }) = &message.body
            {
                self.reads.theirs_answered(mark, *read_index);
            }
        }
    }

    /// Each read has the same answer on both sides, and almadia's comes no later.
    pub(crate) fn compare_reads(
        &mut self,
        ours: &[ReadState],
        theirs: &[ReadState],
    ) -> Result<(), Stop> {
        for read in ours {
            let key = Key::Own(read.context.clone());
            match read.outcome {
                Ok(read_index) => self.reads.ours_answered(&key, read_index),
                Err(_) => {
                    self.rules.apply(Rule::ReadDropped);
                    self.reads.dropped(&key);
                }
            }
        }
        for read in theirs {
            if let Ok(read_index) = read.outcome {
                self.reads.theirs_answered(&read.context, read_index);
            }
        }
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
        difference.map_or(Ok(()), |difference| Err(Stop::Difference(difference)))
    }
}
