//! The state machine of a simulated node: an embedder's, and what every one of them needs beside it.
//!
//! Owns the last applied entry, the membership and a rolling hash, and their form in a snapshot.
//! Must not know nodes, disks or the network.

use almadia::{Bytes, ConfState, Entry, LogId, LogIndex, Payload, Snapshot};

use crate::digest::Digest;
use crate::embedder::{Machine, Registers};

/// A state machine, and a rolling hash over everything applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateMachine<M = Registers> {
    machine: M,
    applied: LogId,
    hash: u64,
    count: u64,
    conf_state: ConfState,
}

impl<M: Machine> StateMachine<M> {
    /// A state machine that has been told nothing, in a cluster with this membership.
    #[must_use]
    pub fn new(conf_state: ConfState) -> Self {
        Self {
            machine: M::default(),
            applied: LogId::ZERO,
            hash: Digest::EMPTY,
            count: 0,
            conf_state,
        }
    }

    /// The embedder's state machine itself.
    #[must_use]
    pub const fn machine(&self) -> &M {
        &self.machine
    }

    /// The last entry applied.
    #[must_use]
    pub const fn applied(&self) -> LogId {
        self.applied
    }

    /// The index of the last entry applied.
    #[must_use]
    pub const fn applied_index(&self) -> LogIndex {
        self.applied.index
    }

    /// A number that differs where the entries applied differ, or what came of them.
    #[must_use]
    pub fn hash(&self) -> u64 {
        Digest::fold(self.hash, &self.machine.digest())
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
        match &entry.payload {
            // The leader's own, with which its term begins.
            Payload::Data(data) if data.is_empty() && entry.context.is_empty() => {}
            Payload::Data(data) => self.machine.apply(entry.id, &entry.context, data),
            Payload::Change(_) => {}
        }
        if let Some(conf_state) = conf_state {
            self.conf_state = conf_state;
        }
    }

    /// The content as a snapshot.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mut data = Vec::from(self.hash.to_be_bytes());
        data.extend(self.count.to_be_bytes());
        data.extend(self.machine.save());
        Snapshot {
            last_included: self.applied,
            conf_state: self.conf_state.clone(),
            data: Bytes::from(data),
        }
    }

    /// The content of a snapshot; `None` if it is not one of a state machine of this kind.
    #[must_use]
    pub fn restored(snapshot: &Snapshot) -> Option<Self> {
        let (hash, rest) = snapshot.data.split_first_chunk()?;
        let (count, saved) = rest.split_first_chunk()?;
        Some(Self {
            machine: M::restore(saved)?,
            applied: snapshot.last_included,
            hash: u64::from_be_bytes(*hash),
            count: u64::from_be_bytes(*count),
            conf_state: snapshot.conf_state.clone(),
        })
    }
}
