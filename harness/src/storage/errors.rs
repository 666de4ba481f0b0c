//! What happens when reads and writes fail.
//!
//! Owns the cases of failing reads, in a node and in the store itself, and of failing writes. Must
//! not know how a failure is brought about.

use almadia::{EntriesRequest, LogIndex, Purpose, Storage, StorageError};

use super::clause::Clause;
use super::compare::peer;
use super::failing::FailingReads;
use super::failure::{Mismatch, Report};
use super::model::{Action, Model};
use super::node::{self, Stop};
use super::place::{Faults, Place};
use super::plan::{self, Step};
use super::sequence::{Finding, without_panic};
use super::session::{Session, after, carry_out, during, no_place};
use super::{StoreError, Subject};
use crate::dice::Dice;

/// A node stops when a read fails, and has done no harm.
pub(super) const NODE: &str = "read_errors_of_a_node";
/// A store on whose place reads fail says so, and nothing else.
pub(super) const READS: &str = "read_errors_of_the_place";
/// A store on whose place writes fail says so, and can be opened again.
pub(super) const WRITES: &str = "write_errors_of_the_place";

/// No action makes more reads or writes than this before it is given up.
const LIMIT: u64 = 200;

/// Every read of a node's life fails once, and all that follow.
pub(super) fn of_a_node<S: Subject>(subject: &S) -> Result<Report, Finding> {
    let mut report = Report::default();
    for fails_after in 0..LIMIT {
        let mut steps = Vec::new();
        let ended = without_panic(|| {
            let mut session = Session::start(subject, plan::members())?;
            let result = stop_once(&mut session, fails_after);
            report.add(&session.report);
            steps.append(&mut session.steps);
            result
        });
        let ended = ended.map_err(|mismatch| {
            let mismatch =
                mismatch.when(&format!("read {} and all later ones fail", fails_after + 1));
            Finding::new(NODE, mismatch, &steps)
        })?;
        if ended == Ended::InOrder {
            break;
        }
        report.failed_reads += 1;
    }
    Ok(report)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    InOrder,
    Stopped,
}

fn stop_once<S: Subject>(
    session: &mut Session<'_, S>,
    fails_after: u64,
) -> Result<Ended, Mismatch> {
    session.perform(&Action::Write(vec![node::first_write()]))?;
    let ended = match node::live(session, fails_after) {
        Ok(_) => Ended::InOrder,
        Err(Stop::Wrong(mismatch)) => return Err(mismatch),
        Err(Stop::Storage(error)) if error == FailingReads::<()>::error() => Ended::Stopped,
        Err(Stop::Storage(error)) => {
            let expected = "a node that stops because of the read that failed";
            let found = format!("it stops because of \"{error}\"");
            return Err(Mismatch::new(Clause::Fails, expected, found));
        }
    };
    // The process ends; what it has written is there, and a new node starts from it.
    session.perform(&Action::Reopen)?;
    session.check(&mut Dice::new(fails_after))?;
    node::starts(session.store()?, &session.model)?;
    Ok(ended)
}

/// A store with something of everything in it.
fn filled<S: Subject>(subject: &S, seed: u64) -> Result<Session<'_, S>, Mismatch> {
    let mut session = Session::start(subject, plan::members())?;
    for step in plan::sequence(seed, 12) {
        if let Some(action) = step.action(&session.model, session.durable_commit()) {
            session.perform(&action)?;
        }
    }
    Ok(session)
}

/// Every read of the place fails once, and all that follow: while the store is opened, and while it
/// is asked.
pub(super) fn of_reads<S: Subject>(subject: &S, seed: u64) -> Result<Report, Finding> {
    let mut steps = Vec::new();
    let result = without_panic(|| {
        let mut session = filled(subject, seed)?;
        steps.clone_from(&session.steps);
        let Some(faults) = session.place.faults().cloned() else {
            return Ok(0);
        };
        Ok(fail_opening(&mut session, &faults)? + fail_answers(&mut session, &faults)?)
    });
    let failed_reads = result.map_err(|mismatch| Finding::new(READS, mismatch, &steps))?;
    Ok(Report {
        failed_reads,
        ..Report::default()
    })
}

fn fail_opening<S: Subject>(
    session: &mut Session<'_, S>,
    faults: &Faults,
) -> Result<u64, Mismatch> {
    for count in 0..LIMIT {
        session.store = None;
        faults.fail_reads_after(count);
        let opened = session.open();
        let answers = if opened.is_ok() {
            are_true_or_errors(session.store()?, &session.model, Asked::AtAnOpening)
        } else {
            Ok(())
        };
        let struck = faults.end();
        let when = format!("read {} and all later ones failed at an opening", count + 1);
        answers.map_err(|mismatch| mismatch.when(&when))?;
        session.store = None;
        let reopened = session.reopen();
        reopened.map_err(|mismatch| mismatch.when(&format!("{when}, and it was opened again")))?;
        if struck == 0 {
            return Ok(count);
        }
    }
    Ok(LIMIT)
}

fn fail_answers<S: Subject>(
    session: &mut Session<'_, S>,
    faults: &Faults,
) -> Result<u64, Mismatch> {
    for count in 0..LIMIT {
        faults.fail_reads_after(count);
        let answers = are_true_or_errors(session.store()?, &session.model, Asked::Later);
        let struck = faults.end();
        let when = format!("read {} and all later ones failed", count + 1);
        answers.map_err(|mismatch| mismatch.when(&when))?;
        session.reopen()?;
        if struck == 0 {
            return Ok(count);
        }
    }
    Ok(LIMIT)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    AtAnOpening,
    Later,
}

