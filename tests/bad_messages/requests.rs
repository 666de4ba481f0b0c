//! N2 to N7: forwarded requests and votes.

use super::*;

// --- N2 to N5: forwarded requests ---

#[test]
fn n02_propose_without_proposals() {
    let empty = message(2, 1, 0, Body::Propose(Vec::new()));
    assert_refused_in_every_role(&empty, &StepError::NoProposals);
}

#[test]
fn n02_propose_to_a_node_that_does_not_lead() {
    let forwarded = message(2, 1, 0, Body::Propose(vec![proposal()]));
    let refusal = |leader| StepError::Propose(ProposeError::NotLeader { leader });
    assert_refused(&mut follower(), forwarded.clone(), &refusal(Some(id(2))));
    assert_refused(&mut pre_candidate(), forwarded.clone(), &refusal(None));
    assert_refused(&mut candidate(), forwarded, &refusal(None));
}

fn tokens() -> [Token; 3] {
    let bytes = Token::Bytes(Bytes::from_static(b"read"));
    [Token::None, Token::Number(1), bytes]
}

/// Without entries is impossible by type: the token is the whole request.
#[test]
fn n03_read_index_to_a_node_that_does_not_lead() {
    let refusal = |leader| StepError::Read(ReadError::NotLeader { leader });
    for token in tokens() {
        let forwarded = message(2, 1, 0, Body::ReadIndex(token));
        assert_refused(&mut follower(), forwarded.clone(), &refusal(Some(id(2))));
        assert_refused(&mut pre_candidate(), forwarded.clone(), &refusal(None));
        assert_refused(&mut candidate(), forwarded, &refusal(None));
    }
}

#[test]
fn n03_read_index_to_a_leader_is_taken_whatever_it_carries() {
    for token in tokens() {
        let result = leader().step(message(2, 1, 0, Body::ReadIndex(token)));
        assert_eq!(result, Ok(()));
    }
}

#[test]
fn n04_propose_or_read_index_with_a_term() {
    for term in [1, 3, 9, u64::MAX] {
        for body in [
            Body::Propose(vec![proposal()]),
            Body::ReadIndex(Token::None),
        ] {
            let error = StepError::TermForbidden(body.kind());
            assert_refused_in_every_role(&message(2, 1, term, body), &error);
        }
    }
}

#[test]
fn n05_transfer_leader_with_and_without_a_term() {
    let refusal = |leader| StepError::Transfer(TransferError::NotLeader { leader });
    for term in [0, 1, 3, 9] {
        let transferee = id(3);
        let body = Body::TransferLeader { transferee };
        let forwarded = message(2, 1, term, body);
        assert_refused(&mut follower(), forwarded.clone(), &refusal(Some(id(2))));
        assert_refused(&mut pre_candidate(), forwarded.clone(), &refusal(None));
        assert_refused(&mut candidate(), forwarded.clone(), &refusal(None));
        assert_eq!(leader().step(forwarded), Ok(()));
    }
}

#[test]
fn a_transfer_to_whoever_cannot_lead_is_refused() {
    let body = |number| Body::TransferLeader {
        transferee: id(number),
    };
    let error = StepError::Transfer(TransferError::NotAVoter(id(9)));
    assert_refused(&mut leader(), message(2, 1, 3, body(9)), &error);
    let error = StepError::Transfer(TransferError::AlreadyLeader(id(1)));
    assert_refused(&mut leader(), message(2, 1, 3, body(1)), &error);
}

#[test]
fn an_answer_to_a_heartbeat_that_was_never_sent() {
    let bytes = Token::Bytes(Bytes::from_static(b"12345678"));
    for token in [Token::Number(1), Token::Number(u64::MAX), bytes] {
        let body = Body::HeartbeatResponse(HeartbeatResponse {
            commit_index: LogIndex(2),
            token,
        });
        let error = StepError::UnknownHeartbeat { from: id(2) };
        assert_refused(&mut leader(), message(2, 1, 3, body), &error);
    }
}

#[test]
fn an_impossible_read_index() {
    let body = Body::ReadIndexResponse(ReadIndexResponse {
        read_index: LogIndex(u64::MAX),
        token: Token::Number(1),
    });
    let error = out_of_range(MessageKind::ReadIndexResponse, "read_index");
    assert_refused_in_every_role(&message(2, 1, 3, body), &error);
}

