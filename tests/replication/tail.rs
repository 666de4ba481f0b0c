//! The recent end of the log in memory: what is kept for whom, and what is read from `Storage`.

use std::cell::RefCell;
use std::sync::Arc;

use almadia::{
    Body, Bytes, ConfigBuilder, Entries, EntriesRequest, Entry, InitialState, LogIndex, MemStorage,
    NodeId, Payload, Purpose, RawNode, Snapshot, Storage, StorageError, Term,
};

use crate::nodes::*;

/// A storage that notes what it was asked for, and may say that it needs time.
#[derive(Default)]
struct Noting {
    stored: MemStorage,
    asked: RefCell<Vec<Purpose>>,
    needs_time: bool,
}

impl Storage for Noting {
    fn initial_state(&self) -> Result<InitialState, StorageError> {
        self.stored.initial_state()
    }

    fn entries(&self, request: &EntriesRequest) -> Result<Entries, StorageError> {
        self.asked.borrow_mut().push(request.purpose);
        if self.needs_time {
            return Err(StorageError::TemporarilyUnavailable);
        }
        self.stored.entries(request)
    }

    fn term(&self, index: LogIndex) -> Result<Term, StorageError> {
        self.stored.term(index)
    }

    fn first_index(&self) -> Result<LogIndex, StorageError> {
        self.stored.first_index()
    }

    fn last_index(&self) -> Result<LogIndex, StorageError> {
        self.stored.last_index()
    }

    fn snapshot(&self, request_index: LogIndex, to: NodeId) -> Result<Snapshot, StorageError> {
        self.stored.snapshot(request_index, to)
    }
}

fn open(settings: ConfigBuilder, stored: MemStorage) -> RawNode<Noting> {
    let storage = Noting {
        stored,
        ..Noting::default()
    };
    RawNode::new(settings.build().unwrap(), storage).unwrap()
}

/// Does what the node asks for; returns the indexes that were applied.
fn settle(node: &mut RawNode<Noting>) -> Vec<u64> {
    let mut applied = Vec::new();
    while let Some(ready) = node.ready().unwrap() {
        let stored = &mut node.storage_mut().stored;
        ready
            .entries
            .iter()
            .for_each(|run| stored.append(run).unwrap());
        if let Some(hard_state) = ready.hard_state {
            stored.set_hard_state(hard_state);
        }
        let entries = ready.committed_entries.iter().flatten();
        applied.extend(entries.map(|entry| entry.index().0));
        node.advance(ready).unwrap();
    }
    applied
}

fn tell(node: &mut RawNode<Noting>, from: u64, term: u64, body: Body) -> Vec<u64> {
    let to = node.id().get();
    node.step(message(from, to, term, body)).unwrap();
    settle(node)
}

/// How often entries were asked for with this purpose since the last call.
fn asked(node: &RawNode<Noting>, purpose: Purpose) -> usize {
    let asked = node.storage().asked.take();
    asked.into_iter().filter(|it| *it == purpose).count()
}

fn bytes_of(after: u64, terms: &[u64]) -> u64 {
    run(after, terms).iter().map(Entry::size_bytes).sum()
}

/// A leader keeps what a peer lacks in memory, as long as there is room: then the storage is not
/// asked. A byte less, and it is.
#[test]
fn what_a_peer_lacks_is_kept_within_the_limit() {
    let one = Entry::OVERHEAD_BYTES + 1;
    for (room, reads) in [(3 * one, 0), (3 * one - 1, 1)] {
        let settings = settings(1).max_inflight_messages(1).max_tail_bytes(room);
        let mut node = open(settings, disk(3, &[]));
        node.campaign().unwrap();
        settle(&mut node);
        tell(&mut node, 2, 1, granted());
        tell(&mut node, 2, 1, accepted(1));
        tell(&mut node, 3, 1, accepted(1));
        // One is on its way to node 2, which has no window for more.
        for _ in 0..4 {
            node.propose("", "x").unwrap();
            settle(&mut node);
            let last = node.last_log().index.0;
            tell(&mut node, 3, 1, accepted(last));
        }
        asked(&node, Purpose::Apply);
        tell(&mut node, 2, 1, accepted(2));
        assert_eq!(asked(&node, Purpose::Send(id(2))), reads, "{room} bytes");
    }
}

/// What waits to be applied stays in memory, and the count of its bytes is right after entries
/// were replaced, and after others were released.
#[test]
fn what_is_to_be_applied_is_kept_within_the_limit() {
    let in_its_place = || append((1, 1), &[2, 2, 2], 0);
    let part_replaced = vec![append((0, 0), &[1, 1, 1], 0), in_its_place()];
    let run_replaced = vec![
        append((0, 0), &[1], 0),
        append((1, 1), &[1, 1], 0),
        in_its_place(),
    ];
    let released = vec![append((0, 0), &[1, 1], 2), append((1, 2), &[2; 4], 0)];
    for bodies in [part_replaced, run_replaced, released] {
        let settings = settings(2).max_tail_bytes(bytes_of(0, &[1, 2, 2, 2]));
        let mut node = open(settings, disk(3, &[]));
        for body in bodies {
            tell(&mut node, 1, 2, body);
        }
        asked(&node, Purpose::Apply);
        let last = node.last_log().index.0;
        let applied = tell(&mut node, 1, 2, append((2, last), &[], last));
        assert_eq!(applied.last(), Some(&last));
        assert_eq!(asked(&node, Purpose::Apply), 0);
    }
    // There is no room for one more.
    let settings = settings(2).max_tail_bytes(bytes_of(0, &[1, 2, 2, 2]) - 1);
    let mut node = open(settings, disk(3, &[]));
    tell(&mut node, 1, 2, append((0, 0), &[1, 2, 2, 2], 0));
    tell(&mut node, 1, 2, append((2, 4), &[], 4));
    assert_eq!(asked(&node, Purpose::Apply), 1);
}

