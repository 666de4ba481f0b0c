//! Stores with one bug each, and the case and the line of the contract by which each is caught.
//!
//! Owns the table. Must not know how the suite finds them.

use std::fmt::Debug;

use almadia_harness::storage::{Clause, Directory, Failures, Report, SimDisk, Suite};

use crate::file_store::{Bug, FileSubject};
use crate::lies::{Lie, Lying};

/// The seeds of random cases are few, so that the table runs in seconds.
const SUITE: Suite = {
    let mut suite = Suite::new();
    suite.sequences = 3;
    suite
};

/// The functional cases find this, in this case and because of this line.
#[track_caller]
fn lie_is_found_by(case: &str, clause: Clause, lie: Lie) {
    is_among(SUITE.functional(&Lying(lie)), &[case], clause, lie);
}

#[track_caller]
fn is_found_by(case: &str, clause: Clause, bug: Bug) {
    let subject = FileSubject::<SimDisk>::with(bug);
    is_among(SUITE.functional(&subject), &[case], clause, bug);
}

#[track_caller]
fn crash_is_found_by(cases: &[&str], clause: Clause, bug: Bug) {
    let subject = FileSubject::<SimDisk>::with(bug);
    is_among(SUITE.crashes(&subject), cases, clause, bug);
}

#[track_caller]
fn error_is_found_by(case: &str, clause: Clause, bug: Bug) {
    let subject = FileSubject::<SimDisk>::with(bug);
    is_among(SUITE.errors(&subject), &[case], clause, bug);
}

#[track_caller]
fn is_among(result: Result<Report, Failures>, cases: &[&str], clause: Clause, bug: impl Debug) {
    let failures = result.expect_err(&format!("{bug:?} is not found"));
    let Some(failure) = cases.iter().find_map(|case| failures.of(case)) else {
        panic!("{bug:?} is not found by {cases:?}, but by others: {failures}");
    };
    println!("{bug:?}: {failure}\n");
    assert_eq!(failure.clause, clause, "{bug:?}: {failure}");
}

#[test]
fn wrong_bounds_and_terms() {
    lie_is_found_by("empty_log", Clause::FirstIndex, Lie::FirstIndexOneTooLate);
    lie_is_found_by(
        "several_writes",
        Clause::LastIndex,
        Lie::LastIndexOneTooEarly,
    );
    lie_is_found_by(
        "compaction_of_all",
        Clause::EmptyLog,
        Lie::EmptyLogEndsAtZero,
    );
    lie_is_found_by("compaction", Clause::Term, Lie::TermZeroBeforeFirst);
    lie_is_found_by("compaction", Clause::Term, Lie::NoTermBeforeFirst);
    lie_is_found_by(
        "compaction",
        Clause::TermCompacted,
        Lie::CompactedTermIsUnavailable,
    );
    lie_is_found_by(
        "empty_log",
        Clause::TermUnavailable,
        Lie::TermBeyondEndIsCompacted,
    );
    is_found_by("large_indexes", Clause::Term, Bug::IndexesOf32Bits);
}

#[test]
fn wrong_entries() {
    lie_is_found_by("max_bytes", Clause::MaxBytes, Lie::IgnoresMaxBytes);
    lie_is_found_by("max_bytes", Clause::MaxBytes, Lie::OneEntryBeyondMaxBytes);
    lie_is_found_by("max_bytes", Clause::Entries, Lie::EmptyAnswer);
    lie_is_found_by("several_writes", Clause::NoHole, Lie::SkipsFirstEntry);
    lie_is_found_by(
        "compaction",
        Clause::EntriesCompacted,
        Lie::CompactedEntriesAreUnavailable,
    );
    lie_is_found_by("empty_log", Clause::NoPanic, Lie::PanicsBeyondEnd);
    lie_is_found_by("empty_log", Clause::OnlyTheEmbedder, Lie::InventsEntries);
    is_found_by(
        "empty_payloads",
        Clause::ReflectsWrites,
        Bug::LosesEmptyPayloads,
    );
    is_found_by("empty_payloads", Clause::ReflectsWrites, Bug::LosesContexts);
    is_found_by(
        "membership_changes",
        Clause::ReflectsWrites,
        Bug::LosesChangeForms,
    );
}

#[test]
fn wrong_writes() {
    is_found_by(
        "conflicting_suffix",
        Clause::Replaces,
        Bug::KeepsConflictingSuffix,
    );
    is_found_by("several_runs", Clause::LastIndex, Bug::WritesFirstRunOnly);
    is_found_by("hard_state", Clause::HardState, Bug::ForgetsVote);
    is_found_by("hard_state_alone", Clause::MustSync, Bug::StaleHardState);
    is_found_by(
        "hard_state",
        Clause::HardState,
        Bug::HardStateForgottenByEmptyWrite,
    );
}

