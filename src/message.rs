//! What nodes say to each other: one struct for the envelope, one variant for each kind.
//!
//! Owns the vocabulary of the protocol, with the paper's field names. Knows no bytes (the wire
//! form is `almadia-proto`'s) and no rules (what a role does with a message stands in that role).
//!
//! Things that happen on the node itself (a campaign, an unreachable peer, the outcome of a
//! snapshot) are methods of [`RawNode`](crate::RawNode) and not messages, so no peer can send one.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use crate::entry::{Entries, Entry, Payload, Snapshot};
use crate::types::{LogId, LogIndex, NodeId, Term};

/// A message from one node to another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Message {
    /// The node it is for.
    pub to: NodeId,
    /// The node that sent it.
    pub from: NodeId,
    /// The sender's term; for a pre-vote and its grant the term that would come next. Zero for
    /// the forwarded kinds ([`Body::Propose`], [`Body::ReadIndex`]), which belong to no term.
    pub term: Term,
    /// What it says.
    pub body: Body,
}

/// The content of a [`Message`]. Exhaustive on purpose: a new kind must be looked at by whoever
/// matches over them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Body {
    /// A candidate asks for a vote (Raft 5.2).
    RequestVote(RequestVote),
    /// The answer to [`Body::RequestVote`].
    RequestVoteResponse(VoteResponse),
    /// A node asks whether it would get a vote (Thesis 9.6).
    PreVote(RequestVote),
    /// The answer to [`Body::PreVote`].
    PreVoteResponse(VoteResponse),
    /// The leader replicates entries, probes or tells the commit index (Raft 5.3).
    AppendEntries(AppendEntries),
    /// The answer to [`Body::AppendEntries`] and [`Body::InstallSnapshot`].
    AppendEntriesResponse(AppendEntriesResponse),
    /// The leader asserts itself (Raft 5.2).
    Heartbeat(Heartbeat),
    /// The answer to [`Body::Heartbeat`].
    HeartbeatResponse(HeartbeatResponse),
    /// The leader replaces a log that reaches back too far (Raft 7). Boxed, so that the rare and
    /// large kind does not make every message large.
    InstallSnapshot(Box<Snapshot>),
    /// The leader asks the receiver to campaign at once (Thesis 3.10).
    TimeoutNow,
    /// Proposals forwarded to the leader; at least one.
    Propose(Vec<Proposal>),
    /// A read forwarded to the leader (Thesis 6.4); the token is echoed.
    ReadIndex(Token),
    /// The answer to [`Body::ReadIndex`].
    ReadIndexResponse(ReadIndexResponse),
    /// A request, forwarded to the leader, to hand leadership to a node (Thesis 3.10).
    TransferLeader {
        /// The node that is to lead.
        transferee: NodeId,
    },
}

/// RequestVote and PreVote (Figure 2; Thesis 9.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestVote {
    /// The last entry of the candidate's log.
    pub last_log: LogId,
    /// The last entry that the candidate knows to be committed.
    pub commit: LogId,
    /// The candidate's election priority.
    pub priority: i64,
    /// Whether the leader itself asked for this election, so that voters do not defend it.
    pub leadership_transfer: bool,
}

/// The answer to a [`RequestVote`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VoteResponse {
    /// *voteGranted*.
    Granted,
    /// Not granted.
    Refused {
        /// The last entry that the voter knows to be committed; [`LogId::ZERO`] if not told.
        commit: LogId,
    },
}

/// AppendEntries (Figure 2).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AppendEntries {
    /// The entry before the first of `entries`.
    pub prev_log: LogId,
    /// The leader's commit index, which may lie beyond the entries of this message.
    pub leader_commit: LogIndex,
    /// The entries; none in a probe or when only the commit index is news.
    pub entries: Entries,
}

