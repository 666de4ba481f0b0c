//! Errors, by who is to blame: a peer or the network, the embedder's call, the embedder's
//! `Storage`.
//!
//! Owns the error types of the public API, except those that belong to one module alone
//! ([`ConfigError`](crate::ConfigError), [`StorageError`], [`MembershipError`]). What would be our
//! own fault is no error: it is an assertion (see `raft/invariants.rs`).
//!
//! Every error but [`Halted`] leaves the node exactly as it was.

use alloc::boxed::Box;

use thiserror::Error;

use crate::membership::MembershipError;
use crate::message::{Message, MessageKind};
use crate::storage::StorageError;
use crate::types::{LogId, LogIndex, NodeId, Term};

/// The node has stopped for good, because its [`Storage`](crate::Storage) failed or broke its
/// contract.
///
/// What it has promised still stands. It does nothing more, neither for peers nor for the embedder;
/// repair the storage and start a new node from it.
#[derive(Clone, Debug, Error, PartialEq, Eq, Hash)]
#[error("the node has stopped: {error}")]
pub struct Halted {
    /// What the storage answered.
    #[source]
    pub error: StorageError,
}

/// Why a node cannot start from what its [`Storage`](crate::Storage) holds.
#[derive(Clone, Debug, Error, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StartError {
    /// The storage could not be read.
    #[error("the storage cannot be read: {0}")]
    Storage(#[from] StorageError),
    /// The membership is inconsistent.
    #[error("the stored membership is inconsistent: {0}")]
    Membership(#[from] MembershipError),
    /// The commit index points outside the log: the log has lost its end, or the hard state is not
    /// this log's.
    #[error(
        "the commit index {commit_index} is outside the log ({snapshot_index} to {last_index}); \
         the log or the hard state is incomplete, restore the node from its peers"
    )]
    CommitOutOfRange {
        /// The commit index of the hard state.
        commit_index: LogIndex,
        /// The last index before the log's first.
        snapshot_index: LogIndex,
        /// The log's last index.
        last_index: LogIndex,
    },
    /// The state machine has applied more than the log holds. An entry is persisted before it is
    /// applied, unless
    /// [`Config::max_apply_unpersisted_entries`](crate::Config::max_apply_unpersisted_entries)
    /// allows otherwise.
    #[error(
        "the state machine has applied up to {applied}, but the log ends at {last_index}; \
         the log is incomplete, restore the node from its peers (or, if entries were applied \
         before they were persisted, start with max_apply_unpersisted_entries above zero)"
    )]
    AppliedBeyondLog {
        /// [`Config::applied`](crate::Config::applied).
        applied: LogId,
        /// The log's last index.
        last_index: LogIndex,
    },
    /// The state machine has applied an entry in whose place the log holds another: the state
    /// machine is not this log's, or was ahead of it, as for
    /// [`AppliedBeyondLog`](Self::AppliedBeyondLog).
    #[error(
        "the state machine has applied {applied}, but the log holds {found} there; \
         restore the node from its peers (or, if entries were applied before they were \
         persisted, start with max_apply_unpersisted_entries above zero)"
    )]
    AppliedDiffers {
        /// [`Config::applied`](crate::Config::applied).
        applied: LogId,
        /// What the log holds at that index.
        found: LogId,
    },
    /// The log has an entry of a term that the hard state has not seen: the hard state was lost,
    /// and with it the vote. Such a node could vote twice.
    #[error(
        "the log ends at {last_log}, but the hard state knows only term {current_term}; \
         the vote may be lost, restore the node from its peers"
    )]
    TermBehindLog {
        /// The term of the hard state.
        current_term: Term,
        /// The last entry of the log.
        last_log: LogId,
    },
}

