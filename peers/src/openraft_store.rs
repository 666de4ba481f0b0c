//! What an openraft node stores: its log, its vote, and a state machine. All of it is in memory.
//!
//! Owns the store of `openraft_cluster`. The one that openraft has for its tests keeps entries as JSON, which
//! would be in its figures. This one copies an entry for each that reads it, and copies share their bytes.
//! What is written counts as flushed at once.
//!
//! The state machine has no state but how far it has applied, and its snapshots are empty, as are those of
//! the other sides.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::hint::black_box;
use std::io::Cursor;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::storage::{LogFlushed, RaftLogStorage, RaftStateMachine};
use openraft::{
    Entry, EntryPayload, LogId, LogState, OptionalSend, RaftLogReader, RaftSnapshotBuilder,
    Snapshot, SnapshotMeta, StorageError, StoredMembership, Vote,
};
use tokio::sync::Semaphore;

openraft::declare_raft_types!(
    /// What openraft runs with. An answer to a client says nothing but that there is one.
    pub Types:
        D = Arc<[u8]>,
        R = (),
        NodeId = u64,
        Node = (),
);

type Id = LogId<u64>;
type Kept<T> = Result<T, StorageError<u64>>;

/// What is in it. A panic elsewhere does not spoil it: the program ends with it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Default)]
struct Log {
    vote: Option<Vote<u64>>,
    purged: Option<Id>,
    /// Those after `purged`.
    entries: VecDeque<Entry<Types>>,
}

impl Log {
    /// The place of the first entry with this index or a higher one.
    fn position(&self, index: u64) -> usize {
        let first = self.purged.map_or(0, |purged| purged.index + 1);
        let position = usize::try_from(index.saturating_sub(first));
        position.map_or(self.entries.len(), |position| {
            position.min(self.entries.len())
        })
    }
}

/// The log of a node, which is shared by all that read it.
#[derive(Clone, Default)]
pub struct LogStore {
    log: Arc<Mutex<Log>>,
}

impl LogStore {
    /// How many entries it holds.
    #[must_use]
    pub fn held(&self) -> u64 {
        lock(&self.log).entries.len() as u64
    }
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Kept<Vec<Entry<Types>>> {
        let log = lock(&self.log);
        let start = match range.start_bound() {
            Bound::Included(&index) => log.position(index),
            Bound::Excluded(&index) => log.position(index + 1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&index) => log.position(index + 1),
            Bound::Excluded(&index) => log.position(index),
            Bound::Unbounded => log.entries.len(),
        };
        Ok(log.entries.range(start..end.max(start)).cloned().collect())
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Kept<LogState<Types>> {
        let log = lock(&self.log);
        Ok(LogState {
            last_purged_log_id: log.purged,
            last_log_id: log.entries.back().map(|entry| entry.log_id).or(log.purged),
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<u64>) -> Kept<()> {
        lock(&self.log).vote = Some(*vote);
        Ok(())
    }

    async fn read_vote(&mut self) -> Kept<Option<Vote<u64>>> {
        Ok(lock(&self.log).vote)
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Types>) -> Kept<()>
    where
        I: IntoIterator<Item = Entry<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        lock(&self.log).entries.extend(entries);
        callback.log_io_completed(Ok(()));
        Ok(())
    }

    async fn truncate(&mut self, from: Id) -> Kept<()> {
        let mut log = lock(&self.log);
        let kept = log.position(from.index);
        log.entries.truncate(kept);
        Ok(())
    }

    async fn purge(&mut self, upto: Id) -> Kept<()> {
        let mut log = lock(&self.log);
        let cut = log.position(upto.index + 1);
        log.entries.drain(..cut);
        log.purged = Some(upto);
        Ok(())
    }
}

#[derive(Default)]
struct State {
    applied: Option<Id>,
    membership: StoredMembership<u64, ()>,
    /// Of the last snapshot.
    snapshot: Option<SnapshotMeta<u64, ()>>,
}

/// What a node has applied, which is shared by all that ask for it.
#[derive(Clone)]
pub struct StateMachine {
    state: Arc<Mutex<State>>,
    commands: Arc<Semaphore>,
}

impl StateMachine {
    /// One that has applied nothing. It adds a permit for each command that it applies.
    #[must_use]
    pub fn new(commands: Arc<Semaphore>) -> Self {
        Self {
            state: Arc::default(),
            commands,
        }
    }

    /// The index of the last entry that was applied.
    #[must_use]
    pub fn applied(&self) -> u64 {
        lock(&self.state).applied.map_or(0, |id| id.index)
    }
}

fn empty(meta: SnapshotMeta<u64, ()>) -> Snapshot<Types> {
    Snapshot {
        meta,
        snapshot: Box::default(),
    }
}

impl RaftSnapshotBuilder<Types> for StateMachine {
    async fn build_snapshot(&mut self) -> Kept<Snapshot<Types>> {
        let mut state = lock(&self.state);
        let meta = SnapshotMeta {
            last_log_id: state.applied,
            last_membership: state.membership.clone(),
            snapshot_id: String::new(),
        };
        state.snapshot = Some(meta.clone());
        Ok(empty(meta))
    }
}

impl RaftStateMachine<Types> for StateMachine {
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Kept<(Option<Id>, StoredMembership<u64, ()>)> {
        let state = lock(&self.state);
        Ok((state.applied, state.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Kept<Vec<()>>
    where
        I: IntoIterator<Item = Entry<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut state = lock(&self.state);
        let (mut answers, mut commands) = (Vec::new(), 0);
        for entry in entries {
            state.applied = Some(entry.log_id);
            match entry.payload {
                EntryPayload::Normal(command) => {
                    black_box(command);
                    commands += 1;
                }
                EntryPayload::Membership(membership) => {
                    state.membership = StoredMembership::new(Some(entry.log_id), membership);
                }
                EntryPayload::Blank => {}
            }
            answers.push(());
        }
        self.commands.add_permits(commands);
        Ok(answers)
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn begin_receiving_snapshot(&mut self) -> Kept<Box<Cursor<Vec<u8>>>> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta<u64, ()>,
        _: Box<Cursor<Vec<u8>>>,
    ) -> Kept<()> {
        let mut state = lock(&self.state);
        state.applied = meta.last_log_id;
        state.membership = meta.last_membership.clone();
        state.snapshot = Some(meta.clone());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Kept<Option<Snapshot<Types>>> {
        Ok(lock(&self.state).snapshot.clone().map(empty))
    }
}
