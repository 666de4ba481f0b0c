//! Sections 5.1 to 5.4 of the paper, and the first entry of a term (section 8).

use std::collections::BTreeSet;

use almadia::{Body, LogId, LogIndex, Payload, RoleKind, StepError, Term};

use crate::nodes::*;

/// Terms only grow, and the answer to an outdated request brings its sender up to date.
#[test]
fn section_5_1_an_outdated_leader_learns_the_term_and_steps_down() {
    let mut old = leader(1, 3, &[]);
    let mut peer = follower(2, 3, &[]);
    tell(&mut peer, 3, 7, heartbeat(0));
    for kind in [append((0, 0), &[1], 0), heartbeat(0)] {
        let answer = tell(&mut peer, 1, 1, kind).messages.remove(0);
        assert_eq!(answer.term, Term(7));
        old.step(answer).unwrap();
        assert_eq!(
            (old.role(), old.current_term()),
            (RoleKind::Follower, Term(7))
        );
    }
}

/// An answer to a request of an earlier term says nothing: neither a vote nor an acknowledgement.
#[test]
fn section_5_1_answers_of_an_earlier_term_are_ignored() {
    let mut node = follower(1, 3, &[]);
    node.campaign().unwrap();
    settle(&mut node);
    while node.current_term() < Term(2) {
        ticks(&mut node, 1);
    }
    tell(&mut node, 2, 1, granted());
    assert_eq!(node.role(), RoleKind::Candidate);

    tell(&mut node, 2, 2, granted());
    assert_eq!(node.role(), RoleKind::Leader);
    tell(&mut node, 2, 1, accepted(1));
    assert_eq!(node.commit_index(), LogIndex::ZERO);
}

/// There is at most one leader in a term: two candidates share the voters between them.
#[test]
fn section_5_2_election_safety() {
    let mut network = Network::of_logs(&[&[], &[], &[], &[], &[]]);
    network.node(1).campaign().unwrap();
    network.node(2).campaign().unwrap();
    network.run();
    let leaders = network
        .nodes
        .values()
        .filter(|node| node.role() == RoleKind::Leader);
    assert_eq!(leaders.count(), 1);
    assert!(
        network
            .nodes
            .values()
            .all(|node| node.current_term() == Term(1))
    );
}

/// A node that leads believes nobody else who claims to lead its term, and neither does a follower
/// that has heard from the leader.
#[test]
fn section_5_2_a_second_leader_of_a_term_is_refused() {
    let mut with_leader = follower(1, 3, &[]);
    tell(&mut with_leader, 2, 1, heartbeat(0));
    for mut node in [leader(1, 3, &[]), with_leader] {
        let before = node.clone();
        let result = node.step(message(3, 1, 1, append((0, 0), &[1], 1)));
        assert!(matches!(result, Err(StepError::SecondLeader { .. })));
        assert_eq!(node, before);
    }
}

/// Timeouts are drawn at random, so that nodes do not campaign together for long.
#[test]
fn section_5_2_election_timeouts_are_spread() {
    let timeouts: BTreeSet<u32> = (1..=9)
        .map(|number| ticks_until_campaign(&mut follower(number, 9, &[])))
        .collect();
    assert!(timeouts.len() >= 4, "{timeouts:?}");

    // A node that fails draws anew.
    let mut node = follower(1, 3, &[]);
    let mut rounds = BTreeSet::new();
    let (mut term, mut passed) = (Term(0), 0);
    while rounds.len() < 3 {
        ticks(&mut node, 1);
        passed += 1;
        assert!(passed < 1_000, "every round lasts {rounds:?}");
        if node.current_term() > term {
            term = node.current_term();
            rounds.insert(passed);
            passed = 0;
        }
    }
}

