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

/// Without entries is impossible by type: the context is the whole request.
#[test]
fn n03_read_index_is_refused_whatever_it_carries() {
    let error = StepError::Unsupported(MessageKind::ReadIndex);
    for context in [Bytes::new(), Bytes::from_static(b"read")] {
        assert_refused_in_every_role(&message(2, 1, 0, Body::ReadIndex(context)), &error);
    }
}

#[test]
fn n04_propose_or_read_index_with_a_term() {
    for term in [1, 3, 9, u64::MAX] {
        for body in [
            Body::Propose(vec![proposal()]),
            Body::ReadIndex(Bytes::new()),
        ] {
            let error = StepError::TermForbidden(body.kind());
            assert_refused_in_every_role(&message(2, 1, term, body), &error);
        }
    }
}

#[test]
fn n05_transfer_leader_with_and_without_a_term() {
    let error = StepError::Unsupported(MessageKind::TransferLeader);
    for term in [0, 1, 3, 9] {
        let transferee = id(3);
        let body = Body::TransferLeader { transferee };
        assert_refused_in_every_role(&message(2, 1, term, body), &error);
    }
}

#[test]
fn kinds_that_this_version_does_not_handle_are_refused() {
    for body in [Body::TimeoutNow, read_index_response()] {
        let error = StepError::Unsupported(body.kind());
        assert_refused_in_every_role(&message(2, 1, 3, body.clone()), &error);
        assert_refused_in_every_role(&message(2, 1, 9, body), &error);
    }
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

/// A node in term zero has an empty log and stands by no leader, so it has no ground to refuse a
/// pre-vote. That it does answer, and with a term, is what counts.
#[test]
fn n07_pre_vote_to_a_node_in_term_zero_is_answered_with_a_term() {
    let mut node = open(1, MemStorage::with_voters(voters()), true);
    assert_eq!(node.current_term(), Term::ZERO);
    let mut request = vote_request((0, 0));
    request.priority = i64::MIN;
    let result = node.step(message(2, 1, 1, Body::PreVote(request)));
    assert_eq!(result, Ok(()));
    let granted = Body::PreVoteResponse(VoteResponse::Granted);
    assert_eq!(settle(&mut node), [message(1, 2, 1, granted)]);
}

#[test]
fn n07_a_refusal_of_term_zero_is_refused() {
    let commit = LogId::ZERO;
    for body in [
        Body::PreVoteResponse(VoteResponse::Refused { commit }),
        Body::RequestVoteResponse(VoteResponse::Refused { commit }),
    ] {
        let error = StepError::TermMissing(body.kind());
        assert_refused_in_every_role(&message(2, 1, 0, body), &error);
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
