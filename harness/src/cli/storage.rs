//! `almadia-harness storage`: the storage suite on the store in memory.
//!
//! Owns the arguments and the report. An embedder calls the suite from a test of its own, with a
//! store of its own; this shows what it does, and how long it takes.

use std::process::ExitCode;

use almadia_harness::storage::{MemSubject, Suite};

/// Runs the storage suite on `MemStorage`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How many random sequences, without crashes and with them.
    #[arg(long, value_name = "N", default_value_t = Suite::new().sequences)]
    sequences: u64,
    /// How many steps each of them has at most.
    #[arg(long, value_name = "N", default_value_t = Suite::new().steps)]
    steps: usize,
    /// The first seed.
    #[arg(long, value_name = "S", default_value_t = 0)]
    from: u64,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let suite = Suite {
        first_seed: arguments.from,
        sequences: arguments.sequences,
        steps: arguments.steps,
    };
    let result = suite.run_all(&MemSubject);
    super::reporting(|out| match result {
        Ok(report) => writeln!(out, "{report}").map(|()| ExitCode::SUCCESS),
        Err(failures) => writeln!(out, "{failures}").map(|()| ExitCode::FAILURE),
    })
}
