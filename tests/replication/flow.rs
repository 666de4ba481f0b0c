//! How much is on its way to a peer, in which pieces, and what starts it again when it is lost.

use almadia::{Config, LogId, LogIndex, MessageKind, NodeId, ProgressState, StepError};

use crate::nodes::*;

fn state(node: &Node, peer: u64) -> ProgressState {
    node.progress(id(peer)).unwrap().state().clone()
}

/// A leader of term 1 whose peers have its first entry and replicate.
fn in_steady_state(settings: almadia::ConfigBuilder, voters: u64) -> Node {
    let mut node = open(settings, disk(voters, &[]));
    elect(&mut node);
    for peer in 2..=voters {
        tell(&mut node, peer, 1, accepted(1));
    }
    for peer in 2..=voters {
        tell(&mut node, peer, 1, heartbeat_response(1));
    }
    settle(&mut node);
    node
}

/// Everything proposed between two calls of `ready` leaves in one message to each peer, and in one
/// write.
#[test]
fn proposals_between_two_readies_travel_together() {
    let mut node = in_steady_state(settings(1), 3);
    for number in 0..10 {
        propose(&mut node, &format!("command {number}"));
    }
    let ready = take(&mut node);
    assert_eq!(ready.messages.len(), 2);
    for peer in [2, 3] {
        let appends = appends_to(&ready.messages, peer);
        assert_eq!((appends.len(), appends[0].entries.len()), (1, 10));
    }
    assert_eq!(ready.entries.len(), 1, "one run");
    assert!(ready.must_sync);
}

/// Peers are visited in the order of their ids, whatever is sent.
#[test]
fn peers_are_visited_in_the_order_of_their_ids() {
    let recipients = |output: &Output| -> Vec<NodeId> {
        output.messages.iter().map(|message| message.to).collect()
    };
    let mut node = follower(3, 6, &[]);
    node.campaign().unwrap();
    let expected = [1, 2, 4, 5, 6].map(id);
    assert_eq!(recipients(&settle(&mut node)), expected);
    for voter in [6, 1, 5] {
        node.step(message(voter, 3, 1, granted())).unwrap();
    }
    assert_eq!(recipients(&settle(&mut node)), expected);
    assert_eq!(recipients(&ticks(&mut node, 1)), expected);
    for voter in [6, 2, 5, 1, 4] {
        node.step(message(voter, 3, 1, accepted(1))).unwrap();
    }
    assert_eq!(recipients(&settle(&mut node)), expected);
    propose(&mut node, "x");
    assert_eq!(recipients(&settle(&mut node)), expected);
}

/// E49: while the window is full, a peer that answers heartbeats is sent one empty append for each,
/// and never more entries.
#[test]
fn e49_a_full_window_gets_one_empty_append_for_each_heartbeat() {
    let mut node = in_steady_state(settings(1).max_inflight_messages(3).max_message_bytes(0), 3);
    for _ in 0..10 {
        propose(&mut node, "x");
    }
    assert_eq!(settle(&mut node).appends_to(2).len(), 3);
    for _ in 0..5 {
        let output = ticks(&mut node, 1);
        assert!(output.appends_to(2).is_empty());
        let output = tell(&mut node, 2, 1, heartbeat_response(1));
        let appends = output.appends_to(2);
        assert_eq!(appends.len(), 1);
        assert!(appends[0].entries.is_empty());
        assert_eq!(
            appends[0].prev_log.index,
            index(4),
            "behind all that was sent"
        );
    }
    // An acknowledgement frees exactly what it covers.
    let appends = tell(&mut node, 2, 1, accepted(3)).appends_to(2);
    let sent: Vec<u64> = appends
        .iter()
        .map(|append| append.prev_log.index.0)
        .collect();
    assert_eq!(sent, [4, 5]);
}

