//! Runs in which some nodes, or all, are raft-rs 0.7.
//!
//! Owns what these leave out because raft-rs cannot bear it, each with the reason. Must not know how
//! a raft-rs node is driven; that is `raft_rs.rs`.

use super::{Calls, Membership, Mix, Profile, Ticking};
use crate::dice::Dice;
use crate::host::Settings;
use crate::node::Embedding;

impl Profile {
    /// Clusters of both kinds of nodes, which must work like those of one, and clusters that go
    /// from one kind to the other and back.
    #[must_use]
    pub fn mixed() -> [Self; 18] {
        [
            Self::quiet("raft-rs-quiet", 3).of_raft_rs(),
            Self::quiet("mixed-quiet", 3).with_raft_rs(),
            Self::faulty("raft-rs", 3).of_raft_rs(),
            Self::faulty("mixed", 3).with_raft_rs(),
            Self::faulty("mixed-five", 5).with_raft_rs(),
            Self::faulty("mixed-asynchronous", 3)
                .asynchronous()
                .with_raft_rs(),
            Self::faulty("mixed-crashes", 3)
                .asynchronous()
                .crashing()
                .with_raft_rs(),
            Self::faulty("mixed-snapshots", 3)
                .compacting()
                .requesting_snapshots()
                .with_raft_rs(),
            Self::faulty("mixed-bare", 3).bare().with_raft_rs(),
            Self::faulty("mixed-changes", 3)
                .changing(Membership::Joint)
                .with_raft_rs(),
            Self::faulty("mixed-reads", 3).reading().with_raft_rs(),
            Self::faulty("mixed-priorities", 4)
                .transferring()
                .with_raft_rs()
                .prioritized(),
            Self::faulty("upgrade", 3).upgrading(),
            Self::faulty("upgrade-five", 5).upgrading(),
            Self::faulty("upgrade-changes", 3)
                .changing(Membership::Joint)
                .upgrading(),
            Self::faulty("upgrade-crashes", 3)
                .asynchronous()
                .crashing()
                .upgrading(),
            Self::faulty("upgrade-snapshots", 3)
                .compacting()
                .requesting_snapshots()
                .upgrading(),
            Self::faulty("upgrade-bare", 3).bare().reading().upgrading(),
        ]
    }

    /// raft-rs alone, with embedders who rely on its documentation: what is known to be broken in
    /// it must be found. What would be found in every run is in a profile of its own.
    #[must_use]
    pub fn calibration() -> [Self; 15] {
        let alone = Self {
            learners: 1,
            ..Self::faulty("calibration-one", 1).crashing()
        };
        let failing = Self {
            read_error: 2,
            ..Self::faulty("calibration-storage", 3).trusting()
        };
        [
            alone.trusting(),
            failing,
            Self::faulty("calibration-plain", 3).trusting(),
            Self::faulty("calibration-asynchronous", 3)
                .asynchronous()
                .trusting(),
            Self::faulty("calibration-crashes", 3)
                .asynchronous()
                .crashing()
                .trusting(),
            Self::faulty("calibration-snapshots", 3)
                .compacting()
                .requesting_snapshots()
                .trusting(),
            Self::faulty("calibration-bare", 3).bare().trusting(),
            Self::faulty("calibration-one-step", 3)
                .changing(Membership::OneStep)
                .asynchronous()
                .trusting(),
            Self::faulty("calibration-changes", 3)
                .changing(Membership::Joint)
                .trusting(),
            Self::faulty("calibration-reads", 3).reading().trusting(),
            Self::faulty("calibration-leases", 3).leasing().trusting(),
            Self::faulty("calibration-transfers", 3)
                .leasing()
                .calm()
                .only_transferring()
                .trusting(),
            Self::faulty("calibration-priorities", 4)
                .trusting()
                .prioritized(),
            Self::faulty("calibration-groups", 5).trusting().grouping(),
            Self::faulty("calibration-one-asynchronous", 1)
                .asynchronous()
                .trusting(),
        ]
    }

