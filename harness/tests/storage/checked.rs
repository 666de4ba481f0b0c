//! The wrapper that watches a storage at run time: it is silent about a sound one, and says of each
//! breach which line of the contract it is against.
//!
//! Owns a storage each of whose answers can be replaced. Must not know how the wrapper checks.

use almadia::{
    Bytes, ConfState, Config, Entries, EntriesRequest, Entry, HardState, InitialState, LogId,
    LogIndex, MemStorage, NodeId, Payload, Purpose, RawNode, Snapshot, StartError, Storage,
    StorageError, Term,
};
use almadia_harness::storage::{CheckedStorage, Clause, Write};

#[derive(Clone, Debug)]
struct Lying {
    inner: MemStorage,
    initial_state: Option<InitialState>,
    entries: Option<Result<Entries, StorageError>>,
    term: Option<(LogIndex, Result<Term, StorageError>)>,
    first_index: Option<Result<LogIndex, StorageError>>,
    last_index: Option<Result<LogIndex, StorageError>>,
    snapshot: Option<Snapshot>,
}

impl Storage for Lying {
    fn initial_state(&self) -> Result<InitialState, StorageError> {
        self.initial_state
            .clone()
            .map_or_else(|| self.inner.initial_state(), Ok)
    }

    fn entries(&self, request: &EntriesRequest) -> Result<Entries, StorageError> {
        self.entries
            .clone()
            .unwrap_or_else(|| self.inner.entries(request))
    }

    fn term(&self, index: LogIndex) -> Result<Term, StorageError> {
        match &self.term {
            Some((lie_at, answer)) if *lie_at == index => answer.clone(),
            _ => self.inner.term(index),
        }
    }

    fn first_index(&self) -> Result<LogIndex, StorageError> {
        self.first_index
            .clone()
            .unwrap_or_else(|| self.inner.first_index())
    }

    fn last_index(&self) -> Result<LogIndex, StorageError> {
        self.last_index
            .clone()
            .unwrap_or_else(|| self.inner.last_index())
    }

    fn snapshot(&self, request_index: LogIndex, to: NodeId) -> Result<Snapshot, StorageError> {
        self.snapshot
            .clone()
            .map_or_else(|| self.inner.snapshot(request_index, to), Ok)
    }
}

fn id(number: u64) -> NodeId {
    NodeId::new(number).expect("above zero")
}

fn entry(term: u64, index: u64) -> Entry {
    Entry {
        id: LogId::new(term, index),
        payload: Payload::Data(Bytes::from_static(b"data")),
        context: Bytes::new(),
    }
}

fn entries(ids: &[(u64, u64)]) -> Entries {
    ids.iter()
        .map(|&(term, index)| entry(term, index))
        .collect()
}

fn members() -> ConfState {
    ConfState::of_voters([1, 2, 3].map(id))
}

fn snapshot(term: u64, index: u64) -> Snapshot {
    Snapshot {
        last_included: LogId::new(term, index),
        conf_state: members(),
        data: Bytes::new(),
    }
}

fn hard_state(term: u64, commit: u64) -> HardState {
    HardState {
        current_term: Term(term),
        voted_for: None,
        commit_index: LogIndex(commit),
    }
}

/// The log 1/4 2/5 2/6 2/7 behind a snapshot at 1/3, in term 2, with 5 committed.
fn sound() -> Lying {
    let mut inner = MemStorage::with_snapshot(snapshot(1, 3));
    let log = entries(&[(1, 4), (2, 5), (2, 6), (2, 7)]);
    inner.append(&log).expect("consecutive");
    inner.set_hard_state(hard_state(2, 5));
    Lying {
        inner,
        initial_state: None,
        entries: None,
        term: None,
        first_index: None,
        last_index: None,
        snapshot: None,
    }
}

fn request(first: u64, last: u64, max_bytes: u64) -> EntriesRequest {
    EntriesRequest::new(LogIndex(first), LogIndex(last), max_bytes, Purpose::Apply)
}

