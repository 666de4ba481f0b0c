//! Building the program with all mutants, and running its tests once for each.
//!
//! Owns the copy of the workspace below `target/mutants`, the order of the tests, their time
//! limits, and the report. Must not know what a mutant is.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::mutate::{Mutant, Mutator};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// The files whose rules are broken: arithmetic, log, flow control, and everything that a role
/// does. Not those that only explain, assert or tell.
const FILES: &[&str] = &[
    "quorum.rs",
    "membership.rs",
    "progress.rs",
    "progress/inflight.rs",
    "log.rs",
    "log/incoming.rs",
    "log/unpersisted.rs",
    "raft.rs",
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

/// A test program, and how long it takes when nothing is broken.
struct Test {
    program: PathBuf,
    folder: PathBuf,
    time: Duration,
}

/// What became of a mutant.
enum Fate {
    /// This test failed.
    Caught(String),
    /// A test ran for so long that it was stopped, or the system stopped it.
    Stopped(String),
    Survived,
}

pub(crate) fn run(root: &Path, jobs: usize, only: &str) -> Outcome<()> {
    let folder = root.join("target/mutants");
    let tree = folder.join("tree");
    copy(root, &tree)?;
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
                let fate = fate_of(mutant.number, &tests, &said)?;
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

/// Copies what git knows of the workspace.
fn copy(root: &Path, tree: &Path) -> Outcome<()> {
    let listed = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(root)
        .output()?;
    if !listed.status.success() {
        return Err("git does not list the workspace's files".into());
    }
    // Nothing is to be left of an earlier run: a test that is gone catches nothing.
    if tree.exists() {
        fs::remove_dir_all(tree)?;
    }
    for name in String::from_utf8(listed.stdout)?.split_terminator('\0') {
        let target = tree.join(name);
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::copy(root.join(name), target)?;
    }
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
    let library = tree.join("src/lib.rs");
    let text = fs::read_to_string(&library)?;
    fs::write(library, format!("{text}{SWITCH}"))?;
    let manifest = tree.join("Cargo.toml");
    let text = fs::read_to_string(&manifest)?;
    fs::write(manifest, text.replace("= \"deny\"", "= \"allow\""))?;
    Ok(mutator.mutants)
}

/// Builds the tests, and runs them with nothing broken, the fastest to be first.
fn build(tree: &Path) -> Outcome<Vec<Test>> {
    let built = Command::new("cargo")
        .args([
            "test",
            "--no-run",
            "--workspace",
            "--exclude",
            "xtask",
            "--tests",
        ])
        .args(["--message-format", "json"])
        .env("CARGO_TARGET_DIR", tree.join("../build"))
        .env("RUSTFLAGS", "--cap-lints allow -C debuginfo=0")
        .current_dir(tree)
        .stderr(Stdio::inherit())
        .output()?;
    if !built.status.success() {
        return Err("the mutated workspace does not build".into());
    }
    let mut tests = Vec::new();
    for line in String::from_utf8(built.stdout)?.lines() {
        let Some((_, rest)) = line.split_once("\"executable\":\"") else {
            continue;
        };
        let program = PathBuf::from(rest.split('"').next().unwrap_or_default());
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        let profile = line
            .split_once("\"profile\":")
            .map_or("", |(_, profile)| profile);
        let is_test = profile.contains("\"test\":true");
        // Those that look at the sources, at what is not in the tree, or at no rule of the core.
        let is_unfit = [
            "examples-",
            "architecture-",
            "scripts-",
            "storage-",
            "faulty_embedders-",
        ];
        if !is_test || is_unfit.iter().any(|unfit| name.starts_with(unfit)) {
            continue;
        }
        let manifest = line.split_once("\"manifest_path\":\"");
        let manifest = manifest.and_then(|(_, rest)| rest.split('"').next());
        let folder = manifest.and_then(|path| Path::new(path).parent());
        let folder = folder.unwrap_or(tree).to_path_buf();
        let mut test = Test {
            program,
            folder,
            time: Duration::ZERO,
        };
        let started = Instant::now();
        if !command(&test, 0).status()?.success() {
            return Err(format!("{} fails with nothing broken", test.program.display()).into());
        }
        test.time = started.elapsed();
        tests.push(test);
    }
    tests.sort_by_key(|test| test.time);
    Ok(tests)
}

fn command(test: &Test, mutant: u32) -> Command {
    let mut command = Command::new(&test.program);
    command
        .args(["--test-threads", "1", "--skip", "table::", "-q"])
        .env("MUTANT", mutant.to_string())
        .env("PROPTEST_CASES", "64")
        .env("PROPTEST_MAX_SHRINK_ITERS", "0")
        .env("ALMADIA_SEEDS", "300")
        .env("RUST_BACKTRACE", "0")
        .current_dir(&test.folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// Runs the tests with this mutant until one fails, or takes far too long.
fn fate_of(mutant: u32, tests: &[Test], said: &Path) -> io::Result<Fate> {
    for test in tests {
        let limit = test.time * 10 + Duration::from_secs(3);
        let mut child = command(test, mutant).stdout(File::create(said)?).spawn()?;
        let started = Instant::now();
        let status = loop {
            match child.try_wait()? {
                Some(status) => break Some(status),
                None if started.elapsed() < limit => thread::sleep(Duration::from_millis(5)),
                None => break None,
            }
        };
        let name = || {
            test.program
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
        };
        match status {
            Some(status) if status.success() => {}
            Some(status) if status.code().is_some() => {
                let said = fs::read(said)?;
                let failed = first_failure(&String::from_utf8_lossy(&said));
                return Ok(Fate::Caught(failed.unwrap_or_else(|| name().into_owned())));
            }
            Some(_) => return Ok(Fate::Stopped(name().into_owned())),
            None => {
                child.kill()?;
                child.wait()?;
                return Ok(Fate::Stopped(name().into_owned()));
            }
        }
    }
    Ok(Fate::Survived)
}

/// The first name in the list of failed tests with which a test program ends.
fn first_failure(said: &str) -> Option<String> {
    let (_, list) = said.rsplit_once("failures:\n")?;
    Some(list.lines().next()?.trim().to_owned())
}
