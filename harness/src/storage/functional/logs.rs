//! Cases about entries and hard states.
//!
//! Owns what is written in them. Must not know how answers are judged.

use almadia::{Bytes, Entry, HardState, LogId, LogIndex, Payload, Term};

use super::super::model::Action;
use super::super::{Subject, Write, plan};
use super::{Done, Script, plain, snapshot, with_data};

/// Nothing was ever written. The case itself has nothing to do but to look.
pub(super) fn empty<S: Subject>(script: &mut Script<'_, S>) -> Done {
    script.check()
}

pub(super) fn several_writes<S: Subject>(script: &mut Script<'_, S>) -> Done {
    script.append_at(&[(1, 1)])?;
    script.append_at(&[(1, 2), (1, 3)])?;
    script.reopen()?;
    script.append_at(&[(3, 4)])?;
    script.append_at(&[(3, 5), (7, 6)])
}

/// The runs of one write follow each other.
pub(super) fn several_runs<S: Subject>(script: &mut Script<'_, S>) -> Done {
    let runs = vec![
        vec![plain(1, 1)],
        vec![plain(1, 2), plain(2, 3)],
        vec![plain(2, 4), plain(2, 5), plain(5, 6)],
    ];
    let write = script.entries(runs);
    script.write(write)
}

pub(super) fn many_entries<S: Subject>(script: &mut Script<'_, S>) -> Done {
    script.append(
        (1..=400)
            .map(|index| plain(1 + index / 100, index))
            .collect(),
    )?;
    script.append((401..=800).map(|index| plain(5, index)).collect())
}

pub(super) fn large_entry<S: Subject>(script: &mut Script<'_, S>) -> Done {
    let large: Vec<u8> = (0..1 << 20).map(|at: u32| at.to_be_bytes()[3]).collect();
    script.append(vec![plain(1, 1), with_data(1, 2, large), plain(1, 3)])
}

/// Sizes that make the limits of `compare.rs` fall at, before and behind the ends of entries, and a
/// first entry that is larger than any limit but the last.
pub(super) fn max_bytes<S: Subject>(script: &mut Script<'_, S>) -> Done {
    let sizes = [1000, 0, 1, 24, 25, 100, 0, 0, 500];
    let entries = sizes.iter().zip(1..);
    let entries = entries.map(|(&size, index)| with_data(1, index, vec![7; size]));
    script.append(entries.collect())?;
    // More ranges are drawn each time.
    for _ in 0..10 {
        script.check()?;
    }
    Ok(())
}

/// The entry that opens a term has no data; contexts may be empty or not by themselves.
pub(super) fn empty_payloads<S: Subject>(script: &mut Script<'_, S>) -> Done {
    let context = |index, context: &'static str| Entry {
        context: Bytes::from_static(context.as_bytes()),
        ..with_data(1, index, "")
    };
    script.append(vec![
        with_data(1, 1, ""),
        context(2, "a context"),
        with_data(1, 3, ""),
    ])?;
    let both = Entry {
        context: Bytes::from_static(b"a context"),
        ..plain(1, 4)
    };
    script.append(vec![both, context(5, ""), with_data(1, 6, vec![0, 255])])
}

pub(super) fn membership_changes<S: Subject>(script: &mut Script<'_, S>) -> Done {
    let changes = plan::membership_changes().into_iter().zip(1..);
    let entries = changes.map(|(change, index)| Entry {
        id: LogId::new(2, index),
        payload: Payload::Change(change.into()),
        context: Bytes::from(vec![1; usize::try_from(index % 3).unwrap_or_default()]),
    });
    script.append(entries.collect())
}

/// A later leader replaces what was not committed: by less, by as much, by more.
pub(super) fn conflicting_suffix<S: Subject>(script: &mut Script<'_, S>) -> Done {
    script.append_at(&[(1, 1), (1, 2), (1, 3), (1, 4), (1, 5)])?;
    script.hard_state(1, None, 2)?;
    script.append_at(&[(2, 4)])?;
    script.reopen()?;
    script.append_at(&[(3, 3), (3, 4)])?;
    script.append_at(&[(4, 4), (4, 5), (4, 6), (4, 7)])?;
    script.reopen()?;
    script.append_at(&[(5, 3)])
}

