//! Wrong calls of `MemStorage`: errors that leave it as it was.

use super::*;

/// 1/1 1/2 2/3 with a snapshot at 1/2.
fn memory() -> MemStorage {
    let mut storage = storage(&[1, 1, 2], 2, 2);
    let conf_state = ConfState::of_voters(voters());
    storage
        .save_snapshot(snapshot(1, 2, conf_state))
        .expect("in the log");
    storage
}

fn compacted_memory() -> MemStorage {
    let mut storage = memory();
    storage.compact(LogIndex(2)).expect("covered");
    storage
}

#[test]
fn mem_storage_append_that_leaves_a_hole_or_reaches_too_far_back() {
    for (mut storage, ids) in [
        (memory(), &[(2, 5)][..]),
        (memory(), &[(2, 0)]),
        (memory(), &[(2, u64::MAX)]),
        (memory(), &[(2, 4), (2, 6)]),
        (memory(), &[(2, 4), (2, 4)]),
        (compacted_memory(), &[(1, 2), (2, 3)]),
        (compacted_memory(), &[(1, 1)]),
        (MemStorage::new(), &[(1, 2)]),
        (MemStorage::new(), &[(1, 0)]),
    ] {
        let before = storage.clone();
        let error = MemStorageError::NotContiguous {
            first: LogIndex(ids[0].1),
            last: before.last_index().expect("memory does not fail"),
        };
        assert_eq!(storage.append(entries(ids)), Err(error));
        assert_eq!(before, storage);
    }
}

#[test]
fn mem_storage_compact_beyond_what_a_snapshot_covers() {
    for (mut storage, index) in [
        (memory(), 3),
        (memory(), 4),
        (memory(), u64::MAX),
        (compacted_memory(), 1),
        (compacted_memory(), 0),
        (MemStorage::new(), 0),
        (MemStorage::new(), 1),
    ] {
        let before = storage.clone();
        let error = MemStorageError::NoSuchIndex(LogIndex(index));
        assert_eq!(storage.compact(LogIndex(index)), Err(error));
        assert_eq!(before, storage);
    }
    let mut storage = compacted_memory();
    let before = storage.clone();
    assert_eq!(storage.compact(LogIndex(2)), Ok(()));
    assert_eq!(before, storage);
}

#[test]
fn mem_storage_snapshot_out_of_date_or_of_nowhere() {
    let conf_state = || ConfState::of_voters(voters());
    for (term, index) in [(1, 1), (0, 0), (0, 5), (5, 0), (1, u64::MAX), (u64::MAX, 5)] {
        let mut storage = compacted_memory();
        let before = storage.clone();
        let place = LogId::new(term, index);
        let error = MemStorageError::SnapshotOutOfDate(place);
        let installed = storage.install_snapshot(snapshot(term, index, conf_state()));
        assert_eq!(installed, Err(error));
        assert_eq!(before, storage);
    }
    for (term, index) in [(1, 1), (2, 2), (2, 4), (0, 0), (2, u64::MAX)] {
        let mut storage = compacted_memory();
        let before = storage.clone();
        let error = MemStorageError::NoSuchIndex(LogIndex(index));
        let saved = storage.save_snapshot(snapshot(term, index, conf_state()));
        assert_eq!(saved, Err(error));
        assert_eq!(before, storage);
    }
}

#[test]
fn mem_storage_snapshot_before_the_first_entry() {
    let nothing = || snapshot(0, 0, ConfState::of_voters(voters()));
    let mut storage = MemStorage::with_voters(voters());
    let before = storage.clone();
    let error = MemStorageError::SnapshotOutOfDate(LogId::ZERO);
    assert_eq!(storage.install_snapshot(nothing()), Err(error));
    let error = MemStorageError::NoSuchIndex(LogIndex(0));
    assert_eq!(storage.save_snapshot(nothing()), Err(error));
    assert_eq!(before, storage);
}

#[test]
fn mem_storage_questions_out_of_range() {
    for storage in [memory(), compacted_memory(), MemStorage::new()] {
        let last = storage.last_index().expect("memory does not fail");
        assert_eq!(storage.term(last.next()), Err(StorageError::Unavailable));
        assert_eq!(
            storage.term(LogIndex(u64::MAX)),
            Err(StorageError::Unavailable)
        );
        let asked = storage.snapshot(LogIndex(u64::MAX), id(2));
        assert_eq!(asked, Err(StorageError::TemporarilyUnavailable));
    }
    let below = compacted_memory().term(LogIndex(1));
    assert_eq!(below, Err(StorageError::Compacted));
    // `entries` with odd bounds cannot be asked by an embedder: only the crate makes a request.
}

/// What was never written is never invented.
#[test]
fn mem_storage_has_no_snapshot_unless_given_one() {
    let storage = storage(&[1, 1], 1, 2);
    let asked = storage.snapshot(LogIndex(0), id(2));
    assert_eq!(asked, Err(StorageError::TemporarilyUnavailable));
}

/// Neither does it panic when it is opened on the edge of what can be counted.
#[test]
fn mem_storage_of_a_snapshot_at_the_end_of_all_indexes() {
    for index in [LogIndex::MAX.0, LogIndex::MAX.0 + 1, u64::MAX] {
        let storage = MemStorage::with_snapshot(snapshot(1, index, ConfState::of_voters(voters())));
        let started = RawNode::new(Config::new(id(1)), storage);
        assert_eq!(started.is_ok(), index == LogIndex::MAX.0);
    }
}
