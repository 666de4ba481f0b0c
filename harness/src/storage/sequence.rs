//! Random sequences against the reference, and their shortest form where they fail.
//!
//! Owns the running of sequences and their shrinking. Must not know what a crash does; `crashes.rs`
//! looks at every step if it is asked to.

use std::panic::{self, AssertUnwindSafe};

use super::clause::Clause;
use super::failure::{Failure, Mismatch, Report};
use super::model::Action;
use super::plan::{self, Step};
use super::session::Session;
use super::{Subject, crashes};
use crate::dice::Dice;
use crate::scenario::panic_text;

/// The case of sequences without crashes.
pub(super) const RANDOM: &str = "random_sequence";

/// How many shorter sequences are tried where one fails.
const SHRINKING: u32 = 400;

/// A mismatch, in which case, after what.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) case: &'static str,
    pub(super) mismatch: Mismatch,
    pub(super) steps: Vec<String>,
}

impl Finding {
    pub(super) fn new(case: &'static str, mismatch: Mismatch, steps: &[String]) -> Self {
        Self {
            case,
            mismatch,
            steps: steps.to_vec(),
        }
    }

    pub(super) fn into_failure(self, seed: Option<u64>) -> Failure {
        Failure {
            case: self.case,
            clause: self.mismatch.clause,
            expected: self.mismatch.expected,
            found: self.mismatch.found,
            seed,
            steps: self.steps,
        }
    }
}

/// Whether crashes are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Crashing {
    No,
    Yes,
}

/// Runs the sequence of this seed. If it fails, the failure is that of the shortest sequence found
/// that fails in the same case.
pub(super) fn run_seed<S: Subject>(
    subject: &S,
    seed: u64,
    length: usize,
    crashing: Crashing,
) -> Result<Report, Failure> {
    // Not the same sequences again: those with crashes are looked at as closely as the others.
    let steps = match crashing {
        Crashing::No => plan::sequence(seed, length),
        Crashing::Yes => plan::sequence(!seed, length),
    };
    let first = match run(subject, &steps, crashing) {
        Ok(report) => return Ok(report),
        Err(finding) => finding,
    };
    let shortest = shrink(steps, first, |steps| run(subject, steps, crashing).err());
    Err(shortest.into_failure(Some(seed)))
}

/// Makes parts of the sequence, as long as they fail in the same case.
fn shrink(
    mut steps: Vec<Step>,
    mut finding: Finding,
    mut fails: impl FnMut(&[Step]) -> Option<Finding>,
) -> Finding {
    let mut tries_left = SHRINKING;
    let mut part = steps.len().div_ceil(2);
    while part > 0 {
        let mut start = 0;
        let mut is_shorter = false;
        while start < steps.len() && tries_left > 0 {
            tries_left -= 1;
            let mut rest = steps.clone();
            rest.drain(start..(start + part).min(steps.len()));
            match fails(&rest).filter(|it| it.case == finding.case) {
                Some(found) => {
                    (steps, finding, is_shorter) = (rest, found, true);
                }
                None => start += part,
            }
        }
        part = if part == 1 && is_shorter { 1 } else { part / 2 };
    }
    for at in 0..steps.len() {
        let leave_out = (0..plan::MANY).map(|number| (1 << number, false));
        for (left_out, is_small) in leave_out.chain([(0, true)]) {
            let mut smaller = steps.clone();
            smaller[at].left_out |= left_out;
            smaller[at].is_small |= is_small;
            if let Some(found) = fails(&smaller).filter(|it| it.case == finding.case) {
                (steps, finding) = (smaller, found);
            }
        }
    }
    finding
}

/// Runs a sequence, and looks at the store after every step.
pub(super) fn run<S: Subject>(
    subject: &S,
    steps: &[Step],
    crashing: Crashing,
) -> Result<Report, Finding> {
    let started = without_panic(|| Session::start(subject, plan::members()));
    let mut session = started.map_err(|mismatch| Finding::new(RANDOM, mismatch, &[]))?;
    if crashing == Crashing::Yes {
        crashes::check(&mut session, &Action::Reopen, &mut Dice::new(0))?;
    }
    for step in steps {
        let Some(action) = step.action(&session.model, session.durable_commit()) else {
            continue;
        };
        perform(&mut session, &action, crashing, step.seed)?;
    }
    perform(&mut session, &Action::Reopen, crashing, 0)?;
    session.report.sequences = 1;
    Ok(session.report)
}

fn perform<S: Subject>(
    session: &mut Session<'_, S>,
    action: &Action,
    crashing: Crashing,
    seed: u64,
) -> Result<(), Finding> {
    let mut dice = Dice::new(seed);
    let done = without_panic(|| {
        session.perform(action)?;
        session.check(&mut dice)
    });
    done.map_err(|mismatch| Finding::new(RANDOM, mismatch, &session.steps))?;
    if crashing == Crashing::Yes {
        crashes::check(session, action, &mut dice)?;
    }
    Ok(())
}

/// A panic of the store is a failure like others.
pub(super) fn without_panic<T>(call: impl FnOnce() -> Result<T, Mismatch>) -> Result<T, Mismatch> {
    panic::catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|payload| {
        let found = format!("a panic: {}", panic_text(payload.as_ref()));
        Err(Mismatch::new(Clause::NoPanic, "no panic", found))
    })
}