/// Asked this, a storage that lies so is found to breach this line.
#[track_caller]
fn finds<T: std::fmt::Debug + PartialEq>(
    clause: Clause,
    lie: impl FnOnce(&mut Lying),
    ask: impl Fn(&dyn Storage) -> Result<T, StorageError>,
) {
    let mut storage = sound();
    lie(&mut storage);
    let told = ask(&storage);
    let checked = CheckedStorage::new(storage.clone());
    let answer = ask(&checked);
    let breach = checked.breach().expect("the lie is noticed");
    assert_eq!(breach.clause, clause, "{breach}");
    assert_eq!(answer, Err(StorageError::Contract(clause.words())));
    // One that only records passes the lie on.
    let recording = CheckedStorage::recording(storage);
    assert_eq!(ask(&recording), told);
    assert_eq!(recording.breach(), Some(breach));
}

#[test]
fn a_sound_storage_is_not_accused() {
    let storage = sound();
    let checked = CheckedStorage::new(storage.clone());
    assert_eq!(checked.initial_state(), storage.initial_state());
    assert_eq!(checked.first_index(), storage.first_index());
    assert_eq!(checked.last_index(), storage.last_index());
    for index in (0..10).chain([LogIndex::MAX.0, u64::MAX]) {
        let index = LogIndex(index);
        assert_eq!(checked.term(index), storage.term(index));
        assert_eq!(
            checked.snapshot(index, id(2)),
            storage.snapshot(index, id(2))
        );
    }
    for first in 0..10 {
        for last in 0..10 {
            for max_bytes in [0, 28, 29, 56, 1000] {
                let request = request(first, last, max_bytes);
                assert_eq!(checked.entries(&request), storage.entries(&request));
            }
        }
    }
    assert_eq!(checked.breach(), None);
}

#[test]
fn states_that_no_node_starts_from() {
    let ask = |storage: &dyn Storage| storage.initial_state();
    let with = |hard_state| move |storage: &mut Lying| storage.inner.set_hard_state(hard_state);
    finds(Clause::HardState, with(hard_state(2, 2)), ask);
    finds(Clause::HardState, with(hard_state(2, 8)), ask);
    finds(Clause::HardState, with(hard_state(1, 5)), ask);
    finds(Clause::HardState, with(hard_state(u64::MAX, 5)), ask);
    let vote = HardState {
        voted_for: Some(id(1)),
        ..HardState::default()
    };
    finds(Clause::HardState, with(vote), ask);
    let twice = ConfState {
        learners: vec![id(1)],
        ..members()
    };
    finds(Clause::ConfState, |it| it.inner.set_conf_state(twice), ask);
}

#[test]
fn entries_that_were_not_asked_for() {
    let lie = |ids: &'static [(u64, u64)]| {
        move |storage: &mut Lying| storage.entries = Some(Ok(entries(ids)))
    };
    let ask = |storage: &dyn Storage| storage.entries(&request(4, 6, 1000));
    finds(Clause::Entries, lie(&[]), ask);
    finds(Clause::Entries, lie(&[(2, 5), (2, 6)]), ask);
    finds(Clause::Entries, lie(&[(1, 4), (2, 5), (2, 6), (2, 7)]), ask);
    finds(Clause::NoHole, lie(&[(1, 4), (2, 6)]), ask);
    finds(Clause::NoHole, lie(&[(3, 4), (2, 5)]), ask);
    finds(Clause::NoHole, lie(&[(0, 4)]), ask);
    finds(Clause::Term, lie(&[(2, 4), (2, 5)]), ask);
    finds(Clause::Term, lie(&[(1, 4), (3, 5)]), ask);
    let ask = |storage: &dyn Storage| storage.entries(&request(4, 6, 83));
    finds(Clause::MaxBytes, lie(&[(1, 4), (2, 5), (2, 6)]), ask);
    let ask = |storage: &dyn Storage| storage.entries(&request(3, 6, 1000));
    finds(Clause::EntriesCompacted, lie(&[(1, 3), (1, 4)]), ask);
}

