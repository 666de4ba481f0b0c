//! Stores that are right in an unusual way: none of them may be accused.
//!
//! Owns the ways that the contract leaves open. Must not know what the suite does.

use std::cell::Cell;

use almadia::{
    ConfState, Entries, EntriesRequest, InitialState, LogIndex, MemStorage, MemStorageError,
    NodeId, Snapshot, Storage, StorageError, Term,
};
use almadia_harness::storage::{Shared, StoreError, Subject, Suite, Write};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Habit {
    /// Answers with one entry, whatever may be asked for.
    OneAtATime,
    /// Says first that it has to fetch what is asked for.
    FetchesFirst,
    /// Compacts whole pages of entries, and nothing less.
    CompactsPages,
    /// Has all that was compacted again after an opening.
    ForgetsCompactions,
    /// Has no commit index after an opening that was written without an fsync.
    LosesCommits,
    /// Goes no further where it is asked to compact what is not covered, or is not there.
    CompactsNoFurther,
    /// Without an applied entry there cannot be a snapshot, and it says so.
    KnowsOfNoSnapshot,
}

const PAGE: u64 = 4;

struct Unusual {
    memory: MemStorage,
    /// What an opening finds.
    kept: MemStorage,
    place: Shared<Option<MemStorage>>,
    was_fetched: Cell<bool>,
    habit: Habit,
}

impl Unusual {
    fn change(
        &mut self,
        is_kept: bool,
        change: impl Fn(&mut MemStorage) -> Result<(), MemStorageError>,
    ) -> Result<(), StoreError> {
        change(&mut self.memory)?;
        if is_kept {
            change(&mut self.kept)?;
        }
        *self.place.lock() = Some(self.kept.clone());
        Ok(())
    }

    /// Every second time.
    fn must_be_fetched(&self) -> bool {
        let was_fetched = self.was_fetched.replace(!self.was_fetched.get());
        self.habit == Habit::FetchesFirst && !was_fetched
    }
}

impl Storage for Unusual {
    fn initial_state(&self) -> Result<InitialState, StorageError> {
        self.memory.initial_state()
    }

    fn entries(&self, request: &EntriesRequest) -> Result<Entries, StorageError> {
        let entries = self.memory.entries(request)?;
        if self.must_be_fetched() {
            return Err(StorageError::TemporarilyUnavailable);
        }
        let is_short = self.habit == Habit::OneAtATime;
        Ok(entries.slice(0, if is_short { 1 } else { entries.len() }))
    }

    fn term(&self, index: LogIndex) -> Result<Term, StorageError> {
        self.memory.term(index)
    }

    fn first_index(&self) -> Result<LogIndex, StorageError> {
        self.memory.first_index()
    }

    fn last_index(&self) -> Result<LogIndex, StorageError> {
        self.memory.last_index()
    }

    fn snapshot(&self, request_index: LogIndex, to: NodeId) -> Result<Snapshot, StorageError> {
        let snapshot = self.memory.snapshot(request_index, to);
        if self.memory.saved_snapshot().is_none() && self.habit == Habit::KnowsOfNoSnapshot {
            return Err(StorageError::other(MemStorageError::NoSuchIndex(
                request_index,
            )));
        }
        if snapshot.is_ok() && self.must_be_fetched() {
            return Err(StorageError::TemporarilyUnavailable);
        }
        snapshot
    }
}

struct WithHabit(Habit);

impl Subject for WithHabit {
    type Store = Unusual;
    type Place = Shared<Option<MemStorage>>;

    fn open(&self, place: &Self::Place, members: &ConfState) -> Result<Unusual, StoreError> {
        let mut kept = place.lock().clone().unwrap_or_else(|| {
            let mut memory = MemStorage::new();
            memory.set_conf_state(members.clone());
            memory
        });
        if let Some(snapshot) = kept.saved_snapshot().cloned() {
            kept.set_conf_state(snapshot.conf_state);
        }
        Ok(Unusual {
            memory: kept.clone(),
            kept,
            place: place.clone(),
            was_fetched: Cell::new(false),
            habit: self.0,
        })
    }

    fn write(&self, store: &mut Unusual, write: &Write) -> Result<(), StoreError> {
        let is_kept = write.must_sync || self.0 != Habit::LosesCommits;
        store.change(is_kept, |memory| write.apply_to(memory))?;
        if write.must_sync {
            let hard_state = store.memory.hard_state();
            store.change(true, |memory| {
                memory.set_hard_state(hard_state);
                Ok(())
            })?;
        }
        Ok(())
    }

    fn save_snapshot(&self, store: &mut Unusual, snapshot: &Snapshot) -> Result<(), StoreError> {
        store.change(true, |memory| memory.save_snapshot(snapshot.clone()))
    }

    fn compact(&self, store: &mut Unusual, through: LogIndex) -> Result<(), StoreError> {
        let covered = store.memory.saved_snapshot();
        let covered = covered.map_or(LogIndex::ZERO, |it| it.last_included.index);
        let through = match self.0 {
            Habit::CompactsPages => LogIndex((through.0 + 1) / PAGE * PAGE).previous(),
            Habit::CompactsNoFurther => through.min(covered),
            Habit::OneAtATime
            | Habit::FetchesFirst
            | Habit::ForgetsCompactions
            | Habit::LosesCommits
            | Habit::KnowsOfNoSnapshot => through,
        };
        if through < store.memory.first_index()? {
            return Ok(());
        }
        let is_kept = self.0 != Habit::ForgetsCompactions;
        store.change(is_kept, |memory| memory.compact(through))
    }

    fn compacts_lazily(&self) -> bool {
        self.0 == Habit::CompactsPages
    }
}

fn is_not_accused(habit: Habit) {
    let suite = Suite {
        sequences: 10,
        ..Suite::default()
    };
    match suite.run_all(&WithHabit(habit)) {
        Ok(report) => println!("{habit:?}: {report}"),
        Err(failures) => panic!("{habit:?}: {failures}"),
    }
}

#[test]
fn stores_that_answer_in_their_own_way() {
    is_not_accused(Habit::OneAtATime);
    is_not_accused(Habit::FetchesFirst);
    is_not_accused(Habit::KnowsOfNoSnapshot);
}

#[test]
fn stores_that_compact_in_their_own_way() {
    is_not_accused(Habit::CompactsPages);
    is_not_accused(Habit::ForgetsCompactions);
    is_not_accused(Habit::CompactsNoFurther);
}

#[test]
fn a_store_that_loses_what_was_not_synced() {
    is_not_accused(Habit::LosesCommits);
}
