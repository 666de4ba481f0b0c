//! `cargo xtask bugs`: which tool finds each of the bugs that others have had.
//!
//! Owns the copy of the workspace below `target/bugs` into which they are put, all at once and each
//! behind a switch, and the table that comes of it. Nothing of this is in a build of the core.

use std::error::Error;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::bugs::{BUGS, Bug, MISSES, Patch};
use crate::tests::{self, Fate, Test, fate_of};
use crate::tree;

/// What stands at the end of `lib.rs` in the copy.
pub(crate) const SWITCH: &str = "
extern crate std;
/// Whether this bug is switched on.
pub(crate) fn bug(id: &str) -> bool {
    static ON: std::sync::OnceLock<Option<std::string::String>> = std::sync::OnceLock::new();
    ON.get_or_init(|| std::env::var(\"BUG\").ok()).as_deref() == Some(id)
}
";

/// At most so many seeds are tried.
const SEEDS: &str = "40000";

/// Random runs that take longer have met a bug that makes them hang.
const RUNS: Duration = Duration::from_secs(600);

/// For at most so long a preset is explored.
const EXPLORATION: Duration = Duration::from_secs(120);

/// The tools, by the names that `--by` takes.
pub(crate) const TOOLS: [&str; 3] = ["runs", "model", "tests"];

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Hunts the bugs whose ids contain this, with the tools whose names contain that.
pub(crate) fn run(root: &Path, only: &str, by: &str) -> Outcome<()> {
    let folder = root.join("target/bugs");
    let tree = folder.join("tree");
    tree::copy(root, &tree)?;
    for bug in BUGS {
        put_in(bug.id, bug.patches, &tree.join("src"))?;
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
    let [by_runs, by_model, by_tests] = TOOLS.map(|tool| tool.contains(by));
    let tests = if by_tests {
        tests::build(&tree)?
    } else {
        Vec::new()
    };
    let said = folder.join("said.txt");
    let tools = TOOLS.iter().filter(|tool| tool.contains(by)).copied();
    let columns: Vec<&str> = ["bug", "what it does"].into_iter().chain(tools).collect();
    println!(
        "| {} |\n|{}",
        columns.join(" | "),
        "---|".repeat(columns.len())
    );
    let (mut found, mut all) = (0, 0);
    let mut unexpected = Vec::new();
    for bug in BUGS.iter().filter(|bug| bug.id.contains(only)) {
        let mut row = Vec::new();
        if by_runs {
            row.push(("runs", random_runs(bug, &program, &said)?));
        }
        if by_model {
            row.push(("model", model(bug, &program, &said)?));
        }
        if by_tests {
            row.push(("tests", first_test(bug, &tests, &said)?));
        }
        all += 1;
        found += u32::from(row.iter().any(|(_, by)| by.is_some()));
        for (tool, by) in &row {
            if by.is_none() != MISSES.contains(&(bug.id, tool)) {
                let does = if by.is_some() { "finds" } else { "misses" };
                unexpected.push(format!("{tool} {does} {}", bug.id));
            }
        }
        let row: Vec<String> = row
            .into_iter()
            .map(|(_, by)| by.unwrap_or_else(|| "-".into()))
            .collect();
        println!("| {} | {} | {} |", bug.id, bug.what, row.join(" | "));
    }
    println!("\n{found} of {all} bugs found");
    if all == 0 {
        return Err(format!("no bug has {only:?} in its id").into());
    }
    if found < all && by.is_empty() {
        return Err("a bug that nothing finds is a hole in the test-kit".into());
    }
    if unexpected.is_empty() {
        return Ok(());
    }
    Err(format!("against the list in bugs.rs: {}", unexpected.join(", ")).into())
}

/// Changes the sources as these patches have it, each at the one place that it names.
pub(crate) fn put_in(id: &str, patches: &[Patch], source: &Path) -> Outcome<()> {
    for (file, from, to) in patches {
        let path = source.join(file);
        let text = fs::read_to_string(&path)?;
        if text.matches(from).count() != 1 {
            return Err(format!("{id}: {file} does not hold this just once:\n{from}").into());
        }
        fs::write(path, text.replace(from, to))?;
    }
    Ok(())
}

/// The first test that fails.
fn first_test(bug: &Bug, tests: &[Test], said: &Path) -> Outcome<Option<String>> {
    Ok(match fate_of(("BUG", bug.id), tests, said)? {
        Fate::Caught(test) => Some(format!("`{}`", test.rsplit("::").next().unwrap_or(&test))),
        Fate::Stopped(test) => Some(format!("{test}, which does not end")),
        Fate::Survived => None,
    })
}

/// After how many seeds random runs find the bug, and what.
fn random_runs(bug: &Bug, program: &Path, said: &Path) -> Outcome<Option<String>> {
    let mut arguments = vec!["sim", "--quick", "--seeds", SEEDS];
    arguments.extend(
        bug.profile
            .iter()
            .flat_map(|profile| ["--profile", profile]),
    );
    let Some((text, seconds)) = run_for(bug, program, &arguments, RUNS, said)? else {
        let limit = RUNS.as_secs();
        return Err(format!("random runs with {} take longer than {limit} s", bug.id).into());
    };
    let mut lines = text.lines().rev();
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
    let what = shortened(what);
    let seeds = passed + 1;
    Ok(Some(format!(
        "{seeds} seeds, {seconds:.1} s ({profile}): {what}"
    )))
}

/// After how many states the model checker finds the bug, in which preset, and what.
fn model(bug: &Bug, program: &Path, said: &Path) -> Outcome<Option<String>> {
    for preset in bug.presets {
        let arguments = ["model", "--preset", preset];
        let Some((text, seconds)) = run_for(bug, program, &arguments, EXPLORATION, said)? else {
            continue;
        };
        let mut lines = text.lines().rev();
        let last = lines.next().unwrap_or_default();
        let counts = last.strip_prefix("states ");
        let counts = counts.and_then(|rest| rest.split_once(", violations "));
        let Some((states, violations)) = counts else {
            return Err(format!("model --preset {preset} ended with {last:?}").into());
        };
        if violations != "0" {
            let what = shortened(lines.next().unwrap_or_default());
            return Ok(Some(format!(
                "{states} states, {seconds:.1} s ({preset}): {what}"
            )));
        }
    }
    Ok(None)
}

/// What the program says with this bug in it, and after how many seconds; `None` if it takes longer than
/// the limit.
fn run_for(
    bug: &Bug,
    program: &Path,
    arguments: &[&str],
    limit: Duration,
    said: &Path,
) -> Outcome<Option<(String, f64)>> {
    let started = Instant::now();
    let mut child = Command::new(program)
        .args(arguments)
        .env("BUG", bug.id)
        .stdout(File::create(said)?)
        .stderr(Stdio::null())
        .spawn()?;
    while child.try_wait()?.is_none() {
        if started.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(5));
    }
    let seconds = started.elapsed().as_secs_f64();
    Ok(Some((fs::read_to_string(said)?, seconds)))
}

/// As much of it as a table has room for.
fn shortened(what: &str) -> String {
    what.chars().take(70).collect()
}
