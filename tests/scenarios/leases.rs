//! Reads by lease (Thesis 6.4.1): what extends it, what ends it, and who keeps it.

use almadia::{
    Body, CampaignError, Config, ConfigBuilder, HeartbeatResponse, LogIndex, Message, ReadState,
    RoleKind, Term, Token, VoteResponse,
};

use crate::nodes::*;

fn with_leases(number: u64) -> ConfigBuilder {
    Config::builder(id(number)).lease_reads(true)
}

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

fn heartbeat_token(messages: &[Message]) -> Token {
    let tokens = messages.iter().filter_map(|message| {
        if let Body::Heartbeat(heartbeat) = &message.body {
            Some(heartbeat.token.clone())
        } else {
            None
        }
    });
    tokens.last().expect("a heartbeat")
}

fn answer(token: Token) -> Body {
    Body::HeartbeatResponse(HeartbeatResponse {
        commit_index: LogIndex::ZERO,
        token,
    })
}

/// A leader of three, ten ticks after the start, that has committed in its term.
fn leading() -> Node {
    let mut node = open(with_leases(1), disk(3, &[1]));
    ticks(&mut node, 10);
    while node.role() != RoleKind::PreCandidate {
        ticks(&mut node, 1);
    }
    tell(
        &mut node,
        2,
        2,
        Body::PreVoteResponse(VoteResponse::Granted),
    );
    tell(&mut node, 2, 2, granted());
    tell(&mut node, 2, 2, accepted(2));
    assert_eq!(node.role(), RoleKind::Leader);
    assert_eq!(node.commit_index(), index(2));
    node
}

/// A tick of the leader, whose heartbeat is answered by one peer after `delay` more ticks.
fn extend(node: &mut Node, delay: u32) {
    node.tick().unwrap();
    let (messages, _) = settle_reads(node);
    let token = heartbeat_token(&messages);
    for _ in 0..delay {
        node.tick().unwrap();
        settle_reads(node);
    }
    node.step(message(2, 1, 2, answer(token))).unwrap();
    settle_reads(node);
}

/// Whether a read is answered without asking anybody.
fn reads_by_lease(node: &Node) -> bool {
    let mut node = node.clone();
    node.lease_read("x").unwrap();
    let (_, reads) = settle_reads(&mut node);
    !reads.is_empty()
}

#[test]
fn a_lease_lasts_from_the_sending_of_what_was_answered() {
    let mut node = leading();
    assert!(!reads_by_lease(&node), "nothing was answered yet");
    extend(&mut node, 0);
    assert!(reads_by_lease(&node));
    // Ten ticks of an election timeout, less the margin of two.
    ticks(&mut node, 7);
    assert!(reads_by_lease(&node));
    ticks(&mut node, 1);
    assert!(!reads_by_lease(&node));

    let mut node = leading();
    extend(&mut node, 5);
    ticks(&mut node, 2);
    assert!(reads_by_lease(&node));
    ticks(&mut node, 1);
    assert!(!reads_by_lease(&node), "eight ticks after it was sent");
}

/// Rounds that nobody answers are kept apart up to a bound. Beyond it the oldest are forgotten, so an answer
/// to one of them extends nothing.
#[test]
fn so_many_rounds_of_heartbeats_are_kept_apart() {
    for (rounds, extends) in [(256, true), (257, false)] {
        let mut node = leading();
        let heartbeats: Vec<Token> = (0..rounds)
            .map(|_| {
                node.ping();
                heartbeat_token(&settle_reads(&mut node).0)
            })
            .collect();
        for (answered, expected) in [(0, extends), (1, true)] {
            let token = heartbeats[answered].clone();
            node.step(message(2, 1, 2, answer(token))).unwrap();
            assert_eq!(reads_by_lease(&node), expected, "{rounds}, {answered}");
        }
    }
}

/// A node that was restarted may have promised its vote away: it does not even take note of a
/// candidate's term until the promise is over, or the candidate would have to lead without it.
#[test]
fn a_restarted_node_stands_by_a_leader_it_does_not_know() {
    let mut node = open(with_leases(2), disk(3, &[1]));
    tell(&mut node, 3, 9, request_vote((1, 1)));
    assert_eq!(node.current_term(), Term(1));
    let promised = node.config().election_timeout_ticks();
    ticks(&mut node, promised);
    tell(&mut node, 3, 9, request_vote((1, 1)));
    assert_eq!(node.current_term(), Term(9));
}

#[test]
fn without_a_lease_the_peers_are_asked() {
    let mut node = leading();
    node.lease_read("x").unwrap();
    let (messages, reads) = settle_reads(&mut node);
    assert_eq!(reads, []);
    let token = heartbeat_token(&messages);
    node.step(message(3, 1, 2, answer(token))).unwrap();
    let (_, reads) = settle_reads(&mut node);
    let outcome = Ok(LogIndex(2));
    assert_eq!(
        reads,
        [ReadState {
            context: "x".into(),
            outcome
        }]
    );
}

