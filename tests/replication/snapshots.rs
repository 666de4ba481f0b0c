//! Peers that are behind the leader's compacted log.

use almadia::{
    Body, Entries, EntriesRequest, InitialState, LogId, LogIndex, MemStorage, Message, NodeId,
    ProgressState, RawNode, Snapshot, SnapshotStatus, Storage, StorageError, Term,
};

use crate::nodes::*;

/// Saves a snapshot of the log up to here, and forgets what it covers.
fn compact(node: &mut Node, through: (u64, u64)) {
    let voters = node.membership().incoming().len() as u64;
    let storage = node.storage_mut();
    storage.save_snapshot(snapshot(through, voters)).unwrap();
    storage.compact(index(through.1)).unwrap();
}

/// A leader of term 2 with the log 1 1 1 2, compacted through 3, whose peer 2 has been sent a
/// snapshot.
fn sending_a_snapshot() -> Node {
    let mut node = needing_a_snapshot();
    let output = tell(&mut node, 2, 2, rejected(3, (0, 0)));
    assert_eq!(output.snapshots_to(2).len(), 1);
    assert_eq!(
        state(&node),
        ProgressState::Snapshot {
            pending: index(3),
            requested: false
        }
    );
    node
}

/// The same leader, before peer 2 has said where it is.
fn needing_a_snapshot() -> Node {
    let mut storage = disk(3, &[1, 1, 1]);
    storage.set_hard_state(hard_state(1, None, 3));
    let mut node = open(settings(1), storage);
    settle(&mut node);
    elect(&mut node);
    tell(&mut node, 3, 2, accepted(4));
    compact(&mut node, (1, 3));
    node
}

fn state(node: &Node) -> ProgressState {
    node.progress(id(2)).unwrap().state().clone()
}

fn next_index(node: &Node) -> LogIndex {
    node.progress(id(2)).unwrap().next_index()
}

/// A node that was away while the log was compacted gets a snapshot, then the rest.
#[test]
fn a_node_behind_a_compacted_log_catches_up() {
    let mut network = Network::of_logs(&[&[], &[], &[]]);
    network.campaign(1);
    network.cut_off.insert(3);
    for number in 0..20 {
        network.propose(1, &format!("command {number}"));
        network.run();
    }
    compact(network.node(1), (1, 15));
    network.cut_off.clear();
    for _ in 0..5 {
        network.tick(1);
    }
    let three = network.node(3);
    assert_eq!(three.last_log(), LogId::new(1, 21));
    assert_eq!(
        (three.commit_index(), three.last_applied()),
        (index(21), index(21))
    );
    let applied = network.applied_ids(3);
    let expected: Vec<_> = (16..=21).map(|at| LogId::new(1, at)).collect();
    assert_eq!(applied[applied.len() - 6..], expected);
    let sent = network
        .sent
        .iter()
        .filter(|message| message.body.as_snapshot().is_some());
    assert_eq!(sent.count(), 1, "one snapshot is enough");
}

/// While a snapshot is on its way the peer is sent no entries, whatever is proposed, and not a
/// second snapshot.
#[test]
fn nothing_is_sent_beside_a_snapshot() {
    let mut node = sending_a_snapshot();
    propose(&mut node, "x");
    let output = settle(&mut node);
    assert!(output.to(2).is_empty());
    let output = tell(&mut node, 2, 2, heartbeat_response(0));
    assert!(output.to(2).is_empty());
}

/// E52: a snapshot that reaches the last index of an idle leader makes the peer replicate at once.
#[test]
fn e52_a_snapshot_at_the_last_index_leads_straight_to_replication() {
    let mut node = needing_a_snapshot();
    tell(&mut node, 3, 2, accepted(4));
    compact(&mut node, (2, 4));
    let output = tell(&mut node, 2, 2, rejected(3, (0, 0)));
    assert_eq!(output.snapshots_to(2)[0].last_included, LogId::new(2, 4));
    tell(&mut node, 2, 2, accepted(4));
    assert!(matches!(state(&node), ProgressState::Replicate { .. }));
    propose(&mut node, "x");
    assert_eq!(settle(&mut node).appends_to(2).len(), 1);
}

