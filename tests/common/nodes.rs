//! Nodes, messages and a small network for the protocol tests.
//!
//! Owns the ways in which a test makes a node, speaks to it and does what it asks for. Holds no
//! rule of the protocol: what must come of it stands in the tests.
#![allow(
    dead_code,
    reason = "every test file includes this one and uses a part of it"
)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use almadia::{
    AppendEntries, AppendEntriesResponse, Body, Config, ConfigBuilder, Entries, Entry, HardState,
    Heartbeat, HeartbeatResponse, LogId, LogIndex, MemStorage, Message, NodeId, Payload, RawNode,
    Ready, RequestVote, RoleKind, Snapshot, StepError, Storage, Term, VoteResponse,
};
use almadia::{Bytes, ConfState};

pub(crate) type Node = RawNode<MemStorage>;

pub(crate) fn id(number: u64) -> NodeId {
    NodeId::new(number).unwrap()
}

pub(crate) fn index(number: u64) -> LogIndex {
    LogIndex(number)
}

/// The bare protocol of the paper: no pre-vote, no quorum check.
pub(crate) fn settings(number: u64) -> ConfigBuilder {
    Config::builder(id(number))
        .pre_vote(false)
        .check_quorum(false)
        .incarnation(0)
}

/// A disk of the cluster of nodes 1 to `voters`, whose log has entries of these terms.
pub(crate) fn disk(voters: u64, terms: &[u64]) -> MemStorage {
    let mut storage = MemStorage::with_voters((1..=voters).map(id));
    storage.append(run(0, terms)).unwrap();
    storage.set_hard_state(hard_state(terms.last().copied().unwrap_or(0), None, 0));
    storage
}

pub(crate) fn hard_state(term: u64, vote: Option<u64>, commit: u64) -> HardState {
    HardState {
        current_term: Term(term),
        voted_for: vote.map(id),
        commit_index: index(commit),
    }
}

pub(crate) fn open(settings: ConfigBuilder, storage: MemStorage) -> Node {
    RawNode::new(settings.build().unwrap(), storage).unwrap()
}

/// A follower without a leader, in the term of its last entry.
pub(crate) fn follower(number: u64, voters: u64, terms: &[u64]) -> Node {
    open(settings(number), disk(voters, terms))
}

/// A leader that has won every vote and has everything it did so far on its disk.
pub(crate) fn leader(number: u64, voters: u64, terms: &[u64]) -> Node {
    let mut node = follower(number, voters, terms);
    elect(&mut node);
    node
}

pub(crate) fn entry(term: u64, index: u64) -> Entry {
    Entry {
        id: LogId::new(term, index),
        payload: Payload::Data(Bytes::from(format!("{term}/{index}"))),
        context: Bytes::new(),
    }
}

/// Entries of these terms, the first of them behind index `after`.
pub(crate) fn run(after: u64, terms: &[u64]) -> Entries {
    let entries = terms.iter().zip(1..);
    entries
        .map(|(&term, offset)| entry(term, after.saturating_add(offset)))
        .collect()
}

pub(crate) fn message(from: u64, to: u64, term: u64, body: Body) -> Message {
    Message {
        to: id(to),
        from: id(from),
        term: Term(term),
        body,
    }
}

pub(crate) fn append(prev: (u64, u64), terms: &[u64], commit: u64) -> Body {
    Body::AppendEntries(AppendEntries {
        prev_log: LogId::new(prev.0, prev.1),
        leader_commit: index(commit),
        entries: run(prev.1, terms),
    })
}

pub(crate) fn heartbeat(commit: u64) -> Body {
    Body::Heartbeat(Heartbeat {
        leader_commit: index(commit),
        token: almadia::Token::None,
    })
}

pub(crate) fn heartbeat_response(commit: u64) -> Body {
    Body::HeartbeatResponse(HeartbeatResponse {
        commit_index: index(commit),
        token: almadia::Token::None,
    })
}

pub(crate) fn accepted(match_index: u64) -> Body {
    Body::AppendEntriesResponse(AppendEntriesResponse::Accepted {
        match_index: index(match_index),
        commit_index: LogIndex::ZERO,
    })
}

pub(crate) fn rejected(prev: u64, hint: (u64, u64)) -> Body {
    Body::AppendEntriesResponse(AppendEntriesResponse::Rejected {
        prev_index: index(prev),
        hint: LogId::new(hint.0, hint.1),
        commit_index: LogIndex::ZERO,
    })
}

pub(crate) fn candidacy(last: (u64, u64)) -> RequestVote {
    RequestVote {
        last_log: LogId::new(last.0, last.1),
        commit: LogId::ZERO,
        priority: 0,
        leadership_transfer: false,
    }
}

pub(crate) fn request_vote(last: (u64, u64)) -> Body {
    Body::RequestVote(candidacy(last))
}

pub(crate) fn pre_vote(last: (u64, u64)) -> Body {
    Body::PreVote(candidacy(last))
}

pub(crate) fn granted() -> Body {
    Body::RequestVoteResponse(VoteResponse::Granted)
}

pub(crate) fn refused() -> Body {
    Body::RequestVoteResponse(VoteResponse::Refused {
        commit: LogId::ZERO,
    })
}

