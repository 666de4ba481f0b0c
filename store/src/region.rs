//! A region: a range of keys that is replicated as one Raft group.
//!
//! Owns its id, its range and who its members are. Knows nothing of what is stored in it.

use std::collections::BTreeMap;
use std::fmt;

use almadia::{ConfState, HardState, LogId, NodeId};
use almadia_proto::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// A region's id. It is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RegionId(pub u64);

impl RegionId {
    /// The region that a cluster begins with, which holds all keys.
    pub const FIRST: Self = Self(1);
}

impl fmt::Display for RegionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The place in its log at which each region begins, at all members that it begins with. It is not
/// the very beginning, so that whoever joins later is sent a snapshot: what the region begins with
/// is in no entry.
pub const BEGIN: LogId = LogId::new(1, 1);

/// The hard state with which a region begins at a node that may have voted already.
#[must_use]
pub const fn begins_with(voted: HardState) -> HardState {
    let mut begins = voted;
    if begins.current_term.0 < BEGIN.term.0 {
        begins.current_term = BEGIN.term;
    }
    begins.commit_index = BEGIN.index;
    begins
}

/// Where a node can be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// By its peers.
    pub peer: String,
    /// By clients; empty if it is not known yet.
    pub client: String,
}

/// A range of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRange {
    /// The first key.
    pub start: Vec<u8>,
    /// The first key behind it; `None` if it has no end.
    pub end: Option<Vec<u8>>,
}

impl KeyRange {
    /// Whether the key lies in it.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        self.start.as_slice() <= key && self.end.as_deref().is_none_or(|end| key < end)
    }

    /// Whether a key lies in both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.end.as_ref().is_none_or(|end| other.start < *end)
            && other.end.as_ref().is_none_or(|end| self.start < *end)
    }
}

/// What the state machine knows of a region, as of its last applied entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Region {
    /// Its id.
    pub id: RegionId,
    /// Its keys.
    pub range: KeyRange,
    /// Counts how often the range has changed.
    pub version: u64,
    /// How many numbered writes of clients it has seen.
    pub numbered_writes: u64,
    /// How many clients it remembers.
    pub sessions: u64,
    /// Whether it has forgotten any.
    pub has_forgotten: bool,
    /// Its members' addresses, by node.
    pub addresses: BTreeMap<u64, Address>,
    applied: (u64, u64),
    membership: Vec<u8>,
}

impl Region {
    /// A region as it begins.
    #[must_use]
    pub fn new(
        id: RegionId,
        range: KeyRange,
        membership: &ConfState,
        addresses: BTreeMap<u64, Address>,
    ) -> Self {
        let mut region = Self {
            id,
            range,
            version: 1,
            numbered_writes: 0,
            sessions: 0,
            has_forgotten: false,
            addresses,
            applied: (0, 0),
            membership: Vec::new(),
        };
        region.set_applied(BEGIN);
        region.set_membership(membership);
        region
    }

    /// The last entry that it contains.
    #[must_use]
    pub const fn applied(&self) -> LogId {
        LogId::new(self.applied.0, self.applied.1)
    }

    /// It contains the entries up to this one.
    pub const fn set_applied(&mut self, id: LogId) {
        self.applied = (id.term.0, id.index.0);
    }

    /// The membership as of that entry.
    ///
    /// # Errors
    ///
    /// If what was stored is none.
    pub fn membership(&self) -> Result<ConfState, almadia_proto::DecodeError> {
        ConfState::decode(self.membership.clone().into())
    }

    /// Whether the node is a member.
    #[must_use]
    pub fn has_member(&self, id: NodeId) -> bool {
        self.membership().is_ok_and(|membership| {
            let ConfState {
                voters,
                learners,
                voters_outgoing,
                ..
            } = membership;
            [voters, learners, voters_outgoing]
                .iter()
                .any(|members| members.contains(&id))
        })
    }

    /// It has this membership.
    pub fn set_membership(&mut self, membership: &ConfState) {
        self.membership = membership.encode().to_vec();
    }
}
