//! `almadia-harness sim`: random runs in bulk.
//!
//! Owns the arguments and the report. The runs are the library's.

use std::process::ExitCode;

use almadia_harness::Profile;

/// Makes random runs, one for each seed, and checks every step of them.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How many runs.
    #[arg(long, value_name = "N")]
    seeds: u64,
    /// The first seed.
    #[arg(long, value_name = "S", default_value_t = 0)]
    from: u64,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let Arguments { seeds, from } = *arguments;
    let profile = Profile::faulty("3 nodes", 3);
    let mut failed = 0;
    for seed in from..from.saturating_add(seeds) {
        if let Err(violation) = almadia_harness::run(seed, &profile) {
            failed += 1;
            println!("{violation}");
        }
    }
    println!("{} passed, {failed} failed", seeds - failed);
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
