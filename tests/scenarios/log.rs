//! The log and its acknowledgements: nothing is claimed that was not verified, nothing goes back.

use almadia::{AppendEntriesResponse, Body, LogIndex, Payload};

use crate::nodes::*;

fn answers(output: &Output) -> Vec<AppendEntriesResponse> {
    let bodies = output.messages.iter().map(|message| &message.body);
    bodies.filter_map(Parts::as_response).collect()
}

/// B27: an append from the very beginning, after all of it was compacted away, adds nothing.
#[test]
fn b27_an_old_append_after_a_compaction_adds_nothing() {
    let mut node = follower(2, 3, &[]);
    tell(&mut node, 1, 1, append((0, 0), &[1, 1, 1], 3));
    let storage = node.storage_mut();
    storage.save_snapshot(snapshot((1, 3), 3)).unwrap();
    storage.compact(index(3)).unwrap();
    let output = tell(&mut node, 1, 1, append((0, 0), &[1, 1], 2));
    assert_eq!(node.last_log().index, index(3));
    assert_eq!(stored_terms(&node), Vec::<u64>::new());
    let accepted = AppendEntriesResponse::Accepted {
        match_index: index(3),
        commit_index: index(3),
    };
    assert_eq!(answers(&output), [accepted]);
}

/// B29: a refusal moves neither the commit index nor what is known to match.
#[test]
fn b29_a_refusal_advances_nothing() {
    let mut node = leader(1, 3, &[1, 1, 1]);
    tell(&mut node, 2, 2, rejected(3, (1, 3)));
    tell(&mut node, 2, 2, rejected(2, (1, 2)));
    assert_eq!(node.commit_index(), index(0));
    let progress = node.progress(id(2)).unwrap();
    assert_eq!(progress.match_index(), index(0));
}

/// B30: a follower acknowledges what the append has verified, and not its own longer tail.
#[test]
fn b30_an_acknowledgement_claims_no_more_than_was_verified() {
    let mut node = follower(2, 3, &[1, 1, 1, 1, 1]);
    for (body, verified) in [
        (append((1, 1), &[1], 0), 2),
        (append((1, 3), &[], 0), 3),
        (append((0, 0), &[], 0), 0),
    ] {
        let output = tell(&mut node, 1, 2, body);
        let accepted = AppendEntriesResponse::Accepted {
            match_index: index(verified),
            commit_index: index(0),
        };
        assert_eq!(answers(&output), [accepted]);
    }
}

/// B31: what was said before the peer's progress began anew, after a snapshot, is out of date.
#[test]
fn b31_a_refusal_from_before_a_snapshot_is_not_believed() {
    let mut node = leader(1, 3, &[1, 1, 1]);
    let last = 4;
    tell(&mut node, 3, 2, accepted(last));
    let storage = node.storage_mut();
    storage.save_snapshot(snapshot((2, 4), 3)).unwrap();
    storage.compact(index(4)).unwrap();
    let output = tell(&mut node, 2, 2, rejected(3, (0, 0)));
    assert_eq!(output.snapshots_to(2).len(), 1);
    tell(&mut node, 2, 2, accepted(4));
    let before = node.progress(id(2)).unwrap().clone();
    tell(&mut node, 2, 2, rejected(3, (0, 0)));
    assert_eq!(node.progress(id(2)).unwrap(), &before);
}

/// B52: a peer that installs a snapshot answers heartbeats meanwhile, and so counts as alive.
#[test]
fn b52_a_peer_with_a_snapshot_on_its_way_keeps_the_quorum() {
    let mut node = open(settings(1).check_quorum(true), disk(2, &[1, 1]));
    elect(&mut node);
    tell(&mut node, 2, 2, accepted(3));
    let storage = node.storage_mut();
    storage.save_snapshot(snapshot((2, 3), 2)).unwrap();
    storage.compact(index(3)).unwrap();
    // The peer has lost its disk.
    let prev = node.progress(id(2)).unwrap().next_index().previous().0;
    node.report_unreachable(id(2));
    settle(&mut node);
    let output = tell(&mut node, 2, 2, rejected(prev, (0, 0)));
    assert_eq!(output.snapshots_to(2).len(), 1);
    for _ in 0..50 {
        ticks(&mut node, 1);
        tell(&mut node, 2, 2, heartbeat_response(0));
    }
    assert_eq!(node.role(), almadia::RoleKind::Leader);
}

/// B70: the log id of a proposal tells whether what was applied in its place is it.
#[test]
fn b70_a_proposal_that_is_overwritten_can_be_told_from_its_successor() {
    let mut network = Network::of_logs(&[&[], &[], &[]]);
    network.campaign(1);
    network.cut_off.insert(1);
    let lost = network.propose(1, "lost");
    network.run();
    network.campaign(2);
    network.propose(2, "in its place");
    network.run();
    network.cut_off.clear();
    for _ in 0..3 {
        network.tick(2);
    }
    let applied = &network.applied[&1];
    let in_place = applied
        .iter()
        .find(|entry| entry.index() == lost.index)
        .unwrap();
    assert_ne!(in_place.id, lost);
    assert_eq!(in_place.id.term.0, lost.term.0 + 1);
    assert!(!applied.iter().any(|entry| entry.id == lost));
}

