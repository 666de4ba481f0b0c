//! Linearizable reads by ReadIndex (Thesis 6.4).

use almadia::{
    Body, ConfState, HeartbeatResponse, LogIndex, Message, ReadDropped, ReadError,
    ReadIndexResponse, ReadState, RoleKind, StepError, Token,
};

use crate::nodes::*;

/// What a node asks for, and the ends of its reads.
fn settle_reads(node: &mut Node) -> (Vec<Message>, Vec<ReadState>) {
    let mut messages = Vec::new();
    let mut reads = Vec::new();
    while let Some(mut ready) = node.ready().unwrap() {
        write(node, &ready);
        messages.append(&mut ready.messages);
        messages.append(&mut ready.messages_after_persist);
        reads.append(&mut ready.read_states);
        node.advance(ready).unwrap();
    }
    (messages, reads)
}

fn answered(context: &'static str, read_index: u64) -> ReadState {
    ReadState {
        context: context.into(),
        outcome: Ok(LogIndex(read_index)),
    }
}

/// The token of a heartbeat to this peer.
fn token_to(messages: &[Message], peer: u64) -> Option<Token> {
    messages
        .iter()
        .filter(|message| message.to == id(peer))
        .find_map(|message| {
            if let Body::Heartbeat(heartbeat) = &message.body {
                Some(heartbeat.token.clone())
            } else {
                None
            }
        })
}

/// The token of a read that is forwarded to this peer.
fn read_to(messages: &[Message], peer: u64) -> Option<Token> {
    let to_peer = messages.iter().filter(|message| message.to == id(peer));
    to_peer.into_iter().find_map(|message| {
        if let Body::ReadIndex(token) = &message.body {
            Some(token.clone())
        } else {
            None
        }
    })
}

fn answer(token: Token) -> Body {
    Body::HeartbeatResponse(HeartbeatResponse {
        commit_index: LogIndex::ZERO,
        token,
    })
}

/// A leader of three that has committed its first entry.
fn ready_leader() -> Node {
    let mut node = leader(1, 3, &[1]);
    tell(&mut node, 2, 2, accepted(2));
    assert_eq!(node.commit_index(), index(2));
    node
}

fn asked(node: &mut Node, context: &'static str) -> Token {
    node.read_index(context).unwrap();
    let (messages, reads) = settle_reads(node);
    assert_eq!(reads, []);
    token_to(&messages, 2).expect("the peers are asked")
}

#[test]
fn b67_a_read_waits_for_a_quorum() {
    let mut node = ready_leader();
    let token = asked(&mut node, "x");
    node.step(message(2, 1, 2, answer(token))).unwrap();
    assert_eq!(settle_reads(&mut node).1, [answered("x", 2)]);
}

/// Who has no vote says nothing of who leads: learners are not asked for a read, only told the time.
#[test]
fn a_read_asks_voters_alone() {
    let mut storage = disk(3, &[1]);
    let mut conf_state = ConfState::of_voters([id(1), id(2)]);
    conf_state.learners = vec![id(3)];
    storage.set_conf_state(conf_state);
    let mut node = open(settings(1), storage);
    elect(&mut node);
    tell(&mut node, 2, 2, accepted(2));
    node.read_index("x").unwrap();
    let (messages, _) = settle_reads(&mut node);
    assert!(token_to(&messages, 2).is_some());
    assert_eq!(token_to(&messages, 3), None);
    node.ping();
    let (messages, _) = settle_reads(&mut node);
    assert!(token_to(&messages, 3).is_some());
}

/// B66, E69: a leader that has committed nothing in its term does not know what is committed.
#[test]
fn b66_e69_a_read_waits_for_the_first_entry_of_the_term() {
    let mut node = leader(1, 3, &[1]);
    node.read_index("early").unwrap();
    let (messages, reads) = settle_reads(&mut node);
    assert_eq!((token_to(&messages, 2), reads), (None, vec![]));
    node.step(message(2, 1, 2, accepted(2))).unwrap();
    let (messages, _) = settle_reads(&mut node);
    let token = token_to(&messages, 2).expect("now the peers are asked");
    node.step(message(2, 1, 2, answer(token))).unwrap();
    assert_eq!(settle_reads(&mut node).1, [answered("early", 2)]);
}

