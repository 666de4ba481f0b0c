//! Whether the checkers bite: embedders that break one durability rule each must be found out.
//!
//! Owns the faults of B01, B02, B42 and E1: the core is correct here, the embedder is not. Each
//! fault is shown twice: to all watchers, and to those alone that look at what comes of it in the
//! end.

use almadia_harness::{Checks, EmbedderFault, Profile, Simulated, ViolationKind, record, run};

const SEEDS: u64 = 150;

/// A run with many crashes and elections, and slow disks.
fn profile(fault: EmbedderFault) -> Profile {
    Profile {
        campaign: 60,
        compact: 0,
        steps: 400,
        ..Profile::faulty("3 nodes, a faulty embedder", 3)
            .asynchronous()
            .crashing()
            .bare()
            .with_fault(fault)
    }
}

/// The violations that the watchers find in all seeds.
fn violations(profile: &Profile) -> Vec<ViolationKind> {
    violations_in(SEEDS, profile)
}

fn violations_in(seeds: u64, profile: &Profile) -> Vec<ViolationKind> {
    let runs = (0..seeds).map(|seed| run(seed, profile));
    runs.filter_map(|result| result.err().map(|violation| violation.kind))
        .collect()
}

fn report(fault: EmbedderFault, found: &[ViolationKind]) {
    println!("{fault:?}: found in {} of {SEEDS} seeds", found.len());
    for kind in found.iter().take(5) {
        println!("  {kind}");
    }
}

/// Whether a violation is one of Raft's properties, and no mere refusal or durability rule.
fn is_of_raft(kind: &ViolationKind) -> bool {
    matches!(
        kind,
        ViolationKind::TwoLeaders { .. }
            | ViolationKind::TwoEntriesAtOnePlace { .. }
            | ViolationKind::LogsDoNotMatch { .. }
            | ViolationKind::LeaderLacksCommitted { .. }
            | ViolationKind::CommittedDiffers { .. }
            | ViolationKind::StatesDiffer { .. }
            | ViolationKind::VotedTwice { .. }
    )
}

const CONSEQUENCES_ONLY: Checks = Checks {
    durability: false,
    refusals: false,
};

#[test]
fn a_correct_embedder_is_not_accused() {
    let found = violations(&profile(EmbedderFault::None));
    assert_eq!(found, []);
}

#[test]
fn b02_e1_an_acknowledgement_before_the_write_is_durable_is_found() {
    let fault = EmbedderFault::AcknowledgesEarly;
    let found = violations(&profile(fault));
    report(fault, &found);
    let early = |kind: &&ViolationKind| matches!(kind, ViolationKind::PromisedTooEarly { .. });
    assert!(found.iter().filter(early).count() as u64 > SEEDS * 9 / 10);
}

#[test]
fn b02_e1_an_acknowledgement_before_the_write_is_durable_breaks_raft() {
    let fault = EmbedderFault::AcknowledgesEarly;
    let found = violations(&Profile {
        checks: CONSEQUENCES_ONLY,
        ..profile(fault)
    });
    report(fault, &found);
    assert!(found.iter().filter(|kind| is_of_raft(kind)).count() > 10);
}

#[test]
fn b01_a_vote_that_is_not_persisted_is_found() {
    let fault = EmbedderFault::ForgetsVote;
    let found = violations(&profile(fault));
    report(fault, &found);
    let early = |kind: &&ViolationKind| matches!(kind, ViolationKind::PromisedTooEarly { .. });
    assert!(found.iter().filter(early).count() as u64 > SEEDS * 9 / 10);
}

#[test]
fn b01_a_vote_that_is_not_persisted_breaks_raft() {
    let fault = EmbedderFault::ForgetsVote;
    // It takes luck: the vote must be given, lost in a crash and asked for again.
    let profile = Profile {
        checks: CONSEQUENCES_ONLY,
        ..profile(fault)
    };
    let found = violations_in(SEEDS * 6, &profile);
    report(fault, &found);
    let twice = |kind: &&ViolationKind| {
        matches!(
            kind,
            ViolationKind::VotedTwice { .. } | ViolationKind::TwoLeaders { .. }
        )
    };
    assert!(found.iter().filter(twice).count() > 2);
}

#[test]
fn b42_entries_that_the_disk_loses_are_found() {
    let fault = EmbedderFault::LosesEntries;
    for checks in [Checks::default(), CONSEQUENCES_ONLY] {
        let found = violations(&Profile {
            checks,
            ..profile(fault)
        });
        report(fault, &found);
        assert!(found.iter().filter(|kind| is_of_raft(kind)).count() > 10);
    }
}

/// A failing run is made short, and still fails in the same way.
#[test]
fn a_failing_run_is_made_short() {
    let profile = Profile {
        checks: CONSEQUENCES_ONLY,
        ..profile(EmbedderFault::AcknowledgesEarly)
    };
    let mut shortened = 0;
    for seed in 0..SEEDS {
        let (scenario, result) = record::<Simulated>(seed, &profile);
        let Err(violation) = result else { continue };
        let (short, still) = scenario.shrink::<Simulated>().expect("it fails");
        println!(
            "seed {seed}: {} nodes, {} actions become {} nodes, {} actions: {still}",
            scenario.machines.len(),
            scenario.actions.len(),
            short.machines.len(),
            short.actions.len()
        );
        assert_eq!(short.play(), Err(still.clone()));
        assert_eq!(
            std::mem::discriminant(&still.kind),
            std::mem::discriminant(&violation.kind)
        );
        assert!(short.actions.len() < 200, "{:#?}", short.actions);
        shortened += 1;
        if shortened == 3 {
            return;
        }
    }
    panic!("three of {SEEDS} seeds should fail");
}
