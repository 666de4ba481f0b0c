//! Storage conformance: whether a log store does what a node relies on.
//!
//! Owns the traits by which an embedder's store is put under test, and the list of what is tested.
//! Must not know any store.
//!
//! # How to test a store
//!
//! Implement [`Subject`] for a type in your tests: how your store is opened at a [`Place`], how it
//! writes what a `Ready` asks for, keeps a snapshot, and compacts. Then run a [`Suite`]:
//!
//! ```
//! use almadia::{ConfState, LogIndex, MemStorage, Snapshot, Storage};
//! # use almadia::{Entries, EntriesRequest, InitialState, NodeId, StorageError, Term};
//! use almadia_harness::storage::{Shared, StoreError, Subject, Suite, Write};
//!
//! /// Your store: here one in memory, whose "disk" is a value that outlives it.
//! struct MyStore {
//!     memory: MemStorage,
//!     disk: Shared<Option<MemStorage>>,
//! }
//! # impl Storage for MyStore {
//! #     fn initial_state(&self) -> Result<InitialState, StorageError> { self.memory.initial_state() }
//! #     fn entries(&self, request: &EntriesRequest) -> Result<Entries, StorageError> { self.memory.entries(request) }
//! #     fn term(&self, index: LogIndex) -> Result<Term, StorageError> { self.memory.term(index) }
//! #     fn first_index(&self) -> Result<LogIndex, StorageError> { self.memory.first_index() }
//! #     fn last_index(&self) -> Result<LogIndex, StorageError> { self.memory.last_index() }
//! #     fn snapshot(&self, request_index: LogIndex, to: NodeId) -> Result<Snapshot, StorageError> { self.memory.snapshot(request_index, to) }
//! # }
//! // impl Storage for MyStore { .. }
//!
//! struct MyStoreUnderTest;
//!
//! impl Subject for MyStoreUnderTest {
//!     type Store = MyStore;
//!     type Place = Shared<Option<MemStorage>>;
//!
//!     fn open(&self, disk: &Self::Place, members: &ConfState) -> Result<MyStore, StoreError> {
//!         let new = || MemStorage::with_voters(members.voters.iter().copied());
//!         let mut memory = disk.lock().clone().unwrap_or_else(new);
//!         // The state machine starts from the last snapshot, and the membership with it.
//!         if let Some(snapshot) = memory.saved_snapshot().cloned() {
//!             memory.set_conf_state(snapshot.conf_state);
//!         }
//!         Ok(MyStore { memory, disk: disk.clone() })
//!     }
//!
//!     fn write(&self, store: &mut MyStore, write: &Write) -> Result<(), StoreError> {
//!         write.apply_to(&mut store.memory)?;
//!         *store.disk.lock() = Some(store.memory.clone());
//!         Ok(())
//!     }
//!
//!     fn save_snapshot(&self, store: &mut MyStore, snapshot: &Snapshot) -> Result<(), StoreError> {
//!         store.memory.save_snapshot(snapshot.clone())?;
//!         *store.disk.lock() = Some(store.memory.clone());
//!         Ok(())
//!     }
//!
//!     fn compact(&self, store: &mut MyStore, through: LogIndex) -> Result<(), StoreError> {
//!         if through >= store.first_index()? {
//!             store.memory.compact(through)?;
//!             *store.disk.lock() = Some(store.memory.clone());
//!         }
//!         Ok(())
//!     }
//! }
//!
//! match Suite::default().run_all(&MyStoreUnderTest) {
//!     Ok(report) => println!("{report}"),
//!     Err(failures) => panic!("{failures}"),
//! }
//! ```
//!
//! A store on files is tested best on a [`SimDisk`]: if its own code reaches files through a small
//! layer (a trait with open, read, write, rename, sync), implement that layer for `SimDisk` and
//! [`SimFile`], and every operation becomes a boundary at which it is crashed. A store that cannot
//! be given another disk, a database for example, is tested in a [`Directory`] of real files. What
//! has means of its own to crash implements [`Place`]. `harness/tests/storage/` has a store that is
//! tested in both ways, and near fifty stores with one bug each, with the case that finds it.
//!
//! # What is tested
//!
//! * [`Suite::functional`]: a case with a name for each thing that the contract of
//!   [`almadia::Storage`] and [`almadia::Ready`] says, small and large.
//! * [`Suite::random`]: random writes, snapshots, compactions and openings, against a reference. A
//!   sequence that fails is made as short as it can be, and tells its seed.
//! * [`Suite::crashes`]: the same, crashed at every boundary. What `must_sync` asked for is there,
//!   what came later is there or not, write by write and in order; a node starts; the store goes on
//!   and is crashed again.
//! * [`Suite::errors`]: reads fail under a node, which stops and does no harm; reads and writes fail
//!   under the store, which says so.
//!
//! A [`Failure`] names the case, the [`Clause`] of the contract, what it asks for, what was found,
//! and every step that led there. A [`Report`] tells how much was done: look at it once, because a
//! place that cannot crash has nothing found on it.
//!
//! In production, or in a debug build of it, [`CheckedStorage`] watches what a store answers to its
//! node.

