//! Writes under way whose content is no longer wanted when they are done.

use almadia::{Body, CampaignError, LogId, Ready, Term};

use crate::nodes::*;

/// E3: an acknowledgement for entries that were overwritten meanwhile counts for nothing.
#[test]
fn e03_an_acknowledgement_of_overwritten_entries_counts_for_nothing() {
    let mut node = follower(1, 3, &[1]);
    node.step(message(2, 1, 2, append((1, 1), &[2, 2], 0)))
        .unwrap();
    let overwritten = take(&mut node);
    node.step(message(3, 1, 3, append((1, 1), &[3, 3], 3)))
        .unwrap();
    let valid = take(&mut node);
    persist(&mut node, &overwritten);
    assert_eq!(node.status().persisted_index, index(1));
    assert!(
        node.ready()
            .unwrap()
            .is_none_or(|ready| { ready.applies_to().is_none_or(|applied| applied <= index(1)) })
    );
    persist(&mut node, &valid);
    assert_eq!(node.status().persisted_index, index(3));
    assert_eq!(stored_terms(&node), [1, 3, 3]);
}

/// Three writes in flight: entries of A, entries of B over them, the same entries of A again.
fn a_b_a() -> (Node, [Box<Ready>; 3]) {
    let mut node = follower(1, 5, &[1]);
    node.step(message(2, 1, 2, append((1, 1), &[2, 2], 0)))
        .unwrap();
    let first = take(&mut node);
    node.step(message(3, 1, 3, append((1, 1), &[3], 0)))
        .unwrap();
    let second = take(&mut node);
    // A later leader whose log has A's entries.
    node.step(message(4, 1, 4, append((1, 1), &[2, 2], 0)))
        .unwrap();
    let third = take(&mut node);
    (node, [first, second, third])
}

/// E4, B39: the acknowledgement of A's first write says nothing of A's second, because B's write
/// comes between.
#[test]
fn e04_b39_the_first_of_three_writes_does_not_make_the_last_durable() {
    let (mut node, [first, second, third]) = a_b_a();
    assert_eq!(
        third.entries.iter().flatten().count(),
        2,
        "they are written again"
    );
    persist(&mut node, &first);
    assert_eq!(node.status().persisted_index, index(1));
    // Asked for the entries now, the node must not say that it has them.
    node.step(message(4, 1, 4, append((1, 1), &[2, 2], 0)))
        .unwrap();
    let ready = take(&mut node);
    assert!(ready.messages.is_empty());
    persist(&mut node, &second);
    assert_eq!(node.status().persisted_index, index(1));
    persist(&mut node, &third);
    assert_eq!(node.status().persisted_index, index(3));
    assert_eq!(stored_terms(&node), [1, 2, 2]);
}

/// E4: the same after a crash between the writes: the log is what the disk has got, and the node
/// goes on.
#[test]
fn e04_a_crash_between_the_three_writes_loses_only_what_was_not_acknowledged() {
    let expected: [&[u64]; 4] = [&[1], &[1, 2, 2], &[1, 3], &[1, 2, 2]];
    for (done, expected) in expected.iter().enumerate() {
        let (mut node, writes) = a_b_a();
        for ready in &writes[..done] {
            write(&mut node, ready);
        }
        let mut node = open(settings(1), node.storage().clone());
        assert_eq!(stored_terms(&node), *expected);
        tell(&mut node, 4, 4, append((1, 1), &[2, 2], 0));
        assert_eq!(stored_terms(&node), [1, 2, 2]);
    }
}

/// E4: with the last write acknowledged, the entries count and are applied without another append.
#[test]
fn e04_the_entries_are_released_without_new_appends() {
    let (mut node, [_, _, third]) = a_b_a();
    node.step(message(4, 1, 4, append((2, 3), &[], 3))).unwrap();
    assert_eq!(node.commit_index(), index(3));
    let waiting = take(&mut node);
    for run in &third.entries {
        node.storage_mut().append(run).unwrap();
    }
    // One acknowledgement for everything.
    node.persisted(waiting.number).unwrap();
    let of = |ready: &Ready| -> Vec<LogId> {
        let entries = ready.committed_entries.iter().flatten();
        entries.map(|entry| entry.id).collect()
    };
    let mut applied = of(&waiting);
    while let Some(ready) = node.ready().unwrap() {
        applied.extend(of(&ready));
        node.advance(ready).unwrap();
    }
    assert_eq!(
        applied,
        [LogId::new(1, 1), LogId::new(2, 2), LogId::new(2, 3)]
    );
    assert!(!node.has_ready());
}

