//! Many groups on one host: time in bulk, nodes that sleep, groups that commit zone by zone.

use std::num::NonZeroU64;

use almadia::{Config, RoleKind};
use proptest::prelude::*;

use crate::nodes::*;

fn sleeper(number: u64) -> Node {
    open(Config::builder(id(number)), disk(3, &[1]))
}

/// B77: a group whose leader died while it slept wakes when it is told the time, and elects.
#[test]
fn b77_a_sleeping_group_with_a_dead_leader_wakes() {
    let mut network = Network::new((1..=3).map(sleeper));
    network.campaign(1);
    network.nodes.remove(&1);
    for number in [2, 3] {
        let node = network.node(number);
        let wait = node.ticks_until_action();
        assert!(wait > 1, "it sleeps");
        node.tick_many(wait).unwrap();
    }
    network.run();
    for _ in 0..60 {
        network.tick(2);
        network.tick(3);
    }
    let leads = |number: u64| network.nodes[&number].role() == RoleKind::Leader;
    assert!(leads(2) || leads(3));
}

#[test]
fn nothing_happens_before_ticks_until_action() {
    let mut node = sleeper(1);
    let wait = node.ticks_until_action();
    for _ in 1..wait {
        node.tick().unwrap();
        assert!(!node.has_ready());
    }
    node.tick().unwrap();
    assert!(node.has_ready(), "it campaigns");
    let leading = leader(1, 3, &[1]);
    assert_eq!(leading.ticks_until_action(), 1, "the next heartbeat");
}

/// A leader acts when heartbeats are due, when it looks for its quorum, and when a transfer fails,
/// whichever comes first.
#[test]
fn a_leader_sleeps_until_the_first_of_its_clocks() {
    let settings = settings(1).heartbeat_interval_ticks(9);
    let mut node = open(settings, disk(3, &[1]));
    elect(&mut node);
    assert_eq!(node.config().election_timeout_ticks(), 10);
    assert_eq!(node.ticks_until_action(), 9);
    node.tick_many(3).unwrap();
    assert_eq!(node.ticks_until_action(), 6);
    node.transfer_leader(id(2)).unwrap();
    node.tick_many(7).unwrap();
    assert_eq!(node.ticks_until_action(), 3, "the transfer fails");
    let mut slow = node.clone();
    node.tick_many(3).unwrap();
    (0..3).for_each(|_| slow.tick().unwrap());
    assert_eq!(node, slow);
    let outcomes = take(&mut node).transfer_outcomes;
    assert_eq!(outcomes.len(), 1);
}

/// Whatever was due before its last peer left.
#[test]
fn a_leader_that_was_left_alone_sleeps_as_it_wakes() {
    let mut storage = disk(1, &[1]);
    let mut conf_state = almadia::ConfState::of_voters([id(1)]);
    conf_state.learners = vec![id(2)];
    storage.set_conf_state(conf_state);
    let mut slow = open(settings(1), storage);
    elect(&mut slow);
    slow.tick().unwrap();
    let gone = almadia::MembershipChange::of([almadia::MemberChange::Remove(id(2))]);
    slow.apply_conf_change(&gone).unwrap();
    let mut fast = slow.clone();
    slow.tick().unwrap();
    fast.tick_many(1).unwrap();
    assert_eq!(slow, fast);
}

/// What is due shows before it is made: heartbeats, reads, what a peer lacks.
#[test]
fn whatever_is_due_makes_a_ready() {
    let mut node = leader(1, 3, &[1]);
    tell(&mut node, 2, 2, accepted(2));
    assert!(!node.has_ready());
    let mut due = node.clone();
    due.tick().unwrap();
    assert!(due.has_ready(), "heartbeats");
    let mut due = node.clone();
    due.read_index("x").unwrap();
    assert!(due.has_ready(), "a round of heartbeats for the read");
    node.step(message(3, 1, 2, rejected(1, (0, 0)))).unwrap();
    assert!(node.has_ready(), "the log from its first entry on");
}

