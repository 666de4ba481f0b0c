//! The thesis: pre-vote (9.6), the leader's quorum check (6.2) and leader stickiness (4.2.3).

use almadia::{
    Body, Config, ConfigBuilder, MessageKind, RequestVote, RoleKind, Term, VoteResponse,
};

use crate::nodes::*;

fn safe(number: u64) -> ConfigBuilder {
    Config::builder(id(number))
}

fn voter(number: u64, terms: &[u64]) -> Node {
    open(safe(number), disk(3, terms))
}

fn pre_granted() -> Body {
    Body::PreVoteResponse(VoteResponse::Granted)
}

fn is_pre_granted(output: &Output) -> bool {
    output
        .messages
        .iter()
        .any(|message| message.body == pre_granted())
}

/// A node asks before it campaigns, with the term that would be next, and keeps its own term and
/// vote.
#[test]
fn thesis_9_6_asking_begins_no_term() {
    let mut node = voter(1, &[2]);
    let before = node.storage().clone();
    ticks_until_campaign(&mut node);
    let output = settle(&mut node);
    assert_eq!(node.role(), RoleKind::PreCandidate);
    assert_eq!(node.current_term(), Term(2));
    assert_eq!(node.storage(), &before, "nothing is written");
    for message in &output.messages {
        assert_eq!((message.term, &message.body), (Term(3), &pre_vote((2, 1))));
    }
    // However often it asks in vain.
    ticks(&mut node, 100);
    assert_eq!(node.current_term(), Term(2));
}

/// Being asked begins no term either, and binds to nothing: two nodes may be encouraged.
#[test]
fn thesis_9_6_being_asked_changes_nothing() {
    let mut node = voter(1, &[2]);
    let before = node.clone();
    for from in [2, 3] {
        let output = tell(&mut node, from, 3, pre_vote((2, 1)));
        assert!(is_pre_granted(&output));
        assert_eq!(
            output.messages[0].term,
            Term(3),
            "the term that was asked for"
        );
    }
    assert_eq!(node.hard_state(), before.hard_state());
    assert_eq!(node.storage(), before.storage());
}

/// Only a log that would get the vote gets the pre-vote.
#[test]
fn thesis_9_6_granted_only_to_an_up_to_date_log() {
    for (last, deserves) in [
        ((1, 9), false),
        ((2, 1), false),
        ((2, 2), true),
        ((3, 1), true),
    ] {
        let output = tell(&mut voter(1, &[1, 2]), 2, 4, pre_vote(last));
        assert_eq!(is_pre_granted(&output), deserves, "{last:?}");
    }
}

/// A pre-vote of an earlier term is refused with the current one, from which the other learns.
#[test]
fn thesis_9_6_an_earlier_term_is_refused_with_the_current_one() {
    let output = tell(&mut voter(1, &[5]), 2, 3, pre_vote((3, 9)));
    assert!(!is_pre_granted(&output));
    assert_eq!(output.messages[0].term, Term(5));

    let mut behind = voter(2, &[2]);
    ticks_until_campaign(&mut behind);
    settle(&mut behind);
    behind.step(output.messages[0].clone()).unwrap();
    assert_eq!(
        (behind.role(), behind.current_term()),
        (RoleKind::Follower, Term(5))
    );
}

/// Whoever hears from a leader, or is one with a quorum, encourages nobody.
#[test]
fn thesis_9_6_refused_by_those_who_hear_a_leader() {
    let mut with_leader = voter(1, &[1]);
    tell(&mut with_leader, 3, 1, heartbeat(0));
    assert!(!is_pre_granted(&tell(
        &mut with_leader,
        2,
        2,
        pre_vote((1, 9))
    )));
    assert!(!is_pre_granted(&tell(
        &mut with_leader,
        2,
        1,
        pre_vote((1, 9))
    )));
    let timeout = with_leader.config().election_timeout_ticks();
    for _ in 0..timeout {
        with_leader.tick().unwrap();
    }
    assert!(is_pre_granted(&tell(
        &mut with_leader,
        2,
        2,
        pre_vote((1, 9))
    )));

    let mut leading = open(settings(1).check_quorum(true), disk(3, &[1]));
    elect(&mut leading);
    assert!(!is_pre_granted(&tell(&mut leading, 2, 3, pre_vote((3, 9)))));
    assert_eq!(leading.role(), RoleKind::Leader);
}