/// A peer that has restored a snapshot says that it has committed all of it, so nobody tells it.
#[test]
fn a_restored_peer_is_not_told_the_commit_index_that_it_tells() {
    for (told, is_told) in [(4, false), (3, true)] {
        let mut node = needing_a_snapshot();
        tell(&mut node, 3, 2, accepted(4));
        compact(&mut node, (2, 4));
        tell(&mut node, 2, 2, rejected(3, (0, 0)));
        let output = tell(&mut node, 2, 2, with_commit(accepted(4), told));
        assert_eq!(output.appends_to(2).len(), usize::from(is_told));
    }
}

/// E53: any acknowledgement from which the log can go on ends the wait, also one below the
/// snapshot that was sent; one from which it cannot does not.
#[test]
fn e53_an_acknowledgement_below_the_pending_snapshot_is_used() {
    let mut node = needing_a_snapshot();
    // The log begins at 4, but a snapshot of 4 is sent.
    node.storage_mut()
        .save_snapshot(snapshot((2, 4), 3))
        .unwrap();
    let output = tell(&mut node, 2, 2, rejected(3, (0, 0)));
    assert_eq!(output.snapshots_to(2)[0].last_included, LogId::new(2, 4));
    tell(&mut node, 2, 2, accepted(2));
    assert!(
        matches!(state(&node), ProgressState::Snapshot { .. }),
        "entry 3 is gone"
    );
    let appends = tell(&mut node, 2, 2, accepted(3)).appends_to(2);
    assert!(matches!(state(&node), ProgressState::Replicate { .. }));
    assert_eq!(appends[0].prev_log, LogId::new(1, 3));
    assert_eq!(appends[0].entries.first_id(), Some(LogId::new(2, 4)));
}

/// The end of the log that a snapshot covers may be gone when the snapshot has arrived: then it takes
/// another one, at once.
#[test]
fn e53_a_snapshot_behind_which_the_log_is_compacted_is_followed_by_another() {
    let mut node = sending_a_snapshot();
    compact(&mut node, (2, 4));
    let output = tell(&mut node, 2, 2, accepted(3));
    assert_eq!(output.snapshots_to(2)[0].last_included, LogId::new(2, 4));
    tell(&mut node, 2, 2, accepted(4));
    assert!(matches!(state(&node), ProgressState::Replicate { .. }));
}

/// The log does not go on from where it began when the node was started, once it is compacted: an
/// acknowledgement of that does not make a second snapshot leave beside the first.
#[test]
fn e53_an_acknowledgement_of_what_the_log_began_with_is_too_old() {
    let mut storage = MemStorage::with_snapshot(snapshot((1, 1), 3));
    storage.append(run(1, &[1, 1])).unwrap();
    storage.set_hard_state(hard_state(1, None, 3));
    let mut node = open(settings(1), storage);
    settle(&mut node);
    elect(&mut node);
    tell(&mut node, 3, 2, accepted(4));
    compact(&mut node, (1, 3));
    let output = tell(&mut node, 2, 2, rejected(3, (0, 0)));
    assert_eq!(output.snapshots_to(2).len(), 1);
    let output = tell(&mut node, 2, 2, accepted(1));
    assert!(output.to(2).is_empty(), "the snapshot is on its way");
    let appends = tell(&mut node, 2, 2, accepted(3)).appends_to(2);
    assert_eq!(appends[0].prev_log, LogId::new(1, 3));
}

/// E60: a snapshot that failed is tried again after the next heartbeat, from where the peer is.
#[test]
fn e60_a_failed_snapshot_is_sent_again_after_a_heartbeat() {
    let mut node = sending_a_snapshot();
    node.report_snapshot(id(2), SnapshotStatus::Failed);
    assert_eq!(state(&node), ProgressState::Probe { awaiting: true });
    assert_eq!(next_index(&node), index(1));
    assert!(settle(&mut node).to(2).is_empty(), "not at once");
    let output = tell(&mut node, 2, 2, heartbeat_response(0));
    assert_eq!(output.snapshots_to(2).len(), 1);
}

