//! Many groups in one process, of which few are in use.
//!
//! Owns the host: all nodes, the messages between them, and the three ways in which time can be told to them.
//! Only nodes that were told something are asked what there is to do. Holds no figures.

use std::time::{Duration, Instant};

use crate::almadia_side::{self as ours, Almadia};
use crate::library::{Library, Settings};
use crate::{KEPT, command};

/// Nodes in a group.
pub const NODES: usize = 3;

/// Ticks between two heartbeats.
pub const HEARTBEAT: u32 = 10;

/// Ticks of the shortest election timeout; the longest is twice as long.
pub const ELECTION: u32 = 100;

/// One group in so many is in use.
pub const ONE_IN: usize = 100;

/// What a command is, in bytes.
const PAYLOAD: usize = 16;

/// The places of the nodes that have been told something, and not asked since. Each stands there once.
#[derive(Default)]
pub struct Awake {
    places: Vec<usize>,
    is_there: Vec<bool>,
}

impl Awake {
    fn add(&mut self, at: usize) {
        if !self.is_there[at] {
            self.is_there[at] = true;
            self.places.push(at);
        }
    }

    fn take(&mut self) -> Option<usize> {
        let at = self.places.pop()?;
        self.is_there[at] = false;
        Some(at)
    }
}

/// How time is told to the nodes of a host.
pub trait Clock<L: Library> {
    /// One tick passes. Adds the nodes that have something to do then, and tells how many were looked at.
    fn pass(&mut self, nodes: &mut [L::Node], awake: &mut Awake) -> usize;
    /// Something but a tick is about to be told to the node at this place.
    fn before(&mut self, nodes: &mut [L::Node], at: usize, awake: &mut Awake);
    /// The node at this place has done what there was to do.
    fn after(&mut self, nodes: &[L::Node], at: usize);
    /// The group is in use.
    fn used(&mut self, group: usize);
}

/// Every tick is told to every node.
pub struct EachTick;

impl<L: Library> Clock<L> for EachTick {
    fn pass(&mut self, nodes: &mut [L::Node], awake: &mut Awake) -> usize {
        for (at, node) in nodes.iter_mut().enumerate() {
            L::tick(node);
            if L::has_ready(node) {
                awake.add(at);
            }
        }
        nodes.len()
    }

    fn before(&mut self, _: &mut [L::Node], _: usize, _: &mut Awake) {}

    fn after(&mut self, _: &[L::Node], _: usize) {}

    fn used(&mut self, _: usize) {}
}

/// A node is told the time when it would do something, or before it is told something else. Which nodes
/// are due at which tick stands in a wheel.
pub struct Wheel {
    now: u32,
    /// Up to which tick each node was told the time.
    told: Vec<u32>,
    /// At which tick each node is looked at next. It may have nothing to do yet then.
    look: Vec<u32>,
    /// The nodes to be looked at, by the tick, round and round.
    slots: Vec<Vec<u32>>,
    /// Where groups sleep: when each was used last, and whether it sleeps.
    sleep: Option<Vec<Nap>>,
}

#[derive(Clone, Copy)]
struct Nap {
    used: u32,
    asleep: bool,
}

/// More than the longest timeout.
const SLOTS: u32 = 256;

/// A group that was not used for so many ticks may sleep.
const DROWSY: u32 = HEARTBEAT;

impl Wheel {
    /// A wheel for nodes that were told all ticks so far. Groups may fall asleep: no time passes for those
    /// that are quiescent, until somebody wants something of them.
    #[must_use]
    pub fn of(nodes: &[ours::Node], may_sleep: bool) -> Self {
        let nap = Nap {
            used: 0,
            asleep: false,
        };
        let mut wheel = Self {
            now: 0,
            told: vec![0; nodes.len()],
            look: vec![0; nodes.len()],
            slots: (0..SLOTS).map(|_| Vec::new()).collect(),
            sleep: may_sleep.then(|| vec![nap; nodes.len() / NODES]),
        };
        for (at, node) in nodes.iter().enumerate() {
            wheel.plan(at, node);
        }
        wheel
    }

    /// Tells all nodes the time, but for those that sleep.
    ///
    /// # Panics
    ///
    /// If a node refuses.
    pub fn catch_up(&mut self, nodes: &mut [ours::Node]) {
        for (at, node) in nodes.iter_mut().enumerate() {
            let sleeps = |naps: &Vec<Nap>| naps[at / NODES].asleep;
            if !self.sleep.as_ref().is_some_and(sleeps) {
                let behind = self.now - self.told[at];
                node.tick_many(behind).expect("memory does not fail");
                self.told[at] = self.now;
            }
        }
    }

