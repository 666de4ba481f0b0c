//! A storage whose answers may be late, or fail.
//!
//! Owns the choice between the storage's answer and none. Must not know what is stored.

use std::cell::Cell;

use almadia::{
    Entries, EntriesRequest, InitialState, LogIndex, NodeId, Snapshot, Storage, StorageError, Term,
};

/// How a storage answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Answers {
    /// As it should.
    #[default]
    Sound,
    /// Entries and snapshots have to be fetched first.
    Later,
    /// It cannot be read.
    Failing,
}

/// A storage, and how it answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unreliable<S> {
    inner: S,
    answers: Cell<Answers>,
}

impl<S> Unreliable<S> {
    /// This storage, with sound answers.
    pub(crate) const fn new(inner: S) -> Self {
        Self {
            inner,
            answers: Cell::new(Answers::Sound),
        }
    }

    /// The storage itself.
    #[must_use]
    pub const fn inner(&self) -> &S {
        &self.inner
    }

    pub(crate) const fn inner_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Changes how it answers. Returns how it has until now.
    pub(crate) fn set_answers(&self, answers: Answers) -> Answers {
        self.answers.replace(answers)
    }

    /// How it answers.
    #[cfg(feature = "raft-rs")]
    pub(crate) fn answers(&self) -> Answers {
        self.answers.get()
    }

    /// Whether the storage may be asked at all.
    fn readable(&self) -> Result<&S, StorageError> {
        match self.answers.get() {
            Answers::Sound | Answers::Later => Ok(&self.inner),
            Answers::Failing => Err(StorageError::other(std::io::Error::other("a bad sector"))),
        }
    }

    /// Whether it may be asked for what it could have to fetch.
    fn at_hand(&self) -> Result<&S, StorageError> {
        match self.answers.get() {
            Answers::Later => Err(StorageError::TemporarilyUnavailable),
            Answers::Sound | Answers::Failing => self.readable(),
        }
    }
}

impl<S: Storage> Storage for Unreliable<S> {
    fn initial_state(&self) -> Result<InitialState, StorageError> {
        self.readable()?.initial_state()
    }

    fn entries(&self, request: &EntriesRequest) -> Result<Entries, StorageError> {
        self.at_hand()?.entries(request)
    }

    fn term(&self, index: LogIndex) -> Result<Term, StorageError> {
        self.readable()?.term(index)
    }

    fn first_index(&self) -> Result<LogIndex, StorageError> {
        self.readable()?.first_index()
    }

    fn last_index(&self) -> Result<LogIndex, StorageError> {
        self.readable()?.last_index()
    }

    fn snapshot(&self, request_index: LogIndex, to: NodeId) -> Result<Snapshot, StorageError> {
        self.at_hand()?.snapshot(request_index, to)
    }
}
