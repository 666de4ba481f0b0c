//! raft-rs 0.7: how its nodes are made, fed and asked.
//!
//! Owns the loop of an embedder around one node, as raft-rs documents it.

use std::hint::black_box;

use almadia_proto::Encode;
use raft::eraftpb::{ConfState, Entry, Message};
use raft::storage::MemStorage;
use raft::{Config, RawNode, StateRole, Storage};

use crate::library::{Library, Settings};
use crate::{MAX_MESSAGE_BYTES, pass_on};

/// One node.
pub type Node = RawNode<MemStorage>;

/// raft-rs.
pub struct RaftRs;

/// Reads what almadia has written: both have one format.
///
/// # Panics
///
/// If raft-rs does not read it.
#[must_use]
pub fn of_raft_rs<M: protobuf::Message>(ours: &impl Encode) -> M {
    let mut read = M::new();
    let result = read.merge_from_bytes(&ours.encode());
    result.expect("both have one format");
    read
}

// What is no more than a call may be inlined where it is timed.
impl Library for RaftRs {
    const NAME: &'static str = "raft-rs";
    type Node = Node;
    type Store = MemStorage;
    type Entry = Entry;
    type Message = Message;

    fn store(voters: u64) -> MemStorage {
        let voters: Vec<u64> = (1..=voters).collect();
        MemStorage::new_with_conf_state(ConfState::from((voters, vec![])))
    }

    fn filled(voters: u64, log: &[Entry], at_once: usize) -> MemStorage {
        let store = Self::store(voters);
        let mut core = store.wl();
        for batch in log.chunks(at_once) {
            core.append(batch).expect("the entries are a log");
        }
        if let Some(last) = log.last() {
            core.mut_hard_state().term = last.term;
            core.mut_hard_state().commit = last.index;
        }
        drop(core);
        store
    }

    fn node(id: u64, settings: &Settings, store: MemStorage) -> Node {
        let config = Config {
            id,
            applied: store.rl().hard_state().commit,
            election_tick: settings.election as usize,
            heartbeat_tick: settings.heartbeat as usize,
            max_size_per_msg: MAX_MESSAGE_BYTES,
            max_inflight_msgs: settings.max_inflight,
            check_quorum: true,
            pre_vote: true,
            batch_append: settings.batch_append,
            ..Config::default()
        };
        let node = Node::new(&config, store, crate::silent());
        node.expect("the log is a good start")
    }

    fn entry(entry: &almadia::Entry) -> Entry {
        of_raft_rs(entry)
    }

    fn message(message: &almadia::Message) -> Message {
        of_raft_rs(message)
    }

    fn campaign(node: &mut Node) {
        node.campaign().expect("a voter may campaign");
    }

    fn leads(node: &Node) -> bool {
        node.raft.state == StateRole::Leader
    }

    fn propose(node: &mut Node, command: Vec<u8>) {
        node.propose(vec![], command).expect("it leads");
    }

    fn read_index(node: &mut Node, context: Vec<u8>) {
        node.read_index(context);
    }

    fn step(node: &mut Node, message: Message) {
        node.step(message).expect("peers are correct");
    }

    #[inline]
    fn to(message: &Message) -> u64 {
        message.to
    }

    #[inline]
    fn tick(node: &mut Node) {
        node.tick();
    }

    #[inline]
    fn has_ready(node: &Node) -> bool {
        node.has_ready()
    }

    fn work(node: &mut Node, mail: &mut Vec<Message>) -> usize {
        let mut reads = 0;
        while node.has_ready() {
            let mut ready = node.ready();
            pass_on(&mut ready.take_messages(), mail);
            reads += ready.read_states().len();
            for entry in ready.take_committed_entries() {
                black_box(entry);
            }
            if !ready.entries().is_empty() {
                let appended = node.store().wl().append(ready.entries());
                appended.expect("entries continue the log");
            }
            if let Some(hard_state) = ready.hs() {
                node.store().wl().set_hardstate(hard_state.clone());
            }
            pass_on(&mut ready.take_persisted_messages(), mail);
            let mut light = node.advance(ready);
            if let Some(commit) = light.commit_index() {
                node.store().wl().mut_hard_state().set_commit(commit);
            }
            pass_on(&mut light.take_messages(), mail);
            for entry in light.take_committed_entries() {
                black_box(entry);
            }
            node.advance_apply();
        }
        reads
    }

    fn term(node: &Node) -> u64 {
        node.raft.term
    }

    fn last_index(node: &Node) -> u64 {
        node.raft.raft_log.last_index()
    }

    fn committed(node: &Node) -> u64 {
        node.raft.raft_log.committed
    }

    fn cut(node: &mut Node, most: u64, kept: u64) {
        let applied = node.raft.raft_log.applied;
        let store = node.raft.raft_log.store.clone();
        let first = store.first_index().expect("memory does not fail");
        if applied.saturating_sub(first) >= most {
            let cut = store.wl().compact(applied - kept);
            cut.expect("applied is in the log");
        }
    }
}
