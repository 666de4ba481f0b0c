//! Short cases by hand, for the rules that random cases seldom meet.
//!
//! Owns one case for each of them, which must apply it. The peers are not there: what they would say
//! is written down.

use almadia::{
    AppendEntriesResponse, Body, Bytes, ConfState, Config, HardState, Heartbeat, LogId, LogIndex,
    MemStorage, MemberChange, MembershipChange, Message, NodeId, ReadIndexResponse, RequestVote,
    Term, Token, VoteResponse,
};

use crate::cluster::pinned;
use crate::pair::{Input, Pair, Settings, Stop};
use crate::rules::Rule;

type Case = fn() -> Result<Pair, Stop>;

/// Each rule with its case.
const CASES: [(Rule, Case); 9] = [
    (
        Rule::StandsByLeader,
        a_vote_is_asked_for_while_a_leader_is_heard,
    ),
    (Rule::GrantOfAnotherTerm, a_grant_is_for_an_earlier_term),
    (Rule::PreCandidateTakesOver, a_pre_candidate_is_chosen),
    (Rule::TimeoutNowHeard, a_learner_is_chosen),
    (Rule::JointLeft, a_transfer_fails_in_a_joint_configuration),
    (Rule::LeaderAnswers, somebody_else_answers_a_read),
    (
        Rule::WishOfAnyTerm,
        a_transfer_is_asked_for_in_an_earlier_term,
    ),
    (Rule::ReadMarks, a_read_is_asked_for_twice),
    (Rule::AddedAgain, a_member_is_removed_and_added_again),
];

/// Runs all of them.
pub(crate) fn run() {
    for (rule, case) in CASES {
        let pair = case().unwrap_or_else(|stop| panic!("the case for {rule:?}: {stop:?}"));
        assert!(pair.rules.of(rule) > 0, "the case for {rule:?} has none");
    }
}

/// Whether this rule has a case here.
pub(crate) fn has(rule: Rule) -> bool {
    CASES.iter().any(|(it, _)| *it == rule)
}

fn node(id: u64) -> NodeId {
    NodeId::new(id).expect("ids begin at 1")
}

const ELECTION_TIMEOUT: u32 = 5;

/// Node 1 in term 1, with an empty log and without quorum checks.
fn start(conf_state: ConfState, pre_vote: bool) -> Pair {
    let mut storage = MemStorage::new();
    storage.set_conf_state(conf_state);
    storage.set_hard_state(HardState {
        current_term: Term(1),
        ..HardState::default()
    });
    let config = Config::builder(node(1))
        .heartbeat_interval_ticks(1)
        .election_timeout_ticks(ELECTION_TIMEOUT)
        .pre_vote(pre_vote)
        .check_quorum(false);
    let settings = Settings {
        config: pinned(config, ELECTION_TIMEOUT),
        batch_append: false,
    };
    Pair::start(settings, &storage)
}

fn three_voters(pre_vote: bool) -> Pair {
    start(ConfState::of_voters([1, 2, 3].map(node)), pre_vote)
}

fn from(id: u64, term: u64, body: Body) -> Input {
    Input::Message(Message {
        to: node(1),
        from: node(id),
        term: Term(term),
        body,
    })
}

fn accepted(id: u64, index: u64) -> Input {
    let response = AppendEntriesResponse::Accepted {
        match_index: LogIndex(index),
        commit_index: LogIndex::ZERO,
    };
    from(id, 2, Body::AppendEntriesResponse(response))
}

fn heartbeat() -> Input {
    let heartbeat = Heartbeat {
        leader_commit: LogIndex::ZERO,
        token: Token::None,
    };
    from(2, 1, Body::Heartbeat(heartbeat))
}

fn lead() -> Result<Pair, Stop> {
    lead_from(three_voters(false))
}

