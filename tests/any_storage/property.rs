//! Any answers of a storage, to a node in any role.
//!
//! Owns the random runs, drawn from bytes: one node, whose peers are played here. What must hold of
//! it after every call stands in `watched.rs`: no panic; what was refused changed nothing; a node
//! that has stopped says why, the same each time, and does nothing more; and what a node hands out
//! makes sense, whatever it has read. The test beside it draws from random bytes, the fuzz target
//! from those that reach new code.

#[path = "../common/draw.rs"]
mod draw;
#[path = "../common/faults.rs"]
mod faults;
#[path = "lying.rs"]
mod lying;
#[path = "../common/messages.rs"]
mod messages;
#[path = "start.rs"]
mod start;
#[path = "watched.rs"]
mod watched;

use std::collections::VecDeque;

use almadia::{
    AppendEntries, AppendEntriesResponse, Body, Bytes, Entry, HeartbeatResponse, LogId, LogIndex,
    MembershipChange, Message, Payload, Purpose, RawNode, ReadIndexResponse, Ready, Snapshot,
    SnapshotStatus, Storage, VoteResponse, Window,
};
use arbitrary::{Arbitrary, Result, Unstructured};
use draw::{at_most, one_of, until_the_end};
use faults::{Disk, id};
use lying::Lying;
use messages::{change, message, payload};
pub(crate) use start::Start;
use watched::{Node, Watched};

#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// The storage will lie.
    Plan(lying::Lie),
    /// The storage tells the truth again.
    TellTheTruth,
    Tick(u32),
    Propose(usize),
    ProposeChange(MembershipChange),
    Campaign,
    /// Takes a `Ready` and writes it; its acknowledgement waits.
    Write,
    /// The acknowledgement that has waited longest arrives.
    Acknowledge,
    /// Only the writing of what was handed out, up to this number, is acknowledged.
    Persisted(u64),
    /// Only the applying, up to an index so far from the last that was reported.
    Applied(u64),
    /// Does what the node asks for.
    Settle,
    /// Does what the node asks for, and the peers answer, for so many rounds.
    Run(usize),
    /// One of the peers answers to something that was sent; or denies it, and agrees to what is so
    /// many entries before.
    Answer(u8, Option<u64>),
    /// A leader appends.
    Lead(Vec<Payload>),
    Hear(messages::Lie),
    /// Applies a change that nobody has committed.
    Change(MembershipChange),
    /// One of the other calls, with this peer.
    Wish(u8, u64),
    Ask,
    /// Compacts what is applied, and so many entries more.
    Compact(u64),
    /// Whether the state machine survives.
    Restart(bool),
}

impl<'a> Arbitrary<'a> for Step {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> Result<Self> {
        one_of(
            bytes,
            &[
                (5, |bytes| {
                    Ok(Self::Tick(*bytes.choose(&[1, 2, 12, 25, 60])?))
                }),
                (20, |bytes| lying::lie(bytes).map(Self::Plan)),
                (2, |_| Ok(Self::TellTheTruth)),
                (6, |bytes| bytes.int_in_range(0..=40).map(Self::Propose)),
                (2, |bytes| change(bytes).map(Self::ProposeChange)),
                (4, |_| Ok(Self::Campaign)),
                (4, |_| Ok(Self::Write)),
                (4, |_| Ok(Self::Acknowledge)),
                (2, |bytes| bytes.int_in_range(0..=20).map(Self::Persisted)),
                (2, |bytes| bytes.int_in_range(0..=5).map(Self::Applied)),
                (8, |_| Ok(Self::Settle)),
                (14, |bytes| bytes.int_in_range(1..=4).map(Self::Run)),
                (10, |bytes| {
                    let denies = one_of(
                        bytes,
                        &[
                            (1, |_| Ok(None)),
                            (1, |bytes| bytes.int_in_range(1..=6).map(Some)),
                        ],
                    );
                    Ok(Self::Answer(bytes.arbitrary()?, denies?))
                }),
                (4, |bytes| at_most(bytes, 3, payload).map(Self::Lead)),
                (12, |bytes| messages::lie(bytes).map(Self::Hear)),
                (1, |bytes| change(bytes).map(Self::Change)),
                (8, |bytes| {
                    Ok(Self::Wish(
                        bytes.int_in_range(0..=WISHES)?,
                        bytes.int_in_range(1..=4)?,
                    ))
                }),
                (2, |_| Ok(Self::Ask)),
                (4, |bytes| {
                    Ok(Self::Compact(*bytes.choose(&[0, 0, 0, 1, 2])?))
                }),
                (4, |bytes| bytes.arbitrary().map(Self::Restart)),
            ],
        )
    }
}

