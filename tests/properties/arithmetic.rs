//! Quorums, memberships and runs of entries against their definitions.

use std::collections::BTreeSet;

use almadia::membership::{
    ConfState, MemberChange, Membership, MembershipChange, MembershipError, Transition,
};
use almadia::quorum::{
    VoteResult, joint_index, joint_vote, majority, majority_index, majority_vote,
};
use almadia::{Entries, Entry, LogId, LogIndex, NodeId, Payload};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, subsequence};

use crate::cases;
use crate::nodes::*;

fn voters(count: usize) -> Vec<NodeId> {
    (1..=count as u64).map(id).collect()
}

// --- Quorums ---

/// The highest index that more than half of the values reach.
fn naive_majority_index(values: &[u64]) -> Option<u64> {
    let reached = |index: u64| values.iter().filter(|&&value| value >= index).count();
    let candidates = values.iter().copied();
    candidates
        .filter(|&index| 2 * reached(index) > values.len())
        .max()
}

/// Won, if more than half said yes; lost, if they cannot even if all others do.
fn naive_vote(votes: &[Option<bool>]) -> VoteResult {
    let count = |wanted: &[Option<bool>]| votes.iter().filter(|vote| wanted.contains(vote)).count();
    if votes.is_empty() || 2 * count(&[Some(true)]) > votes.len() {
        VoteResult::Won
    } else if 2 * count(&[Some(true), None]) > votes.len() {
        VoteResult::Pending
    } else {
        VoteResult::Lost
    }
}

fn sizes() -> impl Strategy<Value = usize> {
    prop_oneof![9 => 0_usize..=9, 1 => Just(16_usize), 1 => Just(17), 1 => Just(101)]
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn majority_index_is_the_definition(values in sizes().prop_flat_map(|size| vec(0_u64..12, size))) {
        let at = |node: NodeId| LogIndex(values[node.get() as usize - 1]);
        let expected = naive_majority_index(&values).map(LogIndex);
        let mut ids = voters(values.len());
        prop_assert_eq!(majority_index(&ids, at), expected);
        // The order of the voters does not matter.
        ids.reverse();
        prop_assert_eq!(majority_index(&ids, at), expected);
        let rotation = ids.len() / 3;
        ids.rotate_left(rotation);
        prop_assert_eq!(majority_index(&ids, at), expected);
    }

    #[test]
    fn an_acknowledgement_never_lowers_the_majority_index(
        values in vec(0_u64..12, 1..9), who in any::<Index>(), more in 0_u64..12,
    ) {
        let index_of = |values: &[u64]| {
            majority_index(&voters(values.len()), |node| LogIndex(values[node.get() as usize - 1]))
        };
        let mut raised = values.clone();
        raised[who.index(values.len())] += more;
        prop_assert!(index_of(&raised) >= index_of(&values));
    }

    #[test]
    fn joint_index_is_the_lower_of_both_halves(
        values in vec(0_u64..12, 9),
        incoming in subsequence(voters(9), 0..=9), outgoing in subsequence(voters(9), 0..=9),
    ) {
        let at = |node: NodeId| LogIndex(values[node.get() as usize - 1]);
        let half = |ids: &[NodeId]| {
            let values: Vec<u64> = ids.iter().map(|&node| at(node).0).collect();
            naive_majority_index(&values)
        };
        let expected = [half(&incoming), half(&outgoing)].into_iter().flatten().min();
        prop_assert_eq!(joint_index(&incoming, &outgoing, at), expected.map(LogIndex));
        prop_assert_eq!(joint_index(&outgoing, &incoming, at), expected.map(LogIndex));
    }

    #[test]
    fn majority_vote_is_the_definition(
        votes in sizes().prop_flat_map(|size| vec(any::<Option<bool>>(), size)),
    ) {
        let mut ids = voters(votes.len());
        let said = |node: NodeId| votes[node.get() as usize - 1];
        prop_assert_eq!(majority_vote(&ids, said), naive_vote(&votes));
        ids.reverse();
        prop_assert_eq!(majority_vote(&ids, said), naive_vote(&votes));
    }

    #[test]
    fn joint_vote_needs_both_halves(
        votes in vec(any::<Option<bool>>(), 9),
        incoming in subsequence(voters(9), 0..=9), outgoing in subsequence(voters(9), 0..=9),
    ) {
        let said = |node: NodeId| votes[node.get() as usize - 1];
        let half = |ids: &[NodeId]| naive_vote(&ids.iter().map(|&node| said(node)).collect::<Vec<_>>());
        let halves = [half(&incoming), half(&outgoing)];
        let expected = if halves.contains(&VoteResult::Lost) {
            VoteResult::Lost
        } else if halves.contains(&VoteResult::Pending) {
            VoteResult::Pending
        } else {
            VoteResult::Won
        };
        prop_assert_eq!(joint_vote(&incoming, &outgoing, said), expected);
    }
}

