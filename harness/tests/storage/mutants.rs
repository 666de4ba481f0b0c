//! Stores with one bug each, and the case and the line of the contract by which each is caught.
//!
//! Owns the table. Must not know how the suite finds them.

use almadia_harness::storage::{Clause, Failures, Report, SimDisk, Suite};

use crate::file_store::{Bug, FileSubject};

/// The seeds of random cases are few, so that the table runs in seconds.
const SUITE: Suite = {
    let mut suite = Suite::new();
    suite.sequences = 3;
    suite
};

/// The functional cases find this, in this case and because of this line.
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
fn is_among(result: Result<Report, Failures>, cases: &[&str], clause: Clause, bug: Bug) {
    let failures = result.expect_err(&format!("{bug:?} is not found"));
    let Some(failure) = cases.iter().find_map(|case| failures.of(case)) else {
        panic!("{bug:?} is not found by {cases:?}, but by others: {failures}");
    };
    println!("{bug:?}: {failure}\n");
    assert_eq!(failure.clause, clause, "{bug:?}: {failure}");
}

#[test]
fn wrong_bounds_and_terms() {
    is_found_by("empty_log", Clause::FirstIndex, Bug::FirstIndexOneTooLate);
    is_found_by(
        "several_writes",
        Clause::LastIndex,
        Bug::LastIndexOneTooEarly,
    );
    is_found_by(
        "compaction_of_all",
        Clause::EmptyLog,
        Bug::EmptyLogEndsAtZero,
    );
    is_found_by("compaction", Clause::Term, Bug::TermZeroBeforeFirst);
    is_found_by("compaction", Clause::Term, Bug::NoTermBeforeFirst);
    is_found_by(
        "compaction",
        Clause::TermCompacted,
        Bug::CompactedTermIsUnavailable,
    );
    is_found_by(
        "empty_log",
        Clause::TermUnavailable,
        Bug::TermBeyondEndIsCompacted,
    );
    is_found_by("large_indexes", Clause::Term, Bug::IndexesOf32Bits);
}

#[test]
fn wrong_entries() {
    is_found_by("max_bytes", Clause::MaxBytes, Bug::IgnoresMaxBytes);
    is_found_by("max_bytes", Clause::MaxBytes, Bug::OneEntryBeyondMaxBytes);
    is_found_by("max_bytes", Clause::Entries, Bug::EmptyAnswer);
    is_found_by("several_writes", Clause::NoHole, Bug::SkipsFirstEntry);
    is_found_by(
        "compaction",
        Clause::EntriesCompacted,
        Bug::CompactedEntriesAreUnavailable,
    );
    is_found_by("empty_log", Clause::NoPanic, Bug::PanicsBeyondEnd);
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
    is_found_by("snapshot", Clause::Snapshot, Bug::OldSnapshot);
    is_found_by(
        "snapshot",
        Clause::SnapshotUnavailable,
        Bug::NoSnapshotIsAnError,
    );
    is_found_by(
        "snapshot_membership",
        Clause::SnapshotMembership,
        Bug::SnapshotLosesMembership,
    );
    is_found_by(
        "snapshot_membership",
        Clause::ConfState,
        Bug::StartsWithFirstMembers,
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
    let writes = "write_errors_of_the_place";
    error_is_found_by(writes, Clause::MustSync, Bug::SwallowsSyncErrors);
}
