//! `almadia-harness model`: small clusters in every situation that there is.
//!
//! Owns the arguments and the report. The exploration is the library's.

use std::process::ExitCode;
use std::time::Instant;

use almadia_harness::model;

/// Explores presets to their ends.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// One preset alone.
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let mut presets = model::presets();
    if let Some(name) = &arguments.preset {
        presets.retain(|preset| preset.name == name);
        if presets.is_empty() {
            let names = model::presets();
            let names: Vec<&str> = names.iter().map(|preset| preset.name).collect();
            eprintln!(
                "error: there is no preset {name}; there are {}",
                names.join(", ")
            );
            return ExitCode::from(2);
        }
    }
    let mut states = 0;
    let mut violations = 0;
    for preset in presets {
        let start = Instant::now();
        let found = model::explore(&preset);
        println!(
            "{}: {} states, {} actions, {} machines, depth {}, {:.1} s ({})",
            preset.name,
            found.states,
            found.actions,
            found.machines,
            found.depth,
            start.elapsed().as_secs_f64(),
            preset.bounds,
        );
        states += found.states;
        if let Some(finding) = found.finding {
            violations += 1;
            println!("{finding}");
        }
    }
    println!("states {states}, violations {violations}");
    if violations == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
