//! Random runs: a phase of faults, and then one in which the cluster must come back.
//!
//! Owns the choice of what happens when. Must not know what is checked; the cluster's checkers look
//! on.

mod calls;
mod faults;
mod time;

use std::panic::{self, AssertUnwindSafe};

use almadia::{MemberChange, MembershipChange, NodeId, RoleKind, Transition};

use self::time::Time;
use crate::action::{Action, MachineAction, Request};
use crate::cluster::Cluster;
use crate::dice::Dice;
use crate::embedder::{Embedder, Simulated};
use crate::host::Settings;
use crate::node::Embedding;
use crate::profile::{Membership, Mix, Profile};
use crate::scenario::{MachineSetup, Scenario, caught};
use crate::stats::Stats;
use crate::violation::Violation;

/// Makes the run of this seed: faults for [`Profile::steps`] steps, and then none, until a new
/// proposal is applied by every member and their states agree.
///
/// # Errors
///
/// The first promise of Raft that was broken.
pub fn run(seed: u64, profile: &Profile) -> Result<Stats, Violation> {
    run_with::<Simulated>(seed, profile)
}

/// The same with an embedder's own store and state machine.
///
/// # Errors
///
/// The first promise of Raft that was broken.
pub fn run_with<E: Embedder>(seed: u64, profile: &Profile) -> Result<Stats, Violation> {
    record::<E>(seed, profile).1
}

/// The same, and all that happened, so that it can be played again.
pub fn record<E: Embedder>(seed: u64, profile: &Profile) -> (Scenario, Result<Stats, Violation>) {
    let mut dice = Dice::new(seed ^ 0x5eed);
    let settings = varied(profile.settings, &mut dice);
    let scenario = opening(seed, profile, settings, &mut dice);
    let cluster = match caught(seed, || scenario.cluster::<E>(None)) {
        Ok(cluster) => cluster,
        Err(violation) => return (scenario, Err(violation)),
    };
    let mut simulation = Simulation::new(cluster, scenario, settings, profile, dice);
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| simulation.run()));
    let result = simulation.cluster.end(outcome);
    (simulation.scenario, result)
}

/// The cluster of a run, to which nothing has happened yet.
fn opening(seed: u64, profile: &Profile, settings: Settings, dice: &mut Dice) -> Scenario {
    let machines = profile.voters + profile.learners + profile.others;
    let machines = (0..machines).map(|_| {
        // Leases need the same clocks everywhere; nothing else needs the same settings.
        let is_own = !settings.lease_reads && dice.chance(300);
        let settings = match is_own {
            false => settings,
            true if profile.mix == Mix::default() => varied(profile.settings, dice),
            // raft-rs waits anew after each vote that it has refused: where its timeout is always
            // the longer one, it never stands, though it may be the only one who can win.
            true => settings.with_limits_of(&varied(profile.settings, dice)),
        };
        MachineSetup::random(settings, profile, dice)
    });
    let mut machines: Vec<_> = machines.collect();
    if profile.mix.is_of_both() {
        let voters = usize::try_from(profile.voters).unwrap_or(usize::MAX);
        mix(&mut machines[..voters], profile.mix.embedding, dice);
    }
    Scenario {
        seed,
        voters: profile.voters,
        learners: profile.learners,
        machines,
        checks: profile.checks,
        actions: Vec::new(),
    }
}

/// At least one voter of each kind.
fn mix(voters: &mut [MachineSetup], embedding: Embedding, dice: &mut Dice) {
    let [first, others @ ..] = &*voters else {
        return;
    };
    if others.iter().any(|other| other.kind != first.kind) {
        return;
    }
    let kind = first.kind.other(embedding);
    let at = dice.position(voters.len());
    voters[at].kind = kind;
}

/// How fast a machine works; the steps until which it rests.
struct Pace {
    /// How often a pending write becomes durable.
    disk: u64,
    /// How often the clock ticks, where clocks differ.
    clock: u64,
    stalled_until: u64,
    paused_until: u64,
}

struct Simulation<'a, E: Embedder> {
    cluster: Cluster<E>,
    /// What has happened.
    scenario: Scenario,
    profile: &'a Profile,
    dice: Dice,
    /// How fast each node is, and until when it is not.
    paces: Vec<Pace>,
    time: Time,
    next_command: u64,
    /// How many machines were replaced.
    replaced: u64,
    /// The number of the next read, which is its context.
    next_read: u64,
    /// How many contexts there are; reads share them if these are few.
    read_contexts: u64,
}