/// How a run goes.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) start: Start,
    pub(crate) steps: Vec<Step>,
}

impl<'a> Arbitrary<'a> for Case {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self {
            start: bytes.arbitrary()?,
            steps: until_the_end(bytes, 100, |bytes| bytes.arbitrary())?,
        })
    }
}

impl Case {
    /// Goes through the run; panics if a promise is broken.
    pub(crate) fn check(&self) {
        let storage = Lying::honest(self.start.disk());
        let node = RawNode::new(self.start.config(LogId::ZERO), storage);
        let mut run = Run {
            start: &self.start,
            watched: Watched::new(node.expect("the disk is sound")),
            waiting: VecDeque::new(),
            sent: VecDeque::new(),
        };
        if let Some(rounds) = self.start.candidacy {
            run.take(&Step::Campaign);
            run.run(rounds);
        }
        for step in &self.steps {
            run.take(step);
        }
        run.go_on();
    }
}

struct Run<'a> {
    start: &'a Start,
    watched: Watched,
    /// What was handed out and not acknowledged.
    waiting: VecDeque<Box<Ready>>,
    /// What the peers have not answered.
    sent: VecDeque<Message>,
}

impl Run<'_> {
    fn take(&mut self, step: &Step) {
        let watched = &mut self.watched;
        match *step {
            Step::Plan(ref lie) => watched.storage_mut().plan(lie),
            Step::TellTheTruth => watched.storage_mut().forget_the_lies(),
            Step::Tick(1) => watched.attempt(Node::tick),
            Step::Tick(ticks) => watched.attempt(|node| node.tick_many(ticks)),
            Step::Propose(bytes) => watched.attempt(|node| node.propose("", vec![0; bytes])),
            Step::ProposeChange(ref change) => {
                watched.attempt(|node| node.propose_conf_change("", change.clone()));
            }
            Step::Campaign => watched.attempt(Node::campaign),
            Step::Write => drop(self.write()),
            Step::Acknowledge => self.acknowledge(),
            Step::Persisted(number) => watched.attempt(|node| node.persisted(number)),
            Step::Applied(further) => {
                watched.attempt(|node| node.applied(node.last_applied() + further));
            }
            Step::Settle => self.settle(),
            Step::Run(rounds) => self.run(rounds),
            Step::Answer(position, denies) => {
                let position = usize::from(position).checked_rem(self.sent.len());
                if let Some(sent) = position.and_then(|position| self.sent.remove(position)) {
                    self.answer(&sent, denies);
                }
            }
            Step::Lead(ref payloads) => self.lead(payloads),
            Step::Hear(ref lie) => {
                let message = message(lie, watched.node());
                watched.attempt(|node| node.step(message));
            }
            Step::Change(ref change) => watched.attempt(|node| node.apply_conf_change(change)),
            Step::Wish(what, peer) => wish(watched, what, peer),
            Step::Ask => ask(watched),
            Step::Compact(further) => self.compact(further),
            Step::Restart(durable) => self.restart(durable),
        }
    }

    /// Takes the next `Ready` and does with the disk what it asks for, as far as that is possible.
    fn write(&mut self) -> bool {
        let Some(mut ready) = self.watched.ready() else {
            return false;
        };
        let disk = self.watched.storage_mut().disk();
        // Where the node was lied to, it may ask for what cannot be.
        if let Some(snapshot) = ready.snapshot.take() {
            let _ = disk.install_snapshot(*snapshot);
        }
        for run in &ready.entries {
            let _ = disk.append(run);
        }
        if let Some(hard_state) = ready.hard_state {
            disk.set_hard_state(hard_state);
        }
        self.sent.extend(ready.messages.drain(..));
        self.waiting.push_back(ready);
        true
    }

    fn acknowledge(&mut self) {
        let Some(mut ready) = self.waiting.pop_front() else {
            return;
        };
        let messages = ready.messages_after_persist.drain(..);
        self.sent.extend(messages);
        // Nobody remembers everything.
        let forgotten = self.sent.len().saturating_sub(64);
        self.sent.drain(..forgotten);
        for entry in ready.committed_entries.iter().flatten() {
            if let Payload::Change(change) = &entry.payload {
                let applied = self.watched.call(|node| node.apply_conf_change(change));
                if let Some(conf_state) = applied {
                    let disk = self.watched.storage_mut().disk();
                    disk.set_conf_state(conf_state);
                }
            }
        }
        self.watched.attempt(|node| node.advance(ready));
    }

    /// Goes on until the node wants nothing more, as it must some time.
    fn settle(&mut self) {
        for _ in 0..1000 {
            let wrote = self.write();
            while !self.waiting.is_empty() {
                self.acknowledge();
            }
            if !wrote {
                return;
            }
        }
        panic!("the node never rests");
    }

    fn run(&mut self, rounds: usize) {
        for _ in 0..rounds {
            self.settle();
            for sent in std::mem::take(&mut self.sent) {
                self.answer(&sent, None);
            }
        }
        self.settle();
    }

    /// What a peer says to this that has done it, or that denies it.
    fn answer(&mut self, sent: &Message, denies: Option<u64>) {
        let accepted = |match_index| AppendEntriesResponse::Accepted {
            match_index,
            commit_index: LogIndex::ZERO,
        };
        let vote = denies.map_or(VoteResponse::Granted, |_| VoteResponse::Refused {
            commit: LogId::ZERO,
        });
        let body = match &sent.body {
            Body::PreVote(_) => Body::PreVoteResponse(vote),
            Body::RequestVote(_) => Body::RequestVoteResponse(vote),
            Body::AppendEntries(append) => Body::AppendEntriesResponse(match denies {
                Some(before) => self.rejected(append.prev_log.index, before),
                None => accepted(append.entries.last_id().unwrap_or(append.prev_log).index),
            }),
            Body::InstallSnapshot(snapshot) => {
                Body::AppendEntriesResponse(accepted(snapshot.last_included.index))
            }
            Body::Heartbeat(heartbeat) => Body::HeartbeatResponse(HeartbeatResponse {
                commit_index: heartbeat.leader_commit,
                token: heartbeat.token.clone(),
            }),
            Body::ReadIndex(token) => Body::ReadIndexResponse(ReadIndexResponse {
                read_index: self.watched.node().commit_index(),
                token: token.clone(),
            }),
            Body::RequestVoteResponse(_)
            | Body::PreVoteResponse(_)
            | Body::AppendEntriesResponse(_)
            | Body::HeartbeatResponse(_)
            | Body::ReadIndexResponse(_)
            | Body::TimeoutNow
            | Body::Propose(_)
            | Body::TransferLeader { .. } => return,
        };
        let answer = Message {
            to: sent.from,
            from: sent.to,
            term: sent.term,
            body,
        };
        self.watched.attempt(|node| node.step(answer));
    }

    /// A peer has nothing like what is at `prev_index`, but agrees to what is so many entries before.
    fn rejected(&self, prev_index: LogIndex, before: u64) -> AppendEntriesResponse {
        let index = LogIndex(prev_index.0.saturating_sub(before));
        let term = self.watched.node().storage().truth().term(index);
        AppendEntriesResponse::Rejected {
            prev_index,
            hint: term.map_or(LogId::ZERO, |term| LogId { term, index }),
            commit_index: LogIndex::ZERO,
        }
    }

    /// The leader of this term, or node 2 as that of the next one, appends to what is there.
    fn lead(&mut self, payloads: &[Payload]) {
        let node = self.watched.node();
        let (leader, term) = match node.leader() {
            Some(leader) if leader != node.id() => (leader, node.current_term()),
            Some(_) | None => (id(2), node.current_term().next()),
        };
        let prev_log = node.last_log();
        let entries = payloads.iter().zip(1..).map(|(payload, further)| Entry {
            id: LogId {
                term,
                index: prev_log.index + further,
            },
            payload: payload.clone(),
            context: Bytes::new(),
        });
        let append = AppendEntries {
            prev_log,
            leader_commit: prev_log.index,
            entries: entries.collect(),
        };
        let message = Message {
            to: node.id(),
            from: leader,
            term,
            body: Body::AppendEntries(append),
        };
        self.watched.attempt(|node| node.step(message));
    }

    fn compact(&mut self, further: u64) {
        let index = self.watched.node().last_applied() + further;
        let conf_state = self.watched.node().membership().to_conf_state();
        let disk = self.watched.storage_mut().disk();
        let Ok(term) = disk.term(index) else { return };
        let snapshot = Snapshot {
            last_included: LogId { term, index },
            conf_state,
            data: Bytes::new(),
        };
        // What is beyond the end of the log cannot be compacted.
        let _ = disk.save_snapshot(snapshot);
        let _ = disk.compact(index);
    }

    /// Starts anew from the disk, if it lets the node start; with the truth, if it must.
    fn restart(&mut self, durable: bool) {
        let node = self.watched.node();
        let index = node.last_applied();
        let term = node.storage().truth().term(index);
        let applied = term.map(|term| LogId { term, index });
        let applied = applied.unwrap_or_default();
        let applied = if durable && applied.is_position() {
            applied
        } else {
            LogId::ZERO
        };
        let lying = node.storage().clone();
        let truthful = Lying::honest(lying.truth().clone());
        let started = RawNode::new(self.start.config(applied), lying)
            .or_else(|_| RawNode::new(self.start.config(applied), truthful));
        if let Ok(node) = started {
            self.watched = Watched::new(node);
            self.waiting.clear();
            self.sent.clear();
        }
    }

    /// Nobody panics with the truth either, whatever was believed before.
    fn go_on(&mut self) {
        self.watched.storage_mut().forget_the_lies();
        for ticks in [1, 25] {
            self.watched.attempt(|node| node.tick_many(ticks));
            self.watched.attempt(|node| node.propose("", "x"));
            self.run(2);
            self.lead(&[]);
        }
        ask(&self.watched);
        for what in 0..=WISHES {
            wish(&mut self.watched, what, 2);
        }
        self.settle();
    }
}

