//! What is done with a store at random, as a node might.
//!
//! Owns the choice of actions and of their contents. Every step carries its own dice and is fitted
//! to the state that it meets, so any part of a sequence is a sequence too. Must not know stores.

use almadia::{
    Bytes, ChangeForm, ConfState, Entries, Entry, HardState, LogId, LogIndex, MemberChange,
    MembershipChange, NodeId, Payload, Snapshot, Term, Transition,
};

use super::Write;
use super::model::{Action, Model};
use crate::dice::Dice;

/// A step before it is known what it meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    kind: Kind,
    pub(super) seed: u64,
    /// With as little in it as can be.
    pub(super) is_small: bool,
    /// Of several writes at once, which are left out: a bit for each.
    pub(super) left_out: u64,
}

/// At most so many writes are done at once.
pub(super) const MANY: u64 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Append,
    Overwrite,
    Vote,
    Commit,
    Nothing,
    Many,
    Install,
    InstallAgain,
    Save,
    Compact,
    Reopen,
}

/// How often each kind is drawn, in parts of the sum.
const WEIGHTS: [(Kind, u64); 11] = [
    (Kind::Append, 30),
    (Kind::Overwrite, 10),
    (Kind::Vote, 8),
    (Kind::Commit, 14),
    (Kind::Nothing, 2),
    (Kind::Many, 8),
    (Kind::Install, 5),
    (Kind::InstallAgain, 2),
    (Kind::Save, 12),
    (Kind::Compact, 10),
    (Kind::Reopen, 6),
];

/// The members of random clusters.
pub(super) fn members() -> ConfState {
    ConfState::of_voters([1, 2, 3].map(node))
}

/// The node of this number, or of the largest one if it is zero.
pub(super) fn node(number: u64) -> NodeId {
    NodeId::new(number).unwrap_or(NodeId::from(core::num::NonZeroU64::MAX))
}

/// The sequence of this seed.
pub(super) fn sequence(seed: u64, length: usize) -> Vec<Step> {
    let mut dice = Dice::new(seed);
    (0..length).map(|_| Step::random(&mut dice)).collect()
}

impl Step {
    fn random(dice: &mut Dice) -> Self {
        let sum = WEIGHTS.iter().map(|(_, weight)| weight).sum();
        let mut draw = dice.below(sum);
        let mut chosen = Kind::Append;
        for (kind, weight) in WEIGHTS {
            if draw < weight {
                chosen = kind;
                break;
            }
            draw -= weight;
        }
        Self {
            kind: chosen,
            seed: dice.below(u64::MAX),
            is_small: false,
            left_out: 0,
        }
    }

    /// A step that writes entries.
    pub(super) const fn append(seed: u64) -> Self {
        Self {
            kind: Kind::Append,
            seed,
            is_small: false,
            left_out: 0,
        }
    }

    /// A step that opens the store again.
    pub(super) const fn reopen() -> Self {
        Self {
            kind: Kind::Reopen,
            seed: 0,
            is_small: false,
            left_out: 0,
        }
    }

    /// What the step is in this state; `None` if there is nothing of the kind to do.
    pub(super) fn action(&self, model: &Model, durable_commit: LogIndex) -> Option<Action> {
        let mut choice = Choice {
            model: model.clone(),
            dice: Dice::new(self.seed),
            is_small: self.is_small,
        };
        let write = match self.kind {
            Kind::Append => choice.append()?,
            Kind::Overwrite => choice.overwrite()?,
            Kind::Vote => choice.vote()?,
            Kind::Commit => choice.commit()?,
            Kind::Nothing => Write::default(),
            Kind::Many => return choice.many(self.seed, self.left_out),
            Kind::Install => choice.install()?,
            Kind::InstallAgain => choice.install_again()?,
            Kind::Save => return choice.save(),
            Kind::Compact => return choice.compact(durable_commit),
            Kind::Reopen => return Some(Action::Reopen),
        };
        Some(Action::Write(vec![write]))
    }
}

struct Choice {
    model: Model,
    dice: Dice,
    is_small: bool,
}

impl Choice {
    /// The hard state of a node that starts here: what is applied is committed.
    fn hard_state(&self) -> HardState {
        let stored = self.model.hard_state;
        HardState {
            commit_index: stored.commit_index.max(self.model.applied().index),
            ..stored
        }
    }

    fn append(&mut self) -> Option<Write> {
        let mut hard_state = self.hard_state();
        if hard_state.current_term == Term::ZERO || self.dice.chance(200) {
            hard_state = self.next_term(hard_state);
        }
        self.append_behind(self.model.last(), hard_state)
    }