/// Two majorities always share a voter, and one less would not do.
#[test]
fn a_majority_is_the_smallest_number_of_which_two_overlap() {
    for count in 1..=101 {
        assert!(2 * majority(count) > count);
        assert!(2 * (majority(count) - 1) <= count);
    }
}

/// Every vote of up to seven voters.
#[test]
fn majority_vote_exhaustively() {
    for size in 0..=7_u32 {
        for code in 0..3_usize.pow(size) {
            let votes: Vec<_> = (0..size)
                .map(|digit| [None, Some(true), Some(false)][code / 3_usize.pow(digit) % 3])
                .collect();
            let said = |node: NodeId| votes[node.get() as usize - 1];
            assert_eq!(
                majority_vote(&voters(votes.len()), said),
                naive_vote(&votes),
                "{votes:?}"
            );
        }
    }
}

// --- Memberships ---

fn some_ids() -> impl Strategy<Value = Vec<NodeId>> {
    vec((1_u64..7).prop_map(id), 0..4)
}

fn conf_state() -> impl Strategy<Value = ConfState> {
    let lists = (
        some_ids(),
        some_ids(),
        some_ids(),
        some_ids(),
        any::<bool>(),
    );
    lists.prop_map(
        |(voters, learners, voters_outgoing, learners_next, auto_leave)| ConfState {
            voters,
            learners,
            voters_outgoing,
            learners_next,
            auto_leave,
        },
    )
}

fn is_consistent(state: &ConfState) -> bool {
    let lists = [
        &state.voters,
        &state.learners,
        &state.voters_outgoing,
        &state.learners_next,
    ];
    let no_repetition = lists.iter().all(|list| {
        let distinct: BTreeSet<_> = list.iter().collect();
        distinct.len() == list.len()
    });
    let nobody = lists.iter().all(|list| list.is_empty());
    let votes = |node: &NodeId| state.voters.contains(node) || state.voters_outgoing.contains(node);
    let next_ok =
        |node: &NodeId| state.voters_outgoing.contains(node) && !state.voters.contains(node);
    no_repetition
        && (nobody || !state.voters.is_empty())
        && !state.learners.iter().any(votes)
        && state.learners_next.iter().all(next_ok)
        && (!state.auto_leave || !state.voters_outgoing.is_empty())
}

fn member_change() -> impl Strategy<Value = MemberChange> {
    let node = || (1_u64..7).prop_map(id);
    prop_oneof![
        node().prop_map(MemberChange::AddVoter),
        node().prop_map(MemberChange::AddLearner),
        node().prop_map(MemberChange::Remove),
        Just(MemberChange::Nothing),
    ]
}

fn simple_membership() -> impl Strategy<Value = Membership> {
    (subsequence(voters(6), 1..=4), subsequence(voters(6), 0..=3)).prop_map(
        |(voters, mut learners)| {
            learners.retain(|learner| !voters.contains(learner));
            let state = ConfState {
                learners,
                ..ConfState::of_voters(voters)
            };
            Membership::try_from(&state).unwrap()
        },
    )
}

