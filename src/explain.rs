//! Answers to the question why nothing happens.
//!
//! Owns the forms of the answers: structured, so that a program can act on them, and readable.
//! How they are found is in `raft/explain.rs`.

use alloc::vec::Vec;
use core::fmt;

use crate::error::CampaignError;
use crate::types::{LogIndex, NodeId};

/// Why this node knows no leader: [`RawNode::why_no_leader`](crate::RawNode::why_no_leader).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NoLeader {
    /// It hears from no leader, and will campaign when its election timeout has passed.
    WaitsForTimeout {
        /// The ticks until then.
        ticks: u32,
    },
    /// It hears from no leader, and may not campaign itself.
    MayNotCampaign(CampaignError),
    /// It asks for pre-votes (Thesis 9.6).
    AsksForPreVotes(Votes),
    /// It asks for votes (Raft 5.2).
    AsksForVotes(Votes),
    /// It would lead, but its own vote is not on its disk yet.
    OwnVoteUnpersisted,
}

/// How an election stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Votes {
    /// Who said yes, ascending.
    pub granted: Vec<NodeId>,
    /// Who said no, ascending.
    pub refused: Vec<NodeId>,
    /// Who said nothing, ascending.
    pub silent: Vec<NodeId>,
}

/// Why an entry is not committed:
/// [`RawNode::why_not_committing`](crate::RawNode::why_not_committing).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NotCommitting {
    /// The log has no such entry.
    BeyondLog {
        /// Where it ends.
        last_index: LogIndex,
    },
    /// Only a leader knows.
    NotLeader {
        /// Who leads, if known.
        leader: Option<NodeId>,
    },
    /// Too few voters have it on disk. These have not, ascending.
    QuorumLacks(Vec<Behind>),
    /// It is of an earlier term, and commits with the entry that opened this one (Raft 5.4.2).
    /// These voters do not have that on disk, ascending.
    EarlierTerm {
        /// The entry that opened the term.
        term_start: LogIndex,
        /// Who lacks it.
        behind: Vec<Behind>,
    },
    /// A majority has it on disk, but with group commit members of two groups must.
    OneGroupOnly,
}

/// A voter that lacks an entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Behind {
    /// The voter.
    pub voter: NodeId,
    /// Up to here it has acknowledged.
    pub acknowledged: LogIndex,
    /// Whether it has answered lately; true for this node itself.
    pub recently_active: bool,
    /// Why it is sent nothing, if it is not.
    pub paused: Option<Paused>,
}

/// Why a peer is sent no entries: [`RawNode::why_paused`](crate::RawNode::why_paused).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Paused {
    /// A probe is on its way that finds out where the logs part.
    Probing,
    /// So much is on its way already.
    WindowFull {
        /// Messages.
        messages: usize,
        /// Bytes of entries.
        bytes: u64,
    },
    /// A snapshot is on its way.
    Snapshot {
        /// What it covers.
        pending: LogIndex,
    },
    /// The `Storage` fetches the entries or makes the snapshot; or a snapshot is needed, and the
    /// peer was too long silent to be sent one.
    Fetching,
}

impl fmt::Display for Paused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Probing => f.write_str("a probe is on its way"),
            Self::WindowFull { messages, bytes } => {
                write!(f, "{messages} messages with {bytes} bytes are on their way")
            }
            Self::Snapshot { pending } => write!(f, "a snapshot up to {pending} is on its way"),
            Self::Fetching => f.write_str("what is to be sent is being fetched"),
        }
    }
}

impl fmt::Display for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {} has {}", self.voter, self.acknowledged)?;
        if !self.recently_active {
            f.write_str(", does not answer")?;
        }
        match &self.paused {
            Some(paused) => write!(f, ", {paused}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Votes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            granted,
            refused,
            silent,
        } = self;
        write!(f, "yes {granted:?}, no {refused:?}, silent {silent:?}")
    }
}

impl fmt::Display for NoLeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WaitsForTimeout { ticks } => write!(f, "campaigns in {ticks} ticks"),
            Self::MayNotCampaign(reason) => write!(f, "may not campaign: {reason}"),
            Self::AsksForPreVotes(votes) => write!(f, "asks for pre-votes: {votes}"),
            Self::AsksForVotes(votes) => write!(f, "asks for votes: {votes}"),
            Self::OwnVoteUnpersisted => f.write_str("its own vote is not on its disk"),
        }
    }
}

impl fmt::Display for NotCommitting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, behind: &[Behind]| {
            behind.iter().try_for_each(|one| write!(f, "; {one}"))
        };
        match self {
            Self::BeyondLog { last_index } => write!(f, "the log ends at {last_index}"),
            Self::NotLeader { leader: None } => f.write_str("nobody is known to lead"),
            Self::NotLeader { leader: Some(id) } => write!(f, "node {id} leads and knows"),
            Self::QuorumLacks(behind) => {
                f.write_str("too few voters have it on disk")?;
                list(f, behind)
            }
            Self::EarlierTerm { term_start, behind } => {
                write!(f, "it commits with entry {term_start} of the current term")?;
                list(f, behind)
            }
            Self::OneGroupOnly => f.write_str("it is in one group only"),
        }
    }
}
