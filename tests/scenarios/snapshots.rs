//! Snapshots: asked for by a follower, sent by somebody else, late.

use almadia::{
    AcknowledgeError, AppendEntriesResponse, Body, ConfState, LogIndex, RequestSnapshotError,
    RoleKind, Snapshot, SnapshotStatus,
};

use crate::nodes::*;

fn requested(last: (u64, u64), commit: u64, request: u64) -> Body {
    Body::AppendEntriesResponse(AppendEntriesResponse::SnapshotRequested {
        last_log: almadia::LogId::new(last.0, last.1),
        commit_index: index(commit),
        request_index: index(request),
    })
}

/// A follower with three entries, two of them committed, that has asked for a snapshot.
fn asking() -> (Node, Output) {
    let mut node = follower(2, 3, &[]);
    tell(&mut node, 1, 1, append((0, 0), &[1, 1, 1], 2));
    node.request_snapshot().unwrap();
    let output = settle(&mut node);
    (node, output)
}

#[test]
fn a_follower_asks_for_a_snapshot_of_its_whole_log_until_it_comes() {
    let (mut node, output) = asking();
    let wish = requested((1, 3), 2, 3);
    // What was acknowledged before is said again: the leader has to commit it first.
    let acknowledged = message(2, 1, 1, with_commit(accepted(3), 2));
    assert_eq!(
        output.messages,
        [message(2, 1, 1, wish.clone()), acknowledged]
    );
    let output = tell(&mut node, 1, 1, heartbeat(2));
    assert!(output.messages.contains(&message(2, 1, 1, wish.clone())));
    tell(
        &mut node,
        1,
        1,
        Body::InstallSnapshot(snapshot((1, 3), 3).into()),
    );
    assert_eq!(
        node.storage().saved_snapshot().unwrap().last_included.index,
        index(3)
    );
    assert_eq!(node.last_applied(), index(3));
    let output = tell(&mut node, 1, 1, heartbeat(3));
    assert!(!output.messages.iter().any(|it| it.body == wish));
}

/// What was acknowledged must be in the snapshot: so the log does not grow meanwhile, and a
/// snapshot that does not reach its end is none that was asked for (B46).
#[test]
fn b46_a_requested_snapshot_takes_nothing_that_was_acknowledged() {
    let (mut node, _) = asking();
    let output = tell(&mut node, 1, 1, append((1, 3), &[1, 1], 3));
    assert_eq!(node.last_log().index, index(3));
    assert_eq!(node.commit_index(), index(3));
    let accepted = AppendEntriesResponse::Accepted {
        match_index: index(3),
        commit_index: index(3),
    };
    let answered = |body| output.messages.iter().any(|message| message.body == body);
    assert!(answered(Body::AppendEntriesResponse(accepted)));
    assert!(answered(requested((1, 3), 2, 3)), "and it is told why");
    tell(
        &mut node,
        1,
        1,
        Body::InstallSnapshot(snapshot((1, 2), 3).into()),
    );
    assert_eq!(node.last_log().index, index(3), "nothing is taken away");
    assert_eq!(stored_terms(&node), [1, 1, 1]);
    tell(
        &mut node,
        1,
        1,
        Body::InstallSnapshot(snapshot((1, 3), 3).into()),
    );
    tell(&mut node, 1, 1, append((1, 3), &[1, 1], 5));
    assert_eq!(node.last_applied(), index(5), "the log grows again");
}

/// The leader is told again when it sends what cannot be taken, and only then.
#[test]
fn a_request_is_repeated_where_it_was_not_heard() {
    for (append, repeated) in [
        (append((1, 1), &[1, 1], 2), false),
        (append((1, 2), &[1], 2), false),
        (append((1, 3), &[], 2), false),
        (append((1, 1), &[1, 1, 1], 2), true),
        (append((1, 5), &[], 2), true),
    ] {
        let (mut node, _) = asking();
        let output = tell(&mut node, 1, 1, append.clone());
        let wish = requested((1, 3), 2, 3);
        let has_wish = output.messages.iter().any(|it| it.body == wish);
        assert_eq!(has_wish, repeated, "{append:?}");
    }
}

/// A snapshot that ends where the state machine is takes nothing back of what was reported as applied.
#[test]
fn a_snapshot_takes_no_state_machine_back_that_is_just_there() {
    let (mut node, _) = asking();
    tell(&mut node, 1, 1, append((1, 3), &[], 3));
    assert_eq!(node.last_applied(), index(3));
    let install = Body::InstallSnapshot(snapshot((1, 3), 3).into());
    node.step(message(1, 2, 1, install)).unwrap();
    let installing = take(&mut node);
    assert!(installing.snapshot.is_some());
    assert_eq!(node.last_applied(), index(3));
    persist(&mut node, &installing);
    assert_eq!(node.last_applied(), index(3));
}

