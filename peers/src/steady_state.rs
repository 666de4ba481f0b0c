//! A core that knows nothing but the steady state: the floor under almadia's figures.
//!
//! Owns just what no Raft with this API can do without while one leader leads and nothing goes wrong. It is
//! driven as a `RawNode` is, takes almadia's messages and entries, keeps them in almadia's store, and hands
//! out batches of the same parts as a `Ready`, with what may be sent only after the write apart. It compares
//! the terms, looks whether entries follow the log, counts acknowledgements, and shares its entries.
//!
//! What it lacks, beside the rest of Raft: it cannot be elected, lose its place or change its members; it
//! mends nothing, so no message may be late, lost or repeated; it bounds nothing, neither what it sends nor
//! what it keeps; it tells no errors apart; and its own rules are not asserted. So it is no peer, and nobody
//! should want it: what is above it is the price of everything else.

use std::collections::VecDeque;
use std::hint::black_box;

use almadia::{
    AppendEntries, AppendEntriesResponse, Body, Bytes, ConfState, Entries, Entry, HardState,
    Heartbeat, HeartbeatResponse, LogId, LogIndex, MemStorage, Message, NodeId, Payload, Snapshot,
    Storage, Term, Token, quorum,
};

use crate::almadia_side::{Almadia, ids};
use crate::library::{Library, Settings};
use crate::pass_on;

/// The term that lasts for ever.
const TERM: Term = Term(1);

/// The floor.
pub struct SteadyState;

/// What is to be done now, as in almadia's `Ready`.
#[derive(Default)]
struct Batch {
    number: u64,
    messages: Vec<Message>,
    entries: Vec<Entries>,
    hard_state: Option<HardState>,
    messages_after_persist: Vec<Message>,
    committed_entries: Vec<Entries>,
    applies_to: Option<LogIndex>,
    /// The contexts of reads, and what is to be applied before they are answered.
    reads: Vec<(Bytes, LogIndex)>,
}

struct Peer {
    id: NodeId,
    match_index: LogIndex,
    next_index: LogIndex,
    commit_sent: LogIndex,
    round_answered: u64,
}

/// One node. Node 1 leads; the others have no `peers`.
pub struct Node {
    id: NodeId,
    voters: Vec<NodeId>,
    peers: Vec<Peer>,
    last: LogId,
    commit_index: LogIndex,
    commit_handed_out: LogIndex,
    persisted: LogIndex,
    handed_out: LogIndex,
    applying: LogIndex,
    applied: LogIndex,
    /// What was proposed since the last batch.
    proposed: Vec<Entry>,
    /// What is not handed out to be applied.
    tail: VecDeque<Entries>,
    /// The batches that were not acknowledged, and up to where each of them writes the log.
    writes: VecDeque<(u64, LogIndex)>,
    last_number: u64,
    next: Option<Box<Batch>>,
    /// Reads that no round has confirmed, each with the number of its round.
    reads: VecDeque<(u64, Bytes)>,
    last_round: u64,
    /// The rounds that no quorum has answered, each with what was committed when it was sent.
    asked: VecDeque<(u64, LogIndex)>,
    store: MemStorage,
}

impl Node {
    fn leads(&self) -> bool {
        self.id.get() == 1
    }

    fn newest_read(&self) -> u64 {
        self.reads.back().map_or(0, |&(round, _)| round)
    }

    fn is_due(&self) -> bool {
        let has_messages = |batch: &Batch| {
            batch.messages.len() | batch.messages_after_persist.len() | batch.reads.len() > 0
        };
        self.handed_out < self.last.index
            || self.commit_handed_out != self.commit_index
            || self.applying < self.commit_index.min(self.persisted)
            || self.next.as_deref().is_some_and(has_messages)
            || self.last_round < self.newest_read()
    }

    /// A message of this node. Not a method, so that it may be asked for while a peer is held.
    fn message(from: NodeId, to: NodeId, body: Body) -> Message {
        Message {
            to,
            from,
            term: TERM,
            body,
        }
    }

