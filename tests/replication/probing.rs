//! Where two logs part: hints on both sides of a rejection, and answers that come late.

use almadia::{AppendEntriesResponse, Body, Entry, LogId, LogIndex, ProgressState, StepError};

use crate::nodes::*;

/// The case's logs, the follower's hint, and the entry before the leader's next probe.
type Case = (&'static [u64], &'static [u64], (u64, u64), (u64, u64));

/// The cases of etcd's fast log rejection.
const CASES: [Case; 8] = [
    (
        &[1, 2, 2, 4, 4, 4, 4],
        &[1, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3],
        (3, 7),
        (2, 3),
    ),
    (
        &[1, 2, 2, 3, 4, 4, 4, 5],
        &[1, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3],
        (3, 8),
        (3, 4),
    ),
    (&[1, 1, 1, 1], &[1, 2, 2, 4], (1, 1), (1, 1)),
    (&[1, 1, 1, 1, 1, 1], &[1, 2, 2, 4], (1, 1), (1, 1)),
    (&[1, 1, 1, 1], &[1, 2, 2, 4, 4, 4], (1, 1), (1, 1)),
    (&[1, 1, 1, 4, 5], &[1, 1, 1, 2, 2, 2, 2, 6], (2, 5), (1, 3)),
    (&[2, 2, 2], &[1, 1, 1, 1, 1], (1, 3), (0, 0)),
    (&[2, 2, 4, 4], &[3, 3, 3, 3, 3], (3, 4), (2, 2)),
];

/// Both sides look past whole terms: the follower names its latest entry that the leader can have,
/// and the leader goes on from its own latest that the follower can have.
#[test]
fn hints_on_both_sides_skip_whole_terms() {
    for (leader_log, follower_log, hint, next) in CASES {
        let mut storage = disk(3, leader_log);
        // Whatever terms the follower has seen, the leader's is later.
        storage.set_hard_state(hard_state(9, None, 0));
        let mut leader = open(settings(1), storage);
        let probe = elect(&mut leader).to(2).last().copied().unwrap().clone();
        let mut peer = follower(2, 3, follower_log);
        peer.step(probe).unwrap();
        let answer = settle(&mut peer).messages.remove(0);
        assert_eq!(
            answer.body,
            rejected(leader_log.len() as u64, hint),
            "{leader_log:?}"
        );

        leader.step(answer).unwrap();
        let appends = settle(&mut leader).appends_to(2);
        assert_eq!(appends.len(), 1);
        assert_eq!(
            appends[0].prev_log,
            LogId::new(next.0, next.1),
            "{leader_log:?}"
        );
    }
}

/// One append goes on from what is on the disk alone into what is in memory, as far as there is
/// room: a probe that ended between them would cost a round trip.
#[test]
fn an_append_goes_on_from_the_disk_into_memory() {
    let on_disk: u64 = run(0, &[1, 1, 1]).size_bytes();
    let opening = Entry::OVERHEAD_BYTES;
    for (room, last) in [
        (u64::MAX, (2, 4)),
        (on_disk + opening, (2, 4)),
        (on_disk + opening - 1, (1, 3)),
        (on_disk, (1, 3)),
        (on_disk - 1, (1, 2)),
        (0, (1, 1)),
    ] {
        let settings = settings(1).max_message_bytes(room);
        let mut leader = open(settings, disk(3, &[1, 1, 1]));
        elect(&mut leader);
        let appends = tell(&mut leader, 2, 2, rejected(3, (0, 0))).appends_to(2);
        assert_eq!(appends.len(), 1);
        assert!(appends[0].entries.follow(LogId::ZERO));
        let last = LogId::new(last.0, last.1);
        assert_eq!(appends[0].entries.last_id(), Some(last), "{room} bytes");
    }
}

fn rejections(network: &Network) -> usize {
    let answers = network
        .sent
        .iter()
        .filter_map(|message| message.body.as_response());
    answers
        .filter(|answer| matches!(answer, AppendEntriesResponse::Rejected { .. }))
        .count()
}

/// E58: tails of hundreds of entries in many terms part, and every term costs one probe at most.
#[test]
fn e58_a_long_divergence_costs_one_probe_for_each_term() {
    const TERMS: u64 = 60;
    let tail = |parity: u64| -> Vec<u64> {
        let of_term = |term: u64| std::iter::repeat_n(term, 7);
        let terms = (2..2 + 2 * TERMS).filter(|term| term % 2 == parity);
        [1].into_iter().chain(terms.flat_map(of_term)).collect()
    };
    let (ahead, behind) = (tail(1), tail(0));
    let mut network = Network::of_logs(&[&ahead, &behind]);
    network.campaign(1);
    for _ in 0..TERMS {
        network.tick(1);
    }
    assert_eq!(stored_terms(network.node(2)), stored_terms(network.node(1)));
    let probes = rejections(&network);
    assert!((1..=TERMS as usize).contains(&probes), "{probes} probes");
}

