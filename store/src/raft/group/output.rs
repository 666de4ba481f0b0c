//! What a region's node wants done, handed on to the log, the state machine and the network.
//!
//! Owns the fulfilment of a [`Ready`](almadia::Ready), and who waits for what in it.

use std::collections::BTreeMap;

use almadia::{ConfState, LogId, LogIndex, NodeId, Payload, Ready, Term};

use super::{Group, GroupError};
use crate::applier;
use crate::command::Outcome;
use crate::log::RegionWrite;
use crate::log_writer;
use crate::raft::{Outlets, Refusal, Reply};
use crate::snapshot::Description;

impl Group {
    /// Asks the node what it wants done, and hands that on. Returns whether others have to know that
    /// it leads now, or that another node does.
    ///
    /// # Errors
    ///
    /// If the node has stopped.
    pub fn work(&mut self, outlets: &Outlets) -> Result<bool, GroupError> {
        while let Some(ready) = self.node.ready()? {
            self.hand_on(ready, outlets)?;
        }
        // What was cut off from the log is nobody's to wait for; who knows whether it is committed.
        let last = self.node.last_log().index;
        while !self.leads()
            && let Some(left) = self
                .proposed
                .last_entry()
                .filter(|left| left.key().0 > last)
        {
            left.remove().send(Err(Refusal::Unknown));
        }
        let leading = (self.node.role(), self.node.leader());
        let is_changed = leading != self.published;
        if is_changed {
            tracing::info!(region = %self.id, role = ?leading.0, leader = ?leading.1, "leadership");
        }
        self.published = leading;
        Ok(is_changed)
    }

    fn hand_on(&mut self, mut ready: Box<Ready>, outlets: &Outlets) -> Result<(), GroupError> {
        outlets
            .transport
            .send(self.id, std::mem::take(&mut ready.messages));
        self.hand_to_log(&mut ready, outlets)?;
        self.hand_to_state(&mut ready, outlets);
        for read in std::mem::take(&mut ready.read_states) {
            self.read_ends(&read);
        }
        for outcome in std::mem::take(&mut ready.transfer_outcomes) {
            tracing::info!(region = %self.id, ?outcome, "a transfer has ended");
            if let Some(reply) = self.transfer.take() {
                reply.send(match outcome.result {
                    Ok(()) => Ok(Outcome::Done),
                    Err(error) => Err(Refusal::NotNow(error.to_string())),
                });
            }
        }
        Ok(())
    }

    fn hand_to_log(&mut self, ready: &mut Ready, outlets: &Outlets) -> Result<(), GroupError> {
        let write = RegionWrite {
            snapshot: ready.snapshot.take(),
            entries: std::mem::take(&mut ready.entries),
            hard_state: ready.hard_state.take(),
        };
        let messages = std::mem::take(&mut ready.messages_after_persist);
        let is_empty =
            write.snapshot.is_none() && write.entries.is_empty() && write.hard_state.is_none();
        let number = ready.number;
        if is_empty && self.persisted == self.handed_out {
            outlets.transport.send(self.id, messages);
            self.handed_out = number;
            self.persisted = number;
            return Ok(self.node.persisted(number)?);
        }
        self.handed_out = number;
        if let Some(snapshot) = &write.snapshot {
            self.snapshot = Some((number, (**snapshot).clone()));
            let description = Description::of(snapshot).ok();
            let at = snapshot.last_included;
            self.incoming = description.map(|description| (at, description.region.range));
            // If it is a member again, this is how it was told.
            self.leaves_at = None;
            // Whether what it covers is what was proposed here, it does not say.
            let until = snapshot.last_included.index;
            while let Some((_, reply)) = pop_until(&mut self.proposed, until) {
                reply.send(Err(Refusal::Unknown));
            }
        }
        let task = log_writer::Task::Write {
            region: self.id,
            written: log_writer::Written {
                generation: self.generation,
                number,
            },
            write,
            must_sync: ready.must_sync,
            messages,
        };
        // If nobody listens, the node is being stopped.
        drop(outlets.log.send(task));
        Ok(())
    }

    fn hand_to_state(&mut self, ready: &mut Ready, outlets: &Outlets) {
        let runs = std::mem::take(&mut ready.committed_entries);
        if runs.is_empty() {
            return;
        }
        let mut memberships = BTreeMap::new();
        let mut replies = Vec::new();
        for entry in runs.iter().flatten() {
            if let Payload::Change(change) = &entry.payload {
                let me = self.node.id();
                let was_member = self.is_member(me);
                let changed: Option<ConfState> = self.node.apply_conf_change(change).ok();
                memberships.extend(changed.map(|membership| (entry.id.index, membership)));
                if was_member && !self.is_member(me) {
                    // Before a checkpoint can make it durable: whoever starts from that one has to
                    // know that this node was no member that is yet to become one.
                    log_writer::wait_for(&outlets.log, |done| {
                        log_writer::Task::Leave(self.id, done)
                    });
                    self.leaves_at = Some(entry.id.index);
                } else if self.is_member(me) && self.leaves_at.take().is_some() {
                    log_writer::wait_for(&outlets.log, |done| {
                        log_writer::Task::Stay(self.id, done)
                    });
                }
            }
            while let Some((id, reply)) = pop_until(&mut self.proposed, entry.id.index) {
                if id == entry.id {
                    replies.push((id, reply));
                } else {
                    // Another leader's entry has taken its place, for good.
                    reply.send(Err(Refusal::NotLeader(self.node.leader().map(NodeId::get))));
                }
            }
        }
        let task = applier::Task::Entries {
            region: self.id,
            runs,
            memberships,
            replies,
        };
        drop(outlets.apply.send(task));
    }

    fn read_ends(&mut self, read: &almadia::ReadState) {
        let number = read
            .context
            .first_chunk()
            .map(|bytes| u64::from_le_bytes(*bytes));
        let Some(reply) = number.and_then(|number| self.asked.remove(&number)) else {
            return;
        };
        match &read.outcome {
            Ok(index) if *index <= self.applied => reply.send(Ok(Outcome::Done)),
            Ok(index) => self.waiting.entry(*index).or_default().push(reply),
            Err(error) => reply.send(Err(Refusal::NotNow(error.to_string()))),
        }
    }
}

/// The first who waits for an entry up to this one.
fn pop_until(
    proposed: &mut BTreeMap<(LogIndex, Term), Reply>,
    until: LogIndex,
) -> Option<(LogId, Reply)> {
    let first = proposed.first_entry()?;
    let (index, term) = *first.key();
    (index <= until).then(|| (LogId { term, index }, first.remove()))
}
