//! One store under test and the reference beside it, through writes and openings.
//!
//! Owns which states a store may be in: what is not synced may be lost at the next opening. Must
//! not know which actions are chosen, nor what a crash does to a place.

use almadia::{ConfState, LogIndex};

use super::clause::Clause;
use super::compare::Inquiry;
use super::failure::{Mismatch, Report};
use super::model::{Action, Model};
use super::place::{Place, Unsynced};
use super::{StoreError, Subject, Write};
use crate::dice::Dice;

/// A store, open, with the reference for it.
pub(super) struct Session<'a, S: Subject> {
    pub(super) subject: &'a S,
    pub(super) place: S::Place,
    /// `None` between two openings, and while a node has it.
    pub(super) store: Option<S::Store>,
    /// What the store holds.
    pub(super) model: Model,
    /// What it may hold after a crash, the oldest first; the last is `model`.
    pub(super) candidates: Vec<Model>,
    /// The candidates before the last action.
    pub(super) before: Vec<Model>,
    /// What it has held before, and may not any more.
    pub(super) past: Vec<Model>,
    /// The least first index that the open store may report: what it has reported before.
    least_first: LogIndex,
    /// Whether a compaction or an installation was the last to move the first index. At an opening
    /// some of what was compacted may be there again.
    is_exact: bool,
    /// What was done, for reports.
    pub(super) steps: Vec<String>,
    /// What was counted.
    pub(super) report: Report,
    pub(super) members: ConfState,
}

impl<'a, S: Subject> Session<'a, S> {
    /// Opens a store where none was.
    pub(super) fn start(subject: &'a S, members: ConfState) -> Result<Self, Mismatch> {
        let place = S::Place::empty().map_err(|error| no_place(&error))?;
        let mut session = Self::at(subject, place, members);
        session.reopen()?;
        Ok(session)
    }

    /// A session on this place, where no store is open yet.
    pub(super) fn at(subject: &'a S, place: S::Place, members: ConfState) -> Self {
        let model = Model::new(members.clone());
        Self {
            subject,
            place,
            store: None,
            candidates: vec![model.clone()],
            before: vec![model.clone()],
            model,
            past: Vec::new(),
            least_first: LogIndex::ZERO,
            is_exact: false,
            steps: Vec::new(),
            report: Report::default(),
            members,
        }
    }

    /// The session as it is, on another place.
    pub(super) fn branch(&self, place: S::Place, candidates: Vec<Model>) -> Self {
        Self {
            subject: self.subject,
            place,
            store: None,
            model: self.model.clone(),
            before: candidates.clone(),
            candidates,
            past: self.past.clone(),
            least_first: LogIndex::ZERO,
            is_exact: false,
            steps: Vec::new(),
            report: Report::default(),
            members: self.members.clone(),
        }
    }

    /// Opens the store and looks at nothing.
    pub(super) fn open(&mut self) -> Result<(), Mismatch> {
        let opened = self.subject.open(&self.place, &self.members);
        self.store = Some(opened.map_err(|error| refused(&Action::Reopen, &error))?);
        Ok(())
    }

    /// Opens the store, again if it is open, and finds out what it holds.
    pub(super) fn reopen(&mut self) -> Result<(), Mismatch> {
        self.before.clone_from(&self.candidates);
        self.place.begin();
        self.store = None;
        self.open()?;
        self.recognize()
    }

    /// What the store says that is not synced.
    pub(super) fn unsynced(&self) -> Vec<Unsynced> {
        let store = self.store.as_ref();
        store.map_or_else(Vec::new, |store| self.subject.unsynced(store))
    }

    /// The open store.
    pub(super) fn store(&self) -> Result<&S::Store, Mismatch> {
        self.store.as_ref().ok_or_else(not_open)
    }

    /// Does something with the store and with the reference. The store is not looked at, except
    /// for what it holds after it was opened again.
    pub(super) fn perform(&mut self, action: &Action) -> Result<(), Mismatch> {
        self.steps.push(action.to_string());
        self.before.clone_from(&self.candidates);
        self.place.begin();
        if *action == Action::Reopen {
            return self.reopen();
        }
        let store = self.store.as_mut().ok_or_else(not_open)?;
        carry_out(self.subject, store, action).map_err(|error| refused(action, &error))?;
        self.note(action);
        Ok(())
    }

    /// Does it with the reference only: somebody else has done it with the store.
    pub(super) fn note(&mut self, action: &Action) {
        let before = std::mem::take(&mut self.candidates);
        self.candidates = after(&before, action);
        self.is_exact |= action.moves_first_index(&self.model);
        self.past.extend(during(&before, action));
        if let Some(latest) = self.candidates.last() {
            self.model = latest.clone();
        }
    }

    /// The store has compacted the log up to somewhere, no further than this.
    pub(super) fn may_have_compacted(&mut self, through: LogIndex) {
        self.note(&Action::Compact(through));
        self.is_exact = false;
    }

    /// The commit index that is durable: the log may be compacted so far.
    pub(super) fn durable_commit(&self) -> LogIndex {
        let commits = self.candidates.iter();
        commits
            .map(|it| it.hard_state.commit_index)
            .min()
            .unwrap_or_default()
    }

    /// Asks the running store everything.
    pub(super) fn check(&mut self, dice: &mut Dice) -> Result<(), Mismatch> {
        let least = if self.is_exact && !self.subject.compacts_lazily() {
            self.model.first_index()
        } else {
            self.least_first
        };
        self.least_first = self.inquiry(&self.model, least)?.check_all(dice)?;
        Ok(())
    }

