//! The door to the embedder's disk: what the core reads of the log, and on which terms.
//!
//! Owns the [`Storage`] trait, its contract and its errors. Knows nothing of roles or messages. The
//! core only reads; the embedder writes, when a [`Ready`](crate::Ready) asks for it.

mod memory;

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::sync::Arc;
use core::error::Error as StdError;
use core::hash::{Hash, Hasher};

use thiserror::Error;

pub use self::memory::{MemStorage, MemStorageError};
use crate::entry::{Entries, Snapshot};
use crate::membership::ConfState;
use crate::types::{HardState, LogIndex, NodeId, Term};

/// What a node finds when it starts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct InitialState {
    /// The last hard state that was persisted; the default if there never was one.
    pub hard_state: HardState,
    /// The membership as of [`Config::applied`](crate::Config::applied), or as of the snapshot
    /// where that is later; empty if the node has not been told yet whom it belongs to.
    pub conf_state: ConfState,
}

/// What entries are wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Purpose {
    /// To be sent to this peer, which is catching up.
    Send(NodeId),
    /// To be applied here.
    Apply,
    /// To be looked at: for membership changes that are committed and not applied, or for how many
    /// bytes are not committed.
    Scan,
}

/// A wish for entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct EntriesRequest {
    /// The first index wanted.
    pub first: LogIndex,
    /// The last index wanted.
    pub last: LogIndex,
    /// The answer stops before its [`Entry::size_bytes`](crate::Entry::size_bytes) go beyond this,
    /// but holds at least one entry. It may stop earlier. The node cuts off what is too much, but
    /// the memory has been spent then.
    pub max_bytes: u64,
    /// What they are wanted for.
    pub purpose: Purpose,
}

impl EntriesRequest {
    /// A wish for the entries from `first` to `last`.
    #[must_use]
    pub const fn new(first: LogIndex, last: LogIndex, max_bytes: u64, purpose: Purpose) -> Self {
        Self {
            first,
            last,
            max_bytes,
            purpose,
        }
    }
}

/// How the node reads what the embedder has persisted.
///
/// # Contract
///
/// * The log is a run of entries from [`first_index`](Self::first_index) to
///   [`last_index`](Self::last_index) without a hole, behind a snapshot (or nothing) that ends at
///   `first_index - 1`. An empty log has `last_index == first_index - 1`.
/// * An answer reflects every write that was acknowledged through
///   [`RawNode::persisted`](crate::RawNode::persisted), and may reflect later ones.
/// * What it shows when a node starts is durable, the commit index apart: the node counts it as
///   persisted, and speaks for it. After the end of a process the system may still hold what was
///   written without an fsync, and lose it later; so a store that opens makes an fsync of what it
///   finds.
/// * Only the embedder changes it: it appends what a `Ready` carries (entries that are there
///   already from the first new index on are replaced), installs its snapshot, and compacts.
/// * A position may be compacted away once it is applied, covered by a snapshot that is durable,
///   and covered by the commit index of a hard state that is durable. Compaction needs no word to
///   the node.
/// * Methods return errors; they do not panic.
///
/// A node whose `Storage` fails or breaks this contract stops working and says why: see
/// [`Halted`](crate::Halted). The two answers that are not failures are
/// [`StorageError::Compacted`] for what compaction removed, and
/// [`StorageError::TemporarilyUnavailable`] where a method allows it.
pub trait Storage {
    /// The state to start from. Asked once.
    ///
    /// # Errors
    ///
    /// Whatever keeps the state from being read; the node does not start.
    fn initial_state(&self) -> Result<InitialState, StorageError>;

    /// The entries asked for, or a prefix of them that is not empty.
    ///
    /// # Errors
    ///
    /// [`StorageError::Compacted`] if `first` is below [`first_index`](Self::first_index),
    /// [`StorageError::TemporarilyUnavailable`] if they have to be fetched first (the node asks
    /// again later), anything else if they cannot be read.
    fn entries(&self, request: &EntriesRequest) -> Result<Entries, StorageError>;

    /// The term of the entry at `index`, which is between `first_index - 1` and `last_index`.
    ///
    /// # Errors
    ///
    /// [`StorageError::Compacted`] for an index below `first_index - 1`,
    /// [`StorageError::Unavailable`] for one beyond `last_index`, anything else if it cannot be
    /// read.
    fn term(&self, index: LogIndex) -> Result<Term, StorageError>;

    /// The index of the first entry that is still there, or would be there if the log were not
    /// empty.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    fn first_index(&self) -> Result<LogIndex, StorageError>;

    /// The index of the last entry; `first_index - 1` if the log is empty.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    fn last_index(&self) -> Result<LogIndex, StorageError>;

    /// A snapshot of an applied state that reaches at least to `request_index`, for the peer `to`.
    /// `request_index` may be beyond every snapshot that there is: then a new one is to be made.
    /// It carries the membership as of its last entry, so one made before `to` was added does not
    /// make `to` a member: what the log still holds behind it does, or a newer snapshot.
    ///
    /// # Errors
    ///
    /// [`StorageError::TemporarilyUnavailable`] while it is being made (the node asks again
    /// later), anything else if there cannot be one.
    fn snapshot(&self, request_index: LogIndex, to: NodeId) -> Result<Snapshot, StorageError>;
}

macro_rules! forward_storage {
    ($($pointer:ty),*) => {$(
        impl<T: Storage + ?Sized> Storage for $pointer {
            fn initial_state(&self) -> Result<InitialState, StorageError> {
                (**self).initial_state()
            }

            fn entries(&self, request: &EntriesRequest) -> Result<Entries, StorageError> {
                (**self).entries(request)
            }

            fn term(&self, index: LogIndex) -> Result<Term, StorageError> {
                (**self).term(index)
            }

            fn first_index(&self) -> Result<LogIndex, StorageError> {
                (**self).first_index()
            }

            fn last_index(&self) -> Result<LogIndex, StorageError> {
                (**self).last_index()
            }

            fn snapshot(&self, request_index: LogIndex, to: NodeId) -> Result<Snapshot, StorageError> {
                (**self).snapshot(request_index, to)
            }
        }
    )*};
}

// A node may own its storage behind a pointer, also one of a kind that is known only at run time.
forward_storage!(Box<T>, Arc<T>, &T);

/// Why a [`Storage`] did not answer.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The position was compacted away.
    #[error("the position asked for has been compacted")]
    Compacted,
    /// The position is beyond the end of the log.
    #[error("the position asked for is beyond the end of the log")]
    Unavailable,
    /// Not now; ask again.
    #[error("temporarily unavailable")]
    TemporarilyUnavailable,
    /// The answer broke the contract of [`Storage`]; found by the node.
    #[error("the Storage broke its contract: {0}")]
    Contract(&'static str),
    /// The disk, or whatever is behind the trait, failed.
    #[error("the Storage failed: {0}")]
    Other(Arc<dyn StdError + Send + Sync>),
}

impl StorageError {
    /// Wraps an error of the embedder's own.
    pub fn other(error: impl StdError + Send + Sync + 'static) -> Self {
        Self::Other(Arc::new(error))
    }
}

/// Foreign errors are equal when they read the same.
impl PartialEq for StorageError {
    fn eq(&self, other: &Self) -> bool {
        core::mem::discriminant(self) == core::mem::discriminant(other)
            && self.to_string() == other.to_string()
    }
}

impl Eq for StorageError {}

impl Hash for StorageError {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.to_string().hash(state);
    }
}