    /// Makes the leader's appends and heartbeats.
    fn replicate(&mut self) {
        let mut run = Entries::default();
        if !self.proposed.is_empty() {
            run = self.proposed.drain(..).collect();
            self.tail.push_back(run.clone());
        }
        let newest = self.newest_read();
        let batch = self.next.get_or_insert_default();
        for peer in &mut self.peers {
            let lacks_entries = peer.next_index <= self.last.index;
            if !lacks_entries && peer.commit_sent >= self.commit_index {
                continue;
            }
            let index = LogIndex(peer.next_index.0 - 1);
            let term = if index == LogIndex(0) { Term(0) } else { TERM };
            let mut entries = Entries::default();
            if lacks_entries {
                entries = run.clone();
                peer.next_index = LogIndex(self.last.index.0 + 1);
            }
            peer.commit_sent = self.commit_index;
            let append = AppendEntries {
                prev_log: LogId { term, index },
                leader_commit: self.commit_index,
                entries,
            };
            let body = Body::AppendEntries(append);
            batch.messages.push(Self::message(self.id, peer.id, body));
        }
        if newest > self.last_round {
            self.last_round = newest;
            self.asked.push_back((newest, self.commit_index));
            for peer in &self.peers {
                let body = Body::Heartbeat(Heartbeat {
                    leader_commit: self.commit_index.min(peer.match_index),
                    token: Token::Number(newest),
                });
                batch.messages.push(Self::message(self.id, peer.id, body));
            }
        }
    }

    fn ready(&mut self) -> Option<Box<Batch>> {
        if !self.is_due() {
            return None;
        }
        if self.leads() {
            self.replicate();
        }
        let mut batch = self.next.take().unwrap_or_default();
        self.last_number += 1;
        batch.number = self.last_number;
        let last_to_apply = self.commit_index.min(self.persisted);
        if self.applying < last_to_apply {
            let is_before =
                |run: &Entries| run.last_id().is_some_and(|it| it.index <= last_to_apply);
            while self.tail.front().is_some_and(is_before) {
                batch.committed_entries.extend(self.tail.pop_front());
            }
            let next = self.tail.front().and_then(Entries::first_id);
            let is_behind = next.is_none_or(|next| next.index > last_to_apply);
            assert!(is_behind, "runs commit as a whole");
            self.applying = last_to_apply;
            batch.applies_to = Some(last_to_apply);
        }
        if self.handed_out < self.last.index {
            let newest = self.tail.back().expect("what is new is in the tail");
            batch.entries.push(newest.clone());
            self.handed_out = self.last.index;
            self.writes.push_back((self.last_number, self.last.index));
        }
        if self.commit_handed_out != self.commit_index {
            self.commit_handed_out = self.commit_index;
            batch.hard_state = Some(HardState {
                current_term: TERM,
                voted_for: None,
                commit_index: self.commit_index,
            });
        }
        Some(batch)
    }

    fn advance(&mut self, mut batch: Box<Batch>) {
        while let Some(&(number, last)) = self.writes.front() {
            if number > batch.number {
                break;
            }
            self.writes.pop_front();
            self.persisted = self.persisted.max(last);
            if self.leads() {
                self.commit();
            }
        }
        if let Some(index) = batch.applies_to.take() {
            self.applied = index;
        }
        batch.hard_state = None;
        batch.entries.clear();
        batch.committed_entries.clear();
        batch.messages.clear();
        batch.messages_after_persist.clear();
        batch.reads.clear();
        self.next = Some(batch);
    }

    fn commit(&mut self) {
        let acknowledged = |voter: NodeId| match self.peers.iter().find(|peer| peer.id == voter) {
            Some(peer) => peer.match_index,
            None => self.persisted,
        };
        let index = quorum::majority_index(&self.voters, acknowledged);
        self.commit_index = self.commit_index.max(index.unwrap_or_default());
    }

