//! Random runs in bulk: every seed keeps every promise of Raft and comes back afterwards.
//!
//! Owns the choice of profiles and the least that must have happened, so that runs which do nothing
//! fail.

use almadia_harness::{Membership, Profile, Stats, run};

/// How many seeds the whole test runs. `ALMADIA_SEEDS` sets another number, for long runs.
const SEEDS: u64 = 2000;

/// Which profile a seed runs.
fn profile_of(seed: u64) -> Profile {
    match seed % 30 {
        0 => Profile::faulty("1 node", 1),
        1 => Profile::faulty("2 nodes", 2),
        2 => Profile::faulty("4 nodes", 4),
        3 => Profile::faulty("7 nodes", 7),
        4 | 5 => Profile::faulty("3 nodes, synchronous", 3).synchronous(),
        6 => Profile::faulty("3 nodes, asynchronous", 3).asynchronous(),
        7 => Profile::faulty("3 nodes, crashing", 3)
            .asynchronous()
            .crashing(),
        8 => Profile::faulty("3 nodes, compacting", 3).compacting(),
        9 => Profile::faulty("3 nodes, bare", 3).bare().crashing(),
        10 => Profile::faulty("5 nodes, asynchronous", 5).asynchronous(),
        11 => Profile::faulty("5 nodes, crashing", 5)
            .crashing()
            .compacting(),
        12 => Profile::faulty("3 nodes, one-step changes", 3)
            .changing(Membership::OneStep)
            .asynchronous(),
        13 => Profile::faulty("3 nodes, joint changes", 3).changing(Membership::Joint),
        14 => Profile::faulty("2 nodes, joint changes", 2)
            .changing(Membership::Joint)
            .asynchronous(),
        15 => Profile::faulty("3 nodes, changes and crashes", 3)
            .changing(Membership::Joint)
            .crashing(),
        16 => Profile::faulty("3 nodes, leases", 3).leasing(),
        17 => Profile::faulty("3 nodes, leases and crashes", 3)
            .crashing()
            .leasing(),
        18 => Profile::faulty("3 nodes, leases, slow", 3).leasing().slow(),
        19 => Profile::faulty("3 nodes, leases and changes", 3)
            .changing(Membership::Joint)
            .leasing(),
        20 => Profile::faulty("3 nodes, leases and transfers, slow", 3)
            .leasing()
            .slow()
            .transferring(),
        21 => Profile::faulty("4 nodes, transfers", 4).transferring(),
        22 => Profile::faulty("3 nodes, transfers and changes", 3)
            .changing(Membership::Joint)
            .transferring(),
        23 => Profile::faulty("3 nodes, reads", 3).reading(),
        24 => Profile::faulty("3 nodes, reads, bare", 3).bare().reading(),
        25 => Profile::faulty("3 nodes, unpersisted apply", 3)
            .asynchronous()
            .crashing()
            .applying_unpersisted(),
        26 => Profile::faulty("4 nodes, priorities", 4).prioritized(),
        27 => Profile::faulty("3 nodes, snapshot requests", 3).requesting_snapshots(),
        28 => Profile::faulty("5 nodes, leases", 5).leasing(),
        _ => Profile::faulty("3 nodes, reads and transfers, bare", 3)
            .bare()
            .transferring()
            .reading(),
    }
}

fn add(total: &mut Stats, stats: &Stats) {
    total.steps += stats.steps;
    total.elections += stats.elections;
    total.commits += stats.commits;
    total.applied += stats.applied;
    total.snapshots += stats.snapshots;
    total.changes += stats.changes;
    total.compactions += stats.compactions;
    total.crashes += stats.crashes;
    total.reads += stats.reads;
    total.lease_reads += stats.lease_reads;
    total.reads_dropped += stats.reads_dropped;
    total.transfers += stats.transfers;
    total.transfers_failed += stats.transfers_failed;
    total.snapshot_requests += stats.snapshot_requests;
    total.starts_ahead += stats.starts_ahead;
    total.delivered += stats.delivered;
    total.dropped += stats.dropped;
    total.recovery_ticks = total.recovery_ticks.max(stats.recovery_ticks);
}

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
        let profile = profile_of(seed);
        match run(seed, &profile) {
            Ok(stats) => add(&mut total, &stats),
            Err(violation) => violations.push(format!("{}: {violation}", profile.name)),
        }
    }
    println!(
        "{seeds} seeds, {} steps, {} elections, {} commits, {} snapshots installed, {} changes, \
         {} compactions, {} crashes, {} reads answered ({} by a lease), {} dropped, {} transfers, \
         {} failed, {} snapshots asked for, {} starts ahead of the log, {} messages delivered, \
         {} lost, recovery in {} ticks at most",
        total.steps,
        total.elections,
        total.commits,
        total.snapshots,
        total.changes,
        total.compactions,
        total.crashes,
        total.reads,
        total.lease_reads,
        total.reads_dropped,
        total.transfers,
        total.transfers_failed,
        total.snapshot_requests,
        total.starts_ahead,
        total.delivered,
        total.dropped,
        total.recovery_ticks,
    );
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
}

#[test]
fn equal_seeds_make_equal_runs() {
    for seed in 0..32 {
        let profile = profile_of(seed);
        assert_eq!(run(seed, &profile), run(seed, &profile), "seed {seed}");
    }
    let [one, other] = [4, 20].map(|seed| run(seed, &profile_of(seed)).map(|stats| stats.trace));
    assert_ne!(one, other);
}
