//! One node on its thread: the run loop, the transport over channels, the disk and the snapshots.
//!
//! Owns everything that an embedder writes around a `RawNode`. Shares nothing with other threads;
//! all that goes in or out is an [`Input`] or an [`Event`]. Read first: `single_mem_node.rs`.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SendError, Sender};
use std::time::{Duration, Instant};

use almadia::{
    Body, Config, Entry, LogId, LogIndex, MemStorage, Message, NodeId, Payload, ProposeError,
    RawNode, Ready, RoleKind, Snapshot, SnapshotStatus, StepError, Term,
};
use almadia_harness::{SnapshotStage, What};

use crate::command::Command;
use crate::machine::{Outcome, StateMachine};
use crate::mail::{Answer, AnyError, Event, Input, Report, Request};
use crate::tracer::Tracer;

/// The length of a tick.
const TICK: Duration = Duration::from_millis(5);

/// The most inputs taken before the node is asked what it wants done.
const MAX_INPUTS_AT_ONCE: usize = 8;

/// Everything that a node has in memory. All of it but the storage is lost when it stops.
pub(crate) struct Node {
    raft: RawNode<MemStorage>,
    machine: StateMachine,
    applied: LogId,
    inbox: Receiver<Input>,
    peers: BTreeMap<NodeId, Sender<Input>>,
    events: Sender<Event>,
    /// The term whose leadership has been announced.
    announced: Option<Term>,
    /// The answers that have not left yet.
    answers: Vec<Answer>,
    /// Reads wait here until the state machine has applied their index.
    reads: Vec<LogIndex>,
    tracer: Tracer,
}

impl Node {
    /// Starts a node from its disk: the state machine is the last snapshot, and the log goes on
    /// from there. `incarnation` is a number that no earlier start of this node has had.
    pub(crate) fn start(
        id: NodeId,
        incarnation: u32,
        mut storage: MemStorage,
        inbox: Receiver<Input>,
        peers: BTreeMap<NodeId, Sender<Input>>,
        events: Sender<Event>,
        tracer: Tracer,
    ) -> Result<Self, AnyError> {
        let mut machine = StateMachine::default();
        let mut applied = LogId::ZERO;
        if let Some(snapshot) = storage.saved_snapshot().cloned() {
            machine = StateMachine::from_snapshot(&snapshot.data)?;
            applied = snapshot.last_included;
            // The membership that the node starts with is the one as of `applied`.
            storage.set_conf_state(snapshot.conf_state);
        }
        let config = Config::builder(id)
            .heartbeat_interval_ticks(2)
            .election_timeout_ticks(20)
            .max_election_timeout_ticks(40)
            .applied(applied)
            .incarnation(incarnation)
            .seed(42)
            .build()?;
        let raft = match tracer.observer() {
            None => RawNode::new(config, storage)?,
            Some(observer) => RawNode::with_observer(config, storage, observer)?,
        };
        tracer.started(&raft);
        Ok(Self {
            raft,
            machine,
            applied,
            inbox,
            peers,
            events,
            announced: None,
            answers: Vec::new(),
            reads: Vec::new(),
            tracer,
        })
    }

    /// Runs until told to stop, and returns the disk. What was not written by then is lost.
    pub(crate) fn run(mut self) -> Result<MemStorage, AnyError> {
        let mut next_tick = Instant::now() + TICK;
        while self.take_inputs(next_tick)? {
            if Instant::now() >= next_tick {
                self.raft.tick()?;
                // A thread that was kept from running does not make up for lost ticks.
                next_tick = Instant::now() + TICK;
            }
            while let Some(ready) = self.raft.ready()? {
                self.handle_ready(ready)?;
            }
            self.tracer.observe(&self.raft);
            self.tell_client();
        }
        Ok(self.raft.into_storage())
    }

