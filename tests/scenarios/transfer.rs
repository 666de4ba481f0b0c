//! Leadership handed over: by request (Thesis 3.10), and by a leader that has lost its vote.

use almadia::{
    Body, ConfState, MemberChange, Membership, MembershipChange, Message, MessageKind,
    ProposeError, Ready, RoleKind, Term, TransferError, TransferFailure, TransferOutcome,
    Transition,
};

use crate::nodes::*;

/// A leader of three in term 2, with nothing on its way but its first entry to node 3.
fn leading() -> Node {
    let mut node = leader(1, 3, &[1]);
    tell(&mut node, 2, 2, accepted(2));
    node
}

fn has_timeout_now(messages: &[Message], peer: u64) -> bool {
    let is = |message: &&Message| message.body == Body::TimeoutNow;
    messages.iter().filter(is).any(|it| it.to == id(peer))
}

/// The ends of transfers among what a node hands out.
fn outcomes(node: &mut Node) -> Vec<TransferOutcome> {
    let mut outcomes = Vec::new();
    while let Some(mut ready) = node.ready().unwrap() {
        write(node, &ready);
        outcomes.append(&mut ready.transfer_outcomes);
        node.advance(ready).unwrap();
    }
    outcomes
}

fn outcome(transferee: u64, result: Result<(), TransferFailure>) -> TransferOutcome {
    TransferOutcome {
        transferee: id(transferee),
        result,
    }
}

#[test]
fn a_caught_up_node_is_told_at_once_and_the_leader_steps_down() {
    let mut node = leading();
    node.transfer_leader(id(2)).unwrap();
    assert_eq!(node.role(), RoleKind::Follower);
    assert_eq!(node.leader(), None);
    let output = settle(&mut node);
    assert!(has_timeout_now(&output.messages, 2));
}

/// B19: who lacks entries is sent them first.
#[test]
fn b19_a_transferee_gets_the_whole_log_first() {
    let mut node = leading();
    node.transfer_leader(id(3)).unwrap();
    assert_eq!(node.basic_status().transferee, Some(id(3)));
    let output = settle(&mut node);
    assert!(!has_timeout_now(&output.messages, 3));
    let output = tell(&mut node, 3, 2, accepted(1));
    assert!(!has_timeout_now(&output.messages, 3));
    assert_eq!(node.role(), RoleKind::Leader);
    let output = tell(&mut node, 3, 2, accepted(2));
    assert!(has_timeout_now(&output.messages, 3));
    assert_eq!(node.role(), RoleKind::Follower);
}

/// What else is due leaves before TimeoutNow.
#[test]
fn a_transferee_learns_the_commit_index_first() {
    let mut node = leader(1, 3, &[1]);
    node.transfer_leader(id(3)).unwrap();
    settle(&mut node);
    tell(&mut node, 3, 2, accepted(1));
    let output = tell(&mut node, 3, 2, accepted(2));
    let to_three: Vec<_> = output.to(3).iter().map(|it| it.body.kind()).collect();
    assert_eq!(
        to_three,
        [MessageKind::AppendEntries, MessageKind::TimeoutNow]
    );
    assert_eq!(output.appends_to(3)[0].leader_commit, index(2));
}

/// E67: every refusal of a proposal says why.
#[test]
fn e67_proposals_are_refused_with_the_reason() {
    let mut node = leading();
    node.transfer_leader(id(3)).unwrap();
    assert_eq!(node.propose("", "x"), Err(ProposeError::Transferring));
    let change = MembershipChange::of([MemberChange::AddVoter(id(4))]);
    let refused = node.propose_conf_change("", change.clone());
    assert_eq!(refused, Err(ProposeError::Transferring));
    tell(&mut node, 3, 2, accepted(2));
    let leader = None;
    assert_eq!(
        node.propose("", "x"),
        Err(ProposeError::NotLeader { leader })
    );
    let refused = node.propose_conf_change("", change);
    assert_eq!(refused, Err(ProposeError::NotLeader { leader }));
    tell(&mut node, 3, 3, heartbeat(0));
    let leader = Some(id(3));
    assert_eq!(
        node.propose("", "x"),
        Err(ProposeError::NotLeader { leader })
    );
}

