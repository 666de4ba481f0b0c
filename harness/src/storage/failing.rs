//! A wrapper that makes reads of a `Storage` fail.
//!
//! Owns the counting of reads. Must not know who reads.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use almadia::{
    Entries, EntriesRequest, InitialState, LogIndex, NodeId, Snapshot, Storage, StorageError, Term,
};

/// A [`Storage`] of which reads fail on demand: to see that a node stops, and that its embedder
/// does what is right then.
#[derive(Debug)]
pub struct FailingReads<S> {
    storage: S,
    reads: AtomicU64,
    fails_after: u64,
}

impl<S> FailingReads<S> {
    /// After so many reads every one fails with [`StorageError::Other`]; with [`u64::MAX`] none
    /// does.
    #[must_use]
    pub const fn after(reads: u64, storage: S) -> Self {
        Self {
            storage,
            reads: AtomicU64::new(0),
            fails_after: reads,
        }
    }

    /// How many reads there were.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// The storage itself.
    #[must_use]
    pub const fn inner(&self) -> &S {
        &self.storage
    }

    /// The storage itself, to write to it.
    pub const fn inner_mut(&mut self) -> &mut S {
        &mut self.storage
    }

    /// The storage itself.
    #[must_use]
    pub fn into_inner(self) -> S {
        self.storage
    }

    /// The error with which reads fail.
    #[must_use]
    pub fn error() -> StorageError {
        StorageError::other(io::Error::other("made to fail by the test"))
    }

    fn count(&self) -> Result<&S, StorageError> {
        if self.reads.fetch_add(1, Ordering::Relaxed) < self.fails_after {
            Ok(&self.storage)
        } else {
            Err(Self::error())
        }
    }
}

impl<S: Storage> Storage for FailingReads<S> {
    fn initial_state(&self) -> Result<InitialState, StorageError> {
        self.count()?.initial_state()
    }

    fn entries(&self, request: &EntriesRequest) -> Result<Entries, StorageError> {
        self.count()?.entries(request)
    }

    fn term(&self, index: LogIndex) -> Result<Term, StorageError> {
        self.count()?.term(index)
    }

    fn first_index(&self) -> Result<LogIndex, StorageError> {
        self.count()?.first_index()
    }

    fn last_index(&self) -> Result<LogIndex, StorageError> {
        self.count()?.last_index()
    }

    fn snapshot(&self, request_index: LogIndex, to: NodeId) -> Result<Snapshot, StorageError> {
        self.count()?.snapshot(request_index, to)
    }
}
