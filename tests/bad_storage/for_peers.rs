//! A leader whose storage fails, lies or takes its time while it reads for its peers.

use super::*;

#[test]
fn ready_when_a_peers_entries_cannot_be_read() {
    for error in fatal_errors() {
        let seen = if error == StorageError::Unavailable {
            contract("entries inside the log are not there")
        } else {
            error.clone()
        };
        let mut node = leader();
        reject_everything(&mut node);
        node.storage_mut().entries = Some(Err(error));
        let halted = Halted {
            error: seen.clone(),
        };
        assert!(node.ready().is_err_and(|error| error == halted));
        assert_stopped(&mut node, &seen);
    }
}

#[test]
fn ready_when_a_peers_entries_are_others_than_asked_for() {
    let seen = contract("entries() did not return the entries asked for");
    for wrong in [
        &[][..],
        &[(1, 2)],
        &[(1, 1), (1, 3)],
        &[(0, 1)],
        &[(1, u64::MAX)],
        &[(1, 1), (4, 2)],
    ] {
        let mut node = leader();
        reject_everything(&mut node);
        node.storage_mut().entries = Some(Ok(entries(wrong)));
        assert!(node.ready().is_err(), "{wrong:?}");
        assert_stopped(&mut node, &seen);
    }
}

/// The entry before those that the peer lacks is said to be of a later term than they are.
#[test]
fn ready_when_the_term_before_a_peers_entries_is_too_late() {
    let mut node = leader();
    let rejected = AppendEntriesResponse::Rejected {
        prev_index: LogIndex(5),
        hint: LogId::new(1, 1),
        commit_index: LogIndex::ZERO,
    };
    let body = Body::AppendEntriesResponse(rejected);
    node.step(message(2, 1, 3, body)).expect("a rejection");
    node.storage_mut().term = Some(Ok(Term(2)));
    assert!(node.ready().is_err());
    assert_stopped(&mut node, &contract("the terms of the log fall"));
}

fn sent_to_two(messages: &[Message]) -> Vec<&Body> {
    let to_two = messages.iter().filter(|message| message.to == id(2));
    to_two.map(|message| &message.body).collect()
}

fn heartbeat_answer() -> Message {
    let body = Body::HeartbeatResponse(almadia::HeartbeatResponse {
        commit_index: LogIndex(0),
        token: almadia::Token::None,
    });
    message(2, 1, 3, body)
}

#[test]
fn a_peer_waits_for_entries_that_are_fetched() {
    let mut node = leader();
    reject_everything(&mut node);
    node.storage_mut().entries = Some(Err(StorageError::TemporarilyUnavailable));
    assert!(sent_to_two(&settle(&mut node)).is_empty());
    node.step(heartbeat_answer()).expect("an answer");
    assert!(sent_to_two(&settle(&mut node)).is_empty());
    assert!(node.progress(id(2)).expect("a peer").is_fetching());
    node.storage_mut().entries = None;
    node.step(heartbeat_answer()).expect("an answer");
    let sent = settle(&mut node);
    let [Body::AppendEntries(append)] = sent_to_two(&sent)[..] else {
        panic!("one append, not {sent:?}");
    };
    assert_eq!(append.entries.first_id(), Some(LogId::new(1, 1)));
    assert_eq!(node.halted(), None);
}

/// E59: the storage says when it has fetched them.
#[test]
fn e59_entries_that_are_fetched_are_sent_when_the_storage_says_so() {
    let mut node = leader();
    reject_everything(&mut node);
    node.storage_mut().entries = Some(Err(StorageError::TemporarilyUnavailable));
    assert!(sent_to_two(&settle(&mut node)).is_empty());
    assert_eq!(node.why_paused(id(2)), Some(almadia::Paused::Fetching));
    node.storage_mut().entries = None;
    assert!(!node.has_ready());
    for other in [
        Purpose::Send(id(3)),
        Purpose::Send(id(9)),
        Purpose::Apply,
        Purpose::Scan,
    ] {
        node.on_entries_fetched(other);
        assert!(!node.has_ready(), "{other:?}");
    }
    let mut deposed = node.clone();
    node.on_entries_fetched(Purpose::Send(id(2)));
    let sent = settle(&mut node);
    assert!(matches!(sent_to_two(&sent)[..], [Body::AppendEntries(_)]));

    // Too late: this node has stepped down, and neither sends nor makes anything.
    let heartbeat = Body::Heartbeat(almadia::Heartbeat {
        leader_commit: LogIndex(0),
        token: almadia::Token::None,
    });
    deposed
        .step(message(3, 1, 9, heartbeat))
        .expect("a later leader");
    settle(&mut deposed);
    deposed.on_entries_fetched(Purpose::Send(id(2)));
    assert_eq!(settle(&mut deposed), []);
}

#[test]
fn a_peer_waits_for_a_snapshot_that_is_made() {
    let mut node = leader_that_has_to_send_a_snapshot();
    node.storage_mut().snapshot = Some(Err(StorageError::TemporarilyUnavailable));
    for _ in 0..3 {
        assert!(sent_to_two(&settle(&mut node)).is_empty());
        node.step(heartbeat_answer()).expect("an answer");
    }
    assert_eq!(node.halted(), None);
    node.storage_mut().snapshot = None;
    let sent = settle(&mut node);
    assert!(matches!(sent_to_two(&sent)[..], [Body::InstallSnapshot(_)]));
}

#[test]
fn ready_when_a_snapshot_cannot_be_had() {
    for error in [
        StorageError::Compacted,
        StorageError::Unavailable,
        contract("found"),
        broken(),
    ] {
        let mut node = leader_that_has_to_send_a_snapshot();
        node.storage_mut().snapshot = Some(Err(error.clone()));
        assert!(node.ready().is_err());
        assert_stopped(&mut node, &error);
    }
}