#[test]
fn a_transfer_that_takes_too_long_fails_and_the_leader_goes_on() {
    let mut node = leading();
    node.transfer_leader(id(3)).unwrap();
    for _ in 0..9 {
        node.tick().unwrap();
        assert_eq!(outcomes(&mut node), []);
    }
    assert_eq!(node.propose("", "x"), Err(ProposeError::Transferring));
    node.tick().unwrap();
    let failed = outcome(3, Err(TransferFailure::TimedOut));
    assert_eq!(outcomes(&mut node), [failed]);
    assert_eq!(node.role(), RoleKind::Leader);
    propose(&mut node, "x");
    // What arrives later hands nothing over.
    let output = tell(&mut node, 3, 2, accepted(3));
    assert!(!has_timeout_now(&output.messages, 3));
}

#[test]
fn a_transfer_ends_with_the_leader_that_comes_of_it() {
    for (leader, result) in [(2, Ok(())), (3, Err(TransferFailure::OtherLeader(id(3))))] {
        let mut node = leading();
        node.transfer_leader(id(2)).unwrap();
        assert_eq!(outcomes(&mut node), []);
        node.step(message(leader, 1, 3, heartbeat(0))).unwrap();
        assert_eq!(outcomes(&mut node), [outcome(2, result)]);
    }
}

/// If TimeoutNow is lost, the group elects as usual, and the one who asked is told.
#[test]
fn a_lost_timeout_now_is_told_as_a_failure() {
    let mut node = leading();
    node.transfer_leader(id(2)).unwrap();
    let longest = node.config().max_election_timeout_ticks();
    let mut ends = outcomes(&mut node);
    for _ in 0..3 * longest {
        node.tick().unwrap();
        ends.append(&mut outcomes(&mut node));
    }
    assert_eq!(ends, [outcome(2, Err(TransferFailure::TimedOut))]);
}

#[test]
fn another_transfer_takes_the_place_of_the_first() {
    let mut node = open(settings(1), disk(4, &[1]));
    elect(&mut node);
    tell(&mut node, 2, 2, accepted(2));
    node.transfer_leader(id(3)).unwrap();
    node.transfer_leader(id(3)).unwrap();
    assert_eq!(outcomes(&mut node), [], "the same again");
    node.transfer_leader(id(4)).unwrap();
    let superseded = outcome(3, Err(TransferFailure::Superseded));
    assert_eq!(outcomes(&mut node), [superseded]);
    let output = tell(&mut node, 3, 2, accepted(2));
    assert!(!has_timeout_now(&output.messages, 3));
}

/// E40: who has no vote cannot lead.
#[test]
fn e40_a_transfer_to_a_learner_is_refused() {
    let mut storage = disk(3, &[1]);
    let mut conf_state = ConfState::of_voters([1, 2].map(id));
    conf_state.learners = vec![id(3)];
    storage.set_conf_state(conf_state);
    let mut node = open(settings(1), storage);
    assert_eq!(node.transfer_leader(id(2)), Err(TransferError::NoLeader));
    elect(&mut node);
    let before = node.clone();
    assert_eq!(
        node.transfer_leader(id(3)),
        Err(TransferError::NotAVoter(id(3)))
    );
    assert_eq!(
        node.transfer_leader(id(9)),
        Err(TransferError::NotAVoter(id(9)))
    );
    assert_eq!(
        node.transfer_leader(id(1)),
        Err(TransferError::AlreadyLeader(id(1)))
    );
    assert_eq!(node, before);
}

/// A follower passes the wish on, and learns how it ends.
#[test]
fn any_node_may_be_asked() {
    let mut network = Network::of_logs(&[&[], &[], &[]]);
    network.campaign(1);
    assert_eq!(
        network.node(2).transfer_leader(id(1)),
        Err(TransferError::AlreadyLeader(id(1)))
    );
    network.node(2).transfer_leader(id(3)).unwrap();
    network.run();
    assert_eq!(network.node(3).role(), RoleKind::Leader);
    assert_eq!(network.node(1).leader(), Some(id(3)));
}

