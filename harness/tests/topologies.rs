//! Networks that are cut in odd ways, with a quorum that could work (B76): the topologies of the
//! OmniPaxos paper, and a link that works one way.
//!
//! Owns the shapes. What must hold of every step is watched by the checkers.

use almadia::RoleKind;
use almadia_harness::Cluster;

fn led_by_1(voters: u64) -> Cluster {
    let mut cluster = Cluster::new(voters, 3);
    assert!(cluster.campaign(1));
    cluster.deliver_all();
    cluster.settle();
    assert_eq!(cluster.leader(), Some(1));
    cluster
}

/// Cuts every link that is not one of these.
fn keep_only(cluster: &mut Cluster, nodes: u64, links: &[(u64, u64)]) {
    for from in 1..=nodes {
        for to in 1..=nodes {
            if from != to && !links.contains(&(from, to)) && !links.contains(&(to, from)) {
                cluster.cut(from, to);
            }
        }
    }
}

fn run(cluster: &mut Cluster, ticks: u32) {
    for _ in 0..ticks {
        cluster.tick_all();
        cluster.deliver_all();
    }
}

#[track_caller]
fn assert_commits(cluster: &mut Cluster, leader: u64) {
    let id = cluster.propose(leader, "after the cut").expect("it leads");
    run(cluster, 5);
    assert!(cluster.is_committed(id));
}

/// Quorum loss: the leader loses all but one, who still has everybody. That one must take over,
/// though it hears the leader.
#[test]
fn b76_a_star_elects_its_centre() {
    let mut cluster = led_by_1(5);
    keep_only(&mut cluster, 5, &[(5, 1), (5, 2), (5, 3), (5, 4)]);
    run(&mut cluster, 120);
    assert_eq!(cluster.node(5).role(), RoleKind::Leader);
    assert_ne!(cluster.node(1).role(), RoleKind::Leader);
    assert_commits(&mut cluster, 5);
}

/// A chain: the ends do not hear each other. The leader at one end keeps its quorum, and the other
/// end, which hears no leader, changes nothing about that.
#[test]
fn b76_a_chain_keeps_its_leader() {
    let mut cluster = led_by_1(3);
    let term = cluster.node(1).current_term();
    keep_only(&mut cluster, 3, &[(1, 2), (2, 3)]);
    run(&mut cluster, 200);
    assert_eq!(cluster.node(1).role(), RoleKind::Leader);
    assert_eq!(cluster.node(1).current_term(), term, "nobody was deposed");
    assert_commits(&mut cluster, 1);
    cluster.heal();
    run(&mut cluster, 30);
    assert_eq!(cluster.node(1).role(), RoleKind::Leader);
    assert_eq!(
        cluster.node(3).last_applied(),
        cluster.node(1).last_applied()
    );
}

/// A constrained election: the leader is gone, and only one node has a quorum, with a log like
/// that of enough others. (If it lacked an entry that all others have, no Raft could elect it.)
#[test]
fn b76_a_constrained_group_elects_the_one_that_can_lead() {
    let mut cluster = led_by_1(5);
    // Nodes 2 and 3 get an entry that 4 and 5 do not.
    cluster.cut(1, 4);
    cluster.cut(1, 5);
    cluster.propose(1, "on three nodes").expect("it leads");
    cluster.deliver_all();
    cluster.crash(1);
    keep_only(&mut cluster, 5, &[(2, 3), (2, 4), (2, 5)]);
    run(&mut cluster, 200);
    assert_eq!(cluster.node(2).role(), RoleKind::Leader);
    assert_commits(&mut cluster, 2);
}

/// E28: a leader whose messages arrive and who hears nothing keeps the others quiet, until it
/// finds out that it has lost its quorum.
#[test]
fn b76_e28_a_leader_that_is_not_heard_back_steps_down() {
    let mut cluster = led_by_1(3);
    cluster.cut(2, 1);
    cluster.cut(3, 1);
    run(&mut cluster, 25);
    assert_ne!(cluster.node(1).role(), RoleKind::Leader);
    run(&mut cluster, 100);
    let leader = cluster.leader().expect("the others have elected");
    assert_ne!(leader, 1);
    assert_commits(&mut cluster, leader);
}
