//! What is on its way in an interaction script: messages between nodes, and those that etcd/raft's
//! nodes exchange with themselves and with their storage threads.
//!
//! Owns their kinds, and what each of them shows. Must not know what comes of them.
//!
//! This crate has no messages of the second sort: `persisted` and `applied` are calls. A script
//! shows and orders them like all others, so here they are the wish for such a call.

use almadia::{
    AppendEntriesResponse, Body, Entry, HardState, LogId, LogIndex, Message, NodeId, Proposal,
    Snapshot, Term, VoteResponse,
};

use super::describe::{self, Letter, Party, current_term};

/// Something on its way to a node.
#[derive(Clone, Debug)]
pub(super) enum Mail {
    /// From another node.
    Message(Message),
    /// What the node answers to itself, once that is durable.
    Own(OwnAnswer),
    /// From the append thread: the writes are durable.
    Appended(Appended),
    /// From the apply thread.
    Applied {
        node: NodeId,
        entries: Vec<Entry>,
        /// Up to here everything is applied.
        through: LogIndex,
    },
}

/// A vote for oneself, or a leader's acknowledgement of its own entries.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwnAnswer {
    pub(super) node: NodeId,
    pub(super) kind: &'static str,
    pub(super) term: Term,
    pub(super) index: LogIndex,
    /// The `Ready` that is durable when this arrives.
    pub(super) number: u64,
}

/// Entries and snapshots are durable.
#[derive(Clone, Debug)]
pub(super) struct Appended {
    pub(super) node: NodeId,
    pub(super) term: Term,
    /// The end of the log when the write was ordered, if any of it was not known to be durable.
    pub(super) last: LogId,
    pub(super) snapshot: Option<Snapshot>,
    /// The `Ready` that is durable when this arrives.
    pub(super) number: u64,
}

/// What the append thread is to do.
#[derive(Clone, Debug)]
pub(super) struct AppendWork {
    pub(super) hard_state: Option<HardState>,
    pub(super) entries: Vec<Entry>,
    pub(super) snapshot: Option<Snapshot>,
    pub(super) responses: Vec<Mail>,
}

/// What the apply thread is to do.
#[derive(Clone, Debug)]
pub(super) struct ApplyWork {
    pub(super) entries: Vec<Entry>,
    pub(super) through: LogIndex,
}

impl Mail {
    pub(super) const fn to(&self) -> NodeId {
        match self {
            Self::Message(message) => message.to,
            Self::Own(answer) => answer.node,
            Self::Appended(appended) => appended.node,
            Self::Applied { node, .. } => *node,
        }
    }

    /// Whether it never leaves the machine, and so cannot be lost.
    pub(super) const fn is_local(&self) -> bool {
        !matches!(self, Self::Message(_))
    }

    pub(super) fn kind(&self) -> &'static str {
        self.letter().kind
    }

    pub(super) fn describe(&self) -> String {
        self.letter().describe("")
    }

    fn letter(&self) -> Letter {
        match self {
            Self::Message(message) => of_message(message),
            Self::Own(answer) => {
                let node = Party::Node(answer.node);
                Letter {
                    log: at(answer.index),
                    ..Letter::new(node, node, answer.kind, current_term(answer.term))
                }
            }
            Self::Appended(appended) => Letter {
                log: appended.last,
                snapshot: appended.snapshot.as_ref().map(describe::snapshot),
                ..Letter::new(
                    Party::AppendThread,
                    Party::Node(appended.node),
                    "MsgStorageAppendResp",
                    current_term(appended.term),
                )
            },
            Self::Applied { node, entries, .. } => Letter {
                entries: describe::entries(entries),
                ..Letter::new(
                    Party::ApplyThread,
                    Party::Node(*node),
                    "MsgStorageApplyResp",
                    0,
                )
            },
        }
    }
}

impl AppendWork {
    /// The message that orders it from the append thread of `node`.
    pub(super) fn describe(&self, node: NodeId, with_responses: bool) -> String {
        let hard_state = self.hard_state.unwrap_or_default();
        let responses = self.responses.iter().map(Mail::letter);
        let letter = Letter {
            commit: hard_state.commit_index,
            vote: hard_state.voted_for,
            entries: describe::entries(&self.entries),
            snapshot: self.snapshot.as_ref().map(describe::snapshot),
            responses: responses.filter(|_| with_responses).collect(),
            ..Letter::new(
                Party::Node(node),
                Party::AppendThread,
                "MsgStorageAppend",
                current_term(hard_state.current_term),
            )
        };
        letter.describe("")
    }
}