/// A conflict at the first entry there is, behind nothing and behind a snapshot.
pub(super) fn whole_log_replaced<S: Subject>(script: &mut Script<'_, S>) -> Done {
    script.append_at(&[(1, 1), (1, 2), (1, 3)])?;
    script.append_at(&[(2, 1), (2, 2)])?;
    script.reopen()?;
    script.install(snapshot(3, 10))?;
    script.append_at(&[(3, 11), (3, 12)])?;
    script.append_at(&[(4, 11)])
}

/// A write may come again, as a whole or in part, with what is there already.
pub(super) fn same_entries_again<S: Subject>(script: &mut Script<'_, S>) -> Done {
    for _ in 0..2 {
        script.append_at(&[(1, 1), (1, 2), (1, 3)])?;
    }
    script.append_at(&[(1, 3), (1, 4)])?;
    script.append_at(&[(1, 4)])
}

/// Terms, votes and commit indexes, and writes that leave them as they are.
pub(super) fn hard_state<S: Subject>(script: &mut Script<'_, S>) -> Done {
    script.hard_state(1, Some(1), 0)?;
    script.reopen()?;
    script.append_at(&[(1, 1), (1, 2)])?;
    script.reopen()?;
    script.hard_state(2, None, 1)?;
    script.reopen()?;
    script.hard_state(2, Some(0), 2)?;
    script.reopen()?;
    script.append_at(&[(2, 3)])?;
    script.reopen()?;
    script.hard_state(Term::MAX.0, Some(3), 3)
}

/// A node that votes before it has a log.
pub(super) fn hard_state_alone<S: Subject>(script: &mut Script<'_, S>) -> Done {
    for term in 1..4 {
        script.hard_state(term, None, 0)?;
        script.hard_state(term, Some(term), 0)?;
    }
    Ok(())
}

/// A commit index may be lost at the end of a process, but not what an fsync comes after.
pub(super) fn commit_without_fsync<S: Subject>(script: &mut Script<'_, S>) -> Done {
    script.append_at(&[(1, 1), (1, 2), (1, 3), (1, 4)])?;
    script.hard_state(1, None, 1)?;
    script.hard_state(1, None, 2)?;
    script.reopen()?;
    script.hard_state(1, None, 3)?;
    script.append_at(&[(1, 5)])?;
    script.reopen()
}

/// A `Ready` may have nothing to persist.
pub(super) fn nothing_to_write<S: Subject>(script: &mut Script<'_, S>) -> Done {
    script.write(Write::default())?;
    script.append_at(&[(1, 1)])?;
    script.write(Write::default())?;
    script.reopen()?;
    script.write(Write::default())
}

/// An asynchronous disk has several writes to do, of which later ones replace what earlier ones
/// write.
pub(super) fn writes_at_once<S: Subject>(script: &mut Script<'_, S>) -> Done {
    let state = |term, commit| HardState {
        current_term: Term(term),
        voted_for: None,
        commit_index: LogIndex(commit),
    };
    let write = |entries: Vec<Entry>, hard_state| Write {
        must_sync: !entries.is_empty(),
        entries: vec![entries.into()],
        hard_state,
        snapshot: None,
    };
    let first = write(
        vec![plain(1, 1), plain(1, 2), plain(1, 3)],
        Some(state(1, 0)),
    );
    let second = write(vec![plain(1, 4)], Some(state(1, 1)));
    let third = write(vec![plain(2, 3)], Some(state(2, 1)));
    let mut last = write(Vec::new(), Some(state(2, 3)));
    last.entries.clear();
    script.perform(&Action::Write(vec![first, second]))?;
    script.perform(&Action::Write(vec![third, last]))
}

/// Terms and indexes up to the largest that there are.
pub(super) fn large_indexes<S: Subject>(script: &mut Script<'_, S>) -> Done {
    let (term, last) = (Term::MAX.0, LogIndex::MAX.0);
    script.install(snapshot(1 << 33, 1 << 40))?;
    script.append_at(&[(1 << 33, (1 << 40) + 1), (1 << 34, (1 << 40) + 2)])?;
    script.reopen()?;
    script.install(snapshot(term - 2, last - 5))?;
    script.append_at(&[(term - 1, last - 4), (term - 1, last - 3)])?;
    script.append_at(&[
        (term, last - 3),
        (term, last - 2),
        (term, last - 1),
        (term, last),
    ])?;
    script.hard_state(term, Some(0), last)
}
