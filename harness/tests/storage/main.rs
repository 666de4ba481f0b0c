//! The storage suite: stores that are right pass it, each store with a bug is caught by the case
//! that is there for it, and the wrapper that watches at run time says what it saw.
//!
//! Owns the choice of stores. The suite itself is the library's.

mod codec;
mod file_store;
mod files;
mod mutants;

use almadia_harness::storage::{Directory, MemSubject, SimDisk, Suite};
use file_store::{Bug, FileSubject};

#[test]
fn a_store_in_memory_passes() {
    let report = Suite::default()
        .run_all(&MemSubject)
        .unwrap_or_else(|failures| panic!("{failures}"));
    println!("MemStorage: {report}");
}

#[test]
fn a_store_on_a_simulated_disk_passes() {
    let subject = FileSubject::<SimDisk>::with(Bug::None);
    let report = Suite::default()
        .run_all(&subject)
        .unwrap_or_else(|failures| panic!("{failures}"));
    println!("on a simulated disk: {report}");
}

#[test]
fn a_store_on_real_files_passes() {
    let suite = Suite {
        sequences: 4,
        ..Suite::default()
    };
    let subject = FileSubject::<Directory>::with(Bug::None);
    let report = suite
        .run_all(&subject)
        .unwrap_or_else(|failures| panic!("{failures}"));
    println!("on real files: {report}");
}
