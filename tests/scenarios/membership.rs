//! Changes of membership: one at a time, joint, inherited, refused.

use almadia::{
    AppendEntries, Body, ConfState, Entry, LogId, MemberChange, MembershipChange, MembershipError,
    Payload, ProposeError, RoleKind, Snapshot, StepError, Transition, VoteResponse,
};

use crate::nodes::*;

fn add(number: u64) -> MembershipChange {
    MembershipChange::of([MemberChange::AddVoter(id(number))])
}

fn leading() -> Node {
    let mut node = leader(1, 3, &[1]);
    tell(&mut node, 2, 2, accepted(2));
    node
}

fn appended(entries: Vec<Entry>, prev: (u64, u64), commit: u64) -> Body {
    Body::AppendEntries(AppendEntries {
        prev_log: LogId::new(prev.0, prev.1),
        leader_commit: index(commit),
        entries: entries.into(),
    })
}

fn change_entry(term: u64, at: u64, change: MembershipChange) -> Entry {
    Entry {
        payload: Payload::Change(change.into()),
        ..entry(term, at)
    }
}

/// B57, E29, E41: the next change waits until the leader has applied the one before, whoever
/// proposed it; the refusal says so, and an impossible change gets another one.
#[test]
fn b57_e29_e41_a_change_waits_for_the_one_before_to_be_applied() {
    let mut node = leading();
    node.propose_conf_change("", add(4)).unwrap();
    let pending = Err(ProposeError::ChangePending);
    assert_eq!(node.propose_conf_change("", add(5)), pending);
    let ready = take(&mut node);
    persist(&mut node, &ready);
    node.step(message(2, 1, 2, accepted(3))).unwrap();
    assert_eq!(node.commit_index(), index(3));
    assert_eq!(node.propose_conf_change("", add(5)), pending, "not applied");
    settle(&mut node);
    let impossible = node.propose_conf_change("", MembershipChange::leave_joint());
    assert_eq!(
        impossible,
        Err(ProposeError::Membership(MembershipError::NotJoint))
    );
    node.propose_conf_change("", add(5)).unwrap();

    // A new leader does not know whether there is a change in what it has not applied.
    let mut node = leader(1, 3, &[1, 1]);
    assert_eq!(node.propose_conf_change("", add(4)), pending);
    tell(&mut node, 2, 2, accepted(3));
    node.propose_conf_change("", add(4)).unwrap();
}

/// E42: a refused change is an error to its caller, and nothing of it is in the log.
#[test]
fn e42_a_refused_change_leaves_no_entry() {
    let mut node = leading();
    let before = node.clone();
    let changes: Vec<_> = (1..=3)
        .map(|number| MemberChange::Remove(id(number)))
        .collect();
    let all = MembershipChange::of(changes);
    let refused = node.propose_conf_change("", all);
    assert_eq!(
        refused,
        Err(ProposeError::Membership(MembershipError::NoVoters))
    );
    assert_eq!(node, before);
}

/// E43: while {1, 2, 3} gives way to {3}, what 1 and 2 have is not committed.
#[test]
fn e43_a_joint_commit_takes_both_majorities() {
    let mut node = leading();
    tell(&mut node, 3, 2, accepted(2));
    let change = MembershipChange {
        transition: Transition::Explicit,
        ..MembershipChange::of([1, 2].map(|number| MemberChange::Remove(id(number))))
    };
    node.propose_conf_change("", change).unwrap();
    settle(&mut node);
    tell(&mut node, 2, 2, accepted(3));
    assert!(node.membership().is_joint());
    propose(&mut node, "x");
    settle(&mut node);
    tell(&mut node, 2, 2, accepted(4));
    assert_eq!(node.commit_index(), index(3), "the only new voter lacks it");
    tell(&mut node, 3, 2, accepted(4));
    assert_eq!(node.commit_index(), index(4));
}

/// B61: what learners have does not count, and what they lack holds nothing up.
#[test]
fn b61_learners_do_not_count() {
    let mut storage = disk(3, &[1]);
    let mut conf_state = ConfState::of_voters([1, 2, 3].map(id));
    conf_state.learners = [4, 5].map(id).to_vec();
    storage.set_conf_state(conf_state);
    let mut node = open(settings(1), storage);
    elect(&mut node);
    for learner in [4, 5] {
        tell(&mut node, learner, 2, accepted(2));
    }
    assert_eq!(node.commit_index(), index(0));
    tell(&mut node, 3, 2, accepted(2));
    assert_eq!(node.commit_index(), index(2));
}