fn joint(changes: &[MemberChange], transition: Transition) -> MembershipChange {
    MembershipChange {
        transition,
        ..MembershipChange::of(changes.iter().copied())
    }
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn conf_states_are_checked_by_the_definition(state in conf_state()) {
        prop_assert_eq!(Membership::try_from(&state).is_ok(), is_consistent(&state));
    }

    #[test]
    fn conf_states_survive_the_way_there_and_back(mut state in conf_state()) {
        if let Ok(membership) = Membership::try_from(&state) {
            let out = membership.to_conf_state();
            prop_assert_eq!(&Membership::try_from(&out).unwrap(), &membership);
            for list in [&mut state.voters, &mut state.learners, &mut state.voters_outgoing, &mut state.learners_next] {
                list.sort();
            }
            prop_assert_eq!(out, state);
        }
    }

    #[test]
    fn every_change_of_a_membership_leaves_a_consistent_one(
        start in simple_membership(), changes in vec(member_change(), 0..5),
        explicit in any::<bool>(),
    ) {
        let transition = if explicit { Transition::Explicit } else { Transition::Auto };
        let change = joint(&changes, transition);
        if let Ok(next) = start.changed(&change) {
            let state = next.to_conf_state();
            prop_assert!(is_consistent(&state), "{:?}", state);
            prop_assert_eq!(next.auto_leave(), next.is_joint() && !explicit);
            if next.is_joint() {
                prop_assert_eq!(next.outgoing(), start.incoming(), "the old voters go on voting");
                prop_assert_eq!(next.changed(&change), Err(MembershipError::AlreadyJoint));
            } else {
                prop_assert_eq!(next.changed(&MembershipChange::leave_joint()), Err(MembershipError::NotJoint));
                // One step: any majority before and any after have a voter in common.
                let before: BTreeSet<_> = start.incoming().iter().collect();
                let after: BTreeSet<_> = next.incoming().iter().collect();
                prop_assert!(before.symmetric_difference(&after).count() <= 1);
            }
        }
    }

    #[test]
    fn a_joint_change_comes_to_the_same_as_its_parts_one_by_one(
        start in simple_membership(), changes in vec(member_change(), 1..5),
    ) {
        let one_by_one = changes.iter().try_fold(start.clone(), |membership, &change| {
            membership.changed(&MembershipChange::of([change]))
        });
        if let Ok(expected) = one_by_one {
            let entered = start.changed(&joint(&changes, Transition::Implicit)).unwrap();
            let left = entered.changed(&MembershipChange::leave_joint()).unwrap();
            prop_assert_eq!(left, expected);
        }
    }

    #[test]
    fn one_step_comes_to_the_same_as_a_joint_change_if_it_changes_one_voter_at_most(
        start in simple_membership(), changes in vec(member_change(), 0..5),
    ) {
        let in_one_step = start.changed_in_one_step(&changes);
        let Ok(entered) = start.entered_joint(&changes, false) else {
            prop_assert_eq!(in_one_step, Err(MembershipError::NoVoters));
            return Ok(());
        };
        prop_assert_eq!(entered.changed_in_one_step(&changes), Err(MembershipError::AlreadyJoint));
        let left = entered.left_joint().unwrap();
        prop_assert_eq!(left.left_joint(), Err(MembershipError::NotJoint));
        // Who is demoted stays apart from the learners for as long as it votes.
        let state = entered.to_conf_state();
        prop_assert_eq!(entered.learners_next(), state.learners_next.as_slice());
        let before: BTreeSet<_> = start.incoming().iter().collect();
        let after: BTreeSet<_> = left.incoming().iter().collect();
        if before.symmetric_difference(&after).count() <= 1 {
            prop_assert_eq!(in_one_step, Ok(left));
        } else {
            prop_assert_eq!(in_one_step, Err(MembershipError::NeedsJoint));
        }
    }

    #[test]
    fn a_joint_quorum_is_a_quorum_of_both_configurations(
        start in simple_membership(), changes in vec(member_change(), 1..5),
        alive in subsequence(voters(6), 0..=6),
    ) {
        let Ok(entered) = start.changed(&joint(&changes, Transition::Explicit)) else { return Ok(()) };
        let left = entered.changed(&MembershipChange::leave_joint()).unwrap();
        let active = |node: NodeId| alive.contains(&node);
        prop_assert_eq!(entered.has_quorum(active), start.has_quorum(active) && left.has_quorum(active));
    }
}

// --- Runs of entries ---

fn sized_entries() -> impl Strategy<Value = Vec<Entry>> {
    vec((0_usize..40, 0_u64..3), 0..12).prop_map(|sizes| {
        let mut term = 1;
        let entries = sizes.into_iter().zip(5..).map(|((size, rise), index)| {
            term += rise;
            let payload = Payload::Data(vec![7; size].into());
            Entry {
                payload,
                ..entry(term, index)
            }
        });
        entries.collect()
    })
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn entries_slice_like_a_vector(
        all in sized_entries(), a in 0_usize..16, b in 0_usize..16, c in 0_usize..16, d in 0_usize..16,
    ) {
        let entries = Entries::from(all.clone());
        let naive = |list: &[Entry], start: usize, end: usize| -> Vec<Entry> {
            list.iter().take(end).skip(start).cloned().collect()
        };
        let once = naive(&all, a, b);
        prop_assert_eq!(&*entries.slice(a, b), once.as_slice());
        let twice = naive(&once, c, d);
        prop_assert_eq!(&*entries.slice(a, b).slice(c, d), twice.as_slice());
        prop_assert_eq!(entries.size_bytes(), all.iter().map(Entry::size_bytes).sum::<u64>());
    }

    #[test]
    fn prefix_within_is_the_longest_that_fits(all in sized_entries(), max_bytes in 0_u64..500) {
        let entries = Entries::from(all.clone());
        let bytes = |count: usize| all[..count].iter().map(Entry::size_bytes).sum::<u64>();
        let longest = (0..=all.len()).rev().find(|&count| bytes(count) <= max_bytes).unwrap();
        let expected = longest.max(1).min(all.len());
        prop_assert_eq!(entries.prefix_within(max_bytes).len(), expected);
        prop_assert_eq!(entries.prefix_within(u64::MAX), entries);
    }

    #[test]
    fn follow_is_the_definition(
        ids in vec((0_u64..4, 0_u64..5), 0..4), previous in (0_u64..4, 0_u64..5),
    ) {
        let entries: Entries = ids.iter().map(|&(term, index)| entry(term, index)).collect();
        let all: Vec<(u64, u64)> = [previous].into_iter().chain(ids).collect();
        let expected = all.windows(2).all(|pair| {
            let [(term, index), (next_term, next_index)] = pair else { unreachable!() };
            *next_index == index + 1 && next_term >= term && *next_term > 0
        });
        prop_assert_eq!(entries.follow(LogId::new(previous.0, previous.1)), expected);
    }
}
