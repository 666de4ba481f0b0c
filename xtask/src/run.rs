//! Building the program with all mutants, and running its tests once for each.
//!
//! Owns the copy of the workspace below `target/mutants`, the order of the tests, their time
//! limits, and the report. Must not know what a mutant is.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
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

pub(crate) fn run(root: &Path, jobs: usize, only: &str) -> Outcome<()> {
    let tree = root.join("target/mutants/tree");
    copy(root, &tree)?;
    let mutants = plant(&tree)?;
    println!("{} mutants are compiled in", mutants.len());
    let tests = build(&tree)?;
    let wanted: Vec<&Mutant> = mutants
        .iter()
        .filter(|mutant| mutant.description.contains(only))
        .collect();
    let next = AtomicUsize::new(0);
    let survivors = Mutex::new(Vec::new());
    let started = Instant::now();
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(mutant) = wanted.get(at) else {
                        return;
                    };
                    let caught = tests.iter().any(|test| fails(test, mutant.number));
                    if !caught {
                        println!("survived: {}", mutant.description);
                        let mut list = survivors.lock().unwrap_or_else(PoisonError::into_inner);
                        list.push(mutant.number);
                    }
                    if at % 50 == 49 {
                        let seconds = started.elapsed().as_secs();
                        println!("{} of {} after {seconds} s", at + 1, wanted.len());
                    }
                }
            });
        }
    });
    let survivors = survivors
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    println!("\nsurvivors:");
    for mutant in &wanted {
        if survivors.contains(&mutant.number) {
            println!("{}", mutant.description);
        }
    }
    let (all, survived) = (wanted.len(), survivors.len());
    println!(
        "{all} mutants, {} caught, {survived} survived",
        all - survived
    );
    Ok(())
}

/// Copies what git knows of the workspace.
fn copy(root: &Path, tree: &Path) -> Outcome<()> {
    let listed = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(root)
        .output()?;
    if tree.join("src").exists() {
        fs::remove_dir_all(tree.join("src"))?;
        fs::remove_dir_all(tree.join("tests"))?;
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
        let is_slow = [
            "examples-",
            "architecture-",
            "memory-",
            "scripts-",
            "faulty_embedders-",
        ];
        if is_slow.iter().any(|slow| name.starts_with(slow)) || !name.contains('-') {
            continue;
        }
        let is_harness = ["seeds-", "scenarios-", "topologies-"];
        let in_harness =
            line.contains("almadia-harness") && is_harness.iter().any(|it| name.starts_with(it));
        let folder = if in_harness {
            tree.join("harness")
        } else {
            tree.to_path_buf()
        };
        let started = Instant::now();
        let passed = command(&program, &folder, 0).status()?.success();
        if !passed {
            return Err(format!("{} fails with nothing broken", program.display()).into());
        }
        tests.push(Test {
            program,
            folder,
            time: started.elapsed(),
        });
    }
    tests.sort_by_key(|test| test.time);
    Ok(tests)
}

fn command(program: &Path, folder: &Path, mutant: u32) -> Command {
    let mut command = Command::new(program);
    command
        .args(["--test-threads", "1", "--skip", "table::", "-q"])
        .env("MUTANT", mutant.to_string())
        .env("PROPTEST_CASES", "64")
        .env("PROPTEST_MAX_SHRINK_ITERS", "0")
        .env("ALMADIA_SEEDS", "300")
        .env("RUST_BACKTRACE", "0")
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// Whether a test fails with this mutant, or takes far too long.
fn fails(test: &Test, mutant: u32) -> bool {
    let limit = test.time * 10 + Duration::from_secs(3);
    let Ok(mut child) = command(&test.program, &test.folder, mutant).spawn() else {
        return true;
    };
    let started = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return !status.success(),
            Ok(None) if started.elapsed() < limit => thread::sleep(Duration::from_millis(5)),
            Ok(None) | Err(_) => {
                stop(&mut child);
                return true;
            }
        }
    }
}

fn stop(child: &mut Child) {
    // Whether it is gone already makes no difference.
    drop(child.kill());
    drop(child.wait());
}
