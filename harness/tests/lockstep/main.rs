//! Lock-step with raft-rs 0.7.0: the same inputs to one node of each, and the same outputs.
//!
//! Owns the size of the runs and their report. Election timeouts are pinned, so both nodes do
//! everything that follows from their inputs alone. What both send is compared after it was written
//! and read, in the form of its bytes but for appends, which are compared as runs of entries
//! (`messages.rs`); what they write, apply, answer and are is compared after every input. A
//! difference is a decision, which the table in `rules.rs` names, or it fails the test with the
//! seed and the inputs that have led to it. Read `pair.rs` first.
//!
//! `ALMADIA_LOCKSTEP_SEEDS` sets the number of cases, `ALMADIA_LOCKSTEP_FIRST` the first. What is
//! left out stands in `docs/assurance.md`. `cargo xtask lockstep` plants bugs beside the rules.

mod cluster;
mod disk;
mod follow;
mod give;
mod messages;
mod ours;
mod pair;
mod peers;
mod rare;
mod reads;
mod rules;
mod theirs;
mod votes;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::cluster::Case;
use crate::pair::Stop;
use crate::rules::{Counts, RULES, Rule};

/// How many cases the whole test runs.
const SEEDS: u64 = 200;
/// In so many cases each rule applies that has no case of its own in `rare.rs`, whatever the seeds.
const MANY: u64 = 2000;
/// What fewer cases may not meet: it takes a log that is compacted, no snapshot for a peer, and a
/// late rejection.
const RARE: Rule = Rule::HintBeforeLog;
/// How many inputs a case has, if it is not ended before.
const STEPS: u64 = 600;

/// What all cases have come to.
#[derive(Default)]
struct Summary {
    rules: Counts,
    steps: u64,
    steps_as_leader: u64,
    lengths: Vec<u64>,
    differences: Vec<String>,
}

impl Summary {
    fn add(&mut self, seed: u64) {
        let Ok(case) = catch_unwind(AssertUnwindSafe(|| cluster::run(seed, STEPS))) else {
            let panicked = format!("seed {seed}: a node has panicked");
            self.differences.push(panicked);
            return;
        };
        self.steps += case.steps;
        self.steps_as_leader += case.steps_as_leader;
        self.rules += &case.rules;
        self.lengths.push(case.steps);
        match &case.stop {
            Some(Stop::Difference(difference)) => {
                self.differences.push(told(seed, difference, &case));
            }
            Some(Stop::Parted(rule)) => self.rules.apply(*rule),
            None => {}
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rules,
            steps,
            steps_as_leader,
            lengths,
            differences,
        } = self;
        let mut lengths = lengths.clone();
        lengths.sort_unstable();
        writeln!(
            f,
            "{steps} steps compared in {} cases, {steps_as_leader} of them as leader, {} \
             unexplained differences",
            lengths.len(),
            differences.len()
        )?;
        for percent in [1, 5, 10, 20, 50] {
            if let Some(length) = lengths.get(lengths.len() * percent / 100) {
                writeln!(f, "{percent}% of the cases end within {length} steps")?;
            }
        }
        write!(f, "{rules}")
    }
}

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn every_difference_to_raft_rs_is_a_decision() {
    let first = number_from("ALMADIA_LOCKSTEP_FIRST").unwrap_or(0);
    let asked = number_from("ALMADIA_LOCKSTEP_SEEDS");
    let seeds = asked.unwrap_or(SEEDS);
    let mut summary = Summary::default();
    for seed in first..first + seeds {
        summary.add(seed);
    }
    println!("{summary}");
    let count = summary.differences.len();
    summary.differences.truncate(12);
    assert!(
        summary.differences.is_empty(),
        "{count} unexplained differences:\n{}",
        summary.differences.join("\n")
    );
    for (rule, id, _) in RULES {
        let is_many = seeds >= MANY || (asked.is_none() && *rule != RARE);
        let is_expected = is_many && !rare::has(*rule);
        assert!(
            !is_expected || summary.rules.of(*rule) > 0,
            "{id} {rule:?} never applied: is it still true?"
        );
    }
}

#[test]
fn rare_rules_apply_in_cases_by_hand() {
    rare::run();
}

#[test]
fn the_deviations_are_these() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/deviations.md");
    let page = std::fs::read_to_string(path).expect("the page can be read");
    let listed: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("* L"))
        .map(|line| line.split(':').next().unwrap_or_default())
        .collect();
    let named: Vec<&str> = RULES
        .iter()
        .map(|(_, id, _)| id.trim_start_matches('L'))
        .collect();
    assert_eq!(listed, named, "docs/deviations.md lists other differences");
}

/// A difference, with the inputs that have led to it.
fn told(seed: u64, difference: &str, case: &Case) -> String {
    let start = case.trace.len().saturating_sub(40);
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
