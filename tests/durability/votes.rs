//! A node's own term and vote: answers to candidates, and the right to lead.

use almadia::{
    Body, ConfState, Config, LogId, LogIndex, MemStorage, MessageKind, ProposeError, Ready,
    RoleKind, Term, VoteResponse,
};

use crate::kinds;
use crate::nodes::*;

/// A candidate whose own vote is still on its way to the disk, while all others have granted
/// theirs.
fn winner_without_its_own_vote(voters: u64) -> (Node, Box<Ready>) {
    let mut node = follower(1, voters, &[]);
    node.campaign().unwrap();
    let ready = take(&mut node);
    for voter in 2..=voters {
        node.step(message(voter, 1, 1, granted())).unwrap();
    }
    (node, ready)
}

/// The node as it comes back from a crash, with what is in its storage.
fn crashed(node: &Node) -> Node {
    open(settings(node.id().get()), node.storage().clone())
}

/// A vote does not leave before it is on the disk.
#[test]
fn a_vote_waits_for_the_disk() {
    let mut node = follower(1, 3, &[]);
    node.step(message(2, 1, 1, request_vote((0, 0)))).unwrap();
    let ready = take(&mut node);
    assert!(ready.messages.is_empty());
    assert!(ready.must_sync);
    assert_eq!(ready.hard_state, Some(hard_state(1, Some(2), 0)));
    assert_eq!(
        kinds(&ready.messages_after_persist),
        [MessageKind::RequestVoteResponse]
    );
}

/// A vote asked for again while the first write is under way waits as well.
#[test]
fn a_repeated_vote_waits_for_the_first_write() {
    let mut node = follower(1, 3, &[]);
    node.step(message(2, 1, 1, request_vote((0, 0)))).unwrap();
    let first = take(&mut node);
    node.step(message(2, 1, 1, request_vote((0, 0)))).unwrap();
    let second = take(&mut node);
    assert!(second.messages.is_empty());
    assert_eq!(second.messages_after_persist.len(), 1);

    persist(&mut node, &first);
    node.step(message(2, 1, 1, request_vote((0, 0)))).unwrap();
    let third = take(&mut node);
    assert_eq!(
        kinds(&third.messages),
        [MessageKind::RequestVoteResponse],
        "nothing to wait for"
    );
}

/// What waited while no `Ready` was taken leaves with the next one, once the disk has caught up.
#[test]
fn what_waited_leaves_at_once_when_the_disk_has_caught_up() {
    let mut node = follower(1, 3, &[]);
    node.step(message(2, 1, 1, append((0, 0), &[1], 0)))
        .unwrap();
    let first = take(&mut node);
    node.step(message(2, 1, 1, append((0, 0), &[1], 0)))
        .unwrap();
    persist(&mut node, &first);
    let second = take(&mut node);
    assert!(second.messages_after_persist.is_empty());
    assert_eq!(second.messages[0].body, accepted(1));
}

/// A refusal speaks for a term, and waits for it too; so does the answer to a pre-vote.
#[test]
fn refusals_and_pre_vote_answers_wait_for_the_term() {
    for body in [request_vote((0, 0)), pre_vote((1, 1)), pre_vote((0, 0))] {
        let mut node = follower(1, 3, &[1]);
        // The term is news by an answer that needs none itself.
        node.step(message(3, 1, 4, refused())).unwrap();
        node.step(message(2, 1, 4, body.clone())).unwrap();
        let ready = take(&mut node);
        assert!(ready.messages.is_empty(), "{body:?}");
        assert_eq!(ready.messages_after_persist.len(), 1, "{body:?}");
    }
}

/// With its term on the disk, a node answers a pre-vote at once.
#[test]
fn a_pre_vote_answer_does_not_wait_without_need() {
    let mut node = follower(1, 3, &[1]);
    node.step(message(2, 1, 2, pre_vote((1, 1)))).unwrap();
    let ready = take(&mut node);
    assert_eq!(
        ready.messages[0].body,
        Body::PreVoteResponse(VoteResponse::Granted)
    );
    assert!(!ready.must_sync);
}

/// B01: term and vote are one write, so there is no moment at which one is durable without the
/// other.
#[test]
fn b01_term_and_vote_are_one_write() {
    let mut node = follower(1, 3, &[]);
    node.step(message(2, 1, 3, request_vote((0, 0)))).unwrap();
    let ready = take(&mut node);
    assert_eq!(ready.hard_state, Some(hard_state(3, Some(2), 0)));
    // A crash before the write forgets both, and nothing has left; after it, neither is forgotten.
    let mut forgetful = crashed(&node);
    assert_eq!(forgetful.hard_state(), hard_state(0, None, 0));
    assert_eq!(
        tell(&mut forgetful, 3, 3, request_vote((0, 0))).messages[0].body,
        granted()
    );

    write(&mut node, &ready);
    let mut mindful = crashed(&node);
    let answer = tell(&mut mindful, 3, 3, request_vote((0, 0)))
        .messages
        .remove(0);
    assert_ne!(answer.body, granted());
}

