//! What an embedder does: carries out every `Ready` in the right order, and reports.
//!
//! Owns the run loop of a simulated machine, for both disk modes, and its crashes. Must not decide
//! when anything happens; that is the caller's business.

use almadia::{Body, Entry, Message, NodeId, Payload, SnapshotStatus};

use super::{Cluster, Outcomes, PendingReport, is_busy};
use crate::checker::last_of;
use crate::digest::Digest;
use crate::disk::{EmbedderFault, Write};
use crate::embedder::{Embedder, Store};
use crate::host::{ApplyJob, DiskMode};
use crate::node::{Batch, Node, Refusal};
use crate::state_machine::StateMachine;
use crate::trace::{SnapshotStage, What};
use crate::violation::ViolationKind;

impl<E: Embedder> Cluster<E> {
    // --- Inputs ---

    /// Tells the node all ticks that have passed. Lease reads, and the promises that leases rest
    /// on, need this before anything else is called on it.
    pub(crate) fn settle_clock(&mut self, at: usize) {
        let ticks = std::mem::take(&mut self.hosts[at].owed_ticks);
        if ticks > 0 {
            self.tick_many_at(at, ticks);
        }
    }

    /// So many ticks at once, which must do what as many single ones do. Also on a node that is
    /// busy with its disk.
    pub(crate) fn tick_many_at(&mut self, at: usize, ticks: u32) {
        let host = &mut self.hosts[at];
        let Some(node) = host.node.as_mut() else {
            return;
        };
        let (result, is_same) = node.tick_many(ticks, || host.tap.forget());
        self.observe(at);
        self.expect(at, "tick_many", result);
        if !is_same {
            let node = self.hosts[at].id;
            self.check(Err(ViolationKind::TicksDiffer { node, ticks }));
        }
    }

    /// A tick that the node is told later, before anything else is called on it.
    pub(crate) fn owe_tick_at(&mut self, at: usize) {
        let host = &mut self.hosts[at];
        host.owed_ticks += u32::from(host.node.is_some());
    }

    /// Calls a node that is up and not busy, and carries out what it wants done.
    pub(crate) fn call<T>(
        &mut self,
        at: usize,
        call: impl FnOnce(&mut Node<E::Store>) -> T,
    ) -> Option<T> {
        if self.hosts[at].busy.is_some() {
            return None;
        }
        self.settle_clock(at);
        let result = call(self.hosts[at].node.as_mut()?);
        self.observe(at);
        if self.is_instant {
            self.pump(at);
        }
        Some(result)
    }

    pub(crate) fn tick_at(&mut self, at: usize) {
        let result = self.call(at, Node::tick);
        self.expect(at, "tick", result.unwrap_or(Ok(())));
    }

    /// Hands a message to its receiver, or loses it if a link is cut or the receiver is down.
    pub(crate) fn deliver(&mut self, message: Message) {
        let position = self.hosts.iter().position(|host| host.id == message.to);
        let Some(at) = position.filter(|&at| self.hosts[at].node.is_some()) else {
            return self.lose(&message);
        };
        if self.network.is_cut(message.from, message.to) {
            return self.lose(&message);
        }
        if is_busy(&self.hosts, message.to) {
            return self.network.send(message);
        }
        self.stats.delivered += 1;
        self.tell_delivered(&message);
        self.trace(&(
            message.to,
            message.from,
            message.term,
            message.body.kind() as u8,
        ));
        if let Body::InstallSnapshot(_) = message.body {
            // Sometimes the transport says so at once, sometimes after a long time.
            let delay = if self.coin(&message) { 1 } else { 40 };
            self.report_later(&message, SnapshotStatus::Delivered, delay);
        }
        self.before_step(&message);
        let (from, to) = (message.from, message.to);
        let text = (from, message.term, message.body.kind());
        let proposals = if let Body::Propose(proposals) = &message.body {
            proposals.len() as u64
        } else {
            0
        };
        let refusal = match self.call(at, |node| node.step(message)) {
            Some(Err(refusal)) => refusal,
            Some(Ok(())) => {
                return self.on_forwarded(from, to, proposals);
            }
            None => return,
        };
        if refusal.has_halted {
            return self.expect(at, "step", Err(refusal.error));
        }
        self.on_refusal(at, &format!("{text:?}"), refusal);
    }

