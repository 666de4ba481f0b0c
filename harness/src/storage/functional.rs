//! One case for each thing that the contract says.
//!
//! Owns the list of cases and the words in which they are written. After every step of a case the
//! store is asked everything (`compare.rs`), and at its end it is opened again and asked once more.
//! Must not know how answers are judged.

mod logs;
mod snapshots;

use almadia::{
    Bytes, ConfState, Entries, Entry, HardState, LogId, LogIndex, Payload, Snapshot, Term,
};

use super::failure::{Mismatch, Report};
use super::model::Action;
use super::sequence::{Finding, without_panic};
use super::session::{Session, carry_out};
use super::{Subject, Write, node, plan};
use crate::dice::Dice;

type Done = Result<(), Mismatch>;

/// What is done in a case.
type Text<S> = fn(&mut Script<'_, S>) -> Done;

/// A case: its name, whom the cluster begins with, and what is done.
pub(super) struct Case<S: Subject> {
    name: &'static str,
    members: ConfState,
    text: Text<S>,
}

/// All cases.
pub(super) fn cases<S: Subject>() -> Vec<Case<S>> {
    let texts: [(&'static str, Text<S>); 29] = [
        ("empty_log", logs::empty),
        ("several_writes", logs::several_writes),
        ("several_runs", logs::several_runs),
        ("many_entries", logs::many_entries),
        ("large_entry", logs::large_entry),
        ("max_bytes", logs::max_bytes),
        ("empty_payloads", logs::empty_payloads),
        ("membership_changes", logs::membership_changes),
        ("conflicting_suffix", logs::conflicting_suffix),
        ("whole_log_replaced", logs::whole_log_replaced),
        ("same_entries_again", logs::same_entries_again),
        ("hard_state", logs::hard_state),
        ("hard_state_alone", logs::hard_state_alone),
        ("commit_without_fsync", logs::commit_without_fsync),
        ("nothing_to_write", logs::nothing_to_write),
        ("writes_at_once", logs::writes_at_once),
        ("large_indexes", logs::large_indexes),
        ("snapshot", snapshots::saved),
        ("snapshot_membership", snapshots::membership),
        ("snapshot_data", snapshots::data),
        ("compaction", snapshots::compaction),
        ("compaction_of_all", snapshots::compaction_of_all),
        ("compaction_again", snapshots::compaction_again),
        ("compaction_beyond_snapshot", snapshots::compaction_beyond),
        ("install_in_empty_log", snapshots::install_in_empty_log),
        (
            "install_over_shorter_log",
            snapshots::install_over_shorter_log,
        ),
        (
            "install_over_longer_log",
            snapshots::install_over_longer_log,
        ),
        ("install_again", snapshots::install_again),
        ("node_of_three", |script| script.live()),
    ];
    let members = plan::members();
    let mut cases: Vec<Case<S>> = texts
        .into_iter()
        .map(|(name, text)| Case {
            name,
            members: members.clone(),
            text,
        })
        .collect();
    cases.push(Case {
        name: "joining_node",
        members: ConfState::default(),
        text: snapshots::joining,
    });
    cases
}

impl<S: Subject> Case<S> {
    pub(super) fn run(&self, subject: &S) -> Result<Report, Finding> {
        let mut steps = Vec::new();
        let mut report = Report::default();
        let result = without_panic(|| {
            let session = Session::start(subject, self.members.clone())?;
            let dice = Dice::new(0);
            let mut script = Script { session, dice };
            let result = (self.text)(&mut script).and_then(|()| {
                script.reopen()?;
                script.reopen()
            });
            steps.append(&mut script.session.steps);
            report.add(&script.session.report);
            result
        });
        report.cases += 1;
        match result {
            Ok(()) => Ok(report),
            Err(mismatch) => Err(Finding::new(self.name, mismatch, &steps)),
        }
    }
}

/// The hands of a case.
struct Script<'a, S: Subject> {
    session: Session<'a, S>,
    dice: Dice,
}

impl<S: Subject> Script<'_, S> {
    fn perform(&mut self, action: &Action) -> Done {
        self.session.perform(action)?;
        self.check()
    }

    fn check(&mut self) -> Done {
        self.session.check(&mut self.dice)
    }

    fn write(&mut self, write: Write) -> Done {
        self.perform(&Action::Write(vec![write]))
    }

    fn reopen(&mut self) -> Done {
        self.perform(&Action::Reopen)
    }

    /// Writes these entries in one run, and a hard state that suits them.
    fn append(&mut self, entries: Vec<Entry>) -> Done {
        let write = self.entries(vec![entries]);
        self.write(write)
    }

    /// The same with entries of no interest at these places.
    fn append_at(&mut self, ids: &[(u64, u64)]) -> Done {
        self.append(
            ids.iter()
                .map(|&(term, index)| plain(term, index))
                .collect(),
        )
    }

    /// A write of these runs, and of a hard state that suits them.
    fn entries(&self, runs: Vec<Vec<Entry>>) -> Write {
        let before = self.session.model.hard_state;
        let last = runs.last().and_then(|run| run.last());
        let term = last.map_or(Term::ZERO, |entry| entry.id.term);
        Write {
            entries: runs.into_iter().map(Entries::from).collect(),
            hard_state: (term > before.current_term).then_some(HardState {
                current_term: term,
                voted_for: None,
                ..before
            }),
            must_sync: true,
            snapshot: None,
        }
    }

    /// Writes a hard state, with fsync if it is more than a new commit index.
    fn hard_state(&mut self, term: u64, vote: Option<u64>, commit: u64) -> Done {
        let before = self.session.model.hard_state;
        let hard_state = HardState {
            current_term: Term(term),
            voted_for: vote.map(plan::node),
            commit_index: LogIndex(commit),
        };
        let is_vote = (before.current_term, before.voted_for)
            != (hard_state.current_term, hard_state.voted_for);
        self.write(Write {
            hard_state: Some(hard_state),
            must_sync: is_vote,
            ..Write::default()
        })
    }

    /// Makes this commit index durable: with a new term, so that there must be an fsync.
    fn commit(&mut self, index: u64) -> Done {
        let term = self.session.model.hard_state.current_term.0 + 1;
        self.hard_state(term, None, index)
    }

    /// Saves a snapshot at this place in the log.
    fn save(&mut self, term: u64, index: u64) -> Done {
        self.perform(&Action::SaveSnapshot(snapshot(term, index)))
    }

    fn compact(&mut self, through: u64) -> Done {
        self.perform(&Action::Compact(LogIndex(through)))
    }

    /// Asks for more than may be done. Whatever the answer, what no snapshot covers stays.
    fn compact_too_far(&mut self, through: u64) -> Done {
        let covered = self.session.model.snapshot_index();
        let asked = Action::Compact(LogIndex(through));
        if let Some(store) = self.session.store.as_mut() {
            let answer = carry_out(self.session.subject, store, &asked);
            let answer =
                answer.map_or_else(|error| format!("refused: {error}"), |()| "done".into());
            self.session
                .steps
                .push(format!("{asked}, no further than {covered} ({answer})"));
        }
        self.session.may_have_compacted(covered);
        self.check()
    }

    /// Installs a snapshot, with a hard state that suits it.
    fn install(&mut self, snapshot: Snapshot) -> Done {
        let write = self.installation(snapshot);
        self.write(write)
    }

    fn installation(&self, snapshot: Snapshot) -> Write {
        let before = self.session.model.hard_state;
        let LogId { term, index } = snapshot.last_included;
        let hard_state = HardState {
            current_term: before.current_term.max(term),
            commit_index: before.commit_index.max(index),
            voted_for: before.voted_for.filter(|_| term <= before.current_term),
        };
        Write {
            snapshot: Some(snapshot),
            entries: Vec::new(),
            hard_state: (hard_state != before).then_some(hard_state),
            must_sync: true,
        }
    }

    /// A node lives on the store, ends, and another one after it.
    fn live(&mut self) -> Done {
        self.write(node::first_write())?;
        match node::live(&mut self.session, u64::MAX) {
            Ok(_) => {}
            Err(node::Stop::Wrong(mismatch)) => return Err(mismatch),
            Err(node::Stop::Storage(error)) => {
                let clause = super::Clause::Starts;
                let expected = "a node that goes on";
                return Err(Mismatch::new(clause, expected, error.to_string()));
            }
        }
        self.check()?;
        self.reopen()?;
        node::starts(self.session.store()?, &self.session.model)
    }
}

/// An entry of no interest.
fn plain(term: u64, index: u64) -> Entry {
    with_data(term, index, format!("data of {term}/{index}"))
}

fn with_data(term: u64, index: u64, data: impl Into<Bytes>) -> Entry {
    Entry {
        id: LogId::new(term, index),
        payload: Payload::Data(data.into()),
        context: Bytes::new(),
    }
}

/// A snapshot of no interest.
fn snapshot(term: u64, index: u64) -> Snapshot {
    Snapshot {
        last_included: LogId::new(term, index),
        conf_state: ConfState::of_voters([1, 2, 3, 4].map(plan::node)),
        data: Bytes::from(format!("state at {term}/{index}")),
    }
}
