//! Figure 2, "State" and "Rules for Servers".

use almadia::{Body, LogId, LogIndex, MessageKind, ProgressState, RoleKind, Term};

use crate::nodes::*;

/// A server that restarts still knows its term and its vote, and does not vote twice.
#[test]
fn figure_2_state_term_and_vote_survive_a_restart() {
    let mut node = follower(1, 3, &[]);
    tell(&mut node, 2, 5, request_vote((0, 0)));

    let mut node = open(settings(1), node.storage().clone());
    assert_eq!(node.current_term(), Term(5));
    assert_eq!(node.status().voted_for, Some(id(2)));
    let output = tell(&mut node, 3, 5, request_vote((5, 9)));
    assert!(
        matches!(&output.messages[0].body, Body::RequestVoteResponse(answer) if *answer != almadia::VoteResponse::Granted)
    );
}

/// A server that restarts still has every entry that it acknowledged.
#[test]
fn figure_2_state_the_log_survives_a_restart() {
    let mut node = follower(1, 3, &[1]);
    let output = tell(&mut node, 2, 2, append((1, 1), &[1, 2], 0));
    assert_eq!(output.messages[0].body, accepted(3));

    let node = open(settings(1), node.storage().clone());
    assert_eq!(node.last_log(), LogId::new(2, 3));
    assert_eq!(stored_terms(&node), [1, 1, 2]);
}

/// A new leader starts with nextIndex behind its last entry and matchIndex zero, for every peer,
/// whatever it knew when it led before.
#[test]
fn figure_2_state_next_index_and_match_index_start_anew_with_each_election() {
    let mut node = leader(1, 3, &[1, 1]);
    tell(&mut node, 2, 2, accepted(3));
    assert_eq!(node.progress(id(2)).unwrap().match_index(), index(3));
    tell(&mut node, 3, 3, request_vote((2, 3)));

    elect(&mut node);
    for peer in [2, 3] {
        let progress = node.progress(id(peer)).unwrap();
        assert_eq!(progress.match_index(), LogIndex::ZERO);
        assert_eq!(progress.next_index(), index(4));
    }
}

/// What is committed is applied, in the order of the log, each entry once, and nothing else.
#[test]
fn figure_2_all_servers_apply_what_is_committed() {
    let mut node = follower(1, 3, &[]);
    let first = tell(&mut node, 2, 1, append((0, 0), &[1, 1, 1], 2));
    let second = tell(&mut node, 2, 1, append((1, 3), &[1], 4));
    let third = tell(&mut node, 2, 1, append((1, 3), &[1], 4));

    assert_eq!(first.applied_ids(), [LogId::new(1, 1), LogId::new(1, 2)]);
    assert_eq!(second.applied_ids(), [LogId::new(1, 3), LogId::new(1, 4)]);
    assert_eq!(third.applied_ids(), []);
    assert_eq!(node.last_applied(), index(4));
}

/// Whoever sees a later term in a request or an answer adopts it and becomes a follower.
#[test]
fn figure_2_all_servers_a_later_term_makes_a_follower() {
    let bodies = [
        append((0, 0), &[], 0),
        heartbeat(0),
        request_vote((0, 0)),
        refused(),
        granted(),
        accepted(0),
        rejected(0, (0, 0)),
        heartbeat_response(0),
    ];
    for body in bodies {
        let mut candidate = follower(1, 3, &[1]);
        candidate.campaign().unwrap();
        settle(&mut candidate);
        for mut node in [follower(1, 3, &[1]), candidate, leader(1, 3, &[1])] {
            tell(&mut node, 2, 9, body.clone());
            assert_eq!(node.role(), RoleKind::Follower, "{body:?}");
            assert_eq!(node.current_term(), Term(9), "{body:?}");
            assert_eq!(node.storage().hard_state().current_term, Term(9));
        }
    }
}

/// A follower answers the requests of leaders and of candidates.
#[test]
fn figure_2_followers_respond_to_leaders_and_candidates() {
    for (body, answer) in [
        (append((0, 0), &[], 0), MessageKind::AppendEntriesResponse),
        (heartbeat(0), MessageKind::HeartbeatResponse),
        (request_vote((0, 0)), MessageKind::RequestVoteResponse),
    ] {
        let output = tell(&mut follower(1, 3, &[]), 2, 1, body);
        assert_eq!(output.messages.len(), 1);
        assert_eq!(output.messages[0].body.kind(), answer);
        assert_eq!(output.messages[0].to, id(2));
    }
}