/// A long divergence within one term costs one probe, however many entries there are.
#[test]
fn e58_a_divergence_of_one_term_costs_one_probe() {
    let ahead = [&[1; 5][..], &[3; 400]].concat();
    let behind = [&[1; 5][..], &[2; 700]].concat();
    let mut network = Network::of_logs(&[&ahead, &behind]);
    network
        .node(2)
        .step(message(1, 2, 3, heartbeat(0)))
        .unwrap();
    network.campaign(1);
    network.tick(1);
    assert_eq!(stored_terms(network.node(2)), stored_terms(network.node(1)));
    assert!(rejections(&network) <= 1);
}

/// E54, B28: a rejection that comes late, after the logs were found to agree further on, sets
/// nothing back.
#[test]
fn e54_b28_a_late_rejection_never_moves_next_to_or_below_match() {
    let mut node = leader(1, 3, &[1, 1, 1]);
    tell(&mut node, 2, 2, rejected(3, (1, 1)));
    tell(&mut node, 2, 2, accepted(4));
    let matched = node.progress(id(2)).unwrap().clone();
    for late in [(3, (1, 1)), (1, (0, 0)), (2, (1, 1)), (0, (0, 0))] {
        tell(&mut node, 2, 2, rejected(late.0, late.1));
        assert_eq!(node.progress(id(2)), Some(&matched), "{late:?}");
    }
    // One that may be true makes the leader probe, but not below what it knows.
    tell(&mut node, 2, 2, rejected(4, (1, 1)));
    let progress = node.progress(id(2)).unwrap();
    assert!(progress.next_index() > progress.match_index());
    assert_eq!(progress.match_index(), index(4));
}

/// While a peer is probed, only the answer to the probe moves it.
#[test]
fn e54_a_rejection_of_what_was_not_probed_says_nothing() {
    let mut node = leader(1, 3, &[1, 1, 1]);
    tell(&mut node, 2, 2, heartbeat_response(0));
    let probing = node.progress(id(2)).unwrap().clone();
    for late in [1, 2, 4] {
        tell(&mut node, 2, 2, rejected(late, (0, 0)));
        assert_eq!(node.progress(id(2)), Some(&probing), "{late}");
    }
    assert!(!probing.is_fetching());
    tell(&mut node, 2, 2, rejected(3, (1, 1)));
    assert_ne!(node.progress(id(2)), Some(&probing));
}

/// A rejection may name any entry of the leader's log, also one that was proposed just now and has left in
/// no message: nothing is looked for on the disk.
#[test]
fn a_rejection_may_name_what_was_just_proposed() {
    let mut node = leader(1, 3, &[]);
    tell(&mut node, 2, 1, accepted(1));
    propose(&mut node, "x");
    propose(&mut node, "y");
    let output = tell(&mut node, 2, 1, rejected(1, (1, 2)));
    let appends = output.appends_to(2);
    assert_eq!(appends.len(), 1);
    assert_eq!(appends[0].prev_log, LogId::new(1, 1));
    assert_eq!(appends[0].entries.len(), 2);
}

/// While a peer is probed, an acknowledgement from below what is known shows nothing.
#[test]
fn e55_an_acknowledgement_below_match_ends_no_probe() {
    let mut node = leader(1, 3, &[1, 1, 1]);
    tell(&mut node, 2, 2, accepted(3));
    node.report_unreachable(id(2));
    let probing = node.progress(id(2)).unwrap().state().clone();
    assert!(matches!(probing, almadia::ProgressState::Probe { .. }));
    tell(&mut node, 2, 2, accepted(2));
    let state = node.progress(id(2)).unwrap().state();
    assert!(matches!(state, almadia::ProgressState::Probe { .. }));
    tell(&mut node, 2, 2, accepted(3));
    let state = node.progress(id(2)).unwrap().state();
    assert!(matches!(state, almadia::ProgressState::Replicate { .. }));
}

/// B28: acknowledgements in any order and number leave matchIndex at the highest.
#[test]
fn b28_the_match_index_does_not_fall_with_late_acknowledgements() {
    let mut node = leader(1, 3, &[1, 1, 1]);
    for (ack, expected) in [(2, 2), (4, 4), (1, 4), (3, 4), (4, 4), (0, 4)] {
        tell(&mut node, 2, 2, accepted(ack));
        let progress = node.progress(id(2)).unwrap();
        assert_eq!(progress.match_index(), index(expected));
        assert!(progress.next_index() > progress.match_index());
    }
}

