//! A [`Storage`] in memory, for tests, examples and as a model of how one behaves.
//!
//! Owns its log and the snapshot before it. Wrong calls are errors, never panics, and leave it as
//! it was. It never pretends to have a snapshot that nobody gave it.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::hash::{Hash, Hasher};

use thiserror::Error;

use super::{EntriesRequest, InitialState, Storage, StorageError};
use crate::entry::{Entries, Entry, Snapshot};
use crate::membership::ConfState;
use crate::runs::Runs;
use crate::types::{HardState, LogId, LogIndex, NodeId, Term};

/// A log, hard state and snapshot in memory.
///
/// Everything written counts as durable at once. To model a disk that lags, write later; to model
/// a crash, keep a clone.
///
/// Entries stay in the runs in which they were written, and share their memory. Only short runs are copied,
/// together with others, to answer who asks for many entries.
#[derive(Clone)]
pub struct MemStorage {
    hard_state: HardState,
    /// The membership as of the entry before the first; [`set_conf_state`](Self::set_conf_state)
    /// moves it forward with the applied state.
    conf_state: ConfState,
    /// The entry before the first; what is at or below it has been compacted.
    before_first: LogId,
    entries: Runs,
    /// Boxed, for most stores of an idle group have none.
    snapshot: Option<Box<Snapshot>>,
}

/// A run of so many entries is an answer by itself, and shared: to copy it together with others costs more
/// than to be asked again.
const WORTH_SHARING: u64 = 32;

/// About so many entries are copied at most to answer with several shorter runs: what is larger than
/// a hundred kilobytes costs more to get from the system, and to give back, than to ask for twice.
const MAX_JOINED: u64 = 1024;

/// A call of [`MemStorage`] that cannot be carried out; nothing was changed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MemStorageError {
    /// The entries would leave a hole, reach below the compacted part, or do not follow each other.
    #[error("entries from {first} do not continue a log that ends at {last}")]
    NotContiguous {
        /// The first index that was to be written.
        first: LogIndex,
        /// The last index of the log.
        last: LogIndex,
    },
    /// The index is not in the log.
    #[error("index {0} is not in the log")]
    NoSuchIndex(LogIndex),
    /// The snapshot is older than what is already compacted.
    #[error("a snapshot at {0} is older than the one in place")]
    SnapshotOutOfDate(LogId),
}

impl MemStorage {
    /// An empty log on a node that does not know its cluster, and waits to be told by a snapshot.
    /// A node that joins a cluster whose log is still there from the first entry starts
    /// [`with_voters`](Self::with_voters): those that the cluster began with.
    #[must_use]
    pub fn new() -> Self {
        Self {
            hard_state: HardState::default(),
            conf_state: ConfState::default(),
            before_first: LogId::ZERO,
            entries: Runs::starting_at(LogIndex::ZERO.next()),
            snapshot: None,
        }
    }

    /// An empty log on a node of the cluster of these voters. Every one of them starts like this.
    #[must_use]
    pub fn with_voters(voters: impl IntoIterator<Item = NodeId>) -> Self {
        Self {
            conf_state: ConfState::of_voters(voters),
            ..Self::new()
        }
    }

    /// A log that begins with a snapshot.
    #[must_use]
    pub fn with_snapshot(snapshot: Snapshot) -> Self {
        Self {
            hard_state: HardState {
                current_term: snapshot.last_included.term,
                voted_for: None,
                commit_index: snapshot.last_included.index,
            },
            conf_state: snapshot.conf_state.clone(),
            before_first: snapshot.last_included,
            entries: Runs::starting_at(snapshot.last_included.index.next()),
            snapshot: Some(Box::new(snapshot)),
        }
    }

    /// The hard state.
    #[must_use]
    pub const fn hard_state(&self) -> HardState {
        self.hard_state
    }

    /// Replaces the hard state.
    #[inline]
    pub const fn set_hard_state(&mut self, hard_state: HardState) {
        self.hard_state = hard_state;
    }

    /// Notes the membership for the next start. It must be the one as of
    /// [`Config::applied`](crate::Config::applied) then, so it belongs with the state machine: note
    /// it when the applied state is saved, and take it from the saved snapshot where the state
    /// machine starts from that.
    pub fn set_conf_state(&mut self, conf_state: ConfState) {
        self.conf_state = conf_state;
    }