/// A follower that hears nothing for an election timeout becomes a candidate, not earlier.
#[test]
fn figure_2_followers_campaign_after_an_election_timeout() {
    for seed in 0..50 {
        let mut node = open(settings(1).seed(seed), disk(3, &[]));
        let passed = ticks_until_campaign(&mut node);
        assert!((10..20).contains(&passed), "{passed} ticks");
        assert_eq!(node.role(), RoleKind::Candidate);
    }
}

/// AppendEntries of the current leader, and a granted vote, begin the wait anew; a refused vote
/// and an outdated leader do not.
#[test]
fn figure_2_followers_wait_anew_after_append_or_granted_vote_only() {
    let timeout = ticks_until_campaign(&mut follower(1, 3, &[3]));
    let left_after = |from: u64, term: u64, body: Body| {
        let mut node = follower(1, 3, &[3]);
        // The draw of a timeout depends on the term, so it must not change on the way.
        ticks(&mut node, 5);
        tell(&mut node, from, term, body);
        ticks_until_campaign(&mut node)
    };
    assert_eq!(left_after(2, 3, heartbeat(0)), timeout);
    assert_eq!(left_after(2, 3, append((3, 1), &[], 0)), timeout);
    assert_eq!(left_after(2, 3, request_vote((3, 1))), timeout);
    assert_eq!(left_after(2, 3, request_vote((2, 9))), timeout - 5);
    // A later term alone is no reason either.
    assert_eq!(left_after(2, 4, request_vote((2, 9))), timeout - 5);
    assert_eq!(left_after(2, 2, append((0, 0), &[], 0)), timeout - 5);
    assert_eq!(left_after(2, 2, heartbeat(0)), timeout - 5);
}

/// A candidate begins a new term, votes for itself, and asks every other voter.
#[test]
fn figure_2_candidates_start_an_election() {
    let mut node = follower(2, 5, &[1, 4]);
    node.campaign().unwrap();
    let output = settle(&mut node);

    assert_eq!(node.role(), RoleKind::Candidate);
    assert_eq!(node.storage().hard_state(), hard_state(5, Some(2), 0));
    let asked: Vec<_> = output
        .messages
        .iter()
        .map(|message| message.to.get())
        .collect();
    assert_eq!(asked, [1, 3, 4, 5]);
    for message in &output.messages {
        assert_eq!(message.term, Term(5));
        assert_eq!(message.body, request_vote((4, 2)));
    }
}

/// A campaign begins the wait for the next election anew.
#[test]
fn figure_2_candidates_reset_the_election_timer() {
    let mut node = follower(1, 3, &[]);
    ticks(&mut node, 9);
    node.campaign().unwrap();
    settle(&mut node);
    ticks(&mut node, 9);
    assert_eq!(node.current_term(), Term(1));
}

/// Votes of a majority make a leader, and one less does not.
#[test]
fn figure_2_candidates_lead_by_the_votes_of_a_majority() {
    let mut node = follower(1, 5, &[]);
    node.campaign().unwrap();
    settle(&mut node);
    tell(&mut node, 2, 1, granted());
    tell(&mut node, 2, 1, granted());
    tell(&mut node, 3, 1, refused());
    assert_eq!(node.role(), RoleKind::Candidate);
    tell(&mut node, 4, 1, granted());
    assert_eq!(node.role(), RoleKind::Leader);
}

/// A candidate that hears from the leader of its own term follows it.
#[test]
fn figure_2_candidates_follow_a_leader_of_their_term() {
    for body in [append((0, 0), &[1], 0), heartbeat(0)] {
        let mut node = follower(1, 3, &[]);
        node.campaign().unwrap();
        settle(&mut node);
        let output = tell(&mut node, 2, 1, body);
        assert_eq!(node.role(), RoleKind::Follower);
        assert_eq!(node.leader(), Some(id(2)));
        assert_eq!(output.messages.len(), 1, "the request is answered too");
        assert_eq!(
            node.status().voted_for,
            Some(id(1)),
            "a vote is for the whole term"
        );
    }
}

