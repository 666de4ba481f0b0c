//! `cargo xtask mutants`: the program with all mutants, and what its tests say to each.
//!
//! Owns the copy of the workspace below `target/mutants`, and the report. Must not know what a mutant
//! is.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::panic::resume_unwind;
use std::path::Path;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use crate::mutate::{Mutant, Mutator};
use crate::tests::{Fate, build, fate_of};
use crate::tree;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// The files whose rules are broken: arithmetic, log, flow control, and everything that a role
/// does. Not those that only explain, assert or tell.
const FILES: &[&str] = &[
    "quorum.rs",
    "membership.rs",
    "progress.rs",
    "progress/inflight.rs",
    "log.rs",
    "log/fetch.rs",
    "log/incoming.rs",
    "log/tail.rs",
    "outstanding.rs",
    "raw_node.rs",
    "runs.rs",
    "raft.rs",
    "raft/acknowledge.rs",
    "raft/candidate.rs",
    "raft/clock.rs",
    "raft/commands.rs",
    "raft/core.rs",
    "raft/door.rs",
    "raft/durability.rs",
    "raft/follower.rs",
    "raft/leader.rs",
    "raft/output.rs",
    "raft/read_index.rs",
    "raft/reconfigure.rs",
    "raft/replication.rs",
    "raft/transfer.rs",
];

/// What stands at the end of `lib.rs` in the copy.
const SWITCH: &str = "
extern crate std;
/// Whether this mutant is switched on.
fn mutant_is(number: u32) -> bool {
    static ON: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    let read = || std::env::var(\"MUTANT\").ok()?.parse().ok();
    *ON.get_or_init(|| read().unwrap_or(0)) == number
}
";

pub(crate) fn run(root: &Path, jobs: usize, only: &str) -> Outcome<()> {
    let folder = root.join("target/mutants");
    let tree = folder.join("tree");
    tree::copy(root, &tree)?;
    let mutants = plant(&tree)?;
    println!("{} mutants are compiled in", mutants.len());
    let tests = build(&tree)?;
    let wanted: Vec<&Mutant> = mutants
        .iter()
        .filter(|mutant| mutant.description.contains(only))
        .collect();
    if wanted.is_empty() {
        return Err(format!("no mutant's description contains {only:?}").into());
    }
    let next = AtomicUsize::new(0);
    let fates = Mutex::new(BTreeMap::new());
    let started = Instant::now();
    thread::scope(|scope| {
        let worker = |job: usize| -> io::Result<()> {
            let said = folder.join(format!("said-{job}.txt"));
            while let Some(mutant) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
                let fate = fate_of(("MUTANT", &mutant.number.to_string()), &tests, &said)?;
                if matches!(fate, Fate::Survived) {
                    println!("survived: {}", mutant.description);
                }
                let mut fates = fates.lock().unwrap_or_else(PoisonError::into_inner);
                fates.insert(mutant.number, fate);
                if fates.len() % 50 == 0 {
                    let seconds = started.elapsed().as_secs();
                    println!("{} of {} after {seconds} s", fates.len(), wanted.len());
                }
            }
            Ok(())
        };
        let workers: Vec<_> = (0..jobs)
            .map(|job| scope.spawn(move || worker(job)))
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })?;
    let fates = fates.into_inner().unwrap_or_else(PoisonError::into_inner);
    report(&wanted, &fates, &folder.join("fates.txt"))
}

/// Writes what became of each mutant, and prints the survivors and the sums.
fn report(wanted: &[&Mutant], fates: &BTreeMap<u32, Fate>, list: &Path) -> Outcome<()> {
    let mut lines = String::new();
    let (mut stopped, mut survived) = (0, 0);
    println!("\nsurvivors:");
    for Mutant {
        number,
        description,
    } in wanted
    {
        match fates.get(number) {
            Some(Fate::Caught(test)) => writeln!(lines, "{description}: caught by {test}")?,
            Some(Fate::Stopped(test)) => {
                stopped += 1;
                writeln!(lines, "{description}: {test} was stopped")?;
            }
            Some(Fate::Survived) | None => {
                survived += 1;
                println!("{description}");
                writeln!(lines, "{description}: survived")?;
            }
        }
    }
    fs::write(list, lines)?;
    println!("\nwhich test caught which: {}", list.display());
    let (all, failed) = (wanted.len(), wanted.len() - stopped - survived);
    println!("{all} mutants, {failed} caught, {stopped} stopped, {survived} survived");
    Ok(())
}

/// Puts all mutants into the copy.
fn plant(tree: &Path) -> Outcome<Vec<Mutant>> {
    let mut mutator = Mutator::default();
    for name in FILES {
        let path = tree.join("src").join(name);
        let mutated = mutator.mutate(name, &fs::read_to_string(&path)?)?;
        fs::write(path, mutated)?;
    }
    tree::allow_lints(tree, SWITCH)?;
    Ok(mutator.mutants)
}