    /// The snapshot that was saved or installed last, if any.
    #[must_use]
    pub fn saved_snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_deref()
    }

    /// Writes entries, which take the place of those at and after the first of them.
    ///
    /// # Errors
    ///
    /// [`MemStorageError::NotContiguous`].
    #[inline]
    pub fn append(&mut self, entries: impl Into<Entries>) -> Result<(), MemStorageError> {
        let entries = entries.into();
        let [Entry { id, .. }, ..] = &*entries else {
            return Ok(());
        };
        let first = id.index;
        let contiguous = first > self.before_first.index
            && first + entries.count() <= LogIndex::MAX.next()
            && first <= self.last_index_or_snapshot().next()
            && entries
                .iter()
                .zip(first.0..)
                .all(|(entry, index)| entry.id.index.0 == index);
        if !contiguous {
            let last = self.last_index_or_snapshot();
            return Err(MemStorageError::NotContiguous { first, last });
        }
        if first <= self.last_index_or_snapshot() {
            self.entries.truncate_from(first);
        }
        self.entries.push_run(first, entries);
        Ok(())
    }

    /// Takes a snapshot in place of the whole log. Entries behind it go too. A node hands out a
    /// snapshot only if its log does not hold the snapshot's last entry, and then none of what
    /// follows is its own any more; or if it asked for one, and then nothing follows, for it takes
    /// no entries until the snapshot is there.
    ///
    /// # Errors
    ///
    /// [`MemStorageError::SnapshotOutOfDate`] if the log begins behind it.
    pub fn install_snapshot(&mut self, snapshot: Snapshot) -> Result<(), MemStorageError> {
        let last = snapshot.last_included;
        let is_entry = last.is_position() && last != LogId::ZERO;
        if last.index < self.before_first.index || !is_entry {
            return Err(MemStorageError::SnapshotOutOfDate(last));
        }
        self.entries.restart_at(last.index.next());
        self.before_first = last;
        self.hard_state.commit_index = self.hard_state.commit_index.max(last.index);
        self.conf_state = snapshot.conf_state.clone();
        self.snapshot = Some(Box::new(snapshot));
        Ok(())
    }

    /// Keeps a snapshot of the own state machine, to be sent to peers that are too far behind. The
    /// log is not touched; [`compact`](Self::compact) does that.
    ///
    /// # Errors
    ///
    /// [`MemStorageError::NoSuchIndex`] if its last entry is not in the log.
    pub fn save_snapshot(&mut self, snapshot: Snapshot) -> Result<(), MemStorageError> {
        let last = snapshot.last_included;
        if last == LogId::ZERO || self.term(last.index) != Ok(last.term) {
            return Err(MemStorageError::NoSuchIndex(last.index));
        }
        self.snapshot = Some(Box::new(snapshot));
        Ok(())
    }

    /// Forgets the entries up to and including `index`, which a snapshot must cover. Some of the room
    /// that they took in the log's index is kept for those to come.
    ///
    /// # Errors
    ///
    /// [`MemStorageError::NoSuchIndex`] if the index is beyond the saved snapshot or not in the
    /// log.
    pub fn compact(&mut self, index: LogIndex) -> Result<(), MemStorageError> {
        let covered = self
            .snapshot
            .as_ref()
            .is_some_and(|snapshot| index <= snapshot.last_included.index);
        let term = self
            .term(index)
            .map_err(|_| MemStorageError::NoSuchIndex(index))?;
        if !covered {
            return Err(MemStorageError::NoSuchIndex(index));
        }
        self.entries.cut_through(index);
        self.before_first = LogId { term, index };
        Ok(())
    }

    #[inline]
    fn last_index_or_snapshot(&self) -> LogIndex {
        self.entries.next().previous()
    }
}

impl Default for MemStorage {
    fn default() -> Self {
        Self::new()
    }
}

/// Shows the entries, and not in which runs they were written.
impl fmt::Debug for MemStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemStorage")
            .field("hard_state", &self.hard_state)
            .field("conf_state", &self.conf_state)
            .field("before_first", &self.before_first)
            .field("entries", &self.entries.iter().collect::<Vec<_>>())
            .field("snapshot", &self.snapshot)
            .finish()
    }
}

/// Stores are equal when they hold the same, in whatever runs it was written.
impl PartialEq for MemStorage {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            hard_state,
            conf_state,
            before_first,
            entries,
            snapshot,
        } = self;
        *hard_state == other.hard_state
            && *conf_state == other.conf_state
            && *before_first == other.before_first
            && entries.iter().eq(other.entries.iter())
            && *snapshot == other.snapshot
    }
}

impl Eq for MemStorage {}

impl Hash for MemStorage {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hard_state.hash(state);
        self.conf_state.hash(state);
        self.before_first.hash(state);
        self.entries.iter().for_each(|entry| entry.hash(state));
        self.snapshot.hash(state);
    }
}

impl Storage for MemStorage {
    fn initial_state(&self) -> Result<InitialState, StorageError> {
        Ok(InitialState {
            hard_state: self.hard_state,
            conf_state: self.conf_state.clone(),
        })
    }

    fn entries(&self, request: &EntriesRequest) -> Result<Entries, StorageError> {
        let &EntriesRequest {
            first,
            last,
            max_bytes,
            ..
        } = request;
        if first.min(last) <= self.before_first.index {
            return Err(StorageError::Compacted);
        }
        if first > last || last > self.last_index_or_snapshot() {
            return Err(StorageError::Unavailable);
        }
        let end_of_run = self.entries.end_of_run(first).unwrap_or(last);
        let end = if end_of_run.next() >= first + WORTH_SHARING {
            end_of_run
        } else {
            first + MAX_JOINED
        };
        let last = last.min(end);
        let mut runs = Vec::new();
        self.entries.read(first, last, max_bytes, &mut runs);
        Ok(Entries::joined(&runs))
    }

    fn term(&self, index: LogIndex) -> Result<Term, StorageError> {
        if index == self.before_first.index {
            return Ok(self.before_first.term);
        }
        if index < self.before_first.index {
            return Err(StorageError::Compacted);
        }
        self.entries.term(index).ok_or(StorageError::Unavailable)
    }

    fn first_index(&self) -> Result<LogIndex, StorageError> {
        Ok(self.before_first.index.next())
    }

    fn last_index(&self) -> Result<LogIndex, StorageError> {
        Ok(self.last_index_or_snapshot())
    }

    fn snapshot(&self, request_index: LogIndex, _to: NodeId) -> Result<Snapshot, StorageError> {
        match &self.snapshot {
            Some(snapshot) if snapshot.last_included.index >= request_index => {
                Ok(Snapshot::clone(snapshot))
            }
            // Whoever runs the state machine saves one in due course.
            Some(_) | None => Err(StorageError::TemporarilyUnavailable),
        }
    }
}
