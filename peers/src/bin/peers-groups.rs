//! Many groups in one process: `cargo bench --bench peers -- groups`, at the root of the workspace.
//!
//! Prints what it costs to make 100,000 groups of three nodes, to elect all leaders, and to let time pass,
//! with almadia in three ways. `--groups N` takes another number. Each side has a process of its own, so that
//! none finds memory that another one has got from the system. What the groups hold is counted to the byte by
//! `peers-memory`.

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use almadia_peers::almadia_side::Almadia;
use almadia_peers::groups::{
    Clock, Cost, ELECTION, EachTick, HEARTBEAT, Host, NODES, ONE_IN, Wheel,
};
use almadia_peers::library::Library;
use almadia_peers::raft_rs_side::RaftRs;

/// Rounds that are measured: some heartbeat intervals.
const ROUNDS: usize = 100;

/// Rounds before them, in which groups may fall asleep.
const WARM_UP: usize = 30;

fn main() -> ExitCode {
    let (mut names, mut groups, mut side) = (Vec::new(), 100_000, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--groups" => {
                let number = arguments.next().and_then(|number| number.parse().ok());
                let Some(number) = number.filter(|number| *number > 0) else {
                    eprintln!("--groups takes a number above zero");
                    return ExitCode::FAILURE;
                };
                groups = number;
            }
            "--side" => side = arguments.next(),
            _ => names.push(argument),
        }
    }
    if !names.is_empty() && !names.iter().any(|wanted| "groups".starts_with(wanted)) {
        return ExitCode::SUCCESS;
    }
    match side.as_deref() {
        Some("raft-rs") => run_raft_rs(groups),
        Some(_) => run_almadia(groups),
        None => return run_both(groups),
    }
    ExitCode::SUCCESS
}

fn run_both(groups: usize) -> ExitCode {
    println!(
        "{groups} groups of {NODES} nodes, of which one in {ONE_IN} commits an entry in each round;"
    );
    println!(
        "a heartbeat every {HEARTBEAT} ticks, election timeouts from {ELECTION} to {} ticks",
        2 * ELECTION
    );
    for side in ["almadia", "raft-rs"] {
        let run = std::env::current_exe().and_then(|program| {
            Command::new(program)
                .args(["--groups", &groups.to_string(), "--side", side])
                .status()
        });
        if !run.is_ok_and(|status| status.success()) {
            eprintln!("{side} has failed");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn run_almadia(groups: usize) {
    let mut host = started::<Almadia>(groups, "almadia");
    print_head();
    rounds(&mut host, "each tick told", &mut EachTick);

    let mut wheel = Wheel::of(host.nodes_mut(), false);
    rounds(&mut host, "wheel", &mut wheel);
    wheel.catch_up(host.nodes_mut());

    let mut wheel = Wheel::of(host.nodes_mut(), true);
    rounds(&mut host, "wheel, sleep", &mut wheel);
    eprintln!("{} of {groups} groups sleep", wheel.asleep());
    assert_eq!(host.led(), groups, "every group keeps its leader");
}

fn run_raft_rs(groups: usize) {
    let mut host = started::<RaftRs>(groups, "raft-rs");
    print_head();
    rounds(&mut host, "each tick told", &mut EachTick);
    assert_eq!(host.led(), groups, "every group keeps its leader");
}

/// All nodes, made and led, and what that took.
fn started<L: Library>(groups: usize, name: &str) -> Host<L> {
    let before = resident();
    eprintln!("{name}: {groups} groups are made");
    let start = Instant::now();
    let mut host = Host::<L>::of(groups);
    let made = start.elapsed().as_secs_f64();
    eprintln!("{name}: leaders are elected");
    let start = Instant::now();
    let messages = host.elect();
    let elected = start.elapsed().as_secs_f64();
    println!();
    println!("{name}");
    println!("  {made:.2} s to make all nodes");
    println!("  {elected:.2} s to elect all leaders, {messages} messages");
    if let (Some(before), Some(after)) = (before, resident()) {
        let each = after.saturating_sub(before) / groups;
        println!("  {each} bytes of the process's memory for each group, logs included");
    }
    host.spread();
    host
}

/// What the process has in memory, in bytes, where the system tells it.
fn resident() -> Option<usize> {
    const PAGE: usize = 4096;
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: usize = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * PAGE)
}

fn print_head() {
    println!(
        "  {:16} {:>12} {:>12} {:>12} {:>12} {:>10} {:>10}",
        "a round", "ticks", "they cause", "entries", "all", "looked at", "messages"
    );
}

fn rounds<L: Library>(host: &mut Host<L>, title: &str, clock: &mut impl Clock<L>) {
    eprintln!("{title}: {WARM_UP} rounds, then {ROUNDS} that count");
    host.rounds(WARM_UP, clock);
    let cost = host.rounds(ROUNDS, clock);
    let Cost {
        ticks,
        caused,
        entries,
        looked_at,
        messages,
    } = cost;
    let [ticks, caused, entries, all] =
        [ticks, caused, entries, ticks + caused + entries].map(per_round);
    println!(
        "  {title:16} {ticks:>12} {caused:>12} {entries:>12} {all:>12} {:10} {:10}",
        looked_at / ROUNDS,
        messages / ROUNDS
    );
}

fn per_round(taken: Duration) -> String {
    format!("{:.3} ms", taken.as_secs_f64() * 1e3 / ROUNDS as f64)
}
