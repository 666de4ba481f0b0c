//! What goes wrong in a random run, and how often.
//!
//! Owns the rates, all in thousandths. Must not know how faults are made; that is `simulation.rs`.

#[cfg(feature = "raft-rs")]
mod mixed;

use crate::checker::Checks;
use crate::dice::Dice;
use crate::disk::EmbedderFault;
use crate::host::Settings;
use crate::node::Embedding;

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

/// How time passes in the fault phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ticking {
    /// A node ticks in most steps, but not while it waits for its disk: clocks drift apart without
    /// bounds. Nothing but a lease rests on clocks, so this is the harder time.
    #[default]
    Random,
    /// In rounds of up to this many steps, most of them short. In each round every node that is up
    /// ticks once, and messages travel in between. Ticks that pass while a node waits for its disk,
    /// or has nothing to do, are told before anything else is called on it. So two clocks never
    /// differ by more than a lease's margin allows: by two ticks where every round has another
    /// order, and by one where the nodes tick in one order for the whole run.
    ///
    /// Time passes for a node that is down too: its restart begins a new wait in the core.
    Lockstep {
        /// The most steps of one round.
        max_steps: u64,
    },
    /// In rounds of just so many steps, and in one order for the whole run: time enough for all that
    /// is sent and written in a tick.
    Even {
        /// The steps of each round.
        steps: u64,
    },
}

/// How often users call a node for other things than proposals, in thousandths of all steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calls {
    /// A node is asked that some node lead.
    pub transfer: u64,
    /// A linearizable read.
    pub read: u64,
    /// In so many of a thousand runs reads share a few contexts.
    pub shared_contexts: u64,
    /// A read that may be answered by a lease, on every node that leads or believes so.
    pub lease_read: u64,
    /// A node is told that its leader is gone.
    pub forget_leader: u64,
    /// Heartbeats are asked for.
    pub ping: u64,
    /// A node asks for a snapshot.
    pub request_snapshot: u64,
    /// A node's priority changes.
    pub set_priority: u64,
    /// A leader's window for one peer changes.
    pub set_window: u64,
    /// A node begins or ends to tell commit indexes with entries and heartbeats alone.
    pub set_skip_commit_broadcast: u64,
    /// A node is told that entries were fetched.
    pub entries_fetched: u64,
    /// A peer is reported as unreachable.
    pub report_unreachable: u64,
    /// With a proposal, some node passes on others to the leader.
    pub forward: u64,
    /// All nodes are told which of them fail together, and whether entries wait for a second group.
    pub group_commit: u64,
    /// In place of one tick there are several at once, or one is told later.
    pub tick_many: u64,
}

impl Calls {
    /// Each of them now and then.
    pub const FEW: Self = Self {
        transfer: 20,
        read: 80,
        shared_contexts: 500,
        lease_read: 20,
        forget_leader: 10,
        ping: 20,
        request_snapshot: 8,
        set_priority: 5,
        set_window: 20,
        set_skip_commit_broadcast: 5,
        entries_fetched: 20,
        report_unreachable: 10,
        forward: 100,
        group_commit: 1,
        tick_many: 10,
    };
}

/// A kind of random run. The rates say in how many of a thousand steps something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The name, for reports.
    pub name: &'static str,
    /// The voters at the start.
    pub voters: u64,
    /// The learners at the start.
    pub learners: u64,
    /// More nodes, which only membership changes bring in.
    pub others: u64,
    /// The steps of each fault phase.
    pub steps: u64,
    /// How many phases of faults there are, each of which the cluster must recover from.
    pub phases: u64,
    /// Nodes with an asynchronous disk.
    pub asynchronous: u64,
    /// A message is lost.
    pub drop: u64,
    /// A message arrives twice.
    pub duplicate: u64,
    /// A message overtakes others.
    pub reorder: u64,
    /// A message takes long.
    pub delay: u64,
    /// A new partition, of any kind.
    pub partition: u64,
    /// If there is a leader and no partition, the leader alone is cut off.
    pub coup: u64,
    /// Most nodes other than the leader crash at once.
    pub blackout: u64,
    /// All partitions end.
    pub heal: u64,
    /// How often a partition or a call is aimed at the leader, and not at any node.
    pub aim: u64,
    /// A node does nothing for a while.
    pub pause: u64,
    /// A disk does nothing for a while.
    pub stall: u64,
    /// A storage has to fetch what it is asked for.
    pub fetch: u64,
    /// A storage cannot be read.
    pub read_error: u64,
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
    /// The state machine of a node becomes durable as it is.
    pub save: u64,
    /// A node prefers itself as a leader, more or less.
    pub priority: u64,
    /// What else is called.
    pub calls: Calls,
    /// How time passes.
    pub ticking: Ticking,
    /// Which changes are made.
    pub membership: Membership,
    /// The limits and switches of the nodes; the limits are varied by the seed.
    pub settings: Settings,
    /// What the embedders do wrong.
    pub fault: EmbedderFault,
    /// Which watchers are on.
    pub checks: Checks,
    /// How many nodes are raft-rs's.
    pub mix: Mix,
}