/// Why a message was refused. The node is exactly as it was, unless it [`Halted`].
#[derive(Clone, Debug, Error, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StepError {
    /// The node has stopped.
    #[error(transparent)]
    Halted(#[from] Halted),
    /// The message is for another node.
    #[error("the message is for node {to}")]
    NotForThisNode {
        /// The addressee.
        to: NodeId,
    },
    /// The message claims to be from this node itself.
    #[error("the message claims to be from this node")]
    FromThisNode,
    /// The sender is no member, and the kind is one that only members send. To be expected for a
    /// while after a removal: the removed node may not know yet.
    #[error("node {from} is not a member and sent {kind}")]
    NotAMember {
        /// The sender.
        from: NodeId,
        /// What it sent.
        kind: MessageKind,
    },
    /// The kind needs a term and carries none.
    #[error("{0} without a term")]
    TermMissing(MessageKind),
    /// The kind belongs to no term and carries one.
    #[error("{0} with a term")]
    TermForbidden(MessageKind),
    /// A term, index or log position is outside the possible range, or contradicts the message's
    /// term.
    #[error("{kind} with an impossible {field}")]
    OutOfRange {
        /// The message.
        kind: MessageKind,
        /// The field.
        field: &'static str,
    },
    /// The entries do not follow `prev_log` and each other.
    #[error("the entries after {prev_log} have gaps or impossible terms")]
    MalformedEntries {
        /// The entry they should follow.
        prev_log: LogId,
    },
    /// A leader contradicts an entry that is committed here: two clusters are mixed up, or a node
    /// has lost its log.
    #[error("entry {entry} contradicts an entry that is committed here (up to {commit_index})")]
    ConflictsWithCommitted {
        /// The leader's entry.
        entry: LogId,
        /// The commit index here.
        commit_index: LogIndex,
    },
    /// The leader says that entries are committed which this log does not reach: the node has lost
    /// the end of its log. Send `reply`, and the leader starts over from what is left.
    #[error(
        "the leader says that {leader_commit} is committed, but this log ends at {last_log}: \
         its end was lost"
    )]
    CommitBeyondLog {
        /// What the leader says.
        leader_commit: LogIndex,
        /// The last entry here.
        last_log: LogId,
        /// A rejection for the leader.
        reply: Box<Message>,
    },
    /// A snapshot with an inconsistent membership.
    #[error("the snapshot's membership is inconsistent: {0}")]
    SnapshotMembership(MembershipError),
    /// A snapshot of a cluster that this node does not belong to.
    #[error("the snapshot's membership does not contain this node")]
    SnapshotWithoutThisNode,
    /// A peer acknowledges what this leader never had.
    #[error("the peer acknowledges {index}, but the log ends at {last_index}")]
    AcknowledgedBeyondLog {
        /// What it acknowledges.
        index: LogIndex,
        /// The last index here.
        last_index: LogIndex,
    },
    /// A node claims to lead a term in which this node leads or has heard another leader.
    #[error("node {from} claims to lead term {term}, which has another leader")]
    SecondLeader {
        /// The other node.
        from: NodeId,
        /// The term.
        term: Term,
    },
    /// Forwarded proposals without a proposal.
    #[error("proposals without a proposal")]
    NoProposals,
    /// Forwarded proposals were refused.
    #[error("the forwarded proposals are refused: {0}")]
    Propose(ProposeError),
    /// A forwarded read was refused.
    #[error("the forwarded read is refused: {0}")]
    Read(ReadError),
    /// A forwarded leader transfer was refused.
    #[error("the forwarded leader transfer is refused: {0}")]
    Transfer(TransferError),
    /// A peer answers a heartbeat that this leader never sent.
    #[error("node {from} answers a heartbeat that was never sent")]
    UnknownHeartbeat {
        /// The sender.
        from: NodeId,
    },
}

impl From<StorageError> for StepError {
    fn from(error: StorageError) -> Self {
        Self::Halted(Halted { error })
    }
}

impl StepError {
    /// An answer that the sender needs all the same; send it.
    #[must_use]
    pub fn into_reply(self) -> Option<Message> {
        if let Self::CommitBeyondLog { reply, .. } = self {
            Some(*reply)
        } else {
            None
        }
    }
}

/// Why a proposal was not taken. It is not in the log, and will not be.
#[derive(Clone, Debug, Error, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProposeError {
    /// The node has stopped.
    #[error(transparent)]
    Halted(#[from] Halted),
    /// Only the leader takes proposals.
    #[error("this node does not lead")]
    NotLeader {
        /// Who does, if known.
        leader: Option<NodeId>,
    },
    /// The leader is handing leadership over; try again when that has ended.
    #[error("leadership is being transferred")]
    Transferring,
    /// The leader was removed or has lost its vote, and waits for somebody to take over.
    #[error("this node leads, but votes no more, and is about to step down")]
    Removed,
    /// The uncommitted proposals would exceed
    /// [`Config::max_uncommitted_bytes`](crate::Config::max_uncommitted_bytes).
    #[error("too many bytes are proposed and not committed; wait for some to commit")]
    TooManyUncommitted,
    /// An earlier membership change is not applied on this leader yet.
    #[error("a membership change is in progress")]
    ChangePending,
    /// The change is impossible from the current membership.
    #[error("the membership change is impossible: {0}")]
    Membership(#[from] MembershipError),
    /// The log is as long as a log can be.
    #[error("there is no index left in the log")]
    NoIndexLeft,
}

/// Why the node does not campaign.
#[derive(Clone, Debug, Error, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CampaignError {
    /// The node has stopped.
    #[error(transparent)]
    Halted(#[from] Halted),
    /// It leads already.
    #[error("this node leads already")]
    AlreadyLeader,
    /// It has no vote, or belongs to no cluster yet.
    #[error("this node is no voter")]
    NotAVoter,
    /// It is busy installing a snapshot.
    #[error("a snapshot is being installed")]
    InstallingSnapshot,
    /// A committed membership change has not been applied yet, so it does not know who votes.
    #[error("a committed membership change has not been applied yet")]
    UnappliedChange,
    /// With [`Config::lease_reads`](crate::Config::lease_reads): it may have acknowledged a
    /// leader's lease, which is not over.
    #[error("a leader's lease may last for {ticks} more ticks")]
    BoundByLease {
        /// For how many more ticks.
        ticks: u32,
    },
    /// There is no later term, or no index for the entry that opens one.
    #[error("there is no term after the current one, or no index after the last")]
    NothingLeft,
}

/// Why a leader transfer was not begun.
#[derive(Clone, Debug, Error, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransferError {
    /// The node has stopped.
    #[error(transparent)]
    Halted(#[from] Halted),
    /// This node does not lead, and knows nobody who does.
    #[error("no leader is known")]
    NoLeader,
    /// A peer asked this node, which does not lead.
    #[error("this node does not lead")]
    NotLeader {
        /// Who does, if known.
        leader: Option<NodeId>,
    },
    /// The node that is to lead leads already.
    #[error("node {0} leads already")]
    AlreadyLeader(NodeId),
    /// The node that is to lead has no vote.
    #[error("node {0} is no voter")]
    NotAVoter(NodeId),
    /// The leader is about to step down for good, and whoever can takes over.
    #[error("this node leads, but votes no more, and is about to step down")]
    Removed,
}

/// How a leader transfer has ended that was asked for on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransferOutcome {
    /// The node that was to lead.
    pub transferee: NodeId,
    /// Whether it does.
    pub result: Result<(), TransferFailure>,
}

