//! `almadia-harness scripts`: runs etcd/raft's scripts against the core.
//!
//! Owns the arguments and the report. The runner is the library's.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use almadia_harness::script::folder::{Checked, Totals, check_folder, known_to_differ};

use super::NOTHING_DONE;

/// Runs the scripts of a folder, and compares what they print with what they should.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The folder, which may hold others. Scripts are the files that end in `.txt`.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Show every output that is not the expected one.
    #[arg(long)]
    differences: bool,
    /// A document that explains which scripts differ in state, and why; they and no others may.
    #[arg(long, value_name = "FILE")]
    known: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let result = prepare(arguments);
    match result {
        Ok((known, checked)) => super::reporting(|out| report(arguments, &known, &checked, out)),
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::from(NOTHING_DONE)
        }
    }
}

/// Runs the scripts. Returns those that are known to differ, and what came of all.
fn prepare(arguments: &Arguments) -> Result<(BTreeSet<String>, Vec<Checked>), String> {
    let problem = |path: &Path, error: io::Error| format!("{}: {error}", path.display());
    let known = match &arguments.known {
        Some(document) => {
            let text = fs::read_to_string(document).map_err(|error| problem(document, error))?;
            known_to_differ(&text)
        }
        None => BTreeSet::new(),
    };
    let folder = &arguments.folder;
    let checked = check_folder(folder).map_err(|error| problem(folder, error))?;
    if checked.is_empty() {
        return Err(format!(
            "{}: there is no script in the folder",
            folder.display()
        ));
    }
    Ok((known, checked))
}

fn report(
    arguments: &Arguments,
    known: &BTreeSet<String>,
    checked: &[Checked],
    out: &mut dyn Write,
) -> io::Result<ExitCode> {
    let mut findings = 0;
    for script in checked {
        writeln!(out, "{script}")?;
        if arguments.differences {
            for judged in script.differences() {
                writeln!(out, "line {}: {}", judged.outcome.line, judged.outcome)?;
            }
        }
        let is_known = known.contains(&script.name());
        if script.passed() == is_known {
            findings += 1;
            if is_known {
                writeln!(out, "it is said to differ, and does not")?;
            }
        }
    }
    writeln!(out, "{}", Totals::of(checked))?;
    Ok(if findings == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
