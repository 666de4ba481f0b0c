//! Limits: of what is not committed, of what is handed out to be applied, of what is on its way.

use almadia::{
    Body, Config, ConfigBuilder, Entry, LogId, MemberChange, MembershipChange, ProposeError,
    StartError, Transition, Window,
};

use crate::nodes::*;

const FULL: Result<LogId, ProposeError> = Err(ProposeError::TooManyUncommitted);

/// A proposal that counts for this many bytes.
fn of_bytes(node: &mut Node, bytes: u64) -> Result<LogId, ProposeError> {
    let data = vec![b'x'; usize::try_from(bytes - Entry::OVERHEAD_BYTES).unwrap()];
    node.propose("", data)
}

fn limited(bytes: u64) -> Node {
    let mut node = open(settings(1).max_uncommitted_bytes(bytes), disk(3, &[]));
    elect(&mut node);
    tell(&mut node, 2, 1, accepted(1));
    node
}

/// E64: after a commit there is room for exactly as much as before.
#[test]
fn e64_the_uncommitted_bytes_are_counted_exactly() {
    let mut node = limited(100);
    for round in 0..3 {
        of_bytes(&mut node, 60).unwrap();
        assert_eq!(of_bytes(&mut node, 41), FULL, "round {round}");
        of_bytes(&mut node, 40).unwrap();
        assert_eq!(of_bytes(&mut node, 24), FULL);
        settle(&mut node);
        let last = node.last_log().index.0;
        tell(&mut node, 2, 1, accepted(last));
    }
    of_bytes(&mut node, 1_000).expect("one alone always fits");
    assert_eq!(of_bytes(&mut node, 24), FULL);
}

/// E64: what is committed makes room, and nothing else.
#[test]
fn e64_a_commit_of_a_part_makes_room_for_just_that() {
    let mut node = limited(100);
    for bytes in [30, 40, 30] {
        of_bytes(&mut node, bytes).unwrap();
    }
    settle(&mut node);
    tell(&mut node, 2, 1, accepted(3));
    assert_eq!(of_bytes(&mut node, 71), FULL);
    of_bytes(&mut node, 70).unwrap();
}

/// E64, E36: neither the entries of the node itself nor membership changes leak from the count.
#[test]
fn e64_changes_and_own_entries_do_not_leak() {
    let mut node = limited(100);
    let change = MembershipChange {
        transition: Transition::Implicit,
        ..MembershipChange::of([MemberChange::AddLearner(id(4))])
    };
    node.propose_conf_change("", change).unwrap();
    settle(&mut node);
    for _ in 0..3 {
        let last = node.last_log().index.0;
        tell(&mut node, 2, 1, accepted(last));
        tell(&mut node, 3, 1, accepted(last));
    }
    assert!(!node.membership().is_joint());
    of_bytes(&mut node, 60).unwrap();
    of_bytes(&mut node, 40).unwrap();
    assert_eq!(of_bytes(&mut node, 24), FULL);
}

/// E65: a leader counts what earlier terms have left in its log, so leaders that come and go do
/// not pile up more than the limit.
#[test]
fn e65_the_uncommitted_bytes_of_earlier_terms_count() {
    for compacted in [false, true] {
        let mut node = limited(100);
        of_bytes(&mut node, 90).unwrap();
        settle(&mut node);
        if compacted {
            let settings = settings(1)
                .max_uncommitted_bytes(100)
                .applied(applied(&node));
            node = open(settings, node.into_storage());
        } else {
            tell(&mut node, 3, 5, heartbeat(0));
        }
        elect(&mut node);
        // What was left in the log, and the entry that opened this term does not count.
        assert_eq!(of_bytes(&mut node, 24), FULL);
        let last = node.last_log().index.0;
        let term = node.current_term().0;
        settle(&mut node);
        tell(&mut node, 2, term, accepted(last));
        of_bytes(&mut node, 100).unwrap();
    }
}

// --- What is handed out to be applied ---