pub(crate) fn snapshot(last: (u64, u64), voters: u64) -> Snapshot {
    Snapshot {
        last_included: LogId::new(last.0, last.1),
        conf_state: ConfState::of_voters((1..=voters).map(id)),
        data: Bytes::from(format!("state at {}", last.1)),
    }
}

/// What a node has asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Output {
    pub(crate) messages: Vec<Message>,
    pub(crate) applied: Vec<Entry>,
}

impl Output {
    pub(crate) fn to(&self, peer: u64) -> Vec<&Message> {
        let to_peer = self
            .messages
            .iter()
            .filter(|message| message.to == id(peer));
        to_peer.collect()
    }

    pub(crate) fn appends_to(&self, peer: u64) -> Vec<AppendEntries> {
        appends_to(&self.messages, peer)
    }

    pub(crate) fn snapshots_to(&self, peer: u64) -> Vec<Snapshot> {
        let to_peer = self
            .messages
            .iter()
            .filter(|message| message.to == id(peer));
        to_peer
            .filter_map(|message| match_body(message, Body::as_snapshot))
            .collect()
    }

    pub(crate) fn applied_ids(&self) -> Vec<LogId> {
        self.applied.iter().map(|entry| entry.id).collect()
    }
}

fn match_body<T>(message: &Message, part: fn(&Body) -> Option<T>) -> Option<T> {
    part(&message.body)
}

/// The parts of a body that tests look at.
pub(crate) trait Parts {
    fn as_append(&self) -> Option<AppendEntries>;
    fn as_snapshot(&self) -> Option<Snapshot>;
    fn as_response(&self) -> Option<AppendEntriesResponse>;
}

impl Parts for Body {
    fn as_append(&self) -> Option<AppendEntries> {
        if let Self::AppendEntries(append) = self {
            Some(append.clone())
        } else {
            None
        }
    }

    fn as_snapshot(&self) -> Option<Snapshot> {
        if let Self::InstallSnapshot(snapshot) = self {
            Some((**snapshot).clone())
        } else {
            None
        }
    }

    fn as_response(&self) -> Option<AppendEntriesResponse> {
        if let Self::AppendEntriesResponse(response) = self {
            Some(*response)
        } else {
            None
        }
    }
}

pub(crate) fn appends_to(messages: &[Message], peer: u64) -> Vec<AppendEntries> {
    let to_peer = messages.iter().filter(|message| message.to == id(peer));
    to_peer
        .filter_map(|message| match_body(message, Body::as_append))
        .collect()
}

/// Whether any of these messages is an AppendEntries.
pub(crate) fn has_append(messages: &[Message]) -> bool {
    messages
        .iter()
        .any(|message| message.body.as_append().is_some())
}

/// Carries out the writes of a `Ready`.
pub(crate) fn write(node: &mut Node, ready: &Ready) {
    let storage = node.storage_mut();
    if let Some(snapshot) = &ready.snapshot {
        storage.install_snapshot((**snapshot).clone()).unwrap();
    }
    for run in &ready.entries {
        storage.append(run).unwrap();
    }
    if let Some(hard_state) = ready.hard_state {
        storage.set_hard_state(hard_state);
    }
}

/// Carries out the writes of a `Ready` and acknowledges them.
pub(crate) fn persist(node: &mut Node, ready: &Ready) {
    write(node, ready);
    node.persisted(ready.number).unwrap();
}

/// Hands out the next `Ready`, of which there must be one.
pub(crate) fn take(node: &mut Node) -> Box<Ready> {
    node.ready().unwrap().expect("there is something to do")
}

fn apply(node: &mut Node, entry: &Entry) {
    if let Payload::Change(change) = &entry.payload {
        let conf_state = node.apply_conf_change(change).unwrap();
        node.storage_mut().set_conf_state(conf_state);
    }
}

/// Does what the node asks for until it asks for nothing more, on a disk that answers at once.
pub(crate) fn settle(node: &mut Node) -> Output {
    let mut output = Output::default();
    while let Some(mut ready) = node.ready().unwrap() {
        output.messages.append(&mut ready.messages);
        write(node, &ready);
        output.messages.append(&mut ready.messages_after_persist);
        for entry in ready.committed_entries.iter().flatten() {
            apply(node, entry);
            output.applied.push(entry.clone());
        }
        node.advance(ready).unwrap();
    }
    output
}

/// Delivers a message and does what comes of it.
pub(crate) fn tell(node: &mut Node, from: u64, term: u64, body: Body) -> Output {
    let to = node.id().get();
    node.step(message(from, to, term, body)).unwrap();
    settle(node)
}

/// Lets time pass, and does what comes of it.
pub(crate) fn ticks(node: &mut Node, count: u32) -> Output {
    let mut output = Output::default();
    for _ in 0..count {
        node.tick().unwrap();
        let mut more = settle(node);
        output.messages.append(&mut more.messages);
        output.applied.append(&mut more.applied);
    }
    output
}