    fn on_refusal(&mut self, at: usize, message: &str, refusal: Refusal) {
        // A follower of raft-rs passes on what was passed on to it, maybe to where it comes from.
        let is_expected = refusal.is_expected || (refusal.is_relayed && self.talks_in_bytes());
        if !is_expected && self.checker.checks.refusals {
            self.check(Err(ViolationKind::MessageRefused {
                node: self.hosts[at].id,
                message: message.into(),
                error: refusal.error,
            }));
        }
        if let Some(reply) = refusal.reply {
            self.post(*reply);
        }
    }

    /// Loses a message; the transport tells the sender of a snapshot some ticks later.
    pub(crate) fn lose(&mut self, message: &Message) {
        self.stats.dropped += 1;
        self.tell_lost(message);
        if let Body::InstallSnapshot(_) = message.body {
            let delay = if self.coin(message) { 1 } else { 5 };
            self.report_later(message, SnapshotStatus::Failed, delay);
        }
    }

    /// A decision that depends on nothing but the message, the seed and the time.
    fn coin(&self, message: &Message) -> bool {
        Digest::of(&(self.seed, self.now, message.from, message.to, message.term)) % 2 == 0
    }

    fn report_later(&mut self, message: &Message, status: SnapshotStatus, delay: u64) {
        let sender = self.hosts.iter().find(|host| host.id == message.from);
        let Some(incarnation) = sender.map(|host| host.incarnation) else {
            return;
        };
        self.reports.push(PendingReport {
            due: self.now + delay,
            sender: message.from,
            incarnation,
            peer: message.to,
            status,
        });
    }

    pub(crate) fn send_due_reports(&mut self) {
        let now = self.now;
        let reports = std::mem::take(&mut self.reports);
        let (due, later) = reports.into_iter().partition(|report| report.due <= now);
        self.reports = later;
        let due: Vec<PendingReport> = due;
        for report in due {
            let sender = self.hosts.iter().position(|host| {
                host.id == report.sender && host.incarnation == report.incarnation
            });
            let Some(at) = sender else { continue };
            if self.hosts[at].busy.is_some() {
                self.reports.push(report);
                continue;
            }
            self.call(at, |node| node.report_snapshot(report.peer, report.status));
        }
    }

    // --- Output ---

    /// Asks the node for `Ready`s until it has no more.
    pub(crate) fn pump(&mut self, at: usize) {
        const LIMIT: u64 = 10_000;
        if self.hosts[at].busy.is_none() {
            self.settle_clock(at);
        }
        for _ in 0..LIMIT {
            if self.hosts[at].busy.is_some() || self.violation.is_some() {
                return;
            }
            let Some(node) = self.hosts[at].node.as_mut() else {
                return;
            };
            let result = node.ready();
            let still_ready = node.has_ready();
            if let Ok(Some(batch)) = &result {
                self.checker.before_ready(at, batch);
            }
            self.observe(at);
            match result {
                Err(halted) => return self.expect(at, "ready", Err(halted)),
                // `has_ready` may announce what turns out to be nothing, but not twice.
                Ok(None) if still_ready => {
                    let error = "has_ready() stays true, and there is none".into();
                    return self.expect(at, "ready", Err(error));
                }
                Ok(None) => return,
                Ok(Some(batch)) => self.handle(at, batch),
            }
        }
        let error = "it does not come to rest".into();
        self.expect(at, "ready", Err(error));
    }

    /// Begins to do what a batch asks for.
    fn handle(&mut self, at: usize, mut batch: Batch) {
        let checked = self.checker.on_ready(&self.hosts[at], at, &batch);
        self.check(checked);
        self.trace(&(at, batch.number, batch.hard_state, batch.entries.len()));
        for read in &batch.read_states {
            self.tell(at, || What::read_ended(read));
        }
        let has_outcomes = !batch.read_states.is_empty() || !batch.transfer_outcomes.is_empty();
        if let Some(outcomes) = self.outcomes.as_mut().filter(|_| has_outcomes) {
            outcomes.push(Outcomes {
                node: self.hosts[at].id,
                reads: batch.read_states.clone(),
                transfers: batch.transfer_outcomes.clone(),
            });
        }
        for message in std::mem::take(&mut batch.messages) {
            self.send(at, message);
        }
        let mut write = Write::take_from(&mut batch);
        let host = &mut self.hosts[at];
        if let Some(snapshot) = &write.snapshot {
            host.jobs.push_back(ApplyJob::Restore {
                snapshot: snapshot.clone(),
                number: write.number,
            });
        } else if let Some(through) = batch.applies_to {
            let runs = std::mem::take(&mut batch.committed_entries);
            host.jobs.push_back(ApplyJob::Entries { runs, through });
        }
        if host.disk.fault == EmbedderFault::AcknowledgesEarly {
            self.acknowledge(at, &mut write);
            self.hosts[at].disk.pending.push_back(write);
            self.apply_all(at);
            return;
        }
        host.disk.pending.push_back(write);
        if host.mode == DiskMode::Synchronous {
            host.busy = Some(batch);
        }
        if self.is_instant && !self.hosts[at].disk.is_stalled {
            while self.complete_write(at) {}
            self.apply_all(at);
        }
    }

