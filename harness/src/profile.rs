//! What goes wrong in a random run, and how often.
//!
//! Owns the rates, all in thousandths. Must not know how faults are made; that is `simulation.rs`.

use crate::checker::Checks;
use crate::disk::EmbedderFault;
use crate::host::Settings;

/// Which membership changes a run makes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Membership {
    /// None.
    #[default]
    Fixed,
    /// Changes of one member at a time.
    OneStep,
    /// Those, and changes of several members through joint configurations.
    Joint,
}

/// A kind of random run. The rates say in how many of a thousand steps something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The name, for reports.
    pub name: &'static str,
    /// The voters at the start.
    pub voters: u64,
    /// More nodes, which only membership changes bring in.
    pub others: u64,
    /// The steps of the fault phase.
    pub steps: u64,
    /// Nodes with an asynchronous disk.
    pub asynchronous: u64,
    /// A message is lost.
    pub drop: u64,
    /// A message arrives twice.
    pub duplicate: u64,
    /// A message overtakes others.
    pub reorder: u64,
    /// A new partition, of any kind.
    pub partition: u64,
    /// All partitions end.
    pub heal: u64,
    /// A node crashes.
    pub crash: u64,
    /// A node that is down starts.
    pub restart: u64,
    /// Something is proposed.
    pub propose: u64,
    /// A node compacts its log.
    pub compact: u64,
    /// A membership change is proposed.
    pub change: u64,
    /// A node campaigns at once.
    pub campaign: u64,
    /// A pending write of a node becomes durable.
    pub disk: u64,
    /// Which changes are made.
    pub membership: Membership,
    /// The limits and switches of the nodes; the limits are varied by the seed.
    pub settings: Settings,
    /// What the embedders do wrong.
    pub fault: EmbedderFault,
    /// Which watchers are on.
    pub checks: Checks,
}

impl Profile {
    /// Lossy links, partitions and crashes around this many voters, half of them with an
    /// asynchronous disk.
    #[must_use]
    pub fn faulty(name: &'static str, voters: u64) -> Self {
        Self {
            name,
            voters,
            others: 0,
            steps: 300,
            asynchronous: 500,
            drop: 50,
            duplicate: 30,
            reorder: 200,
            partition: 25,
            heal: 50,
            crash: 15,
            restart: 80,
            propose: 300,
            compact: 30,
            change: 0,
            campaign: 10,
            disk: 700,
            membership: Membership::Fixed,
            settings: Settings::default(),
            fault: EmbedderFault::None,
            checks: Checks::default(),
        }
    }

    /// The same with all disks synchronous.
    #[must_use]
    pub const fn synchronous(self) -> Self {
        Self {
            asynchronous: 0,
            ..self
        }
    }

    /// The same with all disks asynchronous, and slow.
    #[must_use]
    pub const fn asynchronous(self) -> Self {
        Self {
            asynchronous: 1000,
            disk: 400,
            ..self
        }
    }

    /// The same with many crashes.
    #[must_use]
    pub const fn crashing(self) -> Self {
        Self {
            crash: 60,
            restart: 200,
            ..self
        }
    }

    /// The same with so much compaction that nodes that were away need snapshots.
    #[must_use]
    pub const fn compacting(self) -> Self {
        Self {
            compact: 200,
            partition: 40,
            ..self
        }
    }

    /// The same with membership changes, and two more nodes to be added.
    #[must_use]
    pub const fn changing(self, membership: Membership) -> Self {
        Self {
            others: 2,
            change: 150,
            membership,
            compact: 120,
            partition: 30,
            ..self
        }
    }

    /// The same without pre-vote and check-quorum.
    #[must_use]
    pub const fn bare(self) -> Self {
        Self {
            settings: Settings {
                pre_vote: false,
                check_quorum: false,
                ..self.settings
            },
            ..self
        }
    }

    /// The same with faulty embedders.
    #[must_use]
    pub const fn with_fault(self, fault: EmbedderFault) -> Self {
        Self { fault, ..self }
    }
}