/// B39 without a `Ready` in between: what comes back before it was handed out is handed out again,
/// if anything was lost.
#[test]
fn b39_entries_that_come_back_between_two_readies_are_written_again() {
    let mut node = follower(1, 5, &[1, 2, 2]);
    node.step(message(3, 1, 3, append((1, 1), &[3], 0)))
        .unwrap();
    node.step(message(4, 1, 4, append((1, 1), &[2, 2], 0)))
        .unwrap();
    assert_eq!(node.status().persisted_index, index(1));
    let ready = take(&mut node);
    persist(&mut node, &ready);
    assert_eq!(node.status().persisted_index, index(3));
    assert_eq!(stored_terms(&node), [1, 2, 2]);
}

/// E5: two snapshots in flight; the first acknowledgement makes the first one durable, no more.
#[test]
fn e05_two_snapshots_in_flight() {
    let mut node = follower(1, 3, &[1]);
    node.step(message(
        2,
        1,
        1,
        Body::InstallSnapshot(snapshot((1, 5), 3).into()),
    ))
    .unwrap();
    let first = take(&mut node);
    node.step(message(
        2,
        1,
        1,
        Body::InstallSnapshot(snapshot((1, 9), 3).into()),
    ))
    .unwrap();
    let second = take(&mut node);
    persist(&mut node, &first);
    assert_eq!(node.status().persisted_index, index(5));
    assert_eq!(node.campaign(), Err(CampaignError::InstallingSnapshot));
    persist(&mut node, &second);
    assert_eq!(node.status().persisted_index, index(9));
    node.applied(index(9)).unwrap();
    node.campaign().unwrap();
}

/// E9: a snapshot arrives while older entries are being written and applied: no `Ready` carries
/// both a snapshot and entries to apply, and nothing is applied twice or taken back.
#[test]
fn e09_a_snapshot_overtakes_entries_in_flight() {
    let mut node = follower(1, 3, &[1, 1]);
    node.step(message(2, 1, 1, append((1, 2), &[1, 1], 4)))
        .unwrap();
    let entries = take(&mut node);
    assert_eq!(entries.applies_to(), Some(index(2)), "what is persisted");
    node.step(message(
        2,
        1,
        1,
        Body::InstallSnapshot(snapshot((1, 9), 3).into()),
    ))
    .unwrap();
    node.step(message(2, 1, 1, append((1, 9), &[1], 10)))
        .unwrap();
    let install = take(&mut node);
    assert!(install.snapshot.is_some() && install.committed_entries.is_empty());

    persist(&mut node, &entries);
    node.applied(index(2)).unwrap();
    assert!(node.ready().unwrap().is_none());
    persist(&mut node, &install);
    node.applied(index(9)).unwrap();
    let ready = take(&mut node);
    let applied: Vec<_> = ready
        .committed_entries
        .iter()
        .flatten()
        .map(|entry| entry.id)
        .collect();
    assert_eq!(applied, [LogId::new(1, 10)]);
    node.advance(ready).unwrap();
    assert_eq!(node.status().persisted_index, index(10));
}

/// E12: the state machine has applied more than the last synced commit index tells; the node
/// starts, applies nothing twice, and goes on behind it.
#[test]
fn e12_a_restart_with_more_applied_than_committed() {
    let settings = settings(1).applied(LogId::new(1, 3));
    let mut storage = disk(3, &[1, 1, 1]);
    storage.set_hard_state(hard_state(1, None, 1));
    let mut node = open(settings, storage);
    assert_eq!(
        (node.commit_index(), node.last_applied()),
        (index(3), index(3)),
        "what is applied is committed"
    );
    let ready = take(&mut node);
    assert!(ready.committed_entries.is_empty() && !ready.must_sync);
    assert_eq!(ready.hard_state, Some(hard_state(1, None, 3)));
    node.advance(ready).unwrap();
    let output = tell(&mut node, 2, 1, append((1, 3), &[1], 4));
    assert_eq!(output.applied_ids(), [LogId::new(1, 4)]);
    // It can lead as well, before it has been told the commit index again.
    elect(&mut node);
    assert_eq!(node.current_term(), Term(2));
}
