//! What nodes of both kinds have done, and have done for each other, counted.
//!
//! Owns the sums by kind. Must not know who counts.

use std::fmt;
use std::ops::AddAssign;

use crate::node::Kind;

/// How often nodes of each kind have done something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByKind {
    /// Nodes of almadia.
    pub almadia: u64,
    /// Nodes of raft-rs.
    pub raft_rs: u64,
}

/// How often a node of one kind has done something for one of the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Across {
    /// From raft-rs to almadia.
    pub to_almadia: u64,
    /// From almadia to raft-rs.
    pub to_raft_rs: u64,
}

/// What happened in a run with nodes of both kinds, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MixedStats {
    /// Elections won.
    pub elections: ByKind,
    /// Membership changes that a leader has taken.
    pub changes: ByKind,
    /// Nodes that were put in the place of one of the other kind.
    pub installed: ByKind,
    /// Snapshots installed that came from a leader of the other kind.
    pub snapshots: Across,
    /// Forwarded proposals taken by a leader of the other kind, each message counted once.
    pub proposals: Across,
    /// Forwarded reads that a leader of the other kind has answered.
    pub reads: Across,
    /// Elections won after a leader of the other kind has handed over.
    pub transfers: Across,
}

impl ByKind {
    pub(crate) const fn count(&mut self, kind: Kind) {
        match kind {
            Kind::Almadia => self.almadia += 1,
            Kind::RaftRs(_) => self.raft_rs += 1,
        }
    }
}

impl Across {
    /// From the first of these kinds to the second.
    pub(crate) const fn count(&mut self, kinds: [Kind; 2]) {
        match kinds {
            [Kind::RaftRs(_), Kind::Almadia] => self.to_almadia += 1,
            [Kind::Almadia, Kind::RaftRs(_)] => self.to_raft_rs += 1,
            [Kind::Almadia, Kind::Almadia] | [Kind::RaftRs(_), Kind::RaftRs(_)] => {}
        }
    }
}

impl AddAssign for ByKind {
    fn add_assign(&mut self, other: Self) {
        self.almadia += other.almadia;
        self.raft_rs += other.raft_rs;
    }
}

impl AddAssign for Across {
    fn add_assign(&mut self, other: Self) {
        self.to_almadia += other.to_almadia;
        self.to_raft_rs += other.to_raft_rs;
    }
}

impl AddAssign for MixedStats {
    fn add_assign(&mut self, other: Self) {
        self.elections += other.elections;
        self.changes += other.changes;
        self.installed += other.installed;
        self.snapshots += other.snapshots;
        self.proposals += other.proposals;
        self.reads += other.reads;
        self.transfers += other.transfers;
    }
}

impl fmt::Display for ByKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} and {}", self.almadia, self.raft_rs)
    }
}

impl fmt::Display for Across {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} and {}", self.to_almadia, self.to_raft_rs)
    }
}

impl fmt::Display for MixedStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "by almadia and by raft-rs: {} elections won, {} changes taken, {} put in the place of \
             the other; from raft-rs to almadia and back: {} snapshots, {} proposals passed on, {} \
             reads, {} leaders handed over",
            self.elections,
            self.changes,
            self.installed,
            self.snapshots,
            self.proposals,
            self.reads,
            self.transfers,
        )
    }
}