/// A candidate whose election comes to nothing begins another one, in the next term.
#[test]
fn figure_2_candidates_start_again_after_an_election_timeout() {
    let mut node = follower(1, 3, &[]);
    node.campaign().unwrap();
    settle(&mut node);
    let output = ticks(&mut node, 20);
    assert_eq!(node.role(), RoleKind::Candidate);
    assert!(node.current_term() >= Term(2));
    let asked_again = output
        .messages
        .iter()
        .filter(|message| message.term == Term(2));
    assert_eq!(asked_again.count(), 2);
}

/// A new leader speaks to every peer at once, and keeps doing so while nothing happens.
#[test]
fn figure_2_leaders_assert_themselves_at_once_and_while_idle() {
    let mut node = follower(1, 3, &[]);
    let output = elect(&mut node);
    assert_eq!(output.appends_to(2).len(), 1);
    assert_eq!(output.appends_to(3).len(), 1);
    for _ in 0..3 {
        let kinds: Vec<_> = ticks(&mut node, 1).messages;
        let heartbeats = kinds
            .iter()
            .filter(|message| message.body.kind() == MessageKind::Heartbeat);
        assert_eq!(heartbeats.count(), 2);
    }
}

/// A leader puts a command into its own log, and it is answered (applied) when it is committed.
#[test]
fn figure_2_leaders_append_commands_and_apply_them_once_committed() {
    let mut node = leader(1, 3, &[]);
    let place = propose(&mut node, "command");
    assert_eq!(place, LogId::new(1, 2));
    assert_eq!(node.last_log(), place);
    assert_eq!(settle(&mut node).applied_ids(), []);
    assert_eq!(
        tell(&mut node, 2, 1, accepted(2)).applied_ids(),
        [LogId::new(1, 1), place]
    );
}

/// A peer that lacks entries is sent them from nextIndex on; success moves nextIndex and
/// matchIndex.
#[test]
fn figure_2_leaders_send_from_next_index_and_move_it_on_success() {
    let mut node = leader(1, 3, &[1, 1]);
    tell(&mut node, 2, 2, accepted(3));
    propose(&mut node, "a");
    propose(&mut node, "b");
    let appends = settle(&mut node).appends_to(2);
    assert_eq!(appends.len(), 1);
    assert_eq!(appends[0].prev_log, LogId::new(2, 3));
    assert_eq!(appends[0].entries.len(), 2);

    tell(&mut node, 2, 2, accepted(5));
    let progress = node.progress(id(2)).unwrap();
    assert_eq!(
        (progress.match_index(), progress.next_index()),
        (index(5), index(6))
    );
}

/// After a rejection the leader goes back and tries again until the logs meet.
#[test]
fn figure_2_leaders_go_back_after_a_rejection_and_try_again() {
    let mut node = leader(1, 3, &[1, 1, 1]);
    let appends = tell(&mut node, 2, 2, rejected(3, (1, 2))).appends_to(2);
    assert_eq!(appends[0].prev_log, LogId::new(1, 2));
    let appends = tell(&mut node, 2, 2, rejected(2, (0, 0))).appends_to(2);
    assert_eq!(appends[0].prev_log, LogId::ZERO);
    assert_eq!(appends[0].entries.first_id(), Some(LogId::new(1, 1)));
    let progress = node.progress(id(2)).unwrap();
    assert!(matches!(progress.state(), ProgressState::Probe { .. }));
}

/// An entry of the current term commits when a majority has it: the leader and enough peers.
#[test]
fn figure_2_leaders_commit_what_a_majority_has() {
    let mut node = leader(1, 5, &[]);
    propose(&mut node, "command");
    settle(&mut node);
    tell(&mut node, 2, 1, accepted(2));
    assert_eq!(node.commit_index(), LogIndex::ZERO);
    tell(&mut node, 3, 1, accepted(1));
    assert_eq!(node.commit_index(), index(1));
    tell(&mut node, 4, 1, accepted(2));
    assert_eq!(node.commit_index(), index(2));
}
