//! What a node wants done: messages to send, state to persist, entries to apply.
//!
//! Owns [`Ready`] and its obligations, and the making of one from the common state. Must not know roles.

use alloc::vec::Vec;
use core::hash::{Hash, Hasher};
use core::mem;

use crate::message::Message;
use crate::raft::Core;
use crate::storage::{Storage, StorageError};
use crate::types::{Entries, HardState, LogIndex, Snapshot};

/// One batch of obligations. Exhaustive on purpose: ignoring one loses data.
///
/// In this order, or with the marked ones in parallel:
///
/// 1. send [`messages`](Self::messages) (before, or while, the disk works);
/// 2. persist [`snapshot`](Self::snapshot), then [`entries`](Self::entries), then
///    [`hard_state`](Self::hard_state), or all at once; with an fsync if
///    [`must_sync`](Self::must_sync);
/// 3. once that and everything of earlier `Ready`s is durable, send
///    [`messages_after_persist`](Self::messages_after_persist);
/// 4. restore the state machine from `snapshot`, apply
///    [`committed_entries`](Self::committed_entries) in order, and pass the membership changes
///    among them to [`RawNode::apply_conf_change`](crate::RawNode::apply_conf_change);
/// 5. hand the `Ready` back with [`RawNode::advance`](crate::RawNode::advance).
///
/// Writes must reach the disk in the order of their numbers.
///
/// With an asynchronous disk, go on calling [`RawNode::ready`](crate::RawNode::ready) meanwhile, and in
/// place of `advance` report [`RawNode::persisted`](crate::RawNode::persisted) and
/// [`RawNode::applied`](crate::RawNode::applied) when it is so.
#[derive(Debug)]
#[must_use = "a Ready holds obligations; ignoring them loses data"]
pub struct Ready {
    /// The number by which [`RawNode::persisted`](crate::RawNode::persisted) acknowledges this
    /// batch and all before it.
    pub number: u64,
    /// To be sent at once, in this order.
    pub messages: Vec<Message>,
    /// To take the place of the stored log and of the state machine.
    pub snapshot: Option<Snapshot>,
    /// To be written to the log, run by run. They replace what the log holds from the first index on.
    pub entries: Vec<Entries>,
    /// To be stored, if it has changed.
    pub hard_state: Option<HardState>,
    /// Whether the write must be durable before it counts. A `Ready` without it writes at most a
    /// new commit index, which may be lost.
    pub must_sync: bool,
    /// To be sent when everything up to and including this `Ready` is durable.
    pub messages_after_persist: Vec<Message>,
    /// To be applied, run by run. Never together with a `snapshot`.
    pub committed_entries: Vec<Entries>,
    /// What is applied once `committed_entries` or the `snapshot` are.
    applies_to: Option<LogIndex>,
}

impl Ready {
    /// The index to report to [`RawNode::applied`](crate::RawNode::applied) once this batch is
    /// applied; `None` if there is nothing to apply.
    #[must_use]
    pub const fn applies_to(&self) -> Option<LogIndex> {
        self.applies_to
    }
}

/// The memory of a `Ready` that has come back, for the next one. No part of a node's identity.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    messages: Vec<Message>,
    messages_after_persist: Vec<Message>,
    entries: Vec<Entries>,
    committed_entries: Vec<Entries>,
}

impl Buffers {
    /// A buffer that grew beyond this is given back.
    const KEPT: usize = 1024;

    pub(crate) fn recycle(&mut self, ready: Ready) {
        fn empty<T>(mut buffer: Vec<T>) -> Vec<T> {
            buffer.clear();
            buffer.shrink_to(Buffers::KEPT);
            buffer
        }
        self.messages = empty(ready.messages);
        self.messages_after_persist = empty(ready.messages_after_persist);
        self.entries = empty(ready.entries);
        self.committed_entries = empty(ready.committed_entries);
    }
}

impl Clone for Buffers {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Buffers {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Buffers {}

impl Hash for Buffers {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl<S: Storage> Core<S> {
    pub(crate) fn has_output(&self) -> bool {
        !self.outbox.is_empty()
            || !self.outbox_after_persist.is_empty()
            || self.hard_state() != self.handed_out
            || self.log.has_unpersisted()
            || self.log.has_unapplied(self.durability.log())
    }

    /// Hands everything out that waits to be.
    pub(crate) fn take_output(&mut self) -> Result<Ready, StorageError> {
        let Buffers {
            messages,
            messages_after_persist,
            mut entries,
            mut committed_entries,
        } = mem::take(&mut self.buffers);
        let snapshot = self.log.take_snapshot();
        if snapshot.is_none() {
            let max_bytes = self.config.max_committed_bytes_per_ready;
            self.log
                .take_unapplied(self.durability.log(), max_bytes, &mut committed_entries)?;
        }
        self.log.take_unpersisted(&mut entries);

        let hard_state = self.hard_state();
        let vote_changed = (self.handed_out.current_term, self.handed_out.voted_for) != self.vote();
        let must_sync = vote_changed || snapshot.is_some() || !entries.is_empty();
        let changed = hard_state != self.handed_out;
        self.handed_out = hard_state;

        let number = self.durability.next_number();
        let snapshot_index = snapshot
            .as_ref()
            .map(|snapshot| snapshot.last_included.index);
        if must_sync {
            let log_through = entries.last().and_then(Entries::last_id).map(|id| id.index);
            let log_through = log_through.max(snapshot_index).unwrap_or_default();
            self.durability
                .writing(number, log_through, snapshot_index, self.vote());
        }

        let mut messages = mem::replace(&mut self.outbox, messages);
        let mut after = mem::replace(&mut self.outbox_after_persist, messages_after_persist);
        if !self.durability.is_writing() {
            // What they waited for has become durable meanwhile.
            messages.append(&mut after);
        }
        let applied = committed_entries
            .last()
            .and_then(Entries::last_id)
            .map(|id| id.index);
        Ok(Ready {
            number,
            messages,
            snapshot,
            entries,
            hard_state: changed.then_some(hard_state),
            must_sync,
            messages_after_persist: after,
            committed_entries,
            applies_to: applied.or(snapshot_index),
        })
    }
}