/// Lets time pass until the node leaves the role of a follower; returns how long that took.
pub(crate) fn ticks_until_campaign(node: &mut Node) -> u32 {
    for passed in 1..=100 {
        node.tick().unwrap();
        if node.role() != RoleKind::Follower {
            return passed;
        }
    }
    panic!("no campaign within 100 ticks");
}

/// Makes the node leader of the next term by the votes of all other voters.
pub(crate) fn elect(node: &mut Node) -> Output {
    node.campaign().unwrap();
    let mut output = settle(node);
    let term = node.current_term().0;
    for voter in node.membership().voters() {
        if voter != node.id() && node.role() == RoleKind::Candidate {
            let mut more = tell(node, voter.get(), term, granted());
            output.messages.append(&mut more.messages);
            output.applied.append(&mut more.applied);
        }
    }
    assert_eq!(node.role(), RoleKind::Leader);
    output
}

pub(crate) fn propose(node: &mut Node, data: &str) -> LogId {
    node.propose("", data.to_owned()).unwrap()
}

/// The terms of a node's stored log, from its first entry on.
pub(crate) fn stored_terms(node: &Node) -> Vec<u64> {
    let storage = node.storage();
    let first = storage.first_index().unwrap().0;
    let last = storage.last_index().unwrap().0;
    let terms = (first..=last).map(|at| storage.term(index(at)).unwrap().0);
    terms.collect()
}

/// The last entry that a node has applied.
pub(crate) fn applied(node: &Node) -> LogId {
    let index = node.last_applied();
    let term = node.storage().term(index).unwrap();
    LogId { term, index }
}

/// A network of nodes with disks that answer at once. Messages arrive in order, except from and to
/// nodes that are cut off, whose messages are lost.
pub(crate) struct Network {
    pub(crate) nodes: BTreeMap<u64, Node>,
    pub(crate) applied: BTreeMap<u64, Vec<Entry>>,
    pub(crate) cut_off: BTreeSet<u64>,
    /// Everything that was sent, delivered or not.
    pub(crate) sent: Vec<Message>,
}

impl Network {
    pub(crate) fn new(nodes: impl IntoIterator<Item = Node>) -> Self {
        let nodes = nodes.into_iter().map(|node| (node.id().get(), node));
        Self {
            nodes: nodes.collect(),
            applied: BTreeMap::new(),
            cut_off: BTreeSet::new(),
            sent: Vec::new(),
        }
    }

    /// A cluster of nodes 1 to `voters`, each with a log of these terms.
    pub(crate) fn of_logs(logs: &[&[u64]]) -> Self {
        let voters = logs.len() as u64;
        let nodes = logs.iter().zip(1..);
        Self::new(nodes.map(|(terms, number)| follower(number, voters, terms)))
    }

    pub(crate) fn node(&mut self, number: u64) -> &mut Node {
        self.nodes.get_mut(&number).unwrap()
    }

    /// Takes a node's output, and queues its messages.
    fn collect(&mut self, number: u64, queue: &mut VecDeque<Message>) {
        let mut output = settle(self.node(number));
        let applied = self.applied.entry(number).or_default();
        applied.append(&mut output.applied);
        self.sent.extend(output.messages.iter().cloned());
        queue.extend(output.messages);
    }

    /// Lets messages travel until there are none.
    pub(crate) fn run(&mut self) {
        let mut queue = VecDeque::new();
        let numbers: Vec<u64> = self.nodes.keys().copied().collect();
        for number in numbers {
            self.collect(number, &mut queue);
        }
        for _ in 0..100_000 {
            let Some(message) = queue.pop_front() else {
                return;
            };
            let (from, to) = (message.from.get(), message.to.get());
            let lost = self.cut_off.contains(&from) || self.cut_off.contains(&to);
            if lost || !self.nodes.contains_key(&to) {
                continue;
            }
            match self.node(to).step(message) {
                // Who has been removed may not know it yet.
                Ok(()) | Err(StepError::NotAMember { .. }) => {}
                Err(error) => panic!("{error}"),
            }
            self.collect(to, &mut queue);
        }
        panic!("the messages never end");
    }

    /// Lets a node campaign, and everything come of it that will.
    pub(crate) fn campaign(&mut self, number: u64) {
        self.node(number).campaign().unwrap();
        self.run();
    }

    /// Lets a node tick, and everything come of it that will.
    pub(crate) fn tick(&mut self, number: u64) {
        self.node(number).tick().unwrap();
        self.run();
    }

    pub(crate) fn propose(&mut self, number: u64, data: &str) -> LogId {
        propose(self.node(number), data)
    }

    pub(crate) fn applied_ids(&self, number: u64) -> Vec<LogId> {
        let applied = self.applied.get(&number);
        applied
            .into_iter()
            .flatten()
            .map(|entry| entry.id)
            .collect()
    }
}

/// An acknowledgement that also tells the commit index.
pub(crate) fn with_commit(body: Body, commit: u64) -> Body {
    let Some(AppendEntriesResponse::Accepted { match_index, .. }) = body.as_response() else {
        panic!("{body:?} is no acknowledgement");
    };
    Body::AppendEntriesResponse(AppendEntriesResponse::Accepted {
        match_index,
        commit_index: index(commit),
    })
}