/// Timeouts that no clock of 32 bits can count twice are counted nevertheless, and heartbeats leave in time.
#[test]
fn the_longest_timeouts_are_kept_to_the_tick() {
    const LONG: u32 = 3_000_000_000;
    let settings = Config::builder(id(1))
        .heartbeat_interval_ticks(LONG)
        .election_timeout_ticks(LONG + 1)
        .max_election_timeout_ticks(LONG + 2);
    let mut node = open(settings, disk(1, &[1]));
    elect(&mut node);
    node.tick_many(LONG).unwrap();
    node.tick_many(LONG).unwrap();
    let learner = almadia::MembershipChange::of([almadia::MemberChange::AddLearner(id(2))]);
    node.propose_conf_change("", learner.clone()).unwrap();
    settle(&mut node);
    node.apply_conf_change(&learner).unwrap();
    settle(&mut node);
    // A heartbeat has just been due, which nobody was there to hear.
    assert_eq!(node.ticks_until_action(), 2, "the quorum is looked for");
    node.tick_many(2).unwrap();
    assert_eq!(node.ticks_until_action(), LONG - 2, "the next heartbeat");
}

/// A read is dropped in the same tick whether ticks are told one by one or at once, however long it waits.
#[test]
fn a_read_that_waits_longest_ages_with_each_tick() {
    const LONG: u32 = 2_200_000_000;
    let settings = Config::builder(id(1))
        .incarnation(1)
        .election_timeout_ticks(LONG)
        .max_election_timeout_ticks(LONG + 1);
    let mut slow = open(settings, disk(3, &[1]));
    slow.step(message(3, 1, 2, heartbeat(0))).unwrap();
    slow.read_index("a read").unwrap();
    let mut fast = slow.clone();
    (0..1000).for_each(|_| slow.tick().unwrap());
    fast.tick_many(1000).unwrap();
    assert_eq!(slow, fast);
}

/// What node 1 is in its group.
#[derive(Clone, Copy, Debug)]
enum Part {
    OfThree,
    Alone,
    Learner,
}

impl Part {
    fn disk(self) -> almadia::MemStorage {
        let mut storage = match self {
            Self::OfThree | Self::Learner => disk(3, &[1]),
            Self::Alone => disk(1, &[1]),
        };
        if let Self::Learner = self {
            let mut conf_state = almadia::ConfState::of_voters([2, 3].map(id));
            conf_state.learners = vec![id(1)];
            storage.set_conf_state(conf_state);
        }
        storage
    }
}

/// What a test does to a node between two spells of time.
#[derive(Clone, Copy, Debug)]
enum Step {
    Campaign,
    Vote,
    Hear,
    Read,
    Transfer,
    Acknowledge,
    Settle,
}

fn step() -> impl Strategy<Value = Step> {
    use Step::{Acknowledge, Campaign, Hear, Read, Settle, Transfer, Vote};
    prop::sample::select(vec![
        Campaign,
        Vote,
        Vote,
        Hear,
        Read,
        Transfer,
        Acknowledge,
        Settle,
        Settle,
    ])
}

fn act(node: &mut Node, step: Step) {
    let term = node.current_term().0;
    let last = node.last_log().index.0;
    let result = match step {
        Step::Campaign => {
            drop(node.campaign());
            Ok(())
        }
        Step::Vote if node.role() == RoleKind::PreCandidate => {
            let granted = almadia::Body::PreVoteResponse(almadia::VoteResponse::Granted);
            node.step(message(2, 1, term + 1, granted))
        }
        Step::Vote => node.step(message(2, 1, term.max(1), granted())),
        Step::Hear => node.step(message(3, 1, term + 1, heartbeat(0))),
        Step::Read => {
            drop(node.read_index("x"));
            Ok(())
        }
        Step::Transfer => {
            drop(node.transfer_leader(id(3)));
            Ok(())
        }
        Step::Acknowledge => node.step(message(2, 1, term.max(1), accepted(last.min(1)))),
        Step::Settle => {
            settle(node);
            Ok(())
        }
    };
    match result {
        // A node that is alone has no peers to listen to.
        Ok(()) | Err(almadia::StepError::NotAMember { .. }) => {}
        Err(error) => panic!("{step:?} makes sense: {error}"),
    }
}