/// E70: also where there is nobody to ask.
#[test]
fn e70_a_single_voter_waits_for_the_first_entry_of_its_term() {
    let mut node = open(settings(1), disk(1, &[1]));
    node.campaign().unwrap();
    let ready = take(&mut node);
    write(&mut node, &ready);
    node.persisted(ready.number).unwrap();
    assert_eq!(node.role(), RoleKind::Leader);
    node.read_index("early").unwrap();
    let first = take(&mut node);
    assert!(first.read_states.is_empty());
    persist(&mut node, &first);
    assert_eq!(settle_reads(&mut node).1, [answered("early", 2)]);
    node.read_index("later").unwrap();
    assert_eq!(settle_reads(&mut node).1, [answered("later", 2)]);
}

/// B69, E71: an answer to an earlier heartbeat confirms nothing that was asked after it was sent,
/// though the caller's contexts are the same.
#[test]
fn b69_e71_an_earlier_answer_confirms_no_later_read() {
    let mut node = ready_leader();
    let first = asked(&mut node, "same");
    let second = asked(&mut node, "same");
    assert_ne!(first, second);
    node.step(message(2, 1, 2, answer(first.clone()))).unwrap();
    assert_eq!(settle_reads(&mut node).1, [answered("same", 2)]);
    node.step(message(3, 1, 2, answer(first))).unwrap();
    node.step(message(3, 1, 2, answer(Token::None))).unwrap();
    assert_eq!(settle_reads(&mut node).1, []);
    node.step(message(3, 1, 2, answer(second))).unwrap();
    assert_eq!(settle_reads(&mut node).1, [answered("same", 2)]);
}

#[test]
fn an_answer_confirms_all_earlier_reads() {
    let mut node = ready_leader();
    asked(&mut node, "first");
    let second = asked(&mut node, "second");
    node.step(message(3, 1, 2, answer(second))).unwrap();
    let expected = [answered("first", 2), answered("second", 2)];
    assert_eq!(settle_reads(&mut node).1, expected);
}

#[test]
fn reads_between_two_readies_share_a_round() {
    let mut node = ready_leader();
    node.read_index("a").unwrap();
    node.read_index("b").unwrap();
    let (messages, _) = settle_reads(&mut node);
    assert_eq!(messages.len(), 2, "one heartbeat to each peer");
    let token = token_to(&messages, 3).unwrap();
    node.step(message(3, 1, 2, answer(token))).unwrap();
    let expected = [answered("a", 2), answered("b", 2)];
    assert_eq!(settle_reads(&mut node).1, expected);
}

#[test]
fn a_lost_round_is_asked_again_with_the_next_heartbeat() {
    let mut node = ready_leader();
    let token = asked(&mut node, "x");
    node.tick().unwrap();
    let (messages, _) = settle_reads(&mut node);
    assert_eq!(token_to(&messages, 2), Some(token.clone()));
    node.step(message(2, 1, 2, answer(token))).unwrap();
    assert_eq!(settle_reads(&mut node).1, [answered("x", 2)]);
    node.tick().unwrap();
    let (messages, _) = settle_reads(&mut node);
    assert_eq!(token_to(&messages, 2), Some(Token::None), "nothing waits");
}

/// Answers of learners do not count, and a joint configuration takes both majorities.
#[test]
fn a_read_is_confirmed_by_voters_of_both_halves() {
    let mut storage = disk(3, &[1]);
    let mut joint = almadia::ConfState::of_voters([1, 4].map(id));
    joint.voters_outgoing = [1, 2, 3].map(id).to_vec();
    joint.learners = vec![id(5)];
    storage.set_conf_state(joint);
    let mut node = open(settings(1), storage);
    elect(&mut node);
    for peer in [2, 4] {
        node.step(message(peer, 1, 2, accepted(2))).unwrap();
    }
    let token = asked(&mut node, "x");
    for peer in [5, 2, 3] {
        node.step(message(peer, 1, 2, answer(token.clone())))
            .unwrap();
        assert_eq!(settle_reads(&mut node).1, [], "after node {peer}");
    }
    node.step(message(4, 1, 2, answer(token))).unwrap();
    assert_eq!(settle_reads(&mut node).1, [answered("x", 2)]);
}

