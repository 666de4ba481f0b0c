//! Making a failing scenario short: the fewest steps, nodes and actions that still break the same
//! promise.
//!
//! Owns the order in which things are left out. Must not know what any of them does; a scenario is
//! played, and its violation is of the same kind or it is not.

use std::marker::PhantomData;
use std::mem::discriminant;

use crate::action::{Action, MachineAction};
use crate::embedder::Embedder;
use crate::scenario::Scenario;
use crate::violation::{Violation, ViolationKind};

/// At most so many scenarios are played to make one short.
const PLAYS: usize = 4000;

struct Shrinking<E> {
    best: Scenario,
    violation: Violation,
    plays_left: usize,
    of: PhantomData<E>,
}

impl Scenario {
    /// A scenario as short as can be found that breaks a promise of the same kind, and what it
    /// breaks; `None` if this one breaks none.
    #[must_use]
    pub fn shrink<E: Embedder>(&self) -> Option<(Self, Violation)> {
        let violation = self.play_with::<E>().err()?;
        let mut shrinking = Shrinking::<E> {
            best: self.clone(),
            violation,
            plays_left: PLAYS,
            of: PhantomData,
        };
        shrinking.end_with_the_violation();
        loop {
            let before = shrinking.best.actions.len();
            shrinking.leave_out_nodes();
            shrinking.leave_out(|action| matches!(action, Action::Step));
            shrinking.leave_out(|_| true);
            if shrinking.best.actions.len() == before || shrinking.plays_left == 0 {
                return Some((shrinking.best, shrinking.violation));
            }
        }
    }
}

impl<E: Embedder> Shrinking<E> {
    /// Takes this scenario if it breaks the same promise.
    fn try_out(&mut self, scenario: Scenario) -> bool {
        if self.plays_left == 0 {
            return false;
        }
        self.plays_left -= 1;
        match scenario.play_with::<E>() {
            Err(violation) if is_same(&violation.kind, &self.violation.kind) => {
                self.best = scenario;
                self.violation = violation;
                true
            }
            Err(_) | Ok(_) => false,
        }
    }

    fn with(&self, actions: Vec<Action>) -> Scenario {
        Scenario {
            actions,
            ..self.best.clone()
        }
    }

    /// What comes after the step of the violation has no part in it.
    fn end_with_the_violation(&mut self) {
        let mut steps = 0;
        let last = self.violation.step;
        let actions = self.best.actions.iter();
        let actions = actions.take_while(|action| {
            steps += u64::from(matches!(action, Action::Step));
            steps <= last
        });
        let actions = actions.cloned().collect();
        self.try_out(self.with(actions));
    }

    /// Leaves out the last node, and then machines that need never run.
    fn leave_out_nodes(&mut self) {
        while self.best.voters > 1 {
            let gone = self.best.machines.len() as u64;
            let mut smaller = self.best.clone();
            smaller.machines.pop();
            if smaller.voters + smaller.learners == gone {
                if smaller.learners > 0 {
                    smaller.learners -= 1;
                } else {
                    smaller.voters -= 1;
                }
            }
            smaller.actions.retain(|action| !names(action, gone));
            if !self.try_out(smaller) {
                break;
            }
        }
        for node in 1..=self.best.machines.len() as u64 {
            let crash = MachineAction::Crash {
                kept: 0,
                synced: false,
            };
            let crash = crash.at(node);
            let mut own = self.best.actions.iter().filter(|it| names(it, node));
            if own.all(|action| *action == crash) {
                continue;
            }
            let mut actions = vec![crash];
            let others = self.best.actions.iter();
            actions.extend(others.filter(|action| !names(action, node)).cloned());
            self.try_out(self.with(actions));
        }
    }

    /// Leaves out runs of the actions that begin where `begins` says, long runs first.
    fn leave_out(&mut self, begins: impl Fn(&Action) -> bool) {
        let mut length = self.groups(&begins).len() / 2;
        while length > 0 && self.plays_left > 0 {
            let mut first = 0;
            loop {
                let groups = self.groups(&begins);
                let (Some(&from), to) = (groups.get(first), groups.get(first + length)) else {
                    break;
                };
                let to = to.copied().unwrap_or(self.best.actions.len());
                let mut actions = self.best.actions.clone();
                actions.drain(from..to);
                if !self.try_out(self.with(actions)) {
                    first += length;
                }
            }
            length /= 2;
        }
    }

    /// Where groups begin.
    fn groups(&self, begins: impl Fn(&Action) -> bool) -> Vec<usize> {
        let actions = self.best.actions.iter().enumerate();
        actions
            .filter(|(_, action)| begins(action))
            .map(|(at, _)| at)
            .collect()
    }
}

fn is_same(one: &ViolationKind, other: &ViolationKind) -> bool {
    let call = |kind: &ViolationKind| {
        if let ViolationKind::CallFailed { call, .. } = kind {
            Some(*call)
        } else {
            None
        }
    };
    // One assertion is told from another by its text, but for the numbers in it.
    let panicked = |kind: &ViolationKind| {
        if let ViolationKind::Panicked(text) = kind {
            Some(text.replace(|it: char| it.is_ascii_digit(), ""))
        } else {
            None
        }
    };
    discriminant(one) == discriminant(other)
        && call(one) == call(other)
        && panicked(one) == panicked(other)
}

/// Whether this happens at this node, or to something of it.
fn names(action: &Action, node: u64) -> bool {
    match action {
        Action::At(at, _) | Action::Ask(at, _) => *at == node,
        Action::Deliver(place)
        | Action::Lose(place)
        | Action::Delay(place, _)
        | Action::Duplicate(place) => place.from == node || place.to == node,
        Action::Cut { from, to } => *from == node || *to == node,
        Action::Step | Action::Heal | Action::Recover => false,
    }
}
