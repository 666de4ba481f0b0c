//! Where a store under test keeps its data, and what a crash leaves of it.
//!
//! Owns the trait [`Place`], the switch by which reads and writes are made to fail, and the
//! simplest place, a value in memory. Files stand in `sim_disk.rs` and `directory.rs`. Must not
//! know what is stored.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::StoreError;

/// What outlives the process of a store: files, simulated ones, or whatever else.
///
/// A handle: clones and the store itself share what is behind it. The suite makes a new place for
/// each case, and opens stores on it one after the other.
///
/// The suite crashes a store without its help. It calls [`begin`](Self::begin), does something with
/// the store, and takes what crashes would have left since: other places, on which stores are
/// opened while the first one goes on.
///
/// [`SimDisk`](super::SimDisk) is the place that crashes most thoroughly,
/// [`Directory`](super::Directory) is one of real files, [`Shared`] a value in memory. Implement it
/// for what you have, for example for a database whose own test-kit can drop what is not synced.
pub trait Place: Sized {
    /// A place on which nothing is.
    ///
    /// # Errors
    ///
    /// If there cannot be one.
    fn empty() -> Result<Self, StoreError>;

    /// What follows is one action, of which crashes are asked for.
    fn begin(&self) {}

    /// How many different crashes there are of what was done since [`begin`](Self::begin). At least
    /// one: of the process, after all that was done.
    fn crashes(&self, unsynced: &[Unsynced]) -> usize;

    /// What the crash of this number leaves. The place that is asked is not changed.
    ///
    /// # Errors
    ///
    /// If it cannot be made.
    fn crash(&self, number: usize, unsynced: &[Unsynced]) -> Result<Crash<Self>, StoreError>;

    /// The switch that makes reads and writes here fail, if the store asks one.
    fn faults(&self) -> Option<&Faults> {
        None
    }
}

/// What a crash has left.
#[derive(Debug)]
pub struct Crash<P> {
    /// Where a store is to be opened.
    pub place: P,
    /// Which crash it was, for reports.
    pub what: String,
    /// Whether the action had returned. If not, it may have been done or not.
    pub is_after: bool,
}

/// A file whose end has not been synced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsynced {
    /// The file, below the directory of the store.
    pub file: PathBuf,
    /// Up to here its bytes are on the disk.
    pub synced_bytes: u64,
}

/// The switch that makes reads and writes fail. Clones share it.
///
/// A [`SimDisk`](super::SimDisk) asks it by itself. A store on something else may ask it wherever it
/// reads and writes, in tests.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    armed: Arc<Mutex<Armed>>,
}

#[derive(Debug, Default)]
struct Armed {
    reads_left: Option<u64>,
    writes_left: Option<u64>,
    struck: u64,
}

impl Faults {
    /// After so many more reads every one fails.
    pub fn fail_reads_after(&self, count: u64) {
        locked(&self.armed).reads_left = Some(count);
    }

    /// After so many more writes and fsyncs every one fails.
    pub fn fail_writes_after(&self, count: u64) {
        locked(&self.armed).writes_left = Some(count);
    }

    /// Nothing fails any more. Returns how many reads and writes have.
    #[allow(clippy::must_use_candidate, reason = "it is called for what it does")]
    pub fn end(&self) -> u64 {
        std::mem::take(&mut *locked(&self.armed)).struck
    }

    /// To be asked before a read.
    ///
    /// # Errors
    ///
    /// If the read is to fail.
    pub fn before_read(&self) -> io::Result<()> {
        let armed = &mut *locked(&self.armed);
        Self::count_down(&mut armed.reads_left, &mut armed.struck)
    }

    /// To be asked before a write, an fsync, and any other change.
    ///
    /// # Errors
    ///
    /// If the write is to fail.
    pub fn before_write(&self) -> io::Result<()> {
        let armed = &mut *locked(&self.armed);
        Self::count_down(&mut armed.writes_left, &mut armed.struck)
    }

    fn count_down(left: &mut Option<u64>, struck: &mut u64) -> io::Result<()> {
        match left {
            None => Ok(()),
            Some(0) => {
                *struck += 1;
                Err(io::Error::other("made to fail by the test"))
            }
            Some(count) => {
                *count -= 1;
                Ok(())
            }
        }
    }
}

/// A place in memory: one value, which is durable as soon as it is there.
///
/// For a store without a disk, or one whose disk is modelled by a value of its own. The process may
/// be crashed between two actions.
#[derive(Clone, Debug, Default)]
pub struct Shared<T> {
    value: Arc<Mutex<T>>,
}

impl<T> Shared<T> {
    /// The value, to be looked at or changed. Do not ask for it again before it is let go.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        locked(&self.value)
    }
}

impl<T: Clone + Default> Place for Shared<T> {
    fn empty() -> Result<Self, StoreError> {
        Ok(Self::default())
    }

    fn crashes(&self, _unsynced: &[Unsynced]) -> usize {
        1
    }

    fn crash(&self, _number: usize, _unsynced: &[Unsynced]) -> Result<Crash<Self>, StoreError> {
        let value = self.lock().clone();
        Ok(Crash {
            place: Self {
                value: Arc::new(Mutex::new(value)),
            },
            what: "the process ends".into(),
            is_after: true,
        })
    }
}

/// A panic elsewhere leaves nothing here half done.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