#[test]
fn errors_without_reason() {
    use StorageError::{Compacted, TemporarilyUnavailable, Unavailable};
    let ask = |storage: &dyn Storage| storage.entries(&request(4, 6, 1000));
    finds(
        Clause::EntriesCompacted,
        |it| it.entries = Some(Err(Compacted)),
        ask,
    );
    finds(
        Clause::Entries,
        |it| it.entries = Some(Err(Unavailable)),
        ask,
    );

    let lie = |error| move |it: &mut Lying| it.term = Some((LogIndex(3), Err(error)));
    let ask = |storage: &dyn Storage| storage.term(LogIndex(3));
    finds(Clause::TermCompacted, lie(Compacted), ask);
    finds(Clause::TermUnavailable, lie(Unavailable), ask);
    finds(Clause::Fails, lie(TemporarilyUnavailable), ask);

    let ask = |storage: &dyn Storage| storage.first_index();
    finds(
        Clause::Fails,
        |it| it.first_index = Some(Err(Compacted)),
        ask,
    );
    let ask = |storage: &dyn Storage| storage.last_index();
    finds(
        Clause::Fails,
        |it| it.last_index = Some(Err(TemporarilyUnavailable)),
        ask,
    );

    // These say that something failed, or that it takes its time.
    let broken = StorageError::other(std::io::Error::other("broken"));
    for error in [broken, TemporarilyUnavailable] {
        let mut storage = sound();
        storage.entries = Some(Err(error.clone()));
        let checked = CheckedStorage::new(storage);
        assert_eq!(checked.entries(&request(4, 6, 1000)), Err(error));
        assert_eq!(checked.breach(), None);
    }
}

#[test]
fn terms_and_bounds_that_are_none() {
    let ask_for = |index| move |storage: &dyn Storage| storage.term(LogIndex(index));
    let lie = |index, term| move |it: &mut Lying| it.term = Some((LogIndex(index), Ok(Term(term))));
    finds(Clause::Term, lie(4, 0), ask_for(4));
    finds(Clause::Term, lie(4, u64::MAX), ask_for(4));
    finds(Clause::TermCompacted, lie(2, 1), ask_for(2));
    finds(Clause::TermUnavailable, lie(8, 2), ask_for(8));

    let ask = |storage: &dyn Storage| storage.first_index();
    for index in [0, u64::MAX] {
        finds(
            Clause::FirstIndex,
            |it| it.first_index = Some(Ok(LogIndex(index))),
            ask,
        );
    }
    let ask = |storage: &dyn Storage| storage.last_index();
    for index in [0, 2, 5, 8, u64::MAX] {
        finds(
            Clause::LastIndex,
            |it| it.last_index = Some(Ok(LogIndex(index))),
            ask,
        );
    }
}

#[test]
fn snapshots_of_no_use() {
    let ask = |storage: &dyn Storage| storage.snapshot(LogIndex(5), id(2));
    let lie = |snapshot| move |it: &mut Lying| it.snapshot = Some(snapshot);
    finds(Clause::Snapshot, lie(snapshot(1, 4)), ask);
    finds(Clause::Snapshot, lie(snapshot(0, 6)), ask);
    let nobody = Snapshot {
        conf_state: ConfState::default(),
        ..snapshot(2, 5)
    };
    finds(Clause::SnapshotMembership, lie(nobody), ask);
    let checked = CheckedStorage::new(Lying {
        snapshot: Some(snapshot(2, 5)),
        ..sound()
    });
    assert_eq!(ask(&checked), Ok(snapshot(2, 5)));
}

/// The first index never goes back, whatever is written.
#[test]
fn a_first_index_that_goes_back() {
    let mut checked = CheckedStorage::new(sound());
    assert_eq!(checked.first_index(), Ok(LogIndex(4)));
    checked.inner_mut().first_index = Some(Ok(LogIndex(3)));
    assert!(checked.first_index().is_err());
    assert_eq!(
        checked.breach().map(|breach| breach.clause),
        Some(Clause::FirstIndex)
    );

    let checked = CheckedStorage::new(sound());
    checked.wrote(&Write {
        snapshot: Some(snapshot(2, 20)),
        ..Write::default()
    });
    assert!(checked.first_index().is_err());
}