#[test]
fn a_follower_that_asked_is_told_the_end() {
    let mut node = follower(2, 3, &[1]);
    node.step(message(1, 2, 1, heartbeat(0))).unwrap();
    node.transfer_leader(id(2)).unwrap();
    let ready = take(&mut node);
    let wish = Body::TransferLeader { transferee: id(2) };
    assert!(ready.messages.contains(&message(2, 1, 1, wish)));
    persist(&mut node, &ready);
    node.step(message(1, 2, 1, Body::TimeoutNow)).unwrap();
    assert_eq!(outcomes(&mut node), []);
    node.step(message(3, 2, 2, granted())).unwrap();
    assert_eq!(node.role(), RoleKind::Leader);
    assert_eq!(outcomes(&mut node), [outcome(2, Ok(()))]);
}

/// A leader that is heard again in the same term ends no transfer.
#[test]
fn a_follower_that_asked_waits_for_another_term() {
    let mut node = follower(2, 3, &[1]);
    node.step(message(1, 2, 1, heartbeat(0))).unwrap();
    node.transfer_leader(id(3)).unwrap();
    assert!(node.forget_leader());
    node.step(message(1, 2, 1, heartbeat(0))).unwrap();
    assert_eq!(node.leader(), Some(id(1)));
    assert_eq!(outcomes(&mut node), []);
    node.step(message(3, 2, 2, heartbeat(0))).unwrap();
    assert_eq!(outcomes(&mut node), [outcome(3, Ok(()))]);
}

/// The others vote though they hear a leader, and no pre-vote comes first.
#[test]
fn a_transferee_is_elected_within_one_round_trip() {
    let safe = |number| open(almadia::Config::builder(id(number)), disk(3, &[]));
    let mut network = Network::new((1..=3).map(safe));
    network.campaign(1);
    network.tick(1);
    network.sent.clear();
    network.node(1).transfer_leader(id(2)).unwrap();
    network.run();
    assert_eq!(network.node(2).role(), RoleKind::Leader);
    assert!(
        network
            .sent
            .iter()
            .all(|it| !matches!(it.body, Body::PreVote(_)))
    );
}

/// A TimeoutNow of an earlier term is too late.
#[test]
fn e73_a_late_timeout_now_is_ignored() {
    let mut node = follower(2, 3, &[1]);
    tell(&mut node, 3, 5, heartbeat(0));
    let before = node.clone();
    node.step(message(1, 2, 4, Body::TimeoutNow)).unwrap();
    assert_eq!(node, before);
}

// --- A leader without a vote ---

fn remove(number: u64) -> MembershipChange {
    MembershipChange::of([MemberChange::Remove(id(number))])
}

fn apply_all(node: &mut Node, ready: &Ready) {
    for entry in ready.committed_entries.iter().flatten() {
        if let almadia::Payload::Change(change) = &entry.payload {
            node.apply_conf_change(change).unwrap();
        }
    }
}

/// B65, E37: a leader that is removed leads until the change is committed and applied, and then
/// hands over to a voter that has everything.
#[test]
fn b65_e37_a_removed_leader_hands_over_when_the_change_is_applied() {
    let mut node = leading();
    tell(&mut node, 3, 2, accepted(2));
    node.propose_conf_change("", remove(1)).unwrap();
    settle(&mut node);
    assert_eq!(node.role(), RoleKind::Leader);
    node.step(message(3, 1, 2, accepted(3))).unwrap();
    let ready = take(&mut node);
    assert_eq!(node.role(), RoleKind::Leader, "committed and not applied");
    apply_all(&mut node, &ready);
    assert_eq!(node.role(), RoleKind::Follower);
    node.advance(ready).unwrap();
    let output = settle(&mut node);
    assert!(has_timeout_now(&output.messages, 3));
    assert!(
        !has_timeout_now(&output.messages, 2),
        "node 2 lacks the change"
    );
}

/// E44: what a quorum without the removed leader has commits with the change; B59: the leader
/// itself does not count for it any more.
#[test]
fn e44_b59_a_smaller_quorum_commits_at_once_and_without_the_removed_leader() {
    for (on_three, committed) in [(4, 4), (3, 3)] {
        let mut node = open(settings(1), disk(4, &[1]));
        elect(&mut node);
        for peer in [2, 3] {
            tell(&mut node, peer, 2, accepted(2));
        }
        node.propose_conf_change("", remove(1)).unwrap();
        let first = take(&mut node);
        propose(&mut node, "behind");
        let second = take(&mut node);
        persist(&mut node, &first);
        if committed == 3 {
            persist(&mut node, &second);
        }
        for (peer, last) in [(2, 4), (3, on_three)] {
            node.step(message(peer, 1, 2, accepted(last))).unwrap();
        }
        assert_eq!(node.commit_index(), index(3), "three of four have it");
        let ready = take(&mut node);
        apply_all(&mut node, &ready);
        assert_eq!(node.commit_index(), index(committed));
        assert_eq!(node.role(), RoleKind::Follower, "node 2 has everything");
    }
}

