//! The model checker: small clusters of real nodes, in every situation that there is.
//!
//! A [`Preset`] says how a cluster begins and what may happen, within [`Bounds`]. [`explore`] makes
//! everything happen that may, in every order, and looks at every situation that comes of it.
//!
//! # What may happen
//!
//! Any message on its way may arrive next, or never. So messages are lost and delayed and overtake
//! each other, and a loss is not an action of its own: what holds in all situations in which a
//! message has not arrived yet holds if it never does. Some may arrive twice. Writes wait as the
//! [`DiskKind`] says. A crash keeps what is durable and any prefix of the writes that wait, and what
//! was written without a sync (a commit index, the state machine) or not. Elections and heartbeats
//! begin at any time; where a preset counts ticks, at their time.
//!
//! # What is checked
//!
//! In every situation the five properties of Raft's Figure 3 hold, and an election counts as a
//! second one if a node leads its own term again after a crash. What is committed is durable on a
//! quorum, what a message promises is on its sender's disk when it leaves, and what a leader counts
//! as acknowledged is its own log, on the peer's disk. Nobody votes twice. Reads are linearizable.
//! Term, commit index, applied index and what is known of a peer only grow. A leader commits all
//! that it can. No node panics, halts, refuses to start, or refuses the message of another.
//!
//! What a receiver is to ignore for ever is left out of a situation, but only where the receiver as
//! it is does ignore it: a node that breaks the rule is seen to break it.
//!
//! # How
//!
//! A node is a value, so a node *is* the state that is explored, as it is shipped. What an input
//! makes of one machine depends on this machine alone. So each is computed once, machines and
//! messages are numbered, and a situation is a handful of numbers: the same few thousand machines
//! make up millions of situations. Visited situations are kept as fingerprints of 64 bits; see
//! [`Exploration::states`].

mod actions;
mod canonical;
mod cluster;
mod history;
mod letter;
mod machine;
mod opening;
mod preset;
mod presets;
mod search;

use std::fmt;

use self::cluster::{Action, Cluster, Situation};
pub use self::preset::{Bounds, DiskKind, Opening, Preset};
pub use self::presets::presets;
use self::search::{Reached, Row, Visited};
use crate::violation::ViolationKind;

/// What was explored, and what was found.
#[derive(Clone, Debug)]
pub struct Exploration {
    /// How many different situations there are; up to the violation, if there is one.
    ///
    /// They are told apart by fingerprints of 64 bits. Among n situations the probability that any
    /// two were taken for one is below n² / 2⁶⁵.
    pub states: u64,
    /// How many actions were tried, those included that led to what was known already.
    pub actions: u64,
    /// How many actions the longest of all shortest ways takes.
    pub depth: u64,
    /// How many different machines the situations consist of.
    pub machines: u64,
    /// The first violation, if there is one.
    pub finding: Option<Finding>,
}

/// A broken promise, and the shortest way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What broke.
    pub kind: ViolationKind,
    /// What happened until then, a line each. The steps of the opening come first.
    pub steps: Vec<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in (1..).zip(&self.steps) {
            writeln!(f, "{number:4}. {step}")?;
        }
        write!(f, "{}", self.kind)
    }
}

/// Explores a preset to its end, or to the first violation.
#[must_use]
pub fn explore(preset: &Preset) -> Exploration {
    let mut explorer = Explorer {
        cluster: Cluster::new(preset),
        visited: Visited::default(),
        actions: 0,
    };
    let mut steps = Vec::new();
    let opened = explorer.cluster.open(&mut |step| steps.push(step));
    let (depth, finding) = match opened {
        Err(kind) => (0, Some(Finding { kind, steps })),
        Ok(first) => explorer.run(&first, steps),
    };
    Exploration {
        states: explorer.visited.len() as u64,
        actions: explorer.actions,
        depth,
        machines: explorer.cluster.machines.len() as u64,
        finding,
    }
}

struct Explorer<'a> {
    cluster: Cluster<'a>,
    visited: Visited,
    actions: u64,
}

impl Explorer<'_> {
    /// Explores from here. Returns the depth and what was found.
    fn run(&mut self, first: &Situation, mut steps: Vec<String>) -> (u64, Option<Finding>) {
        let mut bytes = Vec::new();
        first.write(&mut bytes);
        self.visited.visit(Visited::fingerprint(&bytes), 0, 0);
        let mut level = Row::default();
        level.push(&bytes);
        let mut next = Row::default();
        let mut reached = Reached::default();
        let mut actions = Vec::new();
        let mut before = first.clone();
        let mut after = first.clone();
        let mut depth = 0;
        let mut number = 0;
        while !level.is_empty() {
            for situation in level.iter() {
                before.read(situation);
                self.cluster.actions(&before, &mut actions);
                for (position, &action) in actions.iter().enumerate() {
                    self.actions += 1;
                    match self.cluster.act(&before, action, &mut after) {
                        Ok(false) => {}
                        Ok(true) => {
                            bytes.clear();
                            after.write(&mut bytes);
                            reached.push(&bytes, (number, position));
                        }
                        Err(kind) => {
                            reached.visit(&mut self.visited, &mut next);
                            self.retrace(first, number, &mut steps);
                            steps.push(self.cluster.text(action));
                            return (depth + 1, Some(Finding { kind, steps }));
                        }
                    }
                }
                number += 1;
                if reached.is_many() {
                    reached.visit(&mut self.visited, &mut next);
                }
            }
            reached.visit(&mut self.visited, &mut next);
            depth += u64::from(!next.is_empty());
            std::mem::swap(&mut level, &mut next);
            next.clear();
        }
        (depth, None)
    }

    /// Tells the way to the situation of this number.
    fn retrace(&mut self, first: &Situation, number: usize, steps: &mut Vec<String>) {
        let mut situation = first.clone();
        let mut after = first.clone();
        let mut actions: Vec<Action> = Vec::new();
        for position in self.visited.way_to(number) {
            self.cluster.actions(&situation, &mut actions);
            let Some(&action) = actions.get(position) else {
                return;
            };
            steps.push(self.cluster.text(action));
            if self.cluster.act(&situation, action, &mut after) == Ok(true) {
                std::mem::swap(&mut situation, &mut after);
            }
        }
    }
}