/// An entry that was seen stays, until something is written.
#[test]
fn entries_that_change_by_themselves() {
    let other = Some((LogIndex(6), Ok(Term(4))));
    let seen = || {
        let checked = CheckedStorage::new(sound());
        assert_eq!(checked.term(LogIndex(6)), Ok(Term(2)));
        checked
    };
    // The answer changes behind the back of the wrapper.
    let cell = std::cell::RefCell::new(sound());
    let changing = CheckedStorage::new(Changing(&cell));
    assert_eq!(changing.term(LogIndex(6)), Ok(Term(2)));
    cell.borrow_mut().term.clone_from(&other);
    assert!(changing.term(LogIndex(6)).is_err());
    let clause = changing.breach().map(|breach| breach.clause);
    assert_eq!(clause, Some(Clause::OnlyTheEmbedder));

    // Terms do not fall from one answer to another one.
    let cell = std::cell::RefCell::new(sound());
    let falling = CheckedStorage::new(Changing(&cell));
    assert_eq!(falling.term(LogIndex(6)), Ok(Term(2)));
    cell.borrow_mut().term = Some((LogIndex(7), Ok(Term(1))));
    assert!(falling.term(LogIndex(7)).is_err());
    assert_eq!(
        falling.breach().map(|breach| breach.clause),
        Some(Clause::Term)
    );

    // Whoever writes through the wrapper may change it.
    let mut written = seen();
    written.inner_mut().term.clone_from(&other);
    assert_eq!(written.term(LogIndex(6)), Ok(Term(4)));
}

struct Changing<'a>(&'a std::cell::RefCell<Lying>);

impl Storage for Changing<'_> {
    fn initial_state(&self) -> Result<InitialState, StorageError> {
        self.0.borrow().initial_state()
    }

    fn entries(&self, request: &EntriesRequest) -> Result<Entries, StorageError> {
        self.0.borrow().entries(request)
    }

    fn term(&self, index: LogIndex) -> Result<Term, StorageError> {
        self.0.borrow().term(index)
    }

    fn first_index(&self) -> Result<LogIndex, StorageError> {
        self.0.borrow().first_index()
    }

    fn last_index(&self) -> Result<LogIndex, StorageError> {
        self.0.borrow().last_index()
    }

    fn snapshot(&self, request_index: LogIndex, to: NodeId) -> Result<Snapshot, StorageError> {
        self.0.borrow().snapshot(request_index, to)
    }
}

/// A write that was reported is seen from then on, and replaces what was seen before.
#[test]
fn writes_that_were_reported() {
    let write = Write {
        entries: vec![entries(&[(4, 6), (4, 7)])],
        must_sync: true,
        ..Write::default()
    };
    let cell = std::cell::RefCell::new(sound());
    let checked = CheckedStorage::new(Changing(&cell));
    assert_eq!(checked.term(LogIndex(6)), Ok(Term(2)));
    cell.borrow_mut()
        .inner
        .append(&write.entries[0])
        .expect("consecutive");
    checked.wrote(&write);
    assert_eq!(checked.term(LogIndex(6)), Ok(Term(4)));
    assert_eq!(checked.term(LogIndex(5)), Ok(Term(2)));

    let lost = CheckedStorage::new(sound());
    lost.wrote(&write);
    assert!(lost.entries(&request(6, 6, 1000)).is_err());
    let clause = lost.breach().map(|breach| breach.clause);
    assert_eq!(clause, Some(Clause::OnlyTheEmbedder));
}

#[test]
fn its_memory_is_bounded() {
    let mut inner = MemStorage::with_voters([id(1)]);
    let log: Vec<Entry> = (1..=5000).map(|index| entry(1, index)).collect();
    inner.append(&log).expect("consecutive");
    let checked = CheckedStorage::new(&inner);
    let size = |checked: &CheckedStorage<&MemStorage>| {
        let whole = format!("{checked:?}");
        whole.len() - format!("{inner:?}").len()
    };
    for index in 1..=5000 {
        assert_eq!(checked.term(LogIndex(index)), Ok(Term(1)));
    }
    assert!(size(&checked) < 1000);
}

/// A node stops at the first breach, and says which.
#[test]
fn a_node_stops() {
    let mut storage = sound();
    storage.last_index = Some(Ok(LogIndex(6)));
    let started = RawNode::new(Config::new(id(1)), CheckedStorage::new(storage));
    let error = started.expect_err("nobody starts from this");
    let contract = StorageError::Contract(Clause::LastIndex.words());
    assert_eq!(error, StartError::Storage(contract));
}
