//! `almadia-harness model`: small clusters in every situation that there is.
//!
//! Owns the arguments and the report. The exploration is the library's.

use std::io::{self, Write};
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
            return ExitCode::from(super::NOTHING_DONE);
        }
    }
    super::reporting(|out| explore(&presets, out))
}

fn explore(presets: &[model::Preset], out: &mut dyn Write) -> io::Result<ExitCode> {
    let mut states = 0;
    let mut violations = 0;
    for preset in presets {
        let start = Instant::now();
        let found = model::explore(preset);
        writeln!(
            out,
            "{}: {} states, {} actions, {} machines, depth {}, {:.1} s ({})",
            preset.name,
            found.states,
            found.actions,
            found.machines,
            found.depth,
            start.elapsed().as_secs_f64(),
            preset.bounds,
        )?;
        out.flush()?;
        states += found.states;
        if let Some(finding) = found.finding {
            violations += 1;
            writeln!(out, "{finding}")?;
        }
    }
    writeln!(out, "states {states}, violations {violations}")?;
    Ok(if violations == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