fn pages(bytes: u64) -> ConfigBuilder {
    settings(2).max_committed_bytes_per_ready(bytes)
}

/// E68: after a restart a long log is applied page by page, without a gap or a repetition.
#[test]
fn e68_a_restart_with_a_large_backlog_is_paged() {
    let mut storage = disk(3, &[1; 50]);
    storage.set_hard_state(hard_state(1, None, 50));
    let bytes = entry(1, 1).size_bytes();
    let mut node = open(pages(bytes * 8), storage);
    let mut applied = Vec::new();
    let mut readies = 0;
    while let Some(ready) = node.ready().unwrap() {
        let now: Vec<u64> = ready
            .committed_entries
            .iter()
            .flatten()
            .map(|it| it.index().0)
            .collect();
        assert!(now.len() <= 8 + 1, "{} entries at once", now.len());
        applied.extend(now);
        readies += 1;
        node.advance(ready).unwrap();
    }
    assert_eq!(applied, (1..=50).collect::<Vec<u64>>());
    assert!(readies >= 6);
}

/// E68: what was handed out and not reported as applied counts too.
#[test]
fn e68_the_limit_is_on_all_that_is_outstanding() {
    let mut storage = disk(3, &[1; 50]);
    storage.set_hard_state(hard_state(1, None, 50));
    let bytes = entry(1, 1).size_bytes();
    let mut node = open(pages(bytes * 8), storage);
    let first = take(&mut node);
    let last = first.applies_to().unwrap();
    assert!(!node.has_ready(), "nothing more before that is applied");
    assert!(node.ready().unwrap().is_none());
    node.persisted(first.number).unwrap();
    assert!(node.ready().unwrap().is_none());
    node.applied(index(1)).unwrap();
    assert!(
        node.ready().unwrap().is_none(),
        "the batch counts as a whole"
    );
    node.applied(last).unwrap();
    let second = take(&mut node);
    assert!(second.applies_to().unwrap() > last);
}

/// E68: as soon as a part of what is outstanding is applied, there is room for as much again.
#[test]
fn e68_what_is_applied_makes_room() {
    let mut storage = disk(3, &[1; 50]);
    storage.set_hard_state(hard_state(1, None, 50));
    let bytes = entry(1, 1).size_bytes();
    let mut node = open(pages(bytes * 3 / 2), storage);
    let batches: Vec<_> = (0..2).map(|_| take(&mut node).applies_to()).collect();
    assert_eq!(batches, [Some(index(1)), Some(index(2))]);
    for applied in 1..20 {
        assert!(node.ready().unwrap().is_none());
        node.applied(index(applied)).unwrap();
        assert_eq!(take(&mut node).applies_to(), Some(index(applied + 2)));
    }
}

/// E68: an entry that is larger than the limit is handed out alone.
#[test]
fn e68_an_entry_over_the_limit_is_handed_out() {
    let mut storage = disk(3, &[1; 3]);
    storage.set_hard_state(hard_state(1, None, 3));
    let mut node = open(pages(1), storage);
    for expected in 1..=3 {
        let ready = take(&mut node);
        assert_eq!(ready.applies_to(), Some(index(expected)));
        node.advance(ready).unwrap();
    }
    assert!(node.ready().unwrap().is_none());
}

// --- What is applied before it is persisted ---

fn eager(number: u64, entries: u64) -> ConfigBuilder {
    settings(number).max_apply_unpersisted_entries(entries)
}

/// B43: with leave to, a node applies what a quorum has on disk and it has not, up to the limit.
#[test]
fn b43_entries_may_be_applied_before_they_are_persisted() {
    for (limit, applied) in [(0, None), (1, Some(1)), (2, Some(2)), (u64::MAX, Some(3))] {
        let mut node = open(eager(2, limit), disk(3, &[]));
        node.step(message(1, 2, 1, append((0, 0), &[1, 1, 1], 3)))
            .unwrap();
        let first = take(&mut node);
        let applies_to = first.applies_to().or_else(|| {
            let second = node.ready().unwrap()?;
            second.applies_to()
        });
        assert_eq!(applies_to, applied.map(index), "limit {limit}");
    }
}

