//! The words everything else is said in: node ids, terms, log positions, the hard state.
//!
//! Owns the plain values of Figure 2 of the Raft paper. Knows nothing of anything else. Read first:
//! nothing; this is the bottom.

use core::fmt;
use core::num::{NonZeroU64, ParseIntError};
use core::ops::Add;
use core::str::FromStr;

/// The identity of a node, unique within its cluster for all time.
///
/// Never zero, so an `Option<NodeId>` is exactly the paper's *votedFor*.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(NonZeroU64);

impl NodeId {
    /// The id with this number, or `None` for zero, which names no node.
    #[must_use]
    pub const fn new(id: u64) -> Option<Self> {
        match NonZeroU64::new(id) {
            Some(id) => Some(Self(id)),
            None => None,
        }
    }

    /// The id as a number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

impl From<NonZeroU64> for NodeId {
    fn from(id: NonZeroU64) -> Self {
        Self(id)
    }
}

/// Reads what [`Display`](fmt::Display) writes; zero is no id.
impl FromStr for NodeId {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        text.parse().map(Self)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A term: Raft's logical clock (Raft 5.1). Zero is the time before the first election.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(pub u64);

impl Term {
    /// The time before the first election.
    pub const ZERO: Self = Self(0);
    /// The largest term that a message may carry. Half the range stays free, so that no arithmetic
    /// on a term from the network can overflow.
    pub const MAX: Self = Self(u64::MAX >> 1);

    /// The term after this one; the largest number stays what it is.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Debug for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A position in the log. The first entry has index 1; zero is the position before it.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogIndex(pub u64);

impl LogIndex {
    /// The position before the first entry.
    pub const ZERO: Self = Self(0);
    /// The largest index that a message may carry; see [`Term::MAX`].
    pub const MAX: Self = Self(u64::MAX >> 1);

    /// The position after this one; the largest number stays what it is.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The position before this one; zero stays zero.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// How many positions lie after `earlier`, up to and including this one; zero if none do.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The position so many further on, at most the largest number.
impl Add<u64> for LogIndex {
    type Output = Self;

    fn add(self, count: u64) -> Self {
        Self(self.0.saturating_add(count))
    }
}

impl fmt::Debug for LogIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for LogIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The term and index of an entry, which together name it for good (Log Matching, Raft 5.3).
///
/// The order of the fields matters: the derived order is the rule by which one log is
/// more up-to-date than another (Raft 5.4.1).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId {
    /// The term in which a leader created the entry.
    pub term: Term,
    /// The entry's position.
    pub index: LogIndex,
}

impl LogId {
    /// The position before the first entry.
    pub const ZERO: Self = Self {
        term: Term::ZERO,
        index: LogIndex::ZERO,
    };

    /// The log id of these two numbers.
    #[must_use]
    pub const fn new(term: u64, index: u64) -> Self {
        Self {
            term: Term(term),
            index: LogIndex(index),
        }
    }

    /// Whether this can be a place in a log: either [`LogId::ZERO`], or a term and an index that
    /// are both above zero and at most their maxima.
    #[must_use]
    #[inline]
    pub const fn is_position(self) -> bool {
        (self.term.0 == 0) == (self.index.0 == 0)
            && self.term.0 <= Term::MAX.0
            && self.index.0 <= LogIndex::MAX.0
    }
}

impl fmt::Debug for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Written `term/index`, as in etcd/raft's logs.
impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.term, self.index)
    }
}

/// What a node must find again after a restart, beside its log (Figure 2, persistent state).
///
/// The term and the vote decide safety at any time. The commit index spares a restarted node from
/// learning it anew, and the last of it may be lost; but not what was handed out before a write
/// that is durable. A node whose log holds the end of a membership change, and which does not know that
/// its beginning is committed, could campaign among those who have no votes any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct HardState {
    /// The latest term the node has seen (*currentTerm*).
    pub current_term: Term,
    /// Whom it voted for in that term (*votedFor*).
    pub voted_for: Option<NodeId>,
    /// The highest index known to be committed (*commitIndex*).
    pub commit_index: LogIndex,
}
