//! `almadia-harness sim`: random runs in bulk.
//!
//! Owns the arguments and the report. The runs, their checks and their shortening are the
//! library's.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::panic;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use almadia_harness::{Profile, Scenario, Simulated, Stats, Violation, record};

use super::NOTHING_DONE;

/// Makes random runs, one for each seed, and checks every step of them.
///
/// One seed decides everything: the cluster, its settings, what users ask for, what goes wrong and
/// when. A run that breaks a promise of Raft is made as short as can be; what happens in it is
/// written to a file, and to another one for a picture of it, for `almadia-harness timeline`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How many runs.
    #[arg(long, value_name = "N", required_unless_present = "list")]
    seeds: Option<u64>,
    /// The first seed.
    #[arg(long, value_name = "S", default_value_t = 0)]
    from: u64,
    /// The steps of each phase of faults, in place of the profile's.
    #[arg(long, value_name = "K")]
    steps: Option<u64>,
    /// One profile for all seeds, in place of one after the other; `--list` lists them.
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// Lists the profiles, and makes no run.
    #[arg(long)]
    list: bool,
    /// Ends with the first failure, and does not make it short.
    #[arg(long)]
    quick: bool,
    /// Counts failures of each kind, and makes none of them short.
    #[arg(long, conflicts_with = "quick")]
    tally: bool,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    super::reporting(|out| {
        if arguments.list {
            return list(out);
        }
        match profiles(arguments) {
            Ok(profile_of) => simulate(arguments, profile_of, out),
            Err(problem) => {
                eprintln!("error: {problem}");
                Ok(ExitCode::from(NOTHING_DONE))
            }
        }
    })
}

fn known() -> impl Iterator<Item = Profile> {
    let all = Profile::named().into_iter().chain(Profile::planted());
    #[cfg(feature = "raft-rs")]
    let all = all.chain(Profile::mixed()).chain(Profile::calibration());
    all
}