/// Nodes of raft-rs among those of almadia, in thousandths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mix {
    /// A machine runs raft-rs at the start.
    pub raft_rs: u64,
    /// How they are embedded.
    pub embedding: Embedding,
    /// In a step, the next machine begins to run what it did not run.
    pub replace: u64,
}

impl Mix {
    /// Whether nodes of both kinds begin together.
    pub(crate) const fn is_of_both(&self) -> bool {
        0 < self.raft_rs && self.raft_rs < 1000
    }
}

impl Profile {
    /// The profiles with a name, each with one thing in which most goes wrong.
    #[must_use]
    pub fn named() -> [Self; 31] {
        [
            Self::faulty("one", 1),
            Self::faulty("two", 2),
            Self::faulty("four", 4),
            Self::faulty("seven", 7),
            Self::faulty("synchronous", 3).synchronous(),
            Self::faulty("five", 5),
            Self::faulty("asynchronous", 3).asynchronous(),
            Self::faulty("crashing", 3).asynchronous().crashing(),
            Self::faulty("compacting", 3).compacting(),
            Self::faulty("bare", 3).bare().crashing(),
            Self::faulty("five-asynchronous", 5).asynchronous(),
            Self::faulty("five-crashing", 5).crashing().compacting(),
            Self::faulty("one-step-changes", 3)
                .changing(Membership::OneStep)
                .asynchronous(),
            Self::faulty("joint-changes", 3).changing(Membership::Joint),
            Self::faulty("two-joint-changes", 2)
                .changing(Membership::Joint)
                .asynchronous(),
            Self::faulty("changes-crashes", 3)
                .changing(Membership::Joint)
                .crashing(),
            Self::faulty("leases", 3).leasing(),
            Self::faulty("leases-crashes", 3).crashing().leasing(),
            Self::faulty("leases-slow", 3).leasing().slow(),
            Self::faulty("leases-changes", 3)
                .changing(Membership::Joint)
                .leasing(),
            Self::faulty("leases-transfers", 3)
                .leasing()
                .slow()
                .transferring(),
            Self::faulty("transfers", 4).transferring(),
            Self::faulty("transfers-changes", 3)
                .changing(Membership::Joint)
                .transferring(),
            Self::faulty("reads", 3).reading(),
            Self::faulty("reads-bare", 3).bare().reading(),
            Self::faulty("unpersisted-apply", 3)
                .asynchronous()
                .crashing()
                .applying_unpersisted(),
            Self::faulty("priorities", 4).prioritized(),
            Self::faulty("snapshot-requests", 3).requesting_snapshots(),
            Self::faulty("five-leases", 5).leasing(),
            Self::faulty("reads-transfers-bare", 3)
                .bare()
                .transferring()
                .reading(),
            Self::faulty("groups", 5).grouping(),
        ]
    }

    /// Profiles in which the embedders do something wrong on purpose, which must be found out: to
    /// see what a failure looks like.
    #[must_use]
    pub fn planted() -> [Self; 3] {
        let planted = |name, fault| Self {
            campaign: 60,
            compact: 0,
            steps: 400,
            checks: Checks {
                durability: false,
                refusals: false,
            },
            ..Self::faulty(name, 3)
                .asynchronous()
                .crashing()
                .bare()
                .with_fault(fault)
        };
        [
            planted("acknowledges-early", EmbedderFault::AcknowledgesEarly),
            planted("forgets-vote", EmbedderFault::ForgetsVote),
            planted("loses-entries", EmbedderFault::LosesEntries),
        ]
    }

    /// Which profile a seed runs, if nobody says: mostly one of the [`named`](Self::named), in turn,
    /// and else [`anything`](Self::anything).
    #[must_use]
    pub fn of_seed(seed: u64) -> Self {
        const IN_ALL: u64 = 40;
        let position = usize::try_from(seed % IN_ALL).unwrap_or(0);
        let named = Self::named();
        let chosen = named.get(position).copied();
        chosen.unwrap_or_else(|| Self::anything(seed))
    }

    /// Everything at once, as the seed decides: from one to seven voters, learners, nodes to be
    /// added, and any mixture of what can go wrong.
    #[must_use]
    pub fn anything(seed: u64) -> Self {
        let mut dice = Dice::new(seed ^ 0xa11);
        let mut profile = Self::faulty("anything", 1 + dice.below(7));
        let mut mix = |permille, mixed: fn(Self) -> Self| {
            if dice.chance(permille) {
                profile = mixed(profile);
            }
        };
        mix(300, Self::asynchronous);
        mix(300, Self::crashing);
        mix(300, Self::compacting);
        mix(250, |it| it.changing(Membership::OneStep));
        mix(250, |it| it.changing(Membership::Joint));
        mix(200, Self::bare);
        mix(300, Self::prioritized);
        mix(200, Self::requesting_snapshots);
        mix(200, Self::grouping);
        mix(200, Self::applying_unpersisted);
        mix(200, Self::reading);
        mix(300, Self::transferring);
        mix(250, |it| match it.settings.check_quorum {
            true => it.leasing(),
            // Without it a leader keeps no lease.
            false => it,
        });
        mix(150, Self::slow);
        Self {
            learners: dice.below(3),
            phases: 1 + dice.below(3),
            pause: dice.below(30),
            stall: dice.below(30),
            steps: 200,
            ..profile
        }
    }

