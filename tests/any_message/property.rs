//! Any message into any node that a run can lead to.
//!
//! Owns the property and the random runs that lead to the nodes, drawn from bytes. After every
//! message: no panic; a refused one changed nothing; no node has stopped; and the cluster goes on
//! without a panic, however it was lied to. The test beside it draws from random bytes, the fuzz
//! target from those that reach new code.

#[path = "../common/draw.rs"]
mod draw;
#[path = "../common/faults.rs"]
mod faults;
#[path = "../common/messages.rs"]
mod messages;

use almadia::{LogId, LogIndex, MembershipChange, Ready, SnapshotStatus, StepError, Storage};
use arbitrary::{Arbitrary, Result, Unstructured};
use draw::{one_of, until_the_end};
use faults::{Network, Node, compact, id, without_tail, write};
use messages::{Lie, change, lie, message};

/// Position in a list, whatever its length.
type Position = u8;

#[derive(Clone, Debug)]
pub(crate) enum Step {
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
    Deliver(Position),
    Duplicate(Position),
    Lose(Position),
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
    /// The node hears what nobody said.
    Lie(u64, Lie),
}

fn node(bytes: &mut Unstructured<'_>) -> Result<u64> {
    bytes.int_in_range(1..=3)
}

impl<'a> Arbitrary<'a> for Step {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> Result<Self> {
        one_of(
            bytes,
            &[
                (6, |bytes| node(bytes).map(Self::Tick)),
                (3, |bytes| node(bytes).map(Self::TickOften)),
                (3, |bytes| node(bytes).map(Self::Campaign)),
                (8, |bytes| node(bytes).map(Self::Propose)),
                (2, |bytes| {
                    Ok(Self::ProposeChange(node(bytes)?, change(bytes)?))
                }),
                (8, |bytes| node(bytes).map(Self::Settle)),
                (4, |bytes| node(bytes).map(Self::Write)),
                (4, |bytes| node(bytes).map(Self::Acknowledge)),
                (12, |bytes| bytes.arbitrary().map(Self::Deliver)),
                (3, |bytes| bytes.arbitrary().map(Self::Duplicate)),
                (3, |bytes| bytes.arbitrary().map(Self::Lose)),
                (6, |bytes| bytes.int_in_range(1..=5).map(Self::Run)),
                (3, |bytes| node(bytes).map(Self::Compact)),
                (2, |bytes| Ok(Self::Crash(node(bytes)?, bytes.arbitrary()?))),
                (1, |bytes| {
                    let (node, kept) = (node(bytes)?, bytes.int_in_range(0..=7)?);
                    Ok(Self::LoseTail(node, kept, bytes.arbitrary()?))
                }),
                (1, |bytes| {
                    Ok(Self::LoseCommit(node(bytes)?, bytes.int_in_range(0..=3)?))
                }),
                (1, |bytes| Ok(Self::Unreachable(node(bytes)?, node(bytes)?))),
                (8, |bytes| {
                    let (node, peer) = (node(bytes)?, node(bytes)?);
                    Ok(Self::Wish(node, peer, bytes.int_in_range(0..=10)?))
                }),
                (1, |bytes| {
                    let (node, peer) = (node(bytes)?, node(bytes)?);
                    Ok(Self::SnapshotReport(node, peer, bytes.arbitrary()?))
                }),
                (8, |bytes| Ok(Self::Lie(node(bytes)?, lie(bytes)?))),
            ],
        )
    }
}

/// How a run goes.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) pre_vote: bool,
    /// Whether it begins without a leader.
    pub(crate) leaderless: bool,
    pub(crate) steps: Vec<Step>,
}

impl<'a> Arbitrary<'a> for Case {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self {
            pre_vote: bytes.arbitrary()?,
            leaderless: bytes.arbitrary()?,
            steps: until_the_end(bytes, 100, |bytes| bytes.arbitrary())?,
        })
    }
}

impl Case {
    /// Goes through the run; panics if a promise is broken.
    pub(crate) fn check(&self) {
        let mut run = Run {
            network: Network::of_three(self.pre_vote),
            waiting: Vec::new(),
        };
        if !self.leaderless {
            run.network.elect(1);
        }
        for step in &self.steps {
            run.take(step);
        }
        run.go_on();
    }
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
    waiting: Vec<(u64, Box<Ready>)>,
}

impl Run {
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
            Step::Deliver(position) => self.deliver(position, false),
            Step::Duplicate(position) => self.deliver(position, true),
            Step::Lose(position) => {
                if let Some(position) = self.in_flight(position) {
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
            Step::Lie(node, ref lie) => self.lie(node, lie),
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
        let mine: Vec<(u64, Box<Ready>)> = mine;
        for (_, mut ready) in mine {
            let messages = std::mem::take(&mut ready.messages_after_persist);
            self.network.in_flight.extend(messages);
            let node = self.network.node(number);
            faults::apply(node, &ready);
            node.advance(ready).expect("its own");
        }
    }

    fn in_flight(&self, position: Position) -> Option<usize> {
        usize::from(position).checked_rem(self.network.in_flight.len())
    }

    fn deliver(&mut self, position: Position, keep: bool) {
        let Some(position) = self.in_flight(position) else {
            return;
        };
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
        // A state machine that is ahead of its log does not start; it lost its end as well. One that
        // was to be restored from a snapshot which is written already begins with that.
        let last = storage.last_index().expect("memory does not fail");
        let index = self.network.node(node).last_applied().min(last);
        let applied = match storage.term(index) {
            Ok(term) if durable => LogId { term, index },
            Ok(_) | Err(_) => LogId::ZERO,
        };
        self.network.restart_applied(node, storage, applied);
    }

    /// The node says no to this message and is as it was, or says yes.
    fn lie(&mut self, number: u64, lie: &Lie) {
        let node = self.network.node(number);
        let message = message(lie, node);
        let before = node.clone();
        let result = node.step(message);
        assert_eq!(node.halted(), None, "no peer stops a node");
        if let Err(error) = result {
            assert!(!matches!(error, StepError::Halted(_)));
            assert_eq!(&before, node, "a refused message changes nothing: {error}");
        }
    }

    /// Nobody panics or stops, whatever has been believed.
    fn go_on(&mut self) {
        for round in 0..4 {
            for node in 1..=3 {
                self.tick(node, if round == 1 { 25 } else { 1 });
                drop(self.network.node(node).propose("", "x"));
                self.run(3);
            }
        }
        for node in self.network.nodes.values() {
            assert_eq!(node.halted(), None);
        }
    }
}