    /// A leader of a later term replaces what is not committed.
    fn overwrite(&mut self) -> Option<Write> {
        let hard_state = self.next_term(self.hard_state());
        let kept = hard_state.commit_index;
        let uncommitted = self.model.last().index.since(kept);
        if uncommitted == 0 || hard_state.current_term == self.model.hard_state.current_term {
            return None;
        }
        let index = kept + self.dice.below(uncommitted);
        let term = self.model.term(index)?;
        self.append_behind(LogId { term, index }, hard_state)
    }

    fn append_behind(&mut self, previous: LogId, mut hard_state: HardState) -> Option<Write> {
        let room = LogIndex::MAX.since(previous.index);
        let wanted = if self.is_small {
            1
        } else if self.dice.chance(20) {
            20
        } else {
            1 + self.dice.below(5)
        };
        let replaces = previous.index < self.model.last().index;
        let mut term = if replaces {
            hard_state.current_term
        } else {
            previous.term.max(Term(1))
        };
        let mut entries = Vec::new();
        for index in (previous.index.0 + 1..).take(to_size(wanted.min(room))) {
            if self.dice.chance(500) {
                let left = hard_state.current_term.0 - term.0;
                term = Term(term.0 + self.dice.below(left + 1));
            }
            entries.push(self.entry(LogId::new(term.0, index)));
        }
        let last = entries.last()?.id;
        if self.dice.chance(500) {
            let behind = last.index.since(hard_state.commit_index);
            hard_state.commit_index = hard_state.commit_index + self.dice.below(behind + 1);
        }
        Some(Write {
            snapshot: None,
            entries: self.runs(entries),
            hard_state: (hard_state != self.model.hard_state).then_some(hard_state),
            must_sync: true,
        })
    }

    /// One to three runs.
    fn runs(&mut self, mut entries: Vec<Entry>) -> Vec<Entries> {
        let mut runs = Vec::new();
        while entries.len() > 1 && runs.len() < 2 && self.dice.chance(400) {
            let rest = entries.split_off(1 + self.dice.position(entries.len() - 1));
            runs.push(Entries::from(std::mem::replace(&mut entries, rest)));
        }
        runs.push(Entries::from(entries));
        runs
    }

    fn entry(&mut self, id: LogId) -> Entry {
        let payload = if self.is_small {
            Payload::Data(Bytes::from_static(b"x"))
        } else if self.dice.chance(150) {
            let changes = membership_changes();
            let change = changes[self.dice.position(changes.len())].clone();
            Payload::Change(change.into())
        } else {
            Payload::Data(self.bytes())
        };
        let has_context = !self.is_small && self.dice.chance(300);
        let context = if has_context {
            self.bytes()
        } else {
            Bytes::new()
        };
        Entry {
            id,
            payload,
            context,
        }
    }

    fn bytes(&mut self) -> Bytes {
        let size = match self.dice.below(100) {
            0..20 => 0,
            20..98 => self.dice.below(50),
            _ => self.dice.below(2000),
        };
        let first = self.dice.below(256);
        let bytes = (0..size).map(|at| u8::try_from((first + at * 7) % 256).unwrap_or_default());
        bytes.collect::<Vec<u8>>().into()
    }

    fn vote(&mut self) -> Option<Write> {
        let before = self.hard_state();
        let has_voted = before.voted_for.is_some() || before.current_term == Term::ZERO;
        let mut hard_state = before;
        if has_voted || self.dice.chance(500) {
            hard_state = self.next_term(before);
        }
        if hard_state.voted_for.is_none() {
            let candidate = node(self.dice.below(4));
            hard_state.voted_for = self.dice.chance(800).then_some(candidate);
        }
        let is_new = hard_state != before;
        is_new.then(|| Write {
            hard_state: Some(hard_state),
            must_sync: true,
            ..Write::default()
        })
    }

    fn next_term(&mut self, before: HardState) -> HardState {
        let term = before.current_term.0 + 1 + self.dice.below(3);
        if term > Term::MAX.0 {
            return before;
        }
        HardState {
            current_term: Term(term),
            voted_for: None,
            ..before
        }
    }

    fn commit(&mut self) -> Option<Write> {
        let mut hard_state = self.hard_state();
        let uncommitted = self.model.last().index.since(hard_state.commit_index);
        hard_state.commit_index = hard_state.commit_index + 1 + self.dice.below(uncommitted);
        (uncommitted > 0).then(|| Write {
            hard_state: Some(hard_state),
            ..Write::default()
        })
    }

