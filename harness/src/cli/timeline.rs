//! `almadia-harness timeline`: the picture of a recorded run.
//!
//! Owns the arguments and where the page goes. The page is the library's.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use almadia_harness::Trace;

use super::NOTHING_DONE;

/// Makes a page for the browser out of a recorded run.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The record of the run: lines of JSON.
    trace: PathBuf,
    /// Where the page goes; else beside the trace, as `.html`.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let Arguments { trace, output } = arguments;
    let beside = || trace.with_extension("html");
    let output = output.clone().unwrap_or_else(beside);
    match write_page(trace, &output) {
        Ok(told) => super::reporting(|out| writeln!(out, "{told}").map(|()| ExitCode::SUCCESS)),
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::from(NOTHING_DONE)
        }
    }
}

/// Returns what there is to tell of the page, or of what went wrong.
fn write_page(source: &Path, output: &Path) -> Result<String, String> {
    if source == output {
        return Err(format!(
            "{} would take the place of the trace: name another file with `--output`",
            output.display()
        ));
    }
    let name = source.display();
    let file = File::open(source).map_err(|error| {
        format!(
            "cannot open {name}: {error}. Name a file that `Cluster::take_trace`, a \
             `TraceRecorder` or `five_mem_node --trace FILE` has made"
        )
    })?;
    let trace = Trace::read(BufReader::new(file)).map_err(|error| format!("{name}: {error}"))?;
    fs::write(output, almadia_harness::timeline(&trace)).map_err(|error| {
        format!(
            "cannot write {}: {error}. Name another file with `--output`",
            output.display()
        )
    })?;
    let mut told = format!("{}: {} events", output.display(), trace.events().len());
    if let Some(violation) = trace.violation() {
        told += &format!("; {violation}");
    }
    Ok(told)
}
