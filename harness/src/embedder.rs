//! What an embedder brings: a log store and a state machine.
//!
//! Owns the two interfaces through which the simulator drives them, and those it drives if nobody
//! brings any. Must not know when anything is called.

use std::fmt::{self, Debug};

use almadia::{
    Bytes, ConfState, Entries, HardState, LogId, LogIndex, MemStorage, MemStorageError, Snapshot,
    Storage,
};

use crate::checker::{REGISTERS, register_of};
use crate::digest::Digest;

/// A log store and a state machine for which a whole cluster can be simulated.
///
/// ```
/// use almadia::{Bytes, LogId, MemStorage};
/// use almadia_harness::{Cluster, Embedder, Machine, Profile, run_with};
///
/// /// A counter of bytes.
/// #[derive(Clone, Debug, Default, PartialEq)]
/// struct Counter(u64);
///
/// impl Machine for Counter {
///     fn apply(&mut self, _: LogId, _: &[u8], data: &[u8]) {
///         self.0 += data.len() as u64;
///     }
///     fn save(&self) -> Bytes {
///         Bytes::from(self.0.to_be_bytes().to_vec())
///     }
///     fn restore(saved: &[u8]) -> Option<Self> {
///         Some(Self(u64::from_be_bytes(saved.try_into().ok()?)))
///     }
/// }
///
/// #[derive(Clone, Copy, Debug)]
/// struct Mine;
///
/// impl Embedder for Mine {
///     type Store = MemStorage;
///     type Machine = Counter;
/// }
///
/// run_with::<Mine>(42, &Profile::faulty("counters", 3)).expect("no promise is broken");
/// ```
pub trait Embedder: Copy + Debug + 'static {
    /// The log store.
    type Store: Store;
    /// The state machine.
    type Machine: Machine;
}

/// A log store, as the simulator writes it. A clone is what a crash leaves: the simulator keeps one
/// that has been told only what is durable. (A store on files, whose own crashes are of interest,
/// is tested by the storage suite.)
pub trait Store: Storage + Clone + Debug + PartialEq {
    /// What its writes end with if they do not succeed.
    type Error: fmt::Display;

    /// An empty log, on a node of a cluster that began with these members.
    fn of_members(conf_state: ConfState) -> Self;

    /// Installs a snapshot that a [`Ready`](almadia::Ready) carries.
    ///
    /// # Errors
    ///
    /// If it cannot; the run fails then.
    fn install_snapshot(&mut self, snapshot: Snapshot) -> Result<(), Self::Error>;

    /// Writes entries that a [`Ready`](almadia::Ready) carries.
    ///
    /// # Errors
    ///
    /// If it cannot; the run fails then.
    fn append(&mut self, entries: &Entries) -> Result<(), Self::Error>;

    /// Writes a hard state.
    fn set_hard_state(&mut self, hard_state: HardState);

    /// The hard state as written last.
    fn hard_state(&self) -> HardState;

    /// The membership as of the last entry that the state machine has applied, at a start.
    fn set_conf_state(&mut self, conf_state: ConfState);

    /// Keeps a snapshot of the own state machine.
    ///
    /// # Errors
    ///
    /// If it cannot; the run fails then.
    fn save_snapshot(&mut self, snapshot: Snapshot) -> Result<(), Self::Error>;

    /// Compacts the log up to and including `through`.
    ///
    /// # Errors
    ///
    /// If it cannot; the run fails then.
    fn compact(&mut self, through: LogIndex) -> Result<(), Self::Error>;
}

/// A state machine, as the simulator runs it.
///
/// What it does must follow from the commands alone. Two machines that were told the same are
/// compared by what they [`save`](Self::save).
pub trait Machine: Clone + Debug + Default + PartialEq {
    /// Applies a command: an entry's context and data.
    fn apply(&mut self, id: LogId, context: &[u8], data: &[u8]);

    /// The whole state.
    fn save(&self) -> Bytes;

    /// The state that was saved; `None` if this is none.
    fn restore(saved: &[u8]) -> Option<Self>;

    /// A number that differs where states differ.
    fn digest(&self) -> u64 {
        Digest::of(&self.save())
    }

    /// What a random run proposes: the context and the data of a command that has this number, as
    /// no other has, and about so many bytes beside it.
    fn command(number: u64, padding: usize) -> (Bytes, Bytes) {
        let mut data = number.to_be_bytes().to_vec();
        data.resize(data.len() + padding, 0);
        (Bytes::from_static(b"write"), data.into())
    }

    /// If the command of number `n` writes `n` into register `n % 4`, what that register holds:
    /// then reads are checked against the writes, too. `None` if it is another kind of machine.
    fn register(&self, register: usize) -> Option<u64> {
        let _ = register;
        None
    }
}

/// What is simulated if nobody brings anything: [`MemStorage`], and a few registers.
#[derive(Clone, Copy, Debug)]
pub struct Simulated;

impl Embedder for Simulated {
    type Store = MemStorage;
    type Machine = Registers;
}

impl Store for MemStorage {
    type Error = MemStorageError;

    fn of_members(conf_state: ConfState) -> Self {
        let mut storage = Self::new();
        storage.set_conf_state(conf_state);
        storage
    }

    fn install_snapshot(&mut self, snapshot: Snapshot) -> Result<(), Self::Error> {
        self.install_snapshot(snapshot)
    }

    fn append(&mut self, entries: &Entries) -> Result<(), Self::Error> {
        self.append(entries)
    }

    fn set_hard_state(&mut self, hard_state: HardState) {
        self.set_hard_state(hard_state);
    }

    fn hard_state(&self) -> HardState {
        self.hard_state()
    }

    fn set_conf_state(&mut self, conf_state: ConfState) {
        self.set_conf_state(conf_state);
    }

    fn save_snapshot(&mut self, snapshot: Snapshot) -> Result<(), Self::Error> {
        self.save_snapshot(snapshot)
    }

    fn compact(&mut self, through: LogIndex) -> Result<(), Self::Error> {
        self.compact(through)
    }
}

/// A few registers, each of which holds the last number written to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Registers([u64; REGISTERS]);

impl Machine for Registers {
    fn apply(&mut self, _: LogId, context: &[u8], data: &[u8]) {
        if context == b"write" {
            if let Some(number) = data.first_chunk() {
                let number = u64::from_be_bytes(*number);
                self.0[register_of(number)] = number;
            }
        }
    }

    fn save(&self) -> Bytes {
        self.0
            .iter()
            .flat_map(|number| number.to_be_bytes())
            .collect()
    }

    fn restore(saved: &[u8]) -> Option<Self> {
        let numbers = saved.chunks(8).map(|bytes| bytes.try_into().ok());
        let numbers: Option<Vec<u64>> =
            numbers.map(|bytes| bytes.map(u64::from_be_bytes)).collect();
        Some(Self(numbers?.try_into().ok()?))
    }

    fn digest(&self) -> u64 {
        Digest::of(&self.0)
    }

    fn register(&self, register: usize) -> Option<u64> {
        self.0.get(register).copied()
    }
}
