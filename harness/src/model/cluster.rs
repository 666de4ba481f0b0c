//! The whole cluster as a few numbers: machines, messages and histories that were met before have
//! one each, and what an input makes of a machine is found out but once.
//!
//! Owns these tables, and what an action makes of a situation. Must not know which actions there
//! are, nor in which order they are explored.

use almadia::{Membership, Message, NodeId};
use rustc_hash::FxHashMap;

use super::canonical::{self, Key};
use super::history::{self, History};
use super::letter::Letter;
use super::machine::{self, Claim, Effect, Input, Machine, Outcome};
use super::preset::Preset;
use crate::violation::ViolationKind;

/// The most machines of a cluster.
pub(super) const MOST: usize = 8;

/// A bounded resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    Campaigns,
    Proposals,
    Changes,
    Crashes,
    Reads,
    Transfers,
    Duplicates,
    Pings,
}

/// One situation. Numbers stand for what the tables hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Situation {
    pub(super) machines: Vec<u32>,
    pub(super) history: u32,
    /// How much was spent of each [`Resource`].
    pub(super) spent: [u8; MOST],
    /// How many ticks have passed on each machine.
    pub(super) ticks: [u8; MOST],
    /// The machines, one bit each, to which something has happened.
    pub(super) touched: u8,
    /// The messages on their way, ascending.
    pub(super) flight: Vec<u32>,
}

impl Situation {
    /// Appends it to these bytes.
    pub(super) fn write(&self, bytes: &mut Vec<u8>) {
        for &machine in &self.machines {
            write_number(machine, bytes);
        }
        write_number(self.history, bytes);
        bytes.push(self.touched);
        bytes.extend(self.spent);
        bytes.extend(&self.ticks[..self.machines.len()]);
        for &letter in &self.flight {
            write_number(letter, bytes);
        }
    }

    /// Becomes what was written in these bytes, in a cluster of as many machines.
    pub(super) fn read(&mut self, mut bytes: &[u8]) {
        for machine in &mut self.machines {
            *machine = read_number(&mut bytes);
        }
        self.history = read_number(&mut bytes);
        let (head, rest) = bytes.split_at(1 + MOST + self.machines.len());
        self.touched = head[0];
        self.spent.copy_from_slice(&head[1..=MOST]);
        self.ticks[..self.machines.len()].copy_from_slice(&head[1 + MOST..]);
        bytes = rest;
        self.flight.clear();
        while !bytes.is_empty() {
            self.flight.push(read_number(&mut bytes));
        }
    }
}

/// Small numbers, which most are, take one byte: seven bits in each, the last one below 128.
fn write_number(mut number: u32, bytes: &mut Vec<u8>) {
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn read_number(bytes: &mut &[u8]) -> u32 {
    let mut number = 0;
    let mut shift = 0;
    while let Some((&byte, rest)) = bytes.split_first() {
        *bytes = rest;
        number |= u32::from(byte & 0x7f) << shift;
        shift += 7;
        if byte < 0x80 {
            break;
        }
    }
    number
}

/// Something that may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Action {
    pub(super) at: usize,
    pub(super) input: Input,
    pub(super) spends: Option<Resource>,
}

/// What an input makes of a machine.
#[derive(Debug)]
struct Transition {
    to: u32,
    sent: Box<[u32]>,
    claims: Box<[Claim]>,
    effects: Box<[Effect]>,
    /// Whether the log or the commit index is another.
    changes_log: bool,
    /// Whether what is durable is another.
    changes_disk: bool,
    /// Whether a leader believes something else of its peers.
    changes_matches: bool,
    /// Whether the role, the term or what is durable of it is another.
    changes_role: bool,
}

/// The tables.
pub(super) struct Cluster<'a> {
    pub(super) preset: &'a Preset,
    membership: Membership,
    pub(super) machines: Vec<Machine>,
    machine_numbers: FxHashMap<Key, u32>,
    pub(super) letters: Vec<Letter>,
    letter_numbers: FxHashMap<Message, u32>,
    /// What came of which input; nothing if it was refused, or leads beyond the bounds.
    outcomes: FxHashMap<(u32, Input), Option<u32>>,
    transitions: Vec<Transition>,
    histories: Vec<History>,
    history_numbers: FxHashMap<History, u32>,
}

