//! Acknowledgements of entries and snapshots, and what is applied.

use almadia::{AcknowledgeError, Body, CampaignError, LogIndex, MessageKind};

use crate::kinds;
use crate::nodes::*;

/// An append acknowledgement does not leave before the entries are on the disk.
#[test]
fn an_append_acknowledgement_waits_for_the_entries() {
    let mut node = follower(1, 3, &[1]);
    node.step(message(2, 1, 1, append((1, 1), &[1], 0)))
        .unwrap();
    let ready = take(&mut node);
    assert!(ready.messages.is_empty());
    assert_eq!(ready.messages_after_persist[0].body, accepted(2));
    assert_eq!(node.status().persisted_index, index(1));

    // Asked again, it waits again: the first write is not acknowledged.
    node.step(message(2, 1, 1, append((1, 1), &[1], 0)))
        .unwrap();
    let again = take(&mut node);
    assert!(again.messages.is_empty());
    assert_eq!(again.messages_after_persist[0].body, accepted(2));
    persist(&mut node, &ready);
    assert_eq!(node.status().persisted_index, index(2));
}

/// An acknowledgement for old entries in a new term waits for the term.
#[test]
fn an_append_acknowledgement_waits_for_the_term() {
    let mut node = follower(1, 3, &[1]);
    node.step(message(2, 1, 5, append((1, 1), &[], 0))).unwrap();
    let ready = take(&mut node);
    assert!(ready.must_sync);
    assert!(ready.messages.is_empty());
    assert_eq!(ready.messages_after_persist[0].body, accepted(1));
}

/// An acknowledgement for what is durable leaves at once, even while something else is written.
#[test]
fn an_acknowledgement_of_durable_entries_does_not_wait() {
    let mut node = follower(1, 3, &[1, 1]);
    node.step(message(2, 1, 1, append((1, 2), &[1], 0)))
        .unwrap();
    let _writing = take(&mut node);
    node.step(message(2, 1, 1, append((1, 1), &[1], 0)))
        .unwrap();
    let ready = take(&mut node);
    assert_eq!(ready.messages[0].body, accepted(2));
}

/// An acknowledgement that covers the commit index says that the log is durable up to there.
#[test]
fn an_acknowledgement_up_to_the_commit_index_waits_for_it() {
    let mut node = follower(1, 3, &[]);
    node.step(message(2, 1, 1, append((0, 0), &[1, 1], 2)))
        .unwrap();
    let write = take(&mut node);
    // An old message, all of which is committed here; it is not on the disk all the same.
    node.step(message(2, 1, 1, append((0, 0), &[1], 0)))
        .unwrap();
    let ready = take(&mut node);
    assert!(ready.messages.is_empty());
    assert_eq!(
        ready.messages_after_persist[0].body,
        with_commit(accepted(2), 2)
    );
    assert!(ready.committed_entries.is_empty());
    persist(&mut node, &write);
    assert_eq!(take(&mut node).applies_to(), Some(index(2)));
}

/// A snapshot acknowledgement does not leave before the snapshot is on the disk, and nothing is
/// applied meanwhile.
#[test]
fn a_snapshot_acknowledgement_waits_for_the_snapshot() {
    let mut node = follower(1, 3, &[1]);
    node.step(message(
        2,
        1,
        1,
        Body::InstallSnapshot(snapshot((1, 5), 3).into()),
    ))
    .unwrap();
    node.step(message(2, 1, 1, append((1, 5), &[1], 6)))
        .unwrap();
    let ready = take(&mut node);
    assert!(ready.messages.is_empty() && ready.must_sync);
    let waiting: Vec<_> = ready
        .messages_after_persist
        .iter()
        .map(|message| &message.body)
        .collect();
    assert_eq!(
        waiting,
        [&with_commit(accepted(5), 5), &with_commit(accepted(6), 6)]
    );
    assert!(ready.committed_entries.is_empty());
    assert!(node.ready().unwrap().is_none());
    assert_eq!(node.campaign(), Err(CampaignError::InstallingSnapshot));
    assert_eq!(
        node.applied(index(5)),
        Err(AcknowledgeError::NotPersisted(index(5)))
    );
    persist(&mut node, &ready);
    // What follows the snapshot is applied to it, so not before it is in the state machine.
    assert!(node.ready().unwrap().is_none());
    node.applied(index(5)).unwrap();
    assert_eq!(take(&mut node).applies_to(), Some(index(6)));
}