/// What a `Ready` asked for is not in the next one, whatever the embedder has left in it.
#[test]
fn a_snapshot_and_a_hard_state_are_handed_out_once() {
    let mut node = open(settings(2), disk(3, &[1]));
    let install = Body::InstallSnapshot(snapshot((1, 3), 3).into());
    node.step(message(1, 2, 1, install)).unwrap();
    let first = take(&mut node);
    assert!(first.snapshot.is_some() && first.hard_state.is_some() && first.must_sync);
    write(&mut node, &first);
    node.advance(first).unwrap();
    node.step(message(1, 2, 1, heartbeat(3))).unwrap();
    let second = take(&mut node);
    assert_eq!(second.messages.len(), 1);
    assert!(second.snapshot.is_none() && second.hard_state.is_none() && !second.must_sync);
    assert_eq!(second.applies_to(), None);
}

/// What was handed out before a requested snapshot came may be reported as applied, though the
/// snapshot ends in the same place and is not on the disk.
#[test]
fn what_was_handed_out_before_a_requested_snapshot_is_applied() {
    let (mut node, _) = asking();
    node.step(message(1, 2, 1, append((1, 3), &[], 3))).unwrap();
    let applying = take(&mut node);
    assert_eq!(applying.applies_to(), Some(index(3)));
    persist(&mut node, &applying);
    let install = Body::InstallSnapshot(snapshot((1, 3), 3).into());
    node.step(message(1, 2, 1, install)).unwrap();
    let installing = take(&mut node);
    assert!(installing.snapshot.is_some());
    node.applied(index(3)).unwrap();
    persist(&mut node, &installing);
    node.applied(index(3)).unwrap();
    assert_eq!(node.last_applied(), index(3));
}

/// A snapshot that is not persisted is not applied either, also if another one follows it. Once it
/// is persisted, that other one is waited for.
#[test]
fn a_snapshot_that_another_follows_is_not_applied_before_it_is_persisted() {
    let mut node = follower(2, 3, &[]);
    let mut readies = Vec::new();
    for last in [10, 20] {
        let install = Body::InstallSnapshot(snapshot((1, last), 3).into());
        node.step(message(1, 2, 1, install)).unwrap();
        let not_persisted = Err(AcknowledgeError::NotPersisted(index(10)));
        readies.push(take(&mut node));
        assert_eq!(node.applied(index(10)), not_persisted);
    }
    persist(&mut node, &readies[0]);
    node.applied(index(10)).unwrap();
    let not_persisted = Err(AcknowledgeError::NotPersisted(index(20)));
    assert_eq!(node.applied(index(20)), not_persisted);
    persist(&mut node, &readies[1]);
    node.applied(index(20)).unwrap();
}

/// A follower of raft-rs that waits for a snapshot answers heartbeats with nothing but its wish. So
/// each of these wishes stands for an answer: one that could not be fulfilled, or whose snapshot
/// was lost, is fulfilled later.
#[test]
fn a_wish_for_a_snapshot_is_an_answer_to_a_heartbeat() {
    let mut node = leader(1, 3, &[1]);
    let last = node.last_log();
    tell(&mut node, 3, last.term.0, accepted(last.index.0));
    let last = (last.term.0, last.index.0);
    let wish = || requested(last, last.1, last.1);
    let output = tell(&mut node, 2, last.0, wish());
    assert!(output.snapshots_to(2).is_empty(), "there is none yet");
    let storage = node.storage_mut();
    storage.save_snapshot(snapshot(last, 3)).unwrap();
    let output = tell(&mut node, 2, last.0, wish());
    assert_eq!(output.snapshots_to(2).len(), 1);
    node.report_snapshot(id(2), SnapshotStatus::Failed);
    assert!(settle(&mut node).snapshots_to(2).is_empty());
    let output = tell(&mut node, 2, last.0, wish());
    assert_eq!(output.snapshots_to(2).len(), 1, "the first one was lost");
}

#[test]
fn a_snapshot_is_asked_of_a_leader() {
    let mut node = follower(2, 3, &[1]);
    assert_eq!(node.request_snapshot(), Err(RequestSnapshotError::NoLeader));
    let mut leading = leader(1, 3, &[1]);
    assert_eq!(
        leading.request_snapshot(),
        Err(RequestSnapshotError::NoLeader)
    );
    node.step(message(
        1,
        2,
        1,
        Body::InstallSnapshot(snapshot((1, 5), 3).into()),
    ))
    .unwrap();
    assert_eq!(
        node.request_snapshot(),
        Err(RequestSnapshotError::InstallingSnapshot)
    );
}

/// The request goes on with another leader, once the log is known to be that leader's: a log that
/// stopped growing before could keep the new leader from ever committing. It ends when this node
/// leads itself.
#[test]
fn a_request_outlives_its_leader() {
    let (mut node, _) = asking();
    let wishes = |output: &Output| {
        let is_wish = |body: &Body| {
            matches!(
                body,
                Body::AppendEntriesResponse(AppendEntriesResponse::SnapshotRequested { .. })
            )
        };
        output.to(3).iter().filter(|it| is_wish(&it.body)).count()
    };
    let output = tell(&mut node, 3, 2, heartbeat(2));
    assert_eq!(wishes(&output), 0);
    tell(&mut node, 3, 2, append((1, 3), &[2], 2));
    assert_eq!(node.last_log().index, index(4), "the log grows until then");
    let output = tell(&mut node, 3, 2, heartbeat(2));
    assert_eq!(wishes(&output), 1);
    assert!(
        output
            .messages
            .contains(&message(2, 3, 2, requested((2, 4), 2, 4)))
    );
    elect(&mut node);
    tell(&mut node, 3, 3, accepted(5));
    assert_eq!(node.commit_index(), index(5));
    let output = tell(&mut node, 3, 4, heartbeat(5));
    assert_eq!(wishes(&output), 0);
}

