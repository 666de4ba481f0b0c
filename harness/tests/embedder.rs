//! A cluster of somebody else's log store and state machine, run by the simulator.
//!
//! Owns a store that is written differently from `MemStorage`, and a state machine that notices what
//! is applied twice or not at all.

use almadia::{
    Bytes, ConfState, Entries, EntriesRequest, Entry, HardState, InitialState, LogId, LogIndex,
    MemStorage, MemStorageError, NodeId, Snapshot, Storage, StorageError, Term,
};
use almadia_harness::{Embedder, Machine, Profile, Store, ViolationKind, record, run_with};

/// Every number that was written, in order.
#[derive(Clone, Debug, Default, PartialEq)]
struct Journal(Vec<u64>);

impl Machine for Journal {
    fn apply(&mut self, _: LogId, _: &[u8], data: &[u8]) {
        let number = data
            .first_chunk()
            .map_or(0, |bytes| u64::from_be_bytes(*bytes));
        self.0.push(number);
    }

    fn save(&self) -> Bytes {
        self.0.iter().flat_map(|it| it.to_be_bytes()).collect()
    }

    fn restore(saved: &[u8]) -> Option<Self> {
        let numbers = saved.chunks(8).map(|bytes| bytes.try_into().ok());
        numbers
            .map(|bytes| bytes.map(u64::from_be_bytes))
            .collect::<Option<_>>()
            .map(Self)
    }
}

/// A log in one vector, from its first entry ever on; compaction only forgets where it begins.
/// With `FORGETFUL`, it does not cut off what a new append contradicts.
#[derive(Clone, Debug, PartialEq)]
struct Flat<const FORGETFUL: bool> {
    snapshots: MemStorage,
    entries: Vec<Entry>,
    before_first: LogId,
}

impl<const FORGETFUL: bool> Flat<FORGETFUL> {
    fn position(&self, index: LogIndex) -> usize {
        usize::try_from(index.0.saturating_sub(self.before_first.index.0)).unwrap_or(usize::MAX)
    }
}

impl<const FORGETFUL: bool> Storage for Flat<FORGETFUL> {
    fn initial_state(&self) -> Result<InitialState, StorageError> {
        self.snapshots.initial_state()
    }

    fn entries(&self, request: &EntriesRequest) -> Result<Entries, StorageError> {
        if request.first <= self.before_first.index {
            return Err(StorageError::Compacted);
        }
        let (first, last) = (
            self.position(request.first) - 1,
            self.position(request.last),
        );
        let asked = self
            .entries
            .get(first..last)
            .ok_or(StorageError::Unavailable)?;
        let mut bytes = 0;
        let fit = asked.iter().take_while(|entry| {
            bytes += entry.size_bytes();
            bytes <= request.max_bytes
        });
        let count = fit.count().max(1);
        Ok(asked.iter().take(count).cloned().collect())
    }

    fn term(&self, index: LogIndex) -> Result<Term, StorageError> {
        match self.position(index) {
            _ if index < self.before_first.index => Err(StorageError::Compacted),
            0 => Ok(self.before_first.term),
            at => {
                let entry = self.entries.get(at - 1).ok_or(StorageError::Unavailable)?;
                Ok(entry.id.term)
            }
        }
    }

    fn first_index(&self) -> Result<LogIndex, StorageError> {
        Ok(self.before_first.index.next())
    }

    fn last_index(&self) -> Result<LogIndex, StorageError> {
        let last = self
            .entries
            .last()
            .map_or(self.before_first, |entry| entry.id);
        Ok(last.index)
    }

    fn snapshot(&self, request_index: LogIndex, to: NodeId) -> Result<Snapshot, StorageError> {
        self.snapshots.snapshot(request_index, to)
    }
}

impl<const FORGETFUL: bool> Store for Flat<FORGETFUL> {
    type Error = MemStorageError;

    fn of_members(conf_state: ConfState) -> Self {
        Self {
            snapshots: <MemStorage as Store>::of_members(conf_state),
            entries: Vec::new(),
            before_first: LogId::ZERO,
        }
    }

    fn install_snapshot(&mut self, snapshot: Snapshot) -> Result<(), MemStorageError> {
        self.entries.clear();
        self.before_first = snapshot.last_included;
        self.snapshots.install_snapshot(snapshot)
    }

    fn append(&mut self, entries: &Entries) -> Result<(), MemStorageError> {
        for entry in entries {
            let at = self.position(entry.id.index) - 1;
            if FORGETFUL && at < self.entries.len() {
                self.entries[at] = entry.clone();
            } else {
                self.entries.truncate(at);
                self.entries.push(entry.clone());
            }
        }
        Ok(())
    }

    fn set_hard_state(&mut self, hard_state: HardState) {
        self.snapshots.set_hard_state(hard_state);
    }

    fn hard_state(&self) -> HardState {
        self.snapshots.hard_state()
    }

    fn set_conf_state(&mut self, conf_state: ConfState) {
        self.snapshots.set_conf_state(conf_state);
    }

    fn save_snapshot(&mut self, snapshot: Snapshot) -> Result<(), MemStorageError> {
        // The snapshots are kept in a store without a log.
        let mut fresh = MemStorage::with_snapshot(snapshot);
        fresh.set_hard_state(self.snapshots.hard_state());
        self.snapshots = fresh;
        Ok(())
    }

    fn compact(&mut self, through: LogIndex) -> Result<(), MemStorageError> {
        let gone = self.position(through);
        self.before_first = self.entries[gone - 1].id;
        self.entries.drain(..gone);
        Ok(())
    }
}

#[derive(Clone, Copy, Debug)]
struct Theirs;

impl Embedder for Theirs {
    type Store = Flat<false>;
    type Machine = Journal;
}

#[derive(Clone, Copy, Debug)]
struct Forgetful;

impl Embedder for Forgetful {
    type Store = Flat<true>;
    type Machine = Journal;
}

#[test]
fn a_cluster_of_an_embedders_own() {
    let (mut commits, mut snapshots) = (0, 0);
    for seed in 0..120 {
        let stats = run_with::<Theirs>(seed, &Profile::of_seed(seed));
        let stats = stats.unwrap_or_else(|violation| panic!("{violation}"));
        commits += stats.commits;
        snapshots += stats.snapshots;
    }
    assert!(commits > 4_000 && snapshots > 50, "{commits} {snapshots}");
}

/// A store that keeps what it should cut off is found out, and the run can be made short.
#[test]
fn a_store_that_cuts_nothing_off_is_found_out() {
    let profile = Profile::faulty("forgetful", 3).crashing();
    let failing = (0..200).find_map(|seed| {
        let (scenario, result) = record::<Forgetful>(seed, &profile);
        result.err().map(|violation| (scenario, violation))
    });
    let (scenario, violation) = failing.expect("it does harm");
    assert!(
        !matches!(violation.kind, ViolationKind::NoProgress { .. }),
        "{violation}"
    );
    let (short, _) = scenario.shrink::<Forgetful>().expect("it fails again");
    assert!(short.actions.len() * 4 < scenario.actions.len());
}
