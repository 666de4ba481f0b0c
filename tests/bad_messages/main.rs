//! Messages that panic or corrupt a raft-rs node, and what becomes of them here: a typed error, and
//! a node that is exactly as it was.
//!
//! Owns the rows N1 to N15 of the list of such messages, and the scenarios E13, E14 and E15. Row P1
//! (an unknown `msg_type`) is a matter of the codec: [`Body`] has no variant for it, so no such
//! message can reach [`RawNode::step`](almadia::RawNode::step).

mod appends;
#[path = "../common/faults.rs"]
mod faults;
mod lost_tail;
mod requests;

use almadia::{
    AppendEntriesResponse, Body, Bytes, ConfState, Config, HeartbeatResponse, LogId, LogIndex,
    MemStorage, MembershipError, Message, MessageKind, Payload, ProgressState, Proposal,
    ProposeError, RawNode, ReadError, ReadIndexResponse, RequestVote, RoleKind, StartError,
    StepError, Term, Token, TransferError, VoteResponse,
};
use faults::{
    Network, append, assert_refused, assert_refused_in_every_role, candidate, every_role, follower,
    heartbeat, id, install, leader, message, open, pre_candidate, settle, snapshot, storage,
    voters, without_tail,
};

fn out_of_range(kind: MessageKind, field: &'static str) -> StepError {
    StepError::OutOfRange { kind, field }
}

fn vote_request(last: (u64, u64)) -> RequestVote {
    RequestVote {
        last_log: LogId::new(last.0, last.1),
        commit: LogId::ZERO,
        priority: 0,
        leadership_transfer: false,
    }
}

fn proposal() -> Proposal {
    Proposal {
        payload: Payload::Data(Bytes::from_static(b"x")),
        context: Bytes::new(),
    }
}

fn response(response: AppendEntriesResponse) -> Body {
    Body::AppendEntriesResponse(response)
}

fn accepted(index: u64, commit: u64) -> Body {
    response(AppendEntriesResponse::Accepted {
        match_index: LogIndex(index),
        commit_index: LogIndex(commit),
    })
}

fn rejected(prev: u64, hint: LogId, commit: u64) -> Body {
    response(AppendEntriesResponse::Rejected {
        prev_index: LogIndex(prev),
        hint,
        commit_index: LogIndex(commit),
    })
}

fn read_index_response() -> Body {
    Body::ReadIndexResponse(ReadIndexResponse {
        read_index: LogIndex(1),
        token: almadia::Token::None,
    })
}

// --- N13: terms of zero ---

#[test]
fn n13_leader_messages_without_a_term() {
    for body in [
        append((2, 3), 2, &[(3, 4)]),
        heartbeat(2),
        install(snapshot(3, 10, ConfState::of_voters(voters()))),
    ] {
        let error = StepError::TermMissing(body.kind());
        assert_refused_in_every_role(&message(2, 1, 0, body), &error);
    }
}

#[test]
fn n13_answers_without_a_term() {
    for body in [
        Body::RequestVoteResponse(VoteResponse::Granted),
        Body::PreVoteResponse(VoteResponse::Granted),
        accepted(3, 2),
        Body::HeartbeatResponse(HeartbeatResponse {
            commit_index: LogIndex(2),
            token: almadia::Token::None,
        }),
        Body::TimeoutNow,
        read_index_response(),
    ] {
        let error = StepError::TermMissing(body.kind());
        assert_refused_in_every_role(&message(2, 1, 0, body), &error);
    }
}

#[test]
fn n13b_heartbeat_without_a_term_from_a_node_that_is_no_member() {
    let error = StepError::TermMissing(MessageKind::Heartbeat);
    assert_refused_in_every_role(&message(9, 1, 0, heartbeat(0)), &error);
    let mut uninitialised = open(1, MemStorage::new(), true);
    assert_refused(&mut uninitialised, message(9, 1, 0, heartbeat(0)), &error);
}

// --- N14, N15: answers to a leader ---

#[test]
fn n14_acknowledgement_beyond_the_leaders_log() {
    for index in [5, 1004, LogIndex::MAX.0] {
        let mut node = leader();
        let error = StepError::AcknowledgedBeyondLog {
            index: LogIndex(index),
            last_index: LogIndex(4),
        };
        assert_refused(&mut node, message(2, 1, 3, accepted(index, 0)), &error);
        assert_refused(&mut node, message(2, 1, 3, accepted(3, index)), &error);
        let answered = Body::HeartbeatResponse(HeartbeatResponse {
            commit_index: LogIndex(index),
            token: almadia::Token::None,
        });
        assert_refused(&mut node, message(2, 1, 3, answered), &error);
        // Nothing that only this node holds is committed by it, now or later.
        node.propose("", "x").expect("it leads");
        settle(&mut node);
        assert_eq!(node.commit_index(), LogIndex(2));
        assert_eq!(node.step(message(2, 1, 3, accepted(4, 2))), Ok(()));
        assert_eq!(node.commit_index(), LogIndex(4));
    }
}

#[test]
fn n14_acknowledgement_out_of_range() {
    for index in [LogIndex::MAX.0 + 1, u64::MAX] {
        let kind = MessageKind::AppendEntriesResponse;
        let error = out_of_range(kind, "match_index");
        assert_refused_in_every_role(&message(2, 1, 3, accepted(index, 0)), &error);
        let error = out_of_range(kind, "commit_index");
        assert_refused_in_every_role(&message(2, 1, 3, accepted(0, index)), &error);
        let answered = Body::HeartbeatResponse(HeartbeatResponse {
            commit_index: LogIndex(index),
            token: almadia::Token::None,
        });
        let error = out_of_range(MessageKind::HeartbeatResponse, "commit_index");
        assert_refused_in_every_role(&message(2, 1, 3, answered), &error);
    }
}