#[test]
fn a_leader_sends_the_snapshot_that_was_asked_for_once() {
    let mut node = leader(1, 3, &[1]);
    tell(&mut node, 2, 2, accepted(2));
    let output = tell(&mut node, 2, 2, requested((2, 2), 2, 2));
    assert!(output.snapshots_to(2).is_empty(), "there is none yet");
    let storage = node.storage_mut();
    storage.save_snapshot(snapshot((2, 2), 3)).unwrap();
    let output = tell(&mut node, 2, 2, heartbeat_response(2));
    assert!(output.snapshots_to(2).is_empty(), "the peer says it again");
    let output = tell(&mut node, 2, 2, requested((2, 2), 2, 2));
    assert_eq!(output.snapshots_to(2).len(), 1);
    // It is on its way, whatever the peer says meanwhile: it had all of that before.
    for body in [
        heartbeat_response(2),
        requested((2, 2), 2, 2),
        accepted(2),
        heartbeat_response(2),
    ] {
        let output = tell(&mut node, 2, 2, body);
        assert!(output.snapshots_to(2).is_empty());
    }
    propose(&mut node, "x");
    assert!(settle(&mut node).appends_to(2).is_empty());
    node.report_snapshot(id(2), almadia::SnapshotStatus::Delivered);
    let output = tell(&mut node, 2, 2, accepted(2));
    assert_eq!(output.appends_to(2).len(), 1);
}

/// E61: a snapshot of an earlier leader that arrives late is used, and the new leader told.
#[test]
fn e61_a_snapshot_of_an_old_leader_is_of_use_to_the_new_one() {
    let mut node = follower(2, 3, &[1]);
    node.step(message(
        1,
        2,
        1,
        Body::InstallSnapshot(snapshot((1, 5), 3).into()),
    ))
    .unwrap();
    node.step(message(3, 2, 2, heartbeat(0))).unwrap();
    let output = settle(&mut node);
    assert_eq!(node.last_log().index, index(5));
    let accepted = Body::AppendEntriesResponse(AppendEntriesResponse::Accepted {
        match_index: index(5),
        commit_index: index(5),
    });
    let to_old = output
        .messages
        .iter()
        .find(|it| it.body == accepted)
        .unwrap();
    assert_eq!(to_old.to, id(1));
    // The new leader's probe finds the entry that the snapshot ends with.
    let output = tell(&mut node, 3, 2, append((1, 5), &[2], 5));
    assert!(output.to(3).iter().any(|it| {
        matches!(
            it.body,
            Body::AppendEntriesResponse(AppendEntriesResponse::Accepted { match_index, .. })
                if match_index == LogIndex(6)
        )
    }));
}

/// B47: while a snapshot is installed the old membership counts for nothing that the new one
/// forbids: a node that it makes a learner does not campaign.
#[test]
fn b47_a_node_that_a_snapshot_makes_a_learner_does_not_campaign() {
    let mut conf_state = ConfState::of_voters([1, 3].map(id));
    conf_state.learners = vec![id(2)];
    let snapshot = Snapshot {
        conf_state,
        ..snapshot((1, 5), 3)
    };
    let mut node = follower(2, 3, &[1]);
    node.step(message(1, 2, 1, Body::InstallSnapshot(snapshot.into())))
        .unwrap();
    for _ in 0..100 {
        node.tick().unwrap();
        assert_eq!(node.role(), RoleKind::Follower);
    }
    settle(&mut node);
    for _ in 0..100 {
        node.tick().unwrap();
        assert_eq!(node.role(), RoleKind::Follower);
    }
}

/// B53: the same snapshot twice, and an older one behind it, change nothing more.
#[test]
fn b53_repeated_and_superseded_snapshots() {
    let mut node = follower(2, 3, &[1]);
    let install = |last| Body::InstallSnapshot(snapshot(last, 3).into());
    node.step(message(1, 2, 1, install((1, 5)))).unwrap();
    let first = take(&mut node);
    node.step(message(1, 2, 1, install((1, 5)))).unwrap();
    node.step(message(1, 2, 1, install((1, 4)))).unwrap();
    let again = take(&mut node);
    assert!(again.snapshot.is_none());
    persist(&mut node, &first);
    node.step(message(1, 2, 1, install((1, 9)))).unwrap();
    let later = take(&mut node);
    assert_eq!(
        later.snapshot.as_ref().unwrap().last_included.index,
        index(9)
    );
    persist(&mut node, &later);
    node.applied(index(9)).unwrap();
    assert_eq!(node.last_log().index, index(9));
}
