//! Messages that panic or corrupt a raft-rs node, and what becomes of them here: a typed error, and
//! a node that is exactly as it was.
//!
//! Owns the rows N1 to N15 of the list of such messages, and the scenarios E13, E14 and E15. Row P1
//! (an unknown `msg_type`) is a matter of the codec: [`Body`] has no variant for it, so no such
//! message can reach [`RawNode::step`](almadia::RawNode::step).

#[path = "common/faults.rs"]
mod faults;

use almadia::{
    AppendEntriesResponse, Body, Bytes, ConfState, HeartbeatResponse, LogId, LogIndex, MemStorage,
    MembershipError, Message, MessageKind, Payload, ProgressState, Proposal, ProposeError,
    ReadIndexResponse, RequestVote, RoleKind, StartError, StepError, Term, VoteResponse,
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
        context: Bytes::new(),
    })
}

// --- N1, E13: a heartbeat whose commit index the log does not reach ---

fn commit_beyond_log(term: u64, commit: u64, last_log: LogId) -> StepError {
    StepError::CommitBeyondLog {
        leader_commit: LogIndex(commit),
        last_log,
        reply: Box::new(message(1, 2, term, rejected(commit, last_log, 2))),
    }
}

#[test]
fn n01_heartbeat_commit_beyond_the_log() {
    for term in [3, 9] {
        for mut node in every_role() {
            let error = commit_beyond_log(term, 100, node.last_log());
            assert_refused(&mut node, message(2, 1, term, heartbeat(100)), &error);
            let reply = error.into_reply().expect("the leader needs an answer");
            assert_eq!((reply.to, reply.from), (id(2), id(1)));
        }
    }
}

#[test]
fn n01_heartbeat_commit_out_of_range() {
    let error = out_of_range(MessageKind::Heartbeat, "leader_commit");
    for commit in [LogIndex::MAX.0 + 1, u64::MAX] {
        assert_refused_in_every_role(&message(2, 1, 3, heartbeat(commit)), &error);
    }
}

#[test]
fn n01_an_outdated_heartbeat_beyond_the_log_is_only_outdated() {
    for mut node in every_role() {
        let before = node.hard_state();
        assert_eq!(node.step(message(2, 1, 2, heartbeat(100))), Ok(()));
        assert_eq!(node.hard_state(), before);
        let outdated = response(AppendEntriesResponse::TermOutdated);
        assert_eq!(settle(&mut node), [message(1, 2, 3, outdated)]);
    }
}

/// Three nodes, node 1 leads, five proposals committed everywhere.
fn steady_network() -> Network {
    let mut network = Network::of_three(true);
    network.elect(1);
    for _ in 0..5 {
        network.node(1).propose("", "x").expect("node 1 leads");
    }
    network.run(100);
    for number in 1..=3 {
        assert_eq!(network.node(number).last_applied(), LogIndex(6));
    }
    network
}

fn assert_follower_repaired(network: &mut Network) {
    network.tick(1);
    let complaint = network.refusals.first().expect("the loss was noticed");
    assert_eq!(complaint.0, 3);
    assert!(matches!(complaint.1, StepError::CommitBeyondLog { .. }));
    let leader_log = network.node(1).last_log();
    let node = network.node(3);
    assert_eq!(node.last_log(), leader_log);
    assert_eq!(node.commit_index(), LogIndex(6));
    assert_eq!(node.last_applied(), LogIndex(6));
    network.refusals.clear();
    network.node(1).propose("", "x").expect("node 1 leads");
    network.run(100);
    network.tick(1);
    assert_eq!(network.node(3).last_applied(), LogIndex(7));
    assert_eq!(network.refusals, []);
}

#[test]
fn e13_a_follower_that_lost_the_end_of_its_log_gets_it_back() {
    for kept in 0..6 {
        let mut network = steady_network();
        let rest = without_tail(network.node(3).storage(), kept);
        network.restart(3, rest);
        assert_eq!(network.node(3).last_log().index, LogIndex(kept));
        assert_follower_repaired(&mut network);
    }
}

#[test]
fn e13_the_reply_sends_the_leader_back_to_probing() {
    let mut network = steady_network();
    let rest = without_tail(network.node(3).storage(), 2);
    network.restart(3, rest);
    network.node(1).tick().expect("the storage is sound");
    network.settle(1);
    let to_three = |message: &Message| message.to == id(3);
    let sent = std::mem::take(&mut network.in_flight);
    sent.into_iter()
        .filter(to_three)
        .for_each(|message| network.deliver(message));
    let [reply] = network
        .in_flight
        .split_off(0)
        .try_into()
        .expect("one reply");
    let progress = network.node(1).progress(id(3)).expect("a peer");
    assert!(matches!(progress.state(), ProgressState::Replicate { .. }));
    network.deliver(reply);
    let progress = network.node(1).progress(id(3)).expect("a peer");
    let probing = ProgressState::Probe { awaiting: false };
    assert_eq!(progress.state(), &probing);
    assert_follower_repaired(&mut network);
}