/// E49: if the messages of a full window were lost, the empty append finds it out.
#[test]
fn e49_a_lost_window_is_found_out() {
    let mut network = Network::new([
        open(
            settings(1).max_inflight_messages(2).max_message_bytes(0),
            disk(2, &[]),
        ),
        open(settings(2), disk(2, &[])),
    ]);
    network.campaign(1);
    network.cut_off.insert(2);
    for _ in 0..6 {
        network.propose(1, "x");
    }
    network.run();
    network.cut_off.clear();
    network.tick(1);
    network.tick(1);
    assert_eq!(network.node(2).last_log(), LogId::new(1, 7));
    assert_eq!(network.node(2).commit_index(), index(7));
}

/// A message that is lost while the window is not full is found out as well, without new proposals.
#[test]
fn a_lost_append_on_an_idle_leader_is_found_out() {
    let mut network = Network::of_logs(&[&[], &[]]);
    network.campaign(1);
    network.cut_off.insert(2);
    network.propose(1, "x");
    network.run();
    network.cut_off.clear();
    network.tick(1);
    network.tick(1);
    assert_eq!(network.node(2).last_log(), LogId::new(1, 2));
    assert_eq!(network.node(2).commit_index(), index(2));
}

/// E51: an idle peer that was reported unreachable, and is up to date, replicates again after one
/// heartbeat.
#[test]
fn e51_an_unreachable_report_on_an_idle_peer_is_repaired_by_a_heartbeat() {
    let mut node = in_steady_state(settings(1), 3);
    assert!(matches!(state(&node, 2), ProgressState::Replicate { .. }));
    node.report_unreachable(id(2));
    settle(&mut node);
    assert!(matches!(
        state(&node, 2),
        ProgressState::Probe { awaiting: true }
    ));
    // The probe is lost as well.
    let output = ticks(&mut node, 1);
    assert!(output.appends_to(2).is_empty());
    let probes = tell(&mut node, 2, 1, heartbeat_response(1)).appends_to(2);
    assert_eq!((probes.len(), probes[0].prev_log), (1, LogId::new(1, 1)));
    tell(&mut node, 2, 1, accepted(1));
    assert!(matches!(state(&node, 2), ProgressState::Replicate { .. }));
    assert!(
        ticks(&mut node, 1).appends_to(2).is_empty(),
        "and nothing more"
    );
}

/// E56: the message that carries the commit index is lost; the next heartbeat tells it.
#[test]
fn e56_a_lost_commit_index_arrives_with_the_next_heartbeat() {
    let mut network = Network::of_logs(&[&[], &[], &[]]);
    network.campaign(1);
    network.propose(1, "x");
    let one = network.node(1);
    let output = settle(one);
    for message in output.messages {
        let to = message.to.get();
        network.node(to).step(message).unwrap();
    }
    // Acknowledgements arrive; what the leader then says of the commit index does not.
    for peer in [2, 3] {
        let answers = settle(network.node(peer)).messages;
        for answer in answers {
            network.node(1).step(answer).unwrap();
        }
    }
    let lost = settle(network.node(1));
    assert!(!lost.appends_to(2).is_empty());
    assert_eq!(network.node(2).commit_index(), index(1));
    network.tick(1);
    assert_eq!(network.node(2).commit_index(), index(2));
    assert_eq!(network.node(3).commit_index(), index(2));
}

/// E56: a peer whose acknowledgement was lost learns the commit index half a round trip after it
/// has answered a heartbeat.
#[test]
fn e56_the_answer_to_a_heartbeat_brings_the_commit_index() {
    let mut node = in_steady_state(settings(1), 3);
    propose(&mut node, "x");
    settle(&mut node);
    tell(&mut node, 3, 1, accepted(2));
    assert_eq!(node.commit_index(), index(2));
    let output = tell(&mut node, 2, 1, heartbeat_response(1));
    let appends = output.appends_to(2);
    assert_eq!(appends.len(), 1);
    assert_eq!(appends[0].leader_commit, index(2));
}