impl<'a, E: Embedder> Simulation<'a, E> {
    fn new(
        cluster: Cluster<E>,
        scenario: Scenario,
        settings: Settings,
        profile: &'a Profile,
        mut dice: Dice,
    ) -> Self {
        let nodes = cluster.hosts.len();
        let paces = (0..nodes).map(|_| Pace {
            disk: if dice.chance(250) {
                profile.disk / 8
            } else {
                profile.disk
            },
            clock: [400, 800, 800, 1000][dice.position(4)],
            stalled_until: 0,
            paused_until: 0,
        });
        let paces = paces.collect();
        let time = Time::new(profile, &settings, nodes, &mut dice);
        let read_contexts = if dice.chance(1000 - profile.calls.shared_contexts) {
            u64::MAX
        } else {
            3
        };
        Self {
            cluster,
            scenario,
            profile,
            dice,
            paces,
            time,
            next_command: 0,
            replaced: 0,
            next_read: 0,
            read_contexts,
        }
    }

    fn run(&mut self) {
        self.cluster.start_all();
        for _ in 0..self.profile.phases {
            for _ in 0..self.profile.steps {
                if self.cluster.violation.is_some() {
                    return;
                }
                self.step();
            }
            self.act(Action::Recover);
        }
    }

    /// Asks a machine that does not stand still.
    fn ask(&mut self, at: usize, request: Request) {
        if !self.is_paused(at) {
            self.act(request.of(self.id(at)));
        }
    }

    /// Lets this happen, and notes it.
    fn act(&mut self, action: Action) {
        // First, so that a panic comes of the last action noted.
        self.scenario.actions.push(action.clone());
        self.cluster.perform(&action);
    }

    fn id(&self, at: usize) -> u64 {
        self.cluster.hosts[at].id.get()
    }

    // --- The fault phase ---

    fn step(&mut self) {
        self.act(Action::Step);
        self.faults();
        self.tick();
        self.inputs();
        self.calls();
        for at in 0..self.cluster.hosts.len() {
            if !self.is_paused(at) {
                self.work(at);
            }
        }
        self.deliver();
    }

    /// Whether the whole machine stands still: no time passes, nothing arrives.
    fn is_paused(&self, at: usize) -> bool {
        self.cluster.now < self.paces[at].paused_until
    }

    fn any_host(&mut self) -> usize {
        self.dice.position(self.cluster.hosts.len())
    }

    /// The leader, as often as the profile aims at it and if there is one.
    fn likely_leader(&mut self) -> usize {
        self.leader_or_any(self.profile.aim)
    }

    /// The leader in so many of a thousand cases, if there is one.
    fn leader_or_any(&mut self, aim: u64) -> usize {
        let leader = self.cluster.leader().filter(|_| self.dice.chance(aim));
        let position = leader.and_then(|id| usize::try_from(id - 1).ok());
        position.unwrap_or_else(|| self.any_host())
    }

    fn inputs(&mut self) {
        let profile = self.profile;
        if self.dice.chance(profile.campaign) && (!self.is_electing() || self.dice.chance(100)) {
            let at = self.any_host();
            self.ask(at, Request::Campaign);
        }
        if self.dice.chance(profile.propose) {
            let count = 1 + self.dice.below(4);
            (0..count).for_each(|_| self.propose());
        }
        if self.dice.chance(profile.change) {
            self.change();
        }
        if self.dice.chance(profile.compact) {
            let at = self.any_host();
            if !self.is_paused(at) {
                self.act(MachineAction::Compact.at(self.id(at)));
            }
        }
    }

    /// Whether somebody stands for election. To campaign then mostly disturbs both.
    fn is_electing(&self) -> bool {
        let nodes = self
            .cluster
            .hosts
            .iter()
            .filter_map(|host| host.node.as_ref());
        let mut roles = nodes.map(|node| node.role());
        roles.any(|role| role == RoleKind::Candidate)
    }

    /// A command to every node; those that do not lead refuse it. Now and then one of them passes
    /// on some more.
    fn propose(&mut self) {
        let padding = self.dice.position(40);
        for at in 0..self.cluster.hosts.len() {
            let number = self.next_numbers(1);
            self.ask(at, Request::Propose { number, padding });
        }
        if self.dice.chance(self.profile.calls.forward) {
            let (at, count) = (self.any_host(), 1 + self.dice.below(3));
            let number = self.next_numbers(count);
            let forward = Request::Forward {
                number,
                count,
                padding,
            };
            self.ask(at, forward);
        }
    }

    /// The first of so many numbers that no command has.
    fn next_numbers(&mut self, count: u64) -> u64 {
        let first = self.next_command + 1;
        self.next_command += count;
        first
    }

    fn change(&mut self) {
        let change = match self.profile.membership {
            Membership::Fixed => return,
            Membership::OneStep => MembershipChange::of([self.member_change()]),
            // Only what nobody leaves by itself.
            Membership::Joint if self.is_explicitly_joint() && self.dice.chance(500) => {
                MembershipChange::leave_joint()
            }
            Membership::Joint => {
                let count = 1 + self.dice.below(3);
                let transition = match self.dice.below(3) {
                    0 => Transition::Auto,
                    1 => Transition::Implicit,
                    _ => Transition::Explicit,
                };
                MembershipChange {
                    transition,
                    ..MembershipChange::of((0..count).map(|_| self.member_change()))
                }
            }
        };
        for at in 0..self.cluster.hosts.len() {
            self.ask(at, Request::Change(change.clone()));
        }
    }

