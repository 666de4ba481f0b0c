//! Lock-step with raft-rs 0.7.0: the same inputs to one node of each, and the same outputs.
//!
//! Owns the size of the runs and their report. Election timeouts are pinned, so both nodes do
//! everything that follows from their inputs alone. What both send is compared in the form of its
//! bytes on the wire; what they write, apply, answer and are is compared after every input. A
//! difference is a decision, which the table in `rules.rs` names, or it fails the test with the
//! seed and the inputs that have led to it. Read `pair.rs` first.
//!
//! `ALMADIA_LOCKSTEP_SEEDS` sets the number of cases, `ALMADIA_LOCKSTEP_FIRST` the first.

mod cluster;
mod disk;
mod follow;
mod give;
mod messages;
mod ours;
mod pair;
mod peers;
mod reads;
mod rules;
mod theirs;
mod votes;

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::cluster::Case;
use crate::pair::Stop;
use crate::rules::{Counts, RULES};

/// How many cases the whole test runs.
const SEEDS: u64 = 150;
/// How many inputs a case has, if it is not ended before.
const STEPS: u64 = 600;

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn every_difference_to_raft_rs_is_a_decision() {
    let first = number_from("ALMADIA_LOCKSTEP_FIRST").unwrap_or(0);
    let seeds = number_from("ALMADIA_LOCKSTEP_SEEDS").unwrap_or(SEEDS);
    let mut rules = Counts::default();
    let mut lengths = Vec::new();
    let (mut steps, mut as_leader) = (0, 0);
    let mut differences = Vec::new();
    for seed in first..first + seeds {
        let Ok(case) = catch_unwind(AssertUnwindSafe(|| cluster::run(seed, STEPS))) else {
            differences.push(format!("seed {seed}: a node has panicked"));
            continue;
        };
        steps += case.steps;
        as_leader += case.steps_as_leader;
        rules += &case.rules;
        match case.stop {
            Some(Stop::Difference(ref difference)) => {
                differences.push(told(seed, difference, &case));
            }
            Some(Stop::Parted(rule)) => {
                rules.apply(rule);
                lengths.push(case.steps);
            }
            None => lengths.push(case.steps),
        }
    }
    println!("{steps} steps compared in {seeds} cases, {as_leader} of them as leader");
    println!("{rules}");
    lengths.sort_unstable();
    for percent in [1, 5, 10, 25, 50] {
        let position = lengths.len() * percent / 100;
        if let Some(length) = lengths.get(position) {
            println!("{percent}% of the cases have at most {length} steps");
        }
    }
    let count = differences.len();
    differences.truncate(12);
    assert!(
        differences.is_empty(),
        "{count} unexplained differences:\n{}",
        differences.join("\n")
    );
    for (rule, id, _) in RULES {
        assert!(
            seeds < SEEDS || rules.of(*rule) > 0,
            "{id} {rule:?} never applied: is it still true?"
        );
    }
}

fn told(seed: u64, difference: &str, case: &Case) -> String {
    let start = case.trace.len().saturating_sub(60);
    let inputs: Vec<String> = case.trace[start..]
        .iter()
        .map(|input| format!("  {input:?}"))
        .collect();
    format!(
        "seed {seed}, {}\n{}\nafter step {}: {difference}",
        case.settings,
        inputs.join("\n"),
        case.steps
    )
}