/// If nobody catches up, the leader without a vote steps down after an election timeout.
#[test]
fn a_removed_leader_without_a_successor_steps_down_after_a_timeout() {
    let mut node = leading();
    node.propose_conf_change("", remove(1)).unwrap();
    propose(&mut node, "behind");
    settle(&mut node);
    tell(&mut node, 2, 2, accepted(3));
    tell(&mut node, 3, 2, accepted(3));
    assert_eq!(node.role(), RoleKind::Leader);
    assert_eq!(node.transfer_leader(id(2)), Err(TransferError::Removed));
    ticks(&mut node, 9);
    assert_eq!(node.role(), RoleKind::Leader);
    ticks(&mut node, 1);
    assert_eq!(node.role(), RoleKind::Follower);
}

/// B60: a leader that becomes a learner counts for nothing any more, and hands over.
#[test]
fn b60_a_demoted_leader_does_not_count_itself() {
    let mut network = Network::of_logs(&[&[], &[], &[]]);
    network.campaign(1);
    let change = MembershipChange::of([MemberChange::AddLearner(id(1))]);
    network.node(1).propose_conf_change("", change).unwrap();
    network.run();
    assert_eq!(network.node(1).role(), RoleKind::Follower);
    assert_eq!(network.node(1).membership().learners(), [id(1)]);
    let leads = |number| network.nodes[&number].role() == RoleKind::Leader;
    assert!(leads(2) || leads(3), "nobody waits for a timeout");
    let leader = if leads(2) { 2 } else { 3 };
    network.propose(leader, "x");
    network.run();
    assert_eq!(
        network.node(1).commit_index(),
        network.node(leader).commit_index()
    );
}

/// E37, and cockroach's lesson: the joint configuration that demotes the leader is left all the
/// same, by it or by who comes after it.
#[test]
fn e37_a_joint_configuration_that_demotes_the_leader_is_left() {
    for demotion in [MemberChange::Remove(id(1)), MemberChange::AddLearner(id(1))] {
        let mut network = Network::of_logs(&[&[], &[], &[]]);
        network.campaign(1);
        let change = MembershipChange {
            transition: Transition::Implicit,
            ..MembershipChange::of([demotion])
        };
        network.node(1).propose_conf_change("", change).unwrap();
        network.run();
        for number in 2..=3 {
            let membership: &Membership = network.nodes[&number].membership();
            assert!(!membership.is_joint());
            assert!(!membership.is_voter(id(1)));
        }
        let leads = |number| network.nodes[&number].role() == RoleKind::Leader;
        assert!(leads(2) || leads(3));
        assert!(!leads(1));
    }
}

/// E39: a transfer to somebody who loses the vote meanwhile is over.
#[test]
fn e39_a_transferee_that_loses_its_vote_ends_the_transfer() {
    for change in [MemberChange::Remove(id(3)), MemberChange::AddLearner(id(3))] {
        let mut node = leading();
        let change = MembershipChange::of([change]);
        node.propose_conf_change("", change.clone()).unwrap();
        node.transfer_leader(id(3)).unwrap();
        let ready = take(&mut node);
        persist(&mut node, &ready);
        node.step(message(2, 1, 2, accepted(3))).unwrap();
        let ready = take(&mut node);
        node.apply_conf_change(&change).unwrap();
        node.advance(ready).unwrap();
        let failed = outcome(3, Err(TransferFailure::NotAVoter));
        assert_eq!(outcomes(&mut node), [failed]);
        assert_eq!(node.role(), RoleKind::Leader);
        propose(&mut node, "x");
    }
}