/// E76: a read that waits for a voter who is removed goes on when the change is in force.
#[test]
fn e76_a_shrinking_membership_releases_reads() {
    let mut node = leader(1, 2, &[1]);
    tell(&mut node, 2, 2, accepted(2));
    let change = almadia::MembershipChange::of([almadia::MemberChange::Remove(id(2))]);
    node.propose_conf_change("", change.clone()).unwrap();
    settle(&mut node);
    asked(&mut node, "x");
    node.step(message(2, 1, 2, accepted(3))).unwrap();
    let ready = take(&mut node);
    node.apply_conf_change(&change).unwrap();
    node.advance(ready).unwrap();
    assert_eq!(settle_reads(&mut node).1, [answered("x", 2)]);
}

// --- Forwarded reads ---

/// Two nodes of three whose reads are looked at.
struct Pair {
    leader: Node,
    follower: Node,
}

impl Pair {
    fn new() -> Self {
        let mut leader = ready_leader();
        let mut follower = follower(2, 3, &[1, 2]);
        follower.step(message(1, 2, 2, heartbeat(2))).unwrap();
        settle_reads(&mut follower);
        leader.tick().unwrap();
        settle_reads(&mut leader);
        Self { leader, follower }
    }

    /// Lets the two speak, and returns the ends of the follower's reads.
    fn speak(&mut self) -> Vec<ReadState> {
        let mut ends = Vec::new();
        for _ in 0..6 {
            let (to_leader, mut reads) = settle_reads(&mut self.follower);
            ends.append(&mut reads);
            for message in to_leader.into_iter().filter(|it| it.to == id(1)) {
                self.leader.step(message).unwrap();
            }
            let (to_follower, _) = settle_reads(&mut self.leader);
            for message in to_follower.into_iter().filter(|it| it.to == id(2)) {
                self.follower.step(message).unwrap();
            }
        }
        ends
    }
}

/// E74: what is forwarded belongs to no term, so an old one deposes nobody.
#[test]
fn e74_a_forwarded_read_carries_no_term_and_is_answered() {
    let mut pair = Pair::new();
    pair.follower.read_index("x").unwrap();
    let (messages, _) = settle_reads(&mut pair.follower);
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].term, almadia::Term::ZERO);
    pair.leader.step(messages[0].clone()).unwrap();
    assert_eq!(pair.speak(), [answered("x", 2)]);
}

#[test]
fn two_forwarded_reads_with_the_same_context_are_two() {
    let mut pair = Pair::new();
    pair.follower.read_index("same").unwrap();
    pair.follower.read_index("same").unwrap();
    assert_eq!(pair.speak(), [answered("same", 2), answered("same", 2)]);
}

/// An answer that comes twice, or to a read of an earlier life, answers nothing else.
#[test]
fn an_answer_to_a_read_of_an_earlier_life_is_not_taken() {
    let late = |token| {
        Body::ReadIndexResponse(ReadIndexResponse {
            read_index: LogIndex(1),
            token: Token::Number(token),
        })
    };
    let restarted = |incarnation| {
        let mut node = open(settings(2).incarnation(incarnation), disk(3, &[1, 2]));
        node.step(message(1, 2, 2, heartbeat(0))).unwrap();
        node.read_index("new").unwrap();
        settle_reads(&mut node);
        node
    };
    let mut first_life = restarted(0);
    let (_, reads) = {
        first_life.step(message(1, 2, 2, late(1))).unwrap();
        settle_reads(&mut first_life)
    };
    assert_eq!(
        reads,
        [answered("new", 1)],
        "the first token of the first life"
    );
    let mut second_life = restarted(1);
    second_life.step(message(1, 2, 2, late(1))).unwrap();
    assert_eq!(settle_reads(&mut second_life).1, []);
}