impl ApplyWork {
    /// The answer that the apply thread of `node` gives.
    pub(super) fn response(&self, node: NodeId) -> Mail {
        Mail::Applied {
            node,
            entries: self.entries.clone(),
            through: self.through,
        }
    }

    /// The message that orders it from the apply thread of `node`.
    pub(super) fn describe(&self, node: NodeId, with_responses: bool) -> String {
        let response = self.response(node);
        let responses = with_responses.then(|| response.letter());
        let letter = Letter {
            entries: describe::entries(&self.entries),
            responses: responses.into_iter().collect(),
            ..Letter::new(Party::Node(node), Party::ApplyThread, "MsgStorageApply", 0)
        };
        letter.describe("")
    }
}

/// Whether etcd/raft's nodes hold messages of this kind back until everything before is durable.
pub(super) const fn waits_for_disk(body: &Body) -> bool {
    matches!(
        body,
        Body::AppendEntriesResponse(_) | Body::RequestVoteResponse(_) | Body::PreVoteResponse(_)
    )
}

const fn at(index: LogIndex) -> LogId {
    LogId {
        term: Term::ZERO,
        index,
    }
}

/// What etcd/raft's message of the same meaning would carry: no commit index in votes and answers.
fn of_message(message: &Message) -> Letter {
    let letter = |kind| {
        Letter::new(
            Party::Node(message.from),
            Party::Node(message.to),
            kind,
            current_term(message.term),
        )
    };
    match &message.body {
        Body::RequestVote(request) => Letter {
            log: request.last_log,
            ..letter("MsgVote")
        },
        Body::PreVote(request) => Letter {
            log: request.last_log,
            ..letter("MsgPreVote")
        },
        Body::RequestVoteResponse(response) => Letter {
            rejected: refusal(response),
            ..letter("MsgVoteResp")
        },
        Body::PreVoteResponse(response) => Letter {
            rejected: refusal(response),
            ..letter("MsgPreVoteResp")
        },
        Body::AppendEntries(append) => Letter {
            log: append.prev_log,
            commit: append.leader_commit,
            entries: describe::entries(&append.entries),
            ..letter("MsgApp")
        },
        Body::AppendEntriesResponse(response) => {
            let (log, rejected) = of_append_response(response);
            Letter {
                log,
                rejected,
                ..letter("MsgAppResp")
            }
        }
        Body::Heartbeat(heartbeat) => Letter {
            commit: heartbeat.leader_commit,
            ..letter("MsgHeartbeat")
        },
        Body::HeartbeatResponse(_) => letter("MsgHeartbeatResp"),
        Body::InstallSnapshot(snapshot) => Letter {
            snapshot: Some(describe::snapshot(snapshot)),
            ..letter("MsgSnap")
        },
        Body::TimeoutNow => letter("MsgTimeoutNow"),
        Body::Propose(proposals) => Letter {
            entries: proposals.iter().map(proposed).collect(),
            ..letter("MsgProp")
        },
        Body::ReadIndex(_) => letter("MsgReadIndex"),
        Body::ReadIndexResponse(response) => Letter {
            log: at(response.read_index),
            ..letter("MsgReadIndexResp")
        },
        // It seems to come from whom it is for.
        Body::TransferLeader { transferee } => Letter {
            from: Party::Node(*transferee),
            ..letter("MsgTransferLeader")
        },
    }
}

/// A proposal is shown as an entry that has no place yet.
fn proposed(proposal: &Proposal) -> String {
    describe::entry(&Entry {
        id: LogId::ZERO,
        payload: proposal.payload.clone(),
        context: proposal.context.clone(),
    })
}

fn refusal(response: &VoteResponse) -> Option<LogIndex> {
    match response {
        VoteResponse::Granted => None,
        VoteResponse::Refused { .. } => Some(LogIndex::ZERO),
    }
}

/// The log position and the hint.
fn of_append_response(response: &AppendEntriesResponse) -> (LogId, Option<LogIndex>) {
    match *response {
        AppendEntriesResponse::Accepted { match_index, .. } => (at(match_index), None),
        AppendEntriesResponse::Rejected {
            prev_index, hint, ..
        } => {
            let log = LogId {
                term: hint.term,
                index: prev_index,
            };
            (log, Some(hint.index))
        }
        // No script of etcd/raft knows it.
        AppendEntriesResponse::SnapshotRequested { last_log, .. } => {
            (last_log, Some(LogIndex::ZERO))
        }
        AppendEntriesResponse::TermOutdated => (LogId::ZERO, None),
    }
}