proptest! {
    /// Many ticks at once are as many ticks, in whatever state the node is; and a tick that is passed
    /// over is one in which nothing happens.
    #[test]
    fn tick_many_is_as_many_ticks(
        leases in any::<bool>(),
        interval in 1..5_u32,
        part in prop::sample::select(vec![Part::OfThree, Part::Alone, Part::Learner]),
        steps in prop::collection::vec((step(), 0..45_u32), 1..12),
    ) {
        let settings = Config::builder(id(1)).lease_reads(leases).heartbeat_interval_ticks(interval);
        let mut slow = open(settings, part.disk());
        let mut fast = slow.clone();
        for (step, ticks) in steps {
            act(&mut slow, step);
            act(&mut fast, step);
            let (wait, before) = (slow.ticks_until_action(), slow.clone());
            let mut one_by_one = slow.clone();
            let mut acted_after = None;
            for passed in 1..=ticks {
                let had_output = slow.has_ready();
                let role = slow.role();
                slow.tick_in_full().expect("the storage is sound");
                one_by_one.tick().expect("the storage is sound");
                let acts = slow.role() != role || slow.has_ready() != had_output;
                acted_after = acted_after.or(acts.then_some(passed));
            }
            fast.tick_many(ticks).expect("the storage is sound");
            prop_assert_eq!(&slow, &one_by_one, "{} ticks after {:?} on {:?}", ticks, step, before);
            prop_assert_eq!(&slow, &fast, "{} ticks after {:?} on {:?}", ticks, step, before);
            prop_assert!(acted_after.is_none_or(|passed| passed >= wait));
        }
    }
}

// --- Group commit ---

fn zone(number: u64) -> Option<NonZeroU64> {
    NonZeroU64::new(number)
}

/// A leader of five in which nodes 1 to 3 are in one zone, and 4 and 5 in another.
fn zoned() -> Node {
    let mut node = leader(1, 5, &[]);
    for (member, group) in [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2)] {
        node.assign_commit_group(id(member), zone(group));
    }
    assert_eq!(node.is_commit_grouped(), None);
    node.set_group_commit(true);
    node
}

#[test]
fn group_commit_waits_for_a_second_group() {
    let mut node = zoned();
    tell(&mut node, 2, 1, accepted(1));
    tell(&mut node, 3, 1, accepted(1));
    assert_eq!(node.commit_index(), index(0), "three of five, in one zone");
    assert_eq!(
        node.is_commit_grouped(),
        None,
        "nothing of the term is committed"
    );
    let why = node.why_not_committing(index(1));
    assert_eq!(why, Some(almadia::NotCommitting::OneGroupOnly));
    tell(&mut node, 5, 1, accepted(1));
    assert_eq!(node.commit_index(), index(1));
    assert_eq!(node.is_commit_grouped(), Some(true));
}

#[test]
fn group_commit_can_be_changed_at_any_time() {
    let mut node = zoned();
    for peer in [2, 3] {
        tell(&mut node, peer, 1, accepted(1));
    }
    let mut moved = node.clone();
    node.set_group_commit(false);
    assert_eq!(node.commit_index(), index(1), "a majority is enough again");
    assert_eq!(node.is_commit_grouped(), None);
    node.set_group_commit(true);
    assert_eq!(
        node.is_commit_grouped(),
        Some(false),
        "what is committed stays so"
    );
    moved.assign_commit_group(id(3), zone(2));
    assert_eq!(moved.commit_index(), index(1));
    assert_eq!(moved.is_commit_grouped(), Some(true));
}

