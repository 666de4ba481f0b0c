//! A replicated key-value store of five nodes in one process: threads for machines, channels for
//! the network, memory for disks.
//!
//! While a client works, the leader is killed and restarted, the logs are compacted, and a node
//! that has missed too much is brought back by a snapshot. Then a sixth node joins as a learner and
//! becomes a voter, one of the first five is removed through a joint configuration, and leadership
//! is handed over. At the end the five that are left must agree.
//!
//! Read `node.rs` for the run loop of a node, `machine.rs` and `client.rs` for how every command
//! counts exactly once, and `show.rs` for what happens when, with `show/failures.rs` for nodes that
//! fail and `show/members.rs` for a cluster that changes. This file owns the command line.

mod client;
mod cluster;
mod command;
mod machine;
mod mail;
mod node;
mod show;
mod tracer;
mod verdict;
mod watchdog;

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::client::Client;
use crate::command::{Command, built_in_workload, read_commands};
use crate::mail::{AnyError, Report};
use crate::show::Show;
use crate::tracer::Tracer;
use crate::verdict::differences;
use crate::watchdog::Watchdog;

const USAGE: &str = "\
Replicates a key-value store on five nodes in memory. Meanwhile nodes are killed and restarted, a
sixth one takes the place of one of them, and leadership is handed over. Checks that all agree.

Usage: five_mem_node [--input FILE] [--trace FILE]

Options:
  --input FILE  Read commands from FILE, one a line; `-` is standard input.
                Without it, 10000 built-in commands run, and their answers are only checked.
  --trace FILE  Record what happens on the nodes in FILE. `almadia-harness timeline FILE`
                makes a picture of it for the browser.
  --help        Print this text.

Commands:
  put KEY VALUE   Set KEY. VALUE is the rest of the line, and may contain spaces.
  del KEY         Remove KEY.
  get KEY         Print `KEY = VALUE` or `KEY is not set`.
Blank lines and lines that start with # are skipped.

Answers, the table and the verdict go to standard output, everything else to standard error.
Exit status: 0 if all nodes agree, 1 if not, 2 if the command line or a file is no good.
";

/// How many commands the built-in workload has.
const BUILT_IN_COMMANDS: u64 = 10_000;

/// What the command line asks for.
enum Request {
    Help,
    Run(Files),
}

/// The files that a run reads and writes.
#[derive(Default)]
struct Files {
    input: Option<PathBuf>,
    trace: Option<PathBuf>,
}

fn main() -> ExitCode {
    let files = match parse_arguments() {
        Ok(Request::Help) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Ok(Request::Run(files)) => Ok(files),
        Err(problem) => Err(format!("{problem}\n\n{USAGE}")),
    };
    let (client, trace) = match files.and_then(|files| open(&files)) {
        Ok(opened) => opened,
        Err(problem) => {
            eprintln!("error: {}", problem.trim_end());
            return ExitCode::from(2);
        }
    };
    let result = match trace {
        None => run(client, &Tracer::default()),
        Some(file) => run_traced(client, file),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse_arguments() -> Result<Request, String> {
    let mut arguments = std::env::args_os().skip(1);
    let mut files = Files::default();
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--help" | "-h") => return Ok(Request::Help),
            Some("--input") => {
                let path = arguments.next().map(PathBuf::from);
                let path = path.ok_or("`--input` needs a file, or `-` for standard input")?;
                files.input = Some(path);
            }
            Some("--trace") => {
                let path = arguments.next().map(PathBuf::from);
                files.trace = Some(path.ok_or("`--trace` needs a file to write")?);
            }
            _ => return Err(format!("unknown option `{}`", argument.to_string_lossy())),
        }
    }
    Ok(Request::Run(files))
}

/// The client with its commands, and the file for the trace if there is to be one.
fn open(files: &Files) -> Result<(Client, Option<File>), String> {
    let client = match &files.input {
        None => Client::new(built_in_workload(BUILT_IN_COMMANDS), false),
        Some(path) => Client::new(read_input(path)?, true),
    };
    let trace = files.trace.as_ref().map(|path| {
        File::create(path).map_err(|error| {
            let path = path.display();
            format!("cannot write {path}: {error}\nGive `--trace` the path of a file to write.")
        })
    });
    Ok((client, trace.transpose()?))
}

fn read_input(path: &Path) -> Result<Vec<Command>, String> {
    let commands = if path == Path::new("-") {
        read_commands(io::stdin().lock())
    } else {
        File::open(path).and_then(|file| read_commands(BufReader::new(file)))
    };
    commands.map_err(|error| {
        format!(
            "cannot read {}: {error}\n\
             Give the path of a file with one command per line, or `--input -` for standard input.",
            path.display()
        )
    })
}

/// Like [`run`], and writes down what happened, also if it ends badly.
fn run_traced(client: Client, file: File) -> Result<(), AnyError> {
    let tracer = Tracer::recording();
    let result = run(client, &tracer);
    if let Err(error) = &result {
        tracer.violated(error);
    }
    if let Some(trace) = tracer.finish() {
        trace.write(BufWriter::new(file))?;
    }
    result
}

/// Plays the show, and judges what the nodes have come to.
fn run(client: Client, tracer: &Tracer) -> Result<(), AnyError> {
    let mut show = Show::new(client, Watchdog::start(), tracer.clone());
    let reports = show.play()?;

    let mut output = io::stdout().lock();
    writeln!(
        output,
        "node  role           term    commit   applied  state hash"
    )?;
    for report in &reports {
        writeln!(
            output,
            "{:<4}  {:<13}  {:>4}  {:>8}  {:>8}  {}",
            report.node.to_string(),
            report.role,
            report.term.to_string(),
            report.commit_index.to_string(),
            report.applied.to_string(),
            hash(report),
        )?;
    }
    let differences = differences(&reports, show.client().model());
    for difference in &differences {
        writeln!(output, "{difference}")?;
        tracer.violated(difference);
    }
    match (reports.first(), differences.as_slice()) {
        (Some(first), []) => {
            let (nodes, entries) = (reports.len(), first.applied);
            writeln!(output, "ok: {nodes} nodes agree on {entries} entries")?;
            Ok(())
        }
        _ => Err("the nodes do not agree".into()),
    }
}

fn hash(report: &Report) -> String {
    match &report.state {
        Some(state) => format!("{:016x}", state.hash()),
        None => "unknown".to_owned(),
    }
}