impl<'a> Cluster<'a> {
    pub(super) fn new(preset: &'a Preset) -> Self {
        Self {
            preset,
            membership: Membership::try_from(&preset.conf_state).unwrap_or_default(),
            machines: Vec::new(),
            machine_numbers: FxHashMap::default(),
            letters: Vec::new(),
            letter_numbers: FxHashMap::default(),
            outcomes: FxHashMap::default(),
            transitions: Vec::new(),
            histories: vec![History::default()],
            history_numbers: FxHashMap::from_iter([(History::default(), 0)]),
        }
    }

    /// All machines down, with empty disks.
    pub(super) fn nothing(&mut self) -> Situation {
        let ids: Vec<NodeId> = self.preset.machines.iter().map(|&(id, _)| id).collect();
        let machines = ids
            .into_iter()
            .map(|id| self.machine_number(Machine::new(self.preset, id)));
        Situation {
            machines: machines.collect(),
            ..Situation::default()
        }
    }

    fn machine_number(&mut self, machine: Machine) -> u32 {
        let key = canonical::key(&machine);
        *self.machine_numbers.entry(key).or_insert_with(|| {
            self.machines.push(machine);
            number_of_last(self.machines.len())
        })
    }

    /// The number of a message, or `None` if it is for nobody in the cluster.
    fn letter_number(&mut self, message: Message) -> Option<u32> {
        if self.preset.loses.contains(&message.body.kind()) {
            return None;
        }
        if let Some(&number) = self.letter_numbers.get(&message) {
            return Some(number);
        }
        let mut machines = self.preset.machines.iter();
        let to = machines.position(|&(id, _)| id == message.to)?;
        self.letters.push(Letter::new(message.clone(), to));
        let number = number_of_last(self.letters.len());
        self.letter_numbers.insert(message, number);
        Some(number)
    }

    fn history_number(&mut self, history: History) -> u32 {
        if let Some(&number) = self.history_numbers.get(&history) {
            return number;
        }
        self.histories.push(history.clone());
        let number = number_of_last(self.histories.len());
        self.history_numbers.insert(history, number);
        number
    }

    /// What an input makes of a machine; `None` if the node refuses it, or it leads beyond the
    /// bounds.
    fn transition(&mut self, from: u32, input: Input) -> Result<Option<u32>, ViolationKind> {
        if let Some(&outcome) = self.outcomes.get(&(from, input)) {
            return Ok(outcome);
        }
        let machine = &self.machines[from as usize];
        let message = if let Input::Receive(letter) = input {
            Some(&self.letters[letter as usize].message)
        } else {
            None
        };
        let outcome = machine::run(self.preset, machine, input, message)?;
        let max_term = self.preset.bounds.max_term;
        let within = outcome.filter(|outcome| {
            let node = outcome.machine.node();
            node.is_none_or(|node| node.current_term().0 <= max_term)
        });
        let number = within.map(|outcome| self.transition_number(from, outcome));
        self.outcomes.insert((from, input), number);
        Ok(number)
    }

    fn transition_number(&mut self, from: u32, outcome: Outcome) -> u32 {
        let Outcome {
            machine: after,
            sent,
            claims,
            effects,
        } = outcome;
        let before = &self.machines[from as usize];
        let changes_log = before.log != after.log || before.commit_index() != after.commit_index();
        let changes_disk = before.disk() != after.disk();
        let changes_matches = before.matches() != after.matches();
        let changes_role = before.standing() != after.standing();
        let sent = sent.into_iter();
        let transition = Transition {
            sent: sent
                .filter_map(|message| self.letter_number(message))
                .collect(),
            to: self.machine_number(after),
            claims: claims.into(),
            effects: effects.into(),
            changes_log,
            changes_disk,
            changes_matches,
            changes_role,
        };
        self.transitions.push(transition);
        number_of_last(self.transitions.len())
    }