/// E60: a snapshot that was delivered is followed by a probe behind it, after the acknowledgement
/// or a heartbeat.
#[test]
fn e60_a_delivered_snapshot_is_followed_by_a_probe_behind_it() {
    let mut node = sending_a_snapshot();
    node.report_snapshot(id(2), SnapshotStatus::Delivered);
    assert_eq!(state(&node), ProgressState::Probe { awaiting: true });
    assert_eq!(next_index(&node), index(4));
    assert!(settle(&mut node).to(2).is_empty());
    let appends = tell(&mut node, 2, 2, heartbeat_response(3)).appends_to(2);
    assert_eq!(appends[0].prev_log, LogId::new(1, 3));
    tell(&mut node, 2, 2, accepted(4));
    assert!(matches!(state(&node), ProgressState::Replicate { .. }));
}

/// E60: the report and the acknowledgement are both lost; the peer's commit index tells that it has
/// the snapshot.
#[test]
fn e60_a_lost_report_and_a_lost_acknowledgement() {
    let mut node = sending_a_snapshot();
    let output = tell(&mut node, 2, 2, heartbeat_response(2));
    assert!(output.to(2).is_empty());
    let appends = tell(&mut node, 2, 2, heartbeat_response(3)).appends_to(2);
    assert_eq!(appends[0].prev_log, LogId::new(1, 3));
    tell(&mut node, 2, 2, accepted(4));
    assert!(matches!(state(&node), ProgressState::Replicate { .. }));
}

/// E60: a report about a peer that waits for no snapshot, or that nobody knows, does nothing.
#[test]
fn e60_a_report_out_of_place_does_nothing() {
    let mut node = leader(1, 3, &[]);
    tell(&mut node, 2, 1, accepted(1));
    let before = node.clone();
    node.report_snapshot(id(2), SnapshotStatus::Failed);
    node.report_snapshot(id(9), SnapshotStatus::Delivered);
    node.report_unreachable(id(9));
    assert_eq!(node, before);
}

/// A storage that makes a snapshot when it is asked for one, which takes its time.
struct Slow {
    stored: MemStorage,
    is_made: bool,
}

impl Storage for Slow {
    fn initial_state(&self) -> Result<InitialState, StorageError> {
        self.stored.initial_state()
    }

    fn entries(&self, request: &EntriesRequest) -> Result<Entries, StorageError> {
        self.stored.entries(request)
    }

    fn term(&self, index: LogIndex) -> Result<Term, StorageError> {
        self.stored.term(index)
    }

    fn first_index(&self) -> Result<LogIndex, StorageError> {
        self.stored.first_index()
    }

    fn last_index(&self) -> Result<LogIndex, StorageError> {
        self.stored.last_index()
    }

    fn snapshot(&self, request_index: LogIndex, to: NodeId) -> Result<Snapshot, StorageError> {
        if self.is_made {
            self.stored.snapshot(request_index, to)
        } else {
            Err(StorageError::TemporarilyUnavailable)
        }
    }
}