/// B02: RequestVote may leave beside the write of the term it carries, because the candidate's own
/// vote counts only when durable, so a candidate that forgets it has not won by it.
#[test]
fn b02_request_vote_leaves_at_once_and_the_own_vote_counts_later() {
    let mut node = follower(1, 3, &[]);
    node.campaign().unwrap();
    let ready = take(&mut node);
    assert_eq!(kinds(&ready.messages), [MessageKind::RequestVote; 2]);
    assert!(ready.messages_after_persist.is_empty());
    assert!(ready.must_sync);

    // One vote of three and the own one, which is not durable.
    node.step(message(2, 1, 1, granted())).unwrap();
    assert_eq!(node.role(), RoleKind::Candidate);
    // The node may crash now and vote for another, who wins by that: nobody has led before.
    let mut restarted = crashed(&node);
    assert_eq!(
        tell(&mut restarted, 3, 1, request_vote((0, 0))).messages[0].body,
        granted()
    );

    persist(&mut node, &ready);
    assert_eq!(node.role(), RoleKind::Leader);
}

/// B02: RequestVote speaks for the log that it names. Entry 1 is not on the disk yet: a vote given
/// for it could arrive after a crash has taken it, and elect the node without it.
#[test]
fn b02_request_vote_waits_for_the_log_that_it_names() {
    let mut node = follower(1, 3, &[]);
    node.step(message(2, 1, 1, append((0, 0), &[1], 0)))
        .unwrap();
    let entries = take(&mut node);
    node.campaign().unwrap();
    let ready = take(&mut node);
    assert!(ready.messages.is_empty());
    let waiting = kinds(&ready.messages_after_persist);
    assert_eq!(waiting, [MessageKind::RequestVote; 2]);
    persist(&mut node, &entries);
    persist(&mut node, &ready);

    // With the log on the disk, the next one leaves at once.
    node.campaign().unwrap();
    assert_eq!(
        kinds(&take(&mut node).messages),
        [MessageKind::RequestVote; 2]
    );
}

/// A disk that takes longer than the election timeout does not keep a node from leading.
#[test]
fn a_slow_disk_delays_an_election_and_does_not_prevent_it() {
    let mut node = open(Config::builder(id(1)), disk(1, &[]));
    let mut writing = std::collections::VecDeque::new();
    for now in 0..200 {
        node.tick().unwrap();
        while let Some(ready) = node.ready().unwrap() {
            writing.push_back((now + 25, ready));
        }
        while writing.front().is_some_and(|(done, _)| *done <= now) {
            persist(&mut node, &writing.pop_front().unwrap().1);
        }
    }
    assert_eq!(
        (node.role(), node.current_term()),
        (RoleKind::Leader, Term(1))
    );
}

/// A cluster of one does not lead before its vote is on the disk either.
#[test]
fn a_single_voter_leads_when_its_vote_is_durable() {
    let mut node = open(Config::builder(id(1)), disk(1, &[]));
    node.campaign().unwrap();
    let ready = take(&mut node);
    assert_eq!(node.role(), RoleKind::Candidate);
    persist(&mut node, &ready);
    assert_eq!(node.role(), RoleKind::Leader);
}

/// An acknowledgement of an earlier write says nothing of the vote.
#[test]
fn an_earlier_write_does_not_make_the_vote_durable() {
    let mut node = follower(1, 3, &[]);
    node.step(message(2, 1, 1, append((0, 0), &[1], 0)))
        .unwrap();
    let entries = take(&mut node);
    node.campaign().unwrap();
    let vote = take(&mut node);
    node.step(message(2, 1, 2, granted())).unwrap();
    node.step(message(3, 1, 2, granted())).unwrap();
    persist(&mut node, &entries);
    assert_eq!(node.role(), RoleKind::Candidate);
    persist(&mut node, &vote);
    assert_eq!(node.role(), RoleKind::Leader);
}

// --- Leading ---

/// However many others voted, nothing of the term leaves and nothing is proposed before the own
/// term and vote are durable.
#[test]
fn no_append_of_a_term_leaves_before_the_own_vote_is_durable() {
    for voters in [2, 3, 5] {
        let (mut node, ready) = winner_without_its_own_vote(voters);
        assert_eq!(node.role(), RoleKind::Candidate);
        assert!(matches!(
            node.propose("", "x"),
            Err(ProposeError::NotLeader { .. })
        ));
        if let Some(more) = node.ready().unwrap() {
            assert!(!has_append(&more.messages) && !has_append(&more.messages_after_persist));
        }
        assert_eq!(node.last_log(), LogId::ZERO, "no entry of the term exists");

        persist(&mut node, &ready);
        assert_eq!(node.role(), RoleKind::Leader);
        assert!(
            has_append(&take(&mut node).messages),
            "they do not wait for the entries"
        );
    }
}

