//! A [`Storage`] in memory, for tests, examples and as a model of how one behaves.
//!
//! Owns its log and the snapshot before it. Wrong calls are errors, never panics, and leave it as
//! it was. It never pretends to have a snapshot that nobody gave it.

use alloc::collections::VecDeque;

use thiserror::Error;

use super::{EntriesRequest, InitialState, Storage, StorageError};
use crate::entry::{Entries, Entry, Snapshot};
use crate::membership::ConfState;
use crate::types::{HardState, LogId, LogIndex, NodeId, Term};

/// A log, hard state and snapshot in memory.
///
/// Everything written counts as durable at once. To model a disk that lags, write later; to model
/// a crash, keep a clone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct MemStorage {
    hard_state: HardState,
    /// The membership as of the entry before the first; [`set_conf_state`](Self::set_conf_state)
    /// moves it forward with the applied state.
    conf_state: ConfState,
    /// The entry before the first of `entries`; what is at or below it has been compacted.
    before_first: LogId,
    entries: VecDeque<Entry>,
    snapshot: Option<Snapshot>,
}

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
        Self::default()
    }

    /// An empty log on a node of the cluster of these voters. Every one of them starts like this.
    #[must_use]
    pub fn with_voters(voters: impl IntoIterator<Item = NodeId>) -> Self {
        Self {
            conf_state: ConfState::of_voters(voters),
            ..Self::default()
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
            entries: VecDeque::new(),
            snapshot: Some(snapshot),
        }
    }

    /// The hard state.
    #[must_use]
    pub const fn hard_state(&self) -> HardState {
        self.hard_state
    }

    /// Replaces the hard state.
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
    pub const fn saved_snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_ref()
    }

    /// Writes entries, which take the place of those at and after the first of them.
    ///
    /// # Errors
    ///
    /// [`MemStorageError::NotContiguous`].
    pub fn append(&mut self, entries: &[Entry]) -> Result<(), MemStorageError> {
        let Some(first) = entries.first() else {
            return Ok(());
        };
        let first = first.index();
        let contiguous = first > self.before_first.index
            && first <= self.last_index_or_snapshot().next()
            && entries
                .iter()
                .zip(first.0..)
                .all(|(entry, index)| entry.id.index.0 == index);
        if !contiguous {
            let last = self.last_index_or_snapshot();
            return Err(MemStorageError::NotContiguous { first, last });
        }
        self.entries
            .truncate(self.position(first).unwrap_or(usize::MAX));
        self.entries.extend(entries.iter().cloned());
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
        self.entries.clear();
        self.before_first = last;
        self.hard_state.commit_index = self.hard_state.commit_index.max(last.index);
        self.conf_state = snapshot.conf_state.clone();
        self.snapshot = Some(snapshot);
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
        self.snapshot = Some(snapshot);
        Ok(())
    }

    /// Forgets the entries up to and including `index`, which a snapshot must cover.
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
        self.drop_through(index);
        self.before_first = LogId { term, index };
        Ok(())
    }

    fn drop_through(&mut self, index: LogIndex) {
        while self
            .entries
            .front()
            .is_some_and(|entry| entry.id.index <= index)
        {
            self.entries.pop_front();
        }
    }

    fn last_index_or_snapshot(&self) -> LogIndex {
        self.entries
            .back()
            .map_or(self.before_first.index, Entry::index)
    }

    /// Where the entry with this index stands or would stand in `entries`.
    fn position(&self, index: LogIndex) -> Option<usize> {
        let offset = index
            .0
            .checked_sub(self.before_first.index.0)?
            .checked_sub(1)?;
        usize::try_from(offset).ok()
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
        let first = self
            .position(request.first)
            .ok_or(StorageError::Compacted)?;
        let last = self.position(request.last).ok_or(StorageError::Compacted)?;
        if first > last || last >= self.entries.len() {
            return Err(StorageError::Unavailable);
        }
        let mut bytes = 0_u64;
        let entries = self
            .entries
            .range(first..=last)
            .enumerate()
            .take_while(|(position, entry)| {
                bytes = bytes.saturating_add(entry.size_bytes());
                *position == 0 || bytes <= request.max_bytes
            })
            .map(|(_, entry)| entry.clone());
        Ok(entries.collect())
    }

    fn term(&self, index: LogIndex) -> Result<Term, StorageError> {
        if index == self.before_first.index {
            return Ok(self.before_first.term);
        }
        let position = self.position(index).ok_or(StorageError::Compacted)?;
        self.entries
            .get(position)
            .map(|entry| entry.id.term)
            .ok_or(StorageError::Unavailable)
    }

    fn first_index(&self) -> Result<LogIndex, StorageError> {
        Ok(self.before_first.index.next())
    }

    fn last_index(&self) -> Result<LogIndex, StorageError> {
        Ok(self.last_index_or_snapshot())
    }

    fn snapshot(&self, request_index: LogIndex, _to: NodeId) -> Result<Snapshot, StorageError> {
        match &self.snapshot {
            Some(snapshot) if snapshot.last_included.index >= request_index => Ok(snapshot.clone()),
            // Whoever runs the state machine saves one in due course.
            Some(_) | None => Err(StorageError::TemporarilyUnavailable),
        }
    }
}