/// A granted pre-vote does not put off the granter's own campaign.
#[test]
fn thesis_9_6_a_grant_does_not_reset_the_timer() {
    let timeout = ticks_until_campaign(&mut voter(1, &[1]));
    let mut node = voter(1, &[1]);
    for passed in 1..=timeout {
        assert_eq!(node.role(), RoleKind::Follower, "after {passed} ticks");
        node.tick().unwrap();
        if passed < timeout {
            assert!(is_pre_granted(&tell(&mut node, 2, 2, pre_vote((1, 1)))));
        }
    }
    assert_eq!(node.role(), RoleKind::PreCandidate);
}

/// With the pre-votes of a majority, and not before, the real election begins.
#[test]
fn thesis_9_6_a_majority_of_pre_votes_begins_the_election() {
    let mut node = open(safe(1), disk(5, &[1]));
    node.campaign().unwrap();
    settle(&mut node);
    tell(&mut node, 2, 2, pre_granted());
    assert_eq!(
        (node.role(), node.current_term()),
        (RoleKind::PreCandidate, Term(1))
    );
    let output = tell(&mut node, 3, 2, pre_granted());
    assert_eq!(
        (node.role(), node.current_term()),
        (RoleKind::Candidate, Term(2))
    );
    assert!(
        output
            .messages
            .iter()
            .all(|message| message.body == request_vote((1, 1)))
    );
    // Pre-votes are no votes.
    tell(&mut node, 4, 2, pre_granted());
    tell(&mut node, 5, 2, pre_granted());
    assert_eq!(node.role(), RoleKind::Candidate);
}

/// A pre-vote that was granted for a term which has begun since says nothing of the next one.
#[test]
fn thesis_9_6_a_late_grant_does_not_count_for_a_later_round() {
    let mut node = voter(1, &[1]);
    node.campaign().unwrap();
    settle(&mut node);
    // While it asks for term 2, node 3 wins that term.
    tell(&mut node, 3, 2, heartbeat(0));
    ticks_until_campaign(&mut node);
    settle(&mut node);
    assert_eq!(
        (node.role(), node.current_term()),
        (RoleKind::PreCandidate, Term(2))
    );
    // Now node 2's grant for term 2 arrives.
    tell(&mut node, 2, 2, pre_granted());
    assert_eq!(
        (node.role(), node.current_term()),
        (RoleKind::PreCandidate, Term(2))
    );
}

/// A node that comes back after having been cut off does not disturb a working leader.
#[test]
fn thesis_9_6_a_node_that_was_cut_off_does_not_depose_the_leader() {
    let mut network = Network::new((1..=3).map(|number| voter(number, &[])));
    network.campaign(1);
    network.cut_off.insert(3);
    for _ in 0..60 {
        (1..=3).for_each(|number| network.tick(number));
    }
    network.cut_off.clear();
    for _ in 0..60 {
        (1..=3).for_each(|number| network.tick(number));
    }
    assert_eq!(network.node(1).role(), RoleKind::Leader);
    assert!(
        network
            .nodes
            .values()
            .all(|node| node.current_term() == Term(1))
    );
    assert_eq!(network.node(3).leader(), Some(id(1)));
}

/// A leader steps down that has not heard from a quorum for an election timeout; any answer counts.
#[test]
fn thesis_6_2_a_leader_without_a_quorum_steps_down() {
    let mut node = open(settings(1).check_quorum(true), disk(5, &[]));
    elect(&mut node);
    let timeout = node.config().election_timeout_ticks();
    tell(&mut node, 2, 1, heartbeat_response(0));
    tell(&mut node, 3, 1, rejected(0, (0, 0)));
    ticks(&mut node, timeout);
    assert_eq!(node.role(), RoleKind::Leader);

    tell(&mut node, 2, 1, heartbeat_response(0));
    ticks(&mut node, timeout);
    assert_eq!((node.role(), node.leader()), (RoleKind::Follower, None));
    assert_eq!(node.current_term(), Term(1));
}

