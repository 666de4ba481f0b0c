//! What a node tells of itself while it works: values handed to one observer.
//!
//! Owns [`Event`], [`Observer`] and the place where a node keeps its observer. Knows no log and no
//! format; the sink for slog is in `event/slog.rs`. Nothing that is told here is an obligation, so
//! whoever does not listen loses nothing.

#[cfg(feature = "slog")]
mod slog;

use alloc::sync::Arc;
use core::fmt;
use core::hash::{Hash, Hasher};

#[cfg(feature = "slog")]
pub use self::slog::SlogObserver;
use crate::error::{CampaignError, Halted, StepError, TransferOutcome};
use crate::membership::Membership;
use crate::message::MessageKind;
use crate::status::RoleKind;
use crate::types::{LogId, LogIndex, NodeId, Term};

/// A change of state worth telling. What happens with every entry is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The node has a new role, or the same one in a new term.
    RoleChanged {
        /// The role.
        role: RoleKind,
        /// The current term.
        term: Term,
    },
    /// Somebody else leads.
    LeaderFound {
        /// The leader.
        leader: NodeId,
        /// The term it leads.
        term: Term,
    },
    /// An election was due, and the node did not stand for it.
    CampaignRefused(&'a CampaignError),
    /// A leader has not heard from a quorum for an election timeout.
    QuorumLost {
        /// The term it leads, or led.
        term: Term,
    },
    /// A new leader's log has taken the place of entries that were not committed.
    LogTruncated {
        /// The last entry that was kept.
        kept: LogIndex,
    },
    /// A snapshot was sent.
    SnapshotSent {
        /// To whom.
        peer: NodeId,
        /// What it covers.
        last_included: LogId,
    },
    /// A snapshot is to take the place of the log.
    SnapshotAccepted {
        /// What it covers.
        last_included: LogId,
    },
    /// A membership is in force.
    MembershipChanged(&'a Membership),
    /// A transfer that was asked for here has ended.
    TransferEnded(&'a TransferOutcome),
    /// Leadership was handed over: this node leads no more.
    HandedOver {
        /// To whom.
        successor: NodeId,
    },
    /// Somebody has sent what makes no sense.
    MessageRefused {
        /// The sender.
        from: NodeId,
        /// What it sent.
        kind: MessageKind,
        /// Why it was refused.
        error: &'a StepError,
    },
    /// The node has stopped for good.
    Halted(&'a Halted),
}

/// Whoever wants to know what a node does. Must not block for long, and cannot answer.
pub trait Observer: Send + Sync {
    /// Something has happened on this node.
    fn on_event(&self, node: NodeId, event: &Event<'_>);
}

/// The observer of a node, if it has one. No part of the node's identity: clones share it.
#[derive(Clone, Default)]
pub(crate) struct Observing(pub(crate) Option<Arc<dyn Observer>>);

impl fmt::Debug for Observing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "observed"
        } else {
            "not observed"
        })
    }
}

impl PartialEq for Observing {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Observing {}

impl Hash for Observing {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}