const WISHES: u8 = 18;

/// Everything else that an embedder may ask for.
fn wish(watched: &mut Watched, what: u8, peer: u64) {
    let window = Window {
        messages: usize::from(what % 3),
        bytes: 30,
    };
    let peer_id = id(peer);
    match what {
        0 => watched.attempt(|node| node.read_index("same")),
        1 => watched.attempt(|node| node.lease_read("same")),
        2 => watched.attempt(|node| node.transfer_leader(peer_id)),
        3 => watched.attempt(Node::request_snapshot),
        4 => watched.tell(|node| node.on_entries_fetched(Purpose::Send(peer_id))),
        5 => watched.tell(|node| node.on_entries_fetched(Purpose::Apply)),
        6 => watched.tell(|node| node.on_entries_fetched(Purpose::Scan)),
        7 => watched.tell(|node| node.report_unreachable(peer_id)),
        8 => watched.tell(|node| node.report_snapshot(peer_id, SnapshotStatus::Delivered)),
        9 => watched.tell(|node| node.report_snapshot(peer_id, SnapshotStatus::Failed)),
        10 => watched.tell(Node::ping),
        11 => watched.tell(Node::forget_leader),
        12 => watched.tell(|node| node.set_window(peer_id, Some(window))),
        13 => watched.tell(|node| node.set_window(peer_id, None)),
        14 => watched.tell(|node| node.set_group_commit(peer != 1)),
        15 => watched.tell(|node| {
            node.assign_commit_group(peer_id, std::num::NonZeroU64::new(peer % 3));
        }),
        16 => watched.tell(|node| node.set_priority(i64::from(what % 3))),
        17 => watched.tell(|node| node.set_skip_commit_broadcast(peer != 1)),
        _ => {
            let leave = MembershipChange::leave_joint();
            watched.attempt(|node| node.propose_conf_change("", leave));
        }
    }
}

/// Everything that can be asked.
fn ask(watched: &Watched) {
    watched.ask(|node| {
        let last = node.last_log().index;
        let indexes = [LogIndex(1), node.commit_index().next(), last, last.next()];
        let why_not = indexes.map(|index| node.why_not_committing(index));
        let peers = [1, 2, 3, 4].map(|peer| node.why_paused(id(peer)));
        let quiet = (node.is_quiescent(), node.ticks_until_action());
        let commit = (why_not, node.is_commit_grouped());
        (
            node.why_no_leader(),
            node.status(),
            node.has_ready(),
            commit,
            peers,
            quiet,
        )
    });
}
