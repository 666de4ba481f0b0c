//! No bytes from a peer can take a node down: any message, into any node that a run can lead to.
//!
//! Owns the generator of messages (most of them plausible, because nonsense stops at the door) and
//! the random runs that lead to the nodes. After every message: no panic; a refused one changed
//! nothing; no node has stopped; and the cluster goes on without a panic, however it was lied to.

#[path = "../common/faults.rs"]
mod faults;
mod message;

use almadia::{
    AppendEntries, AppendEntriesResponse, Body, Bytes, ConfState, Entries, Entry, Heartbeat,
    HeartbeatResponse, LogId, LogIndex, MemberChange, MembershipChange, Message, NodeId, Payload,
    Proposal, ReadIndexResponse, Ready, RequestVote, Snapshot, SnapshotStatus, StepError, Storage,
    Term, Token, Transition, VoteResponse,
};
use faults::{Network, Node, compact, id, install, without_tail, write};
use message::change;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

// --- The run ---

#[derive(Clone, Debug)]
enum Step {
    Tick(u64),
    TickOften(u64),
    Campaign(u64),
    Propose(u64),
    ProposeChange(u64, MembershipChange),
    /// Does what the node asks for.
    Settle(u64),
    /// Takes a `Ready` and writes it; its acknowledgement waits.
    Write(u64),
    /// The acknowledgements that wait arrive.
    Acknowledge(u64),
    Deliver(Index),
    Duplicate(Index),
    Lose(Index),
    /// Everything arrives and is answered, for some rounds.
    Run(usize),
    Compact(u64),
    /// Whether the state machine survives, with all that it has applied.
    Crash(u64, bool),
    /// A crash that takes the end of the log along.
    LoseTail(u64, u64, bool),
    /// A crash that takes the last commit indexes along; nobody promised to sync these.
    LoseCommit(u64, u64),
    Unreachable(u64, u64),
    /// One of the other calls, with this peer.
    Wish(u64, u64, u8),
    SnapshotReport(u64, u64, bool),
}

fn node() -> impl Strategy<Value = u64> {
    1..=3_u64
}

fn step() -> impl Strategy<Value = Step> {
    use Step::{
        Acknowledge, Campaign, Compact, Crash, Deliver, Duplicate, Lose, LoseCommit, LoseTail,
        Propose, ProposeChange, Run, Settle, SnapshotReport, Tick, TickOften, Unreachable, Wish,
        Write,
    };
    prop_oneof![
        6 => node().prop_map(Tick),
        3 => node().prop_map(TickOften),
        3 => node().prop_map(Campaign),
        8 => node().prop_map(Propose),
        2 => (node(), change()).prop_map(|(node, change)| ProposeChange(node, change)),
        8 => node().prop_map(Settle),
        4 => node().prop_map(Write),
        4 => node().prop_map(Acknowledge),
        12 => any::<Index>().prop_map(Deliver),
        3 => any::<Index>().prop_map(Duplicate),
        3 => any::<Index>().prop_map(Lose),
        6 => (1..6_usize).prop_map(Run),
        3 => node().prop_map(Compact),
        2 => (node(), any::<bool>()).prop_map(|(node, durable)| Crash(node, durable)),
        1 => (node(), 0..8_u64, any::<bool>()).prop_map(|(node, kept, durable)| {
            LoseTail(node, kept, durable)
        }),
        1 => (node(), 0..4_u64).prop_map(|(node, lost)| LoseCommit(node, lost)),
        8 => (node(), node(), 0..11_u8).prop_map(|(node, peer, what)| Wish(node, peer, what)),
        1 => (node(), node()).prop_map(|(node, peer)| Unreachable(node, peer)),
        1 => (node(), node(), any::<bool>()).prop_map(|(node, peer, arrived)| {
            SnapshotReport(node, peer, arrived)
        }),
    ]
}

/// Everything else that an embedder may ask for; refusals are fine.
fn wish(node: &mut Node, peer: u64, what: u8) {
    let window = almadia::Window {
        messages: usize::from(what),
        bytes: 30,
    };
    match what {
        0 | 1 => drop(node.read_index("same")),
        2 => drop(node.lease_read("same")),
        3 | 4 => drop(node.transfer_leader(id(peer))),
        5 => drop(node.forget_leader()),
        6 => node.ping(),
        7 => drop(node.request_snapshot()),
        8 => node.tick_many(7).expect("the storage is sound"),
        9 => drop(node.set_window(id(peer), Some(window))),
        _ => {
            node.assign_commit_group(id(peer), std::num::NonZeroU64::new(peer % 3));
            node.set_group_commit(peer != 1);
        }
    }
}

/// The network, and what was handed out and not acknowledged.
struct Run {
    network: Network,
    waiting: Vec<(u64, Ready)>,
}

