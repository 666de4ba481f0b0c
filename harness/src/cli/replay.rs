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

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let mut out = BufWriter::new(io::stdout().lock());
    let result = report(arguments, &mut out);
    match result.and_then(|is_fine| out.flush().map(|()| is_fine).map_err(RecordingError::from)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{}: {error}", arguments.file.display());
            ExitCode::FAILURE
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
fn report(arguments: &Arguments, out: &mut impl Write) -> Result<bool, RecordingError> {
    let file = BufReader::new(File::open(&arguments.file)?);
    let mut replay = Replay::<MemStorage>::new(Recording::open(file)?);
    if arguments.dump {
        replay = replay.told();
    }
    let mut summary = Summary::default();
    let mut is_fine = true;
    let divergence = loop {
        let replayed = match replay.next_step() {
            Ok(Some(replayed)) => replayed,
            Ok(None) => break None,
            Err(ReplayError::Diverged(divergence)) => break Some(divergence),
            Err(ReplayError::Recording(error)) => return Err(error),
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
    if let Some(node) = replay.node().filter(|_| arguments.until.is_some()) {
        writeln!(out, "{:#?}", node.status())?;
    }
    if let Some(divergence) = divergence {
        writeln!(out, "divergence at {divergence}")?;
        return Ok(false);
    }
    writeln!(out, "{} steps replayed, no divergence", summary.steps)?;
    Ok(is_fine)
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
