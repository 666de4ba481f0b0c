//! Section 7 of the paper: snapshots.

use almadia::{Body, LogId, MemStorage, Message, ProgressState, StepError};

use crate::nodes::*;

fn install(last: (u64, u64)) -> Body {
    Body::InstallSnapshot(snapshot(last, 3).into())
}

/// A log of these terms that is compacted through `through`, all of it committed.
fn compacted(terms: &[u64], through: u64) -> MemStorage {
    let mut storage = disk(3, terms);
    storage.set_hard_state(hard_state(*terms.last().unwrap(), None, through));
    let term = terms[through as usize - 1];
    storage.save_snapshot(snapshot((term, through), 3)).unwrap();
    storage.compact(index(through)).unwrap();
    storage
}

/// A snapshot of an earlier term's leader is refused, and teaches the current term.
#[test]
fn section_7_a_snapshot_of_an_earlier_term_is_refused() {
    let mut node = follower(1, 3, &[4]);
    let output = tell(&mut node, 2, 3, install((3, 9)));
    assert_eq!(output.messages[0].term.0, 4);
    assert_eq!(node.last_log(), LogId::new(4, 1));
}

/// A snapshot beyond the log takes its place: the log is discarded, the state and the membership
/// are the snapshot's, and replication goes on behind it.
#[test]
fn section_7_a_snapshot_replaces_a_shorter_log() {
    let mut node = follower(1, 3, &[1, 1]);
    node.step(message(
        2,
        1,
        3,
        Body::InstallSnapshot(snapshot((2, 7), 4).into()),
    ))
    .unwrap();
    let ready = take(&mut node);
    assert_eq!(ready.snapshot.as_deref(), Some(&snapshot((2, 7), 4)));
    assert_eq!(ready.applies_to(), Some(index(7)));
    assert!(ready.committed_entries.is_empty());
    write(&mut node, &ready);
    node.advance(ready).unwrap();

    assert_eq!(node.last_log(), LogId::new(2, 7));
    assert_eq!(
        (node.commit_index(), node.last_applied()),
        (index(7), index(7))
    );
    assert_eq!(node.membership().incoming().len(), 4);
    let output = tell(&mut node, 2, 3, append((2, 7), &[3], 8));
    assert_eq!(output.applied_ids(), [LogId::new(3, 8)]);
}

/// An entry that differs from the snapshot's last one goes with everything behind it.
#[test]
fn section_7_a_snapshot_that_contradicts_the_log_discards_all_of_it() {
    let mut node = follower(1, 3, &[1, 1, 1, 1]);
    let output = tell(&mut node, 2, 3, install((2, 3)));
    assert_eq!(output.messages[0].body, with_commit(accepted(3), 3));
    assert_eq!(node.last_log(), LogId::new(2, 3));
    assert_eq!(stored_terms(&node), []);
}

/// A snapshot whose last entry is in the log changes nothing but the commit index; the entries
/// behind it stay.
#[test]
fn section_7_entries_behind_a_matching_snapshot_are_kept() {
    let mut node = follower(1, 3, &[1, 1, 1, 1]);
    let output = tell(&mut node, 2, 1, install((1, 2)));
    assert_eq!(output.messages[0].body, with_commit(accepted(2), 2));
    assert_eq!(node.last_log(), LogId::new(1, 4));
    assert_eq!(stored_terms(&node), [1, 1, 1, 1]);
    assert_eq!(output.applied_ids(), [LogId::new(1, 1), LogId::new(1, 2)]);
}

/// A snapshot of what is committed here already is only acknowledged, as far as the commit index.
#[test]
fn section_7_an_old_snapshot_takes_nothing_back() {
    let mut node = follower(1, 3, &[]);
    tell(&mut node, 2, 1, append((0, 0), &[1, 1, 1], 3));
    let output = tell(&mut node, 2, 1, install((1, 2)));
    assert_eq!(output.messages[0].body, with_commit(accepted(3), 3));
    assert_eq!(
        (node.last_log(), node.commit_index()),
        (LogId::new(1, 3), index(3))
    );
    assert_eq!(output.applied_ids(), []);
}

/// A follower whose next entry the leader has discarded is sent a snapshot, and then what follows.
#[test]
fn section_7_the_leader_sends_a_snapshot_in_place_of_discarded_entries() {
    let mut node = open(settings(1), compacted(&[1, 1, 1, 1], 3));
    elect(&mut node);
    let output = tell(&mut node, 2, 2, rejected(4, (1, 1)));
    assert_eq!(output.snapshots_to(2), [snapshot((1, 3), 3)]);
    assert_eq!(output.appends_to(2), []);
    let progress = node.progress(id(2)).unwrap();
    assert_eq!(
        progress.state(),
        &ProgressState::Snapshot {
            pending: index(3),
            requested: false
        }
    );

    let output = tell(&mut node, 2, 2, accepted(3));
    let appends = output.appends_to(2);
    assert_eq!(appends[0].prev_log, LogId::new(1, 3));
    assert_eq!(
        appends.last().unwrap().entries.last_id(),
        Some(node.last_log())
    );
}

/// A snapshot with a membership that cannot be, or that this node does not belong to, is refused
/// before anything changes.
#[test]
fn section_7_a_senseless_snapshot_changes_nothing() {
    let mut node = follower(3, 3, &[1]);
    let before = node.clone();
    let without_this_node = Message {
        body: Body::InstallSnapshot(snapshot((1, 5), 2).into()),
        ..message(2, 3, 2, heartbeat(0))
    };
    let mut no_voters = snapshot((1, 5), 3);
    no_voters.conf_state.learners = std::mem::take(&mut no_voters.conf_state.voters);
    let no_voters = message(2, 3, 2, Body::InstallSnapshot(no_voters.into()));

    assert_eq!(
        node.step(without_this_node),
        Err(StepError::SnapshotWithoutThisNode)
    );
    assert!(matches!(
        node.step(no_voters),
        Err(StepError::SnapshotMembership(_))
    ));
    assert_eq!(node, before);
}
