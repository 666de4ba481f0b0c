//! One machine: a node, its disk, its state machine, and what each input makes of them.
//!
//! Owns the embedder's duties, and the promises that one machine can break alone. Must not know the
//! other machines, the network or the bounds: what an input does here follows from the machine and
//! the input alone, so it has to be found out but once.

mod run;
mod watch;

use std::collections::VecDeque;

use almadia::{
    Entries, Entry, HardState, LogId, LogIndex, MemStorage, Membership, Message, NodeId, RawNode,
    RoleKind, Storage, Term,
};

pub(super) use self::run::{Outcome, run};
use crate::digest::Digest;
use crate::disk::Write;
use crate::state_machine::StateMachine;

/// What can happen to a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Input {
    /// The message of this number arrives.
    Receive(u32),
    /// The message of this number gets lost on its way here.
    Lose(u32),
    /// An election timeout passes.
    Campaign,
    /// A heartbeat timeout passes.
    Ping,
    /// One tick passes.
    Tick,
    /// A command of this number is proposed.
    Propose(u8),
    /// The preset's membership change of this number is proposed.
    ProposeChange(u8),
    /// A linearizable read of this number is asked for.
    Read(u8),
    /// A read is asked for that the lease answers.
    LeaseRead,
    /// This node is to lead.
    Transfer(NodeId),
    /// The disk carries out the next write, and does not say so yet.
    Write,
    /// The disk says that the first so many writes are durable.
    Acknowledge(u8),
    /// The state machine applies the next batch.
    Apply,
    /// The process stops. So many of the writes that the disk has not carried out become durable
    /// all the same; what was written without being synced is kept or lost.
    Crash { kept: u8, unsynced_kept: bool },
    /// The process starts again.
    Start,
}

/// What an input means to the promises that machines keep together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Effect {
    /// The node begins to lead this term.
    Leads(Term),
    /// The node has committed up to here as a leader of this term, by a quorum of this membership.
    Commits(Term, LogIndex, Membership),
    /// The read of this number is asked for.
    Asks(u8),
    /// The read of this number may be answered at this index.
    Answers(u8, LogIndex),
    /// A read that was asked for in this moment may be answered at this index.
    AnswersAtOnce(LogIndex),
    /// The read of this number ends without an answer.
    Drops(u8),
    /// Whoever asked this machine will get no answer.
    Forgets,
    /// The node refuses a leader's message, because this entry contradicts a committed one.
    Contradicts {
        /// The leader's term.
        term: Term,
        /// The leader's entry.
        entry: LogId,
        /// The refusal in words.
        error: String,
    },
}

/// An entry of a log, known by its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) id: LogId,
    pub(super) digest: u64,
}

impl Place {
    fn of(entry: &Entry) -> Self {
        Self {
            id: entry.id,
            digest: Digest::of(entry),
        }
    }
}

/// What a follower tells its leader: that its own disk holds the leader's log up to this entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) to: NodeId,
    pub(super) term: Term,
    /// What the follower's disk holds at the index that it acknowledges.
    pub(super) held: LogId,
}

/// A machine, up or down.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    pub(super) id: NodeId,
    /// How often it was started, if that makes a difference.
    incarnation: Option<u32>,
    pub(super) life: Life,
    pub(super) state_machine: StateMachine,
    /// The log as the node's `Ready`s show it, durable or not.
    pub(super) log: Vec<Place>,
}

/// Whether the process runs.
#[derive(Clone, Debug)]
pub(super) enum Life {
    Up(Box<Process>),
    /// All there is, is what the disk holds.
    Down(Box<MemStorage>),
}

/// A running process. The node's storage is the disk: it holds what was written.
#[derive(Clone, Debug)]
pub(super) struct Process {
    pub(super) node: RawNode<MemStorage>,
    /// What the node has asked to be written and was not told to be durable, oldest first.
    writes: VecDeque<Write>,
    /// How many of these the disk has carried out.
    written: usize,
    /// A commit index that was written behind all of these without a sync. The next sync makes it
    /// durable, for writes reach the disk in their order.
    unsynced: Option<HardState>,
    /// Committed entries that the state machine has not applied.
    to_apply: VecDeque<Entries>,
}

impl Machine {
    pub(super) const fn node(&self) -> Option<&RawNode<MemStorage>> {
        match &self.life {
            Life::Up(process) => Some(&process.node),
            Life::Down(_) => None,
        }
    }

    /// What a crash leaves.
    pub(super) fn disk(&self) -> &MemStorage {
        match &self.life {
            Life::Up(process) => process.node.storage(),
            Life::Down(disk) => disk,
        }
    }

    /// Whether this entry is durable here.
    pub(super) fn has_durable(&self, id: LogId) -> bool {
        self.disk().term(id.index) == Ok(id.term)
    }

    /// The entry at this index, which is not zero.
    pub(super) fn log_at(&self, index: LogIndex) -> Option<Place> {
        let position = usize::try_from(index.0.checked_sub(1)?).ok()?;
        self.log.get(position).copied()
    }

    /// Up to here the machine takes its log as committed.
    pub(super) fn commit_index(&self) -> LogIndex {
        self.node().map_or(LogIndex::ZERO, RawNode::commit_index)
    }

    /// The role and term, and the term that is durable.
    pub(super) fn standing(&self) -> (Option<(RoleKind, Term)>, Term) {
        let role = self.node().map(|node| (node.role(), node.current_term()));
        (role, self.disk().hard_state().current_term)
    }

    /// How many writes the disk has not carried out, and how many it has without saying so.
    pub(super) fn writes(&self) -> (usize, usize) {
        match &self.life {
            Life::Up(process) => (process.writes.len() - process.written, process.written),
            Life::Down(_) => (0, 0),
        }
    }

    /// Whether the state machine has something to apply.
    pub(super) fn has_to_apply(&self) -> bool {
        matches!(&self.life, Life::Up(process) if !process.to_apply.is_empty())
    }

    /// Whether a crash that keeps what was not synced leaves more than one that loses it.
    pub(super) fn has_unsynced(&self) -> bool {
        let commit = self.disk().hard_state().commit_index;
        self.state_machine.applied_index() > LogIndex::ZERO || self.commit_index() > commit
    }

    /// What a leader believes of its peers: *matchIndex*, where it is not zero.
    pub(super) fn matches(&self) -> Vec<(NodeId, LogIndex)> {
        let Some(node) = self.node().filter(|_| self.leads()) else {
            return Vec::new();
        };
        let members = node.membership().members().into_iter();
        let matches = members.filter_map(|id| Some((id, node.progress(id)?.match_index())));
        matches
            .filter(|&(_, index)| index > LogIndex::ZERO)
            .collect()
    }

    pub(super) fn leads(&self) -> bool {
        self.node()
            .is_some_and(|node| node.role() == RoleKind::Leader)
    }
}

/// The log of a disk.
fn log_of(disk: &MemStorage) -> Vec<Place> {
    let last = disk.last_index().unwrap_or_default();
    let request =
        almadia::EntriesRequest::new(LogIndex(1), last, u64::MAX, almadia::Purpose::Apply);
    let entries: Entries = disk.entries(&request).unwrap_or_default();
    entries.iter().map(Place::of).collect()
}

/// A message with what it is called in a trace.
pub(super) fn describe(message: &Message) -> String {
    format!(
        "{:?} from {} in term {}",
        message.body, message.from, message.term
    )
}
