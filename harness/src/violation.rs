//! What a checker finds: a promise of Raft that was broken, and where in which run.
//!
//! Owns the vocabulary of findings. Must not know how they are found.

use almadia::{LogId, LogIndex, NodeId, Term, Window};
use thiserror::Error;

use crate::checker::Impossible;

/// A broken promise, and the run in which it broke. The seed and the profile repeat the run.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("seed {seed}, step {step}: {kind}")]
pub struct Violation {
    /// The seed of the run.
    pub seed: u64,
    /// The step of the run, counted from one.
    pub step: u64,
    /// What broke.
    pub kind: ViolationKind,
}

/// Which promise was broken.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ViolationKind {
    /// Two leaders in one term, or one that leads its term again after a crash.
    #[error(
        "Election Safety: nodes {first} and {second} both lead term {term} (or one led it twice)"
    )]
    TwoLeaders {
        /// The term.
        term: Term,
        /// The leader that was seen first.
        first: NodeId,
        /// The leader that was seen second; the same one if it crashed in between.
        second: NodeId,
    },
    /// A leader replaced or removed entries of its own log.
    #[error("Leader Append-Only: node {leader} leads term {term} and rewrites its log from {from}")]
    LeaderOverwrites {
        /// The leader.
        leader: NodeId,
        /// Its term.
        term: Term,
        /// The first index it rewrote.
        from: LogIndex,
    },
    /// Two entries with the same index and term differ.
    #[error("two entries differ at {id}; the second is node {node}'s")]
    TwoEntriesAtOnePlace {
        /// The term and index.
        id: LogId,
        /// The node that holds the second one.
        node: NodeId,
    },
    /// Two logs agree at an entry but not before it.
    #[error(
        "Log Matching: node {node} holds {id} after term {previous}, another node after another"
    )]
    LogsDoNotMatch {
        /// The entry at which they agree.
        id: LogId,
        /// The term of the entry before it on this node.
        previous: Term,
        /// The node.
        node: NodeId,
    },
    /// A node's log has a hole.
    #[error("node {node} was asked to persist {entry} behind {last}")]
    HoleInLog {
        /// The node.
        node: NodeId,
        /// The entry that does not follow.
        entry: LogId,
        /// The end of the log.
        last: LogId,
    },
    /// A leader's log lacks a committed entry.
    #[error("Leader Completeness: node {leader} leads term {term} without the committed {entry}")]
    LeaderLacksCommitted {
        /// The leader.
        leader: NodeId,
        /// Its term.
        term: Term,
        /// The committed entry that it lacks.
        entry: LogId,
    },
    /// Different entries are committed at one index.
    #[error("State Machine Safety: node {node} takes {found} as committed, but {committed} is")]
    CommittedDiffers {
        /// The node.
        node: NodeId,
        /// The entry that was committed there first.
        committed: LogId,
        /// What the node takes as committed; its term is zero if it has nothing there.
        found: LogId,
    },
    /// A commit index appeared on a node before any leader had committed so far.
    #[error("node {node} has commit index {index}, which no leader has committed")]
    CommittedByNobody {
        /// The node.
        node: NodeId,
        /// Its commit index.
        index: LogIndex,
    },
    /// A leader committed what a crash could take back.
    #[error("leader {leader} committed {entry}, which is not durable on a quorum")]
    CommittedNotDurable {
        /// The leader.
        leader: NodeId,
        /// The entry.
        entry: LogId,
    },
    /// Entries were applied out of order, twice or with a gap.
    #[error("State Machine Safety: node {node} applies {entry} after {applied}")]
    AppliedOutOfOrder {
        /// The node.
        node: NodeId,
        /// The entry.
        entry: LogId,
        /// What it had applied before.
        applied: LogIndex,
    },
    /// Two state machines differ after the same index.
    #[error("State Machine Safety: node {node} has another state than others at index {index}")]
    StatesDiffer {
        /// The node.
        node: NodeId,
        /// The index.
        index: LogIndex,
    },
    /// A proposal was refused, and is in the log all the same.
    #[error("node {node} refused a proposal, and its log ends with {entry} now")]
    RefusedButTaken {
        /// The node.
        node: NodeId,
        /// The end of its log.
        entry: LogId,
    },
    /// A leader has sent a peer more at a time than it may.
    #[error(
        "node {leader} has {messages} messages with {bytes} bytes of entries on their way to \
         {peer}, and may have no more than {allowed:?}"
    )]
    WindowExceeded {
        /// The leader.
        leader: NodeId,
        /// The peer.
        peer: NodeId,
        /// How many messages are on their way.
        messages: usize,
        /// How many bytes of entries are in them.
        bytes: u64,
        /// What is allowed.
        allowed: Window,
    },
    /// A leader has taken more proposals than it may.
    #[error("node {leader} has {bytes} bytes uncommitted, and may have no more than {allowed}")]
    TooManyUncommitted {
        /// The leader.
        leader: NodeId,
        /// How many bytes of its own proposals are uncommitted, at least.
        bytes: u64,
        /// What is allowed.
        allowed: u64,
    },
    /// A number that must only grow went back on a running node.
    #[error("node {node}'s {what} went back from {before} to {after}")]
    WentBack {
        /// The node.
        node: NodeId,
        /// Which number.
        what: &'static str,
        /// Its value before.
        before: u64,
        /// Its value now.
        after: u64,
    },
    /// A message left that speaks for what is not durable on its sender's disk.
    #[error("node {from} sent {what} in term {term} to {to} before it was durable")]
    PromisedTooEarly {
        /// The sender.
        from: NodeId,
        /// The receiver.
        to: NodeId,
        /// The message's term.
        term: Term,
        /// The message.
        what: String,
    },
    /// A node voted for two candidates of one term.
    #[error("node {voter} voted for {first} and for {second} in term {term}")]
    VotedTwice {
        /// The voter.
        voter: NodeId,
        /// The term.
        term: Term,
        /// The first candidate.
        first: NodeId,
        /// The second one.
        second: NodeId,
    },
    /// A read was answered with less than what was committed before it was asked for.
    #[error(
        "node {node} was told to read at {read_index}, but {committed} was committed before it \
         asked"
    )]
    StaleRead {
        /// The node that asked.
        node: NodeId,
        /// The answer.
        read_index: LogIndex,
        /// What some leader had committed when the node asked.
        committed: LogIndex,
    },
    /// What clients have read and written cannot have come of one copy of the data.
    #[error("not linearizable: {0}")]
    NotLinearizable(#[from] Impossible),
    /// A read ended that was not waiting, or a transfer that nobody had asked for.
    #[error("node {node} tells the end of {what}, which did not wait for one")]
    EndedTwice {
        /// The node.
        node: NodeId,
        /// What has ended.
        what: String,
    },
    /// A read or a transfer was taken, and its end was never told.
    #[error("node {node} never tells the end of {what}")]
    WithoutEnd {
        /// The node.
        node: NodeId,
        /// What does not end.
        what: String,
    },
    /// A transfer is said to have succeeded, but the node that was to lead did not.
    #[error("node {node} says that {transferee} leads after term {term}, which it never did")]
    TransferUntrue {
        /// The node that was asked.
        node: NodeId,
        /// The node that was to lead.
        transferee: NodeId,
        /// The term in which the transfer was asked for.
        term: Term,
    },
    /// Many ticks at once had another effect than as many single ones.
    #[error("node {node} is another after {ticks} ticks at once than after as many single ones")]
    TicksDiffer {
        /// The node.
        node: NodeId,
        /// How many.
        ticks: u32,
    },
    /// The applied membership differs from what other nodes had at the same index.
    #[error("node {node} applied the membership change at {index}: {problem}")]
    MembershipDiffers {
        /// The node.
        node: NodeId,
        /// The index of the change.
        index: LogIndex,
        /// What is wrong.
        problem: String,
    },
    /// A call that must succeed was refused, or the node halted or did not start again.
    #[error("node {node}: {call} failed: {error}")]
    CallFailed {
        /// The node.
        node: NodeId,
        /// Which call.
        call: &'static str,
        /// The error's text.
        error: String,
    },
    /// The node refused a message, which no node of a correct cluster has reason to.
    #[error("node {node} refused {message}: {error}")]
    MessageRefused {
        /// The node.
        node: NodeId,
        /// The message.
        message: String,
        /// The error's text.
        error: String,
    },
    /// An acknowledgement speaks for entries that are not the leader's, or the leader believes more
    /// of a peer than is true.
    #[error("node {node} counts as holding {leaders}, but its disk holds {held} there")]
    MatchUntrue {
        /// The follower.
        node: NodeId,
        /// The leader's entry at the acknowledged index; its term is zero if there is none.
        leaders: LogId,
        /// What the follower's disk holds there; its term is zero if it is nothing.
        held: LogId,
    },
    /// A leader has all that it needs to do something, and does not do it.
    #[error("leader {leader} could {what}, and does not")]
    Omitted {
        /// The leader.
        leader: NodeId,
        /// What it could do.
        what: String,
    },
    /// Something panicked: mostly an assertion of the core, but it may be the embedder's own store
    /// or state machine.
    #[error("a panic in the core or in its embedder: {0}")]
    Panicked(String),
    /// With all faults gone, the cluster did not come back within the stated number of ticks.
    #[error("no progress {ticks} ticks after all faults were gone: {missing}")]
    NoProgress {
        /// How many ticks were given.
        ticks: u64,
        /// What was still missing.
        missing: String,
    },
    /// With all faults gone and a quorum up, a leader did not stay one.
    #[error("node {leader} led term {term}, and was deposed within {ticks} ticks without faults")]
    Deposed {
        /// The leader.
        leader: NodeId,
        /// The term it led.
        term: Term,
        /// After how many ticks it was seen.
        ticks: u64,
    },
}

