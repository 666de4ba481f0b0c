//! The state machine that every simulated node runs: it remembers what it was told, as one number.
//!
//! Owns the rolling hash and its form in a snapshot. Must not know nodes, disks or the network.

use almadia::{Bytes, ConfState, Entry, LogId, LogIndex, Snapshot, Term};

use crate::digest::Digest;

/// A rolling hash over everything applied. Two of them are equal exactly if they were told the
/// same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateMachine {
    applied: LogId,
    hash: u64,
    count: u64,
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
            conf_state,
        }
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
        if let Some(conf_state) = conf_state {
            self.conf_state = conf_state;
        }
    }

    /// The content as a snapshot.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let numbers = [self.hash, self.count];
        let data: Vec<u8> = numbers
            .iter()
            .flat_map(|number| number.to_be_bytes())
            .collect();
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
        let (count, rest) = rest.split_first_chunk()?;
        rest.is_empty().then(|| Self {
            applied: snapshot.last_included,
            hash: u64::from_be_bytes(*hash),
            count: u64::from_be_bytes(*count),
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
