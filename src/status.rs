//! A node as seen from outside, for people and for monitoring.
//!
//! Owns [`Status`] and its cheap part. Copies; looking at them changes nothing.

use alloc::vec::Vec;
use core::fmt;
use core::ops::Deref;

use crate::membership::Membership;
use crate::progress::Progress;
use crate::types::{LogId, LogIndex, NodeId, Term};

/// The role of a node (Raft 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RoleKind {
    /// Answers leaders and candidates.
    Follower,
    /// Asks whether an election makes sense (Thesis 9.6).
    PreCandidate,
    /// Asks for votes.
    Candidate,
    /// Takes proposals and replicates them.
    Leader,
}

impl fmt::Display for RoleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Follower => "follower",
            Self::PreCandidate => "pre-candidate",
            Self::Candidate => "candidate",
            Self::Leader => "leader",
        })
    }
}

/// What fits into a few words about a node at one moment; costs no allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct BasicStatus {
    /// The node.
    pub id: NodeId,
    /// Its role.
    pub role: RoleKind,
    /// The leader of the current term, if known.
    pub leader: Option<NodeId>,
    /// *currentTerm*.
    pub current_term: Term,
    /// *votedFor*.
    pub voted_for: Option<NodeId>,
    /// *commitIndex*.
    pub commit_index: LogIndex,
    /// *lastApplied*, as reported by the embedder. After a restart it may be beyond the commit
    /// index, which need not have been persisted with it; the leader tells it anew.
    pub last_applied: LogIndex,
    /// The last entry of the log, persisted or not.
    pub last_log: LogId,
    /// The log is durable here up to this index.
    pub persisted_index: LogIndex,
    /// On a leader, to whom it is to hand leadership, if it is.
    pub transferee: Option<NodeId>,
}

/// Everything about a node at one moment. Reads like its basic part.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Status {
    /// The part that costs no allocation.
    pub basic: BasicStatus,
    /// The membership as applied here.
    pub membership: Membership,
    /// On a leader, what it knows of every other member, ascending by id; else empty.
    pub progress: Vec<(NodeId, Progress)>,
}

impl Deref for Status {
    type Target = BasicStatus;

    fn deref(&self) -> &BasicStatus {
        &self.basic
    }
}
