//! The simulated disk by itself: what it keeps and what it forgets.
//!
//! Owns its rules. Must not know stores.

use std::collections::BTreeSet;
use std::io::ErrorKind;

use almadia_harness::storage::{Place, SimDisk};

/// The name and the content of each file.
type Contents = Vec<(String, Vec<u8>)>;

fn contents(disk: &SimDisk) -> Contents {
    let names = disk.names().expect("nothing fails");
    let content = |name: std::path::PathBuf| {
        let file = disk.open(&name).expect("it is there");
        let size = file.size_bytes().expect("nothing fails");
        let mut bytes = vec![0; usize::try_from(size).expect("small")];
        file.read_at(0, &mut bytes).expect("nothing fails");
        (name.display().to_string(), bytes)
    };
    names.into_iter().map(content).collect()
}

/// What crashes of the last action leave: in the middle of it, and after it.
fn crashes(disk: &SimDisk) -> [BTreeSet<Contents>; 2] {
    let mut left = [BTreeSet::new(), BTreeSet::new()];
    for number in 0..disk.crashes(&[]) {
        let crash = disk.crash(number, &[]).expect("it can be made");
        left[usize::from(crash.is_after)].insert(contents(&crash.place));
    }
    left
}

fn file(name: &str, content: &[u8]) -> (String, Vec<u8>) {
    (name.into(), content.to_vec())
}

fn disk_with_file() -> SimDisk {
    let disk = SimDisk::default();
    let a = disk.create("a").expect("nothing fails");
    a.write_at(0, b"old").expect("nothing fails");
    a.sync().expect("nothing fails");
    disk.sync_directory().expect("nothing fails");
    disk.begin();
    disk
}

#[test]
fn what_is_synced_stays_and_the_rest_may_go_in_part() {
    let disk = disk_with_file();
    let a = disk.open("a").expect("it is there");
    a.write_at(3, b"1234").expect("nothing fails");
    let [midway, after] = crashes(&disk);
    assert_eq!(midway, BTreeSet::new());
    let wanted = [
        "old",
        "old1",
        "old12",
        "old123",
        "old1234",
        "old\0\0\0\0",
        "old12\0\0",
    ];
    let wanted = wanted.map(|content| vec![file("a", content.as_bytes())]);
    assert_eq!(after, BTreeSet::from(wanted));

    a.sync().expect("nothing fails");
    let [midway, after] = crashes(&disk);
    assert_eq!(midway.len(), 7);
    assert_eq!(after, BTreeSet::from([vec![file("a", b"old1234")]]));
    assert_eq!(contents(&disk), [file("a", b"old1234")]);
}

/// Of two writes the later one may be there without the earlier one, which leaves a hole.
#[test]
fn contents_have_no_order() {
    let disk = disk_with_file();
    let a = disk.open("a").expect("it is there");
    a.write_at(3, b"1").expect("nothing fails");
    a.write_at(4, b"2").expect("nothing fails");
    let [_, after] = crashes(&disk);
    assert!(after.contains(&vec![file("a", b"old\x002")]), "{after:?}");
    assert!(after.contains(&vec![file("a", b"old12")]));
    a.resize(2).expect("nothing fails");
    let [_, after] = crashes(&disk);
    assert!(after.contains(&vec![file("a", b"ol")]));
    assert!(after.contains(&vec![file("a", b"old")]));
}

