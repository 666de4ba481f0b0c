//! Figure 2, the receivers' sides of RequestVote and AppendEntries.

use almadia::{AppendEntriesResponse, Body, LogId, LogIndex, Message, Term, VoteResponse};

use crate::nodes::*;

fn is_granted(messages: &[Message]) -> bool {
    let [answer] = messages else {
        panic!("one answer, not {messages:?}");
    };
    answer.body == granted()
}

/// A candidate of an earlier term gets no vote, and learns the current one.
#[test]
fn figure_2_request_vote_1_refuse_an_earlier_term() {
    let mut node = follower(1, 3, &[4]);
    let output = tell(&mut node, 2, 3, request_vote((3, 9)));
    assert!(!is_granted(&output.messages));
    assert_eq!(output.messages[0].term, Term(4));
    assert_eq!(node.status().voted_for, None);
}

/// A vote goes to the first candidate of the term that deserves it, again if it asks again, and to
/// no other.
#[test]
fn figure_2_request_vote_2_one_vote_for_each_term() {
    let mut node = follower(1, 3, &[]);
    assert!(is_granted(
        &tell(&mut node, 2, 1, request_vote((0, 0))).messages
    ));
    assert!(is_granted(
        &tell(&mut node, 2, 1, request_vote((0, 0))).messages
    ));
    assert!(!is_granted(
        &tell(&mut node, 3, 1, request_vote((0, 0))).messages
    ));
    assert!(is_granted(
        &tell(&mut node, 3, 2, request_vote((0, 0))).messages
    ));
}

/// A candidate whose log is less up-to-date gets no vote, though there is one to give.
#[test]
fn figure_2_request_vote_2_only_for_an_up_to_date_log() {
    let mut node = follower(1, 3, &[1, 2]);
    assert!(!is_granted(
        &tell(&mut node, 2, 3, request_vote((1, 7))).messages
    ));
    assert_eq!(node.status().voted_for, None);
    assert!(is_granted(
        &tell(&mut node, 3, 3, request_vote((2, 2))).messages
    ));
}

/// AppendEntries of an earlier term is refused, changes nothing, and teaches the current term.
#[test]
fn figure_2_append_entries_1_refuse_an_earlier_term() {
    let mut node = follower(1, 3, &[1, 4]);
    let output = tell(&mut node, 2, 3, append((1, 1), &[3, 3], 3));
    let answer = &output.messages[0];
    assert_eq!(answer.term, Term(4));
    assert_eq!(
        answer.body,
        Body::AppendEntriesResponse(AppendEntriesResponse::TermOutdated)
    );
    assert_eq!(node.last_log(), LogId::new(4, 2));
    assert_eq!((node.leader(), node.commit_index()), (None, LogIndex::ZERO));
}

/// AppendEntries is rejected if the log has no entry at prev_log, or another one.
#[test]
fn figure_2_append_entries_2_refuse_without_the_entry_before() {
    for prev in [(1, 3), (2, 3), (2, 2)] {
        let mut node = follower(1, 3, &[1, 1]);
        let output = tell(&mut node, 2, 2, append(prev, &[2], 0));
        let response = output.messages[0].body.as_response().unwrap();
        assert!(
            matches!(response, AppendEntriesResponse::Rejected { prev_index, .. } if prev_index.0 == prev.1)
        );
        assert_eq!(node.last_log(), LogId::new(1, 2), "nothing was appended");
        assert_eq!(stored_terms(&node), [1, 1]);
    }
}

/// An entry that differs from the leader's goes, and with it everything behind it.
#[test]
fn figure_2_append_entries_3_delete_from_the_first_conflict_on() {
    let mut node = follower(1, 3, &[1, 1, 2, 2, 2]);
    let output = tell(&mut node, 2, 3, append((1, 1), &[1, 3], 0));
    assert_eq!(output.messages[0].body, accepted(3));
    assert_eq!(stored_terms(&node), [1, 1, 3]);
    assert_eq!(node.last_log(), LogId::new(3, 3));
}

/// Without a conflict nothing is deleted, however old the message is.
#[test]
fn figure_2_append_entries_3_delete_nothing_without_a_conflict() {
    let mut node = follower(1, 3, &[1, 1, 1, 1]);
    let output = tell(&mut node, 2, 1, append((1, 1), &[1], 0));
    assert_eq!(
        output.messages[0].body,
        accepted(2),
        "only what was compared"
    );
    assert_eq!(stored_terms(&node), [1, 1, 1, 1]);
}

/// Entries that the log lacks are appended, and those it has are not repeated.
#[test]
fn figure_2_append_entries_4_append_what_is_new() {
    let mut node = follower(1, 3, &[1, 1]);
    node.step(message(2, 1, 2, append((1, 1), &[1, 2, 2], 0)))
        .unwrap();
    let ready = take(&mut node);
    let written: Vec<_> = ready
        .entries
        .iter()
        .flatten()
        .map(|entry| entry.id)
        .collect();
    assert_eq!(written, [LogId::new(2, 3), LogId::new(2, 4)]);
    node.advance(ready).unwrap();
    assert_eq!(node.last_log(), LogId::new(2, 4));
}

/// The commit index rises to leader_commit, but not beyond the last new entry: what lies behind
/// that may differ from the leader's.
#[test]
fn figure_2_append_entries_5_commit_up_to_the_last_new_entry() {
    let mut node = follower(1, 3, &[1, 1, 1, 1]);
    tell(&mut node, 2, 2, append((1, 1), &[1], 9));
    assert_eq!(node.commit_index(), index(2));
    tell(&mut node, 2, 2, append((1, 2), &[1, 2], 3));
    assert_eq!(node.commit_index(), index(3));
}

/// The commit index does not fall when an older message comes late.
#[test]
fn figure_2_append_entries_5_the_commit_index_never_falls() {
    let mut node = follower(1, 3, &[]);
    tell(&mut node, 2, 1, append((0, 0), &[1, 1, 1], 3));
    tell(&mut node, 2, 1, append((0, 0), &[1], 1));
    tell(&mut node, 2, 1, heartbeat(1));
    assert_eq!(node.commit_index(), index(3));
}

/// A vote is asked with the last entry of the log, and the answer is a variant: granted or not.
#[test]
fn figure_2_request_vote_arguments_and_results() {
    let mut node = follower(1, 3, &[1, 2, 2]);
    node.campaign().unwrap();
    let output = settle(&mut node);
    let Body::RequestVote(request) = &output.messages[0].body else {
        panic!("a vote is asked for");
    };
    assert_eq!(request.last_log, LogId::new(2, 3));
    let output = tell(&mut node, 2, 3, request_vote((2, 3)));
    assert!(matches!(
        output.messages[0].body,
        Body::RequestVoteResponse(VoteResponse::Refused { .. })
    ));
}
