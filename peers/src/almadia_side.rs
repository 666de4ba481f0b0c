//! almadia: how its nodes are made, fed and asked.
//!
//! Owns the loop of an embedder around one node.

use std::hint::black_box;

use almadia::{
    ConfState, Config, Entry, HardState, LogId, LogIndex, MemStorage, Message, NodeId, RawNode,
    RoleKind, Snapshot, Storage,
};

use crate::library::{Library, Settings};
use crate::{MAX_MESSAGE_BYTES, pass_on};

/// One node.
pub type Node = RawNode<MemStorage>;

/// almadia.
pub struct Almadia;

/// The ids from 1.
#[must_use]
pub fn ids(size: u64) -> Vec<NodeId> {
    (1..=size).filter_map(NodeId::new).collect()
}

// What is no more than a call may be inlined where it is timed.
impl Library for Almadia {
    const NAME: &'static str = "almadia";
    type Node = Node;
    type Store = MemStorage;
    type Entry = Entry;
    type Message = Message;

    fn store(voters: u64) -> MemStorage {
        MemStorage::with_voters(ids(voters).iter().copied())
    }

    fn filled(voters: u64, log: &[Entry], at_once: usize) -> MemStorage {
        let mut store = Self::store(voters);
        for batch in log.chunks(at_once) {
            store.append(batch).expect("the entries are a log");
        }
        let last = log.last().map_or(LogId::ZERO, |last| last.id);
        store.set_hard_state(HardState {
            current_term: last.term,
            voted_for: None,
            commit_index: last.index,
        });
        store
    }

    fn node(id: u64, settings: &Settings, store: MemStorage) -> Node {
        let index = store.hard_state().commit_index;
        let term = store.term(index).expect("what is committed is there");
        let config = Config::builder(NodeId::new(id).expect("ids begin at 1"))
            .applied(LogId { term, index })
            .max_message_bytes(MAX_MESSAGE_BYTES)
            .max_inflight_messages(settings.max_inflight)
            .heartbeat_interval_ticks(settings.heartbeat)
            .election_timeout_ticks(settings.election)
            .max_election_timeout_ticks(2 * settings.election)
            .build();
        let config = config.expect("the values go together");
        Node::new(config, store).expect("the log is a good start")
    }

    fn entry(entry: &Entry) -> Entry {
        entry.clone()
    }

    fn message(message: &Message) -> Message {
        message.clone()
    }

    fn campaign(node: &mut Node) {
        node.campaign().expect("a voter may campaign");
    }

    fn leads(node: &Node) -> bool {
        node.role() == RoleKind::Leader
    }

    fn propose(node: &mut Node, command: Vec<u8>) {
        node.propose("", command).expect("it leads");
    }

    fn read_index(node: &mut Node, context: Vec<u8>) {
        node.read_index(context).expect("it leads");
    }

    fn step(node: &mut Node, message: Message) {
        node.step(message).expect("peers are correct");
    }

    #[inline]
    fn to(message: &Message) -> u64 {
        message.to.get()
    }

    #[inline]
    fn tick(node: &mut Node) {
        node.tick().expect("memory does not fail");
    }

    #[inline]
    fn has_ready(node: &Node) -> bool {
        node.has_ready()
    }

    fn work(node: &mut Node, mail: &mut Vec<Message>) -> usize {
        let mut reads = 0;
        while let Some(mut ready) = node.ready().expect("memory does not fail") {
            pass_on(&mut ready.messages, mail);
            // They are moved, so that the store shares them with the node alone.
            for run in &mut ready.entries {
                let appended = node.storage_mut().append(std::mem::take(run));
                appended.expect("entries continue the log");
            }
            if let Some(hard_state) = ready.hard_state {
                node.storage_mut().set_hard_state(hard_state);
            }
            pass_on(&mut ready.messages_after_persist, mail);
            for entry in ready.committed_entries.iter().flatten() {
                black_box(entry);
            }
            reads += ready.read_states.len();
            node.advance(ready).expect("the ready is this node's");
        }
        reads
    }

    fn term(node: &Node) -> u64 {
        node.current_term().0
    }

    fn last_index(node: &Node) -> u64 {
        node.last_log().index.0
    }

    fn committed(node: &Node) -> u64 {
        node.commit_index().0
    }

    fn cut(node: &mut Node, most: u64, kept: u64) {
        let applied = node.last_applied();
        let first = node.storage().first_index().expect("memory does not fail");
        if applied.since(first) < most {
            return;
        }
        let index = LogIndex(applied.0 - kept);
        let term = node.storage().term(index).expect("applied is in the log");
        let snapshot = Snapshot {
            last_included: LogId { term, index },
            conf_state: ConfState::of_voters(node.membership().voters()),
            data: almadia::Bytes::new(),
        };
        let store = node.storage_mut();
        let saved = store.save_snapshot(snapshot);
        saved.expect("applied is in the log");
        store.compact(index).expect("the snapshot covers it");
    }
}
