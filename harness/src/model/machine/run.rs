//! What an input makes of a machine.
//!
//! Owns the calls on the node, the handling of its `Ready`s, and the promises that are kept or
//! broken in it: what a leader never overwrites, what is applied, what leaves before it is durable.
//! What one call may do to a node stands in `watch.rs`.

use std::collections::VecDeque;
use std::panic::{self, AssertUnwindSafe};

use almadia::{
    AppendEntriesResponse, Body, Bytes, Config, Entry, LogId, LogIndex, MemStorage, Message,
    NodeId, Payload, RawNode, Ready, StepError, Storage,
};

use super::watch::{Seen, check_diligence, check_matches};
use super::{Claim, Effect, Input, Life, Machine, Place, Process, log_of};
use crate::checker::is_covered;
use crate::disk::Write;
use crate::model::preset::{DiskKind, Preset};
use crate::node::Batch;
use crate::scenario::panic_text;
use crate::state_machine::StateMachine;
use crate::violation::ViolationKind;

type Checked<T = ()> = Result<T, ViolationKind>;

/// What came of an input.
#[derive(Debug)]
pub(in crate::model) struct Outcome {
    pub(in crate::model) machine: Machine,
    pub(in crate::model) sent: Vec<Message>,
    pub(in crate::model) claims: Vec<Claim>,
    pub(in crate::model) effects: Vec<Effect>,
}

/// The context of a lease read; other reads have their number.
const LEASE_READ: Bytes = Bytes::from_static(b"lease");

impl Machine {
    /// A machine on which nothing was ever started.
    pub(in crate::model) fn new(preset: &Preset, id: NodeId) -> Self {
        let mut disk = MemStorage::new();
        disk.set_conf_state(preset.conf_state.clone());
        Self {
            id,
            incarnation: (preset.bounds.reads > 0).then_some(0),
            life: Life::Down(Box::new(disk)),
            state_machine: StateMachine::new(preset.conf_state.clone()),
            log: Vec::new(),
        }
    }
}

/// Carries an input out on a copy of the machine. `None` if the node refuses it, as it may.
///
/// # Errors
///
/// The promise that it breaks; a panic of the core is one.
pub(in crate::model) fn run(
    preset: &Preset,
    machine: &Machine,
    input: Input,
    message: Option<&Message>,
) -> Checked<Option<Outcome>> {
    let attempt = || {
        let mut run = Run {
            preset,
            machine: machine.clone(),
            sent: Vec::new(),
            claims: Vec::new(),
            effects: Vec::new(),
        };
        let taken = run.take(input, message)?;
        Ok(taken.then(|| Outcome {
            machine: run.machine,
            sent: run.sent,
            claims: run.claims,
            effects: run.effects,
        }))
    };
    panic::catch_unwind(AssertUnwindSafe(attempt))
        .unwrap_or_else(|payload| Err(ViolationKind::Panicked(panic_text(payload.as_ref()))))
}

struct Run<'a> {
    preset: &'a Preset,
    machine: Machine,
    sent: Vec<Message>,
    claims: Vec<Claim>,
    effects: Vec<Effect>,
}

