//! Clusters in which some nodes are raft-rs 0.7, and clusters that go from one kind to the other
//! node by node.
#![cfg(feature = "raft-rs")]

use almadia::{Bytes, LogId, MembershipChange, NodeId};
use almadia_harness::{
    Cluster, Embedding, Kind, MachineAction, Profile, Request, Settings, Simulated, record,
};

const RAFT_RS: Kind = Kind::RaftRs(Embedding::Careful);

fn id(number: u64) -> NodeId {
    NodeId::new(number).expect("ids start at 1")
}

/// A cluster that has just been started, the first of whose nodes are raft-rs's.
fn mixed(nodes: u64, of_raft_rs: u64) -> Cluster {
    let mut cluster = Cluster::with_settings(nodes, 1, 7, Settings::default());
    (1..=of_raft_rs).for_each(|node| replace(&mut cluster, node, RAFT_RS));
    cluster
}

/// Stops a node in good order, and starts one of this kind on its disk.
fn replace(cluster: &mut Cluster, node: u64, kind: Kind) {
    cluster.perform(&MachineAction::Replace(kind).at(node));
}

/// Proposes something where the cluster is led from, and sees it applied by everybody.
fn write(cluster: &mut Cluster, data: &str) -> LogId {
    cluster.settle();
    let leader = cluster.leader().expect("somebody leads a settled cluster");
    let id = cluster.propose(leader, data).expect("it leads");
    cluster.settle();
    assert!(cluster.is_committed(id));
    id
}

fn lead(cluster: &mut Cluster, node: u64) {
    assert!(cluster.campaign(node));
    cluster.deliver_all();
    assert_eq!(cluster.leader(), Some(node));
}

#[test]
fn raft_rs_alone_elects_and_replicates() {
    let mut cluster = mixed(3, 3);
    lead(&mut cluster, 1);
    for number in 0..20 {
        write(&mut cluster, &format!("command {number}"));
    }
    assert_eq!(cluster.state_machine(3), cluster.state_machine(1));
    assert!(cluster.state_machine(1).count() > 20);
}

/// Each kind follows the other, and is brought up to date by a snapshot of the other's.
#[test]
fn snapshots_go_both_ways() {
    for [leader, away] in [[1, 3], [3, 1]] {
        let mut cluster = mixed(3, 1);
        lead(&mut cluster, leader);
        cluster.isolate(away);
        for number in 0..10 {
            let data = format!("command {number}");
            cluster.propose(leader, data).expect("it leads");
            cluster.deliver_all();
        }
        cluster.compact(leader).expect("there is something");
        cluster.heal();
        let before = cluster.stats().snapshots;
        cluster.settle();
        assert_eq!(cluster.stats().snapshots, before + 1);
        assert_eq!(cluster.state_machine(away), cluster.state_machine(leader));
    }
}

#[test]
fn leadership_is_handed_over_both_ways() {
    let mut cluster = mixed(3, 1);
    lead(&mut cluster, 1);
    for transferee in [3, 1, 2] {
        let leader = cluster.leader().expect("somebody leads");
        cluster.perform(&Request::Transfer(transferee).of(leader));
        cluster.deliver_all();
        assert_eq!(cluster.leader(), Some(transferee));
    }
}

/// A joint change that a leader of one kind proposes is applied by both kinds, and left again.
#[test]
fn members_change_under_leaders_of_both_kinds() {
    use almadia::MemberChange::{AddLearner, AddVoter, Remove};
    for leader in [1, 3] {
        let mut cluster = mixed(3, 1);
        lead(&mut cluster, leader);
        let changes = [
            MembershipChange::of([AddLearner(id(4))]),
            MembershipChange::of([AddVoter(id(4)), Remove(id(2))]),
        ];
        for change in changes {
            cluster.propose_conf_change(leader, change).expect("it may");
            cluster.settle();
        }
        let members = [1, 3, 4].map(id);
        for node in [1, 3, 4] {
            let conf_state = cluster.state_machine(node).conf_state();
            assert_eq!(conf_state.voters, members);
            assert!(conf_state.voters_outgoing.is_empty());
        }
    }
}

/// How many reads at these nodes were answered.
fn answered(cluster: &mut Cluster, nodes: &[u64]) -> usize {
    for &node in nodes {
        let context = Bytes::from(format!("read at {node}"));
        let by_lease = false;
        cluster.perform(&Request::Read { context, by_lease }.of(node));
    }
    cluster.deliver_all();
    let outcomes = cluster.take_outcomes().into_iter();
    let reads = outcomes.flat_map(|outcomes| outcomes.reads);
    reads.filter(|read| read.outcome.is_ok()).count()
}