    /// After an opening: finds out in which of the states that it may be in the store is. What it
    /// shows counts as durable from now on, the commit index apart.
    fn recognize(&mut self) -> Result<(), Mismatch> {
        let found = self.find(&self.candidates)?;
        self.candidates.truncate(found + 1);
        self.model = self.candidates[found].clone();
        self.candidates
            .retain(|it| it.is_same_but_for_commit(&self.model));
        self.least_first = LogIndex::ZERO;
        self.is_exact = false;
        Ok(())
    }

    fn inquiry<'b>(
        &'b self,
        model: &'b Model,
        least_first: LogIndex,
    ) -> Result<Inquiry<'b, S>, Mismatch> {
        Ok(Inquiry {
            subject: self.subject,
            store: self.store()?,
            model,
            least_first,
        })
    }

    /// Which of these states a store that was just opened is in; the latest that fits.
    pub(super) fn find(&self, candidates: &[Model]) -> Result<usize, Mismatch> {
        let fits = |model: &Model| {
            let inquiry = self.inquiry(model, LogIndex::ZERO)?;
            inquiry.check_contents()?;
            inquiry.check_initial_state()
        };
        let mut mismatches = Vec::new();
        for (position, model) in candidates.iter().enumerate().rev() {
            match fits(model) {
                Ok(()) => return Ok(position),
                Err(mismatch) => mismatches.push(mismatch),
            }
        }
        let was_there = self.past.iter().rev().any(|model| fits(model).is_ok());
        Err(explain(mismatches, was_there))
    }
}

/// Does it with the store. An opening is not done here.
pub(super) fn carry_out<S: Subject>(
    subject: &S,
    store: &mut S::Store,
    action: &Action,
) -> Result<(), StoreError> {
    match action {
        Action::Write(writes) => match writes.as_slice() {
            [write] => subject.write(store, write),
            writes => subject.write_many(store, writes),
        },
        Action::SaveSnapshot(snapshot) => subject.save_snapshot(store, snapshot),
        Action::Compact(through) => subject.compact(store, *through),
        Action::Reopen => Ok(()),
    }
}

/// What a store may hold once the action has returned.
pub(super) fn after(before: &[Model], action: &Action) -> Vec<Model> {
    match action {
        Action::Write(writes) => {
            let mut states = before.to_vec();
            for write in writes {
                let next = written(&states, write);
                if write.must_sync {
                    states.clear();
                }
                states.extend(next);
            }
            states
        }
        Action::SaveSnapshot(_) | Action::Compact(_) => done(before, action),
        Action::Reopen => before.to_vec(),
    }
}

/// What a store may hold while the action is under way, the oldest first.
pub(super) fn during(before: &[Model], action: &Action) -> Vec<Model> {
    let mut states = before.to_vec();
    match action {
        Action::Write(writes) => {
            for write in writes {
                let next = written(&states, write);
                states.extend(next);
            }
        }
        Action::SaveSnapshot(_) | Action::Compact(_) => states.extend(done(before, action)),
        Action::Reopen => {}
    }
    states
}

fn written(states: &[Model], write: &Write) -> Option<Model> {
    let mut model = states.last()?.clone();
    model.write(write);
    Some(model)
}

fn done(before: &[Model], action: &Action) -> Vec<Model> {
    let mut states = before.to_vec();
    for model in &mut states {
        match action {
            Action::SaveSnapshot(snapshot) => model.save_snapshot(snapshot),
            Action::Compact(through) => model.compact(*through),
            Action::Write(_) | Action::Reopen => {}
        }
    }
    states
}

/// Why none of the states fits that the store may be in. The mismatches are those with each of
/// them, the latest first.
fn explain(mut mismatches: Vec<Mismatch>, was_there: bool) -> Mismatch {
    let count = mismatches.len();
    let Some(oldest) = mismatches.pop() else {
        return Mismatch::new(Clause::ReflectsWrites, "a state to be in", "none");
    };
    if count == 1 {
        // There is one state that it has to be in, so this is what is wrong with it.
        let clause = if was_there {
            Clause::MustSync
        } else {
            oldest.clause
        };
        let found = format!("{}: {}", oldest.clause.place(), oldest.found);
        return Mismatch::new(clause, oldest.expected, found);
    }
    let clause = if was_there {
        Clause::MustSync
    } else {
        Clause::Atomic
    };
    let latest = mismatches.first().unwrap_or(&oldest);
    Mismatch::new(
        clause,
        format!(
            "one of {count} states, from one where {} to one where {}",
            oldest.expected, latest.expected
        ),
        format!("neither: {}, and {}", oldest.found, latest.found),
    )
}

/// The store cannot do what it is asked for.
fn refused(action: &Action, error: &StoreError) -> Mismatch {
    let clause = match action {
        Action::Write(_) => Clause::Atomic,
        Action::SaveSnapshot(_) => Clause::Snapshot,
        Action::Compact(_) => Clause::Compaction,
        Action::Reopen => Clause::Starts,
    };
    Mismatch::new(
        clause,
        format!("the store can {action}"),
        format!("the error \"{error}\""),
    )
}

/// The place itself fails; the store has no part in it.
pub(super) fn no_place(error: &StoreError) -> Mismatch {
    Mismatch::new(
        Clause::Starts,
        "a place for the store",
        format!("the error \"{error}\""),
    )
}

fn not_open() -> Mismatch {
    Mismatch::new(Clause::Starts, "an open store", "none")
}
