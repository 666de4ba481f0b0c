//! `almadia-harness replay`: makes the calls of a recording again.
//!
//! Owns the arguments and the report. The replay is the library's.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use almadia::{MemStorage, RoleKind, Term};
use almadia_harness::recorder::{End, Recording, RecordingError, Replay, ReplayError};

use super::{NOTHING_DONE, unwritten};

/// Builds a recorded node again, and tells at which step it becomes another one.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The recording.
    file: PathBuf,
    /// Stops after this step, and shows the node.
    #[arg(long, value_name = "STEP")]
    until: Option<u64>,
    /// Prints each call, and what came of it.
    #[arg(long)]
    dump: bool,
}

/// Why there is no report, or only a part of one.
enum Problem {
    Recording(RecordingError),
    Report(io::Error),
}

impl From<RecordingError> for Problem {
    fn from(error: RecordingError) -> Self {
        Self::Recording(error)
    }
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Self::Report(error)
    }
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let mut out = BufWriter::new(io::stdout().lock());
    let result = report(arguments, &mut out);
    match result.and_then(|is_fine| out.flush().map(|()| is_fine).map_err(Problem::from)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(Problem::Report(error)) => {
            // What is left of it would be written again, and fail again.
            let (_, _) = out.into_parts();
            unwritten(&error)
        }
        Err(Problem::Recording(error)) => {
            eprintln!("{}: {error}", arguments.file.display());
            ExitCode::from(NOTHING_DONE)
        }
    }
}

/// What is told of a replay when it is over.
#[derive(Default)]
struct Summary {
    steps: u64,
    calls: BTreeMap<&'static str, u64>,
    terms: Option<(Term, Term)>,
    /// How often the node came into each role, in the order of the first time.
    roles: Vec<(RoleKind, u64)>,
    last: Option<(RoleKind, Term)>,
}

impl Summary {
    fn add(&mut self, role: RoleKind, term: Term) {
        let (first, last) = self.terms.unwrap_or((term, term));
        self.terms = Some((first.min(term), last.max(term)));
        if self.last.replace((role, term)) == Some((role, term)) {
            return;
        }
        match self.roles.iter_mut().find(|(known, _)| *known == role) {
            Some((_, times)) => *times += 1,
            None => self.roles.push((role, 1)),
        }
    }

    fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let calls: Vec<_> = self
            .calls
            .iter()
            .map(|(method, times)| format!("{times} {method}"))
            .collect();
        writeln!(out, "calls: {}", calls.join(", "))?;
        if let Some((first, last)) = self.terms {
            writeln!(out, "terms: {first} to {last}")?;
        }
        let roles: Vec<_> = self
            .roles
            .iter()
            .map(|(role, times)| format!("{role} ({times})"))
            .collect();
        writeln!(
            out,
            "roles, and in how many terms or turns: {}",
            roles.join(", ")
        )
    }
}

/// Replays the recording. Returns whether there is nothing to find fault with.
fn report(arguments: &Arguments, out: &mut impl Write) -> Result<bool, Problem> {
    let file = BufReader::new(File::open(&arguments.file).map_err(RecordingError::from)?);
    let mut replay = Replay::<MemStorage>::new(Recording::open(file)?);
    if arguments.dump {
        replay = replay.told();
    }
    let mut summary = Summary::default();
    let mut is_fine = true;
    let mut last_step = None;
    let divergence = loop {
        let replayed = match replay.next_step() {
            Ok(Some(replayed)) => replayed,
            Ok(None) => break None,
            Err(ReplayError::Diverged(divergence)) => break Some(divergence),
            Err(ReplayError::Recording(error)) => return Err(error.into()),
        };
        if replayed.method == "new" {
            introduce(&replay, out)?;
        }
        if arguments.dump {
            writeln!(out, "{replayed}")?;
        }
        if let Some(panic) = &replayed.panic {
            is_fine = false;
            writeln!(
                out,
                "step {} ends in a panic, now as then: {panic}",
                replayed.step
            )?;
        }
        if replayed.is_cut {
            writeln!(out, "the recording ends within step {}", replayed.step)?;
        }
        summary.steps += 1;
        last_step = Some(replayed.step);
        *summary.calls.entry(replayed.method).or_default() += 1;
        if let Some(node) = replay.node() {
            summary.add(node.role(), node.current_term());
        }
        if arguments.until == Some(replayed.step) {
            break None;
        }
    };
    summary.print(out)?;
    match replay.end() {
        Some(End::Damaged { at }) => {
            is_fine = false;
            writeln!(out, "end: {}", End::Damaged { at })?;
        }
        Some(end @ (End::Closed | End::Full | End::Open | End::Torn { .. })) => {
            writeln!(out, "end: {end}")?;
        }
        None => {}
    }
    let is_whole = show_node(arguments, &replay, last_step, out)?;
    if let Some(divergence) = divergence {
        writeln!(out, "divergence at {divergence}")?;
        return Ok(false);
    }
    if summary.steps == 0 {
        writeln!(out, "there is no whole step in the recording")?;
    }
    writeln!(out, "{} steps replayed, no divergence", summary.steps)?;
    Ok(is_fine && is_whole)
}

/// Shows the node if that was asked for. Returns whether what was to be replayed was replayed.
fn show_node(
    arguments: &Arguments,
    replay: &Replay<MemStorage>,
    last_step: Option<u64>,
    out: &mut impl Write,
) -> io::Result<bool> {
    let Some(until) = arguments.until else {
        return Ok(last_step.is_some());
    };
    let is_reached = last_step == Some(until);
    if !is_reached {
        writeln!(
            out,
            "step {until} is not reached; this is the node in the end:"
        )?;
    }
    if let Some(node) = replay.node() {
        writeln!(out, "{:#?}", node.status())?;
    }
    Ok(is_reached)
}

fn introduce(replay: &Replay<MemStorage>, out: &mut impl Write) -> io::Result<()> {
    let here = env!("CARGO_PKG_VERSION");
    let release = replay.release().unwrap_or(here);
    match replay.node() {
        Some(node) => {
            writeln!(out, "node {}, recorded by release {release}", node.id())?;
            writeln!(out, "{:?}", node.config())?;
        }
        None => writeln!(
            out,
            "a node that did not start, recorded by release {release}"
        )?,
    }
    if release != here {
        writeln!(
            out,
            "this is release {here}, which may differ without an error of either"
        )?;
    }
    Ok(())
}