/// Every answer is the right one, or an error that says that something has failed.
fn are_true_or_errors<S: Storage>(store: &S, model: &Model, asked: Asked) -> Result<(), Mismatch> {
    if asked == Asked::AtAnOpening {
        let wanted = model.initial_state();
        let found = store.initial_state().map(|state| state == wanted);
        is_true_or_error("initial_state()", found)?;
    }
    let first = store.first_index();
    let bounds = model.earliest_first_index()..=model.first_index();
    is_true_or_error("first_index()", first.map(|first| bounds.contains(&first)))?;
    let last = model.last().index;
    let found = store.last_index().map(|found| found == last);
    is_true_or_error("last_index()", found)?;
    for index in model.first_index().previous().0..=last.0 {
        let index = LogIndex(index);
        let found = store
            .term(index)
            .map(|term| model.term(index) == Some(term));
        is_true_or_error(&format!("term({index})"), found)?;
        if index < model.first_index() {
            continue;
        }
        let request = EntriesRequest::new(index, last, 200, Purpose::Apply);
        let wanted = model.entries(index, last);
        let is_prefix = |found: &[_]| !found.is_empty() && wanted.starts_with(found);
        let found = match store.entries(&request) {
            Err(StorageError::TemporarilyUnavailable) => continue,
            found @ (Ok(_) | Err(_)) => found.map(|found| is_prefix(&found)),
        };
        is_true_or_error(&format!("entries({index} to {last})"), found)?;
    }
    match (store.snapshot(LogIndex::ZERO, peer()), &model.snapshot) {
        (Err(StorageError::TemporarilyUnavailable), _) | (Err(_), None) => Ok(()),
        (found, wanted) => is_true_or_error(
            "snapshot(0)",
            found.map(|found| Some(&found) == wanted.as_ref()),
        ),
    }
}

fn is_true_or_error(call: &str, answer: Result<bool, StorageError>) -> Result<(), Mismatch> {
    let found = match answer {
        Ok(true) | Err(StorageError::Other(_) | StorageError::Contract(_)) => return Ok(()),
        Ok(false) => "another answer".into(),
        Err(error) => format!("the error \"{error}\""),
    };
    let expected = format!("the right answer of {call}, or an error that says what has failed");
    Err(Mismatch::new(Clause::Fails, expected, found))
}

/// Every write of the place fails once, and all that follow, in each action of a sequence.
pub(super) fn of_writes<S: Subject>(subject: &S, seed: u64) -> Result<Report, Finding> {
    let mut report = Report::default();
    let mut done: Vec<Action> = Vec::new();
    let mut steps = Vec::new();
    let result = without_panic(|| {
        let mut session = Session::start(subject, plan::members())?;
        if session.place.faults().is_none() {
            return Ok(());
        }
        for step in plan::sequence(seed, 10) {
            let Some(action) = step.action(&session.model, session.durable_commit()) else {
                continue;
            };
            steps.clone_from(&session.steps);
            steps.push(action.to_string());
            for count in 0..LIMIT {
                let failed = fail_action(subject, &done, &action, count);
                let when = format!(
                    "write {} and all later ones failed in the last step",
                    count + 1
                );
                if !failed.map_err(|mismatch| mismatch.when(&when))? {
                    break;
                }
                report.failed_writes += 1;
            }
            session.perform(&action)?;
            done.push(action);
        }
        Ok(())
    });
    result.map_err(|mismatch| Finding::new(WRITES, mismatch, &steps))?;
    Ok(report)
}

/// Returns whether a write has failed.
fn fail_action<S: Subject>(
    subject: &S,
    done: &[Action],
    action: &Action,
    count: u64,
) -> Result<bool, Mismatch> {
    let mut session = Session::start(subject, plan::members())?;
    for action in done {
        session.perform(action)?;
    }
    let Some(faults) = session.place.faults().cloned() else {
        return Ok(false);
    };
    session.place.begin();
    faults.fail_writes_after(count);
    let result = attempt(&mut session, action);
    let struck = faults.end() > 0;
    if let (Err(error), false) = (&result, struck) {
        let expected = format!("the store can {action}");
        let found = format!("the error \"{error}\"");
        return Err(Mismatch::new(Clause::Atomic, expected, found));
    }
    let before = session.candidates.clone();
    let midway = during(&before, action);
    session.past.extend(midway.iter().cloned());
    let returned = if result.is_ok() {
        after(&before, action)
    } else {
        midway.clone()
    };
    // The power fails, or only the process ends.
    let unsynced = session.unsynced();
    for number in 0..session.place.crashes(&unsynced) {
        let crash = session.place.crash(number, &unsynced);
        let crash = crash.map_err(|error| no_place(&error))?;
        let candidates = if crash.is_after { &returned } else { &midway };
        let mut branch = session.branch(crash.place, candidates.clone());
        branch
            .reopen()
            .map_err(|mismatch| mismatch.when(&crash.what))?;
    }
    session.candidates = returned;
    session.reopen()?;
    if let Some(action) = Step::append(count).action(&session.model, LogIndex::ZERO) {
        session.perform(&action)?;
        session.reopen()?;
    }
    Ok(struck)
}

/// Does it with the store alone.
fn attempt<S: Subject>(session: &mut Session<'_, S>, action: &Action) -> Result<(), StoreError> {
    if *action == Action::Reopen {
        session.store = None;
        let opened = session.subject.open(&session.place, &session.members);
        session.store = Some(opened?);
        return Ok(());
    }
    match session.store.as_mut() {
        Some(store) => carry_out(session.subject, store, action),
        None => Err("the store is not open".into()),
    }
}