    /// Waits for inputs until `deadline`, and takes those that are there. Returns whether to go on.
    fn take_inputs(&mut self, deadline: Instant) -> Result<bool, AnyError> {
        let patience = deadline.saturating_duration_since(Instant::now());
        let first = match self.inbox.recv_timeout(patience) {
            Ok(input) => input,
            Err(RecvTimeoutError::Timeout) => return Ok(true),
            Err(RecvTimeoutError::Disconnected) => return Ok(false),
        };
        if !self.take_input(first)? {
            return Ok(false);
        }
        for _ in 1..MAX_INPUTS_AT_ONCE {
            let Ok(input) = self.inbox.try_recv() else {
                break;
            };
            if !self.take_input(input)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn take_input(&mut self, input: Input) -> Result<bool, AnyError> {
        match input {
            Input::Message(message) => self.step(message)?,
            Input::Propose(requests) => self.propose(requests),
            // If one of these is refused, whoever wanted it sees nothing come of it.
            Input::ProposeNothing => drop(self.raft.propose("", "")),
            Input::ChangeMembership(change) => drop(self.raft.propose_conf_change("", change)),
            Input::Read => drop(self.raft.read_index("")),
            Input::TransferLeader { transferee } => self.transfer_leader(transferee),
            Input::Connect { peer, inbox } => {
                self.peers.insert(peer, inbox);
            }
            Input::Compact => self.compact()?,
            Input::Report { with_state } => self.report(with_state),
            Input::Stop => return Ok(false),
        }
        Ok(true)
    }

    /// Hands a peer's message to the node. A bad message is worth a line, and nothing more.
    fn step(&mut self, message: Message) -> Result<(), AnyError> {
        self.tracer.delivered(&message);
        match self.raft.step(message) {
            Ok(()) => Ok(()),
            Err(StepError::Halted(halted)) => Err(halted.into()),
            // The last words of a node that was removed.
            Err(StepError::NotAMember { .. }) => Ok(()),
            Err(error) => {
                eprintln!("node {} refused a message: {error}", self.raft.id());
                if let Some(reply) = error.into_reply() {
                    self.send(reply);
                }
                Ok(())
            }
        }
    }

    /// Puts the client's commands into the log, up to the first that is not taken: because another
    /// node leads, because leadership is being transferred, or because too much is uncommitted.
    fn propose(&mut self, requests: Vec<Request>) {
        for Request { sequence, command } in requests {
            let context = sequence.to_be_bytes().to_vec();
            if let Err(error) = self.raft.propose(context, command) {
                let leader = if let ProposeError::NotLeader { leader } = error {
                    leader.map(|leader| (leader, self.raft.current_term()))
                } else {
                    None
                };
                let node = self.raft.id();
                self.tell(Event::Refused { node, leader });
                return;
            }
        }
    }

    /// Begins to hand leadership over. How that ends is in a later `Ready`.
    fn transfer_leader(&mut self, transferee: NodeId) {
        if let Err(error) = self.raft.transfer_leader(transferee) {
            let reason = error.to_string();
            self.tell(Event::TransferRefused { reason });
        }
    }

    /// Fulfils one `Ready`, in the order that its documentation gives.
    fn handle_ready(&mut self, mut ready: Box<Ready>) -> Result<(), AnyError> {
        for message in ready.messages.drain(..) {
            self.send(message);
        }
        if let Some(snapshot) = ready.snapshot.take() {
            self.install(*snapshot)?;
        }
        let storage = self.raft.storage_mut();
        for run in &ready.entries {
            storage.append(run)?;
        }
        if let Some(hard_state) = ready.hard_state {
            storage.set_hard_state(hard_state);
        }
        self.tracer.persisted(self.raft.id(), &ready);
        for message in ready.messages_after_persist.drain(..) {
            self.send(message);
        }
        for entry in ready.committed_entries.iter().flatten() {
            self.apply(entry)?;
        }
        // A read that was dropped is asked for again by whoever wanted it.
        let read_states = ready.read_states.drain(..);
        self.reads
            .extend(read_states.filter_map(|read| read.outcome.ok()));
        self.answer_reads();
        for outcome in ready.transfer_outcomes.drain(..) {
            self.tell(Event::TransferEnded(outcome));
        }
        self.raft.advance(ready)?;
        Ok(())
    }

    /// Sends a message, and tells the node what became of it as far as the transport knows. A
    /// peer that has stopped has dropped its end of the channel.
    fn send(&mut self, message: Message) {
        let to = message.to;
        let is_snapshot = matches!(message.body, Body::InstallSnapshot(_));
        self.tracer.sent(&message);
        let unsent = match self.peers.get(&to) {
            Some(inbox) => inbox.send(Input::Message(message)).err(),
            None => Some(SendError(Input::Message(message))),
        };
        let is_sent = unsent.is_none();
        if let Some(SendError(Input::Message(message))) = unsent {
            self.tracer.lost(&message);
            self.peers.remove(&to);
            self.raft.report_unreachable(to);
        }
        if is_snapshot {
            let status = if is_sent {
                SnapshotStatus::Delivered
            } else {
                SnapshotStatus::Failed
            };
            self.raft.report_snapshot(to, status);
        }
    }

    /// Replaces the log and the state machine by the leader's snapshot.
    fn install(&mut self, snapshot: Snapshot) -> Result<(), AnyError> {
        let machine = StateMachine::from_snapshot(&snapshot.data)?;
        let members = snapshot.conf_state.clone();
        self.applied = snapshot.last_included;
        // The log first: the state machine is never ahead of it.
        self.raft.storage_mut().install_snapshot(snapshot)?;
        self.machine = machine;
        let last_included = self.applied;
        self.tracer.record(
            self.raft.id(),
            What::Snapshot {
                stage: SnapshotStage::Restored,
                last_included,
                peer: None,
            },
        );
        self.tell(Event::SnapshotInstalled {
            node: self.raft.id(),
            index: self.applied.index,
            members,
        });
        Ok(())
    }

    fn apply(&mut self, entry: &Entry) -> Result<(), AnyError> {
        self.applied = entry.id;
        match &entry.payload {
            // A leader's opening entry, or one that was to carry nothing.
            Payload::Data(data) if data.is_empty() => {}
            Payload::Data(data) => {
                let sequence = u64::from_be_bytes(entry.context.as_ref().try_into()?);
                let command = Command::parse(std::str::from_utf8(data)?)?;
                let outcome = self.machine.apply(sequence, command);
                // The leader answers. If it falls before it has, the client asks its successor.
                if let (Outcome::Done { answer }, RoleKind::Leader) = (outcome, self.raft.role()) {
                    self.answers.push(Answer {
                        sequence,
                        text: answer,
                    });
                }
            }
            Payload::Change(change) => {
                let members = self.raft.apply_conf_change(change)?;
                // A node that joins can begin only with a snapshot that counts it as a member.
                self.save_snapshot()?;
                self.tell(Event::MembershipChanged {
                    node: self.raft.id(),
                    index: entry.index(),
                    members,
                });
            }
        }
        Ok(())
    }

    /// Answers the reads whose index is applied. That the leader of that moment still led was made
    /// sure of before the node told the index, so the answer misses nothing that was answered
    /// anywhere before the read was asked for (Thesis 6.4).
    fn answer_reads(&mut self) {
        let applied = self.applied.index;
        let waiting = self.reads.len();
        self.reads.retain(|&index| index > applied);
        for _ in self.reads.len()..waiting {
            let commands = self.machine.last_sequence();
            self.tell(Event::ReadAnswered { commands });
        }
    }

    /// Saves a snapshot, then forgets the log that it covers.
    fn compact(&mut self) -> Result<(), AnyError> {
        let through = self.applied.index;
        if through > LogIndex::ZERO {
            self.save_snapshot()?;
            self.raft.storage_mut().compact(through)?;
        }
        let node = self.raft.id();
        self.tracer.record(node, What::Compacted { through });
        self.tell(Event::Compacted { node, through });
        Ok(())
    }

    /// Saves the state machine as it is, with the membership of the same moment.
    fn save_snapshot(&mut self) -> Result<(), AnyError> {
        let snapshot = Snapshot {
            last_included: self.applied,
            conf_state: self.raft.membership().to_conf_state(),
            data: self.machine.to_snapshot().into(),
        };
        self.raft.storage_mut().save_snapshot(snapshot)?;
        Ok(())
    }

    fn report(&self, with_state: bool) {
        self.tell(Event::Report(Report {
            node: self.raft.id(),
            role: self.raft.role(),
            term: self.raft.current_term(),
            commit_index: self.raft.commit_index(),
            applied: self.applied.index,
            state: with_state.then(|| self.machine.clone()),
        }));
    }

    /// Announces a new leadership first, so that the client knows whom the answers come from.
    fn tell_client(&mut self) {
        let term = self.raft.current_term();
        if self.raft.role() == RoleKind::Leader && self.announced != Some(term) {
            self.announced = Some(term);
            let node = self.raft.id();
            self.tell(Event::Leading { node, term });
        }
        if !self.answers.is_empty() {
            let answers = std::mem::take(&mut self.answers);
            let node = self.raft.id();
            self.tell(Event::Answers { node, answers });
        }
    }

    fn tell(&self, event: Event) {
        // If the main thread has ended, there is nobody left to tell.
        let _ = self.events.send(event);
    }
}
