//! What happened in runs, counted.
//!
//! Owns the sums and how they read. Must not know who counts.

mod mixed;

use std::fmt;
use std::ops::AddAssign;

pub use self::mixed::{Across, ByKind, MixedStats};

/// What happened in a run, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Steps of the fault phase.
    pub steps: u64,
    /// Terms that had a leader.
    pub elections: u64,
    /// Entries committed.
    pub commits: u64,
    /// Entries applied, over all nodes.
    pub applied: u64,
    /// Snapshots installed, over all nodes.
    pub snapshots: u64,
    /// Membership changes applied, over all nodes.
    pub changes: u64,
    /// Logs compacted.
    pub compactions: u64,
    /// Crashes.
    pub crashes: u64,
    /// Nodes that stopped because their storage could not be read.
    pub halts: u64,
    /// Messages delivered.
    pub delivered: u64,
    /// Messages lost.
    pub dropped: u64,
    /// Reads answered.
    pub reads: u64,
    /// Of these, those that a lease answered.
    pub lease_reads: u64,
    /// Reads that nobody could answer in time.
    pub reads_dropped: u64,
    /// Transfers that succeeded.
    pub transfers: u64,
    /// Transfers that did not.
    pub transfers_failed: u64,
    /// Proposals that another node has passed on to the leader, and the leader has taken.
    pub forwarded: u64,
    /// How often something was committed while entries had to wait for a second group.
    pub group_commits: u64,
    /// Snapshots that a node asked for.
    pub snapshot_requests: u64,
    /// Starts with a state machine ahead of the log.
    pub starts_ahead: u64,
    /// Ticks that the liveness phase took.
    pub recovery_ticks: u64,
    /// What nodes of both kinds have done, where there are nodes of raft-rs.
    pub mixed: MixedStats,
    /// A hash over all that happened: equal runs have equal traces.
    pub trace: u64,
}

impl AddAssign for Stats {
    /// The sums of both; of the ticks that recovery took, the most.
    fn add_assign(&mut self, other: Self) {
        self.steps += other.steps;
        self.elections += other.elections;
        self.commits += other.commits;
        self.applied += other.applied;
        self.snapshots += other.snapshots;
        self.changes += other.changes;
        self.compactions += other.compactions;
        self.crashes += other.crashes;
        self.halts += other.halts;
        self.delivered += other.delivered;
        self.dropped += other.dropped;
        self.reads += other.reads;
        self.lease_reads += other.lease_reads;
        self.reads_dropped += other.reads_dropped;
        self.transfers += other.transfers;
        self.transfers_failed += other.transfers_failed;
        self.forwarded += other.forwarded;
        self.group_commits += other.group_commits;
        self.snapshot_requests += other.snapshot_requests;
        self.starts_ahead += other.starts_ahead;
        self.recovery_ticks = self.recovery_ticks.max(other.recovery_ticks);
        self.mixed += other.mixed;
        self.trace ^= other.trace;
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} steps, {} elections, {} commits ({} in groups), {} commands passed on, \
             {} snapshots installed, {} changes, {} compactions, {} crashes, {} nodes halted, \
             {} reads answered ({} by a lease), {} dropped, {} transfers, {} failed, \
             {} snapshots asked for, {} starts ahead of the log, {} messages delivered, {} lost, \
             recovery in {} ticks at most",
            self.steps,
            self.elections,
            self.commits,
            self.group_commits,
            self.forwarded,
            self.snapshots,
            self.changes,
            self.compactions,
            self.crashes,
            self.halts,
            self.reads,
            self.lease_reads,
            self.reads_dropped,
            self.transfers,
            self.transfers_failed,
            self.snapshot_requests,
            self.starts_ahead,
            self.delivered,
            self.dropped,
            self.recovery_ticks,
        )?;
        let has_raft_rs = self.mixed.elections.raft_rs > 0 || self.mixed.installed.raft_rs > 0;
        if has_raft_rs {
            write!(f, "\n{}", self.mixed)?;
        }
        Ok(())
    }
}