/// B75: a peer that takes everything and answers nothing holds nobody else up.
#[test]
fn b75_a_hung_peer_blocks_nobody() {
    let mut network = Network::of_logs(&[&[], &[], &[]]);
    network.campaign(1);
    network.cut_off.insert(3);
    for number in 0..1_000 {
        network.propose(1, &format!("command {number}"));
        network.run();
    }
    assert_eq!(network.node(2).last_applied(), index(1_001));
    let inflight = network.node(1).progress(id(3)).unwrap();
    let almadia::ProgressState::Replicate { inflight, .. } = inflight.state() else {
        return;
    };
    assert!(inflight.messages() <= 256);
}

/// E50: a peer that took a whole window and is then left behind by a compaction gets a snapshot.
#[test]
fn e50_a_full_window_and_a_compaction_end_in_a_snapshot() {
    let mut node = open(settings(1).max_inflight_messages(2), disk(3, &[]));
    elect(&mut node);
    tell(&mut node, 2, 1, accepted(1));
    for number in 0..5 {
        propose(&mut node, &format!("command {number}"));
        settle(&mut node);
    }
    tell(&mut node, 3, 1, accepted(1));
    tell(&mut node, 3, 1, accepted(6));
    assert_eq!(node.commit_index(), index(6));
    let storage = node.storage_mut();
    storage.save_snapshot(snapshot((1, 6), 3)).unwrap();
    storage.compact(index(6)).unwrap();
    let mut snapshots = 0;
    for _ in 0..5 {
        let mut output = ticks(&mut node, 1);
        let answered = tell(&mut node, 2, 1, heartbeat_response(0));
        output.messages.extend(answered.messages);
        snapshots += output.snapshots_to(2).len();
        // It lost what was on its way, and says so to the probe.
        for lost in output.appends_to(2) {
            let prev = lost.prev_log.index.0;
            let more = tell(&mut node, 2, 1, rejected(prev, (1, 1)));
            snapshots += more.snapshots_to(2).len();
        }
    }
    assert_eq!(snapshots, 1);
}

/// E57: a follower that has much to catch up commits and applies on the way, message by message.
#[test]
fn e57_commit_and_apply_advance_during_a_long_catch_up() {
    let mut leader = open(settings(1).max_message_bytes(2_000), disk(3, &[]));
    elect(&mut leader);
    tell(&mut leader, 3, 1, accepted(1));
    for number in 0..400 {
        propose(&mut leader, &format!("command {number}"));
    }
    settle(&mut leader);
    tell(&mut leader, 3, 1, accepted(401));
    assert_eq!(leader.commit_index(), index(401));
    let mut behind = follower(2, 3, &[]);
    let mut to_follower = tell(&mut leader, 2, 1, rejected(0, (0, 0))).messages;
    to_follower.extend(tell(&mut leader, 2, 1, accepted(0)).messages);
    let mut last = LogIndex::ZERO;
    let mut steps = 0;
    while behind.last_applied() < index(401) {
        let now: Vec<_> = to_follower.drain(..).filter(|it| it.to == id(2)).collect();
        assert!(!now.is_empty(), "something is on its way");
        for message in now {
            let answers = tell(&mut behind, 1, 1, message.body).messages;
            steps += u32::from(behind.last_applied() > last);
            last = behind.last_applied();
            for answer in answers {
                to_follower.extend(tell(&mut leader, 2, 1, answer.body).messages);
            }
        }
    }
    assert!(steps >= 5, "applied in {steps} steps");
}

/// E66: the entries that the node itself makes are never refused for their size.
#[test]
fn e66_the_nodes_own_entries_pass_every_limit() {
    let mut node = open(settings(1).max_uncommitted_bytes(0), disk(3, &[]));
    elect(&mut node);
    assert_eq!(
        node.last_log().index,
        index(1),
        "the entry that opens the term"
    );
    propose(&mut node, "the only one");
    assert_eq!(
        node.propose("", ""),
        Err(almadia::ProposeError::TooManyUncommitted)
    );
    let empty = Payload::Data(almadia::Bytes::new());
    settle(&mut node);
    let output = tell(&mut node, 2, 1, accepted(1));
    let sent = output.appends_to(2);
    assert!(
        sent.iter()
            .all(|it| it.entries.iter().all(|entry| entry.payload != empty))
    );
    let conflicting = Body::AppendEntriesResponse(AppendEntriesResponse::TermOutdated);
    tell(&mut node, 3, 9, conflicting);
    elect(&mut node);
    assert_eq!(node.last_log().index, index(3));
}