    /// What an action makes of a situation. Returns whether it may happen at all.
    ///
    /// # Errors
    ///
    /// The promise that it breaks.
    pub(super) fn act(
        &mut self,
        before: &Situation,
        action: Action,
        after: &mut Situation,
    ) -> Result<bool, ViolationKind> {
        let Action { at, input, spends } = action;
        let Some(number) = self.transition(before.machines[at], input)? else {
            return Ok(false);
        };
        let transition = &self.transitions[number as usize];
        let changes_role = transition.changes_role;
        after.clone_from(before);
        after.machines[at] = transition.to;
        if !matches!(input, Input::Lose(_)) {
            after.touched |= 1 << at;
        }
        if let Some(resource) = spends {
            after.spent[resource as usize] += 1;
        }
        if input == Input::Tick {
            after.ticks[at] += 1;
        }
        if let (Input::Receive(letter) | Input::Lose(letter), None) = (input, spends) {
            if let Ok(position) = after.flight.binary_search(&letter) {
                after.flight.remove(position);
            }
        }
        self.send(number, after);
        if changes_role {
            self.lose_idle(at, after);
        }
        self.check(at, number, after)?;
        Ok(true)
    }

    /// Puts what was sent on its way, and leaves out what nobody will do anything about.
    fn send(&mut self, transition: u32, after: &mut Situation) {
        for position in 0..self.transitions[transition as usize].sent.len() {
            let letter = self.transitions[transition as usize].sent[position];
            if !self.is_idle(letter, after) {
                let (Ok(position) | Err(position)) = after.flight.binary_search(&letter);
                after.flight.insert(position, letter);
            }
        }
    }

    /// Whether a message makes no difference any more: by the rule, and because the receiver as it
    /// is does nothing about it. The rule alone would hide a node that does not keep to it.
    fn is_idle(&mut self, letter: u32, situation: &Situation) -> bool {
        let Letter { to, .. } = self.letters[letter as usize];
        let receiver = situation.machines[to];
        let machine = &self.machines[receiver as usize];
        if machine.node().is_none() || !self.letters[letter as usize].is_idle(machine) {
            return false;
        }
        // What breaks a promise when it arrives is to arrive, and to be found then.
        let Ok(Some(number)) = self.transition(receiver, Input::Receive(letter)) else {
            return false;
        };
        let transition = &self.transitions[number as usize];
        transition.to == receiver && transition.sent.is_empty() && transition.effects.is_empty()
    }

    fn lose_idle(&mut self, at: usize, after: &mut Situation) {
        let mut flight = std::mem::take(&mut after.flight);
        flight.retain(|&letter| {
            self.letters[letter as usize].to != at || !self.is_idle(letter, after)
        });
        after.flight = flight;
    }

    /// Holds the promises that machines keep together.
    fn check(
        &mut self,
        at: usize,
        transition: u32,
        after: &mut Situation,
    ) -> Result<(), ViolationKind> {
        let transition = &self.transitions[transition as usize];
        let is_silent = transition.effects.is_empty() && transition.claims.is_empty();
        let is_same = !transition.changes_log && !transition.changes_disk;
        if is_silent && is_same && !transition.changes_matches {
            return Ok(());
        }
        let numbers = after.machines.iter();
        let machines: Vec<&Machine> = numbers.map(|&it| &self.machines[it as usize]).collect();
        let machine = machines[at];
        for claim in &transition.claims {
            history::check_claim(machine.id, claim, &machines)?;
        }
        if transition.changes_matches {
            history::check_matches(machine, &machines)?;
        }
        let mut changed = None;
        if !transition.effects.is_empty() {
            let mut history = self.histories[after.history as usize].clone();
            history.take(&transition.effects, machine, &machines)?;
            changed = Some(history);
        }
        let history = changed
            .as_ref()
            .unwrap_or(&self.histories[after.history as usize]);
        if transition.changes_log {
            history.check_committed(machine)?;
            for (other_at, other) in machines.iter().enumerate() {
                if other_at != at {
                    history::check_log_matching(machine, other)?;
                }
            }
        }
        if transition.changes_disk && self.preset.changes.is_empty() {
            history.check_durable(&self.membership, &machines)?;
        }
        if let Some(history) = changed {
            after.history = self.history_number(history);
        }
        Ok(())
    }
}

/// The number of what was just added to a table of this length.
fn number_of_last(length: usize) -> u32 {
    u32::try_from(length - 1).unwrap_or(u32::MAX)
}