mod checked;
mod clause;
mod compare;
mod crashes;
mod directory;
mod errors;
mod failing;
mod failure;
mod functional;
mod memory;
mod model;
mod node;
mod place;
mod plan;
mod sequence;
mod session;
mod sim_disk;
mod suite;

use std::error::Error;

use almadia::{
    ConfState, Entries, HardState, LogIndex, MemStorage, MemStorageError, Ready, Snapshot, Storage,
};

pub use self::checked::{Breach, CheckedStorage};
pub use self::clause::Clause;
pub use self::directory::Directory;
pub use self::failing::FailingReads;
pub use self::failure::{Failure, Failures, Report};
pub use self::memory::{MemStore, MemSubject};
pub use self::place::{Crash, Faults, Place, Shared, Unsynced};
pub use self::sim_disk::{SimDisk, SimFile};
pub use self::suite::Suite;

/// Whatever goes wrong in a store under test.
pub type StoreError = Box<dyn Error + Send + Sync>;

/// What one [`Ready`] asks to be persisted: one atomic write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Write {
    /// To take the place of the stored log. Comes before `entries`, which follow it then.
    pub snapshot: Option<Snapshot>,
    /// To be written to the log, run by run, in the place of what is there from the first new index
    /// on.
    pub entries: Vec<Entries>,
    /// To be stored, if it has changed.
    pub hard_state: Option<HardState>,
    /// Whether it must be durable when the call returns. A write without it has at most a hard state
    /// in which only the commit index is new.
    pub must_sync: bool,
}

impl Write {
    /// What is to be persisted of a `Ready`, which keeps it.
    #[must_use]
    pub fn of(ready: &Ready) -> Self {
        Self {
            snapshot: ready.snapshot.as_deref().cloned(),
            entries: ready.entries.clone(),
            hard_state: ready.hard_state,
            must_sync: ready.must_sync,
        }
    }

    /// Does it with a store in memory.
    ///
    /// # Errors
    ///
    /// If it does not suit what is there; part of it may be done then.
    pub fn apply_to(&self, memory: &mut MemStorage) -> Result<(), MemStorageError> {
        if let Some(snapshot) = &self.snapshot {
            memory.install_snapshot(snapshot.clone())?;
        }
        for run in &self.entries {
            memory.append(run)?;
        }
        if let Some(hard_state) = self.hard_state {
            memory.set_hard_state(hard_state);
        }
        Ok(())
    }
}

/// A log store under test, as its embedder uses it.
///
/// Each method does what the embedder's own code does at that point; the suite calls them as a node
/// and its run loop would. An error of a method fails the case, unless the suite made reads or
/// writes fail.
pub trait Subject {
    /// What the node reads from.
    type Store: Storage;
    /// Where the store keeps its data.
    type Place: Place;

    /// Opens the store that is at this place. If there is none yet (nor one that was half made when
    /// the process crashed), makes one: an empty log on a node of a cluster that began with
    /// `members`, or on one that waits to be told by a snapshot, if that is empty.
    ///
    /// The suite's state machine starts from the last snapshot, saved or installed, so the
    /// membership that [`Storage::initial_state`] tells is the one in it, or `members` if there is
    /// none.
    ///
    /// # Errors
    ///
    /// If it cannot be opened.
    fn open(&self, place: &Self::Place, members: &ConfState) -> Result<Self::Store, StoreError>;

    /// Does one write. When it returns it is seen, and durable if it must be.
    ///
    /// # Errors
    ///
    /// If it is not known to be done; the store is not used any more then.
    fn write(&self, store: &mut Self::Store, write: &Write) -> Result<(), StoreError>;

    /// Does several writes, none of which is acknowledged before the others are done, as an
    /// asynchronous disk does. A crash leaves the first so many of them. If yours puts them
    /// together, say how; otherwise they are done one by one.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    fn write_many(&self, store: &mut Self::Store, writes: &[Write]) -> Result<(), StoreError> {
        writes.iter().try_for_each(|write| self.write(store, write))
    }

    /// Keeps a snapshot of the own state machine, later than the one before, and durable when this
    /// returns. The log stays as it is.
    ///
    /// # Errors
    ///
    /// If it is not known to be done; the store is not used any more then.
    fn save_snapshot(&self, store: &mut Self::Store, snapshot: &Snapshot)
    -> Result<(), StoreError>;

    /// Compacts the log up to and including `through`. Nothing is left to do if that is done
    /// already. What no snapshot covers stays: asked to go beyond that, refuse, or go no further.
    /// A crash may undo it.
    ///
    /// # Errors
    ///
    /// If it is refused.
    fn compact(&self, store: &mut Self::Store, through: LogIndex) -> Result<(), StoreError>;

    /// Whether [`compact`](Self::compact) may keep entries that it need not, for example because
    /// whole files are removed and nothing less.
    fn compacts_lazily(&self) -> bool {
        false
    }

    /// The files with ends that are not synced, in a [`Directory`]. Without it the suite takes for
    /// durable there whatever was written.
    fn unsynced(&self, store: &Self::Store) -> Vec<Unsynced> {
        let _ = store;
        Vec::new()
    }

    /// The store has said that something is temporarily unavailable: waits a little, or does what
    /// is done in the background.
    fn wait(&self, store: &Self::Store) {
        let _ = store;
    }
}