impl Run {
    fn new(pre_vote: bool, elect: bool, steps: &[Step]) -> Self {
        let mut run = Self {
            network: Network::of_three(pre_vote),
            waiting: Vec::new(),
        };
        if elect {
            run.network.elect(1);
        }
        for step in steps {
            run.take(step);
        }
        run
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Tick(node) => self.tick(node, 1),
            Step::TickOften(node) => self.tick(node, 25),
            Step::Campaign(node) => drop(self.network.node(node).campaign()),
            Step::Propose(node) => drop(self.network.node(node).propose("", "x")),
            Step::ProposeChange(node, ref change) => {
                let change = change.clone();
                drop(self.network.node(node).propose_conf_change("", change));
            }
            Step::Settle(node) => self.settle(node),
            Step::Write(node) => self.write(node),
            Step::Acknowledge(node) => self.acknowledge(node),
            Step::Deliver(index) => self.deliver(index, false),
            Step::Duplicate(index) => self.deliver(index, true),
            Step::Lose(index) => {
                if !self.network.in_flight.is_empty() {
                    let position = index.index(self.network.in_flight.len());
                    self.network.in_flight.remove(position);
                }
            }
            Step::Run(rounds) => self.run(rounds),
            Step::Compact(node) => compact(self.network.node(node)),
            Step::Crash(node, durable) => self.crash(node, u64::MAX, durable),
            Step::LoseTail(node, kept, durable) => self.crash(node, kept, durable),
            Step::LoseCommit(node, lost) => {
                let disk = self.network.node(node).storage_mut();
                let mut hard_state = disk.hard_state();
                let kept = hard_state.commit_index.0.saturating_sub(lost);
                hard_state.commit_index = LogIndex(kept);
                disk.set_hard_state(hard_state);
                self.crash(node, u64::MAX, true);
            }
            Step::Wish(node, peer, what) => wish(self.network.node(node), peer, what),
            Step::Unreachable(node, peer) => self.network.node(node).report_unreachable(id(peer)),
            Step::SnapshotReport(node, peer, arrived) => {
                let status = if arrived {
                    SnapshotStatus::Delivered
                } else {
                    SnapshotStatus::Failed
                };
                self.network.node(node).report_snapshot(id(peer), status);
            }
        }
    }

    fn tick(&mut self, node: u64, times: u32) {
        for _ in 0..times {
            let result = self.network.node(node).tick();
            result.expect("the storage is sound");
        }
    }

    fn settle(&mut self, node: u64) {
        self.acknowledge(node);
        self.network.settle(node);
    }

    fn write(&mut self, number: u64) {
        let node = self.network.node(number);
        if let Some(mut ready) = node.ready().expect("the storage is sound") {
            write(node, &mut ready);
            let messages = ready.messages.drain(..);
            self.network.in_flight.extend(messages);
            self.waiting.push((number, ready));
        }
    }

    fn acknowledge(&mut self, number: u64) {
        let waiting = std::mem::take(&mut self.waiting);
        let (mine, others) = waiting.into_iter().partition(|&(of, _)| of == number);
        self.waiting = others;
        let mine: Vec<(u64, Ready)> = mine;
        for (_, mut ready) in mine {
            let messages = std::mem::take(&mut ready.messages_after_persist);
            self.network.in_flight.extend(messages);
            let node = self.network.node(number);
            faults::apply(node, &ready);
            node.advance(ready).expect("its own");
        }
    }

    fn deliver(&mut self, index: Index, keep: bool) {
        if self.network.in_flight.is_empty() {
            return;
        }
        let position = index.index(self.network.in_flight.len());
        let message = self.network.in_flight[position].clone();
        if !keep {
            self.network.in_flight.remove(position);
        }
        self.network.deliver(message);
    }

    fn run(&mut self, rounds: usize) {
        for node in 1..=3 {
            self.acknowledge(node);
        }
        self.network.run(rounds);
    }

    /// What was written survives, up to `kept`; what waits for its acknowledgement is forgotten.
    fn crash(&mut self, node: u64, kept: u64, durable: bool) {
        self.waiting.retain(|&(of, _)| of != node);
        let mut full = self.network.node(node).storage().clone();
        let last = full.last_index().expect("memory does not fail");
        // A node does not start from a commit index that lies in the compacted part.
        let first = full.first_index().expect("memory does not fail");
        let mut hard_state = full.hard_state();
        hard_state.commit_index = hard_state.commit_index.max(first.previous());
        full.set_hard_state(hard_state);
        let storage = if kept < last.0 {
            without_tail(&full, kept)
        } else {
            full
        };
        // A state machine that is ahead of its log does not start; it lost its end as well.
        let last = storage.last_index().expect("memory does not fail");
        let applied = if durable {
            let index = self.network.node(node).last_applied().min(last);
            let term = storage.term(index).unwrap_or_default();
            LogId { term, index }
        } else {
            LogId::ZERO
        };
        self.network.restart_applied(node, storage, applied);
    }

    /// The node says no to this message and is as it was, or says yes.
    fn lie(&mut self, number: u64, message: Message) -> Result<(), TestCaseError> {
        let node = self.network.node(number);
        let before = node.clone();
        let result = node.step(message);
        prop_assert_eq!(node.halted(), None);
        if let Err(error) = result {
            prop_assert!(!matches!(error, StepError::Halted(_)));
            prop_assert_eq!(&before, node, "{}", error);
        }
        Ok(())
    }

    /// Nobody panics or stops, whatever has been believed.
    fn go_on(&mut self) -> Result<(), TestCaseError> {
        for round in 0..4 {
            for node in 1..=3 {
                self.tick(node, if round == 1 { 25 } else { 1 });
                drop(self.network.node(node).propose("", "x"));
                self.run(3);
            }
        }
        for node in self.network.nodes.values() {
            prop_assert_eq!(node.halted(), None);
        }
        Ok(())
    }
}