/// A file has its name only once the directory is synced, and names keep their order.
#[test]
fn names_are_synced_apart() {
    let disk = disk_with_file();
    let b = disk.create("b").expect("nothing fails");
    b.write_at(0, b"new").expect("nothing fails");
    b.sync().expect("nothing fails");
    disk.rename("b", "a").expect("it is there");
    let [_, after] = crashes(&disk);
    let old = vec![file("a", b"old")];
    let both = vec![file("a", b"old"), file("b", b"new")];
    let new = vec![file("a", b"new")];
    assert_eq!(after, BTreeSet::from([old, both, new.clone()]));
    disk.sync_directory().expect("nothing fails");
    let [_, after] = crashes(&disk);
    assert_eq!(after, BTreeSet::from([new]));
    // The handle stays with the file.
    b.write_at(3, b"er").expect("nothing fails");
    assert_eq!(contents(&disk), [file("a", b"newer")]);

    disk.begin();
    disk.remove("a").expect("it is there");
    let [_, after] = crashes(&disk);
    assert!(after.contains(&Vec::new()));
    assert!(after.iter().any(|files| !files.is_empty()));
}

/// If the content of a renamed file was not synced, the name may be there without it.
#[test]
fn a_name_may_be_there_without_its_content() {
    let disk = disk_with_file();
    let b = disk.create("b").expect("nothing fails");
    b.write_at(0, b"new").expect("nothing fails");
    disk.rename("b", "a").expect("it is there");
    disk.sync_directory().expect("nothing fails");
    let [_, after] = crashes(&disk);
    assert!(after.contains(&vec![file("a", b"")]));
}

/// The end of a process loses nothing, but what was not synced may be lost later.
#[test]
fn what_is_seen_after_a_process_has_ended_may_be_lost_later() {
    let disk = disk_with_file();
    let a = disk.open("a").expect("it is there");
    a.write_at(3, b"1234").expect("nothing fails");
    let all = (0..disk.crashes(&[])).map(|number| disk.crash(number, &[]).expect("it can be made"));
    let mut seen = all.filter(|crash| contents(&crash.place) == [file("a", b"old1234")]);
    let ended = seen.next().expect("the process may end").place;
    ended.begin();
    let [_, after] = crashes(&ended);
    assert!(after.contains(&vec![file("a", b"old")]));
    ended
        .open("a")
        .expect("it is there")
        .sync()
        .expect("nothing fails");
    let [_, after] = crashes(&ended);
    assert_eq!(after, BTreeSet::from([vec![file("a", b"old1234")]]));
}

#[test]
fn reads_and_writes_fail_on_demand() {
    let disk = disk_with_file();
    let faults = disk.faults().expect("it has the switch").clone();
    let a = disk.open("a").expect("it is there");
    faults.fail_reads_after(1);
    assert!(a.size_bytes().is_ok());
    assert!(a.size_bytes().is_err());
    assert!(a.read_at(0, &mut [0; 3]).is_err());
    assert!(disk.open("a").is_err());
    assert!(disk.names().is_err());
    assert!(a.write_at(0, b"x").is_ok());
    assert_eq!(faults.end(), 4);
    faults.fail_writes_after(0);
    assert!(a.write_at(0, b"y").is_err());
    assert!(a.resize(0).is_err());
    assert!(a.sync().is_err());
    assert!(disk.create("b").is_err());
    assert!(disk.rename("a", "b").is_err());
    assert!(disk.remove("a").is_err());
    assert!(disk.sync_directory().is_err());
    assert_eq!(faults.end(), 7);
    assert_eq!(contents(&disk), [file("a", b"xld")]);
}

#[test]
fn files_that_are_not_there() {
    let disk = disk_with_file();
    let missing = [
        disk.open("b").err(),
        disk.remove("b").err(),
        disk.rename("b", "a").err(),
    ];
    for error in missing {
        assert_eq!(error.expect("no such file").kind(), ErrorKind::NotFound);
    }
    assert!(disk.crash(1000, &[]).is_err());
    let mut buffer = [0; 8];
    let a = disk.open("a").expect("it is there");
    assert_eq!(a.read_at(1, &mut buffer).expect("nothing fails"), 2);
    assert_eq!(a.read_at(9, &mut buffer).expect("nothing fails"), 0);
    assert_eq!(a.read_at(u64::MAX, &mut buffer).expect("nothing fails"), 0);
}