#[test]
fn e13_a_lost_log_is_replaced_by_a_snapshot_if_the_leader_has_compacted() {
    let mut network = steady_network();
    network.compact(1);
    network.restart(3, MemStorage::with_voters(voters()));
    assert_follower_repaired(&mut network);
}

#[test]
fn e13_a_lost_log_beside_a_full_hard_state_does_not_start() {
    let mut network = steady_network();
    let full = network.node(3).storage().clone();
    let mut rest = without_tail(&full, 2);
    rest.set_hard_state(full.hard_state());
    let config = network.node(3).config().clone();
    let error = StartError::CommitOutOfRange {
        commit_index: LogIndex(6),
        snapshot_index: LogIndex(0),
        last_index: LogIndex(2),
    };
    assert_eq!(almadia::RawNode::new(config, rest), Err(error));
}

#[test]
fn e13_a_lost_end_is_repaired_while_the_leader_waits_for_a_probe() {
    let mut network = steady_network();
    // The transport gives node 3 up; the probe that follows is lost on the way.
    network.node(1).report_unreachable(id(3));
    network.settle(1);
    network.in_flight.clear();
    let rest = without_tail(network.node(3).storage(), 2);
    network.restart(3, rest);
    assert_follower_repaired(&mut network);
}

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

// --- N8, N9, N12: appends ---

fn malformed(prev: (u64, u64)) -> StepError {
    StepError::MalformedEntries {
        prev_log: LogId::new(prev.0, prev.1),
    }
}

#[test]
fn n08_append_whose_entries_do_not_begin_behind_prev_log() {
    for first in [0, 1, 2, 3, 5, u64::MAX] {
        let body = append((2, 3), 2, &[(3, first)]);
        assert_refused_in_every_role(&message(2, 1, 3, body), &malformed((2, 3)));
    }
}

#[test]
fn n08b_append_with_a_gap_inside() {
    for ids in [&[(3, 4), (3, 9)][..], &[(3, 4), (3, 4)], &[(3, 4), (3, 3)]] {
        for term in [3, 9] {
            let body = append((2, 3), 2, ids);
            assert_refused_in_every_role(&message(2, 1, term, body), &malformed((2, 3)));
        }
    }
}

#[test]
fn n08_append_whose_terms_fall_or_are_zero() {
    for ids in [
        &[(1, 4)][..],
        &[(0, 4)],
        &[(3, 4), (2, 5)],
        &[(u64::MAX, 4)],
    ] {
        let body = append((2, 3), 2, ids);
        assert_refused_in_every_role(&message(2, 1, 3, body), &malformed((2, 3)));
    }
}

#[test]
fn n08_append_with_entries_of_a_term_after_the_message() {
    let error = out_of_range(MessageKind::AppendEntries, "entries");
    let body = append((2, 3), 2, &[(4, 4)]);
    assert_refused_in_every_role(&message(2, 1, 3, body), &error);
}

fn conflicts(entry: (u64, u64)) -> StepError {
    StepError::ConflictsWithCommitted {
        entry: LogId::new(entry.0, entry.1),
        commit_index: LogIndex(2),
    }
}

#[test]
fn n09_e15_append_that_conflicts_with_a_committed_entry() {
    for term in [3, 9] {
        for (prev, ids, at) in [
            ((0, 0), &[(1, 1), (2, 2)][..], (2, 2)),
            ((0, 0), &[(2, 1), (2, 2), (2, 3)], (2, 1)),
            ((1, 1), &[(2, 2)], (2, 2)),
            ((2, 2), &[(2, 3)], (2, 2)),
            ((2, 1), &[], (2, 1)),
        ] {
            let body = append(prev, 2, ids);
            assert_refused_in_every_role(&message(2, 1, term, body), &conflicts(at));
        }
    }
}

#[test]
fn n09_e15_snapshot_that_conflicts_with_a_committed_entry() {
    for term in [3, 9] {
        for at in [(2, 1), (2, 2), (3, 2)] {
            let sent = snapshot(at.0, at.1, ConfState::of_voters(voters()));
            let body = install(sent);
            assert_refused_in_every_role(&message(2, 1, term, body), &conflicts(at));
        }
    }
}