#[test]
fn without_the_setting_there_is_no_lease() {
    let mut node = leader(1, 3, &[1]);
    tell(&mut node, 2, 2, accepted(2));
    node.tick().unwrap();
    let (messages, _) = settle_reads(&mut node);
    assert_eq!(heartbeat_token(&messages), Token::None);
    assert!(!reads_by_lease(&node));
}

/// B68: time that passed while the process stood still counts, once it is told.
#[test]
fn b68_a_pause_ends_the_lease() {
    let mut node = leading();
    extend(&mut node, 0);
    assert!(reads_by_lease(&node));
    node.tick_many(8).unwrap();
    assert!(!reads_by_lease(&node));
}

/// B20, E72, E73: with a transfer the others vote without regard to the lease, so it is over as
/// soon as a transfer has begun, and the leader with it once TimeoutNow has left.
#[test]
fn b20_e72_e73_a_transfer_ends_the_lease() {
    let mut node = leading();
    extend(&mut node, 0);
    node.transfer_leader(id(3)).unwrap();
    assert_eq!(node.role(), RoleKind::Leader, "node 3 lacks entries");
    assert!(!reads_by_lease(&node));
    tell(&mut node, 3, 2, accepted(2));
    assert_eq!(node.role(), RoleKind::Follower, "TimeoutNow has left");
    assert_eq!(node.lease_read("x"), Err(almadia::ReadError::NoLeader));
}

#[test]
fn a_new_leader_reads_by_lease_only_after_its_first_commit() {
    let mut node = open(with_leases(1), disk(1, &[1]));
    while node.role() != RoleKind::Candidate {
        node.tick().unwrap();
    }
    let ready = take(&mut node);
    persist(&mut node, &ready);
    assert_eq!(node.role(), RoleKind::Leader);
    let unwritten = node.clone();
    let mut unwritten = unwritten;
    unwritten.tick().unwrap();
    unwritten.lease_read("x").unwrap();
    let ready = take(&mut unwritten);
    assert!(ready.read_states.is_empty());
}

// --- The promise ---

fn bound(number: u64) -> Node {
    let mut node = open(with_leases(number), disk(3, &[1]));
    ticks(&mut node, 10);
    tell(&mut node, 1, 1, heartbeat(0));
    node
}

fn asks(node: &mut Node, term: u64, leadership_transfer: bool) -> bool {
    let mut request = candidacy((1, 9));
    request.leadership_transfer = leadership_transfer;
    let output = tell(node, 3, term, Body::RequestVote(request));
    let granted = Body::RequestVoteResponse(VoteResponse::Granted);
    output
        .messages
        .iter()
        .any(|message| message.body == granted)
}

/// E72b: a node that may have acknowledged a lease and was restarted has forgotten it, and votes
/// for nobody before it must be over.
#[test]
fn e72b_a_restarted_node_grants_no_vote_before_a_timeout_has_passed() {
    let fresh = || open(with_leases(2), disk(3, &[1]));
    for passed in [0, 5, 9] {
        let mut node = fresh();
        ticks(&mut node, passed);
        assert!(!asks(&mut node, 9, false), "after {passed} ticks");
        assert!(
            !asks(&mut node, 1, false),
            "in its own term, after {passed} ticks"
        );
    }
    let mut node = fresh();
    ticks(&mut node, 10);
    assert!(asks(&mut node, 9, false));
    let mut node = open(settings(2), disk(3, &[1]));
    assert!(asks(&mut node, 9, false), "without leases it votes at once");
}

#[test]
fn a_transfer_needs_no_patience() {
    assert!(asks(&mut bound(2), 2, true));
}

/// The promise outlives whatever makes the node forget its leader: the embedder's word, and a
/// message of a later term.
#[test]
fn the_promise_outlives_the_leader() {
    let mut node = bound(2);
    assert!(!node.forget_leader());
    assert_eq!(node.leader(), Some(id(1)));
    let outdated = Body::AppendEntriesResponse(almadia::AppendEntriesResponse::TermOutdated);
    tell(&mut node, 3, 5, outdated);
    assert_eq!(node.leader(), None);
    assert_eq!(node.current_term(), Term(5));
    assert!(!asks(&mut node, 6, false));
    assert!(!asks(&mut node, 5, false));
    ticks(&mut node, 10);
    assert!(asks(&mut node, 9, false));
}

#[test]
fn who_is_bound_does_not_campaign() {
    let mut node = bound(2);
    ticks(&mut node, 3);
    assert_eq!(
        node.campaign(),
        Err(CampaignError::BoundByLease { ticks: 7 })
    );
    tell(&mut node, 1, 1, Body::TimeoutNow);
    assert_eq!(
        node.role(),
        RoleKind::Candidate,
        "the leader has ended its lease"
    );
}
