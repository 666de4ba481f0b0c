//! The state machine that every simulated node runs: it remembers what it was told, as one number.
//!
//! Owns the rolling hash and its form in a snapshot. Must not know nodes, disks or the network.

use almadia::{Bytes, ConfState, Entry, LogId, LogIndex, Payload, Snapshot, Term};

use crate::checker::{REGISTERS, register_of};
use crate::digest::Digest;

/// A rolling hash over everything applied. Two of them are equal exactly if they were told the
/// same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateMachine {
    applied: LogId,
    hash: u64,
    count: u64,
    /// The last number written to each register.
    registers: [u64; REGISTERS],
    conf_state: ConfState,
}

impl StateMachine {
    /// A state machine that has been told nothing, in a cluster with this membership.
    #[must_use]
    pub const fn new(conf_state: ConfState) -> Self {
        Self {
            applied: LogId::ZERO,
            hash: Digest::EMPTY,
            count: 0,
            registers: [0; REGISTERS],
            conf_state,
        }
    }

    /// The context of an entry that writes a register.
    pub(crate) const WRITE: &'static [u8] = b"write";

    /// The data of an entry that writes this number into its register.
    pub(crate) fn write_of(number: u64, padding: usize) -> Vec<u8> {
        let mut data = number.to_be_bytes().to_vec();
        data.resize(data.len() + padding, 0);
        data
    }

    /// The number that an entry writes, if it is one that writes.
    fn written(entry: &Entry) -> Option<u64> {
        match &entry.payload {
            Payload::Data(data) if entry.context == Self::WRITE => {
                data.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
            }
            Payload::Data(_) | Payload::Change(_) => None,
        }
    }

    /// The last number written to a register.
    pub(crate) fn register(&self, register: usize) -> u64 {
        self.registers.get(register).copied().unwrap_or(0)
    }

    /// The last entry applied.
    #[must_use]
    pub const fn applied(&self) -> LogId {
        self.applied
    }

    /// The hash over all entries applied.
    #[must_use]
    pub const fn hash(&self) -> u64 {
        self.hash
    }

    /// How many entries were applied, those in snapshots included.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The membership as of the last entry applied.
    #[must_use]
    pub const fn conf_state(&self) -> &ConfState {
        &self.conf_state
    }

    /// Applies one entry; `conf_state` is the new membership if it changed that.
    pub fn apply(&mut self, entry: &Entry, conf_state: Option<ConfState>) {
        self.applied = entry.id;
        self.hash = Digest::fold(self.hash, entry);
        self.count += 1;
        if let Some(number) = Self::written(entry) {
            self.registers[register_of(number)] = number;
        }
        if let Some(conf_state) = conf_state {
            self.conf_state = conf_state;
        }
    }

    /// The content as a snapshot.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let numbers = [self.hash, self.count].into_iter().chain(self.registers);
        let data: Vec<u8> = numbers.flat_map(|number| number.to_be_bytes()).collect();
        Snapshot {
            last_included: self.applied,
            conf_state: self.conf_state.clone(),
            data: Bytes::from(data),
        }
    }

    /// The content of a snapshot; `None` if it is not one of a state machine of this kind.
    #[must_use]
    pub fn restored(snapshot: &Snapshot) -> Option<Self> {
        let numbers = snapshot.data.chunks(8).map(|bytes| bytes.try_into().ok());
        let numbers: Vec<u64> = numbers
            .map(|bytes| bytes.map(u64::from_be_bytes))
            .collect::<Option<_>>()?;
        let [hash, count, registers @ ..] = numbers.as_slice() else {
            return None;
        };
        Some(Self {
            applied: snapshot.last_included,
            hash: *hash,
            count: *count,
            registers: registers.try_into().ok()?,
            conf_state: snapshot.conf_state.clone(),
        })
    }

    /// The term of the last entry applied.
    #[must_use]
    pub const fn applied_term(&self) -> Term {
        self.applied.term
    }

    /// The index of the last entry applied.
    #[must_use]
    pub const fn applied_index(&self) -> LogIndex {
        self.applied.index
    }
}
