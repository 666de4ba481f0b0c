//! `almadia-harness scripts`: runs etcd/raft's scripts against the core.
//!
//! Owns the arguments and the report. The runner is the library's.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use almadia_harness::script::folder::{Totals, check_folder, known_to_differ};

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
    match report(arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn report(arguments: &Arguments) -> io::Result<ExitCode> {
    let known = match &arguments.known {
        Some(document) => known_to_differ(&fs::read_to_string(document)?),
        None => Default::default(),
    };
    let checked = check_folder(&arguments.folder)?;
    if checked.is_empty() {
        return Err(io::Error::other("there is no script in the folder"));
    }
    let mut findings = 0;
    for script in &checked {
        println!("{script}");
        if arguments.differences {
            for judged in script.differences() {
                println!("line {}: {}", judged.outcome.line, judged.outcome);
            }
        }
        let is_known = known.contains(&script.name());
        if script.passed() == is_known {
            findings += 1;
            if is_known {
                println!("it is said to differ, and does not");
            }
        }
    }
    println!("{}", Totals::of(&checked));
    Ok(if findings == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
