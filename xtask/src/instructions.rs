//! `cargo xtask instructions`: how many instructions each workload takes, beside what it took before.
//!
//! Owns the list of the workloads, the baseline in `peers/instructions.txt`, and how far a count may grow.
//! What the workloads do stands in `peers/src/bin/peers-count.rs`. A time hangs on what else the machine
//! does; a count hangs on the compiler and the C library alone, so a little that is lost shows at once.

use std::error::Error;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::program;

/// The workloads, and how often each is repeated: enough that buffers are warm and logs are cut.
const WORKLOADS: [(&str, u32); 10] = [
    ("commit_1", 2048),
    ("commit_64", 256),
    ("single_voter", 4096),
    ("follower_append", 4096),
    ("read_index", 2048),
    ("tick_idle", 65536),
    ("new", 4096),
    ("catch_up", 64),
    ("encode_64", 1024),
    ("decode_64", 1024),
];

/// What a count may grow by, in per cent.
const TOLERATED: f64 = 3.0;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Counts the workloads whose names contain this, and compares with the baseline, or records a new one.
pub(crate) fn run(root: &Path, only: &str, record: bool) -> Outcome<()> {
    if record && !only.is_empty() {
        return Err("a baseline is recorded of all workloads: --record goes without --only".into());
    }
    let is_there = Command::new("valgrind").arg("--version").output().is_ok();
    if !is_there {
        return Err("valgrind counts the instructions: install the package valgrind".into());
    }
    let file = root.join("peers/instructions.txt");
    let toolchain = toolchain()?;
    let baseline = if record {
        Baseline::default()
    } else {
        Baseline::read(&fs::read_to_string(&file)?)?
    };
    let program = build(root)?;
    println!(
        "{:16} {:>12} {:>12} {:>8}",
        "workload", "now", "baseline", "change"
    );
    let mut now = Baseline {
        toolchain,
        counts: Vec::new(),
    };
    for (name, times) in WORKLOADS.iter().filter(|(name, _)| name.contains(only)) {
        let count = for_each(*times, |times| collected(&program, name, times))?;
        println!("{}", line(name, count, baseline.count(name)));
        now.counts.push(((*name).to_owned(), count));
    }
    if record {
        return Ok(fs::write(&file, now.to_string())?);
    }
    let grown = now.grown_since(&baseline);
    if now.toolchain != baseline.toolchain {
        println!(
            "\nThe baseline is of {}, and this is {}: what differs may be the compiler's doing.",
            baseline.toolchain, now.toolchain
        );
        return Ok(());
    }
    if grown.is_empty() {
        return Ok(());
    }
    let names = grown.join(", ");
    Err(format!("grown by more than {TOLERATED} %, or without a baseline: {names}").into())
}

/// What a repetition takes: so many are taken from twice as many, so that what comes before the first
/// one does not count.
fn for_each(times: u32, count: impl Fn(u32) -> Outcome<u64>) -> Outcome<f64> {
    let (few, many) = (count(times)?, count(times * 2)?);
    let difference = many.checked_sub(few).ok_or("more work took less")?;
    // To a tenth, as it is recorded.
    Ok((difference as f64 * 10.0 / f64::from(times)).round() / 10.0)
}

/// The instructions of the program's whole run.
fn collected(program: &Path, name: &str, times: u32) -> Outcome<u64> {
    let ran = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args([name, &times.to_string()])
        .output()?;
    let said = String::from_utf8_lossy(&ran.stderr);
    match total(&said) {
        Some(total) if ran.status.success() => Ok(total),
        Some(_) | None => Err(format!("{name} was not counted:\n{said}").into()),
    }
}

/// The total in what callgrind says at its end.
fn total(said: &str) -> Option<u64> {
    let (_, rest) = said.rsplit_once("Collected :")?;
    rest.split_whitespace().next()?.parse().ok()
}

/// Builds the program as benches are built, and tells where it is.
fn build(root: &Path) -> Outcome<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo
        .args(["build", "--profile", "bench", "--locked"])
        .args(["--package", "almadia-peers", "--bin", "peers-count"])
        .current_dir(root);
    program::build("peers-count", &mut cargo)
}

/// The compiler, and what it compiles for.
fn toolchain() -> Outcome<String> {
    let said = Command::new("rustc").arg("-vV").output()?.stdout;
    let said = String::from_utf8(said)?;
    let version = said.lines().next().unwrap_or_default();
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(format!("{version} on {}", host.unwrap_or_default()))
}

