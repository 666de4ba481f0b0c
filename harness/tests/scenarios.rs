//! Scenarios by hand, where a random run would need luck. Each is named after its line in the list
//! of scenarios; the checkers look on, so what is asserted here is only what they cannot know.
//!
//! Owns nothing beyond the scenarios. Also shows how the cluster is used.

use almadia::{Body, MemberChange, MembershipChange, NodeId, ProgressState, RoleKind};
use almadia_harness::{Cluster, DiskMode};

fn id(id: u64) -> NodeId {
    NodeId::new(id).expect("ids in tests are not zero")
}

/// A cluster in which node 1 leads and everything is settled.
fn led_by_1(voters: u64) -> Cluster {
    let mut cluster = Cluster::new(voters, 7);
    for node in 1..=voters {
        cluster.set_disk_mode(node, DiskMode::Asynchronous);
    }
    assert!(cluster.campaign(1));
    cluster.deliver_all();
    cluster.settle();
    assert_eq!(cluster.leader(), Some(1));
    cluster
}

#[test]
fn e1_nobody_leads_before_its_own_vote_is_durable() {
    let mut cluster = Cluster::new(3, 1);
    cluster.set_disk_mode(1, DiskMode::Asynchronous);
    cluster.stall_disk(1);
    cluster.campaign(1);
    cluster.deliver_all();
    // Both others voted for it, and it knows.
    assert_eq!(cluster.node(1).role(), RoleKind::Candidate);
    assert_eq!(cluster.node(2).hard_state().voted_for, Some(id(1)));
    assert_eq!(cluster.propose(1, "too early"), None);

    cluster.crash(1);
    cluster.restart(1);
    cluster.settle();
    // The term that it forgot is used by nobody else, and by itself only anew.
    let leader = cluster.leader().expect("settled");
    assert!(cluster.node(leader).current_term().0 >= 1);

    let mut cluster = Cluster::new(3, 1);
    cluster.set_disk_mode(1, DiskMode::Asynchronous);
    cluster.stall_disk(1);
    cluster.campaign(1);
    cluster.deliver_all();
    cluster.complete_writes(1);
    assert_eq!(cluster.node(1).role(), RoleKind::Leader);
}

#[test]
fn b39_e4_an_acknowledgement_for_overwritten_entries_counts_for_nothing() {
    let mut cluster = led_by_1(3);
    // Node 1 logs entries that nobody gets, and its disk is slow.
    cluster.isolate(1);
    cluster.stall_disk(1);
    cluster.propose(1, "lost").expect("node 1 leads");
    cluster.deliver_all();
    for _ in 0..60 {
        cluster.tick(2);
        cluster.tick(3);
        cluster.deliver_all();
    }
    let other = cluster.leader().expect("the others elected one");
    assert_ne!(other, 1);
    cluster.propose(other, "kept").expect("it leads");
    cluster.deliver_all();
    // Node 1 hears of it while its own entries are still on their way to the disk.
    cluster.heal();
    for _ in 0..5 {
        cluster.tick_all();
        cluster.deliver_all();
    }
    assert!(cluster.pending_writes(1) > 1);
    cluster.complete_some_writes(1, 1);
    let status = cluster.node(1).status();
    assert!(status.persisted_index < status.last_log.index);
    cluster.complete_writes(1);
    cluster.settle();
    assert_eq!(cluster.state_machine(1), cluster.state_machine(other));
}

#[test]
fn a_node_without_the_disk_does_not_hold_up_the_others() {
    let mut cluster = led_by_1(3);
    cluster.stall_disk(1);
    let entry = cluster.propose(1, "a").expect("node 1 leads");
    cluster.deliver_all();
    // Committed by the others' disks; the leader applies it when its own has it.
    assert!(cluster.is_committed(entry));
    assert!(cluster.state_machine(1).applied_index() < entry.index);
    cluster.complete_writes(1);
    assert_eq!(cluster.state_machine(1).applied_index(), entry.index);
}