/// B28: nobody can acknowledge what the leader does not have.
#[test]
fn b28_an_acknowledgement_beyond_the_log_is_refused() {
    let mut node = leader(1, 3, &[1]);
    let before = node.clone();
    for beyond in [3, LogIndex::MAX.0, u64::MAX] {
        assert!(node.step(message(2, 1, 2, accepted(beyond))).is_err());
        assert!(
            node.step(message(2, 1, 2, rejected(beyond, (0, 0))))
                .is_err()
        );
        assert!(
            node.step(message(2, 1, 2, heartbeat_response(beyond)))
                .is_err()
        );
        assert_eq!(node, before);
    }
}

/// E55: a peer that is found to have everything already answers a low probe with what raises
/// nothing, and replicates again all the same.
#[test]
fn e55_an_acknowledgement_that_raises_nothing_repairs_next() {
    let mut node = leader(1, 3, &[1, 1]);
    tell(&mut node, 2, 2, accepted(3));
    node.report_unreachable(id(2));
    settle(&mut node);
    let state = |node: &Node| node.progress(id(2)).unwrap().state().clone();
    assert!(matches!(
        state(&node),
        ProgressState::Probe { awaiting: true }
    ));
    tell(&mut node, 2, 2, accepted(3));
    assert!(matches!(state(&node), ProgressState::Replicate { .. }));
    assert_eq!(node.progress(id(2)).unwrap().next_index(), index(4));
}

/// E62: whatever the order in which appends arrive, and however often, the log becomes the
/// leader's, nothing that was acknowledged goes, and every acknowledgement is true.
#[test]
fn e62_reordered_and_repeated_appends() {
    let appends = [
        append((0, 0), &[1], 0),
        append((1, 1), &[1, 2], 1),
        append((2, 3), &[2], 3),
        append((2, 4), &[], 4),
    ];
    for code in 0..4_usize.pow(5) {
        let mut node = follower(1, 3, &[]);
        let (mut acknowledged, mut committed) = (0, LogIndex::ZERO);
        let order = (0..5).map(|digit| code / 4_usize.pow(digit) % 4);
        for which in order.chain([0, 1, 2, 3]) {
            let output = tell(&mut node, 2, 2, appends[which].clone());
            let response = output.messages[0].body.as_response().unwrap();
            if let AppendEntriesResponse::Accepted { match_index, .. } = response {
                acknowledged = acknowledged.max(match_index.0);
            }
            assert!(node.last_log().index.0 >= acknowledged);
            assert!(node.commit_index() >= committed);
            committed = node.commit_index();
        }
        assert_eq!(stored_terms(&node), [1, 1, 2, 2]);
        assert_eq!(node.commit_index(), index(4));
    }
}

/// B33: a heartbeat carries no commit index beyond what its receiver has acknowledged.
#[test]
fn b33_a_heartbeat_tells_only_of_what_was_acknowledged() {
    let mut node = leader(1, 3, &[1, 1, 1]);
    tell(&mut node, 2, 2, accepted(4));
    tell(&mut node, 3, 2, rejected(3, (1, 1)));
    assert_eq!(node.commit_index(), index(4));
    let output = ticks(&mut node, 1);
    let told = |peer: u64| {
        output.to(peer).iter().any(|message| {
            message.body == heartbeat(0) && peer == 3 || message.body == heartbeat(4) && peer == 2
        })
    };
    assert!(told(2) && told(3), "{:?}", output.messages);
}

/// B33: a node that has lost the end of its log does not stop; it says so, and is repaired.
#[test]
fn b33_a_heartbeat_beyond_the_log_is_an_error_with_an_answer() {
    let mut network = Network::of_logs(&[&[], &[], &[]]);
    network.campaign(1);
    network.propose(1, "a");
    network.run();
    // Node 2 comes back with an empty disk, but for its term.
    let mut storage = disk(3, &[]);
    storage.set_hard_state(hard_state(1, Some(1), 0));
    network.nodes.insert(2, open(settings(2), storage));

    network.node(1).tick().unwrap();
    let output = settle(network.node(1));
    let heartbeat = output.to(2)[0].clone();
    let before = network.node(2).clone();
    let error = network.node(2).step(heartbeat).unwrap_err();
    assert!(matches!(error, StepError::CommitBeyondLog { .. }));
    assert_eq!(network.node(2), &before);

    let reply = error.into_reply().expect("the leader has to know");
    assert!(matches!(reply.body, Body::AppendEntriesResponse(_)));
    network.node(1).step(reply).unwrap();
    network.run();
    network.tick(1);
    assert_eq!(stored_terms(network.node(2)), [1, 1]);
    assert_eq!(network.node(2).commit_index(), index(2));
}