/// A line of the table.
fn line(name: &str, now: f64, before: Option<f64>) -> String {
    let (before, change) = match before {
        Some(before) => (
            format!("{before:.1}"),
            format!("{:+.1} %", change(now, before)),
        ),
        None => ("-".into(), "-".into()),
    };
    format!("{name:16} {now:12.1} {before:>12} {change:>8}")
}

/// By how much it has grown, in per cent.
fn change(now: f64, before: f64) -> f64 {
    (now / before - 1.0) * 100.0
}

/// What the workloads took.
#[derive(Debug, Default, PartialEq)]
struct Baseline {
    /// With which compiler.
    toolchain: String,
    /// For each repetition.
    counts: Vec<(String, f64)>,
}

/// Before the toolchain, in the head of the file.
const TOOLCHAIN: &str = "# With ";

impl Baseline {
    /// The head tells the toolchain; each other line is a name and a count.
    fn read(text: &str) -> Outcome<Self> {
        let toolchain = text.lines().find_map(|line| line.strip_prefix(TOOLCHAIN));
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let counts = lines.map(|line| {
            let (name, count) = line.split_once(' ')?;
            Some((name.to_owned(), count.trim().parse().ok()?))
        });
        let counts: Option<Vec<_>> = counts.collect();
        Ok(Self {
            toolchain: toolchain.ok_or("the baseline has no toolchain")?.to_owned(),
            counts: counts.ok_or("the baseline has a line without a count")?,
        })
    }

    fn count(&self, name: &str) -> Option<f64> {
        let found = self.counts.iter().find(|(other, _)| other == name);
        found.map(|(_, count)| *count)
    }

    /// The workloads that take too much more than then, or of which it is not known.
    fn grown_since(&self, before: &Self) -> Vec<&str> {
        let has_grown = |name: &str, now: f64| {
            let before = before.count(name);
            before.is_none_or(|before| change(now, before) > TOLERATED)
        };
        let grown = self.counts.iter();
        let grown = grown.filter(|(name, count)| has_grown(name, *count));
        grown.map(|(name, _)| name.as_str()).collect()
    }
}

/// As it stands in the file.
impl fmt::Display for Baseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "# Instructions of a repetition, by `cargo xtask instructions --record`."
        )?;
        writeln!(f, "{TOOLCHAIN}{}", self.toolchain)?;
        for (name, count) in &self.counts {
            writeln!(f, "{name:16} {count:12.1}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Baseline, for_each, line, total};

    fn baseline(counts: &[(&str, f64)]) -> Baseline {
        Baseline {
            toolchain: "rustc 1.85.0 on a machine".into(),
            counts: counts
                .iter()
                .map(|(name, count)| ((*name).into(), *count))
                .collect(),
        }
    }

    #[test]
    fn the_total_is_what_callgrind_says_last() {
        let said = "==1== Events    : Ir\n==1== Collected : 1234567\n==1== \n";
        assert_eq!(total(said), Some(1_234_567));
        assert_eq!(total("==1== Collected : many"), None);
        assert_eq!(total("valgrind: no such program"), None);
    }

    #[test]
    fn what_comes_before_the_first_repetition_does_not_count() {
        let count = for_each(10, |times| Ok(5_000 + 25 * u64::from(times)));
        assert_eq!(count.expect("it is counted"), 25.0);
        assert!(for_each(10, |times| Ok(5_000 - u64::from(times))).is_err());
    }

    #[test]
    fn a_baseline_is_read_as_it_was_written() {
        let baseline = baseline(&[("commit_1", 24000.5), ("tick_idle", 10.1)]);
        let read = Baseline::read(&baseline.to_string()).expect("it was written");
        assert_eq!(read, baseline);
        assert!(Baseline::read("commit_1 24000\n").is_err());
        assert!(Baseline::read(&format!("{baseline}commit_64\n")).is_err());
    }

    #[test]
    fn only_what_has_grown_by_more_than_a_little_is_told() {
        let before = baseline(&[("less", 100.0), ("little", 100.0), ("much", 100.0)]);
        let now = baseline(&[
            ("less", 50.0),
            ("little", 102.9),
            ("much", 103.1),
            ("unknown", 1.0),
        ]);
        assert_eq!(now.grown_since(&before), ["much", "unknown"]);
    }

    #[test]
    fn a_line_tells_the_change() {
        let words = |line: String| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let changed = line("commit_1", 101.0, Some(100.0));
        assert_eq!(words(changed), "commit_1 101.0 100.0 +1.0 %");
        assert_eq!(words(line("commit_1", 101.0, None)), "commit_1 101.0 - -");
    }
}
