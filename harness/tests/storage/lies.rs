//! A store that holds what it should, and gives wrong answers.
//!
//! Owns the lies. Must not know what they are found by.

use std::cell::Cell;

use almadia::{
    Bytes, ConfState, Entries, EntriesRequest, Entry, InitialState, LogId, LogIndex, NodeId,
    Payload, Snapshot, Storage, StorageError, Term,
};
use almadia_harness::storage::{MemStore, MemSubject, StoreError, Subject, Write};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    FirstIndexOneTooLate,
    LastIndexOneTooEarly,
    EmptyLogEndsAtZero,
    IgnoresMaxBytes,
    OneEntryBeyondMaxBytes,
    EmptyAnswer,
    SkipsFirstEntry,
    TermZeroBeforeFirst,
    NoTermBeforeFirst,
    CompactedTermIsUnavailable,
    TermBeyondEndIsCompacted,
    CompactedEntriesAreUnavailable,
    PanicsBeyondEnd,
    InventsEntries,
    OldSnapshot,
    NoSnapshotIsAnError,
    SnapshotForOnePeerOnly,
    SnapshotLosesMembership,
    StartsWithFirstMembers,
    StateIsToldOnce,
}

/// A sound store behind a lie.
pub(crate) struct Liar {
    store: MemStore,
    members: ConfState,
    was_asked: Cell<bool>,
    lie: Lie,
}

impl Liar {
    fn tells(&self, lie: Lie) -> bool {
        self.lie == lie
    }
}

impl Storage for Liar {
    fn initial_state(&self) -> Result<InitialState, StorageError> {
        if self.was_asked.replace(true) && self.tells(Lie::StateIsToldOnce) {
            return Err(StorageError::Unavailable);
        }
        let mut state = self.store.initial_state()?;
        if self.tells(Lie::StartsWithFirstMembers) {
            state.conf_state = self.members.clone();
        }
        Ok(state)
    }

    fn entries(&self, request: &EntriesRequest) -> Result<Entries, StorageError> {
        let mut request = *request;
        let last = self.store.last_index()?;
        let is_beyond = request.last > last;
        let is_there = request.first >= self.store.first_index()?;
        assert!(
            !is_beyond || !self.tells(Lie::PanicsBeyondEnd),
            "there are no such entries"
        );
        if is_beyond && is_there && self.tells(Lie::InventsEntries) {
            let id = LogId::new(1, request.first.0);
            let (payload, context) = (Payload::Data(Bytes::new()), Bytes::new());
            let invented = Entry {
                id,
                payload,
                context,
            };
            return Ok(vec![invented].into());
        }
        if self.tells(Lie::IgnoresMaxBytes) {
            request.max_bytes = u64::MAX;
        }
        if self.tells(Lie::SkipsFirstEntry) && is_there && request.first < request.last {
            request.first = request.first.next();
        }
        let honest = match self.store.entries(&request) {
            Err(StorageError::Compacted) if self.tells(Lie::CompactedEntriesAreUnavailable) => {
                return Err(StorageError::Unavailable);
            }
            honest => honest?,
        };
        if self.tells(Lie::EmptyAnswer) && honest.size_bytes() > request.max_bytes {
            return Ok(Entries::empty());
        }
        let ends = honest.last_id().map_or(last, |id| id.index);
        if self.tells(Lie::OneEntryBeyondMaxBytes) && ends < request.last {
            request.max_bytes = u64::MAX;
            return Ok(self.store.entries(&request)?.slice(0, honest.len() + 1));
        }
        Ok(honest)
    }

    fn term(&self, index: LogIndex) -> Result<Term, StorageError> {
        let is_before_first = index.next() == self.store.first_index()?;
        if is_before_first && self.tells(Lie::TermZeroBeforeFirst) {
            return Ok(Term::ZERO);
        }
        if is_before_first && self.tells(Lie::NoTermBeforeFirst) && index > LogIndex::ZERO {
            return Err(StorageError::Compacted);
        }
        let term = self.store.term(index);
        if term == Err(StorageError::Compacted) && self.tells(Lie::CompactedTermIsUnavailable) {
            return Err(StorageError::Unavailable);
        }
        if term == Err(StorageError::Unavailable) && self.tells(Lie::TermBeyondEndIsCompacted) {
            return Err(StorageError::Compacted);
        }
        term
    }

    fn first_index(&self) -> Result<LogIndex, StorageError> {
        let is_late = self.tells(Lie::FirstIndexOneTooLate);
        Ok(self.store.first_index()? + u64::from(is_late))
    }

    fn last_index(&self) -> Result<LogIndex, StorageError> {
        let last = self.store.last_index()?;
        let before = self.store.first_index()?.previous();
        if self.tells(Lie::EmptyLogEndsAtZero) && last == before {
            return Ok(LogIndex::ZERO);
        }
        if self.tells(Lie::LastIndexOneTooEarly) {
            return Ok(last.previous().max(before));
        }
        Ok(last)
    }

    fn snapshot(&self, request_index: LogIndex, to: NodeId) -> Result<Snapshot, StorageError> {
        if self.tells(Lie::OldSnapshot) {
            return self.store.snapshot(LogIndex::ZERO, to);
        }
        let mut snapshot = match self.store.snapshot(request_index, to) {
            Err(_) if self.tells(Lie::NoSnapshotIsAnError) => {
                return Err(StorageError::Unavailable);
            }
            honest => honest?,
        };
        if self.tells(Lie::SnapshotForOnePeerOnly) && to.get() == 3 {
            return Err(StorageError::TemporarilyUnavailable);
        }
        if self.tells(Lie::SnapshotLosesMembership) {
            snapshot.conf_state = self.members.clone();
        }
        Ok(snapshot)
    }
}

/// The store in memory, telling this lie.
pub(crate) struct Lying(pub(crate) Lie);

impl Subject for Lying {
    type Store = Liar;
    type Place = <MemSubject as Subject>::Place;

    fn open(&self, place: &Self::Place, members: &ConfState) -> Result<Liar, StoreError> {
        Ok(Liar {
            store: MemSubject.open(place, members)?,
            members: members.clone(),
            was_asked: Cell::new(false),
            lie: self.0,
        })
    }

    fn write(&self, store: &mut Liar, write: &Write) -> Result<(), StoreError> {
        MemSubject.write(&mut store.store, write)
    }

    fn save_snapshot(&self, store: &mut Liar, snapshot: &Snapshot) -> Result<(), StoreError> {
        MemSubject.save_snapshot(&mut store.store, snapshot)
    }

    fn compact(&self, store: &mut Liar, through: LogIndex) -> Result<(), StoreError> {
        MemSubject.compact(&mut store.store, through)
    }
}
