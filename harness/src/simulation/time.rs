//! How time passes in a random run: at random, or in rounds where a lease rests on clocks.
//!
//! Owns which node ticks in which step. Must not know what a tick does.

use super::Simulation;
use crate::action::MachineAction;
use crate::dice::Dice;
use crate::embedder::Embedder;
use crate::host::Settings;
use crate::profile::{Profile, Ticking};

/// When the nodes tick.
pub(super) struct Time {
    /// The most steps of one round; zero if there are no rounds.
    max_steps: u64,
    /// Whether all rounds have as many.
    is_even: bool,
    /// Steps of this round.
    steps: u64,
    /// Steps of this round that have passed.
    step: u64,
    /// The moment of each node's tick within a round, in thousandths of it.
    moments: Vec<u64>,
    /// Whether the moments are the same in all rounds.
    is_regular: bool,
}

impl Time {
    pub(super) fn new(
        profile: &Profile,
        settings: &Settings,
        nodes: usize,
        dice: &mut Dice,
    ) -> Self {
        let max_steps = match profile.ticking {
            Ticking::Random => 0,
            Ticking::Lockstep { max_steps } => max_steps.max(1),
            Ticking::Even { steps } => steps.max(1),
        };
        let is_even = matches!(profile.ticking, Ticking::Even { .. });
        Self {
            max_steps,
            is_even,
            steps: 0,
            step: 0,
            moments: (0..nodes).map(|_| dice.below(1000)).collect(),
            is_regular: is_even || settings.lease_margin_ticks < 2,
        }
    }

    /// Most rounds are short, so that leases end within a run; in a long one there is time for an
    /// election.
    fn begin_round(&mut self, dice: &mut Dice) {
        let max_steps = if dice.chance(600) {
            self.max_steps.min(3)
        } else {
            self.max_steps
        };
        self.steps = if self.is_even {
            self.max_steps
        } else {
            1 + dice.below(max_steps)
        };
        self.step = 0;
        if !self.is_regular {
            for moment in &mut self.moments {
                *moment = dice.below(1000);
            }
        }
    }

    /// Which nodes tick in this step of a round, in order.
    fn next_step(&mut self, dice: &mut Dice) -> Vec<usize> {
        if self.step == self.steps {
            self.begin_round(dice);
        }
        let mut due: Vec<usize> = (0..self.moments.len())
            .filter(|&at| self.moments[at] * self.steps / 1000 == self.step)
            .collect();
        due.sort_by_key(|&at| self.moments[at]);
        self.step += 1;
        due
    }
}

impl<E: Embedder> Simulation<'_, E> {
    /// Time passes for whom it passes in this step.
    pub(super) fn tick(&mut self) {
        if self.time.max_steps == 0 {
            self.tick_at_random();
            return;
        }
        let calls = self.profile.calls;
        for at in self.time.next_step(&mut self.dice) {
            let is_told_later = self.cluster.hosts[at].busy.is_some()
                || self.is_paused(at)
                || self.dice.chance(calls.tick_many);
            let id = self.id(at);
            self.act(MachineAction::OweTick.at(id));
            if !is_told_later {
                self.act(MachineAction::SettleClock.at(id));
            }
        }
    }

    fn tick_at_random(&mut self) {
        let calls = self.profile.calls;
        for at in 0..self.cluster.hosts.len() {
            if self.is_paused(at) || !self.dice.chance(self.paces[at].clock) {
                continue;
            }
            if self.dice.chance(calls.tick_many) {
                let ticks = u32::try_from(self.dice.below(12)).unwrap_or(0);
                self.act(MachineAction::Ticks(ticks).at(self.id(at)));
            } else {
                self.act(MachineAction::Tick.at(self.id(at)));
            }
        }
    }
}
