//! What an embedder calls: the whole of it, or area by area.
//!
//! Owns how much is done, and the order. Must not know how anything is checked.

use super::failure::{Failure, Failures, Report};
use super::sequence::{self, Crashing, Finding};
use super::{Subject, errors, functional};

/// The tests of a log store, and how many of them.
///
/// The defaults take some seconds for a store in memory or on a
/// [`SimDisk`](super::SimDisk). On real files each fsync counts; take fewer sequences there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suite {
    /// The seed of the first random sequence. A failure tells the seed of its own.
    pub first_seed: u64,
    /// How many random sequences, each with the next seed. The same number is run without and with
    /// crashes.
    pub sequences: u64,
    /// How many steps each of them has at most.
    pub steps: usize,
}

impl Default for Suite {
    fn default() -> Self {
        Self::new()
    }
}

impl Suite {
    /// As much as is good for every run of an embedder's tests.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            first_seed: 0,
            sequences: 20,
            steps: 30,
        }
    }

    /// Everything: [`functional`](Self::functional), [`random`](Self::random),
    /// [`crashes`](Self::crashes) and [`errors`](Self::errors).
    ///
    /// # Errors
    ///
    /// All cases that the store does not pass.
    pub fn run_all<S: Subject>(&self, subject: &S) -> Result<Report, Failures> {
        let areas = [
            self.functional(subject),
            self.random(subject),
            self.crashes(subject),
            self.errors(subject),
        ];
        let mut report = Report::default();
        let mut failures = Vec::new();
        for area in areas {
            match area {
                Ok(done) => report.add(&done),
                Err(mut found) => failures.append(&mut found.failures),
            }
        }
        conclude(report, failures)
    }

    /// One case for each thing that the contract says, with a name.
    ///
    /// # Errors
    ///
    /// All cases that the store does not pass.
    #[allow(clippy::unused_self, reason = "the areas are called alike")]
    pub fn functional<S: Subject>(&self, subject: &S) -> Result<Report, Failures> {
        let mut report = Report::default();
        let mut failures = Vec::new();
        for case in functional::cases::<S>() {
            collect(case.run(subject), None, &mut report, &mut failures);
        }
        conclude(report, failures)
    }

    /// Random writes, snapshots, compactions and openings, against a reference that is asked the
    /// same after each of them.
    ///
    /// # Errors
    ///
    /// The first sequence that fails, as short as it could be made.
    pub fn random<S: Subject>(&self, subject: &S) -> Result<Report, Failures> {
        self.sequences(subject, Crashing::No)
    }

    /// The same, and after each step every crash that the place knows of: the store is opened, a
    /// node starts on it, it is written to, opened and crashed again.
    ///
    /// # Errors
    ///
    /// The first sequence that fails, as short as it could be made.
    pub fn crashes<S: Subject>(&self, subject: &S) -> Result<Report, Failures> {
        self.sequences(subject, Crashing::Yes)
    }

    /// Reads that fail under a node, and, where the place has [`Faults`](super::Faults), reads and
    /// writes that fail under the store.
    ///
    /// # Errors
    ///
    /// All cases that the store does not pass.
    pub fn errors<S: Subject>(&self, subject: &S) -> Result<Report, Failures> {
        let mut report = Report::default();
        let mut failures = Vec::new();
        collect(errors::of_a_node(subject), None, &mut report, &mut failures);
        for of_place in [errors::of_reads, errors::of_writes] {
            for seed in self.seeds().take(4) {
                let result = of_place(subject, seed);
                let is_sound = result.is_ok();
                collect(result, Some(seed), &mut report, &mut failures);
                if !is_sound {
                    break;
                }
            }
        }
        conclude(report, failures)
    }

    fn seeds(&self) -> impl Iterator<Item = u64> + use<> {
        self.first_seed..self.first_seed.saturating_add(self.sequences)
    }

    fn sequences<S: Subject>(&self, subject: &S, crashing: Crashing) -> Result<Report, Failures> {
        let mut report = Report::default();
        for seed in self.seeds() {
            match sequence::run_seed(subject, seed, self.steps, crashing) {
                Ok(done) => report.add(&done),
                Err(failure) => return conclude(report, vec![failure]),
            }
        }
        conclude(report, Vec::new())
    }
}

fn collect(
    result: Result<Report, Finding>,
    seed: Option<u64>,
    report: &mut Report,
    failures: &mut Vec<Failure>,
) {
    match result {
        Ok(done) => report.add(&done),
        Err(finding) => failures.push(finding.into_failure(seed)),
    }
}

fn conclude(report: Report, failures: Vec<Failure>) -> Result<Report, Failures> {
    if failures.is_empty() {
        Ok(report)
    } else {
        Err(Failures { failures })
    }
}