    /// Whether nodes of two kinds may talk to each other.
    pub(super) const fn talks_in_bytes(&self) -> bool {
        #[cfg(feature = "raft-rs")]
        return self.talks_in_bytes;
        #[cfg(not(feature = "raft-rs"))]
        false
    }

    /// What arrives of a message: where nodes of two kinds talk, all of them do so in bytes.
    fn carried(&self, message: Message) -> Message {
        #[cfg(feature = "raft-rs")]
        if self.talks_in_bytes {
            return crate::raft_rs::carried(&message);
        }
        message
    }

    fn send(&mut self, at: usize, message: Message) {
        let checked = self.checker.on_send(&self.hosts[at], at, &message);
        self.check(checked);
        self.post(message);
    }

    /// Puts a message on the wire.
    pub(super) fn post(&mut self, message: Message) {
        let message = self.carried(message);
        self.tell_sent(&message);
        self.network.send(message);
    }

    /// The oldest pending write becomes durable. Returns whether there was one.
    pub(crate) fn complete_write(&mut self, at: usize) -> bool {
        if self.hosts[at].node.is_none() || self.violation.is_some() {
            return false;
        }
        self.settle_clock(at);
        let host = &mut self.hosts[at];
        let Some(mut write) = host.disk.pending.pop_front() else {
            return false;
        };
        let result = host
            .disk
            .complete(&write)
            .map_err(|error| error.to_string());
        self.expect(at, "the write", result);
        self.tell_persisted(at, &write);
        if !write.is_acknowledged {
            self.acknowledge(at, &mut write);
        }
        true
    }

    /// Makes the write visible to the node, tells it, and sends what waited for that.
    fn acknowledge(&mut self, at: usize, write: &mut Write) {
        write.is_acknowledged = true;
        let host = &mut self.hosts[at];
        let Some(node) = host.node.as_mut() else {
            return;
        };
        let result = node.make_readable(write);
        host.persisted = write.number;
        self.expect(at, "the write", result);
        for message in std::mem::take(&mut write.messages_after_persist) {
            self.send(at, message);
        }
        // The synchronous embedder applies next, and reports both at once.
        if self.hosts[at].busy.is_some() {
            self.apply_all(at);
            let host = &mut self.hosts[at];
            let (Some(batch), Some(node)) = (host.busy.take(), host.node.as_mut()) else {
                return;
            };
            let result = node.advance(batch);
            self.observe(at);
            return self.expect(at, "advance", result);
        }
        let Some(node) = self.hosts[at].node.as_mut() else {
            return;
        };
        let result = node.persisted(write.number);
        self.observe(at);
        self.expect(at, "persisted", result);
    }

    // --- The state machine ---

    pub(crate) fn apply_all(&mut self, at: usize) {
        while self.apply_job(at) {}
    }

    /// Does what the state machine is to do next. Returns whether there was something, and it
    /// need not wait.
    pub(crate) fn apply_job(&mut self, at: usize) -> bool {
        if self.violation.is_some() {
            return false;
        }
        self.settle_clock(at);
        let host = &mut self.hosts[at];
        let Some(job) = host.jobs.pop_front() else {
            return false;
        };
        let through = match job {
            ApplyJob::Restore { snapshot, number } if number > host.persisted => {
                host.jobs.push_front(ApplyJob::Restore { snapshot, number });
                return false;
            }
            ApplyJob::Restore { snapshot, .. } => {
                let through = snapshot.last_included.index;
                let Some(machine) = StateMachine::restored(&snapshot) else {
                    let error = "no snapshot of this state machine".into();
                    self.expect(at, "restore", Err(error));
                    return false;
                };
                host.machine = machine;
                self.stats.snapshots += 1;
                self.on_restored(at, through);
                self.tell(at, || What::Snapshot {
                    stage: SnapshotStage::Restored,
                    last_included: snapshot.last_included,
                    peer: None,
                });
                let checked = self.checker.after_apply(&self.hosts[at], at);
                self.check(checked);
                through
            }
            ApplyJob::Entries { runs, through } => {
                for entry in runs.iter().flat_map(|run| run.iter()) {
                    self.apply(at, entry);
                    if self.hosts[at].node.is_none() {
                        return false;
                    }
                }
                through
            }
        };
        let host = &mut self.hosts[at];
        if host.busy.is_none() {
            let Some(node) = host.node.as_mut() else {
                return false;
            };
            let result = node.applied(through);
            self.observe(at);
            self.expect(at, "applied", result);
        }
        true
    }