    fn commit_to(&mut self, index: LogIndex) {
        self.commit_index = self.commit_index.max(index.min(self.last.index));
    }

    /// Takes a message. `None` if this core has no answer to it.
    fn step(&mut self, message: Message) -> Option<()> {
        let Message {
            to,
            from,
            term,
            body,
        } = message;
        if to != self.id || term != TERM || !self.voters.contains(&from) {
            return None;
        }
        match body {
            Body::AppendEntries(append) => self.on_append_entries(from, append),
            Body::AppendEntriesResponse(AppendEntriesResponse::Accepted {
                match_index, ..
            }) => self.on_accepted(from, match_index),
            Body::Heartbeat(heartbeat) => {
                self.commit_to(heartbeat.leader_commit);
                let body = Body::HeartbeatResponse(HeartbeatResponse {
                    commit_index: self.commit_index,
                    token: heartbeat.token,
                });
                let batch = self.next.get_or_insert_default();
                batch.messages.push(Self::message(self.id, from, body));
                Some(())
            }
            Body::HeartbeatResponse(HeartbeatResponse {
                token: Token::Number(round),
                ..
            }) => self.on_round_answered(from, round),
            Body::AppendEntriesResponse(_)
            | Body::HeartbeatResponse(_)
            | Body::RequestVote(_)
            | Body::RequestVoteResponse(_)
            | Body::PreVote(_)
            | Body::PreVoteResponse(_)
            | Body::InstallSnapshot(_)
            | Body::TimeoutNow
            | Body::Propose(_)
            | Body::ReadIndex(_)
            | Body::ReadIndexResponse(_)
            | Body::TransferLeader { .. } => None,
        }
    }

    fn on_append_entries(&mut self, leader: NodeId, append: AppendEntries) -> Option<()> {
        let AppendEntries {
            prev_log,
            leader_commit,
            entries,
        } = append;
        if prev_log != self.last || !entries.follow(prev_log) {
            return None;
        }
        if let Some(last) = entries.last_id() {
            self.last = last;
            self.tail.push_back(entries);
        }
        self.commit_to(leader_commit);
        let accepted = AppendEntriesResponse::Accepted {
            match_index: self.last.index,
            commit_index: self.commit_index,
        };
        let answer = Self::message(self.id, leader, Body::AppendEntriesResponse(accepted));
        let batch = self.next.get_or_insert_default();
        if self.persisted >= self.last.index {
            batch.messages.push(answer);
        } else {
            batch.messages_after_persist.push(answer);
        }
        Some(())
    }

    fn on_accepted(&mut self, from: NodeId, match_index: LogIndex) -> Option<()> {
        if match_index > self.last.index {
            return None;
        }
        let peer = self.peers.iter_mut().find(|peer| peer.id == from)?;
        if match_index > peer.match_index {
            peer.match_index = match_index;
            if match_index > self.commit_index {
                self.commit();
            }
        }
        Some(())
    }

    fn on_round_answered(&mut self, from: NodeId, round: u64) -> Option<()> {
        let peer = self.peers.iter_mut().find(|peer| peer.id == from)?;
        peer.round_answered = peer.round_answered.max(round);
        while let Some(&(asked, read_index)) = self.asked.front() {
            let answers = self.peers.iter().filter(|it| it.round_answered >= asked);
            if answers.count() + 1 < quorum::majority(self.voters.len()) {
                break;
            }
            self.asked.pop_front();
            while self.reads.front().is_some_and(|&(it, _)| it <= asked) {
                let (_, context) = self.reads.pop_front()?;
                let batch = self.next.get_or_insert_default();
                batch.reads.push((context, read_index));
            }
        }
        Some(())
    }
}

impl Library for SteadyState {
    const NAME: &'static str = "steady state";
    type Node = Node;
    type Store = MemStorage;
    type Entry = Entry;
    type Message = Message;

    fn store(voters: u64) -> MemStorage {
        Almadia::store(voters)
    }