/// What is persisted here and what is not count together for what is handed out at once (E68).
#[test]
fn b43_entries_persisted_or_not_share_one_limit() {
    let bytes = entry(1, 1).size_bytes();
    let settings = eager(2, 10).max_committed_bytes_per_ready(bytes * 2);
    let mut node = open(settings, disk(3, &[]));
    tell(&mut node, 1, 1, append((0, 0), &[1], 0));
    for (last, commit) in [(1, 1), (2, 3)] {
        let append = append((1, last), &[1], commit);
        node.step(message(1, 2, 1, append)).unwrap();
    }
    let ready = take(&mut node);
    assert_eq!(ready.committed_entries.len(), 2, "each in a run of its own");
    assert_eq!(ready.applies_to(), Some(index(2)));
    node.advance(ready).unwrap();
    assert_eq!(take(&mut node).applies_to(), Some(index(3)));
}

/// The same on a leader whose own disk is the slow one, and through a re-election.
#[test]
fn b43_a_leader_applies_what_the_others_have() {
    let mut node = open(eager(1, 10), disk(3, &[]));
    elect(&mut node);
    propose(&mut node, "x");
    let slow = take(&mut node);
    node.step(message(2, 1, 1, accepted(2))).unwrap();
    node.step(message(3, 1, 1, accepted(2))).unwrap();
    assert_eq!(node.commit_index(), index(2));
    let ready = take(&mut node);
    assert_eq!(ready.applies_to(), Some(index(2)));
    node.applied(index(2)).unwrap();
    node.step(message(3, 1, 5, heartbeat(0))).unwrap();
    node.campaign().unwrap();
    write(&mut node, &slow);
    node.persisted(ready.number).unwrap();
    settle(&mut node);
    assert_eq!(node.last_applied(), index(2));
}

/// E12: after a crash the state machine may be ahead of the log. Nothing is applied twice, and
/// what the log holds there, which may be another entry, does not count as committed.
#[test]
fn e12_a_state_machine_ahead_of_its_log_starts_only_with_leave_to() {
    let storage = || disk(3, &[1, 1]);
    let applied = LogId::new(2, 5);
    let refused = almadia::RawNode::new(settings(2).applied(applied).build().unwrap(), storage());
    assert!(matches!(refused, Err(StartError::AppliedBeyondLog { .. })));
    let mut node = open(eager(2, 10).applied(applied), storage());
    assert_eq!(node.commit_index(), index(0));
    assert_eq!(node.last_applied(), index(5));
    tell(&mut node, 1, 2, append((0, 0), &[2, 2, 2, 2, 2], 5));
    assert_eq!(stored_terms(&node), [2; 5]);
    let output = tell(&mut node, 1, 2, append((2, 5), &[2], 6));
    assert_eq!(output.applied_ids(), [LogId::new(2, 6)]);
}

/// E12: a snapshot takes a state machine back that is ahead of it. It stands there only once the snapshot is
/// restored, and what follows is applied again.
#[test]
fn e12_a_snapshot_takes_a_state_machine_back_that_is_ahead_of_it() {
    let settings = eager(2, 10).applied(LogId::new(2, 5));
    let mut node = open(settings, disk(3, &[1, 1]));
    let install = Body::InstallSnapshot(snapshot((2, 3), 3).into());
    node.step(message(1, 2, 2, install)).unwrap();
    let ready = take(&mut node);
    assert!(node.last_applied() < index(3));
    write(&mut node, &ready);
    node.advance(ready).unwrap();
    assert_eq!(node.last_applied(), index(3));
    let output = tell(&mut node, 1, 2, append((2, 3), &[2, 2], 5));
    assert_eq!(output.applied_ids(), [LogId::new(2, 4), LogId::new(2, 5)]);
}

// --- What is on its way ---