/// A split vote ends by another election after another timeout.
#[test]
fn section_5_2_a_split_vote_is_resolved() {
    let mut network = Network::of_logs(&[&[], &[], &[], &[]]);
    network.node(1).campaign().unwrap();
    network.node(2).campaign().unwrap();
    network.cut_off = BTreeSet::from([3, 4]);
    network.run();
    network.cut_off.clear();
    for _ in 0..200 {
        for number in 1..=4 {
            network.tick(number);
        }
    }
    let leaders = network
        .nodes
        .values()
        .filter(|node| node.role() == RoleKind::Leader);
    assert_eq!(leaders.count(), 1);
}

/// If two logs hold an entry of one index and term, they are the same up to there: the example of
/// Figure 7, in which six followers differ from the leader in every way there is.
#[test]
fn section_5_3_figure_7_all_logs_become_the_leaders() {
    let leader_log: &[u64] = &[1, 1, 1, 4, 4, 5, 5, 6, 6, 6];
    let logs: [&[u64]; 7] = [
        leader_log,
        &[1, 1, 1, 4, 4, 5, 5, 6, 6],
        &[1, 1, 1, 4],
        &[1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
        &[1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
        &[1, 1, 1, 4, 4, 4, 4],
        &[1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
    ];
    let mut network = Network::of_logs(&logs);
    // In term 7 already, as the one with entries of that term is. It is elected in term 8.
    let mut storage = disk(7, leader_log);
    storage.set_hard_state(hard_state(7, None, 0));
    network.nodes.insert(1, open(settings(1), storage));
    network.campaign(1);
    assert_eq!(network.node(1).role(), RoleKind::Leader);
    for _ in 0..3 {
        network.tick(1);
    }
    let expected: Vec<u64> = leader_log.iter().copied().chain([8]).collect();
    for number in 1..=7 {
        assert_eq!(
            stored_terms(network.node(number)),
            expected,
            "node {number}"
        );
        assert_eq!(network.applied_ids(number).len(), 11, "node {number}");
    }
}

/// A leader never overwrites or deletes entries of its own log.
#[test]
fn section_5_3_leader_append_only() {
    let mut node = leader(1, 3, &[1, 1, 2]);
    let before = node.storage().clone();
    for body in [
        rejected(3, (1, 1)),
        rejected(1, (0, 0)),
        accepted(2),
        heartbeat_response(0),
    ] {
        tell(&mut node, 2, 3, body);
    }
    propose(&mut node, "more");
    settle(&mut node);
    assert_eq!(stored_terms(&node), [1, 1, 2, 3, 3]);
    assert_eq!(stored_terms(&node)[..4], {
        let kept = open(settings(1), before);
        stored_terms(&kept)
    });
}

/// Between two logs the one with the later last term is more up-to-date, and of two with the same
/// last term the longer one; equal logs are as good as each other.
#[test]
fn section_5_4_1_the_vote_goes_to_a_log_at_least_as_up_to_date() {
    let voter_log: &[u64] = &[1, 2, 2];
    for (candidate, deserves) in [
        ((0, 0), false),
        ((1, 1), false),
        ((1, 9), false),
        ((2, 2), false),
        ((2, 3), true),
        ((2, 4), true),
        ((3, 1), true),
        ((3, 9), true),
    ] {
        let mut node = follower(1, 3, voter_log);
        let output = tell(&mut node, 2, 4, request_vote(candidate));
        assert_eq!(
            output.messages[0].body == granted(),
            deserves,
            "{candidate:?}"
        );
    }
}

/// A candidate without the committed entries cannot win (Leader Completeness).
#[test]
fn section_5_4_1_who_lacks_a_committed_entry_cannot_win() {
    let mut network = Network::of_logs(&[&[], &[], &[]]);
    network.campaign(1);
    network.cut_off.insert(3);
    network.propose(1, "command");
    network.run();
    assert_eq!(network.node(1).commit_index(), index(2));

    network.cut_off = BTreeSet::from([1]);
    network.campaign(3);
    assert_eq!(network.node(3).role(), RoleKind::Candidate);
    network.campaign(2);
    assert_eq!(network.node(2).role(), RoleKind::Leader);
}

/// An entry of an earlier term does not commit by being counted, even if every peer has it; it
/// commits with the first entry of the current term that does.
#[test]
fn section_5_4_2_only_entries_of_the_current_term_commit_by_counting() {
    let mut node = leader(1, 5, &[1, 2]);
    for peer in 2..=5 {
        tell(&mut node, peer, 3, accepted(2));
    }
    assert_eq!(node.commit_index(), LogIndex::ZERO);
    tell(&mut node, 2, 3, accepted(3));
    assert_eq!(node.commit_index(), LogIndex::ZERO);
    tell(&mut node, 3, 3, accepted(3));
    assert_eq!(node.commit_index(), index(3));
}

/// Figure 8: node 1 replicates its old entry of term 2 to a majority and crashes before anything of
/// its new term is there; node 5 may then overwrite that entry, so it must not have been committed.
#[test]
fn section_5_4_2_figure_8() {
    let mut network = Network::of_logs(&[&[1, 2], &[1, 2], &[1], &[1], &[1, 3]]);
    let mut storage = disk(5, &[1, 2]);
    storage.set_hard_state(hard_state(3, None, 0));
    // One entry for each message, so that the old entry travels before the new one.
    network
        .nodes
        .insert(1, open(settings(1).max_message_bytes(0), storage));

    // (c): elected in term 4 by nodes 2, 3 and 4, node 1 sends entry 2 of term 2 to node 3.
    let one = network.node(1);
    elect(one);
    assert_eq!(one.current_term(), Term(4));
    tell(one, 2, 4, accepted(2));
    tell(one, 3, 4, accepted(2));
    assert_eq!(
        one.commit_index(),
        LogIndex::ZERO,
        "a majority holds it, uncommitted"
    );

    // (d): node 5 can still be elected, and overwrites it everywhere.
    network.cut_off.insert(1);
    for number in 2..=4 {
        tell(network.node(number), 1, 4, heartbeat(0));
    }
    network.campaign(5);
    network.campaign(5);
    assert_eq!(network.node(5).role(), RoleKind::Leader);
    network.cut_off.clear();
    network.tick(5);
    network.tick(5);
    for number in 1..=5 {
        assert_eq!(
            stored_terms(network.node(number))[..2],
            [1, 3],
            "node {number}"
        );
    }
}

/// Figure 8 (e): had an entry of term 4 reached a majority as well, node 5 could not win.
#[test]
fn section_5_4_2_figure_8_with_an_entry_of_the_new_term() {
    let mut network = Network::of_logs(&[&[1, 2, 4], &[1, 2, 4], &[1, 2, 4], &[1], &[1, 3]]);
    network.cut_off.insert(1);
    for _ in 0..3 {
        network.campaign(5);
        assert_ne!(network.node(5).role(), RoleKind::Leader);
    }
}

/// A request that comes twice, or whose answer is lost, does no harm: it is answered again.
#[test]
fn section_5_5_requests_are_idempotent() {
    let mut node = follower(1, 3, &[]);
    let first = tell(&mut node, 2, 1, append((0, 0), &[1, 1], 1));
    let before = node.status();
    let second = tell(&mut node, 2, 1, append((0, 0), &[1, 1], 1));
    assert_eq!(
        first.messages[0].body.kind(),
        second.messages[0].body.kind()
    );
    assert!(matches!(
        &second.messages[0].body,
        Body::AppendEntriesResponse(_)
    ));
    assert_eq!(node.status(), before);
}

/// A new leader opens its term with an entry without a command, behind which older ones commit.
#[test]
fn section_8_a_term_begins_with_an_empty_entry() {
    let mut node = leader(1, 3, &[1]);
    assert_eq!(node.last_log(), LogId::new(2, 2));
    let output = tell(&mut node, 2, 2, accepted(2));
    assert_eq!(output.applied_ids(), [LogId::new(1, 1), LogId::new(2, 2)]);
    assert_eq!(output.applied[1].payload, Payload::Data("".into()));
}