    /// How many groups sleep.
    #[must_use]
    pub fn asleep(&self) -> usize {
        let naps = self.sleep.iter().flatten();
        naps.filter(|nap| nap.asleep).count()
    }

    /// Sees to it that the node is looked at when it is due. One that is looked at before that is planned
    /// anew then, so that a deadline which moves on with each heartbeat costs nothing here.
    fn plan(&mut self, at: usize, node: &ours::Node) {
        let due = self.told[at].saturating_add(node.ticks_until_action());
        let due = due.min(self.now + SLOTS - 1);
        if self.look[at] <= self.now || due < self.look[at] {
            self.look[at] = due;
            let number = u32::try_from(at).expect("nodes have numbers");
            self.slots[(due % SLOTS) as usize].push(number);
        }
    }

    fn falls_asleep(&mut self, nodes: &[ours::Node], group: usize) -> bool {
        let Some(nap) = self.sleep.as_mut().map(|naps| &mut naps[group]) else {
            return false;
        };
        let nodes = &nodes[group * NODES..][..NODES];
        nap.asleep |= self.now - nap.used > DROWSY && nodes.iter().all(ours::Node::is_quiescent);
        nap.asleep
    }
}

impl Clock<Almadia> for Wheel {
    fn pass(&mut self, nodes: &mut [ours::Node], awake: &mut Awake) -> usize {
        self.now += 1;
        let slot = (self.now % SLOTS) as usize;
        let mut here = std::mem::take(&mut self.slots[slot]);
        let looked_at = here.len();
        for number in here.drain(..) {
            let at = number as usize;
            if self.look[at] != self.now || self.falls_asleep(nodes, at / NODES) {
                continue;
            }
            let node = &mut nodes[at];
            let behind = self.now - self.told[at];
            if node.ticks_until_action() <= behind {
                node.tick_many(behind).expect("memory does not fail");
                self.told[at] = self.now;
                if node.has_ready() {
                    awake.add(at);
                }
            }
            self.plan(at, node);
        }
        // Planned were only other slots: a wheel's way round is longer than any plan.
        self.slots[slot] = here;
        looked_at
    }

    fn before(&mut self, nodes: &mut [ours::Node], at: usize, awake: &mut Awake) {
        let group = at / NODES;
        if let Some(nap) = self.sleep.as_mut().map(|naps| &mut naps[group]) {
            if std::mem::take(&mut nap.asleep) {
                // The time that was slept did not pass. All nodes are told that they are awake.
                let first = group * NODES;
                for (at, node) in (first..).zip(&mut nodes[first..first + NODES]) {
                    Almadia::tick(node);
                    self.told[at] = self.now;
                    self.plan(at, node);
                    awake.add(at);
                }
            }
        }
        let behind = self.now - self.told[at];
        if behind > 0 {
            nodes[at].tick_many(behind).expect("memory does not fail");
            self.told[at] = self.now;
        }
    }

    fn after(&mut self, nodes: &[ours::Node], at: usize) {
        self.plan(at, &nodes[at]);
    }

    fn used(&mut self, group: usize) {
        if let Some(naps) = &mut self.sleep {
            naps[group].used = self.now;
        }
    }
}

/// All nodes of one side.
pub struct Host<L: Library> {
    /// Group by group.
    nodes: Vec<L::Node>,
    awake: Awake,
    mail: Vec<(usize, L::Message)>,
}

/// What rounds have cost, all in all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// Of telling the time, and of finding out who has something to do then.
    pub ticks: Duration,
    /// Of what the ticks have caused: heartbeats.
    pub caused: Duration,
    /// Of the entries.
    pub entries: Duration,
    /// How many nodes the clock has looked at.
    pub looked_at: usize,
    /// How many messages have passed.
    pub messages: usize,
}

impl<L: Library> Host<L> {
    /// So many groups, in none of which anything has happened.
    #[must_use]
    pub fn of(groups: usize) -> Self {
        let voters = NODES as u64;
        let settings = Settings {
            heartbeat: HEARTBEAT,
            election: ELECTION,
            ..Settings::of(voters)
        };
        let group = |_| (1..=voters).map(|id| L::node(id, &settings, L::store(voters)));
        let awake = Awake {
            places: Vec::new(),
            is_there: vec![false; groups * NODES],
        };
        Self {
            nodes: (0..groups).flat_map(group).collect(),
            awake,
            mail: Vec::new(),
        }
    }

    /// All nodes, group by group.
    pub fn nodes_mut(&mut self) -> &mut [L::Node] {
        &mut self.nodes
    }

