//! What a node wants done: messages to send, state to persist, entries to apply.
//!
//! Owns [`Ready`] and its obligations. One is made in `raft/output.rs`.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::hash::{Hash, Hasher};

use bytes::Bytes;

use crate::buffer::{KEPT, empty};
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
    /// new commit index, which may be lost, but not once a later write is durable. It alone may be
    /// lost: the hard state that it takes the place of has the vote in it, and must stay durable
    /// until the new one is.
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

    const fn empty(from: NodeId) -> Self {
        Self {
            number: 0,
            messages: Vec::new(),
            snapshot: None,
            entries: Vec::new(),
            hard_state: None,
            must_sync: false,
            messages_after_persist: Vec::new(),
            committed_entries: Vec::new(),
            read_states: Vec::new(),
            transfer_outcomes: Vec::new(),
            applies_to: None,
            from,
        }
    }

    // Not inlined, for mostly there is one to be used again.
    #[cold]
    #[inline(never)]
    fn made(from: NodeId) -> Box<Self> {
        Box::new(Self::empty(from))
    }

    /// Whether it holds anything of what is put into it before it is asked for.
    #[inline]
    fn holds_anything(&self) -> bool {
        // Mostly all of them are empty, and one comparison tells.
        let lengths = self.messages.len()
            | self.messages_after_persist.len()
            | self.read_states.len()
            | self.transfer_outcomes.len();
        lengths > 0
    }

    /// Whether nothing is to be written, and nothing applied.
    #[inline]
    pub(crate) const fn is_without_work(&self) -> bool {
        !self.must_sync && self.hard_state.is_none() && self.applies_to.is_none()
    }

    /// Empties it, whatever of it was taken. It is numbered anew when it is handed out.
    #[inline]
    fn clear(&mut self) {
        self.must_sync = false;
        self.hard_state = None;
        self.applies_to = None;
        if self.entries.len() | self.committed_entries.len() > 0 {
            self.entries.clear();
            self.committed_entries.clear();
        }
        // Mostly these were taken out by who sends them.
        if self.holds_anything() {
            self.messages.clear();
            self.messages_after_persist.clear();
            self.read_states.clear();
            self.transfer_outcomes.clear();
        }
        // Not less than the largest of them. Mostly all are small, and one comparison tells.
        let capacities = self.messages.capacity()
            | self.messages_after_persist.capacity()
            | self.entries.capacity()
            | self.committed_entries.capacity()
            | self.read_states.capacity()
            | self.transfer_outcomes.capacity();
        if capacities > KEPT {
            self.give_back();
        }
        self.snapshot = None;
    }

    #[cold]
    fn give_back(&mut self) {
        empty(&mut self.messages);
        empty(&mut self.messages_after_persist);
        empty(&mut self.entries);
        empty(&mut self.committed_entries);
        empty(&mut self.read_states);
        empty(&mut self.transfer_outcomes);
    }
}

/// The next `Ready`: whatever is due goes into it as it comes up. One that comes back is emptied and
/// used again, so a steady load allocates none.
///
/// Of a node's identity, and of what is printed of it, only what is in it is a part.
#[derive(Default)]
pub(crate) struct NextReady(Option<Box<Ready>>);

impl NextReady {
    /// Whether anything waits in it.
    #[inline]
    pub(crate) fn is_due(&self) -> bool {
        self.0.as_ref().is_some_and(|ready| ready.holds_anything())
    }

    /// To put something into it, on behalf of this node.
    #[inline]
    pub(crate) fn open(&mut self, from: NodeId) -> &mut Ready {
        self.0.get_or_insert_with(|| Ready::made(from))
    }

    #[inline]
    pub(crate) fn take(&mut self, from: NodeId) -> Box<Ready> {
        self.0.take().unwrap_or_else(|| Ready::made(from))
    }

    /// Uses the memory of a `Ready` that has come back.
    #[inline]
    pub(crate) fn recycle(&mut self, mut ready: Box<Ready>) {
        ready.clear();
        if let Some(open) = &mut self.0 {
            // Something came up meanwhile, for which there was no memory but new one.
            ready.messages.append(&mut open.messages);
            ready
                .messages_after_persist
                .append(&mut open.messages_after_persist);
            ready.read_states.append(&mut open.read_states);
            ready.transfer_outcomes.append(&mut open.transfer_outcomes);
        }
        self.0 = Some(ready);
    }

    /// Gives its memory back, if nothing is in it.
    pub(crate) fn give_back(&mut self) {
        if !self.is_due() {
            self.0 = None;
        }
    }

    fn content(&self) -> Content<'_> {
        self.0.as_ref().map_or_else(Content::default, |ready| {
            let messages = [&*ready.messages, &*ready.messages_after_persist];
            (messages, &ready.read_states, &ready.transfer_outcomes)
        })
    }
}

/// What can be in a `Ready` before it is asked for.
type Content<'a> = ([&'a [Message]; 2], &'a [ReadState], &'a [TransferOutcome]);

impl Clone for NextReady {
    fn clone(&self) -> Self {
        let due = self.0.as_ref().filter(|_| self.is_due());
        Self(due.map(|ready| {
            Box::new(Ready {
                messages: ready.messages.clone(),
                messages_after_persist: ready.messages_after_persist.clone(),
                read_states: ready.read_states.clone(),
                transfer_outcomes: ready.transfer_outcomes.clone(),
                ..Ready::empty(ready.from)
            })
        }))
    }
}

impl fmt::Debug for NextReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.content(), f)
    }
}

impl PartialEq for NextReady {
    fn eq(&self, other: &Self) -> bool {
        self.content() == other.content()
    }
}

impl Eq for NextReady {}

impl Hash for NextReady {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.content().hash(state);
    }
}