impl ViolationKind {
    /// The node at which it was seen, if it was at one.
    #[must_use]
    pub const fn node(&self) -> Option<NodeId> {
        match self {
            Self::TwoLeaders { second: node, .. }
            | Self::LeaderOverwrites { leader: node, .. }
            | Self::TwoEntriesAtOnePlace { node, .. }
            | Self::LogsDoNotMatch { node, .. }
            | Self::HoleInLog { node, .. }
            | Self::LeaderLacksCommitted { leader: node, .. }
            | Self::CommittedDiffers { node, .. }
            | Self::CommittedByNobody { node, .. }
            | Self::CommittedNotDurable { leader: node, .. }
            | Self::AppliedOutOfOrder { node, .. }
            | Self::StatesDiffer { node, .. }
            | Self::RefusedButTaken { node, .. }
            | Self::WindowExceeded { leader: node, .. }
            | Self::TooManyUncommitted { leader: node, .. }
            | Self::WentBack { node, .. }
            | Self::PromisedTooEarly { from: node, .. }
            | Self::VotedTwice { voter: node, .. }
            | Self::StaleRead { node, .. }
            | Self::EndedTwice { node, .. }
            | Self::WithoutEnd { node, .. }
            | Self::TransferUntrue { node, .. }
            | Self::TicksDiffer { node, .. }
            | Self::MatchUntrue { node, .. }
            | Self::Omitted { leader: node, .. }
            | Self::MembershipDiffers { node, .. }
            | Self::Deposed { leader: node, .. }
            | Self::CallFailed { node, .. }
            | Self::MessageRefused { node, .. } => Some(*node),
            Self::Panicked(_) | Self::NoProgress { .. } | Self::NotLinearizable(_) => None,
        }
    }
}
