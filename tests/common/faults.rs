//! Helpers of the robustness tests: nodes in every role, one node driven by hand, three nodes
//! joined by a network that delivers only when told to.
//!
//! Owns no test and no rule of the protocol. Everything goes through the public API; a `Ready` is
//! fulfilled here as its documentation asks.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::collections::BTreeMap;

use almadia::{
    AppendEntries, Body, Bytes, ConfState, Config, Entries, Entry, HardState, Heartbeat, LogId,
    LogIndex, MemStorage, Message, NodeId, Payload, RawNode, Ready, RoleKind, Snapshot, StepError,
    Storage, Term, VoteResponse,
};

pub(crate) type Node = RawNode<MemStorage>;

/// A storage that has a [`MemStorage`] inside, into which a driver writes.
pub(crate) trait Disk: Storage {
    fn disk(&mut self) -> &mut MemStorage;

    /// What is written there, whatever the storage answers.
    fn truth(&self) -> &MemStorage;
}

impl Disk for MemStorage {
    fn disk(&mut self) -> &mut MemStorage {
        self
    }

    fn truth(&self) -> &MemStorage {
        self
    }
}

pub(crate) fn id(number: u64) -> NodeId {
    NodeId::new(number).expect("node ids start at 1")
}

/// The three voters of every cluster here.
pub(crate) fn voters() -> [NodeId; 3] {
    [id(1), id(2), id(3)]
}

pub(crate) fn entry(term: u64, index: u64) -> Entry {
    Entry {
        id: LogId::new(term, index),
        payload: Payload::Data(Bytes::from_static(b"x")),
        context: Bytes::new(),
    }
}