/// Without the check a leader that hears nobody goes on.
#[test]
fn thesis_6_2_the_check_can_be_off() {
    let mut node = leader(1, 3, &[]);
    ticks(&mut node, 100);
    assert_eq!(node.role(), RoleKind::Leader);
}

/// Who has heard from a leader within the election timeout ignores a candidate, and does not adopt
/// its term.
#[test]
fn thesis_4_2_3_a_vote_is_refused_while_a_leader_is_known() {
    let mut node = voter(1, &[1]);
    tell(&mut node, 3, 1, heartbeat(0));
    let output = tell(&mut node, 2, 9, request_vote((1, 1)));
    assert!(output.messages.is_empty());
    assert_eq!((node.current_term(), node.leader()), (Term(1), Some(id(3))));

    let timeout = node.config().election_timeout_ticks();
    for _ in 0..timeout {
        node.tick().unwrap();
    }
    let output = tell(&mut node, 2, 9, request_vote((1, 1)));
    assert_eq!(output.to(2).last().unwrap().body, granted());
}

/// Either setting makes a node stand by the leader it hears, and the leader by itself; with neither,
/// a candidate is listened to.
#[test]
fn thesis_4_2_3_either_setting_is_enough() {
    for (pre_vote, check_quorum) in [(true, false), (false, true), (false, false)] {
        let settings = |number| safe(number).pre_vote(pre_vote).check_quorum(check_quorum);
        let mut hearing = open(settings(1), disk(3, &[1]));
        tell(&mut hearing, 3, 1, heartbeat(0));
        let mut leading = open(settings(1), disk(3, &[]));
        if pre_vote {
            leading.campaign().unwrap();
            settle(&mut leading);
            tell(&mut leading, 2, 1, pre_granted());
            tell(&mut leading, 2, 1, granted());
        } else {
            elect(&mut leading);
        }
        for (mut node, role) in [(hearing, RoleKind::Follower), (leading, RoleKind::Leader)] {
            let output = tell(&mut node, 2, 9, request_vote((1, 9)));
            if pre_vote || check_quorum {
                assert!(output.messages.is_empty(), "{role}");
                assert_eq!((node.role(), node.current_term()), (role, Term(1)));
            } else {
                assert_eq!(node.current_term(), Term(9));
            }
        }
    }
}

/// An election that the leader itself asked for is not held up.
#[test]
fn thesis_4_2_3_a_transfer_overrides_the_leader() {
    let mut node = voter(1, &[1]);
    tell(&mut node, 3, 1, heartbeat(0));
    let request = RequestVote {
        leadership_transfer: true,
        ..candidacy((1, 1))
    };
    let output = tell(&mut node, 2, 2, Body::RequestVote(request));
    assert_eq!(output.messages[0].body, granted());
}

/// A node that is removed without knowing it cannot make the others vote again and again.
#[test]
fn thesis_4_2_3_a_removed_node_does_not_disturb() {
    let mut network = Network::new((1..=3).map(|number| voter(number, &[])));
    network.campaign(1);
    let before = network.sent.len();
    let mut stranger = message(9, 1, 50, request_vote((1, 9)));
    for to in [1, 2, 3] {
        stranger.to = id(to);
        network.node(to).step(stranger.clone()).unwrap();
    }
    network.run();
    assert_eq!(network.node(1).role(), RoleKind::Leader);
    assert!(
        network
            .nodes
            .values()
            .all(|node| node.current_term() == Term(1))
    );
    let answers = network.sent[before..].iter();
    assert!(
        answers
            .into_iter()
            .all(|message| message.body.kind() != MessageKind::RequestVoteResponse)
    );
}