/// An answer of who does not lead is none.
#[test]
fn only_the_leader_answers() {
    let mut node = follower(2, 3, &[1, 2]);
    node.step(message(1, 2, 2, heartbeat(0))).unwrap();
    node.read_index("x").unwrap();
    settle_reads(&mut node);
    let body = Body::ReadIndexResponse(ReadIndexResponse {
        read_index: LogIndex(1),
        token: Token::Number(1),
    });
    node.step(message(3, 2, 2, body)).unwrap();
    assert_eq!(settle_reads(&mut node).1, []);
}

/// The answer tells the commit index of a leader who has committed in its term, so a follower that
/// has that very entry has committed it.
#[test]
fn an_answer_brings_the_commit_index() {
    let response = Body::ReadIndexResponse(ReadIndexResponse {
        read_index: LogIndex(3),
        token: Token::None,
    });
    let mut node = follower(2, 3, &[1, 2, 2]);
    node.step(message(1, 2, 2, heartbeat(0))).unwrap();
    node.step(message(1, 2, 2, response.clone())).unwrap();
    assert_eq!(node.commit_index(), index(3));
    let mut node = follower(2, 3, &[1, 1, 1]);
    node.step(message(1, 2, 2, heartbeat(0))).unwrap();
    node.step(message(1, 2, 2, response)).unwrap();
    assert_eq!(node.commit_index(), index(0), "another entry stands there");
}

/// E75: a read that went to an old leader is asked again of the new one.
#[test]
fn e75_a_read_goes_on_with_a_new_leader() {
    let mut node = follower(2, 3, &[1, 2]);
    node.step(message(1, 2, 2, heartbeat(0))).unwrap();
    node.read_index("x").unwrap();
    let (messages, _) = settle_reads(&mut node);
    let Body::ReadIndex(token) = &messages.last().unwrap().body else {
        panic!("{messages:?} end with no read");
    };
    node.step(message(3, 2, 3, heartbeat(0))).unwrap();
    let (messages, _) = settle_reads(&mut node);
    let again = messages
        .iter()
        .find(|it| it.body == Body::ReadIndex(token.clone()));
    assert_eq!(again.expect("the new leader is asked").to, id(3));
    let old = Body::ReadIndexResponse(ReadIndexResponse {
        read_index: LogIndex(1),
        token: token.clone(),
    });
    node.step(message(1, 2, 2, old)).unwrap();
    assert_eq!(
        settle_reads(&mut node).1,
        [],
        "the old leader's term is over"
    );
}

/// A leader that loses its term asks the next one; one that comes to lead answers by itself.
#[test]
fn reads_outlive_a_change_of_role() {
    let mut node = ready_leader();
    asked(&mut node, "x");
    node.step(message(3, 1, 3, append((2, 2), &[3], 2)))
        .unwrap();
    let (messages, reads) = settle_reads(&mut node);
    assert_eq!(reads, []);
    assert!(
        messages
            .iter()
            .any(|it| matches!(it.body, Body::ReadIndex(_)) && it.to == id(3))
    );
    node.campaign().unwrap();
    settle_reads(&mut node);
    node.step(message(2, 1, 4, granted())).unwrap();
    settle_reads(&mut node);
    node.step(message(2, 1, 4, accepted(4))).unwrap();
    let (messages, _) = settle_reads(&mut node);
    let token = token_to(&messages, 2).expect("the peers are asked");
    node.step(message(2, 1, 4, answer(token))).unwrap();
    assert_eq!(settle_reads(&mut node).1, [answered("x", 4)]);
}

// --- Refusals and drops ---

/// E78: a read that nobody answers is dropped, and said to be.
#[test]
fn e78_a_read_that_nobody_answers_is_dropped_with_a_reason() {
    let mut node = follower(2, 3, &[1]);
    node.step(message(1, 2, 1, heartbeat(0))).unwrap();
    node.read_index("x").unwrap();
    settle_reads(&mut node);
    let dropped = ReadState {
        context: "x".into(),
        outcome: Err(ReadDropped::TimedOut),
    };
    let mut passed = 0;
    loop {
        node.tick().unwrap();
        passed += 1;
        let (_, reads) = settle_reads(&mut node);
        if reads == [dropped.clone()] {
            break;
        }
        assert_eq!(reads, []);
        assert!(passed < 100, "the read never ends");
    }
    assert_eq!(passed, 2 * node.config().max_election_timeout_ticks());
}