#[test]
fn n12_append_with_term_zero_at_a_nonzero_index() {
    let error = out_of_range(MessageKind::AppendEntries, "prev_log");
    for (ids, commit) in [
        (&[][..], 0),
        (&[(3, 101)], 0),
        (&[], 100),
        (&[(3, 101)], 101),
    ] {
        for term in [3, 9] {
            let body = append((0, 100), commit, ids);
            assert_refused_in_every_role(&message(2, 1, term, body), &error);
        }
    }
}

#[test]
fn n12_append_at_an_impossible_place() {
    let error = out_of_range(MessageKind::AppendEntries, "prev_log");
    for prev in [(3, 0), (4, 3), (3, u64::MAX), (u64::MAX, 3)] {
        let body = append(prev, 0, &[]);
        assert_refused_in_every_role(&message(2, 1, 3, body), &error);
    }
    let error = out_of_range(MessageKind::AppendEntries, "leader_commit");
    let body = append((2, 3), u64::MAX, &[]);
    assert_refused_in_every_role(&message(2, 1, 3, body), &error);
}

/// The same place with a term is merely beyond the log: a rejection, and nothing is acknowledged.
#[test]
fn n12_append_far_beyond_the_log_is_rejected_with_a_hint() {
    let mut node = follower();
    let body = append((3, LogIndex::MAX.0), LogIndex::MAX.0, &[]);
    assert_eq!(node.step(message(2, 1, 3, body)), Ok(()));
    let hint = node.last_log();
    let answer = message(1, 2, 3, rejected(LogIndex::MAX.0, hint, 2));
    assert_eq!(settle(&mut node), [answer]);
    assert_eq!(node.commit_index(), LogIndex(2));
}

// --- N10, N11: snapshots ---

#[test]
fn n10_snapshot_with_an_inconsistent_membership() {
    let voter_and_learner = ConfState {
        learners: vec![id(2)],
        ..ConfState::of_voters(voters())
    };
    let no_voters = ConfState {
        learners: vec![id(1)],
        ..ConfState::default()
    };
    let twice = ConfState {
        voters: vec![id(1), id(2), id(1)],
        ..ConfState::default()
    };
    let not_outgoing = ConfState {
        learners_next: vec![id(4)],
        ..ConfState::of_voters(voters())
    };
    let nothing_to_leave = ConfState {
        auto_leave: true,
        ..ConfState::of_voters(voters())
    };
    // An id of zero is impossible by type.
    for (conf_state, error) in [
        (voter_and_learner, MembershipError::Conflict(id(2))),
        (no_voters, MembershipError::NoVoters),
        (twice, MembershipError::Conflict(id(1))),
        (not_outgoing, MembershipError::NotOutgoing(id(4))),
        (nothing_to_leave, MembershipError::NothingToLeave),
    ] {
        for term in [3, 9] {
            let body = install(snapshot(3, 10, conf_state.clone()));
            let error = StepError::SnapshotMembership(error);
            assert_refused_in_every_role(&message(2, 1, term, body), &error);
        }
    }
}

#[test]
fn n10_snapshot_whose_membership_lacks_this_node() {
    for conf_state in [ConfState::of_voters([id(2)]), ConfState::default()] {
        let body = install(snapshot(3, 10, conf_state));
        let error = StepError::SnapshotWithoutThisNode;
        assert_refused_in_every_role(&message(2, 1, 3, body), &error);
    }
}

#[test]
fn n11_snapshot_of_an_impossible_place() {
    let error = out_of_range(MessageKind::InstallSnapshot, "last_included");
    for (term, index) in [(0, 10), (0, 0), (3, 0), (9, 10), (3, u64::MAX)] {
        let sent = snapshot(term, index, ConfState::of_voters(voters()));
        let body = install(sent);
        assert_refused_in_every_role(&message(2, 1, 3, body), &error);
    }
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
            context: Bytes::new(),
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
        let error = StepError::AckBeyondLog {
            index: LogIndex(index),
            last_index: LogIndex(4),
        };
        assert_refused(&mut node, message(2, 1, 3, accepted(index, 0)), &error);
        assert_refused(&mut node, message(2, 1, 3, accepted(3, index)), &error);
        let answered = Body::HeartbeatResponse(HeartbeatResponse {
            commit_index: LogIndex(index),
            context: Bytes::new(),
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
            context: Bytes::new(),
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
        let error = StepError::AckBeyondLog {
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
    let error = StepError::Unsupported(kind);
    assert_refused_in_every_role(&message(2, 1, 3, request(3)), &error);
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
                context: Bytes::new(),
            }),
        ),
        (9, install(snapshot(3, 10, ConfState::of_voters(voters())))),
        (9, Body::TimeoutNow),
        (0, Body::Propose(vec![proposal()])),
        (0, Body::ReadIndex(Bytes::new())),
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
