//! Random runs: a phase of faults, and then one in which the cluster must come back.
//!
//! Owns the choice of what happens when. Must not know what is checked; the cluster's checkers look
//! on.

mod calls;
mod time;

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};

use almadia::{MemberChange, MembershipChange, NodeId, RoleKind, Transition};

use self::time::Time;
use crate::cluster::{Cluster, Stats};
use crate::dice::Dice;
use crate::host::{DiskMode, Settings};
use crate::profile::{Membership, Profile};
use crate::violation::{Violation, ViolationKind};

/// Within so many ticks after all faults are gone the cluster must have a leader and commit.
pub const RECOVERY_TICKS: u64 = 400;

/// Makes the run of this seed: faults for [`Profile::steps`] steps, and then none, until a new
/// proposal is applied by every member and their states agree.
///
/// # Errors
///
/// The first promise of Raft that was broken.
pub fn run(seed: u64, profile: &Profile) -> Result<Stats, Violation> {
    let mut simulation = Simulation::new(seed, profile);
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| simulation.run()));
    let violation = match outcome {
        Ok(()) => simulation.cluster.violation.take(),
        Err(payload) => Some(Violation {
            seed,
            step: simulation.cluster.stats.steps,
            kind: ViolationKind::Panicked(panic_text(payload.as_ref())),
        }),
    };
    violation.map_or_else(|| Ok(simulation.cluster.stats()), Err)
}

pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("without a text").into()
}

struct Simulation<'a> {
    cluster: Cluster,
    profile: &'a Profile,
    dice: Dice,
    /// How fast each node's disk is.
    disk_rates: Vec<u64>,
    time: Time,
    next_command: u64,
    /// The number of the next read, which is its context.
    next_read: u64,
    /// How many contexts there are; reads share them if these are few.
    read_contexts: u64,
}

impl<'a> Simulation<'a> {
    fn new(seed: u64, profile: &'a Profile) -> Self {
        let mut dice = Dice::new(seed ^ 0x5eed);
        let settings = varied(profile.settings, &mut dice);
        let mut cluster = Cluster::with_settings(profile.voters, profile.others, seed, settings);
        cluster.panics = false;
        cluster.is_instant = false;
        cluster.set_checks(profile.checks);
        let mut disk_rates = Vec::new();
        for host in &mut cluster.hosts {
            if dice.chance(profile.priority) {
                host.settings.priority = i64::try_from(dice.below(3)).unwrap_or(0);
                if let Some(node) = &mut host.node {
                    node.set_priority(host.settings.priority);
                }
            }
            host.disk.fault = profile.fault;
            if dice.chance(profile.asynchronous) {
                host.mode = DiskMode::Asynchronous;
            }
            let is_slow = dice.chance(250);
            disk_rates.push(if is_slow {
                profile.disk / 8
            } else {
                profile.disk
            });
        }
        let time = Time::new(profile, &settings, cluster.hosts.len(), &mut dice);
        let read_contexts = if dice.chance(500) { u64::MAX } else { 3 };
        Self {
            cluster,
            profile,
            dice,
            disk_rates,
            time,
            next_command: 0,
            next_read: 0,
            read_contexts,
        }
    }

    fn run(&mut self) {
        for _ in 0..self.profile.steps {
            self.cluster.stats.steps += 1;
            self.step();
            if self.cluster.violation.is_some() {
                return;
            }
        }
        self.recover();
    }

    // --- The fault phase ---

