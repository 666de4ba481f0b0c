//! Everything that can happen in a run, as data.
//!
//! Owns the vocabulary: a run is a cluster and a list of these, so it can be repeated, shortened
//! and shown. What each of them does to the cluster is in `cluster/perform.rs`; which of them
//! happen in a random run is decided in `simulation.rs`.

use almadia::{Bytes, MembershipChange, Purpose, Window};

use crate::node::Kind;
use crate::unreliable::Answers;

/// A message on its way, named by its link and by how many on that link are older. So the name
/// means the same, or nothing, in a run from which other actions were left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OnLink {
    /// The sender.
    pub from: u64,
    /// The addressee.
    pub to: u64,
    /// How many messages on this link were sent earlier and are on their way.
    pub older: usize,
}

/// One thing that happens. Nodes are named by their ids. What cannot happen, because a node is down
/// or there is no such message, does nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Action {
    /// A step begins: a moment passes for what takes its time on the network.
    Step,
    /// What happens to one machine.
    At(u64, MachineAction),
    /// What one node is asked for.
    Ask(u64, Request),
    /// A message arrives.
    Deliver(OnLink),
    /// A message is lost.
    Lose(OnLink),
    /// A message takes so many steps longer.
    Delay(OnLink, u64),
    /// There is a second copy of a message, the last on its link.
    Duplicate(OnLink),
    /// A link carries nothing any more, in this direction.
    Cut {
        /// The sender.
        from: u64,
        /// The addressee.
        to: u64,
    },
    /// All links carry messages again, as fast as they can.
    Heal,
    /// All faults end, and the cluster must come back: a leader, a new command that every member
    /// applies, equal states.
    Recover,
}

/// What happens to one machine: its node, its disk and its state machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MachineAction {
    /// A tick.
    Tick,
    /// So many ticks, told at once.
    Ticks(u32),
    /// A tick passes, and the node is told later.
    OweTick,
    /// The node is told the ticks that it was not told.
    SettleClock,
    /// The run loop asks for all there is to do.
    Run,
    /// The oldest pending write becomes durable.
    Write,
    /// The state machine does what it is to do next.
    Apply,
    /// The state machine becomes durable as it is.
    Save,
    /// A snapshot of the state machine is saved, and the log compacted up to there.
    Compact,
    /// The machine stops.
    Crash {
        /// How many of the pending writes have become durable all the same.
        kept: usize,
        /// Whether what was written without fsync has, too.
        synced: bool,
    },
    /// The machine starts, if it is down.
    Start,
    /// From now on, the node's storage answers like this. A start makes it sound.
    Answer(Answers),
    /// From the next start on, entries may be applied before they are persisted, or not any more.
    AllowUnpersisted(bool),
    /// From now on, mail to this node takes long.
    SlowMail,
    /// The machine stops in good order, all its writes durable, and starts with this on what is on
    /// its disk. One that is down stays as it is.
    Replace(Kind),
    /// The machine, which is down, will start with this on what is on its disk. One that is up
    /// stays as it is.
    Install(Kind),
}

/// What users and operators ask of a node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Request {
    /// It is to begin an election.
    Campaign,
    /// A command.
    Propose {
        /// Its number; no other command of the run has it.
        number: u64,
        /// How many bytes more it has.
        padding: usize,
    },
    /// Commands, on a node that does not lead: it passes them on to the leader that it knows, in
    /// one message. Whoever asked is not told what becomes of them.
    Forward {
        /// The number of the first; no other command of the run has it or those that follow.
        number: u64,
        /// How many there are.
        count: u64,
        /// How many bytes more each of them has.
        padding: usize,
    },
    /// A membership change.
    Change(MembershipChange),
    /// Whether entries are committed only when they are in two groups.
    GroupCommit(bool),
    /// A member is of this group, or of none if that is zero.
    AssignGroup {
        /// The member.
        member: u64,
        /// The group.
        group: u64,
    },
    /// Another node is to lead.
    Transfer(u64),
    /// A linearizable read.
    Read {
        /// What the answer is told apart by.
        context: Bytes,
        /// Whether a lease may answer it.
        by_lease: bool,
    },
    /// The leader is known to be gone.
    ForgetLeader,
    /// A snapshot is to be asked of the leader.
    RequestSnapshot,
    /// Heartbeats are due.
    Ping,
    /// How much the node is preferred as a leader.
    SetPriority(i64),
    /// The window of a peer.
    SetWindow(u64, Option<Window>),
    /// Whether a new commit index waits for entries or a heartbeat to be told.
    SetSkipCommitBroadcast(bool),
    /// Entries were fetched.
    EntriesFetched(Purpose),
    /// A peer cannot be reached.
    ReportUnreachable(u64),
}

impl MachineAction {
    /// As something that happens at this node.
    #[must_use]
    pub const fn at(self, node: u64) -> Action {
        Action::At(node, self)
    }
}

impl Request {
    /// As something that this node is asked for.
    #[must_use]
    pub const fn of(self, node: u64) -> Action {
        Action::Ask(node, self)
    }
}