/// E1: a candidate wins by the votes of others, crashes without its own, and leads the same term
/// again: there are never two entries of one term and index.
#[test]
fn e01_a_crash_before_the_own_vote_is_durable_makes_no_second_entry() {
    let (mut node, _lost) = winner_without_its_own_vote(3);
    let mut seen = Vec::new();
    let _ = node.propose("", "first life");
    while let Some(ready) = node.ready().unwrap() {
        seen.extend(appends_to(&ready.messages, 2));
    }

    let mut node = crashed(&node);
    seen.extend(elect(&mut node).appends_to(2));
    assert_eq!(node.current_term(), Term(1), "the same term, led again");
    propose(&mut node, "second life");
    seen.extend(tell(&mut node, 2, 1, accepted(1)).appends_to(2));

    let entries: Vec<_> = seen
        .iter()
        .flat_map(|append| append.entries.iter())
        .collect();
    for (position, entry) in entries.iter().enumerate() {
        let same = entries[..position]
            .iter()
            .find(|other| other.id == entry.id);
        assert!(
            same.is_none_or(|other| other == entry),
            "{entry:?} and {same:?}"
        );
    }
    assert_eq!(entries.len(), 2, "those of the second life");
}

/// E2: a single voter with a learner crashes before its first fsync; what the learner has got is
/// never contradicted at the same term and index.
#[test]
fn e02_a_single_voter_sends_its_learner_nothing_before_its_vote_is_durable() {
    let mut storage = MemStorage::new();
    let mut members = ConfState::of_voters([id(1)]);
    members.learners.push(id(2));
    storage.set_conf_state(members);
    let mut node = open(settings(1), storage.clone());
    let mut learner = open(settings(2), storage);

    // Two elections, each by the node's own vote alone; the first write is done, the second is not.
    node.campaign().unwrap();
    let first = take(&mut node);
    node.campaign().unwrap();
    let vote = take(&mut node);
    persist(&mut node, &first);
    assert_eq!(node.role(), RoleKind::Candidate);
    assert!(!has_append(&first.messages) && !has_append(&vote.messages));
    assert!(node.ready().unwrap().is_none());

    // With the vote durable, entries may travel before they are; a crash then costs the term.
    persist(&mut node, &vote);
    propose(&mut node, "lost");
    let entries = take(&mut node);
    for append in entries.messages {
        learner.step(append).unwrap();
        settle(&mut learner);
    }
    assert_eq!(learner.last_log(), LogId::new(2, 2));

    let mut node = crashed(&node);
    elect(&mut node);
    assert_eq!(node.current_term(), Term(3));
    let mut network = Network::new([node, learner]);
    network.tick(1);
    network.tick(1);
    assert_eq!(stored_terms(network.node(2)), stored_terms(network.node(1)));
    assert_eq!(network.node(2).last_log(), LogId::new(3, 1));
}

/// B41: the leader counts itself for an entry when it is on its own disk, not before.
#[test]
fn b41_the_leader_counts_itself_only_for_what_is_durable() {
    let (mut node, vote) = winner_without_its_own_vote(3);
    persist(&mut node, &vote);
    let opening = take(&mut node);
    node.step(message(2, 1, 1, accepted(1))).unwrap();
    assert_eq!(node.commit_index(), LogIndex::ZERO);
    persist(&mut node, &opening);
    assert_eq!(node.commit_index(), index(1));

    propose(&mut node, "command");
    let command = take(&mut node);
    node.step(message(2, 1, 1, accepted(2))).unwrap();
    assert_eq!(node.commit_index(), index(1));
    persist(&mut node, &command);
    assert_eq!(node.commit_index(), index(2));
}

/// B41 in a cluster of one: nothing commits before it is persisted, and no more than is.
#[test]
fn b41_a_single_voter_commits_what_is_durable() {
    let mut node = follower(1, 1, &[]);
    node.campaign().unwrap();
    let vote = take(&mut node);
    persist(&mut node, &vote);
    let opening = take(&mut node);
    propose(&mut node, "command");
    let command = take(&mut node);
    assert_eq!(node.commit_index(), LogIndex::ZERO);
    persist(&mut node, &opening);
    assert_eq!(node.commit_index(), index(1));
    persist(&mut node, &command);
    assert_eq!(node.commit_index(), index(2));
}

/// The others may commit an entry that the leader has not on its disk; the leader does not apply it
/// before.
#[test]
fn an_entry_commits_without_the_leader_but_is_not_applied_unpersisted() {
    let mut node = leader(1, 3, &[]);
    settle(&mut node);
    propose(&mut node, "command");
    let write = take(&mut node);
    node.step(message(2, 1, 1, accepted(2))).unwrap();
    node.step(message(3, 1, 1, accepted(2))).unwrap();
    assert_eq!(node.commit_index(), index(2));
    let ready = take(&mut node);
    let applied = ready.committed_entries.iter().flatten();
    assert!(applied.clone().all(|entry| entry.index() <= index(1)));
    persist(&mut node, &write);
    let ready = take(&mut node);
    assert_eq!(ready.applies_to(), Some(index(2)));
}