#[test]
fn the_window_of_a_peer_can_be_changed_at_any_time() {
    let mut node = open(settings(1).max_inflight_messages(2), disk(3, &[]));
    assert!(!node.set_window(id(2), None), "no leader has no peers");
    elect(&mut node);
    tell(&mut node, 2, 1, accepted(1));
    let sent_after = |node: &mut Node| {
        propose(node, "x");
        settle(node).appends_to(2).len()
    };
    assert_eq!(
        [
            sent_after(&mut node),
            sent_after(&mut node),
            sent_after(&mut node)
        ],
        [1, 1, 0]
    );
    let window = Window {
        messages: 4,
        bytes: 1 << 20,
    };
    assert!(node.set_window(id(2), Some(window)));
    assert!(!node.set_window(id(9), Some(window)));
    assert_eq!(node.progress(id(2)).unwrap().window(node.config()), window);
    assert_eq!(
        settle(&mut node).appends_to(2).len(),
        1,
        "what waited leaves"
    );
    assert_eq!([sent_after(&mut node), sent_after(&mut node)], [1, 0]);
    // A smaller one holds everything back until there is room again.
    let window = Window {
        messages: 1,
        bytes: 0,
    };
    assert!(node.set_window(id(2), Some(window)));
    assert_eq!(sent_after(&mut node), 0);
    let output = tell(&mut node, 2, 1, accepted(6));
    assert_eq!(
        output
            .appends_to(2)
            .iter()
            .filter(|it| !it.entries.is_empty())
            .count(),
        1
    );
    assert!(node.set_window(id(2), None));
    let default = node.progress(id(2)).unwrap().window(node.config());
    assert_eq!(default.messages, 2);
}

/// Without the broadcast a new commit index waits for the next entries or heartbeat.
#[test]
fn skip_commit_broadcast_sends_no_empty_appends() {
    let mut node = open(settings(1).skip_commit_broadcast(true), disk(3, &[]));
    elect(&mut node);
    tell(&mut node, 3, 1, accepted(1));
    let output = tell(&mut node, 2, 1, accepted(1));
    assert_eq!(node.commit_index(), index(1));
    assert!(output.messages.is_empty());
    let output = ticks(&mut node, 1);
    let commit = output.to(2).iter().find_map(|message| {
        if let Body::Heartbeat(heartbeat) = &message.body {
            Some(heartbeat.leader_commit)
        } else {
            None
        }
    });
    assert_eq!(commit, Some(index(1)));
    node.set_skip_commit_broadcast(false);
    assert!(!settle(&mut node).appends_to(2).is_empty());
}

/// The leader knows what each peer has committed, so that a host may send an idle group to sleep.
#[test]
fn a_group_is_quiescent_when_everybody_has_everything() {
    let settings = |number| Config::builder(id(number)).incarnation(0);
    let mut network = Network::new((1..=3).map(|number| open(settings(number), disk(3, &[]))));
    let rests = |network: &Network| network.nodes.values().all(|node| node.is_quiescent());
    assert!(!rests(&network), "nobody leads");
    network.campaign(1);
    assert!(rests(&network));
    network.propose(1, "x");
    assert!(!rests(&network));
    network.cut_off.insert(3);
    network.run();
    assert!(!rests(&network));
    network.cut_off.clear();
    network.tick(1);
    network.tick(1);
    assert!(rests(&network));
    let last = network.node(1).last_log().index;
    assert_eq!(
        network.node(1).progress(id(3)).unwrap().commit_index(),
        last
    );
    network.node(1).read_index("x").unwrap();
    assert!(!rests(&network), "a read waits");
    network.run();
    assert!(rests(&network));
    network.node(2).read_index("x").unwrap();
    let asks = take(network.node(2)).messages;
    for message in asks {
        network.node(1).step(message).unwrap();
    }
    assert!(!network.nodes[&1].is_quiescent(), "a peer's read waits");
    settle(network.node(1));
    assert!(!network.nodes[&1].is_quiescent(), "the peers are asked");
}