    fn many(mut self, seed: u64, left_out: u64) -> Option<Action> {
        let count = 2 + self.dice.below(MANY - 1);
        let mut writes = Vec::new();
        for number in (0..count).filter(|number| left_out & (1 << number) == 0) {
            // Each with its own dice, so that it is the same without the others.
            self.dice = Dice::new(seed ^ (number + 1));
            let write = match self.dice.below(6) {
                0..3 => self.append(),
                3 => self.overwrite(),
                4 => self.vote(),
                _ => self.commit(),
            };
            if let Some(write) = write {
                self.model.write(&write);
                writes.push(write);
            }
        }
        (!writes.is_empty()).then_some(Action::Write(writes))
    }

    /// A snapshot whose last entry is not in the log.
    fn install(&mut self) -> Option<Write> {
        let before = self.hard_state();
        let mut hard_state = self.next_term(before);
        let uncommitted = self.model.last().index.since(before.commit_index);
        let index = if self.dice.chance(400) && uncommitted > 0 {
            before.commit_index + 1 + self.dice.below(uncommitted)
        } else if !self.is_small && self.dice.chance(60) {
            hard_state.current_term = Term(Term::MAX.0 - 30);
            LogIndex(LogIndex::MAX.0 - 60)
        } else {
            self.model.last().index + 1 + self.dice.below(10)
        };
        let term = hard_state.current_term;
        let is_later = term > before.current_term && index > before.commit_index;
        if !is_later || index > LogIndex::MAX {
            return None;
        }
        hard_state.commit_index = index;
        let mut write = self.installation(LogId { term, index }, hard_state);
        self.model.write(&write);
        if self.dice.chance(300) {
            let behind = self.append_behind(LogId { term, index }, hard_state)?;
            write.hard_state = behind.hard_state.or(write.hard_state);
            write.entries = behind.entries;
        }
        Some(write)
    }

    /// A snapshot that was asked for, and covers the log as it is.
    fn install_again(&mut self) -> Option<Write> {
        let last = self.model.last();
        let hard_state = HardState {
            commit_index: last.index,
            ..self.hard_state()
        };
        (last != LogId::ZERO).then(|| self.installation(last, hard_state))
    }

    fn installation(&mut self, last_included: LogId, hard_state: HardState) -> Write {
        Write {
            snapshot: Some(self.snapshot(last_included)),
            entries: Vec::new(),
            hard_state: (hard_state != self.model.hard_state).then_some(hard_state),
            must_sync: true,
        }
    }

    fn snapshot(&mut self, last_included: LogId) -> Snapshot {
        let memberships = memberships();
        Snapshot {
            last_included,
            conf_state: memberships[self.dice.position(memberships.len())].clone(),
            data: self.bytes(),
        }
    }

    fn save(mut self) -> Option<Action> {
        let first = self.model.snapshot_index();
        let applied = self.hard_state().commit_index.since(first);
        let index = first + 1 + self.dice.below(applied);
        let term = self.model.term(index)?;
        let id = LogId { term, index };
        (applied > 0).then(|| Action::SaveSnapshot(self.snapshot(id)))
    }

    fn compact(mut self, durable_commit: LogIndex) -> Option<Action> {
        let first = self.model.first_index();
        let covered = self.model.snapshot_index().min(durable_commit);
        let count = (covered + 1).since(first);
        (count > 0).then(|| Action::Compact(first + self.dice.below(count)))
    }
}

fn to_size(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// Memberships of every shape; node 1 is a voter in all of them.
pub(super) fn memberships() -> [ConfState; 4] {
    [
        members(),
        ConfState::of_voters([1, 0].map(node)),
        ConfState {
            learners: vec![node(5), node(6)],
            ..members()
        },
        ConfState {
            voters: [1, 2, 7].map(node).to_vec(),
            voters_outgoing: [1, 3, 4].map(node).to_vec(),
            learners: vec![node(5)],
            learners_next: vec![node(4)],
            auto_leave: true,
        },
    ]
}

/// Membership changes of every shape.
pub(super) fn membership_changes() -> [MembershipChange; 6] {
    let of = |changes: &[MemberChange]| MembershipChange::of(changes.iter().copied());
    [
        MembershipChange::leave_joint(),
        of(&[MemberChange::AddVoter(node(4))]),
        of(&[
            MemberChange::AddLearner(node(0)),
            MemberChange::Remove(node(2)),
        ]),
        MembershipChange {
            transition: Transition::Explicit,
            context: Bytes::from_static(b"why"),
            ..of(&[MemberChange::Remove(node(3)), MemberChange::Nothing])
        },
        MembershipChange {
            transition: Transition::Implicit,
            ..of(&[MemberChange::AddVoter(node(9))])
        },
        MembershipChange {
            form: ChangeForm::V1 { id: u64::MAX },
            context: Bytes::from_static(&[0, 255]),
            ..of(&[MemberChange::AddLearner(node(8))])
        },
    ]
}
