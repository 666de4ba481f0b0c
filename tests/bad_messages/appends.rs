//! N8 to N12: appends and snapshots.

use super::*;

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