    fn filled(voters: u64, log: &[Entry], at_once: usize) -> MemStorage {
        Almadia::filled(voters, log, at_once)
    }

    fn node(id: u64, settings: &Settings, store: MemStorage) -> Node {
        let voters = ids(settings.voters);
        let id = NodeId::new(id).expect("ids begin at 1");
        let others = voters.iter().filter(|&&it| id.get() == 1 && it != id);
        let peers = others.map(|&id| Peer {
            id,
            match_index: LogIndex(0),
            next_index: LogIndex(1),
            commit_sent: LogIndex(0),
            round_answered: 0,
        });
        Node {
            id,
            peers: peers.collect(),
            voters,
            last: LogId::ZERO,
            commit_index: LogIndex(0),
            commit_handed_out: LogIndex(0),
            persisted: LogIndex(0),
            handed_out: LogIndex(0),
            applying: LogIndex(0),
            applied: LogIndex(0),
            proposed: Vec::new(),
            tail: VecDeque::new(),
            writes: VecDeque::new(),
            last_number: 0,
            next: None,
            reads: VecDeque::new(),
            last_round: 0,
            asked: VecDeque::new(),
            store,
        }
    }

    fn entry(entry: &Entry) -> Entry {
        entry.clone()
    }

    fn message(message: &Message) -> Message {
        message.clone()
    }

    /// Node 1 leads from the start; it opens its term with an entry, as a leader does.
    fn campaign(node: &mut Node) {
        Self::propose(node, Vec::new());
    }

    fn leads(node: &Node) -> bool {
        node.leads()
    }

    fn propose(node: &mut Node, command: Vec<u8>) {
        let index = LogIndex(node.last.index.0 + 1);
        node.last = LogId { term: TERM, index };
        node.proposed.push(Entry {
            id: node.last,
            payload: Payload::Data(command.into()),
            context: Bytes::new(),
        });
    }

    fn read_index(node: &mut Node, context: Vec<u8>) {
        let round = node.newest_read().max(node.last_round) + 1;
        node.reads.push_back((round, context.into()));
    }

    fn step(node: &mut Node, message: Message) {
        node.step(message).expect("nothing goes wrong");
    }

    #[inline]
    fn to(message: &Message) -> u64 {
        message.to.get()
    }

    /// There is no time.
    fn tick(_: &mut Node) {}

    fn has_ready(node: &Node) -> bool {
        node.is_due()
    }

    fn work(node: &mut Node, mail: &mut Vec<Message>) -> usize {
        let mut reads = 0;
        while let Some(mut batch) = node.ready() {
            pass_on(&mut batch.messages, mail);
            for run in &mut batch.entries {
                let appended = node.store.append(std::mem::take(run));
                appended.expect("entries continue the log");
            }
            if let Some(hard_state) = batch.hard_state {
                node.store.set_hard_state(hard_state);
            }
            pass_on(&mut batch.messages_after_persist, mail);
            for entry in batch.committed_entries.iter().flatten() {
                black_box(entry);
            }
            reads += batch.reads.len();
            node.advance(batch);
        }
        reads
    }

    fn term(_: &Node) -> u64 {
        TERM.0
    }

    fn last_index(node: &Node) -> u64 {
        node.last.index.0
    }

    fn committed(node: &Node) -> u64 {
        node.commit_index.0
    }

    fn cut(node: &mut Node, most: u64, kept: u64) {
        let first = node.store.first_index().expect("memory does not fail");
        if node.applied.since(first) < most {
            return;
        }
        let index = LogIndex(node.applied.0 - kept);
        let snapshot = Snapshot {
            last_included: LogId { term: TERM, index },
            conf_state: ConfState::of_voters(node.voters.iter().copied()),
            data: Bytes::new(),
        };
        let saved = node.store.save_snapshot(snapshot);
        saved.expect("applied is in the log");
        node.store.compact(index).expect("the snapshot covers it");
    }
}