/// The answer to [`AppendEntries`] and to a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AppendEntriesResponse {
    /// The receiver's log is the same as the leader's up to `match_index`, durably.
    Accepted {
        /// The end of what is known to be the same.
        match_index: LogIndex,
        /// The receiver's commit index; zero if not told.
        commit_index: LogIndex,
    },
    /// The receiver's log has no entry like `prev_log`.
    Rejected {
        /// The index of the `prev_log` that was refused.
        prev_index: LogIndex,
        /// The latest entry of the receiver at or before `prev_log` that has no later term: the
        /// logs can at best agree up to here. [`LogId::ZERO`] if it has none.
        hint: LogId,
        /// The receiver's commit index; zero if not told.
        commit_index: LogIndex,
    },
    /// The receiver asks for a snapshot, because it lost or doubts its log.
    SnapshotRequested {
        /// The receiver's last entry.
        last_log: LogId,
        /// The receiver's commit index.
        commit_index: LogIndex,
        /// The snapshot must reach at least here.
        request_index: LogIndex,
    },
    /// The receiver is in a later term: the one in the envelope (Raft 5.1).
    TermOutdated,
}

/// A mark that its receiver echoes and never reads. (On the wire raft-rs's `context`.)
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Token {
    /// No mark.
    #[default]
    None,
    /// A number, which is what this crate's own nodes send. Costs no allocation.
    Number(u64),
    /// Anything else that another implementation may have sent.
    Bytes(Bytes),
}

/// Heartbeat: an AppendEntries without a log position (Deviation D2).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Heartbeat {
    /// The leader's commit index, at most what the receiver has acknowledged.
    pub leader_commit: LogIndex,
    /// Echoed in the answer, from which the leader learns that it led when it sent this.
    pub token: Token,
}

/// The answer to a [`Heartbeat`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HeartbeatResponse {
    /// The receiver's commit index.
    pub commit_index: LogIndex,
    /// The heartbeat's token.
    pub token: Token,
}

/// A command on its way to the leader, which gives it a term and an index.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Proposal {
    /// What the entry is to carry.
    pub payload: Payload,
    /// Echoed in [`Entry::context`](crate::Entry::context).
    pub context: Bytes,
}

impl Proposal {
    /// What the entry will count for in limits, in bytes.
    #[must_use]
    #[inline]
    pub fn size_bytes(&self) -> u64 {
        Entry::size_bytes_of(&self.payload, &self.context)
    }
}

/// The answer to a forwarded read (Thesis 6.4).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReadIndexResponse {
    /// The read may be answered from a state machine that has applied this index.
    pub read_index: LogIndex,
    /// The token of the request.
    pub token: Token,
}

/// The name of a [`Body`] variant, for errors and reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(
    missing_docs,
    reason = "each is documented at the variant of `Body` of the same name"
)]
pub enum MessageKind {
    RequestVote,
    RequestVoteResponse,
    PreVote,
    PreVoteResponse,
    AppendEntries,
    AppendEntriesResponse,
    Heartbeat,
    HeartbeatResponse,
    InstallSnapshot,
    TimeoutNow,
    Propose,
    ReadIndex,
    ReadIndexResponse,
    TransferLeader,
}

impl fmt::Display for MessageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl Body {
    /// Which kind of message this is.
    #[must_use]
    #[inline]
    pub const fn kind(&self) -> MessageKind {
        match self {
            Self::RequestVote(_) => MessageKind::RequestVote,
            Self::RequestVoteResponse(_) => MessageKind::RequestVoteResponse,
            Self::PreVote(_) => MessageKind::PreVote,
            Self::PreVoteResponse(_) => MessageKind::PreVoteResponse,
            Self::AppendEntries(_) => MessageKind::AppendEntries,
            Self::AppendEntriesResponse(_) => MessageKind::AppendEntriesResponse,
            Self::Heartbeat(_) => MessageKind::Heartbeat,
            Self::HeartbeatResponse(_) => MessageKind::HeartbeatResponse,
            Self::InstallSnapshot(_) => MessageKind::InstallSnapshot,
            Self::TimeoutNow => MessageKind::TimeoutNow,
            Self::Propose(_) => MessageKind::Propose,
            Self::ReadIndex(_) => MessageKind::ReadIndex,
            Self::ReadIndexResponse(_) => MessageKind::ReadIndexResponse,
            Self::TransferLeader { .. } => MessageKind::TransferLeader,
        }
    }
}