/// A run of entries of these terms and indexes, sensible or not.
pub(crate) fn entries(ids: &[(u64, u64)]) -> Entries {
    ids.iter()
        .map(|&(term, index)| entry(term, index))
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

pub(crate) fn append(prev: (u64, u64), commit: u64, ids: &[(u64, u64)]) -> Body {
    Body::AppendEntries(AppendEntries {
        prev_log: LogId::new(prev.0, prev.1),
        leader_commit: LogIndex(commit),
        entries: entries(ids),
    })
}

pub(crate) fn heartbeat(commit: u64) -> Body {
    Body::Heartbeat(Heartbeat {
        leader_commit: LogIndex(commit),
        token: almadia::Token::None,
    })
}

pub(crate) fn snapshot(term: u64, index: u64, conf_state: ConfState) -> Snapshot {
    Snapshot {
        last_included: LogId::new(term, index),
        conf_state,
        data: Bytes::from_static(b"state"),
    }
}

pub(crate) fn install(snapshot: Snapshot) -> Body {
    Body::InstallSnapshot(snapshot.into())
}

/// The storage of a node of three, with entries of these terms from index 1 on.
pub(crate) fn storage(terms: &[u64], current_term: u64, commit: u64) -> MemStorage {
    let mut storage = MemStorage::with_voters(voters());
    let log: Vec<Entry> = terms
        .iter()
        .zip(1..)
        .map(|(&term, index)| entry(term, index))
        .collect();
    storage.append(&log).expect("the entries are consecutive");
    storage.set_hard_state(HardState {
        current_term: Term(current_term),
        voted_for: None,
        commit_index: LogIndex(commit),
    });
    storage
}

pub(crate) fn open(number: u64, storage: MemStorage, pre_vote: bool) -> Node {
    let config = Config::builder(id(number)).pre_vote(pre_vote).build();
    RawNode::new(config.expect("the settings are sound"), storage).expect("the storage is sound")
}

/// Does everything the node asks for, at once. Returns what it sends.
pub(crate) fn settle<S: Disk>(node: &mut RawNode<S>) -> Vec<Message> {
    let mut sent = Vec::new();
    while let Some(mut ready) = node.ready().expect("the storage is sound") {
        sent.append(&mut ready.messages);
        fulfil(node, &mut ready);
        sent.append(&mut ready.messages_after_persist);
        node.advance(ready).expect("the Ready is this node's");
    }
    sent
}

/// Writes and applies what a `Ready` carries; acknowledges nothing.
pub(crate) fn fulfil<S: Disk>(node: &mut RawNode<S>, ready: &mut Ready) {
    write(node, ready);
    apply(node, ready);
}

pub(crate) fn write<S: Disk>(node: &mut RawNode<S>, ready: &mut Ready) {
    let disk = node.storage_mut().disk();
    if let Some(snapshot) = ready.snapshot.take() {
        disk.install_snapshot(*snapshot)
            .expect("a snapshot to be persisted is newer than the log");
    }
    for run in &ready.entries {
        disk.append(run)
            .expect("entries to be persisted continue the log");
    }
    if let Some(hard_state) = ready.hard_state {
        disk.set_hard_state(hard_state);
    }
}

/// A change that is impossible is left out, as an embedder does that has reported it.
pub(crate) fn apply<S: Disk>(node: &mut RawNode<S>, ready: &Ready) {
    for entry in ready.committed_entries.iter().flatten() {
        if let Payload::Change(change) = &entry.payload {
            if let Ok(conf_state) = node.apply_conf_change(change) {
                node.storage_mut().disk().set_conf_state(conf_state);
            }
        }
    }
}

/// Node 1 with the log 1/1 1/2 2/3, commit index 2, in term 3, following node 2.
pub(crate) fn follower() -> Node {
    let mut node = open(1, storage(&[1, 1, 2], 3, 2), true);
    node.step(message(2, 1, 3, heartbeat(0)))
        .expect("a heartbeat of the current term");
    settle(&mut node);
    node
}

/// The same log in term 3, asking for pre-votes.
pub(crate) fn pre_candidate() -> Node {
    let mut node = open(1, storage(&[1, 1, 2], 3, 2), true);
    settle(&mut node);
    node.campaign().expect("a voter may campaign");
    settle(&mut node);
    assert_eq!(node.role(), RoleKind::PreCandidate);
    node
}

/// The same log, standing for election in term 3, its own vote durable.
pub(crate) fn candidate() -> Node {
    let mut node = open(1, storage(&[1, 1, 2], 2, 2), false);
    settle(&mut node);
    node.campaign().expect("a voter may campaign");
    settle(&mut node);
    assert_eq!(node.role(), RoleKind::Candidate);
    node
}

/// The same log and 3/4, leading term 3; commit index 2.
pub(crate) fn leader() -> Node {
    let mut node = candidate();
    let granted = Body::RequestVoteResponse(VoteResponse::Granted);
    node.step(message(2, 1, 3, granted))
        .expect("a vote that was asked for");
    settle(&mut node);
    assert_eq!(node.role(), RoleKind::Leader);
    assert_eq!(node.last_log(), LogId::new(3, 4));
    node
}

/// One node in every role, all in term 3.
pub(crate) fn every_role() -> [Node; 4] {
    [follower(), pre_candidate(), candidate(), leader()]
}

/// The message is refused with this error, and the node is exactly as it was.
#[track_caller]
pub(crate) fn assert_refused(node: &mut Node, message: Message, error: &StepError) {
    let before = node.clone();
    let described = format!("{}: {message:?}", node.role());
    assert_eq!(node.step(message).as_ref(), Err(error), "{described}");
    assert_eq!(before, *node, "{described}");
}

/// As [`assert_refused`], in every role.
#[track_caller]
pub(crate) fn assert_refused_in_every_role(message: &Message, error: &StepError) {
    for mut node in every_role() {
        assert_refused(&mut node, message.clone(), error);
    }
}

/// Nodes and the messages between them; nothing moves unless told to.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) nodes: BTreeMap<u64, Node>,
    pub(crate) in_flight: Vec<Message>,
    /// What nodes refused, and by whom.
    pub(crate) refusals: Vec<(u64, StepError)>,
    pre_vote: bool,
}

impl Network {
    /// Three voters with empty logs.
    pub(crate) fn of_three(pre_vote: bool) -> Self {
        let storage = MemStorage::with_voters(voters());
        let nodes = (1..=3).map(|number| (number, open(number, storage.clone(), pre_vote)));
        Self {
            nodes: nodes.collect(),
            in_flight: Vec::new(),
            refusals: Vec::new(),
            pre_vote,
        }
    }

    pub(crate) fn node(&mut self, number: u64) -> &mut Node {
        self.nodes.get_mut(&number).expect("the node exists")
    }

