//! The disk of the raft-rs node: the same contents as a [`MemStorage`], in raft-rs's words.
//!
//! Owns the translation of what is persisted: every value goes through the bytes of the wire
//! format, so that whatever is compared was encoded by raft-rs and decoded by almadia-proto. Keeps
//! raft-rs's own entries besides, which is what raft-rs reads.

use std::cell::Cell;
use std::collections::VecDeque;

use almadia::{ConfState, HardState, LogIndex, MemStorage, Membership, NodeId, Storage as _};
use almadia_proto::{Decode, Encode};
use bytes::Bytes;

use raft::StorageError::{Compacted, SnapshotTemporarilyUnavailable, Unavailable};
use raft::{GetEntriesContext, RaftState, eraftpb};

/// What almadia-proto reads in a value of raft-rs.
pub(crate) fn read<T: Decode>(value: &impl protobuf_of_raft_rs::Message) -> T {
    let bytes = value.write_to_bytes().expect("it can be encoded");
    T::decode(Bytes::from(bytes))
        .unwrap_or_else(|error| panic!("raft-rs's own bytes: {error}: {value:?}"))
}

/// What raft-rs reads in a value of almadia.
pub(crate) fn write<T: protobuf_of_raft_rs::Message>(value: &impl Encode) -> T {
    T::parse_from_bytes(&value.encode()).expect("almadia-proto's bytes")
}

pub(crate) struct Disk {
    /// What is persisted, in almadia's words.
    pub(crate) contents: MemStorage,
    /// The entries of `contents`, in raft-rs's.
    entries: VecDeque<eraftpb::Entry>,
    /// How many snapshots were not given to a peer that is no member in them.
    pub(crate) useless_snapshots: Cell<u64>,
}

impl Disk {
    pub(crate) fn of(contents: MemStorage) -> Self {
        let first = contents.first_index().expect("a storage in memory");
        let last = contents.last_index().expect("a storage in memory");
        let entries = if first <= last {
            let request =
                almadia::EntriesRequest::new(first, last, u64::MAX, almadia::Purpose::Scan);
            let entries = contents.entries(&request).expect("they are there");
            entries.iter().map(write).collect()
        } else {
            VecDeque::new()
        };
        Self {
            contents,
            entries,
            useless_snapshots: Cell::new(0),
        }
    }

    /// Returns the entries as almadia reads them.
    pub(crate) fn append(&mut self, entries: &[eraftpb::Entry]) -> Vec<almadia::Entry> {
        let Some(first) = entries.first() else {
            return Vec::new();
        };
        let read: Vec<almadia::Entry> = entries.iter().map(read).collect();
        self.contents.append(&read).expect("they continue the log");
        while self
            .entries
            .back()
            .is_some_and(|last| last.index >= first.index)
        {
            self.entries.pop_back();
        }
        self.entries.extend(entries.iter().cloned());
        read
    }

    pub(crate) fn install_snapshot(&mut self, snapshot: &eraftpb::Snapshot) {
        self.contents
            .install_snapshot(read(snapshot))
            .expect("it is a newer one");
        self.entries.clear();
    }

    pub(crate) fn set_hard_state(&mut self, hard_state: &eraftpb::HardState) {
        self.contents.set_hard_state(read(hard_state));
    }

    pub(crate) fn set_conf_state(&mut self, conf_state: ConfState) {
        self.contents.set_conf_state(conf_state);
    }

    pub(crate) fn commit(&mut self, commit_index: LogIndex) {
        let hard_state = HardState {
            commit_index,
            ..self.contents.hard_state()
        };
        self.contents.set_hard_state(hard_state);
    }

    /// Takes over a snapshot and a compaction of the other node's disk.
    pub(crate) fn compact_like(&mut self, other: &MemStorage) {
        if let Some(snapshot) = other.saved_snapshot() {
            self.contents
                .save_snapshot(snapshot.clone())
                .expect("it is of this log too");
        }
        let first = other.first_index().expect("a storage in memory");
        if self.contents.first_index().is_ok_and(|here| here < first) {
            self.contents
                .compact(first.previous())
                .expect("the snapshot covers it");
        }
        while self
            .entries
            .front()
            .is_some_and(|entry| entry.index < first.0)
        {
            self.entries.pop_front();
        }
    }
}

fn is_member(conf_state: &ConfState, id: NodeId) -> bool {
    Membership::try_from(conf_state).is_ok_and(|membership| membership.contains(id))
}

impl raft::Storage for Disk {
    fn initial_state(&self) -> raft::Result<RaftState> {
        let initial = self.contents.initial_state().expect("a storage in memory");
        Ok(RaftState {
            hard_state: write(&initial.hard_state),
            conf_state: write(&initial.conf_state),
        })
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _: GetEntriesContext,
    ) -> raft::Result<Vec<eraftpb::Entry>> {
        let first = self.first_index()?;
        if low < first {
            return Err(Compacted.into());
        }
        let position = |index: u64| usize::try_from(index - first).expect("a short log");
        let mut entries: Vec<_> = self
            .entries
            .range(position(low)..position(high))
            .cloned()
            .collect();
        raft::util::limit_size(&mut entries, max_size.into());
        Ok(entries)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        match self.contents.term(LogIndex(index)) {
            Ok(term) => Ok(term.0),
            Err(almadia::StorageError::Compacted) => Err(Compacted.into()),
            Err(_) => Err(Unavailable.into()),
        }
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.contents.first_index().expect("a storage in memory").0)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.contents.last_index().expect("a storage in memory").0)
    }

    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<eraftpb::Snapshot> {
        // raft-rs asks for no more than what was requested, and for the log's own beginning not.
        let first = self.first_index()?;
        let request_index = LogIndex(request_index.max(first - 1));
        let to = NodeId::new(to).expect("a peer");
        match self.contents.snapshot(request_index, to) {
            Ok(snapshot) if is_member(&snapshot.conf_state, to) => Ok(write(&snapshot)),
            Ok(_) => {
                self.useless_snapshots.set(self.useless_snapshots.get() + 1);
                Err(SnapshotTemporarilyUnavailable.into())
            }
            Err(_) => Err(SnapshotTemporarilyUnavailable.into()),
        }
    }
}