#[test]
fn reads_are_passed_on_both_ways() {
    for leader in [1, 3] {
        let mut cluster = mixed(3, 1);
        lead(&mut cluster, leader);
        write(&mut cluster, "x");
        assert_eq!(answered(&mut cluster, &[1, 2, 3]), 3);
    }
}

/// Two nodes that have been started equally often count their reads alike. A leader of raft-rs that
/// is asked the same by both answers the first one only.
#[test]
fn reads_of_two_nodes_at_once_are_both_answered() {
    let mut cluster = mixed(3, 1);
    lead(&mut cluster, 1);
    write(&mut cluster, "x");
    assert_eq!(answered(&mut cluster, &[2, 3]), 2);
}

/// Goes through all nodes, in turn of this kind, while one other node is down and commands come.
fn roll(cluster: &mut Cluster, nodes: u64, kind: Kind) {
    for node in 1..=nodes {
        let before = write(cluster, &format!("before {node}"));
        let other = node % nodes + 1;
        cluster.crash(other);
        write(cluster, &format!("while {other} is down"));
        cluster.restart(other);
        cluster.compact(other);
        write(cluster, &format!("while {other} is back"));
        replace(cluster, node, kind);
        let after = write(cluster, &format!("after {node}"));
        assert!(before < after);
        assert!(cluster.is_committed(before));
    }
    let first = cluster.state_machine(1);
    for node in 2..=nodes {
        assert_eq!(cluster.state_machine(node), first);
    }
}

#[test]
fn a_running_cluster_is_upgraded_and_downgraded_node_by_node() {
    for nodes in [3, 5] {
        let mut cluster = Cluster::with_settings(nodes, 0, nodes, Settings::default());
        (1..=nodes).for_each(|node| replace(&mut cluster, node, RAFT_RS));
        let first = write(&mut cluster, "written by raft-rs");
        roll(&mut cluster, nodes, Kind::Almadia);
        assert!(cluster.is_committed(first));
        assert_eq!(cluster.node(1).membership().voters().len() as u64, nodes);
        roll(&mut cluster, nodes, RAFT_RS);
        roll(&mut cluster, nodes, Kind::Almadia);
        assert!(cluster.state_machine(1).count() > 12 * nodes);
    }
}

/// All profiles of mixed clusters and of upgrades, under faults.
#[test]
fn mixed_clusters_keep_the_promises_of_raft() {
    for profile in Profile::mixed() {
        for seed in 0..20 {
            let (_, result) = record::<Simulated>(seed, &profile);
            result.unwrap_or_else(|violation| panic!("{}: {violation}", profile.name));
        }
    }
}

/// The same seed makes the same run, though raft-rs draws from a generator of its own.
#[test]
fn a_run_with_raft_rs_can_be_repeated() {
    let all = Profile::mixed().into_iter().chain(Profile::calibration());
    for profile in all {
        for seed in 0..5 {
            let (scenario, result) = record::<Simulated>(seed, &profile);
            assert_eq!(scenario.play(), result, "{}", profile.name);
        }
    }
}

/// What is known to be broken in raft-rs is found: what is looked for, and in which profile.
#[test]
fn the_checkers_find_what_is_known_of_raft_rs() {
    let known = [
        ("calibration-one", "before it was durable"),
        ("calibration-one", "Election Safety"),
        (
            "calibration-storage",
            "called `Result::unwrap()` on an `Err`",
        ),
        ("calibration-plain", "Store(Compacted)"),
        ("calibration-reads", "was committed before it asked"),
        ("calibration-leases", "was committed before it asked"),
        (
            "calibration-changes",
            "called `Option::unwrap()` on a `None`",
        ),
        ("calibration-changes", "leads without a vote"),
        ("calibration-changes", "removed all voters"),
        ("calibration-priorities", "term should be set when sending"),
    ];
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let missed: Vec<_> = known
        .iter()
        .filter(|(name, what)| {
            let mut all = Profile::calibration().into_iter();
            let profile = all.find(|profile| profile.name == *name);
            let profile = profile.expect("there is such a profile");
            !(0..400).any(|seed| {
                let (_, result) = record::<Simulated>(seed, &profile);
                result.is_err_and(|violation| violation.to_string().contains(what))
            })
        })
        .collect();
    std::panic::set_hook(told);
    assert!(missed.is_empty(), "not found: {missed:?}");
}
