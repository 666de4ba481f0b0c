//! What the suite finds, and what it has done.
//!
//! Owns the shape of findings and the figures of a run. Must not know how anything is checked.

use std::fmt;

use thiserror::Error;

use super::clause::Clause;

/// An answer or a state that is not what the contract asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mismatch {
    pub(super) clause: Clause,
    pub(super) expected: String,
    pub(super) found: String,
}

impl Mismatch {
    pub(super) fn new(
        clause: Clause,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self {
            clause,
            expected: expected.into(),
            found: found.into(),
        }
    }

    /// The same, found under these circumstances.
    pub(super) fn when(mut self, circumstances: &str) -> Self {
        self.found = format!("{} ({circumstances})", self.found);
        self
    }
}

/// One case that a store does not pass.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// The name of the case.
    pub case: &'static str,
    /// The line of the contract that is broken.
    pub clause: Clause,
    /// What the contract asks for.
    pub expected: String,
    /// What the store did.
    pub found: String,
    /// The seed of a random sequence: [`Suite::first_seed`](super::Suite::first_seed) with one
    /// sequence repeats it.
    pub seed: Option<u64>,
    /// What was done with the store until then, on a place that was empty; the shortest sequence
    /// that was found to fail.
    pub steps: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "case {}", self.case)?;
        if let Some(seed) = self.seed {
            write!(f, ", seed {seed}")?;
        }
        writeln!(f)?;
        writeln!(f, "  contract: {}", self.clause)?;
        writeln!(f, "  expected: {}", self.expected)?;
        write!(f, "  found:    {}", self.found)?;
        for (number, step) in self.steps.iter().enumerate() {
            write!(f, "\n  {:>8}. {step}", number + 1)?;
        }
        Ok(())
    }
}

/// Every case that a store does not pass; at least one.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failures {
    /// The cases, in the order in which they were run.
    pub failures: Vec<Failure>,
}

impl Failures {
    /// The failure of the case of this name, if it is among them.
    #[must_use]
    pub fn of(&self, case: &str) -> Option<&Failure> {
        self.failures.iter().find(|failure| failure.case == case)
    }
}

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed cases: {}", self.failures.len())?;
        for failure in &self.failures {
            write!(f, "\n{failure}")?;
        }
        Ok(())
    }
}

/// How much was done. A zero tells that something could not be done with this subject.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Functional cases.
    pub cases: u64,
    /// Random sequences, those of crashes included.
    pub sequences: u64,
    /// States of the disk after a crash from which the store was opened.
    pub crashes: u64,
    /// Of these, how many were in the middle of a write, a compaction or an opening.
    pub crashes_midway: u64,
    /// Nodes that were started on a store.
    pub nodes: u64,
    /// Reads that were made to fail.
    pub failed_reads: u64,
    /// Writes and fsyncs that were made to fail.
    pub failed_writes: u64,
}

impl Report {
    pub(super) fn add(&mut self, other: &Self) {
        self.cases += other.cases;
        self.sequences += other.sequences;
        self.crashes += other.crashes;
        self.crashes_midway += other.crashes_midway;
        self.nodes += other.nodes;
        self.failed_reads += other.failed_reads;
        self.failed_writes += other.failed_writes;
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} cases, {} random sequences, {} crashes ({} midway), {} nodes started, {} reads and \
             {} writes failed on purpose",
            self.cases,
            self.sequences,
            self.crashes,
            self.crashes_midway,
            self.nodes,
            self.failed_reads,
            self.failed_writes,
        )
    }
}
