//! The storage suite: stores that are right pass it, each store with a bug is caught by the case
//! that is there for it, and the wrapper that watches at run time says what it saw.
//!
//! Owns the choice of stores, and the least that must have been done to them. The suite itself is
//! the library's.

mod checked;
mod codec;
mod disk;
mod file_store;
mod files;
mod habits;
mod lies;
mod mutants;

use almadia::MemStorage;
use almadia_harness::storage::{
    CheckedStorage, Clause, Directory, FailingReads, Faults, MemSubject, Report, Shared, SimDisk,
    SimFile, Subject, Suite,
};
use file_store::{Bug, FileSubject};

fn passes(what: &str, suite: Suite, subject: &impl Subject) -> Report {
    match suite.run_all(subject) {
        Ok(report) => {
            println!("{what}: {report}");
            report
        }
        Err(failures) => panic!("{what}: {failures}"),
    }
}

/// A store in memory has no disk that could fail, and crashes between actions only.
#[test]
fn a_store_in_memory_passes() {
    let report = passes("MemStorage", Suite::default(), &MemSubject);
    assert_eq!(report.cases, 30);
    assert_eq!(report.sequences, 2 * Suite::default().sequences);
    assert!(report.crashes > 500 && report.nodes > 200);
    assert!(report.failed_reads > 10, "those of nodes");
    assert_eq!((report.crashes_midway, report.failed_writes), (0, 0));
}

#[test]
fn a_store_on_a_simulated_disk_passes() {
    let subject = FileSubject::<SimDisk>::with(Bug::None);
    let report = passes("on a simulated disk", Suite::default(), &subject);
    assert!(report.crashes_midway > 5000);
    assert!(report.failed_reads > 100 && report.failed_writes > 50);
}

#[test]
fn a_store_on_real_files_passes() {
    let suite = Suite {
        sequences: 4,
        ..Suite::default()
    };
    let subject = FileSubject::<Directory>::with(Bug::None);
    let report = passes("on real files", suite, &subject);
    assert!(report.crashes > 150);
    assert!(report.failed_reads > 100 && report.failed_writes > 50);
}

/// A store under test may have threads of its own.
#[test]
fn what_a_store_is_given_can_be_shared_by_threads() {
    fn is_shared<T: Send + Sync>() {}
    is_shared::<(SimDisk, SimFile, Directory, Faults, Shared<u64>)>();
    is_shared::<(CheckedStorage<MemStorage>, FailingReads<MemStorage>)>();
}

/// The words of every clause stand in the documentation that it names.
#[test]
fn every_clause_is_a_line_of_the_contract() {
    let sources = [
        include_str!("../../../src/storage.rs"),
        include_str!("../../../src/ready.rs"),
    ];
    let documentation: Vec<String> = sources.iter().map(|source| plain_text(source)).collect();
    for clause in Clause::ALL {
        let words = clause.words();
        let stands = documentation.iter().any(|text| text.contains(words));
        assert!(stands, "{clause}");
    }
}

/// The documentation in a source: its words, without links and marks.
fn plain_text(source: &str) -> String {
    let lines = source
        .lines()
        .filter_map(|line| line.trim().strip_prefix("///"));
    let words: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
    let mut text = words.join(" ");
    while let Some(start) = text.find("](") {
        let length = text[start..]
            .find(')')
            .map_or(text.len() - start, |end| end + 1);
        text.replace_range(start..start + length, "");
    }
    text.replace(['[', ']', '`'], "").replace("Self::", "")
}