#[test]
fn ready_when_a_snapshot_is_not_of_this_log() {
    let seen = contract("the snapshot is not of this log, or too old");
    for (term, index) in [
        (0, 0),
        (1, 3),
        (1, 4),
        (0, 4),
        (9, 9),
        (2, LogIndex::MAX.0),
        (2, u64::MAX),
    ] {
        let mut node = leader_that_has_to_send_a_snapshot();
        let wrong = snapshot(term, index, ConfState::of_voters(voters()));
        node.storage_mut().snapshot = Some(Ok(wrong));
        assert!(node.ready().is_err(), "{term}/{index}");
        assert_stopped(&mut node, &seen);
    }
}

#[test]
fn ready_when_a_snapshot_has_a_broken_membership() {
    let seen = contract("the snapshot's membership is inconsistent");
    let conf_state = ConfState {
        learners: vec![id(2)],
        ..ConfState::of_voters(voters())
    };
    let mut node = leader_that_has_to_send_a_snapshot();
    node.storage_mut().snapshot = Some(Ok(snapshot(2, 4, conf_state)));
    assert!(node.ready().is_err());
    assert_stopped(&mut node, &seen);
}

/// A snapshot that was made before the peer was added is sound, only of no use to it.
#[test]
fn a_peer_waits_for_a_snapshot_that_knows_it() {
    for conf_state in [ConfState::of_voters([id(1), id(3)]), ConfState::default()] {
        let mut node = leader_that_has_to_send_a_snapshot();
        node.storage_mut().snapshot = Some(Ok(snapshot(2, 4, conf_state)));
        node.storage_mut().later = Some(Err(StorageError::TemporarilyUnavailable));
        assert!(sent_to_two(&settle(&mut node)).is_empty());
        assert_eq!(node.halted(), None);
        // The storage was asked for one that goes further, and has made it meanwhile.
        let last = node.last_log();
        let later = snapshot(last.term.0, last.index.0, ConfState::of_voters(voters()));
        node.storage_mut().later = Some(Ok(later.clone()));
        node.step(heartbeat_answer()).expect("an answer");
        let sent = settle(&mut node);
        assert_eq!(sent_to_two(&sent), [&Body::InstallSnapshot(later.into())]);
    }
}

/// Entries to be applied that have to be fetched first: asked for again after a tick, and not
/// again and again before.
#[test]
fn entries_to_apply_that_are_fetched_are_waited_for() {
    let mut node = started();
    node.storage_mut().entries = Some(Err(StorageError::TemporarilyUnavailable));
    for _ in 0..3 {
        let _ = settle(&mut node);
        assert!(!node.has_ready());
        node.tick().expect("not fatal");
        assert!(node.has_ready());
    }
    node.storage_mut().entries = None;
    settle(&mut node);
    assert_eq!(node.last_applied(), node.commit_index());
}

#[test]
fn ready_when_first_index_cannot_be_read() {
    for error in every_error() {
        let mut node = leader_that_has_to_send_a_snapshot();
        node.storage_mut().first_index = Some(Err(error.clone()));
        assert!(node.ready().is_err());
        assert_stopped(&mut node, &error);
    }
}

#[test]
fn ready_when_first_index_lies() {
    let seen = contract("the snapshot is not of this log, or too old");
    for index in [9, u64::MAX] {
        let mut node = leader_that_has_to_send_a_snapshot();
        let beyond = snapshot(2, 4, ConfState::of_voters(voters()));
        node.storage_mut().first_index = Some(Ok(LogIndex(index)));
        node.storage_mut().snapshot = Some(Ok(beyond));
        assert!(node.ready().is_err());
        assert_stopped(&mut node, &seen);
    }
    // Zero says less than the node knows itself.
    let mut node = leader_that_has_to_send_a_snapshot();
    node.storage_mut().first_index = Some(Ok(LogIndex(0)));
    let sent = settle(&mut node);
    assert!(matches!(sent_to_two(&sent)[..], [Body::InstallSnapshot(_)]));
}

/// Why a `Ready` cannot be acknowledged: the node stopped after handing it out.
#[test]
fn advance_after_the_storage_failed() {
    let mut node = started();
    let ready = node.ready().expect("sound").expect("entries to apply");
    node.storage_mut().term = Some(Err(broken()));
    node.step(message(2, 1, 2, append((1, 3), 4, &[])))
        .expect_err("the storage fails");
    let halted = Halted { error: broken() };
    assert_eq!(node.advance(ready), Err(AcknowledgeError::Halted(halted)));
    assert_stopped(&mut node, &broken());
}

/// A leader that has stopped commits nothing, whatever rule it is given to commit by.
#[test]
fn group_commit_after_the_storage_failed() {
    let mut node = leader();
    node.set_group_commit(true);
    let accepted = AppendEntriesResponse::Accepted {
        match_index: node.last_log().index,
        commit_index: LogIndex::ZERO,
    };
    let body = Body::AppendEntriesResponse(accepted);
    node.step(message(2, 1, 3, body)).expect("it has all");
    let mut running = node.clone();
    running.set_group_commit(false);
    assert!(running.commit_index() > node.commit_index());

    node.storage_mut().term = Some(Err(broken()));
    node.step(message(3, 1, 3, append((1, 3), 4, &[])))
        .expect_err("the storage fails");
    let before = node.hard_state();
    node.set_group_commit(false);
    assert_eq!(node.hard_state(), before);
    assert_stopped(&mut node, &broken());
}