    /// The nodes alone.
    #[must_use]
    pub fn into_nodes(self) -> Box<[L::Node]> {
        self.nodes.into()
    }

    fn groups(&self) -> usize {
        self.nodes.len() / NODES
    }

    /// Which node of a group leads: each one in its turn.
    const fn leader_of(group: usize) -> usize {
        group * NODES + group % NODES
    }

    /// Has one node of each group campaign, all at the same time, and lets them win. Returns how many
    /// messages that took.
    ///
    /// # Panics
    ///
    /// If one does not win.
    pub fn elect(&mut self) -> usize {
        for leader in (0..self.groups()).map(Self::leader_of) {
            L::campaign(&mut self.nodes[leader]);
            self.awake.add(leader);
        }
        let messages = self.settle(&mut EachTick);
        // All groups together have had more on its way than will ever be again.
        self.mail = Vec::new();
        for leader in (0..self.groups()).map(Self::leader_of) {
            assert!(L::leads(&self.nodes[leader]));
        }
        messages
    }

    /// Lets the leaders' clocks differ, as those of groups that were not elected at the same time. All
    /// heartbeats of a host at the same tick would be as much work, and less even.
    pub fn spread(&mut self) {
        for group in 0..self.groups() {
            for _ in 0..group % HEARTBEAT as usize {
                L::tick(&mut self.nodes[Self::leader_of(group)]);
            }
        }
    }

    /// Lets messages pass until nobody has anything left to do, and counts them.
    fn settle(&mut self, clock: &mut impl Clock<L>) -> usize {
        let mut messages = 0;
        let mut out = Vec::new();
        while !self.awake.places.is_empty() {
            while let Some(at) = self.awake.take() {
                L::work(&mut self.nodes[at], &mut out);
                clock.after(&self.nodes, at);
                let first = at - at % NODES;
                let addressed = out.drain(..);
                self.mail.extend(
                    addressed.map(|message| (first + L::to(&message) as usize - 1, message)),
                );
            }
            messages += self.mail.len();
            for (at, message) in self.mail.drain(..) {
                clock.before(&mut self.nodes, at, &mut self.awake);
                L::step(&mut self.nodes[at], message);
                self.awake.add(at);
            }
        }
        messages
    }

    /// So many rounds: a tick passes, and the groups in use commit an entry each.
    ///
    /// # Panics
    ///
    /// If an entry is not committed.
    pub fn rounds(&mut self, rounds: usize, clock: &mut impl Clock<L>) -> Cost {
        let mut cost = Cost::default();
        for _ in 0..rounds {
            let start = Instant::now();
            cost.looked_at += clock.pass(&mut self.nodes, &mut self.awake);
            let ticked = Instant::now();
            cost.messages += self.settle(clock);
            let heard = Instant::now();
            for group in (0..self.groups()).step_by(ONE_IN) {
                self.propose(group, clock);
            }
            cost.messages += self.settle(clock);
            cost.entries += heard.elapsed();
            cost.caused += heard - ticked;
            cost.ticks += ticked - start;
            for group in (0..self.groups()).step_by(ONE_IN) {
                for node in &mut self.nodes[group * NODES..][..NODES] {
                    L::cut(node, KEPT, 0);
                }
            }
        }
        cost
    }

    /// Lets a tick pass, and whatever comes of it.
    pub fn pass(&mut self, clock: &mut impl Clock<L>) {
        clock.pass(&mut self.nodes, &mut self.awake);
        self.settle(clock);
    }

    fn propose(&mut self, group: usize, clock: &mut impl Clock<L>) {
        let leader = Self::leader_of(group);
        clock.before(&mut self.nodes, leader, &mut self.awake);
        clock.used(group);
        L::propose(&mut self.nodes[leader], command(PAYLOAD));
        self.awake.add(leader);
    }

    /// Commits an entry in one group, whether or not it was in use.
    pub fn commit(&mut self, group: usize, clock: &mut impl Clock<L>) {
        self.propose(group, clock);
        self.settle(clock);
    }

    /// What all nodes of the group know to be committed.
    #[must_use]
    pub fn committed(&self, group: usize) -> u64 {
        let nodes = self.nodes[group * NODES..][..NODES].iter();
        nodes.map(L::committed).min().unwrap_or_default()
    }

    /// How many groups have a leader, and no more than one.
    #[must_use]
    pub fn led(&self) -> usize {
        let groups = self.nodes.chunks(NODES);
        let leaders = groups.map(|nodes| nodes.iter().filter(|node| L::leads(node)).count());
        leaders.filter(|&leaders| leaders == 1).count()
    }
}
