//! [`MemStorage`] as a subject: the simplest one, and the one that the suite must find nothing in.
//!
//! Owns how a store in memory outlives its process. Must not know what is tested.

use almadia::{
    ConfState, Entries, EntriesRequest, InitialState, LogIndex, MemStorage, MemStorageError,
    NodeId, Snapshot, Storage, StorageError, Term,
};

use super::place::Shared;
use super::{StoreError, Subject, Write};

/// Puts a [`MemStorage`] under test.
#[derive(Clone, Copy, Debug, Default)]
pub struct MemSubject;

/// A [`MemStorage`] and the durable copy of it.
#[derive(Clone, Debug)]
pub struct MemStore {
    memory: MemStorage,
    durable: Shared<Option<MemStorage>>,
}

impl MemStore {
    /// Changes the store, and makes that durable.
    fn change(
        &mut self,
        change: impl FnOnce(&mut MemStorage) -> Result<(), MemStorageError>,
    ) -> Result<(), StoreError> {
        change(&mut self.memory)?;
        *self.durable.lock() = Some(self.memory.clone());
        Ok(())
    }
}

impl Subject for MemSubject {
    type Store = MemStore;
    type Place = Shared<Option<MemStorage>>;

    fn open(&self, place: &Self::Place, members: &ConfState) -> Result<MemStore, StoreError> {
        let mut memory = place.lock().clone().unwrap_or_else(|| {
            let mut memory = MemStorage::new();
            memory.set_conf_state(members.clone());
            memory
        });
        if let Some(snapshot) = memory.saved_snapshot().cloned() {
            memory.set_conf_state(snapshot.conf_state);
        }
        Ok(MemStore {
            memory,
            durable: place.clone(),
        })
    }

    fn write(&self, store: &mut MemStore, write: &Write) -> Result<(), StoreError> {
        store.change(|memory| write.apply_to(memory))
    }

    fn save_snapshot(&self, store: &mut MemStore, snapshot: &Snapshot) -> Result<(), StoreError> {
        store.change(|memory| memory.save_snapshot(snapshot.clone()))
    }

    fn compact(&self, store: &mut MemStore, through: LogIndex) -> Result<(), StoreError> {
        if through < store.memory.first_index()? {
            return Ok(());
        }
        store.change(|memory| memory.compact(through))
    }
}

impl Storage for MemStore {
    fn initial_state(&self) -> Result<InitialState, StorageError> {
        self.memory.initial_state()
    }

    fn entries(&self, request: &EntriesRequest) -> Result<Entries, StorageError> {
        self.memory.entries(request)
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
        self.memory.snapshot(request_index, to)
    }
}
