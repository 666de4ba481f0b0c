//! Random runs in bulk: every seed keeps every promise of Raft and comes back afterwards.
//!
//! Owns the choice of profiles and the least that must have happened, so that runs which do nothing
//! fail.

use almadia_harness::recorder::{End, Options, Recording, Replay, StoredEntries};
use almadia_harness::{Life, Profile, Simulated, Stats, record, run};

/// How many seeds the whole test runs. `ALMADIA_SEEDS` sets another number, for long runs.
const SEEDS: u64 = 2000;

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn every_seed_keeps_every_promise_and_recovers() {
    let first = number_from("ALMADIA_FIRST_SEED").unwrap_or(0);
    let seeds = number_from("ALMADIA_SEEDS").unwrap_or(SEEDS);
    let mut total = Stats::default();
    let mut violations = Vec::new();
    for seed in first..first + seeds {
        let profile = Profile::of_seed(seed);
        match run(seed, &profile) {
            Ok(stats) => total += stats,
            Err(violation) => violations.push(format!("{}: {violation}", profile.name)),
        }
    }
    println!("{seeds} seeds, {total}");
    let count = violations.len();
    violations.truncate(12);
    assert!(
        violations.is_empty(),
        "{count} violations:\n{}",
        violations.join("\n")
    );
    assert!(total.elections > 3 * seeds, "too few elections");
    assert!(total.commits > 40 * seeds, "too few commits");
    assert!(total.snapshots > seeds / 2, "too few snapshots");
    assert!(total.changes > seeds, "too few membership changes");
    assert!(total.crashes > 2 * seeds, "too few crashes");
    assert!(total.forwarded > seeds, "too few forwarded proposals");
    assert!(total.group_commits > seeds / 2, "too few group commits");
}

#[test]
fn equal_seeds_make_equal_runs() {
    for seed in 0..32 {
        let profile = Profile::of_seed(seed);
        assert_eq!(run(seed, &profile), run(seed, &profile), "seed {seed}");
    }
    for seed in 0..32 {
        let (scenario, stats) = record::<Simulated>(seed, &Profile::of_seed(seed));
        assert_eq!(scenario.play(), stats, "seed {seed}");
    }
    let [one, other] =
        [4, 20].map(|seed| run(seed, &Profile::of_seed(seed)).map(|stats| stats.trace));
    assert_ne!(one, other);
}

/// Each node is recorded from its start to its crash, by half of the seeds with entries that are
/// only named.
#[test]
fn every_life_of_every_node_can_be_replayed() {
    const SEEDS: u64 = 90;
    let (mut lives, mut steps, mut bytes) = (0, 0, 0);
    for seed in 0..SEEDS {
        let stored_entries =
            [StoredEntries::Whole, StoredEntries::Named][usize::from(seed % 4 < 2)];
        let options = Options {
            stored_entries,
            hash_every: 16,
            ..Options::default()
        };
        let (scenario, unrecorded) = record::<Simulated>(seed, &Profile::of_seed(seed));
        let (recorded, nodes) = scenario.play_recorded::<Simulated>(options);
        assert_eq!(recorded, unrecorded, "recording changes nothing");
        for life in nodes {
            lives += 1;
            bytes += life.recording.len();
            steps += replay(life, seed);
        }
    }
    println!("{lives} lives, {steps} steps, {bytes} bytes");
    assert!(lives > 6 * SEEDS, "too few lives");
    assert!(steps > 1000 * SEEDS, "too few steps");
}

/// Makes all steps of a recording again, and compares the node that comes of it.
fn replay(life: Life, seed: u64) -> u64 {
    let recording = Recording::open(std::io::Cursor::new(life.recording));
    let mut replay = Replay::new(recording.expect("a recording"));
    let mut steps = 0;
    loop {
        match replay.next_step() {
            Ok(Some(_)) => steps += 1,
            Ok(None) => break,
            Err(error) => panic!("seed {seed}, node {}: {error}", life.node.id()),
        }
    }
    assert_eq!(replay.node(), Some(&life.node), "seed {seed}");
    assert_eq!(replay.end(), Some(End::Closed));
    steps
}