/// Entries that are replaced leave nothing in memory, also where all of the run goes in which they came:
/// what is handed out afterwards has no empty run in it.
#[test]
fn what_is_replaced_leaves_no_empty_run() {
    for (kept, terms, expected) in [(2, &[2, 2][..], &[2, 2][..]), (3, &[2], &[2, 1, 1])] {
        let mut node = follower(2, 3, &[]);
        for body in [append((0, 0), &[1, 1], 0), append((1, 2), &[1, 1], 0)] {
            crate::nodes::tell(&mut node, 1, 1, body);
        }
        crate::nodes::tell(&mut node, 1, 2, append((1, kept), terms, 0));
        node.step(message(1, 2, 2, append((2, 4), &[], 4))).unwrap();
        let runs = take(&mut node).committed_entries;
        let lengths: Vec<usize> = runs.iter().map(|run| run.len()).collect();
        assert_eq!(lengths, expected);
    }
}

/// What is persisted and applied, and needed by nobody, is let go of.
#[test]
fn what_nobody_needs_is_let_go_of() {
    let held: Arc<[u8]> = Arc::from(*b"x");
    let data = Bytes::from_owner(Arc::clone(&held));
    let mut node = follower(2, 3, &[]);
    let appended = Entry {
        payload: Payload::Data(data),
        ..entry(1, 1)
    };
    let body = Body::AppendEntries(almadia::AppendEntries {
        prev_log: almadia::LogId::ZERO,
        leader_commit: index(1),
        entries: vec![appended].into(),
    });
    crate::nodes::tell(&mut node, 1, 1, body);
    assert_eq!(node.last_applied(), index(1));
    let storage = node.storage_mut();
    storage.save_snapshot(snapshot((1, 1), 3)).unwrap();
    storage.compact(index(1)).unwrap();
    assert_eq!(Arc::strong_count(&held), 1);
}

/// Does what the node asks for, and reports nothing of a `Ready` of which nothing can be reported: neither
/// a write nor an application.
fn settle_and_report_what_can_be(node: &mut Node) {
    while let Some(ready) = node.ready().unwrap() {
        let storage = node.storage_mut();
        let mut runs = ready.entries.iter();
        runs.try_for_each(|run| storage.append(run)).unwrap();
        if let Some(hard_state) = ready.hard_state {
            storage.set_hard_state(hard_state);
        }
        if ready.must_sync {
            node.persisted(ready.number).unwrap();
        }
        if let Some(index) = ready.applies_to() {
            node.applied(index).unwrap();
        }
    }
}

/// A peer is the last one who needs what is in memory, and is sent it in a `Ready` of which nothing is to be
/// reported.
#[test]
fn what_was_sent_last_is_let_go_of_without_a_report() {
    let held: Arc<[u8]> = Arc::from(*b"x");
    let settings = settings(1).max_inflight_messages(1);
    let mut node = crate::nodes::open(settings, disk(3, &[]));
    let tell = |node: &mut Node, from, body| {
        node.step(message(from, 1, 1, body)).unwrap();
        settle_and_report_what_can_be(node);
    };
    node.campaign().unwrap();
    settle_and_report_what_can_be(&mut node);
    tell(&mut node, 2, granted());
    tell(&mut node, 2, accepted(1));
    for last in 2..=5 {
        tell(&mut node, 3, accepted(last - 1));
        node.propose("", Bytes::from_owner(Arc::clone(&held)))
            .unwrap();
        settle_and_report_what_can_be(&mut node);
    }
    tell(&mut node, 3, accepted(5));
    assert_eq!(node.last_applied(), index(5));
    for last in 2..5 {
        tell(&mut node, 2, accepted(last));
    }
    let storage = node.storage_mut();
    storage.save_snapshot(snapshot((1, 5), 3)).unwrap();
    storage.compact(index(5)).unwrap();
    assert_eq!(Arc::strong_count(&held), 1);
}

/// Entries to be applied that the storage has yet to find are asked for with every tick, and a host
/// that lets its nodes sleep is told so.
#[test]
fn a_storage_that_needs_time_is_asked_with_every_tick() {
    let mut stored = disk(3, &[1, 1]);
    stored.set_hard_state(hard_state(1, None, 2));
    let mut node = open(settings(2), stored);
    node.storage_mut().needs_time = true;
    assert!(settle(&mut node).is_empty());
    assert!(!node.has_ready());
    assert_eq!(asked(&node, Purpose::Apply), 1);
    assert_eq!(node.ticks_until_action(), 1);
    node.tick_many(1).unwrap();
    assert!(settle(&mut node).is_empty());
    assert_eq!(asked(&node, Purpose::Apply), 1);
    node.storage_mut().needs_time = false;
    node.on_entries_fetched(Purpose::Apply);
    assert_eq!(settle(&mut node), [1, 2]);
    assert!(node.ticks_until_action() > 1);
}
