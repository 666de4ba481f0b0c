//! A cluster of somebody else's log store and state machine, run by the simulator.
//!
//! Owns a store that is written differently from `MemStorage`, and a state machine that notices what
//! is applied twice or not at all.

use almadia::{
    Bytes, ConfState, Entries, EntriesRequest, Entry, HardState, InitialState, LogId, LogIndex,
    MemStorage, MemStorageError, NodeId, Snapshot, Storage, StorageError, Term,
};
use almadia_harness::{
    Cluster, Embedder, Machine, Profile, Request, Settings, Store, ViolationKind, record, run_with,
};

/// Every number that was written, in order.
#[derive(Clone, Debug, Default, PartialEq)]
struct Journal(Vec<u64>);

impl Machine for Journal {
    /// What is no command of its own makes it panic.
    fn apply(&mut self, _: LogId, context: &[u8], data: &[u8]) {
        let number = data.strip_prefix(b"note ").expect("a note");
        let number = number.first_chunk().expect("a number");
        assert_eq!(context, b"journal");
        self.0.push(u64::from_be_bytes(*number));
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

    fn command(number: u64, padding: usize) -> (Bytes, Bytes) {
        let mut data = [b"note ".as_slice(), &number.to_be_bytes()].concat();
        data.resize(data.len() + padding, b' ');
        (Bytes::from_static(b"journal"), data.into())
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

/// A cluster by hand, and how reads and transfers end in it.
#[test]
fn a_cluster_of_an_embedders_own_by_hand() {
    let mut cluster = Cluster::<Theirs>::of(3, 0, 7, Settings::default());
    cluster.campaign(1);
    cluster.deliver_all();
    let (number, padding) = (8, 0);
    cluster.perform(&Request::Propose { number, padding }.of(1));
    let (context, by_lease) = (Bytes::from_static(b"a read"), false);
    cluster.perform(&Request::Read { context, by_lease }.of(2));
    cluster.perform(&Request::Transfer(3).of(1));
    cluster.settle();
    let outcomes = cluster.take_outcomes();
    let reads: Vec<_> = outcomes.iter().flat_map(|it| &it.reads).collect();
    let transfers: Vec<_> = outcomes.iter().flat_map(|it| &it.transfers).collect();
    assert!(
        reads.len() == 1 && reads[0].context == "a read",
        "{reads:?}"
    );
    assert_eq!(transfers.len(), 1);
    assert_eq!(cluster.leader(), Some(3));
    assert_eq!(cluster.state_machine(2).machine(), &Journal(vec![8]));
    assert_eq!(cluster.take_outcomes(), []);
}

/// A store that no node can start from.
#[derive(Clone, Debug, PartialEq)]
struct Broken(MemStorage);

impl Storage for Broken {
    fn initial_state(&self) -> Result<InitialState, StorageError> {
        Err(StorageError::Contract("the file is gone"))
    }

    fn entries(&self, request: &EntriesRequest) -> Result<Entries, StorageError> {
        self.0.entries(request)
    }

    fn term(&self, index: LogIndex) -> Result<Term, StorageError> {
        self.0.term(index)
    }

    fn first_index(&self) -> Result<LogIndex, StorageError> {
        self.0.first_index()
    }

    fn last_index(&self) -> Result<LogIndex, StorageError> {
        self.0.last_index()
    }

    fn snapshot(&self, request_index: LogIndex, to: NodeId) -> Result<Snapshot, StorageError> {
        self.0.snapshot(request_index, to)
    }
}

impl Store for Broken {
    type Error = MemStorageError;

    fn of_members(conf_state: ConfState) -> Self {
        Self(<MemStorage as Store>::of_members(conf_state))
    }

    fn install_snapshot(&mut self, snapshot: Snapshot) -> Result<(), MemStorageError> {
        self.0.install_snapshot(snapshot)
    }

    fn append(&mut self, entries: &Entries) -> Result<(), MemStorageError> {
        self.0.append(entries)
    }

    fn set_hard_state(&mut self, hard_state: HardState) {
        self.0.set_hard_state(hard_state);
    }

    fn hard_state(&self) -> HardState {
        self.0.hard_state()
    }

    fn set_conf_state(&mut self, conf_state: ConfState) {
        self.0.set_conf_state(conf_state);
    }

    fn save_snapshot(&mut self, snapshot: Snapshot) -> Result<(), MemStorageError> {
        self.0.save_snapshot(snapshot)
    }

    fn compact(&mut self, through: LogIndex) -> Result<(), MemStorageError> {
        self.0.compact(through)
    }
}

#[derive(Clone, Copy, Debug)]
struct NeverStarts;

impl Embedder for NeverStarts {
    type Store = Broken;
    type Machine = Journal;
}

/// A machine that cannot even be made.
#[derive(Clone, Debug, PartialEq)]
struct Unmakeable;

impl Default for Unmakeable {
    fn default() -> Self {
        panic!("out of order")
    }
}

impl Machine for Unmakeable {
    fn apply(&mut self, _: LogId, _: &[u8], _: &[u8]) {}

    fn save(&self) -> Bytes {
        Bytes::new()
    }

    fn restore(_: &[u8]) -> Option<Self> {
        None
    }
}

#[derive(Clone, Copy, Debug)]
struct OutOfOrder;

impl Embedder for OutOfOrder {
    type Store = MemStorage;
    type Machine = Unmakeable;
}

/// Whatever goes wrong in an embedder's code, and when, is told and does not panic.
#[test]
fn an_embedder_that_does_not_even_start_is_a_violation() {
    let profile = Profile::faulty("broken", 3);
    let violation = run_with::<NeverStarts>(1, &profile).expect_err("nothing starts");
    assert!(
        matches!(
            violation.kind,
            ViolationKind::CallFailed { call: "start", .. }
        ),
        "{violation}"
    );
    let (scenario, result) = record::<OutOfOrder>(1, &profile);
    let violation = result.expect_err("nothing can be made");
    assert_eq!(
        violation.kind,
        ViolationKind::Panicked("out of order".into())
    );
    assert_eq!(scenario.play_with::<OutOfOrder>(), Err(violation));
}