/// Makes node 1 the leader of term 2, with its first entry committed.
fn lead_from(mut pair: Pair) -> Result<Pair, Stop> {
    pair.input(&Input::Campaign)?;
    pair.input(&from(
        2,
        2,
        Body::RequestVoteResponse(VoteResponse::Granted),
    ))?;
    pair.input(&accepted(2, 1))?;
    Ok(pair)
}

fn a_vote_is_asked_for_while_a_leader_is_heard() -> Result<Pair, Stop> {
    let mut pair = three_voters(true);
    pair.input(&heartbeat())?;
    let request = RequestVote {
        last_log: LogId::ZERO,
        commit: LogId::ZERO,
        priority: 0,
        leadership_transfer: false,
    };
    pair.input(&from(3, 2, Body::RequestVote(request)))?;
    Ok(pair)
}

fn a_grant_is_for_an_earlier_term() -> Result<Pair, Stop> {
    let mut pair = three_voters(true);
    pair.input(&Input::Campaign)?;
    pair.input(&from(2, 1, Body::PreVoteResponse(VoteResponse::Granted)))?;
    Ok(pair)
}

fn a_pre_candidate_is_chosen() -> Result<Pair, Stop> {
    let mut pair = three_voters(true);
    pair.input(&Input::Campaign)?;
    pair.input(&from(2, 1, Body::TimeoutNow))?;
    Ok(pair)
}

fn a_learner_is_chosen() -> Result<Pair, Stop> {
    let mut conf_state = ConfState::of_voters([2, 3].map(node));
    conf_state.learners = vec![node(1)];
    let mut pair = start(conf_state, false);
    pair.input(&from(2, 1, Body::TimeoutNow))?;
    Ok(pair)
}

fn a_transfer_fails_in_a_joint_configuration() -> Result<Pair, Stop> {
    let mut pair = lead()?;
    let changes = [
        MemberChange::AddVoter(node(4)),
        MemberChange::Remove(node(3)),
    ];
    pair.input(&Input::Change(MembershipChange::of(changes)))?;
    pair.input(&Input::Propose(Bytes::new()))?;
    pair.input(&Input::Transfer(node(3)))?;
    pair.input(&accepted(2, 2))?;
    pair.input(&accepted(2, 3))?;
    pair.input(&accepted(4, 3))?;
    for _ in 0..ELECTION_TIMEOUT {
        pair.input(&Input::Tick)?;
    }
    Ok(pair)
}

fn somebody_else_answers_a_read() -> Result<Pair, Stop> {
    let mut pair = three_voters(false);
    pair.input(&heartbeat())?;
    pair.input(&Input::Read(Bytes::from_static(b"read")))?;
    let response = ReadIndexResponse {
        read_index: LogIndex::ZERO,
        token: Token::Number(1),
    };
    pair.input(&from(3, 1, Body::ReadIndexResponse(response)))?;
    Ok(pair)
}

fn a_transfer_is_asked_for_in_an_earlier_term() -> Result<Pair, Stop> {
    let mut pair = lead()?;
    let transferee = node(3);
    pair.input(&from(2, 1, Body::TransferLeader { transferee }))?;
    Ok(pair)
}

fn a_read_is_asked_for_twice() -> Result<Pair, Stop> {
    let mut pair = lead()?;
    for _ in 0..2 {
        pair.input(&from(2, 0, Body::ReadIndex(Token::Number(7))))?;
    }
    Ok(pair)
}

fn a_member_is_removed_and_added_again() -> Result<Pair, Stop> {
    let mut conf_state = ConfState::of_voters([1, 2, 3].map(node));
    conf_state.learners = vec![node(4)];
    let mut pair = lead_from(start(conf_state, false))?;
    pair.input(&accepted(4, 1))?;
    let changes = [
        MemberChange::Remove(node(4)),
        MemberChange::AddLearner(node(4)),
    ];
    pair.input(&Input::Change(MembershipChange::of(changes)))?;
    pair.input(&accepted(2, 2))?;
    Ok(pair)
}