/// Heartbeat responses, rejections and answers to outdated leaders never wait.
#[test]
fn heartbeat_responses_and_rejections_never_wait() {
    let mut node = follower(1, 3, &[1]);
    node.step(message(2, 1, 5, append((1, 1), &[5], 0)))
        .unwrap();
    node.step(message(2, 1, 5, heartbeat(0))).unwrap();
    node.step(message(2, 1, 5, append((5, 9), &[], 0))).unwrap();
    node.step(message(3, 1, 4, heartbeat(0))).unwrap();
    let ready = take(&mut node);
    assert_eq!(
        kinds(&ready.messages),
        [
            MessageKind::HeartbeatResponse,
            MessageKind::AppendEntriesResponse,
            MessageKind::AppendEntriesResponse
        ]
    );
    assert_eq!(
        kinds(&ready.messages_after_persist),
        [MessageKind::AppendEntriesResponse]
    );
    assert_eq!(ready.messages_after_persist[0].body, accepted(2));
}

/// Nothing is applied before it is persisted, on a follower too.
#[test]
fn a_follower_applies_only_what_is_persisted() {
    let mut node = follower(1, 3, &[]);
    node.step(message(2, 1, 1, append((0, 0), &[1, 1], 2)))
        .unwrap();
    let first = take(&mut node);
    assert!(first.committed_entries.is_empty());
    node.step(message(2, 1, 1, append((1, 2), &[1], 3)))
        .unwrap();
    let second = take(&mut node);
    assert!(second.committed_entries.is_empty());
    persist(&mut node, &first);
    let third = take(&mut node);
    assert_eq!(third.applies_to(), Some(index(2)));
    persist(&mut node, &second);
    assert_eq!(take(&mut node).applies_to(), Some(index(3)));
}

/// In the synchronous style the same rules hold within one round of the loop.
#[test]
fn in_the_synchronous_style_advance_acknowledges_and_applies() {
    let mut node = follower(1, 3, &[]);
    node.step(message(2, 1, 1, append((0, 0), &[1, 1], 2)))
        .unwrap();
    let ready = take(&mut node);
    assert_eq!(ready.messages_after_persist.len(), 1);
    write(&mut node, &ready);
    node.advance(ready).unwrap();
    assert_eq!(node.status().persisted_index, index(2));
    let ready = take(&mut node);
    assert_eq!(ready.applies_to(), Some(index(2)));
    assert!(!ready.must_sync, "at most a commit index");
    node.advance(ready).unwrap();
    assert_eq!(node.last_applied(), index(2));
    assert!(!node.has_ready());
}

/// A new commit index alone needs no fsync; entries, snapshots, terms and votes do.
#[test]
fn must_sync_is_asked_for_when_safety_rests_on_it() {
    let mut node = follower(1, 3, &[1, 1]);
    tell(&mut node, 2, 1, append((1, 2), &[], 0));
    node.step(message(2, 1, 1, heartbeat(2))).unwrap();
    let ready = take(&mut node);
    assert_eq!(ready.hard_state, Some(hard_state(1, None, 2)));
    assert!(!ready.must_sync);
    node.advance(ready).unwrap();
    for body in [
        append((1, 2), &[1], 0),
        Body::InstallSnapshot(snapshot((1, 7), 3).into()),
    ] {
        let mut node = node.clone();
        node.step(message(2, 1, 1, body)).unwrap();
        assert!(take(&mut node).must_sync);
    }
    node.step(message(3, 1, 2, request_vote((1, 2)))).unwrap();
    assert!(take(&mut node).must_sync);
}

/// An acknowledgement covers everything before it, a repeated one says nothing new, and one for a
/// `Ready` that never was is an error.
#[test]
fn acknowledgements_are_cumulative() {
    let mut node = follower(1, 3, &[]);
    let mut numbers = Vec::new();
    for at in 0..3 {
        let prev = if at == 0 { (0, 0) } else { (1, at) };
        node.step(message(2, 1, 1, append(prev, &[1], 0))).unwrap();
        let ready = take(&mut node);
        write(&mut node, &ready);
        numbers.push(ready.number);
    }
    assert_eq!(
        node.persisted(numbers[2] + 1),
        Err(AcknowledgeError::NoSuchReady(numbers[2] + 1))
    );
    assert_eq!(node.status().persisted_index, LogIndex::ZERO);
    node.persisted(numbers[1]).unwrap();
    node.persisted(numbers[0]).unwrap();
    assert_eq!(node.status().persisted_index, index(2));
    node.persisted(numbers[2]).unwrap();
    assert_eq!(node.status().persisted_index, index(3));
}
