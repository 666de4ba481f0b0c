//! `cargo xtask bugs`: which tool finds each of the bugs that others have had.
//!
//! Owns the copy of the workspace below `target/bugs` into which they are put, all at once and each
//! behind a switch, and the table that comes of it. Nothing of this is in a build of the core.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::bugs::{BUGS, Bug};
use crate::tests::{self, Fate, Test, fate_of};
use crate::tree;

/// What stands at the end of `lib.rs` in the copy.
const SWITCH: &str = "
extern crate std;
/// Whether this bug is switched on.
pub(crate) fn bug(id: &str) -> bool {
    static ON: std::sync::OnceLock<Option<std::string::String>> = std::sync::OnceLock::new();
    ON.get_or_init(|| std::env::var(\"BUG\").ok()).as_deref() == Some(id)
}
";

/// At most so many seeds are tried.
const SEEDS: &str = "40000";

type Outcome<T> = Result<T, Box<dyn Error>>;

pub(crate) fn run(root: &Path, only: &str) -> Outcome<()> {
    let folder = root.join("target/bugs");
    let tree = folder.join("tree");
    tree::copy(root, &tree)?;
    for bug in BUGS {
        put_in(bug, &tree.join("src"))?;
    }
    tree::allow_lints(&tree, SWITCH)?;
    let program = folder.join("build/release/almadia-harness");
    let built = Command::new("cargo")
        .args(["build", "--release", "-p", "almadia-harness"])
        .env("CARGO_TARGET_DIR", folder.join("build"))
        .env("RUSTFLAGS", "--cap-lints allow")
        .current_dir(&tree)
        .status()?;
    if !built.success() {
        return Err("the workspace with the bugs does not build".into());
    }
    let tests = tests::build(&tree)?;
    println!(
        "| bug | what it does | random runs | model checker | first test |\n|---|---|---|---|---|"
    );
    let (mut found, mut all) = (0, 0);
    for bug in BUGS.iter().filter(|bug| bug.id.contains(only)) {
        let by_runs = random_runs(bug, &program)?;
        let by_model = model(bug, &program)?;
        let by_tests = by_tests(bug, &tests, &folder.join("said.txt"))?;
        all += 1;
        found += u32::from(by_runs.is_some() || by_model.is_some() || by_tests.is_some());
        let shown = |by: Option<String>| by.unwrap_or_else(|| "-".into());
        println!(
            "| {} | {} | {} | {} | {} |",
            bug.id,
            bug.what,
            shown(by_runs),
            shown(by_model),
            shown(by_tests)
        );
    }
    println!("\n{found} of {all} bugs found");
    if found < all {
        return Err("a bug that nothing finds is a hole in the test-kit".into());
    }
    Ok(())
}

fn put_in(bug: &Bug, source: &Path) -> Outcome<()> {
    for (file, from, to) in bug.patches {
        let path = source.join(file);
        let text = fs::read_to_string(&path)?;
        if text.matches(from).count() != 1 {
            let id = bug.id;
            return Err(format!("{id}: {file} does not hold this just once:\n{from}").into());
        }
        fs::write(path, text.replace(from, to))?;
    }
    Ok(())
}

/// The first test that fails.
fn by_tests(bug: &Bug, tests: &[Test], said: &Path) -> Outcome<Option<String>> {
    Ok(match fate_of(("BUG", bug.id), tests, said)? {
        Fate::Caught(test) => Some(format!("`{}`", test.rsplit("::").next().unwrap_or(&test))),
        Fate::Stopped(test) => Some(format!("{test}, which does not end")),
        Fate::Survived => None,
    })
}

/// After how many seeds random runs find the bug, and what.
fn random_runs(bug: &Bug, program: &Path) -> Outcome<Option<String>> {
    let mut command = Command::new(program);
    command
        .args(["sim", "--quick", "--seeds", SEEDS])
        .env("BUG", bug.id);
    if let Some(profile) = bug.profile {
        command.args(["--profile", profile]);
    }
    let started = Instant::now();
    let said = String::from_utf8(command.output()?.stdout)?;
    let seconds = started.elapsed().as_secs_f64();
    let mut lines = said.lines().rev();
    let passed = lines.next().and_then(|last| last.split(" passed").next());
    let passed: u64 = passed.unwrap_or_default().parse()?;
    if passed == SEEDS.parse()? {
        return Ok(None);
    }
    let profile = bug.profile.unwrap_or("all profiles");
    let what = lines.find_map(|line| line.split_once(": seed "));
    let what = what.and_then(|(_, rest)| rest.split_once(": "));
    let what = what.map_or("", |(_, what)| {
        what.split(['\n', '|']).next().unwrap_or(what)
    });
    let what: String = what.chars().take(70).collect();
    let seeds = passed + 1;
    Ok(Some(format!(
        "{seeds} seeds, {seconds:.1} s ({profile}): {what}"
    )))
}

/// After how many states the model checker finds the bug.
fn model(bug: &Bug, program: &Path) -> Outcome<Option<String>> {
    let Some(preset) = bug.preset else {
        return Ok(None);
    };
    let started = Instant::now();
    let output = Command::new(program)
        .args(["model", "--preset", preset])
        .env("BUG", bug.id)
        .output()?;
    let seconds = started.elapsed().as_secs_f64();
    let said = String::from_utf8(output.stdout)?;
    let last = said.lines().last().unwrap_or_default();
    let counts = last.strip_prefix("states ");
    let counts = counts.and_then(|rest| rest.split_once(", violations "));
    let Some((states, violations)) = counts else {
        return Err(format!("model --preset {preset} ended with {last:?}").into());
    };
    if violations.trim() == "0" {
        return Ok(None);
    }
    Ok(Some(format!("{states} states, {seconds:.1} s ({preset})")))
}
