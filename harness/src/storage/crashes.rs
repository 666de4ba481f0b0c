//! What a store shows after a crash, at every boundary that its place knows of.
//!
//! Owns what is done after a crash: opening, crashing again meanwhile, starting a node, going on.
//! Must not know how a place makes a crash.

use super::Subject;
use super::clause::Clause;
use super::failure::{Mismatch, Report};
use super::model::Action;
use super::node;
use super::place::Place;
use super::plan::Step;
use super::sequence::{Finding, without_panic};
use super::session::{Session, during, no_place};
use crate::dice::Dice;

/// After a crash the store shows one of the states that it may be in.
pub(super) const CRASH: &str = "crash";
/// The same after a crash in the middle of an opening.
pub(super) const CRASH_WHILE_OPENING: &str = "crash_while_opening";
/// What a store has shown at an opening stays, also if the power fails then.
pub(super) const POWER_LOSS_AFTER_OPENING: &str = "power_loss_after_opening";
/// A node starts after a crash.
pub(super) const NODE_AFTER_CRASH: &str = "node_after_crash";
/// A store goes on after a crash, through writes, openings and crashes.
pub(super) const WRITE_AFTER_CRASH: &str = "write_after_crash";

/// Of the crashes that follow a first one, so many are looked at.
const SECOND_CRASHES: usize = 2;

/// So many of a hundred crashed stores are gone on with.
const GONE_ON_WITH_PERCENT: u64 = 30;

type InCase<T = ()> = Result<T, (&'static str, Mismatch)>;

fn in_case<T>(case: &'static str, result: Result<T, Mismatch>) -> InCase<T> {
    result.map_err(|mismatch| (case, mismatch))
}

/// The case of a crash of this action; `other` if it is no opening.
fn case_of(action: &Action, is_after: bool, other: &'static str) -> &'static str {
    match (action, is_after) {
        (Action::Reopen, true) => POWER_LOSS_AFTER_OPENING,
        (Action::Reopen, false) => CRASH_WHILE_OPENING,
        (Action::Write(_) | Action::SaveSnapshot(_) | Action::Compact(_), _) => other,
    }
}

/// Opens what a crash has left.
fn open<S: Subject>(branch: &mut Session<'_, S>, case: &'static str) -> InCase {
    let opened = without_panic(|| branch.reopen());
    in_case(case, opened).map_err(|(case, mut mismatch)| {
        if case == POWER_LOSS_AFTER_OPENING {
            mismatch.clause = Clause::DurableAtStart;
        }
        (case, mismatch)
    })
}

/// Every crash of the last action.
pub(super) fn check<S: Subject>(
    session: &mut Session<'_, S>,
    action: &Action,
    dice: &mut Dice,
) -> Result<(), Finding> {
    let midway = during(&session.before, action);
    let unsynced = session.unsynced();
    let mut report = Report::default();
    for number in 0..session.place.crashes(&unsynced) {
        let crash = session.place.crash(number, &unsynced);
        let crash = crash.map_err(|error| Finding::new(CRASH, no_place(&error), &session.steps))?;
        let candidates = if crash.is_after {
            &session.candidates
        } else {
            report.crashes_midway += 1;
            &midway
        };
        report.crashes += 1;
        let mut branch = session.branch(crash.place, candidates.clone());
        let case = case_of(action, crash.is_after, CRASH);
        let result = open(&mut branch, case);
        let result = result.and_then(|()| go_on(&mut branch, &mut report, dice));
        result.map_err(|(case, mismatch)| {
            let mut steps = session.steps.clone();
            steps.push(format!("crash: {}", crash.what));
            steps.append(&mut branch.steps);
            Finding::new(case, mismatch, &steps)
        })?;
    }
    session.report.add(&report);
    Ok(())
}

/// Goes on with a store that was opened after a crash.
fn go_on<S: Subject>(branch: &mut Session<'_, S>, report: &mut Report, dice: &mut Dice) -> InCase {
    check_second_crashes(branch, &Action::Reopen, report, dice)?;

    let node = without_panic(|| node::starts(branch.store()?, &branch.model));
    in_case(NODE_AFTER_CRASH, node)?;
    report.nodes += 1;

    if dice.below(100) >= GONE_ON_WITH_PERCENT {
        return Ok(());
    }
    for step in [Step::append(dice.below(u64::MAX)), Step::reopen()] {
        let Some(action) = step.action(&branch.model, branch.durable_commit()) else {
            continue;
        };
        let done = without_panic(|| {
            branch.perform(&action)?;
            branch.check(dice)
        });
        in_case(WRITE_AFTER_CRASH, done)?;
        check_second_crashes(branch, &action, report, dice)?;
    }
    Ok(())
}

/// Some crashes of the last action after a crash.
fn check_second_crashes<S: Subject>(
    branch: &Session<'_, S>,
    action: &Action,
    report: &mut Report,
    dice: &mut Dice,
) -> InCase {
    let midway = during(&branch.before, action);
    let unsynced = branch.unsynced();
    let mut numbers: Vec<usize> = (0..branch.place.crashes(&unsynced)).collect();
    while numbers.len() > SECOND_CRASHES {
        numbers.swap_remove(dice.position(numbers.len()));
    }
    for number in numbers {
        let crash = branch.place.crash(number, &unsynced);
        let crash = in_case(CRASH, crash.map_err(|error| no_place(&error)))?;
        report.crashes += 1;
        let candidates = if crash.is_after {
            &branch.candidates
        } else {
            report.crashes_midway += 1;
            &midway
        };
        let mut second = branch.branch(crash.place, candidates.clone());
        let case = case_of(action, crash.is_after, WRITE_AFTER_CRASH);
        open(&mut second, case).map_err(|(case, mismatch)| {
            let what = format!("after another crash: {}", crash.what);
            (case, mismatch.when(&what))
        })?;
    }
    Ok(())
}
