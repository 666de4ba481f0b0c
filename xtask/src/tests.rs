//! The tests of a copy of the workspace, run once for each thing that is switched on in it.
//!
//! Owns which tests are run, their order, their time limits, and what became of them. Must not know
//! what is switched on.

use std::error::Error;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A test program, and how long it takes when nothing is switched on.
pub(crate) struct Test {
    program: PathBuf,
    folder: PathBuf,
    time: Duration,
}

/// What came of the tests.
pub(crate) enum Fate {
    /// This test failed.
    Caught(String),
    /// A test ran for so long that it was stopped, or the system stopped it.
    Stopped(String),
    Survived,
}

/// Builds the tests, and runs them with nothing broken, the fastest to be first.
pub(crate) fn build(tree: &Path) -> Result<Vec<Test>, Box<dyn Error>> {
    let built = Command::new("cargo")
        .args(["test", "--no-run", "--tests"])
        // Whoever builds on the core tests other things than its rules, and much slower.
        .args([
            "-p",
            "almadia",
            "-p",
            "almadia-proto",
            "-p",
            "almadia-harness",
        ])
        .args(["--message-format", "json"])
        .env("CARGO_TARGET_DIR", tree.join("../build"))
        .env("RUSTFLAGS", "--cap-lints allow -C debuginfo=0")
        // They are built once, and run a thousand times.
        .env("CARGO_PROFILE_DEV_OPT_LEVEL", "1")
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
        // Those that look at the sources, at what is not in the tree, or at no rule of the core; and those
        // that take a minute to look at what others look at too.
        let is_unfit = [
            "examples-",
            "architecture-",
            "scripts-",
            "storage-",
            "faulty_embedders-",
            "mixed-",
            "rolling_upgrade-",
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
        if !command(&test, ("NOTHING", "")).status()?.success() {
            return Err(format!("{} fails with nothing broken", test.program.display()).into());
        }
        test.time = started.elapsed();
        tests.push(test);
    }
    tests.sort_by_key(|test| test.time);
    Ok(tests)
}

fn command(test: &Test, switch: (&str, &str)) -> Command {
    let mut command = Command::new(&test.program);
    command
        .args(["--test-threads", "1", "-q"])
        .args(["--skip", "table::", "--skip", "sources::"])
        .env(switch.0, switch.1)
        .env("PROPTEST_CASES", "64")
        .env("PROPTEST_MAX_SHRINK_ITERS", "0")
        .env("ALMADIA_SEEDS", "300")
        .env("ALMADIA_LOCKSTEP_SEEDS", "50")
        .env("RUST_BACKTRACE", "0")
        .current_dir(&test.folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// Runs the tests with this variable set until one fails, or takes far too long. What they say goes
/// into the file `said`.
pub(crate) fn fate_of(switch: (&str, &str), tests: &[Test], said: &Path) -> io::Result<Fate> {
    for test in tests {
        let limit = test.time * 10 + Duration::from_secs(3);
        let mut child = command(test, switch).stdout(File::create(said)?).spawn()?;
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