impl Run<'_> {
    /// Returns whether the node takes the input.
    fn take(&mut self, input: Input, message: Option<&Message>) -> Checked<bool> {
        let taken = match input {
            // Time passes, and nobody notices.
            Input::Tick if self.machine.node().is_none() => return Ok(true),
            // Nobody notices that either.
            Input::Lose(_) => return Ok(true),
            Input::Receive(_) => self.receive(message)?,
            Input::Campaign => self.call(|node| node.campaign().is_ok())?,
            Input::Ping => self.call(|node| {
                node.ping();
                true
            })?,
            Input::Tick => {
                let result = self.call(|node| node.tick().map_err(|error| error.to_string()))?;
                self.expect("tick", result)?;
                true
            }
            Input::Propose(number) => self.call(|node| node.propose("", vec![number]).is_ok())?,
            Input::ProposeChange(number) => {
                let change = self.preset.changes[usize::from(number)].clone();
                self.call(|node| node.propose_conf_change("", change).is_ok())?
            }
            Input::Read(number) => {
                self.effects.push(Effect::Asks(number));
                self.call(|node| node.read_index(vec![number]).is_ok())?
            }
            Input::LeaseRead => return self.lease_read(),
            Input::Transfer(to) => self.call(|node| node.transfer_leader(to).is_ok())?,
            Input::Write => {
                self.write(1)?;
                true
            }
            Input::Acknowledge(count) => {
                self.acknowledge(usize::from(count))?;
                true
            }
            Input::Apply => {
                self.apply_batch()?;
                true
            }
            Input::Crash {
                kept,
                unsynced_kept,
            } => {
                self.crash(usize::from(kept), unsynced_kept)?;
                return Ok(true);
            }
            Input::Start => {
                self.start()?;
                true
            }
        };
        if taken {
            self.settle()?;
        }
        Ok(taken)
    }

    // --- Calls ---

    fn process(&mut self) -> Checked<&mut Process> {
        let node = self.machine.id;
        match &mut self.machine.life {
            Life::Up(process) => Ok(process),
            Life::Down(_) => Err(ViolationKind::CallFailed {
                node,
                call: "any",
                error: "the machine is down".into(),
            }),
        }
    }

    fn expect<T>(&self, call: &'static str, result: Result<T, impl ToString>) -> Checked<T> {
        result.map_err(|error| ViolationKind::CallFailed {
            node: self.machine.id,
            call,
            error: error.to_string(),
        })
    }

    /// Calls the node, and looks at what the call has changed.
    fn call<T>(&mut self, call: impl FnOnce(&mut RawNode<MemStorage>) -> T) -> Checked<T> {
        let id = self.machine.id;
        let node = &mut self.process()?.node;
        let before = Seen::of(node);
        let result = call(node);
        let after = Seen::of(node);
        before.check(&after, id)?;
        // A leader may commit something and step down within one call.
        let led = before.leads && before.term == after.term;
        let commits = (led || after.leads) && after.commit > before.commit;
        let quorum_of = commits.then(|| node.membership().clone());
        if after.leads && !led {
            self.effects.push(Effect::Leads(after.term));
        }
        if let Some(membership) = quorum_of {
            let commits = Effect::Commits(after.term, after.commit, membership);
            self.effects.push(commits);
        }
        Ok(result)
    }

    fn receive(&mut self, message: Option<&Message>) -> Checked<bool> {
        let Some(message) = message.cloned() else {
            return Ok(false);
        };
        let text = super::describe(&message);
        let term = message.term;
        // A peer that denies what it had acknowledged is believed (Deviation D4). No other message
        // takes back what is known of a peer.
        let denies = matches!(
            message.body,
            Body::AppendEntriesResponse(AppendEntriesResponse::Rejected { .. })
        );
        let id = self.machine.id;
        let known = self.machine.matches();
        let outcome = self.call(|node| node.step(message))?;
        if !denies {
            check_matches(id, &known, &self.machine)?;
        }
        let Err(error) = outcome else {
            return Ok(true);
        };
        // Wishes may come to somebody who cannot fulfil them, and messages to somebody who has not
        // learned of their sender. Nobody in a correct cluster has reason to refuse anything else.
        let is_expected = matches!(
            error,
            StepError::NotAMember { .. }
                | StepError::Propose(_)
                | StepError::Read(_)
                | StepError::Transfer(_)
        );
        if is_expected {
            return Ok(true);
        }
        if let StepError::ConflictsWithCommitted { entry, .. } = error {
            self.effects.push(Effect::Contradicts {
                term,
                entry,
                error: format!("{text}: {error}"),
            });
            return Ok(true);
        }
        Err(ViolationKind::MessageRefused {
            node: self.machine.id,
            message: text,
            error: error.to_string(),
        })
    }

    /// A lease read that the lease does not answer is another kind of read.
    fn lease_read(&mut self) -> Checked<bool> {
        let taken = self.call(|node| node.lease_read(LEASE_READ).is_ok())?;
        self.settle()?;
        let is_answered = self
            .effects
            .iter()
            .any(|effect| matches!(effect, Effect::AnswersAtOnce(_)));
        Ok(taken && is_answered)
    }

    // --- Output ---

    /// Carries out everything that the node wants done now.
    fn settle(&mut self) -> Checked {
        loop {
            if !self.preset.applies_later.contains(&self.machine.id) {
                while self.machine.has_to_apply() {
                    self.apply_batch()?;
                }
            }
            let result = self.call(|node| node.ready().map_err(|error| error.to_string()))?;
            let Some(ready) = self.expect("ready", result)? else {
                return check_diligence(&self.machine);
            };
            self.handle(ready)?;
        }
    }

    fn handle(&mut self, ready: Box<Ready>) -> Checked {
        let mut batch = Batch::from(ready);
        if batch.snapshot.is_some() {
            return self.expect("ready", Err("a snapshot, though no log is ever compacted"));
        }
        for entry in batch.entries.iter().flatten() {
            self.append(entry)?;
        }
        for state in &batch.read_states {
            self.end_read(&state.context, state.outcome.ok());
        }
        self.send(std::mem::take(&mut batch.messages))?;
        let committed = std::mem::take(&mut batch.committed_entries);
        self.process()?.to_apply.extend(committed);
        let must_sync = batch.must_sync;
        let mut write = Write::take_from(&mut batch);
        let process = self.process()?;
        process.unsynced = write.hard_state.or(process.unsynced);
        if must_sync {
            write.hard_state = process.unsynced.take();
            process.writes.push_back(write);
        } else if let Some(last) = process.writes.back_mut() {
            // What waits for everything handed out so far waits for the last write.
            let after = &mut last.messages_after_persist;
            after.append(&mut write.messages_after_persist);
        } else {
            self.send(write.messages_after_persist)?;
        }
        if self.preset.disk(self.machine.id) == DiskKind::Immediate {
            let count = self.process()?.writes.len();
            self.acknowledge(count)?;
        }
        Ok(())
    }

    /// Messages leave. What they promise is on the disk by now.
    fn send(&mut self, messages: Vec<Message>) -> Checked {
        let disk = self.machine.disk();
        for message in messages {
            if !is_covered(disk, disk.hard_state(), &message) {
                return Err(ViolationKind::PromisedTooEarly {
                    from: message.from,
                    to: message.to,
                    term: message.term,
                    what: format!("{:?}", message.body),
                });
            }
            let is_current = disk.hard_state().current_term == message.term;
            if let Body::AppendEntriesResponse(AppendEntriesResponse::Accepted {
                match_index: index,
                ..
            }) = message.body
            {
                if is_current && index > LogIndex::ZERO {
                    let term = disk.term(index).unwrap_or_default();
                    self.claims.push(Claim {
                        to: message.to,
                        term: message.term,
                        held: LogId { term, index },
                    });
                }
            }
            self.sent.push(message);
        }
        Ok(())
    }

    fn end_read(&mut self, context: &Bytes, outcome: Option<LogIndex>) {
        let effect = match (&context[..], outcome) {
            (&[number], Some(index)) => Effect::Answers(number, index),
            (&[number], None) => Effect::Drops(number),
            (_, Some(index)) => Effect::AnswersAtOnce(index),
            (_, None) => return,
        };
        self.effects.push(effect);
    }

    /// An entry is handed out to be written.
    fn append(&mut self, entry: &Entry) -> Checked {
        let Machine {
            id, ref mut log, ..
        } = self.machine;
        let position = usize::try_from(entry.index().0).unwrap_or(usize::MAX);
        let last = log.last().map(|place| place.id).unwrap_or_default();
        if position == 0 || position > log.len() + 1 {
            return Err(ViolationKind::HoleInLog {
                node: id,
                entry: entry.id,
                last,
            });
        }
        let overwrites = position <= log.len();
        log.truncate(position - 1);
        log.push(Place::of(entry));
        if overwrites && self.machine.leads() {
            return Err(ViolationKind::LeaderOverwrites {
                leader: id,
                term: entry.id.term,
                from: entry.index(),
            });
        }
        Ok(())
    }

    // --- The disk ---

    /// The disk carries out the next writes.
    fn write(&mut self, count: usize) -> Checked {
        let Process {
            node,
            writes,
            written,
            ..
        } = self.process()?;
        let result = writes
            .iter()
            .skip(*written)
            .take(count)
            .try_for_each(|write| carry_out(write, node.storage_mut()));
        *written = writes.len().min(*written + count);
        self.expect("the write", result)
    }

    /// The first writes are durable, and the node is told so.
    fn acknowledge(&mut self, count: usize) -> Checked {
        let written = self.process()?.written;
        self.write(count.saturating_sub(written))?;
        let process = self.process()?;
        process.written -= count.min(process.written);
        let done: VecDeque<Write> = process.writes.drain(..count).collect();
        let Some(number) = done.back().map(|write| write.number) else {
            return Ok(());
        };
        for write in done {
            self.send(write.messages_after_persist)?;
        }
        let result = self.call(|node| node.persisted(number))?;
        self.expect("persisted", result)
    }

    // --- The state machine ---

    fn apply_batch(&mut self) -> Checked {
        let Some(batch) = self.process()?.to_apply.pop_front() else {
            return Ok(());
        };
        for entry in &batch {
            self.apply(entry)?;
        }
        let index = batch.last().map(Entry::index).unwrap_or_default();
        let result = self.call(|node| node.applied(index))?;
        self.expect("applied", result)
    }

    fn apply(&mut self, entry: &Entry) -> Checked {
        let applied = self.machine.state_machine.applied_index();
        if entry.index() != applied.next() {
            return Err(ViolationKind::AppliedOutOfOrder {
                node: self.machine.id,
                entry: entry.id,
                applied,
            });
        }
        let logged = self.machine.log_at(entry.index());
        if logged != Some(Place::of(entry)) {
            return Err(ViolationKind::CommittedDiffers {
                node: self.machine.id,
                committed: logged.map(|place| place.id).unwrap_or_default(),
                found: entry.id,
            });
        }
        let conf_state = match &entry.payload {
            Payload::Data(_) => None,
            Payload::Change(change) => {
                let result = self.call(|node| node.apply_conf_change(change))?;
                Some(self.expect("apply_conf_change", result)?)
            }
        };
        self.machine.state_machine.apply(entry, conf_state);
        Ok(())
    }

    // --- Crashes ---

    fn crash(&mut self, kept: usize, unsynced_kept: bool) -> Checked {
        self.effects.push(Effect::Forgets);
        let process = self.process()?;
        let all_kept = process.written + kept == process.writes.len();
        let hard_state = process.node.hard_state();
        let mut disk = process.node.storage().clone();
        let lost_or_kept = process.writes.iter().skip(process.written);
        let result = lost_or_kept
            .take(kept)
            .try_for_each(|write| carry_out(write, &mut disk));
        self.expect("the write", result)?;
        if unsynced_kept && all_kept {
            disk.set_hard_state(hard_state);
        }
        if !unsynced_kept {
            self.machine.state_machine = StateMachine::new(self.preset.conf_state.clone());
        }
        self.machine.log = log_of(&disk);
        self.machine.life = Life::Down(Box::new(disk));
        Ok(())
    }

    fn start(&mut self) -> Checked {
        let Life::Down(disk) = &self.machine.life else {
            return Ok(());
        };
        let mut disk = MemStorage::clone(disk);
        disk.set_conf_state(self.machine.state_machine.conf_state().clone());
        let mut builder = (self.preset.configure)(Config::builder(self.machine.id))
            .applied(self.machine.state_machine.applied());
        if let Some(incarnation) = &mut self.machine.incarnation {
            builder = builder.incarnation(*incarnation);
            *incarnation += 1;
        }
        let config = self.expect("start", builder.build())?;
        let node = self.expect("start", RawNode::new(config, disk))?;
        self.machine.life = Life::Up(Box::new(Process {
            node,
            writes: VecDeque::new(),
            written: 0,
            unsynced: None,
            to_apply: VecDeque::new(),
        }));
        Ok(())
    }
}

/// Does what a write asks for.
fn carry_out(write: &Write, disk: &mut MemStorage) -> Result<(), String> {
    write.write_log(disk).map_err(|error| error.to_string())?;
    if let Some(hard_state) = write.hard_state {
        disk.set_hard_state(hard_state);
    }
    Ok(())
}