/// E60: a storage that has no snapshot yet is asked again after the next heartbeat, and nothing
/// else happens.
#[test]
fn e60_a_snapshot_that_is_not_there_yet() {
    let stored = MemStorage::with_snapshot(snapshot((1, 3), 3));
    let is_made = false;
    let config = settings(1).build().unwrap();
    let mut node = RawNode::new(config, Slow { stored, is_made }).unwrap();
    let sent_after = |node: &mut RawNode<Slow>, body: Option<Body>| {
        if let Some(body) = body {
            node.step(message(2, 1, 2, body)).unwrap();
        }
        let mut sent = Vec::new();
        while let Some(mut ready) = node.ready().unwrap() {
            let to_peer = |message: &Message| message.to == id(2);
            sent.extend(ready.messages.drain(..).filter(to_peer));
            let stored = &mut node.storage_mut().stored;
            ready
                .entries
                .iter()
                .for_each(|run| stored.append(run).unwrap());
            node.advance(ready).unwrap();
        }
        sent
    };
    node.campaign().unwrap();
    sent_after(&mut node, None);
    sent_after(&mut node, Some(granted()));
    assert!(sent_after(&mut node, Some(rejected(3, (0, 0)))).is_empty());
    assert!(node.progress(id(2)).unwrap().is_fetching());
    assert!(!node.has_ready(), "it does not ask again and again");
    assert!(sent_after(&mut node, Some(heartbeat_response(0))).is_empty());

    node.storage_mut().is_made = true;
    assert!(!node.has_ready());
    let sent = sent_after(&mut node, Some(heartbeat_response(0)));
    assert_eq!(
        sent[0].body,
        Body::InstallSnapshot(snapshot((1, 3), 3).into())
    );
}

/// A snapshot from before the peer was added would not be accepted, and is not sent.
#[test]
fn a_snapshot_from_before_the_peer_was_added_is_not_sent() {
    let mut node = needing_a_snapshot();
    let storage = node.storage_mut();
    storage.save_snapshot(snapshot((2, 4), 1)).unwrap();
    assert!(tell(&mut node, 2, 2, rejected(3, (0, 0))).to(2).is_empty());
    assert!(node.progress(id(2)).unwrap().is_fetching());
    let storage = node.storage_mut();
    storage.save_snapshot(snapshot((2, 4), 3)).unwrap();
    let output = tell(&mut node, 2, 2, heartbeat_response(0));
    assert_eq!(output.snapshots_to(2).len(), 1);
}

/// E60: a peer that has not answered lately is sent no snapshot before it does.
#[test]
fn e60_an_inactive_peer_gets_no_snapshot() {
    let mut node = open(settings(1).check_quorum(true), disk(3, &[]));
    elect(&mut node);
    tell(&mut node, 2, 1, accepted(1));
    for _ in 0..30 {
        tell(&mut node, 3, 1, accepted(1));
        ticks(&mut node, 1);
    }
    for number in 0..4 {
        propose(&mut node, &format!("command {number}"));
        let last = node.last_log().index.0;
        settle(&mut node);
        tell(&mut node, 3, 1, accepted(last));
    }
    compact(&mut node, (1, 4));
    assert!(!node.progress(id(2)).unwrap().recently_active());
    node.report_unreachable(id(2));
    assert!(settle(&mut node).to(2).is_empty());
    let output = tell(&mut node, 2, 1, heartbeat_response(1));
    assert_eq!(output.snapshots_to(2).len(), 1);
}

/// A snapshot of an earlier leader that is acknowledged to the new one counts as what it is.
#[test]
fn an_acknowledged_snapshot_beyond_the_pending_one_is_used() {
    let mut node = sending_a_snapshot();
    propose(&mut node, "x");
    settle(&mut node);
    tell(&mut node, 2, 2, accepted(4));
    assert!(matches!(state(&node), ProgressState::Replicate { .. }));
    assert_eq!(node.progress(id(2)).unwrap().match_index(), index(4));
}

/// Replication goes on from memory while the storage has been compacted right up to it.
#[test]
fn compaction_under_a_replicating_peer_does_not_stop_it() {
    let mut node = leader(1, 3, &[]);
    for peer in [2, 3] {
        tell(&mut node, peer, 1, accepted(1));
    }
    compact(&mut node, (1, 1));
    propose(&mut node, "x");
    let output = settle(&mut node);
    assert_eq!(output.appends_to(2)[0].prev_log, LogId::new(1, 1));
    assert!(
        output
            .messages
            .iter()
            .all(|message| !matches!(message.body, Body::InstallSnapshot(_)))
    );
}