/// A profile that is another for each seed.
type Drawn = (&'static str, fn(u64) -> Profile);

fn drawn() -> impl Iterator<Item = Drawn> {
    let all: [Drawn; 1] = [("anything", Profile::anything)];
    let all = all.into_iter();
    #[cfg(feature = "raft-rs")]
    let all = {
        let mixed: [Drawn; 1] = [("mixed-anything", Profile::mixed_anything)];
        all.chain(mixed)
    };
    all
}

fn list(out: &mut dyn Write) -> io::Result<ExitCode> {
    for (name, _) in drawn() {
        writeln!(out, "{name}")?;
    }
    for profile in known() {
        writeln!(out, "{}", profile.name)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The profile of each seed, or why these runs cannot be made.
fn profiles(arguments: &Arguments) -> Result<impl Fn(u64) -> Profile, String> {
    let (seeds, from) = (arguments.seeds.unwrap_or(0), arguments.from);
    if from.checked_add(seeds.saturating_sub(1)).is_none() {
        return Err(format!("there are no {seeds} seeds from {from} on"));
    }
    let name = arguments.profile.as_deref();
    let chosen = known().find(|profile| Some(profile.name) == name);
    let drawn = drawn().find(|(drawn, _)| Some(*drawn) == name);
    if let Some(name) = name.filter(|_| chosen.is_none() && drawn.is_none()) {
        return Err(format!(
            "there is no profile {name}; --list shows those that there are"
        ));
    }
    let steps = arguments.steps;
    Ok(move |seed| {
        let profile = match (chosen, drawn) {
            (Some(chosen), _) => chosen,
            (None, Some((_, drawn))) => drawn(seed),
            (None, None) => Profile::of_seed(seed),
        };
        Profile {
            steps: steps.unwrap_or(profile.steps),
            ..profile
        }
    })
}

fn simulate(
    arguments: &Arguments,
    profile_of: impl Fn(u64) -> Profile,
    out: &mut dyn Write,
) -> io::Result<ExitCode> {
    let started = Instant::now();
    let mut total = Stats::default();
    let (mut passed, mut failed) = (0_u64, 0_u64);
    let mut tally = Tally::default();
    for run in 0..arguments.seeds.unwrap_or(0) {
        let seed = arguments.from + run;
        let profile = profile_of(seed);
        let (scenario, result) = record::<Simulated>(seed, &profile);
        let violation = match result {
            Ok(stats) => {
                total += stats;
                passed += 1;
                continue;
            }
            Err(violation) => violation,
        };
        failed += 1;
        if arguments.tally {
            tally.count(seed, &violation);
            continue;
        }
        writeln!(out, "{}: {violation}", profile.name)?;
        writeln!(
            out,
            "  again: {}",
            command(seed, profile.name, arguments.steps)
        )?;
        if arguments.quick {
            writeln!(out, "{passed} passed, 1 failed")?;
            return Ok(ExitCode::FAILURE);
        }
        quietly(|| report(&profile, &scenario, &violation, out))?;
    }
    tally.write(out)?;
    let seconds = started.elapsed().as_secs_f64();
    writeln!(out, "{total}")?;
    // Nobody makes so many steps that a number of them is not exact.
    #[allow(clippy::cast_precision_loss, reason = "steps are counted in millions")]
    let rate = total.steps as f64 / 1e6 / seconds * 60.0;
    writeln!(out, "{rate:.1} million steps a minute, all checks on")?;
    writeln!(out, "{passed} passed, {failed} failed")?;
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// How many runs have failed in one way, by what it says but for its numbers, and the first of them.
#[derive(Default)]
struct Tally(BTreeMap<String, (u64, u64)>);

impl Tally {
    fn count(&mut self, seed: u64, violation: &Violation) {
        const SAID: usize = 120;
        let said = violation.kind.to_string();
        let said = said.lines().next().unwrap_or_default();
        let said = said.chars().filter(|it| !it.is_ascii_digit());
        let (count, _) = self.0.entry(said.take(SAID).collect()).or_insert((0, seed));
        *count += 1;
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut kinds: Vec<_> = self.0.iter().collect();
        kinds.sort_by_key(|(_, (count, _))| u64::MAX - count);
        for (said, (count, first)) in kinds {
            writeln!(out, "{count:6}, first seed {first}: {said}")?;
        }
        Ok(())
    }
}

/// The command that makes one run again.
fn command(seed: u64, profile: &str, steps: Option<u64>) -> String {
    let steps = steps.map(|steps| format!(" --steps {steps}"));
    let steps = steps.unwrap_or_default();
    format!("almadia-harness sim --seeds 1 --from {seed} --profile {profile}{steps}")
}

/// Lets nothing be told of panics: what makes a run short plays it a thousand times, and each time
/// it may end in one.
fn quietly<T>(run: impl FnOnce() -> T) -> T {
    let told = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let result = run();
    panic::set_hook(told);
    result
}

/// Tells the shortest run that breaks like this one.
fn report(
    profile: &Profile,
    scenario: &Scenario,
    violation: &Violation,
    out: &mut dyn Write,
) -> io::Result<()> {
    let Some((short, still)) = scenario.shrink::<Simulated>() else {
        return writeln!(out, "  played again, it does not fail: {violation}");
    };
    writeln!(
        out,
        "  {} nodes and {} actions become {} and {}: {}",
        scenario.machines.len(),
        scenario.actions.len(),
        short.machines.len(),
        short.actions.len(),
        still.kind
    )?;
    let name = format!("almadia-sim-{}-{}", profile.name, scenario.seed);
    match write_scenario(&short, &name, profile.name) {
        Ok(()) => {
            writeln!(out, "  {name}.txt says what happens in it, and")?;
            writeln!(
                out,
                "  almadia-harness timeline {name}.trace -o {name}.html shows it"
            )
        }
        Err(error) => writeln!(out, "  it cannot be written here: {error}"),
    }
}

/// Writes what happens in this scenario to two files of its own, for people and for the picture.
fn write_scenario(scenario: &Scenario, name: &str, profile: &str) -> io::Result<()> {
    let path = |ending| PathBuf::from(format!("{name}.{ending}"));
    fs::write(path("txt"), format!("{scenario:#?}\n"))?;
    let (trace, _) = scenario.trace::<Simulated>(profile);
    let trace = trace.ok_or_else(|| io::Error::other("nothing was recorded"))?;
    trace.write(BufWriter::new(File::create(path("trace"))?))
}