/// Where all are in one group, there is no other to wait for; where somebody is in none, nobody
/// knows, and everybody must have it.
#[test]
fn group_commit_with_one_group_or_without() {
    let acks = [9, 8, 7];
    let voters = [1, 2, 3].map(id);
    let index_of = |groups: [u64; 3]| {
        let position = |voter: almadia::NodeId| usize::try_from(voter.get()).unwrap() - 1;
        let grouped = almadia::quorum::grouped_index(
            &voters,
            |voter| index(acks[position(voter)]),
            |voter| zone(groups[position(voter)]),
        )
        .unwrap();
        (grouped.index.0, grouped.spans_groups)
    };
    assert_eq!(index_of([1, 1, 1]), (8, false));
    assert_eq!(index_of([1, 2, 1]), (8, true));
    assert_eq!(index_of([1, 1, 2]), (7, true));
    assert_eq!(index_of([0, 0, 0]), (7, false));
    assert_eq!(index_of([1, 0, 1]), (7, false));
    assert_eq!(index_of([0, 1, 2]), (7, true));
    assert_eq!(
        almadia::quorum::grouped_index(&[], |_| index(1), |_| None),
        None
    );
}

proptest! {
    /// The definition, computed by trying every index.
    #[test]
    fn grouped_index_is_the_definition(
        members in prop::collection::vec((0..8_u64, 0..4_u64), 1..8),
    ) {
        let voters: Vec<_> = (1..=members.len() as u64).map(id).collect();
        let of = |voter: almadia::NodeId| members[usize::try_from(voter.get()).unwrap() - 1];
        let grouped = almadia::quorum::grouped_index(
            &voters,
            |voter| index(of(voter).0),
            |voter| zone(of(voter).1),
        )
        .unwrap();
        let groups: std::collections::BTreeSet<u64> =
            members.iter().map(|it| it.1).filter(|&group| group > 0).collect();
        let has_two = groups.len() > 1;
        let commits = |at: u64| {
            let have: Vec<_> = members.iter().filter(|it| it.0 >= at).collect();
            let in_groups: std::collections::BTreeSet<u64> =
                have.iter().map(|it| it.1).filter(|&group| group > 0).collect();
            let majority = have.len() > members.len() / 2;
            let all_in_one = !has_two && members.iter().all(|it| it.1 > 0);
            if has_two {
                majority && in_groups.len() > 1
            } else if all_in_one {
                majority
            } else {
                have.len() == members.len()
            }
        };
        let expected = (0..8).filter(|&at| commits(at)).max().unwrap();
        prop_assert_eq!(grouped.index.0, expected);
        prop_assert_eq!(grouped.spans_groups, has_two);
    }
}

/// B32: commit indexes are cross-checked against a count by hand; so it is with groups and joint.
#[test]
fn b32_a_joint_grouped_index_is_the_lower_of_both_halves() {
    let mut conf_state = almadia::ConfState::of_voters([1, 2, 3].map(id));
    conf_state.voters_outgoing = [3, 4, 5].map(id).to_vec();
    let membership = almadia::Membership::try_from(&conf_state).unwrap();
    let acks = [9, 9, 5, 4, 4];
    let groups = [1, 1, 2, 1, 1];
    let position = |voter: almadia::NodeId| usize::try_from(voter.get()).unwrap() - 1;
    let grouped = membership.grouped_index(
        |voter| index(acks[position(voter)]),
        |voter| zone(groups[position(voter)]),
    );
    assert_eq!((grouped.index, grouped.spans_groups), (index(4), true));
    let in_one_half = membership.grouped_index(
        |voter| index(acks[position(voter)]),
        |voter| zone([1, 2, 1, 1, 1][position(voter)]),
    );
    assert!(!in_one_half.spans_groups, "3 to 5 are in one group");
}
