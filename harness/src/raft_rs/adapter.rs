//! An almadia log store as raft-rs reads it.
//!
//! Owns the mapping of questions, answers and errors. Must not know the node that asks, nor write
//! anything: the embedder's part is in `raft_rs.rs`.

use std::cell::RefCell;

use almadia::{
    EntriesRequest, HardState, LogIndex, Membership, NodeId, Purpose, Snapshot, Storage as _,
    StorageError,
};
use raft::eraftpb;
use raft::{GetEntriesContext, RaftState, StorageError as TheirError};

use super::wire::to_raft_rs;
use crate::embedder::Store;
use crate::unreliable::{Answers, Unreliable};

/// A store, and what raft-rs waits for that it has asked it.
pub(super) struct Adapter<S> {
    pub(super) store: Unreliable<S>,
    /// What the state machine had applied at the start. raft-rs panics if its log is said to be
    /// committed less far, as it may be: a commit index is written without an fsync.
    applied: LogIndex,
    /// What it was told to fetch first.
    pub(super) to_fetch: RefCell<Vec<GetEntriesContext>>,
}

impl<S> Adapter<S> {
    pub(super) const fn new(store: Unreliable<S>, applied: LogIndex) -> Self {
        Self {
            store,
            applied,
            to_fetch: RefCell::new(Vec::new()),
        }
    }
}

/// What may not be answered late is an error of the storage.
#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "the errors of a storage may become more, and no other has a name in raft-rs"
)]
fn error(error: StorageError) -> raft::Error {
    match error {
        StorageError::Compacted => raft::Error::Store(TheirError::Compacted),
        StorageError::Unavailable => raft::Error::Store(TheirError::Unavailable),
        error => raft::Error::Store(TheirError::Other(Box::new(error))),
    }
}

fn is_for(snapshot: &Snapshot, to: NodeId) -> bool {
    let members = Membership::try_from(&snapshot.conf_state);
    members.is_ok_and(|members| members.contains(to))
}

impl<S: Store> raft::Storage for Adapter<S> {
    fn initial_state(&self) -> raft::Result<RaftState> {
        let state = self.store.initial_state().map_err(error)?;
        let hard_state = HardState {
            commit_index: state.hard_state.commit_index.max(self.applied),
            ..state.hard_state
        };
        Ok(RaftState::new(
            to_raft_rs(&hard_state),
            to_raft_rs(&state.conf_state),
        ))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        context: GetEntriesContext,
    ) -> raft::Result<Vec<eraftpb::Entry>> {
        let max_bytes = max_size.into().unwrap_or(u64::MAX);
        let [first, last] = [LogIndex(low), LogIndex(high).previous()];
        let request = EntriesRequest::new(first, last, max_bytes, Purpose::Scan);
        // Only what is sent to a peer may be fetched first.
        let is_late = self.store.answers() == Answers::Later;
        let result = if is_late && !context.can_async() {
            self.store.inner().entries(&request)
        } else {
            self.store.entries(&request)
        };
        match result {
            Ok(entries) => Ok(entries.iter().map(to_raft_rs).collect()),
            Err(StorageError::TemporarilyUnavailable) => {
                self.to_fetch.borrow_mut().push(context);
                Err(raft::Error::Store(TheirError::LogTemporarilyUnavailable))
            }
            Err(failure) => Err(error(failure)),
        }
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        let term = self.store.term(LogIndex(index)).map_err(error)?;
        Ok(term.0)
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.store.first_index().map_err(error)?.0)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.store.last_index().map_err(error)?.0)
    }

    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<eraftpb::Snapshot> {
        let late = || raft::Error::Store(TheirError::SnapshotTemporarilyUnavailable);
        let to = NodeId::new(to).ok_or_else(late)?;
        match self.store.snapshot(LogIndex(request_index), to) {
            // One made before the peer was added is of no use to it.
            Ok(snapshot) if !is_for(&snapshot, to) => Err(late()),
            Ok(snapshot) => Ok(to_raft_rs(&snapshot)),
            Err(StorageError::TemporarilyUnavailable) => Err(late()),
            Err(failure) => Err(error(failure)),
        }
    }
}
