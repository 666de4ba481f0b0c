//! What a node wants done: messages to send, state to persist, entries to apply.
//!
//! Owns [`Ready`] and its obligations. One is made in `raft/output.rs`.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};

use bytes::Bytes;

use crate::buffer::emptied;
use crate::entry::{Entries, Snapshot};
use crate::error::{ReadDropped, TransferOutcome};
use crate::message::Message;
use crate::types::{HardState, LogIndex, NodeId};

/// One batch of obligations. Exhaustive on purpose: ignoring one loses data.
///
/// In this order, or with the marked ones in parallel:
///
/// 1. send [`messages`](Self::messages) (before, or while, the disk works);
/// 2. persist [`snapshot`](Self::snapshot), [`entries`](Self::entries) and
///    [`hard_state`](Self::hard_state) as one atomic write, of which a crash leaves all or
///    nothing; with an fsync if [`must_sync`](Self::must_sync);
/// 3. once that and everything of earlier `Ready`s is durable, send
///    [`messages_after_persist`](Self::messages_after_persist);
/// 4. restore the state machine from `snapshot` (once that is durable in the log), apply
///    [`committed_entries`](Self::committed_entries) in order, and pass the membership changes
///    among them to [`RawNode::apply_conf_change`](crate::RawNode::apply_conf_change);
/// 5. answer the [`read_states`](Self::read_states) whose index is applied, and keep the others
///    until theirs is; take note of the [`transfer_outcomes`](Self::transfer_outcomes);
/// 6. hand the `Ready` back with [`RawNode::advance`](crate::RawNode::advance).
///
/// Writes must reach the disk in the order of their numbers: a crash loses the last ones, if any.
///
/// With an asynchronous disk, go on calling [`RawNode::ready`](crate::RawNode::ready) meanwhile,
/// and in place of `advance` report [`RawNode::persisted`](crate::RawNode::persisted) and
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
    pub snapshot: Option<Box<Snapshot>>,
    /// To be written to the log, run by run. They replace what the log holds from the first index
    /// on.
    pub entries: Vec<Entries>,
    /// To be stored, if it has changed.
    pub hard_state: Option<HardState>,
    /// Whether the write must be durable before it counts. A `Ready` without it writes at most a
    /// new commit index, which may be lost, but not once a later write is durable.
    pub must_sync: bool,
    /// To be sent when everything up to and including this `Ready` is durable.
    pub messages_after_persist: Vec<Message>,
    /// To be applied, run by run. Never together with a `snapshot`.
    pub committed_entries: Vec<Entries>,
    /// Reads asked for by [`RawNode::read_index`](crate::RawNode::read_index) that have come to
    /// their end, in the order of their answers.
    pub read_states: Vec<ReadState>,
    /// How transfers have ended that were asked for by
    /// [`RawNode::transfer_leader`](crate::RawNode::transfer_leader).
    pub transfer_outcomes: Vec<TransferOutcome>,
    /// What is applied once `committed_entries` or the `snapshot` are.
    pub(crate) applies_to: Option<LogIndex>,
    /// The node that made it.
    pub(crate) from: NodeId,
}

/// The end of a read (Thesis 6.4).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReadState {
    /// What the caller gave to [`RawNode::read_index`](crate::RawNode::read_index).
    pub context: Bytes,
    /// The index that the state machine must have applied before the read is answered from it, or
    /// why there is none.
    pub outcome: Result<LogIndex, ReadDropped>,
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
    pub(crate) messages: Vec<Message>,
    pub(crate) messages_after_persist: Vec<Message>,
    pub(crate) entries: Vec<Entries>,
    pub(crate) committed_entries: Vec<Entries>,
    pub(crate) read_states: Vec<ReadState>,
}

impl Buffers {
    pub(crate) fn recycle(&mut self, ready: Ready) {
        self.messages = emptied(ready.messages);
        self.messages_after_persist = emptied(ready.messages_after_persist);
        self.entries = emptied(ready.entries);
        self.committed_entries = emptied(ready.committed_entries);
        self.read_states = emptied(ready.read_states);
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