/// An idle group sends heartbeats and nothing else.
#[test]
fn an_idle_group_sends_only_heartbeats() {
    let mut network = Network::of_logs(&[&[], &[], &[]]);
    network.campaign(1);
    network.propose(1, "x");
    network.run();
    network.tick(1);
    let before = network.sent.len();
    for _ in 0..5 {
        network.tick(1);
    }
    let kinds = network.sent[before..]
        .iter()
        .map(|message| message.body.kind());
    assert!(
        kinds.clone().all(|kind| {
            kind == MessageKind::Heartbeat || kind == MessageKind::HeartbeatResponse
        })
    );
    assert_eq!(kinds.count(), 20);
}

/// B44: with all limits at their least, one entry travels at a time, and everything arrives.
#[test]
fn b44_limits_of_zero_let_one_entry_through_at_a_time() {
    let least = |number: u64| {
        settings(number)
            .max_message_bytes(0)
            .max_inflight_messages(1)
            .max_inflight_bytes(0)
            .max_uncommitted_bytes(0)
            .max_committed_bytes_per_ready(0)
            .max_tail_bytes(0)
    };
    let mut network = Network::new((1..=3).map(|number| open(least(number), disk(3, &[1, 1, 1]))));
    network.campaign(1);
    for number in 0..5 {
        network.propose(1, &format!("command {number}"));
        assert!(network.node(1).propose("", "one too many").is_err());
        network.run();
    }
    network.tick(1);
    for number in 1..=3 {
        assert_eq!(network.applied_ids(number).len(), 9, "node {number}");
    }
    let appends = network
        .sent
        .iter()
        .filter_map(|message| message.body.as_append());
    assert!(appends.clone().all(|append| append.entries.len() <= 1));
}

/// B44: with limits as high as they go, nothing overflows.
#[test]
fn b44_limits_without_end() {
    let most = |number: u64| {
        settings(number)
            .max_message_bytes(u64::MAX)
            .max_inflight_messages(usize::MAX)
            .max_inflight_bytes(u64::MAX)
            .max_uncommitted_bytes(u64::MAX)
            .max_committed_bytes_per_ready(u64::MAX)
            .max_tail_bytes(u64::MAX)
    };
    let mut network = Network::new((1..=3).map(|number| open(most(number), disk(3, &[1, 1, 1]))));
    network.campaign(1);
    network.propose(1, "command");
    network.run();
    network.tick(1);
    assert!((1..=3).all(|number| network.applied_ids(number).len() == 5));
}

/// B44: indexes and terms at the end of their range are taken or refused, and never overflow.
#[test]
fn b44_positions_at_the_end_of_the_range() {
    let max = LogIndex::MAX.0;
    let mut node = follower(1, 3, &[1]);
    for body in [
        append((1, max), &[], max),
        append((1, 1), &[], u64::MAX),
        heartbeat(max),
        heartbeat(u64::MAX),
        append((1, max), &[1], max),
        append((1, u64::MAX - 1), &[1], max),
        append((1, u64::MAX), &[], 0),
        request_vote((1, u64::MAX)),
    ] {
        let _ = node.step(message(2, 1, 1, body));
        settle(&mut node);
        assert_eq!(node.last_log(), LogId::new(1, 1));
    }
    for term in [almadia::Term::MAX.0 + 1, u64::MAX] {
        let result = node.step(message(2, 1, term, heartbeat(0)));
        assert!(matches!(result, Err(StepError::OutOfRange { .. })));
    }
    tell(&mut node, 2, almadia::Term::MAX.0, heartbeat(0));
    assert_eq!(node.campaign(), Err(almadia::CampaignError::NothingLeft));
}

/// B44: a window of no messages would never send anything, and is refused when the settings are
/// made.
#[test]
fn b44_a_window_without_messages_is_no_setting() {
    assert!(
        Config::builder(id(1))
            .max_inflight_messages(0)
            .build()
            .is_err()
    );
}