#[test]
fn n15_rejection_out_of_range() {
    let kind = MessageKind::AppendEntriesResponse;
    for (body, field) in [
        (rejected(u64::MAX, LogId::ZERO, 0), "prev_index"),
        (rejected(3, LogId::new(2, u64::MAX), 0), "hint"),
        (rejected(3, LogId::new(u64::MAX, 2), 0), "hint"),
        (rejected(3, LogId::ZERO, u64::MAX), "commit_index"),
    ] {
        assert_refused_in_every_role(&message(2, 1, 3, body), &out_of_range(kind, field));
    }
}

#[test]
fn n15_rejection_beyond_the_leaders_log() {
    for (body, index) in [
        (rejected(5, LogId::ZERO, 0), 5),
        (rejected(4, LogId::new(2, 77), 0), 77),
        (rejected(4, LogId::ZERO, 78), 78),
    ] {
        let error = StepError::AcknowledgedBeyondLog {
            index: LogIndex(index),
            last_index: LogIndex(4),
        };
        assert_refused(&mut leader(), message(2, 1, 3, body), &error);
    }
}

#[test]
fn n15_snapshot_request() {
    let request = |index| {
        response(AppendEntriesResponse::SnapshotRequested {
            last_log: LogId::new(2, 3),
            commit_index: LogIndex(2),
            request_index: LogIndex(index),
        })
    };
    let kind = MessageKind::AppendEntriesResponse;
    let error = out_of_range(kind, "request_index");
    assert_refused_in_every_role(&message(2, 1, 3, request(u64::MAX)), &error);
    for index in [5, 1000] {
        let error = StepError::AcknowledgedBeyondLog {
            index: LogIndex(index),
            last_index: LogIndex(4),
        };
        assert_refused(&mut leader(), message(2, 1, 3, request(index)), &error);
    }
}

// --- E14 and the last row: messages that are none of this node's business ---

fn one_of_each_kind() -> Vec<(u64, Body)> {
    let commit = LogId::ZERO;
    vec![
        (9, Body::RequestVote(vote_request((2, 3)))),
        (9, Body::PreVote(vote_request((2, 3)))),
        (9, Body::RequestVoteResponse(VoteResponse::Granted)),
        (9, Body::PreVoteResponse(VoteResponse::Refused { commit })),
        (9, append((2, 3), 2, &[(3, 4)])),
        (9, accepted(3, 2)),
        (9, heartbeat(2)),
        (
            9,
            Body::HeartbeatResponse(HeartbeatResponse {
                commit_index: LogIndex(2),
                token: almadia::Token::None,
            }),
        ),
        (9, install(snapshot(3, 10, ConfState::of_voters(voters())))),
        (9, Body::TimeoutNow),
        (0, Body::Propose(vec![proposal()])),
        (0, Body::ReadIndex(almadia::Token::None)),
        (9, read_index_response()),
        (0, Body::TransferLeader { transferee: id(2) }),
    ]
}

#[test]
fn e14_a_message_for_another_node() {
    for (term, body) in one_of_each_kind() {
        let error = StepError::NotForThisNode { to: id(3) };
        assert_refused_in_every_role(&message(2, 3, term, body), &error);
    }
}

#[test]
fn e14_a_message_that_claims_to_be_from_this_node() {
    for (term, body) in one_of_each_kind() {
        assert_refused_in_every_role(&message(1, 1, term, body), &StepError::FromThisNode);
    }
}

#[test]
fn e14_what_only_members_send_from_a_node_that_is_none() {
    for (term, body) in one_of_each_kind() {
        let kind = body.kind();
        let anyone = matches!(
            kind,
            MessageKind::RequestVote
                | MessageKind::PreVote
                | MessageKind::AppendEntries
                | MessageKind::Heartbeat
                | MessageKind::InstallSnapshot
        );
        if !anyone {
            let from = id(9);
            let error = StepError::NotAMember { from, kind };
            assert_refused_in_every_role(&message(9, 1, term, body), &error);
        }
    }
}

#[test]
fn e14_a_second_leader_of_the_term() {
    for body in [
        append((2, 3), 2, &[(3, 4)]),
        heartbeat(2),
        install(snapshot(3, 10, ConfState::of_voters(voters()))),
    ] {
        let from = id(3);
        let term = Term(3);
        let error = StepError::SecondLeader { from, term };
        assert_refused(&mut follower(), message(3, 1, 3, body.clone()), &error);
        assert_refused(&mut leader(), message(3, 1, 3, body), &error);
    }
}

/// Beside the errors, the plain fact: nothing of a refused message is left behind in what the node
/// would persist or say.
#[test]
fn a_refused_message_leaves_nothing_to_do() {
    for mut node in every_role() {
        let role = node.role();
        for (_, body) in one_of_each_kind() {
            assert!(node.step(message(2, 3, u64::MAX, body)).is_err());
        }
        assert!(!node.has_ready());
        assert_eq!(node.role(), role);
    }
    assert_eq!(open(1, storage(&[], 0, 0), true).role(), RoleKind::Follower);
}