    fn apply(&mut self, at: usize, entry: &Entry) {
        let checked = self.checker.before_apply(&self.hosts[at], entry.id);
        self.check(checked);
        if self.violation.is_some() {
            return;
        }
        let conf_state = match &entry.payload {
            Payload::Data(_) => None,
            Payload::Change(change) => {
                let host = &mut self.hosts[at];
                let Some(node) = host.node.as_mut() else {
                    return;
                };
                let before = host.machine.conf_state();
                let result = node.apply_conf_change(change, entry.index(), before);
                self.observe(at);
                self.stats.changes += 1;
                let refusal = result.as_ref().map(drop).map_err(String::clone);
                self.expect(at, "apply_conf_change", refusal);
                if self.hosts[at].node.is_none() {
                    return;
                }
                result.ok()
            }
        };
        let host = &mut self.hosts[at];
        host.machine.apply(entry, conf_state);
        self.stats.applied += 1;
        let checked = self.checker.after_apply(&self.hosts[at], at);
        self.check(checked);
        self.trace(&(at, entry.id, self.hosts[at].machine.hash()));
    }

    // --- Crashes and compaction ---

    pub(crate) fn start(&mut self, at: usize) {
        let host = &mut self.hosts[at];
        let is_ahead = host.disk.machine.applied_index() > last_of(&host.disk.durable).index;
        self.stats.starts_ahead += u64::from(is_ahead);
        let result = host.start();
        self.expect(at, "start", result);
        self.tell_start(at);
        let checked = self.checker.on_start(&self.hosts[at], at);
        self.check(checked);
        self.trace(&(at, "start"));
    }

    pub(crate) fn crash_at(&mut self, at: usize, kept: usize, synced: bool) {
        if self.hosts[at].node.is_none() {
            return;
        }
        self.stats.crashes += 1;
        self.tell_crash(at, kept);
        self.trace(&(at, "crash", kept));
        self.hosts[at].stop();
        let result = self.hosts[at].disk.crash(kept, synced);
        self.expect(at, "the write", result.map_err(|error| error.to_string()));
    }

    pub(crate) fn compact_at(&mut self, at: usize) -> Option<almadia::LogIndex> {
        let host = &mut self.hosts[at];
        // A snapshot on its way to the disk is ahead of the state machine.
        let is_installing = host
            .disk
            .pending
            .iter()
            .any(|write| write.snapshot.is_some());
        let node = host.node.as_mut().filter(|_| !is_installing)?;
        let through = host.disk.save_snapshot(&host.machine)?;
        let through = through.min(node.compacts_to());
        let storage = node.store_mut();
        let mut result = storage.save_snapshot(host.machine.snapshot());
        let is_compacted = host.disk.compact(through);
        if is_compacted {
            result = result.and_then(|()| storage.compact(through));
        }
        self.expect(at, "compact", result.map_err(|error| error.to_string()));
        if !is_compacted {
            return None;
        }
        self.stats.compactions += 1;
        self.tell(at, || What::Compacted { through });
        self.trace(&(at, "compact", through));
        Some(through)
    }

    // --- Checks ---

    fn observe(&mut self, at: usize) {
        self.tell_changes(at);
        let before = self.checker.last_led();
        let checked = self.checker.observe(&self.hosts, at);
        if let Some(term) = self.checker.last_led().filter(|&term| Some(term) > before) {
            self.on_elected(at, term);
        }
        self.check(checked);
    }

    /// A call must succeed, unless the node has reason to stop: then the machine is stopped.
    pub(crate) fn expect(&mut self, at: usize, call: &'static str, result: Result<(), String>) {
        if result.is_err() && self.hosts[at].has_halted() {
            self.stats.halts += 1;
            return self.crash_at(at, 0, false);
        }
        let node: NodeId = self.hosts[at].id;
        self.check(result.map_err(|error| ViolationKind::CallFailed { node, call, error }));
    }
}