#[test]
fn e60_a_lost_snapshot_is_sent_again() {
    let mut cluster = led_by_1(3);
    cluster.crash(3);
    for _ in 0..5 {
        cluster.propose(1, "x").expect("node 1 leads");
        cluster.deliver_all();
    }
    cluster.compact(1).expect("there is something to compact");
    cluster.restart(3);
    let is_snapshot = |message: &almadia::Message| matches!(message.body, Body::InstallSnapshot(_));
    for _ in 0..20 {
        cluster.tick(1);
        while cluster.deliver_one(|message| !is_snapshot(message)) {}
        if cluster.messages().iter().any(is_snapshot) {
            break;
        }
    }
    let progress = cluster.node(1).progress(id(3)).expect("node 1 leads");
    assert!(matches!(progress.state(), ProgressState::Snapshot { .. }));
    assert_eq!(cluster.drop_messages(is_snapshot), 1);
    cluster.settle();
    assert_eq!(cluster.stats().snapshots, 1);
    assert_eq!(cluster.state_machine(3), cluster.state_machine(1));
}

#[test]
fn e37_a_removed_leader_steps_down_and_the_others_go_on() {
    let mut cluster = led_by_1(3);
    let change = MembershipChange::of([MemberChange::Remove(id(1))]);
    cluster
        .propose_conf_change(1, change)
        .expect("node 1 leads");
    cluster.deliver_all();
    assert_eq!(cluster.node(1).role(), RoleKind::Follower);
    cluster.settle();
    let leader = cluster.leader().expect("settled");
    assert_ne!(leader, 1);
    assert!(!cluster.node(leader).membership().contains(id(1)));
}

#[test]
fn e38_the_last_voter_learns_from_a_refused_vote_that_it_is_alone() {
    let mut cluster = led_by_1(2);
    let change = MembershipChange::of([MemberChange::Remove(id(1))]);
    cluster
        .propose_conf_change(1, change)
        .expect("node 1 leads");
    // Node 2 gets and acknowledges the entry; that it is committed is lost on the way.
    while cluster.deliver_one(|message| message.to == id(2)) {}
    // Node 1 logs one more entry, so that it will never vote for node 2.
    cluster.propose(1, "more").expect("node 1 still leads");
    while cluster.deliver_one(|message| message.to == id(1)) {}
    cluster.drop_messages(|_| true);
    assert!(!cluster.node(1).membership().contains(id(1)));
    assert!(cluster.node(2).membership().contains(id(1)));
    cluster.settle();
    assert_eq!(cluster.leader(), Some(2));
}

#[test]
fn b17_e32_a_node_that_does_not_know_it_is_a_voter_votes_when_its_leader_is_gone() {
    // Whatever timeout the seed gives it: it must not stand by the dead leader for ever.
    for seed in 0..20 {
        let mut cluster = Cluster::with_settings(2, 1, seed, almadia_harness::Settings::default());
        cluster.campaign(1);
        cluster.deliver_all();
        // Node 3 hears its leader, but is never told that it votes.
        let change = MembershipChange::of([MemberChange::AddVoter(id(3))]);
        cluster
            .propose_conf_change(1, change)
            .expect("node 1 leads");
        while cluster.deliver_one(|message| message.to != id(3)) {}
        cluster.tick(1);
        let is_heartbeat = |message: &almadia::Message| matches!(message.body, Body::Heartbeat(_));
        while cluster.deliver_one(is_heartbeat) {}
        cluster.drop_messages(|_| true);
        assert_eq!(cluster.node(3).leader(), Some(id(1)), "seed {seed}");
        cluster.crash(1);
        cluster.settle();
        assert_eq!(cluster.leader(), Some(2), "seed {seed}");
    }
}

