//! Ways into the layers that are no part of the API, for this workspace's benches. (Feature `layers`.)
//!
//! Owns the rounds that are measured: each does what a node does with that layer, in the same order, and
//! leaves nothing behind that grows. Decides nothing. May change at any time.

use alloc::vec::Vec;

use crate::entry::{Entries, Entry};
use crate::error::StartError;
use crate::log::Log;
use crate::progress::{Inflight, Progress};
use crate::storage::{MemStorage, Storage, StorageError};
use crate::types::{LogId, LogIndex};

/// A log on a `MemStorage`, and what is handed out of it.
#[derive(Debug)]
pub struct LogLayer {
    log: Log<MemStorage>,
    to_persist: Vec<Entries>,
    to_apply: Vec<Entries>,
}

impl LogLayer {
    /// The log of this storage, applied up to there.
    ///
    /// # Errors
    ///
    /// If the storage holds no such log.
    pub fn new(storage: MemStorage, applied: LogId) -> Result<Self, StartError> {
        let hard_state = storage.initial_state()?.hard_state;
        Ok(Self {
            log: Log::open(storage, &hard_state, applied, false)?,
            to_persist: Vec::new(),
            to_apply: Vec::new(),
        })
    }

    /// The leader's round: entries are proposed; they are handed out, stored, committed, handed out to be
    /// applied, applied, and released. They continue the log.
    ///
    /// # Errors
    ///
    /// If the storage fails.
    pub fn propose(&mut self, batch: impl IntoIterator<Item = Entry>) -> Result<(), StorageError> {
        for entry in batch {
            self.log
                .append_proposal(entry.id.term, || (entry.payload, entry.context));
        }
        self.commit()
    }

    /// The follower's round: the same with a run that the leader has sent.
    ///
    /// # Errors
    ///
    /// As [`propose`](Self::propose).
    pub fn receive(&mut self, mut run: Entries) -> Result<(), StorageError> {
        self.log.append_from_leader(&mut run)?;
        self.commit()
    }

    fn commit(&mut self) -> Result<(), StorageError> {
        if let Some(persisted) = self.log.take_unpersisted(&mut self.to_persist) {
            for run in self.to_persist.drain(..) {
                let stored = self.log.storage_mut().append(&run);
                stored.map_err(|_| StorageError::Contract("entries continue the log"))?;
            }
            self.log.commit_to(persisted);
            let applied =
                self.log
                    .take_unapplied(persisted, persisted, u64::MAX, &mut self.to_apply)?;
            self.log.applied_to(applied.unwrap_or_default());
            self.log.release(persisted, persisted.next(), u64::MAX);
            self.to_apply.clear();
        }
        Ok(())
    }

    /// The highest index that was reported as applied.
    #[must_use]
    pub const fn last_applied(&self) -> LogIndex {
        self.log.last_applied()
    }

    /// The storage, to be compacted.
    pub const fn storage_mut(&mut self) -> &mut MemStorage {
        self.log.storage_mut()
    }
}

/// What a leader knows of a peer whose log agrees with its own.
#[derive(Debug)]
pub struct ProgressLayer(Progress);

impl ProgressLayer {
    /// A peer with a log up to there.
    #[must_use]
    pub fn replicating(match_index: LogIndex) -> Self {
        let mut progress = Progress::new(match_index.next());
        progress.accepted(match_index, true);
        Self(progress)
    }

    /// See `Progress::sent`.
    #[inline]
    pub fn sent(&mut self, last: LogIndex, bytes: u64) {
        self.0.sent(last, bytes);
    }

    /// See `Progress::accepted`.
    #[inline]
    pub fn accepted(&mut self, index: LogIndex) {
        self.0.accepted(index, true);
    }

    /// See [`Progress::match_index`].
    #[must_use]
    #[inline]
    pub const fn match_index(&self) -> LogIndex {
        self.0.match_index()
    }
}

/// The window of messages on their way to one peer.
#[derive(Debug, Default)]
pub struct InflightLayer(Inflight);

impl InflightLayer {
    /// See `Inflight::add`.
    #[inline]
    pub fn add(&mut self, last: LogIndex, bytes: u64) {
        self.0.add(last, bytes);
    }

    /// See `Inflight::free_through`.
    #[inline]
    pub fn free_through(&mut self, index: LogIndex) {
        self.0.free_through(index);
    }

    /// See [`Inflight::is_full`].
    #[must_use]
    #[inline]
    pub fn is_full(&self, max_messages: usize) -> bool {
        self.0.is_full(max_messages, u64::MAX)
    }
}