    /// Lossy links, partitions and crashes around this many voters, half of them with an
    /// asynchronous disk.
    #[must_use]
    pub fn faulty(name: &'static str, voters: u64) -> Self {
        Self {
            name,
            voters,
            learners: 0,
            others: 0,
            steps: 300,
            phases: 1,
            asynchronous: 500,
            drop: 50,
            duplicate: 30,
            reorder: 200,
            delay: 10,
            partition: 25,
            coup: 3,
            blackout: 0,
            heal: 50,
            aim: 500,
            pause: 5,
            stall: 5,
            fetch: 5,
            read_error: 2,
            crash: 15,
            restart: 80,
            propose: 300,
            compact: 30,
            change: 0,
            campaign: 10,
            disk: 700,
            save: 100,
            priority: 200,
            calls: Calls::FEW,
            ticking: Ticking::Random,
            membership: Membership::Fixed,
            settings: Settings::default(),
            fault: EmbedderFault::None,
            checks: Checks::default(),
            mix: Mix::default(),
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

    /// The same with leases, and clocks that can be trusted. Leaders are cut off for long, the
    /// others campaign as soon as they may, and whoever believes to lead is asked all the time.
    /// Little else goes wrong. Messages are fast: within a tick there is time for an election.
    #[must_use]
    pub const fn leasing(self) -> Self {
        Self {
            steps: 800,
            drop: 10,
            delay: 5,
            reorder: 50,
            crash: 3,
            restart: 200,
            blackout: self.crash / 4,
            campaign: 500,
            propose: 50,
            partition: 1,
            coup: 50,
            heal: 8,
            aim: 800,
            compact: self.compact / 4,
            change: self.change / 4,
            disk: 850,
            ticking: Ticking::Lockstep { max_steps: 40 },
            calls: Calls {
                lease_read: 700,
                read: 10,
                transfer: 2,
                tick_many: 50,
                ..Calls::FEW
            },
            settings: Settings {
                lease_reads: true,
                ..self.settings
            },
            ..self
        }
    }

    /// The same with messages of which many take long, some as long as a lease.
    #[must_use]
    pub const fn slow(self) -> Self {
        Self {
            steps: 400,
            delay: 150,
            coup: 50,
            heal: 15,
            ticking: match self.ticking {
                ticking @ (Ticking::Random | Ticking::Even { .. }) => ticking,
                Ticking::Lockstep { .. } => Ticking::Lockstep { max_steps: 8 },
            },
            ..self
        }
    }

    /// The same with many transfers; with leases not so many, because a transfer ends the lease.
    #[must_use]
    pub const fn transferring(self) -> Self {
        Self {
            calls: Calls {
                transfer: match self.ticking {
                    Ticking::Random => 150,
                    Ticking::Lockstep { .. } | Ticking::Even { .. } => 40,
                },
                ..self.calls
            },
            ..self
        }
    }

    /// The same with many reads, messages that take long, and leaders that are cut off for long.
    #[must_use]
    pub const fn reading(self) -> Self {
        Self {
            delay: 60,
            partition: 5,
            coup: 50,
            heal: 15,
            aim: 800,
            crash: 5,
            campaign: 80,
            calls: Calls {
                read: 700,
                ping: 100,
                ..self.calls
            },
            ..self
        }
    }

    /// The same with entries that are applied before they are persisted.
    #[must_use]
    pub const fn applying_unpersisted(self) -> Self {
        Self {
            disk: 250,
            save: 500,
            settings: Settings {
                max_apply_unpersisted_entries: 1000,
                ..self.settings
            },
            ..self
        }
    }

    /// The same with nodes that prefer themselves as leaders, differently at different times.
    #[must_use]
    pub const fn prioritized(self) -> Self {
        Self {
            priority: 1000,
            calls: Calls {
                set_priority: 50,
                ..self.calls
            },
            ..self
        }
    }

    /// The same with groups of nodes that fail together, which change often.
    #[must_use]
    pub const fn grouping(self) -> Self {
        Self {
            calls: Calls {
                group_commit: 30,
                ..self.calls
            },
            ..self
        }
    }

    /// The same with nodes that ask for snapshots.
    #[must_use]
    pub const fn requesting_snapshots(self) -> Self {
        Self {
            calls: Calls {
                request_snapshot: 100,
                ..self.calls
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