/// Replaces node 3 by node 4 through a joint configuration that is to be left by itself.
fn replace_3_by_4(cluster: &mut Cluster) {
    let changes = [MemberChange::AddVoter(id(4)), MemberChange::Remove(id(3))];
    let change = MembershipChange::of(changes);
    cluster
        .propose_conf_change(1, change)
        .expect("node 1 leads");
}

#[test]
fn e34_a_leader_leaves_a_joint_configuration_by_itself_and_once() {
    let mut cluster = Cluster::with_settings(3, 1, 7, almadia_harness::Settings::default());
    cluster.campaign(1);
    cluster.deliver_all();
    let before = cluster.node(1).last_log().index;
    replace_3_by_4(&mut cluster);
    cluster.deliver_all();
    // No tick was needed, and nobody proposed it: the change, the leave, and nothing else.
    let membership = cluster.node(1).membership();
    assert!(!membership.is_joint());
    assert_eq!(membership.incoming(), [1, 2, 4].map(id));
    assert_eq!(cluster.node(1).last_log().index, before + 2);
    for _ in 0..5 {
        cluster.propose(1, "x").expect("node 1 leads");
        cluster.deliver_all();
    }
    assert_eq!(cluster.node(1).last_log().index, before + 7);
    cluster.settle();
    assert_eq!(cluster.state_machine(4), cluster.state_machine(1));
}

#[test]
fn e33_a_new_leader_leaves_the_joint_configuration_that_it_inherits() {
    let mut cluster = Cluster::with_settings(3, 1, 7, almadia_harness::Settings::default());
    cluster.campaign(1);
    cluster.deliver_all();
    replace_3_by_4(&mut cluster);
    // The joint configuration comes into force at all; that it is to be left reaches nobody.
    let is_leave = |message: &almadia::Message| {
        let Body::AppendEntries(append) = &message.body else {
            return false;
        };
        append.entries.iter().any(|entry| {
            matches!(&entry.payload, almadia::Payload::Change(change) if change.is_leave_joint())
        })
    };
    while cluster.deliver_one(|message| !is_leave(message)) {}
    assert!(cluster.node(1).membership().is_joint());
    cluster.crash(1);
    cluster.drop_messages(|_| true);
    cluster.settle();
    let leader = cluster.leader().expect("settled");
    assert_ne!(leader, 1);
    assert!(!cluster.node(leader).membership().is_joint());
    assert_eq!(
        cluster.node(leader).membership().incoming(),
        [1, 2, 4].map(id)
    );
}

#[test]
fn an_explicit_joint_configuration_is_left_when_somebody_says_so() {
    let mut cluster = Cluster::with_settings(3, 1, 7, almadia_harness::Settings::default());
    cluster.campaign(1);
    cluster.deliver_all();
    let changes = [
        MemberChange::AddVoter(id(4)),
        MemberChange::AddLearner(id(3)),
    ];
    let change = MembershipChange {
        transition: almadia::Transition::Explicit,
        ..MembershipChange::of(changes)
    };
    cluster
        .propose_conf_change(1, change)
        .expect("node 1 leads");
    cluster.deliver_all();
    cluster.settle();
    let joint = cluster.node(1).membership().clone();
    assert!(joint.is_joint() && !joint.auto_leave());
    assert_eq!(joint.outgoing(), [1, 2, 3].map(id));
    // Both halves must agree: without nodes 2 and 3 the outgoing one does not.
    cluster.crash(2);
    cluster.crash(3);
    let alone = cluster.propose(1, "with half of it").expect("node 1 leads");
    cluster.deliver_all();
    assert!(!cluster.is_committed(alone));
    cluster.restart(2);
    cluster.settle();
    assert!(cluster.is_committed(alone));

    let leader = cluster.leader().expect("settled");
    cluster
        .propose_conf_change(leader, MembershipChange::leave_joint())
        .expect("it leads");
    cluster.deliver_all();
    let membership = cluster.node(leader).membership();
    assert!(!membership.is_joint());
    assert_eq!(membership.learners(), [id(3)]);
}
