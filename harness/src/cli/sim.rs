//! `almadia-harness sim`: random runs in bulk.
//!
//! Owns the arguments and the report. The runs, their checks and their shortening are the
//! library's.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use almadia_harness::{Profile, Scenario, Simulated, Stats, Violation, record};

/// Makes random runs, one for each seed, and checks every step of them.
///
/// One seed decides everything: the cluster, its settings, what users ask for, what goes wrong and
/// when. A run that breaks a promise of Raft is made as short as can be, and a picture of it is
/// written, for `almadia-harness timeline`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How many runs.
    #[arg(long, value_name = "N")]
    seeds: u64,
    /// The first seed.
    #[arg(long, value_name = "S", default_value_t = 0)]
    from: u64,
    /// The steps of each phase of faults, in place of the profile's.
    #[arg(long, value_name = "K")]
    steps: Option<u64>,
    /// One profile for all seeds, in place of one after the other; `list` lists them.
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// Ends with the first failure, and does not make it short.
    #[arg(long)]
    quick: bool,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let known: Vec<Profile> = Profile::named()
        .into_iter()
        .chain(Profile::planted())
        .collect();
    let name = arguments.profile.as_deref();
    if name == Some("list") {
        println!("anything");
        known
            .iter()
            .for_each(|profile| println!("{}", profile.name));
        return ExitCode::SUCCESS;
    }
    let chosen = known.iter().find(|profile| Some(profile.name) == name);
    if let Some(name) = name.filter(|name| chosen.is_none() && *name != "anything") {
        eprintln!("error: there is no profile {name}; --profile list shows those that there are");
        return ExitCode::from(2);
    }
    let profile_of = |seed| match (name, chosen) {
        (None, _) => Profile::of_seed(seed),
        (Some(_), Some(chosen)) => *chosen,
        (Some(_), None) => Profile::anything(seed),
    };
    let started = Instant::now();
    let mut total = Stats::default();
    let mut failed = 0;
    for seed in arguments.from..arguments.from.saturating_add(arguments.seeds) {
        let mut profile = profile_of(seed);
        profile.steps = arguments.steps.unwrap_or(profile.steps);
        let (scenario, result) = record::<Simulated>(seed, &profile);
        match result {
            Ok(stats) => total += stats,
            Err(violation) if arguments.quick => {
                println!("{}: {violation}", profile.name);
                println!("{} passed, 1 failed", seed - arguments.from);
                return ExitCode::FAILURE;
            }
            Err(violation) => {
                failed += 1;
                report(&profile, &scenario, &violation);
            }
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    println!("{total}");
    // Nobody makes so many steps that a number of them is not exact.
    #[allow(clippy::cast_precision_loss, reason = "steps are counted in millions")]
    let rate = total.steps as f64 / 1e6 / seconds * 60.0;
    println!("{rate:.1} million steps a minute, all checks on");
    println!("{} passed, {failed} failed", arguments.seeds - failed);
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Tells what broke, in the run as it was and in the shortest one that breaks like it.
fn report(profile: &Profile, scenario: &Scenario, violation: &Violation) {
    println!("{}: {violation}", profile.name);
    let Some((short, still)) = scenario.shrink::<Simulated>() else {
        println!("  it does not fail again");
        return;
    };
    println!(
        "  {} nodes and {} actions become {} and {}: {}",
        scenario.machines.len(),
        scenario.actions.len(),
        short.machines.len(),
        short.actions.len(),
        still.kind
    );
    match write_trace(&short, profile.name) {
        Ok(path) => println!(
            "  almadia-harness timeline {0} -o {0}.html shows it",
            path.display()
        ),
        Err(error) => println!("  its trace cannot be written here: {error}"),
    }
}

/// Writes what happens in this scenario to a file of its own, and returns its name.
fn write_trace(scenario: &Scenario, name: &str) -> io::Result<PathBuf> {
    let path = PathBuf::from(format!("almadia-sim-{}.trace", scenario.seed));
    let (trace, _) = scenario.trace::<Simulated>(name);
    let trace = trace.ok_or_else(|| io::Error::other("nothing was recorded"))?;
    trace.write(BufWriter::new(File::create(&path)?))?;
    Ok(path)
}