/// Why a leader transfer has failed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransferFailure {
    /// It took too long; who leads is not known here, or still the same node.
    #[error("the transfer took too long")]
    TimedOut,
    /// Somebody else has become the leader.
    #[error("node {0} has become the leader")]
    OtherLeader(NodeId),
    /// The node that was to lead has lost its vote meanwhile.
    #[error("the node that was to lead is no voter any more")]
    NotAVoter,
    /// Another transfer was asked for.
    #[error("another transfer was asked for")]
    Superseded,
}

/// Why a read was not taken.
#[derive(Clone, Debug, Error, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReadError {
    /// The node has stopped.
    #[error(transparent)]
    Halted(#[from] Halted),
    /// This node does not lead, and knows nobody who does.
    #[error("no leader is known")]
    NoLeader,
    /// A peer asked this node, which does not lead. The peer asks again when it hears the leader.
    #[error("this node does not lead")]
    NotLeader {
        /// Who does, if known.
        leader: Option<NodeId>,
    },
    /// Only a node that counts its starts may ask the leader: set
    /// [`Config::incarnation`](crate::Config::incarnation).
    #[error("the read cannot be forwarded without Config::incarnation")]
    NoIncarnation,
    /// [`Config::max_pending_reads`](crate::Config::max_pending_reads) reads wait already.
    #[error("too many reads are waiting")]
    TooManyPending,
    /// This node has taken as many reads as one life can tell apart, about four thousand million.
    #[error("this node has taken as many reads as it can tell apart; start it anew")]
    NoTokenLeft,
}

/// Why a read that was taken is not answered.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReadDropped {
    /// Nobody could confirm it in time. It may be asked again.
    #[error("no leader has confirmed the read in time")]
    TimedOut,
}

/// Why no snapshot was asked for.
#[derive(Clone, Debug, Error, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RequestSnapshotError {
    /// The node has stopped.
    #[error(transparent)]
    Halted(#[from] Halted),
    /// Nobody is known to ask: this node leads itself, or knows no leader.
    #[error("there is no leader to ask")]
    NoLeader,
    /// One is being installed.
    #[error("a snapshot is being installed")]
    InstallingSnapshot,
}

/// Why an acknowledgement was refused.
#[derive(Clone, Debug, Error, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AcknowledgeError {
    /// The node has stopped.
    #[error(transparent)]
    Halted(#[from] Halted),
    /// No `Ready` of this number has been handed out.
    #[error("no ready of number {0} has been handed out")]
    NoSuchReady(u64),
    /// The snapshot at this index is not persisted yet. A state machine that is ahead of the log
    /// would be taken, after a crash, for a proof that the log is committed so far.
    #[error("the snapshot at {0} is to be persisted before the state machine is restored from it")]
    NotPersisted(LogIndex),
    /// The index has not been handed out to be applied.
    #[error("index {index} was not handed out to be applied; the last one was {handed_out}")]
    NotHandedOut {
        /// The index reported.
        index: LogIndex,
        /// The last one handed out.
        handed_out: LogIndex,
    },
}

/// Why a membership change was not applied. The membership is as it was.
#[derive(Clone, Debug, Error, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChangeError {
    /// The node has stopped.
    #[error(transparent)]
    Halted(#[from] Halted),
    /// The node has not been told whom its cluster began with, so a change means nothing to it.
    /// Taken for a whole membership, a single added voter could elect itself.
    #[error(
        "the node does not know the membership that this changes; \
         start it with the cluster's first voters, or from a snapshot"
    )]
    NoMembership,
    /// The change is impossible from the current membership.
    #[error("the membership change is impossible: {0}")]
    Membership(#[from] MembershipError),
}