    fn step(&mut self) {
        self.cluster.now += 1;
        let now = self.cluster.now;
        self.cluster.network.release(now);
        self.cluster.send_due_reports();
        self.faults();
        self.tick();
        self.inputs();
        self.calls();
        for at in 0..self.cluster.hosts.len() {
            self.work(at);
        }
        self.deliver();
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

    fn faults(&mut self) {
        let profile = self.profile;
        if self.dice.chance(profile.crash) {
            let at = self.leader_or_any(500);
            let pending = self.cluster.hosts[at].disk.pending.len();
            let kept = self.dice.position(pending + 1);
            self.cluster.crash_at(at, kept);
        }
        if self.dice.chance(profile.blackout) {
            let leader = self.leader_or_any(1000);
            let others = (0..self.cluster.hosts.len()).filter(|&at| at != leader);
            for at in others {
                if self.dice.chance(700) {
                    self.cluster.crash_at(at, 0);
                }
            }
        }
        for at in 0..self.cluster.hosts.len() {
            if self.cluster.hosts[at].node.is_none() && self.dice.chance(profile.restart) {
                self.cluster.start(at);
            }
        }
        if self.dice.chance(profile.partition) {
            self.partition();
        }
        if self.dice.chance(profile.heal) {
            self.cluster.heal();
        }
        if self.cluster.network.is_whole() && self.dice.chance(profile.coup) {
            if let Some(leader) = self.cluster.leader() {
                self.cut_off(leader);
            }
        }
    }

    /// Cuts one node off from all others, in one direction or both.
    fn cut_off(&mut self, one: u64) {
        let nodes = self.cluster.hosts.len() as u64;
        match self.dice.below(5) {
            // One of the others alone does not hear it, and may not be heard.
            0 => {
                let other = 1 + self.dice.below(nodes);
                self.cluster.cut(one, other);
                if self.dice.chance(700) {
                    self.cluster.cut(other, one);
                }
            }
            // It sends and does not hear.
            1 => (1..=nodes).for_each(|other| self.cluster.cut(other, one)),
            // It hears, and nobody hears it. What it hears may be old.
            2 => {
                (1..=nodes).for_each(|other| self.cluster.cut(one, other));
                if let Some(one) = NodeId::new(one).filter(|_| self.dice.chance(700)) {
                    self.cluster.network.slow_down(one);
                }
            }
            _ => self.cluster.isolate(one),
        }
    }

    fn partition(&mut self) {
        let nodes = self.cluster.hosts.len() as u64;
        let one = 1 + self.likely_leader() as u64;
        match self.dice.below(4) {
            0..3 => self.cut_off(one),
            _ => {
                let side: Vec<bool> = (0..nodes).map(|_| self.dice.chance(500)).collect();
                for (from, &from_side) in (1..).zip(&side) {
                    for (to, &to_side) in (1..).zip(&side) {
                        if from_side != to_side {
                            self.cluster.cut(from, to);
                        }
                    }
                }
            }
        }
    }

    fn inputs(&mut self) {
        let profile = self.profile;
        if self.dice.chance(profile.campaign) && (!self.is_electing() || self.dice.chance(100)) {
            let at = self.any_host();
            self.cluster.call(at, |node| node.campaign().is_ok());
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
            self.cluster.compact_at(at);
        }
    }

    /// Whether somebody stands for election. To campaign then mostly disturbs both.
    fn is_electing(&self) -> bool {
        let nodes = self
            .cluster
            .hosts
            .iter()
            .filter_map(|host| host.node.as_ref());
        let mut roles = nodes.map(almadia::RawNode::role);
        roles.any(|role| role == RoleKind::Candidate)
    }

    /// A command, to every node that believes it leads.
    fn propose(&mut self) {
        self.next_command += 1;
        let padding = self.dice.position(40);
        let mut data = self.next_command.to_be_bytes().to_vec();
        data.resize(data.len() + padding, 0);
        for at in 0..self.cluster.hosts.len() {
            let data = data.clone();
            let id = self.cluster.hosts[at].id.get();
            let context = id.to_be_bytes().to_vec();
            self.cluster
                .call(at, |node| node.propose(context, data).is_ok());
        }
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
            let change = change.clone();
            self.cluster
                .call(at, |node| node.propose_conf_change("", change).is_ok());
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
        if self.dice.chance(850) {
            self.cluster.pump(at);
        }
        while !self.cluster.hosts[at].disk.pending.is_empty()
            && self.dice.chance(self.disk_rates[at])
            && self.cluster.complete_write(at)
        {}
        if self.dice.chance(self.disk_rates[at]) {
            self.cluster.apply_job(at);
        }
        if self.dice.chance(self.profile.save) {
            let host = &mut self.cluster.hosts[at];
            host.disk.keep_machine(&host.machine);
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
            let Some(message) = self.cluster.network.take(position) else {
                break;
            };
            if self.dice.chance(profile.drop) {
                self.cluster.lose(&message);
                continue;
            }
            let is_slow = self.cluster.network.is_slow(message.to) && self.dice.chance(900);
            if is_slow || self.dice.chance(profile.delay) {
                let due = self.cluster.now + 1 + self.dice.below(MAX_DELAY);
                self.cluster.network.delay(message, due);
                continue;
            }
            if self.dice.chance(profile.duplicate) {
                self.cluster.network.send(message.clone());
            }
            self.cluster.deliver(message);
        }
        while self.cluster.network.len() > CAPACITY {
            let lost = self.cluster.network.take(0);
            lost.iter().for_each(|message| self.cluster.lose(message));
        }
    }

    // --- The liveness phase ---

    fn recover(&mut self) {
        self.cluster.heal();
        self.cluster.network.release(u64::MAX);
        self.cluster.is_instant = true;
        for at in 0..self.cluster.hosts.len() {
            self.cluster.complete_writes(at as u64 + 1);
            self.cluster.restart(at as u64 + 1);
        }
        let mut proposed = None;
        for tick in 1..=RECOVERY_TICKS {
            self.cluster.stats.recovery_ticks = tick;
            self.cluster.tick_all();
            self.cluster.deliver_all();
            if tick % 10 == 0 {
                for at in 0..self.cluster.hosts.len() {
                    self.cluster.compact_at(at);
                }
            }
            if self.cluster.violation.is_some() {
                return;
            }
            let Some(leader) = self.cluster.leader() else {
                continue;
            };
            if proposed.is_none_or(|id| !self.is_in_log(leader, id)) {
                proposed = self.cluster.propose(leader, "the last command");
            } else if self.has_recovered(proposed) {
                return;
            }
        }
        let missing = self.cluster.unsettled();
        let missing = missing.unwrap_or_else(|| "the proposal is not committed".into());
        self.cluster.check(Err(ViolationKind::NoProgress {
            ticks: RECOVERY_TICKS,
            missing: format!("{missing}\n{}", self.describe()),
        }));
    }

    fn is_explicitly_joint(&self) -> bool {
        let leader = self
            .cluster
            .leader()
            .map(|leader| self.cluster.node(leader).membership());
        leader.is_some_and(|membership| membership.is_joint() && !membership.auto_leave())
    }

    fn is_in_log(&self, leader: u64, id: almadia::LogId) -> bool {
        let node = self.cluster.node(leader);
        self.cluster.is_committed(id)
            || (node.role() == RoleKind::Leader && node.current_term() == id.term)
    }

    fn has_recovered(&self, proposed: Option<almadia::LogId>) -> bool {
        proposed.is_some_and(|id| self.cluster.is_committed(id))
            && self.cluster.unsettled().is_none()
    }

    fn describe(&self) -> String {
        let nodes = self.cluster.hosts.iter().map(|host| {
            let status = host.node.as_ref().map(almadia::RawNode::status);
            format!("{:?} busy={} {status:?}\n", host.id, host.busy.is_some())
        });
        nodes.collect()
    }
}

/// Small limits, so that short runs meet them.
fn varied(settings: Settings, dice: &mut Dice) -> Settings {
    let pick = |dice: &mut Dice, from: [u64; 3]| from[dice.position(3)];
    // An embedder that allows it at all allows a little, or as much as it likes.
    let unpersisted = pick(dice, [1, 3, u64::MAX]);
    // A lease is all that keeps an election away where nobody asks for pre-votes.
    let pre_vote = settings.pre_vote && !(settings.lease_reads && dice.chance(500));
    Settings {
        pre_vote,
        lease_margin_ticks: 1 + u32::from(dice.chance(700)),
        max_pending_reads: [1, 3, 4096][dice.position(3)],
        max_apply_unpersisted_entries: settings.max_apply_unpersisted_entries.min(unpersisted),
        skip_commit_broadcast: dice.chance(150),
        election_timeout_ticks: 4 + u32::try_from(dice.below(6)).unwrap_or(0),
        max_message_bytes: pick(dice, [1, 150, 1 << 20]),
        max_inflight_messages: 1 + dice.position(5),
        max_committed_bytes_per_ready: pick(dice, [1, 150, 1 << 20]),
        max_tail_bytes: pick(dice, [0, 300, 1 << 20]),
        ..settings
    }
}