// --- N6, N7: votes ---

#[test]
fn n06_vote_request_without_a_term() {
    for body in [
        Body::RequestVote(vote_request((0, 0))),
        Body::PreVote(vote_request((0, 0))),
    ] {
        let error = StepError::TermMissing(body.kind());
        assert_refused_in_every_role(&message(2, 1, 0, body.clone()), &error);
        let mut fresh = open(1, MemStorage::with_voters(voters()), true);
        assert_refused(&mut fresh, message(2, 1, 0, body), &error);
    }
}

#[test]
fn n06_vote_request_with_impossible_positions() {
    for make in [
        Body::RequestVote as fn(RequestVote) -> Body,
        Body::PreVote as fn(RequestVote) -> Body,
    ] {
        let kind = make(vote_request((0, 0))).kind();
        for last in [(0, 5), (2, 0), (10, 5), (3, u64::MAX)] {
            let error = out_of_range(kind, "last_log");
            let body = make(vote_request(last));
            assert_refused_in_every_role(&message(2, 1, 9, body), &error);
            let mut request = vote_request((0, 0));
            request.commit = LogId::new(last.0, last.1);
            let error = out_of_range(kind, "commit");
            assert_refused_in_every_role(&message(2, 1, 9, make(request)), &error);
        }
        let error = out_of_range(kind, "term");
        let body = make(vote_request((0, 0)));
        assert_refused_in_every_role(&message(2, 1, u64::MAX, body), &error);
    }
}

/// A node in term zero has an empty log and stands by no leader, so nothing but its priority makes
/// it refuse a pre-vote.
#[test]
fn n07_pre_vote_to_a_node_in_term_zero_is_answered_with_a_term() {
    let mut node = open(1, MemStorage::with_voters(voters()), true);
    assert_eq!(node.current_term(), Term::ZERO);
    let result = node.step(message(2, 1, 1, Body::PreVote(vote_request((0, 0)))));
    assert_eq!(result, Ok(()));
    let granted = Body::PreVoteResponse(VoteResponse::Granted);
    assert_eq!(settle(&mut node), [message(1, 2, 1, granted)]);
}

/// A vote is asked for in a term above zero, so nobody refuses it in term zero; a pre-vote may be.
#[test]
fn n07_a_refused_vote_of_term_zero_is_refused() {
    let commit = LogId::ZERO;
    let body = Body::RequestVoteResponse(VoteResponse::Refused { commit });
    let error = StepError::TermMissing(body.kind());
    assert_refused_in_every_role(&message(2, 1, 0, body), &error);
    let body = Body::PreVoteResponse(VoteResponse::Granted);
    let error = StepError::TermMissing(body.kind());
    assert_refused_in_every_role(&message(2, 1, 0, body), &error);
}

#[test]
fn n07_a_pre_vote_that_is_refused_for_priority_in_term_zero() {
    let config = Config::builder(id(1)).priority(5).build().unwrap();
    let mut node = RawNode::new(config, MemStorage::with_voters(voters())).unwrap();
    let result = node.step(message(2, 1, 1, Body::PreVote(vote_request((0, 0)))));
    assert_eq!(result, Ok(()));
    let commit = LogId::ZERO;
    let refused = Body::PreVoteResponse(VoteResponse::Refused { commit });
    assert_eq!(settle(&mut node), [message(1, 2, 0, refused.clone())]);
    for mut candidate in [pre_candidate(), candidate(), leader(), follower()] {
        let before = candidate.clone();
        assert_eq!(candidate.step(message(2, 1, 0, refused.clone())), Ok(()));
        assert_eq!(candidate, before, "an answer of an earlier term");
    }
}

#[test]
fn n07_a_refusal_with_an_impossible_commit() {
    let commit = LogId::new(0, 7);
    for body in [
        Body::PreVoteResponse(VoteResponse::Refused { commit }),
        Body::RequestVoteResponse(VoteResponse::Refused { commit }),
    ] {
        let error = out_of_range(body.kind(), "commit");
        assert_refused_in_every_role(&message(2, 1, 3, body), &error);
    }
}
