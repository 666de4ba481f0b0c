//! What may happen in a situation.
//!
//! Owns the list of actions, in a fixed order, and the bounds. Must not know what comes of them.

use almadia::{NodeId, RoleKind};

use super::cluster::{Action, Cluster, Resource, Situation};
use super::machine::{Input, Life, Machine};
use super::preset::{Bounds, DiskKind};

impl Bounds {
    const fn of(&self, resource: Resource) -> u8 {
        match resource {
            Resource::Campaigns => self.campaigns,
            Resource::Proposals => self.proposals,
            Resource::Changes => self.changes,
            Resource::Crashes => self.crashes,
            Resource::Reads => self.reads,
            Resource::Transfers => self.transfers,
            Resource::Duplicates => self.duplicates,
            Resource::Pings => self.pings,
        }
    }
}

impl Cluster<'_> {
    /// Everything that may happen, in a fixed order. The node may refuse some of it.
    pub(super) fn actions(&self, situation: &Situation, actions: &mut Vec<Action>) {
        actions.clear();
        if self.is_crowded(situation) {
            self.losses(situation, actions);
            return;
        }
        for at in 0..situation.machines.len() {
            if self.may_be_touched(situation, at) {
                self.actions_at(situation, at, actions);
            }
        }
        let mut last = None;
        for &letter in &situation.flight {
            let at = self.letters[letter as usize].to;
            let is_up = self.machine(situation, at).node().is_some();
            if last == Some(letter) || !is_up || !self.may_be_touched(situation, at) {
                continue;
            }
            last = Some(letter);
            let input = Input::Receive(letter);
            let spends = None;
            actions.push(Action { at, input, spends });
            if self.is_left(situation, Resource::Duplicates) {
                let spends = Some(Resource::Duplicates);
                actions.push(Action { at, input, spends });
            }
        }
    }

    /// Whether more is on its way than the network holds.
    fn is_crowded(&self, situation: &Situation) -> bool {
        let most = self.preset.bounds.in_flight as usize;
        most > 0 && situation.flight.len() > most
    }

    /// Any message may be the one that gets lost.
    fn losses(&self, situation: &Situation, actions: &mut Vec<Action>) {
        let mut last = None;
        for &letter in &situation.flight {
            if last != Some(letter) {
                actions.push(Action {
                    at: self.letters[letter as usize].to,
                    input: Input::Lose(letter),
                    spends: None,
                });
            }
            last = Some(letter);
        }
    }

    pub(super) fn machine(&self, situation: &Situation, at: usize) -> &Machine {
        &self.machines[situation.machines[at] as usize]
    }

    fn is_left(&self, situation: &Situation, resource: Resource) -> bool {
        situation.spent[resource as usize] < self.preset.bounds.of(resource)
    }

    /// Of machines that are alike, something happens first to the first.
    fn may_be_touched(&self, situation: &Situation, at: usize) -> bool {
        let is_touched = |at: usize| situation.touched & (1 << at) != 0;
        let id_at = |at: usize| self.preset.machines[at].0;
        let alike = &self.preset.alike;
        is_touched(at)
            || !alike.contains(&id_at(at))
            || (0..at).all(|earlier| is_touched(earlier) || !alike.contains(&id_at(earlier)))
    }

    fn actions_at(&self, situation: &Situation, at: usize, actions: &mut Vec<Action>) {
        let machine = self.machine(situation, at);
        let mut add = |input, spends| actions.push(Action { at, input, spends });
        if self.may_tick(situation, at) {
            add(Input::Tick, None);
        }
        let Life::Up(process) = &machine.life else {
            add(Input::Start, None);
            return;
        };
        let spends = |resource| self.is_left(situation, resource).then_some(Some(resource));
        let number = |resource| situation.spent[resource as usize];
        let node = &process.node;
        let preset = self.preset;
        if node.role() == RoleKind::Leader {
            if let Some(spends) = spends(Resource::Proposals) {
                add(Input::Propose(number(Resource::Proposals)), spends);
            }
            if let Some(spends) = spends(Resource::Changes) {
                add(Input::ProposeChange(number(Resource::Changes)), spends);
            }
            if let Some(spends) = spends(Resource::Pings) {
                add(Input::Ping, spends);
            }
            if let Some(spends) = spends(Resource::Transfers) {
                for &(to, _) in preset.machines.iter().filter(|&&(to, _)| to != machine.id) {
                    add(Input::Transfer(to), spends);
                }
            }
            if node.config().lease_reads() {
                add(Input::LeaseRead, None);
            }
        } else if is_among(&preset.campaigning, machine.id)
            && node.current_term().0 < preset.bounds.max_term
        {
            if let Some(spends) = spends(Resource::Campaigns) {
                add(Input::Campaign, spends);
            }
        }
        let reads = spends(Resource::Reads).filter(|_| is_among(&preset.reading, machine.id));
        if let Some(spends) = reads {
            add(Input::Read(number(Resource::Reads)), spends);
        }
        if machine.has_to_apply() {
            add(Input::Apply, None);
        }
        self.disk_actions(machine, &mut add);
        if is_among(&preset.crashing, machine.id) {
            if let Some(spends) = spends(Resource::Crashes) {
                crashes(machine, |input| add(input, spends));
            }
        }
    }

    /// No clock is more than a tick ahead of another. Time passes for a machine that is down too.
    fn may_tick(&self, situation: &Situation, at: usize) -> bool {
        let ticks = &situation.ticks[..situation.machines.len()];
        let is_first = ticks.iter().all(|&other| ticks[at] <= other);
        ticks[at] < self.preset.bounds.ticks && is_first
    }

    fn disk_actions(&self, machine: &Machine, add: &mut impl FnMut(Input, Option<Resource>)) {
        let (waiting, written) = machine.writes();
        let acknowledgeable = match self.preset.disk(machine.id) {
            DiskKind::Immediate => 0,
            DiskKind::Delayed => waiting,
            DiskKind::LateWord => {
                if waiting > 0 {
                    add(Input::Write, None);
                }
                written
            }
        };
        for count in 1..=acknowledgeable {
            add(
                Input::Acknowledge(u8::try_from(count).unwrap_or(u8::MAX)),
                None,
            );
        }
    }
}

fn crashes(machine: &Machine, mut add: impl FnMut(Input)) {
    let (waiting, _) = machine.writes();
    for kept in 0..=waiting {
        let kept = u8::try_from(kept).unwrap_or(u8::MAX);
        for unsynced_kept in [false, true] {
            if !unsynced_kept || machine.has_unsynced() {
                add(Input::Crash {
                    kept,
                    unsynced_kept,
                });
            }
        }
    }
}

/// Whether a node is among these; nobody means everybody.
fn is_among(nodes: &[NodeId], id: NodeId) -> bool {
    nodes.is_empty() || nodes.contains(&id)
}