#[test]
fn a_read_without_a_leader_is_refused() {
    let mut node = follower(2, 3, &[1]);
    assert_eq!(node.read_index("x"), Err(ReadError::NoLeader));
    node.campaign().unwrap();
    assert_eq!(node.read_index("x"), Err(ReadError::NoLeader));
    assert_eq!(node.lease_read("x"), Err(ReadError::NoLeader));
}

/// E77: what waits is bounded, and there is room again once it is answered. A node's own reads and
/// those of its peers do not take each other's room.
#[test]
fn e77_reads_that_wait_are_bounded() {
    let mut node = open(settings(1).max_pending_reads(2), disk(3, &[1]));
    elect(&mut node);
    node.read_index("a").unwrap();
    node.read_index("b").unwrap();
    assert_eq!(node.read_index("c"), Err(ReadError::TooManyPending));
    let forwarded = message(2, 1, 0, Body::ReadIndex(Token::Number(1)));
    let refusal = Err(StepError::Read(ReadError::TooManyPending));
    assert_eq!(node.step(forwarded.clone()), Ok(()));
    assert_eq!(node.step(forwarded.clone()), Ok(()));
    assert_eq!(node.step(forwarded.clone()), refusal);
    node.step(message(2, 1, 2, accepted(2))).unwrap();
    let (messages, _) = settle_reads(&mut node);
    assert_eq!(
        node.step(forwarded.clone()),
        refusal,
        "asked is not answered"
    );
    let token = token_to(&messages, 2).unwrap();
    node.step(message(2, 1, 2, answer(token))).unwrap();
    let (messages, reads) = settle_reads(&mut node);
    assert_eq!(reads, [answered("a", 2), answered("b", 2)]);
    let is_answer = |it: &&Message| matches!(it.body, Body::ReadIndexResponse(_));
    assert_eq!(messages.iter().filter(is_answer).count(), 2);
    assert_eq!(node.step(forwarded), Ok(()));
    assert_eq!(node.read_index("c"), Ok(()));
}

/// Reads that time out on a leader without a quorum leave nothing behind.
#[test]
fn dropped_reads_take_no_room() {
    let mut node = open(settings(1).max_pending_reads(8), disk(3, &[1]));
    elect(&mut node);
    settle_reads(&mut node);
    for _ in 0..50 {
        for _ in 0..8 {
            node.read_index("x").unwrap();
        }
        for _ in 0..2 * node.config().max_election_timeout_ticks() {
            node.tick().unwrap();
        }
        let (_, reads) = settle_reads(&mut node);
        assert_eq!(reads.len(), 8);
    }
    let forwarded = message(2, 1, 0, Body::ReadIndex(Token::Number(1)));
    assert_eq!(node.step(forwarded), Ok(()));
}

/// A node that does not count its starts could take an answer to a read of an earlier life for
/// one to this; so it forwards none.
#[test]
fn only_a_node_that_counts_its_starts_forwards_reads() {
    let mut node = open(almadia::Config::builder(id(2)), disk(3, &[1]));
    node.step(message(1, 2, 1, heartbeat(0))).unwrap();
    assert_eq!(node.read_index("x"), Err(ReadError::NoIncarnation));
    assert_eq!(node.lease_read("x"), Err(ReadError::NoIncarnation));
}

/// A leader whom this node has not applied as a member yet answers reads all the same.
#[test]
fn a_leader_that_is_no_member_yet_answers() {
    let mut node = follower(3, 3, &[1]);
    node.step(message(4, 3, 1, heartbeat(0))).unwrap();
    node.read_index("x").unwrap();
    let (messages, _) = settle_reads(&mut node);
    let token = read_to(&messages, 4).unwrap();
    let response = ReadIndexResponse {
        read_index: index(1),
        token,
    };
    let answer = |from, term| message(from, 3, term, Body::ReadIndexResponse(response.clone()));
    assert!(node.step(answer(5, 2)).is_err(), "a stranger");
    node.step(answer(4, 1)).unwrap();
    let (_, reads) = settle_reads(&mut node);
    assert_eq!(reads, [answered("x", 1)]);
}