#[test]
fn wrong_snapshots_and_compactions() {
    lie_is_found_by("snapshot", Clause::Snapshot, Lie::OldSnapshot);
    lie_is_found_by(
        "snapshot",
        Clause::SnapshotUnavailable,
        Lie::NoSnapshotIsAnError,
    );
    lie_is_found_by(
        "node_of_three",
        Clause::ReflectsWrites,
        Lie::SnapshotForOnePeerOnly,
    );
    lie_is_found_by(
        "snapshot_membership",
        Clause::SnapshotMembership,
        Lie::SnapshotLosesMembership,
    );
    lie_is_found_by(
        "snapshot_membership",
        Clause::ConfState,
        Lie::StartsWithFirstMembers,
    );
    is_found_by(
        "install_over_longer_log",
        Clause::Installs,
        Bug::InstallKeepsLog,
    );
    is_found_by(
        "install_in_empty_log",
        Clause::Snapshot,
        Bug::InstallForgetsSnapshot,
    );
    is_found_by(
        "compaction",
        Clause::Compaction,
        Bug::CompactionTakesOneMore,
    );
    is_found_by(
        "compaction_beyond_snapshot",
        Clause::Compaction,
        Bug::CompactsBeyondSnapshot,
    );
}

/// A bug may show at the first crash, or when the store goes on after it.
const CRASHES: [&str; 2] = ["crash", "write_after_crash"];

#[test]
fn wrong_after_a_crash() {
    crash_is_found_by(&CRASHES, Clause::Atomic, Bug::TwoRecordsForOneWrite);
    crash_is_found_by(&CRASHES, Clause::MustSync, Bug::NoSync);
    crash_is_found_by(&CRASHES, Clause::MustSync, Bug::SyncsFirstOfManyOnly);
    crash_is_found_by(&CRASHES, Clause::Atomic, Bug::NoChecksum);
    crash_is_found_by(
        &["write_after_crash"],
        Clause::MustSync,
        Bug::AppendsBehindGarbage,
    );
    crash_is_found_by(
        &["power_loss_after_opening"],
        Clause::DurableAtStart,
        Bug::NoSyncAtOpening,
    );
    let opening = ["crash_while_opening"];
    crash_is_found_by(&opening, Clause::MustSync, Bug::OpensInPlace);
    let node = ["node_after_crash"];
    let lie = Lie::StateIsToldOnce;
    is_among(SUITE.crashes(&Lying(lie)), &node, Clause::Starts, lie);
    crash_is_found_by(&CRASHES, Clause::MustSync, Bug::NoDirectorySync);
    crash_is_found_by(&CRASHES, Clause::MustSync, Bug::NoSyncBeforeRename);
    crash_is_found_by(&CRASHES, Clause::MustSync, Bug::CompactsInPlace);
}

#[test]
fn wrong_after_an_error() {
    let reads = "read_errors_of_the_place";
    error_is_found_by(reads, Clause::Fails, Bug::ReadErrorIsCompacted);
    error_is_found_by(reads, Clause::Fails, Bug::ReadErrorIsEmptyAnswer);
    error_is_found_by(reads, Clause::Fails, Bug::ReadErrorEndsTheLog);
    error_is_found_by(reads, Clause::Fails, Bug::ReadErrorIsANewStore);
    let node = "read_errors_of_a_node";
    error_is_found_by(node, Clause::HardState, Bug::ForgetsVote);
    let writes = "write_errors_of_the_place";
    error_is_found_by(writes, Clause::MustSync, Bug::SwallowsSyncErrors);
}

/// A random sequence that fails is made as short as it can be, and its seed finds it again.
#[test]
fn a_failing_sequence_is_made_short() {
    let subject = FileSubject::<SimDisk>::with(Bug::KeepsConflictingSuffix);
    let find = |first_seed, sequences| {
        let suite = Suite {
            first_seed,
            sequences,
            ..Suite::default()
        };
        let failures = suite.random(&subject).expect_err("it fails");
        failures
            .of("random_sequence")
            .expect("in this case")
            .clone()
    };
    let failure = find(0, 20);
    println!("{failure}");
    assert_eq!(failure.clause, Clause::Replaces);
    let writes: usize = failure
        .steps
        .iter()
        .map(|step| step.matches("write ").count())
        .sum();
    assert!(
        writes <= 3,
        "one that is replaced, and few others: {failure}"
    );
    let seed = failure.seed.expect("a random case");
    assert_eq!(find(seed, 1), failure);
}

/// On real files a crash loses what the store says that it has not synced.
#[test]
fn wrong_on_real_files() {
    for (bug, clause, cases) in [
        (Bug::NoSync, Clause::MustSync, CRASHES),
        (Bug::AppendsBehindGarbage, Clause::MustSync, CRASHES),
    ] {
        let subject = FileSubject::<Directory>::with(bug);
        is_among(SUITE.crashes(&subject), &cases, clause, bug);
    }
    let subject = FileSubject::<Directory>::with(Bug::ReadErrorEndsTheLog);
    let cases = ["read_errors_of_the_place"];
    is_among(SUITE.errors(&subject), &cases, Clause::Fails, subject.bug);
}