    /// Everything at once, as the seed decides, in a cluster of both kinds, or in one that is
    /// upgraded.
    #[must_use]
    pub fn mixed_anything(seed: u64) -> Self {
        let anything = Self::anything(seed);
        let anything = Self {
            name: "mixed-anything",
            // A single voter of raft-rs leads before its own vote is durable.
            voters: anything.voters.max(2),
            settings: Settings {
                lease_reads: false,
                // What raft-rs cannot start from: a state machine ahead of its log.
                max_apply_unpersisted_entries: 0,
                ..anything.settings
            },
            ..anything
        };
        if Dice::new(seed ^ 0x3713).chance(500) {
            Self {
                phases: 1,
                ..anything.upgrading()
            }
        } else {
            anything.with_raft_rs()
        }
    }

    /// Nothing goes wrong around these voters, but that messages take their time.
    fn quiet(name: &'static str, voters: u64) -> Self {
        Self::faulty(name, voters).calm()
    }

    /// The same, and nothing goes wrong but that messages take their time.
    const fn calm(self) -> Self {
        Self {
            drop: 0,
            duplicate: 0,
            reorder: 0,
            delay: 0,
            partition: 0,
            coup: 0,
            pause: 0,
            stall: 0,
            fetch: 0,
            read_error: 0,
            crash: 0,
            blackout: 0,
            ..self
        }
    }

    /// The same with transfers, and nothing else in which a lease could break: messages that take
    /// long take less than an election, and clocks and disks are fast and even.
    const fn only_transferring(self) -> Self {
        Self {
            steps: 1600,
            delay: 150,
            campaign: 0,
            // However slow one is.
            disk: 8000,
            compact: 0,
            ticking: Ticking::Even { steps: 80 },
            calls: Calls {
                transfer: 10,
                shared_contexts: 0,
                request_snapshot: 0,
                tick_many: 0,
                ..self.calls
            },
            ..self
        }
    }

    /// The same with half of the nodes raft-rs's.
    const fn with_raft_rs(self) -> Self {
        Self {
            mix: Mix {
                raft_rs: 500,
                ..self.mix
            },
            ..self.bearable().meeting()
        }
    }

    /// The same with transfers and reads enough that both kinds have to do with each other.
    const fn meeting(self) -> Self {
        const fn at_least(least: u64, rate: u64) -> u64 {
            if rate < least { least } else { rate }
        }
        Self {
            calls: Calls {
                transfer: at_least(100, self.calls.transfer),
                read: at_least(200, self.calls.read),
                ..self.calls
            },
            ..self
        }
    }

    /// The same with raft-rs alone.
    const fn of_raft_rs(self) -> Self {
        Self {
            mix: Mix {
                raft_rs: 1000,
                ..self.mix
            },
            ..self.bearable()
        }
    }

    /// The same with a cluster of raft-rs that becomes one of almadia node by node, and goes back.
    const fn upgrading(self) -> Self {
        let before = self.of_raft_rs().meeting();
        Self {
            // Time to go through all nodes twice.
            steps: 100 * (self.voters + self.learners + self.others),
            mix: Mix {
                replace: 30,
                ..before.mix
            },
            ..before
        }
    }

    /// The same with raft-rs alone, and embedders who rely on its documentation. What ends nearly
    /// every run is left out, so that what is rare is seen: a storage that cannot be read,
    /// priorities, groups.
    const fn trusting(self) -> Self {
        let lease_read = self.calls.lease_read;
        let bearable = self.bearable();
        Self {
            mix: Mix {
                raft_rs: 1000,
                embedding: Embedding::Trusting,
                replace: 0,
            },
            calls: Calls {
                lease_read,
                ..bearable.calls
            },
            ..bearable
        }
    }

    /// The same without what raft-rs cannot bear.
    const fn bearable(self) -> Self {
        Self {
            // It panics if its storage cannot be read.
            read_error: 0,
            priority: 0,
            calls: Calls {
                // It forgets the groups of members that come, and of all with a snapshot.
                group_commit: 0,
                // It holds against each candidate that it outranks for ever, and its own timeout
                // may be the longer one.
                set_priority: 0,
                // Its leases have no margin, and are not given up in a transfer.
                lease_read: 0,
                ..self.calls
            },
            ..self
        }
    }
}
