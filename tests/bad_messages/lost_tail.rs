//! N1 and E13: a heartbeat whose commit index the log does not reach.

use super::*;

fn commit_beyond_log(term: u64, commit: u64, last_log: LogId) -> StepError {
    StepError::CommitBeyondLog {
        leader_commit: LogIndex(commit),
        last_log,
        reply: Box::new(message(1, 2, term, rejected(commit, last_log, 2))),
    }
}

#[test]
fn n01_heartbeat_commit_beyond_the_log() {
    for term in [3, 9] {
        for mut node in every_role() {
            let error = commit_beyond_log(term, 100, node.last_log());
            assert_refused(&mut node, message(2, 1, term, heartbeat(100)), &error);
            let reply = error.into_reply().expect("the leader needs an answer");
            assert_eq!((reply.to, reply.from), (id(2), id(1)));
        }
    }
}

#[test]
fn n01_heartbeat_commit_out_of_range() {
    let error = out_of_range(MessageKind::Heartbeat, "leader_commit");
    for commit in [LogIndex::MAX.0 + 1, u64::MAX] {
        assert_refused_in_every_role(&message(2, 1, 3, heartbeat(commit)), &error);
    }
}

#[test]
fn n01_an_outdated_heartbeat_beyond_the_log_is_only_outdated() {
    for mut node in every_role() {
        let before = node.hard_state();
        assert_eq!(node.step(message(2, 1, 2, heartbeat(100))), Ok(()));
        assert_eq!(node.hard_state(), before);
        let outdated = response(AppendEntriesResponse::TermOutdated);
        assert_eq!(settle(&mut node), [message(1, 2, 3, outdated)]);
    }
}

/// Three nodes, node 1 leads, five proposals committed everywhere.
fn steady_network() -> Network {
    let mut network = Network::of_three(true);
    network.elect(1);
    for _ in 0..5 {
        network.node(1).propose("", "x").expect("node 1 leads");
    }
    network.run(100);
    for number in 1..=3 {
        assert_eq!(network.node(number).last_applied(), LogIndex(6));
    }
    network
}

fn assert_follower_repaired(network: &mut Network) {
    network.tick(1);
    let complaint = network.refusals.first().expect("the loss was noticed");
    assert_eq!(complaint.0, 3);
    assert!(matches!(complaint.1, StepError::CommitBeyondLog { .. }));
    let leader_log = network.node(1).last_log();
    let node = network.node(3);
    assert_eq!(node.last_log(), leader_log);
    assert_eq!(node.commit_index(), LogIndex(6));
    assert_eq!(node.last_applied(), LogIndex(6));
    network.refusals.clear();
    network.node(1).propose("", "x").expect("node 1 leads");
    network.run(100);
    network.tick(1);
    assert_eq!(network.node(3).last_applied(), LogIndex(7));
    assert_eq!(network.refusals, []);
}

#[test]
fn e13_a_follower_that_lost_the_end_of_its_log_gets_it_back() {
    for kept in 0..6 {
        let mut network = steady_network();
        let rest = without_tail(network.node(3).storage(), kept);
        network.restart(3, rest);
        assert_eq!(network.node(3).last_log().index, LogIndex(kept));
        assert_follower_repaired(&mut network);
    }
}

#[test]
fn e13_the_reply_sends_the_leader_back_to_probing() {
    let mut network = steady_network();
    let rest = without_tail(network.node(3).storage(), 2);
    network.restart(3, rest);
    network.node(1).tick().expect("the storage is sound");
    network.settle(1);
    let to_three = |message: &Message| message.to == id(3);
    let sent = std::mem::take(&mut network.in_flight);
    sent.into_iter()
        .filter(to_three)
        .for_each(|message| network.deliver(message));
    let [reply] = network
        .in_flight
        .split_off(0)
        .try_into()
        .expect("one reply");
    let progress = network.node(1).progress(id(3)).expect("a peer");
    assert!(matches!(progress.state(), ProgressState::Replicate { .. }));
    network.deliver(reply);
    let progress = network.node(1).progress(id(3)).expect("a peer");
    let probing = ProgressState::Probe { awaiting: false };
    assert_eq!(progress.state(), &probing);
    assert_follower_repaired(&mut network);
}

#[test]
fn e13_a_lost_log_is_replaced_by_a_snapshot_if_the_leader_has_compacted() {
    let mut network = steady_network();
    network.compact(1);
    network.restart(3, MemStorage::with_voters(voters()));
    assert_follower_repaired(&mut network);
}

#[test]
fn e13_a_lost_log_beside_a_full_hard_state_does_not_start() {
    let mut network = steady_network();
    let full = network.node(3).storage().clone();
    let mut rest = without_tail(&full, 2);
    rest.set_hard_state(full.hard_state());
    let config = network.node(3).config().clone();
    let error = StartError::CommitOutOfRange {
        commit_index: LogIndex(6),
        snapshot_index: LogIndex(0),
        last_index: LogIndex(2),
    };
    assert_eq!(almadia::RawNode::new(config, rest), Err(error));
}

#[test]
fn e13_a_lost_end_is_repaired_while_the_leader_waits_for_a_probe() {
    let mut network = steady_network();
    // The transport gives node 3 up; the probe that follows is lost on the way.
    network.node(1).report_unreachable(id(3));
    network.settle(1);
    network.in_flight.clear();
    let rest = without_tail(network.node(3).storage(), 2);
    network.restart(3, rest);
    assert_follower_repaired(&mut network);
}