/// E35: the entry that leaves a joint configuration is sent at once, not with a heartbeat.
#[test]
fn e35_b58_auto_leave_is_sent_at_once_and_once() {
    let mut node = leading();
    let change = MembershipChange {
        transition: Transition::Implicit,
        ..MembershipChange::of([MemberChange::AddLearner(id(4))])
    };
    node.propose_conf_change("", change).unwrap();
    settle(&mut node);
    let output = tell(&mut node, 2, 2, accepted(3));
    let is_leave = |entry: &&Entry| matches!(&entry.payload, Payload::Change(change) if change.is_leave_joint());
    let sent: Vec<Entry> = output
        .appends_to(2)
        .iter()
        .flat_map(|append| {
            append
                .entries
                .iter()
                .filter(is_leave)
                .cloned()
                .collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(sent.len(), 1);
    // More applies while it is under way propose it no second time.
    propose(&mut node, "x");
    settle(&mut node);
    tell(&mut node, 3, 2, accepted(3));
    assert_eq!(node.last_log().index, index(5));
    tell(&mut node, 2, 2, accepted(5));
    assert!(!node.membership().is_joint());
    assert_eq!(node.last_log().index, index(5));
}

/// The application is handed the leave-joint entry like any other change, and cannot take it for
/// an empty command: it has a kind of its own.
#[test]
fn a_leave_joint_entry_is_no_empty_command() {
    let mut network = Network::of_logs(&[&[], &[], &[]]);
    network.campaign(1);
    let change = MembershipChange {
        transition: Transition::Implicit,
        ..MembershipChange::of([MemberChange::AddLearner(id(4))])
    };
    network.node(1).propose_conf_change("", change).unwrap();
    network.run();
    let leaves = network.applied[&2]
        .iter()
        .filter(|entry| entry.payload != Payload::Data(almadia::Bytes::new()))
        .filter(|entry| matches!(&entry.payload, Payload::Change(it) if it.is_leave_joint()));
    assert_eq!(leaves.count(), 1);
}

/// E31: {1, 2, 3} becomes {1, 2, 4}, 1 dies and 3 is gone. Node 4 knows that the joint configuration
/// was left; node 2 has that in its log and an entry more, so it alone can lead, but not before it
/// has learnt the commit: by what it knows, 1 or 3 have to vote.
#[test]
fn e31_a_quorum_that_is_alive_elects_though_only_another_knows_the_commit() {
    let change = MembershipChange {
        transition: Transition::Implicit,
        ..MembershipChange::of([MemberChange::Remove(id(3)), MemberChange::AddVoter(id(4))])
    };
    let log = vec![
        entry(1, 1),
        change_entry(1, 2, change),
        change_entry(1, 3, MembershipChange::leave_joint()),
        entry(1, 4),
    ];
    let mut two = open(settings(2), disk(3, &[]));
    tell(&mut two, 1, 1, appended(log.clone(), (0, 0), 2));
    let mut four = open(settings(4), disk(3, &[]));
    tell(&mut four, 1, 1, appended(log[..3].to_vec(), (0, 0), 3));
    let mut network = Network::new([two, four]);
    assert!(network.node(2).membership().is_joint());
    for _ in 0..100 {
        network.tick(2);
        network.tick(4);
    }
    assert_eq!(network.node(2).role(), RoleKind::Leader);
    assert!(!network.node(2).membership().is_joint());
    assert!(!network.node(2).membership().contains(id(3)));
    assert_eq!(
        network.node(4).commit_index(),
        network.node(2).commit_index()
    );
}

/// E45: a snapshot's membership is taken over as it is, joint with all its parts.
#[test]
fn e45_b47_a_joint_membership_is_restored_as_it_was() {
    let mut conf_state = ConfState::of_voters([1, 2, 4].map(id));
    conf_state.voters_outgoing = [1, 2, 3].map(id).to_vec();
    conf_state.learners = vec![id(5)];
    conf_state.learners_next = vec![id(3)];
    conf_state.auto_leave = true;
    let snapshot = Snapshot {
        conf_state: conf_state.clone(),
        ..snapshot((1, 5), 3)
    };
    let mut node = follower(2, 3, &[1]);
    tell(&mut node, 1, 1, Body::InstallSnapshot(snapshot.into()));
    assert_eq!(node.membership().to_conf_state(), conf_state);
    assert!(node.membership().is_voter(id(3)));
    let restarted = open(settings(2), node.into_storage());
    assert_eq!(restarted.membership().to_conf_state(), conf_state);
}

/// E45: a voter may find itself a learner in a snapshot, and the other way round.
#[test]
fn e45_a_snapshot_may_change_the_part_of_its_receiver() {
    let mut as_learner = ConfState::of_voters([1, 3].map(id));
    as_learner.learners = vec![id(2)];
    for conf_state in [as_learner, ConfState::of_voters([1, 2, 3].map(id))] {
        let snapshot = Snapshot {
            conf_state: conf_state.clone(),
            ..snapshot((1, 5), 3)
        };
        let mut node = follower(2, 3, &[1]);
        tell(&mut node, 1, 1, Body::InstallSnapshot(snapshot.into()));
        assert_eq!(node.membership().to_conf_state(), conf_state);
    }
}

/// E46: a node that is added while another is away, and then leads, brings that one up to date.
#[test]
fn e46_a_new_leader_brings_a_node_that_was_away_up_to_date() {
    let mut network = Network::of_logs(&[&[], &[], &[]]);
    network.nodes.insert(4, open(settings(4), disk(3, &[])));
    network.campaign(1);
    network.cut_off.insert(3);
    network.node(1).propose_conf_change("", add(4)).unwrap();
    network.run();
    network.campaign(4);
    assert_eq!(network.node(4).role(), RoleKind::Leader);
    network.propose(4, "x");
    network.run();
    network.cut_off.clear();
    for _ in 0..5 {
        network.tick(4);
    }
    let commit = network.node(4).commit_index();
    for number in 1..=3 {
        assert_eq!(network.node(number).commit_index(), commit);
        assert!(network.node(number).membership().is_voter(id(4)));
    }
}

/// E47: what a removed node still says changes nothing.
#[test]
fn e47_a_removed_node_is_not_listened_to() {
    let mut node = leading();
    let change = MembershipChange::of([MemberChange::Remove(id(3))]);
    node.propose_conf_change("", change).unwrap();
    settle(&mut node);
    tell(&mut node, 2, 2, accepted(3));
    let before = node.clone();
    for (term, body) in [
        (2, accepted(3)),
        (9, granted()),
        (9, Body::PreVoteResponse(VoteResponse::Granted)),
        (9, heartbeat_response(0)),
    ] {
        let error = node.step(message(3, 1, term, body)).unwrap_err();
        assert!(matches!(error, StepError::NotAMember { .. }), "{error}");
        assert_eq!(node, before);
    }
}

/// B59: a removed node that is started again knows that it was removed.
#[test]
fn b59_a_removed_node_stays_removed_after_a_restart() {
    let mut network = Network::of_logs(&[&[], &[], &[]]);
    network.campaign(1);
    let change = MembershipChange::of([MemberChange::Remove(id(1))]);
    network.node(1).propose_conf_change("", change).unwrap();
    network.run();
    let node = network.nodes.remove(&1).unwrap();
    let mut node = open(settings(1).applied(applied(&node)), node.into_storage());
    assert!(!node.membership().contains(id(1)));
    let term = node.current_term();
    ticks(&mut node, 100);
    assert_eq!(node.current_term(), term);
    assert_eq!(node.role(), RoleKind::Follower);
}

/// A change counts for its parts in all limits.
#[test]
fn a_change_counts_for_its_parts() {
    let change = MembershipChange {
        context: almadia::Bytes::from_static(b"why"),
        ..MembershipChange::of([MemberChange::Remove(id(3)), MemberChange::AddVoter(id(4))])
    };
    assert_eq!(change.size_bytes(), 2 * 16 + 3);
    assert_eq!(MembershipChange::leave_joint().size_bytes(), 0);
}
