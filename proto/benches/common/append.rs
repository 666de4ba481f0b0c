//! The message that both benches weigh.

use almadia::{AppendEntries, Body, Bytes, Entry, LogId, LogIndex, Message, NodeId, Payload, Term};

/// An append of so many entries, each of so many bytes, far into a log.
pub(crate) fn append(count: u64, payload: usize) -> Message {
    let node = |id| NodeId::new(id).expect("above zero");
    let entries = (1..=count).map(|offset| Entry {
        id: LogId::new(7, 1_000_000 + offset),
        payload: Payload::Data(vec![b'x'; payload].into()),
        context: Bytes::new(),
    });
    Message {
        to: node(2),
        from: node(1),
        term: Term(7),
        body: Body::AppendEntries(AppendEntries {
            prev_log: LogId::new(7, 1_000_000),
            leader_commit: LogIndex(1_000_000),
            entries: entries.collect(),
        }),
    }
}
