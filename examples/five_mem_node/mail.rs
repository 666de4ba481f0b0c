//! What the main thread and the nodes write to each other.
//!
//! Owns the vocabulary, and nothing that acts on it: `node.rs` and `show.rs` do.

use std::error::Error;
use std::sync::mpsc::Sender;

use almadia::{
    Bytes, ConfState, LogIndex, MembershipChange, Message, NodeId, RoleKind, Term, TransferOutcome,
};

use crate::machine::StateMachine;

/// An error that can leave its thread.
pub(crate) type AnyError = Box<dyn Error + Send + Sync>;

/// What a node is told.
pub(crate) enum Input {
    /// A message of a peer.
    Message(Message),
    /// Commands of the client, in order.
    Propose(Vec<Request>),
    /// An entry that carries nothing, to take the log one step further.
    ProposeNothing,
    /// Change who belongs to the cluster.
    ChangeMembership(MembershipChange),
    /// Let this node lead.
    TransferLeader { transferee: NodeId },
    /// Tell how many commands have taken effect in the whole cluster, by a linearizable read.
    Read,
    /// The inbox of a peer that has started.
    Connect { peer: NodeId, inbox: Sender<Input> },
    /// Save a snapshot and forget the log before it.
    Compact,
    /// Tell how it is going.
    Report { with_state: bool },
    /// Power off.
    Stop,
}

/// A numbered command in its text form.
pub(crate) struct Request {
    pub(crate) sequence: u64,
    pub(crate) command: Bytes,
}

/// What a node tells the main thread.
pub(crate) enum Event {
    Leading {
        node: NodeId,
        term: Term,
    },
    Answers {
        node: NodeId,
        answers: Vec<Answer>,
    },
    /// Commands were not taken. If the node knows who leads, and which term, it says so.
    Refused {
        node: NodeId,
        leader: Option<(NodeId, Term)>,
    },
    /// The entry at this index has changed the membership to this one.
    MembershipChanged {
        node: NodeId,
        index: LogIndex,
        members: ConfState,
    },
    TransferEnded(TransferOutcome),
    /// A transfer has not even begun.
    TransferRefused {
        reason: String,
    },
    /// The answer to [`Input::Read`].
    ReadAnswered {
        commands: u64,
    },
    SnapshotInstalled {
        node: NodeId,
        index: LogIndex,
        members: ConfState,
    },
    Compacted {
        node: NodeId,
        through: LogIndex,
    },
    Report(Report),
}

/// A command has been applied.
pub(crate) struct Answer {
    pub(crate) sequence: u64,
    pub(crate) text: Option<String>,
}

/// How a node is doing.
pub(crate) struct Report {
    pub(crate) node: NodeId,
    pub(crate) role: RoleKind,
    pub(crate) term: Term,
    pub(crate) commit_index: LogIndex,
    pub(crate) applied: LogIndex,
    /// The state machine, if it was asked for.
    pub(crate) state: Option<StateMachine>,
}