    /// Does what one node asks for; its messages are on their way then.
    pub(crate) fn settle(&mut self, number: u64) {
        let sent = settle(self.node(number));
        self.in_flight.extend(sent);
    }

    /// Delivers a message; what the receiver answers to an error is on its way then.
    pub(crate) fn deliver(&mut self, message: Message) {
        let to = message.to.get();
        let Some(node) = self.nodes.get_mut(&to) else {
            return;
        };
        let before = node.clone();
        if let Err(error) = node.step(message) {
            assert_eq!(node.halted(), None, "no peer stops a node");
            assert_eq!(before, *node, "a refused message changes nothing: {error}");
            self.refusals.push((to, error.clone()));
            self.in_flight.extend(error.into_reply());
        }
    }

    /// Delivers everything, in order, until nobody has anything to say or `rounds` are over.
    pub(crate) fn run(&mut self, rounds: usize) {
        for _ in 0..rounds {
            let numbers: Vec<u64> = self.nodes.keys().copied().collect();
            for number in numbers {
                self.settle(number);
            }
            if self.in_flight.is_empty() {
                return;
            }
            for message in std::mem::take(&mut self.in_flight) {
                self.deliver(message);
            }
        }
    }

    /// One tick for this node, and everything that follows from it.
    pub(crate) fn tick(&mut self, number: u64) {
        self.node(number).tick().expect("the storage is sound");
        self.run(100);
    }

    pub(crate) fn elect(&mut self, number: u64) {
        self.node(number).campaign().expect("a voter may campaign");
        self.run(100);
        assert_eq!(self.node(number).role(), RoleKind::Leader);
    }

    /// Crashes the node and starts it from this storage.
    pub(crate) fn restart(&mut self, number: u64, storage: MemStorage) {
        self.restart_applied(number, storage, LogId::ZERO);
    }

    /// The same, with a state machine that has survived with all that was applied.
    pub(crate) fn restart_applied(&mut self, number: u64, storage: MemStorage, applied: LogId) {
        let config = Config::builder(id(number))
            .pre_vote(self.pre_vote)
            .applied(applied)
            .build()
            .expect("the settings are sound");
        let node = RawNode::new(config, storage).expect("the storage is sound");
        self.nodes.insert(number, node);
    }

    /// The node's state machine is saved and its log forgotten up to there.
    pub(crate) fn compact(&mut self, number: u64) {
        compact(self.node(number));
    }
}

/// Saves a snapshot of what is applied, and compacts the log up to there.
pub(crate) fn compact(node: &mut Node) {
    let index = node.last_applied();
    let Ok(term) = node.storage().term(index) else {
        return;
    };
    if index == LogIndex::ZERO {
        return;
    }
    let conf_state = node.membership().to_conf_state();
    let disk = node.storage_mut();
    disk.save_snapshot(snapshot(term.0, index.0, conf_state))
        .expect("what is applied is in the log");
    disk.compact(index).expect("the snapshot covers it");
}

/// What a disk holds that has lost the end of its log behind `last`, and knows no commit index
/// beyond it.
pub(crate) fn without_tail(full: &MemStorage, last: u64) -> MemStorage {
    let first = full.first_index().expect("memory does not fail");
    let initial = full.initial_state().expect("memory does not fail");
    let before = first.previous();
    let mut rest = match full.snapshot(before, id(1)) {
        Ok(mut snapshot) if before > LogIndex::ZERO => {
            let term = full.term(before).expect("memory does not fail");
            snapshot.last_included = LogId {
                term,
                index: before,
            };
            MemStorage::with_snapshot(snapshot)
        }
        Ok(_) | Err(_) => MemStorage::new(),
    };
    rest.set_conf_state(initial.conf_state);
    let kept = (first.0..=last)
        .map_while(|index| {
            let term = full.term(LogIndex(index)).ok()?;
            Some(entry(term.0, index))
        })
        .collect::<Vec<_>>();
    rest.append(&kept).expect("a prefix of a log is a log");
    let mut hard_state = initial.hard_state;
    let last = rest.last_index().expect("memory does not fail");
    hard_state.commit_index = hard_state.commit_index.min(last);
    rest.set_hard_state(hard_state);
    rest
}