/// B63, E36: no auto-leave is proposed during a transfer; it is when the transfer has failed.
#[test]
fn b63_e36_the_joint_configuration_is_left_after_a_failed_transfer() {
    let mut node = leading();
    tell(&mut node, 3, 2, accepted(2));
    let change = MembershipChange {
        transition: Transition::Implicit,
        ..MembershipChange::of([MemberChange::AddLearner(id(4))])
    };
    node.propose_conf_change("", change.clone()).unwrap();
    node.transfer_leader(id(3)).unwrap();
    let ready = take(&mut node);
    persist(&mut node, &ready);
    node.step(message(2, 1, 2, accepted(3))).unwrap();
    let ready = take(&mut node);
    node.apply_conf_change(&change).unwrap();
    node.advance(ready).unwrap();
    assert!(node.membership().is_joint());
    assert_eq!(node.last_log().index, index(3), "nothing is proposed now");
    ticks(&mut node, 10);
    assert_eq!(node.last_log().index, index(4));
    tell(&mut node, 2, 2, accepted(4));
    assert!(!node.membership().is_joint());
    assert_eq!(node.current_term(), Term(2));
}

/// A successor who is not known to know the commit index is told before it takes over, or it would
/// wait for the vote of the one who has just left.
#[test]
fn a_successor_is_told_that_the_removal_is_committed() {
    for skip in [false, true] {
        let settings = |number| settings(number).skip_commit_broadcast(skip);
        let mut network = Network::new([1, 2].map(|number| open(settings(number), disk(2, &[1]))));
        network.campaign(1);
        network.tick(1);
        network.tick(1);
        let change = remove(1);
        network.node(1).propose_conf_change("", change).unwrap();
        let sent = settle(network.node(1)).messages;
        for message in sent {
            network.node(2).step(message).unwrap();
        }
        let answers = settle(network.node(2)).messages;
        for message in answers {
            network.node(1).step(message).unwrap();
        }
        // These are its last words.
        let last_words = settle(network.node(1)).messages;
        assert_eq!(network.node(1).role(), RoleKind::Follower);
        network.nodes.remove(&1);
        for message in last_words {
            network.node(2).step(message).unwrap();
            settle(network.node(2));
        }
        assert_eq!(network.node(2).role(), RoleKind::Leader, "{skip}");
    }
}

/// A successor may have a change to apply that makes it a voter, or a snapshot.
#[test]
fn a_successor_takes_over_when_it_has_become_a_voter() {
    let mut storage = disk(3, &[]);
    let mut conf_state = almadia::ConfState::of_voters([1, 2, 3].map(id));
    conf_state.learners = vec![id(4)];
    storage.set_conf_state(conf_state);
    let mut node = open(settings(4), storage);
    let change = MembershipChange::of([MemberChange::AddVoter(id(4))]);
    let promotion = almadia::Entry {
        payload: almadia::Payload::Change(change.clone().into()),
        ..entry(1, 1)
    };
    let append = almadia::AppendEntries {
        prev_log: almadia::LogId::ZERO,
        leader_commit: index(1),
        entries: vec![promotion].into(),
    };
    node.step(message(1, 4, 1, Body::AppendEntries(append)))
        .unwrap();
    let ready = take(&mut node);
    persist(&mut node, &ready);
    node.step(message(1, 4, 1, Body::TimeoutNow)).unwrap();
    assert_eq!(node.role(), RoleKind::Follower);
    settle(&mut node);
    assert_eq!(node.role(), RoleKind::Candidate);

    let mut node = follower(2, 3, &[]);
    let install = Body::InstallSnapshot(snapshot((1, 5), 3).into());
    node.step(message(1, 2, 1, install)).unwrap();
    node.step(message(1, 2, 1, Body::TimeoutNow)).unwrap();
    assert_eq!(node.role(), RoleKind::Follower);
    settle(&mut node);
    assert_eq!(node.role(), RoleKind::Candidate);
}

/// Who is asking whether it may campaign need not ask any more.
#[test]
fn a_pre_candidate_takes_over() {
    let mut node = open(settings(2).pre_vote(true), disk(3, &[1]));
    node.campaign().unwrap();
    assert_eq!(node.role(), RoleKind::PreCandidate);
    let stranger = message(9, 2, 1, Body::TimeoutNow);
    node.step(stranger).unwrap();
    assert_eq!(node.role(), RoleKind::PreCandidate);
    node.step(message(1, 2, 1, Body::TimeoutNow)).unwrap();
    assert_eq!(
        (node.role(), node.current_term().0),
        (RoleKind::Candidate, 2)
    );
}
