//! What `MemStorage` answers to whom a leader brings up to date: long runs as they were written, short ones
//! together.

use almadia::{Entries, EntriesRequest, MemStorage, Purpose, Storage};

use crate::nodes::*;

/// A log that was written in runs of so many entries, and these runs.
fn written_in_runs_of(lengths: &[usize]) -> (MemStorage, Vec<Entries>) {
    let mut storage = disk(3, &[]);
    let mut runs = Vec::new();
    for &length in lengths {
        let last = storage.last_index().unwrap().0;
        let entries = run(last, &vec![1; length]);
        storage.append(&entries).unwrap();
        runs.push(entries);
    }
    (storage, runs)
}

/// The answer to who asks for everything from `first` on.
fn answer(storage: &MemStorage, first: u64, max_bytes: u64) -> Entries {
    let last = storage.last_index().unwrap();
    let request = EntriesRequest::new(index(first), last, max_bytes, Purpose::Send(id(2)));
    storage.entries(&request).unwrap()
}

/// To copy a long run together with others costs more than to be asked again.
#[test]
fn a_long_stored_run_is_answered_as_it_is_and_shared() {
    let (storage, runs) = written_in_runs_of(&[32, 40, 40]);
    assert!(answer(&storage, 1, u64::MAX).is_shared_with(&runs[0]));
    // Its end, where that is long.
    assert!(answer(&storage, 41, u64::MAX).is_shared_with(&runs[1].slice(8, 40)));
    assert_eq!(answer(&storage, 42, u64::MAX).len(), 31 + 40);
    let (storage, _) = written_in_runs_of(&[31, 40, 40]);
    assert_eq!(answer(&storage, 1, u64::MAX).len(), 31 + 40 + 40);
}

/// As many entries as the bytes allow, to the last of them, whatever runs they lie in.
#[test]
fn short_stored_runs_are_answered_together() {
    let (storage, runs) = written_in_runs_of(&[2, 2, 2]);
    let of_two: u64 = runs[..2].iter().map(Entries::size_bytes).sum();
    for (max_bytes, count) in [(of_two - 1, 3), (of_two, 4), (of_two + 1, 4), (u64::MAX, 6)] {
        assert_eq!(answer(&storage, 1, max_bytes).len(), count, "{max_bytes}");
    }
}
