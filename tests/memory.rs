//! What a node keeps in memory when a burst is over.
//!
//! Owns the count of bytes. Holds no rule of the protocol.

#[path = "common/nodes.rs"]
mod nodes;

use nodes::{accepted, disk, elect, open, propose, settings, settle, tell};

/// A burst of proposals, all of them acknowledged and applied, leaves nothing behind but what a
/// node that never saw one has.
#[test]
fn buffers_that_grew_are_given_back() {
    const BURST: u64 = 20_000;
    let settings = settings(1)
        .max_inflight_messages(100_000)
        .max_message_bytes(1);
    let mut node = open(settings, disk(3, &[]));
    elect(&mut node);
    for peer in [2, 3] {
        tell(&mut node, peer, 1, accepted(1));
    }
    let burst = |node: &mut nodes::Node, count: u64| {
        for _ in 0..count {
            propose(node, "x");
        }
        settle(node);
        let last = node.last_log().index;
        for peer in [2, 3] {
            tell(node, peer, 1, accepted(last.0));
        }
        // The embedder's own log is not the node's memory.
        let storage = node.storage_mut();
        storage
            .save_snapshot(nodes::snapshot((1, last.0), 3))
            .unwrap();
        storage.compact(last).unwrap();
    };
    burst(&mut node, 10);
    let info = allocation_counter::measure(|| burst(&mut node, BURST));
    assert!(info.bytes_max > BURST * 100, "there was a burst: {info:?}");
    let kept = info.bytes_current;
    assert!(kept < 40_000, "{kept} bytes are kept: {info:?}");
}

/// What a store has compacted or cut off it lets go, also where it was written in one run with what is
/// left.
#[test]
fn the_rest_of_a_run_does_not_keep_all_of_it() {
    const WRITTEN: u64 = 10_000;
    let entries: Vec<_> = (1..=WRITTEN).map(|index| nodes::entry(1, index)).collect();
    let kept = |rest: &dyn Fn(&mut almadia::MemStorage)| {
        let info = allocation_counter::measure(|| {
            let mut store = disk(3, &[]);
            store.append(&entries).unwrap();
            rest(&mut store);
            std::mem::forget(store);
        });
        info.bytes_current
    };
    let all = kept(&|_| {});
    let compacted = kept(&|store| {
        let snapshot = nodes::snapshot((1, WRITTEN - 1), 3);
        store.save_snapshot(snapshot).unwrap();
        store.compact(almadia::LogIndex(WRITTEN - 1)).unwrap();
    });
    let replaced = kept(&|store| store.append([nodes::entry(2, 2)]).unwrap());
    assert!(all > 50 * compacted, "{compacted} of {all} bytes");
    assert!(all > 50 * replaced, "{replaced} of {all} bytes");
}

/// A log that is cut again and again grows in the room that it had; if it does not grow as far any more,
/// the rest is given back.
#[test]
fn a_store_keeps_the_room_that_its_log_uses_and_no_more() {
    const MANY: u64 = 5_000;
    let mut store = disk(3, &[]);
    let mut last = 0;
    let mut grow_and_cut = |count| {
        allocation_counter::measure(|| {
            for _ in 0..count {
                last += 1;
                store.append([nodes::entry(1, last)]).unwrap();
            }
            store.save_snapshot(nodes::snapshot((1, last), 3)).unwrap();
            store.compact(almadia::LogIndex(last)).unwrap();
        })
    };
    let first = grow_and_cut(MANY);
    let again = grow_and_cut(MANY);
    let less = grow_and_cut(10);
    assert!(again.count_total < first.count_total, "{first:?} {again:?}");
    assert!(again.bytes_current.abs() < 1000, "{again:?}");
    let given_back = -less.bytes_current;
    assert!(given_back > MANY as i64 * 40, "{less:?}");
    let burst = grow_and_cut(20 * MANY);
    assert!(burst.bytes_current < 300_000, "{burst:?}");
}