    fn member_change(&mut self) -> MemberChange {
        let at = self.any_host();
        let id: NodeId = self.cluster.hosts[at].id;
        match self.dice.below(4) {
            0 => MemberChange::AddLearner(id),
            1 => MemberChange::Remove(id),
            _ => MemberChange::AddVoter(id),
        }
    }

    /// What the machine itself does: its run loop, its disk, its state machine.
    fn work(&mut self, at: usize) {
        let id = self.id(at);
        if self.dice.chance(850) {
            self.act(MachineAction::Run.at(id));
        }
        let is_stalled = self.cluster.now < self.paces[at].stalled_until;
        let disk = if is_stalled { 0 } else { self.paces[at].disk };
        while !self.cluster.hosts[at].disk.pending.is_empty()
            && self.cluster.violation.is_none()
            && self.dice.chance(disk)
        {
            self.act(MachineAction::Write.at(id));
        }
        if self.dice.chance(self.paces[at].disk) {
            self.act(MachineAction::Apply.at(id));
        }
        if self.dice.chance(self.profile.save) {
            self.act(MachineAction::Save.at(id));
        }
    }

    fn deliver(&mut self) {
        /// What does not fit is lost, oldest first.
        const CAPACITY: usize = 150;
        /// In steps; long enough for an election.
        const MAX_DELAY: u64 = 60;
        let profile = self.profile;
        let count = self.cluster.network.len().min(4 + self.dice.position(12));
        for _ in 0..count {
            let position = if self.dice.chance(profile.reorder) {
                self.dice.position(self.cluster.network.len())
            } else {
                0
            };
            let Some(place) = self.cluster.network.place(position) else {
                break;
            };
            let to = usize::try_from(place.to - 1).unwrap_or(0);
            if self.is_paused(to) {
                continue;
            }
            if self.dice.chance(profile.drop) {
                self.act(Action::Lose(place));
                continue;
            }
            let is_slow = self.cluster.network.is_slow(place.to) && self.dice.chance(900);
            if is_slow || self.dice.chance(profile.delay) {
                let steps = 1 + self.dice.below(MAX_DELAY);
                self.act(Action::Delay(place, steps));
                continue;
            }
            if self.dice.chance(profile.duplicate) {
                self.act(Action::Duplicate(place));
            }
            self.act(Action::Deliver(place));
        }
        while self.cluster.network.len() > CAPACITY {
            if let Some(place) = self.cluster.network.place(0) {
                self.act(Action::Lose(place));
            }
        }
    }

    fn is_explicitly_joint(&self) -> bool {
        let leader = self
            .cluster
            .leader()
            .map(|leader| self.cluster.running(leader).membership());
        leader.is_some_and(|membership| membership.is_joint() && !membership.auto_leave())
    }
}

/// Small limits, so that short runs meet them.
fn varied(settings: Settings, dice: &mut Dice) -> Settings {
    let pick = |dice: &mut Dice, from: [u64; 3]| from[dice.position(3)];
    // An embedder that allows it at all allows a little, or as much as it likes.
    let unpersisted = pick(dice, [1, 3, u64::MAX]);
    let election_timeout_ticks = 4 + u32::try_from(dice.below(6)).unwrap_or(0);
    let spread = [3, election_timeout_ticks, 2 * election_timeout_ticks][dice.position(3)];
    // Less than a few proposals at a time leaves little to happen.
    let max_uncommitted_bytes = if dice.chance(100) {
        1
    } else {
        pick(dice, [500, 2000, 64 << 20])
    };
    // A lease is all that keeps an election away where nobody asks for pre-votes.
    let pre_vote = settings.pre_vote && !(settings.lease_reads && dice.chance(500));
    Settings {
        pre_vote,
        lease_margin_ticks: 1 + u32::from(dice.chance(700)),
        max_pending_reads: [1, 3, 4096][dice.position(3)],
        max_apply_unpersisted_entries: settings.max_apply_unpersisted_entries.min(unpersisted),
        skip_commit_broadcast: dice.chance(150),
        // Less than the shortest timeout of any node, so that followers hear in time.
        heartbeat_interval_ticks: [1, 1, 2, 3][dice.position(4)],
        election_timeout_ticks,
        max_election_timeout_ticks: Some(election_timeout_ticks + spread),
        max_message_bytes: pick(dice, [1, 150, 1 << 20]),
        max_inflight_messages: 1 + dice.position(5),
        max_inflight_bytes: pick(dice, [150, 400, 16 << 20]),
        max_uncommitted_bytes,
        max_committed_bytes_per_ready: pick(dice, [1, 150, 1 << 20]),
        max_tail_bytes: pick(dice, [0, 300, 1 << 20]),
        ..settings
    }
}
