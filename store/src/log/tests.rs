//! What is written is what is read back, whatever becomes of the last file's end.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::thread;

use almadia::{Payload, Purpose};
use bytes::Bytes;
use tempfile::TempDir;

use super::fault_fs::{FaultFs, OnSync};
use super::*;
use crate::state::State;

const REGION: RegionId = RegionId(7);

fn entry(term: u64, index: u64) -> Entry {
    Entry {
        id: LogId::new(term, index),
        payload: Payload::Data(format!("entry {index} of term {term}").into()),
        context: Bytes::from_static(b"context"),
    }
}

fn hard_state(term: u64, commit: u64) -> HardState {
    HardState {
        current_term: Term(term),
        voted_for: NodeId::new(3),
        commit_index: LogIndex(commit),
    }
}

fn entries(term: u64, indices: std::ops::RangeInclusive<u64>) -> Vec<Entry> {
    indices.map(|index| entry(term, index)).collect()
}

fn append(log: &Log, region: RegionId, entries: Vec<Entry>) {
    let mut writing = log.write();
    let write = RegionWrite {
        entries: vec![Entries::from(entries)],
        ..RegionWrite::default()
    };
    writing.put(region, &write).unwrap();
    writing.commit().unwrap();
}

/// A log in a directory, as a region reads it.
struct Opened {
    log: Log,
    region: RegionLog,
}

impl Opened {
    fn at(dir: &TempDir) -> Self {
        let log = Log::open(&dir.path().join("log")).unwrap();
        let state = Arc::new(State::open(&dir.path().join("state")).unwrap());
        let snapshots = Snapshots::open(dir.path().join("snapshots"), state).unwrap();
        let region = RegionLog::open(log.clone(), REGION, ConfState::default(), snapshots).unwrap();
        Self { log, region }
    }

    fn read(&self) -> Vec<Entry> {
        let (first, last) = (
            self.region.first_index().unwrap(),
            self.region.last_index().unwrap(),
        );
        if first > last {
            return Vec::new();
        }
        let request = EntriesRequest::new(first, last, u64::MAX, Purpose::Apply);
        let found = self.region.entries(&request).unwrap();
        for entry in found.iter() {
            assert_eq!(self.region.term(entry.id.index).unwrap(), entry.id.term);
        }
        found.iter().cloned().collect()
    }
}

fn last_file(dir: &TempDir) -> PathBuf {
    let files = fs::read_dir(dir.path().join("log")).unwrap();
    let files = files.map(|file| file.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|kind| kind == "raftlog"))
        .max()
        .unwrap()
}

/// The place behind the last byte that is not zero: files are made longer than what is in them.
fn end_of(file: &Path) -> u64 {
    let bytes = fs::read(file).unwrap();
    bytes.iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1
}

#[test]
fn what_is_written_is_read_back_after_reopening() {
    let dir = TempDir::new().unwrap();
    let other = RegionId(8);
    {
        let log = Opened::at(&dir).log;
        append(&log, REGION, entries(1, 1..=10));
        append(&log, other, entries(5, 1..=3));
        let mut writing = log.write();
        let write = RegionWrite::of(hard_state(1, 9));
        writing.put(REGION, &write).unwrap();
        writing.cut(REGION, LogId::new(1, 4)).unwrap();
        writing.commit().unwrap();
    }
    let opened = Opened::at(&dir);
    assert_eq!(opened.read(), entries(1, 5..=10));
    assert_eq!(opened.region.entry_count(), 6);
    assert_eq!(opened.log.cut(REGION).unwrap(), LogId::new(1, 4));
    assert_eq!(opened.region.term(LogIndex(4)).unwrap(), Term(1));
    let below = opened.region.term(LogIndex(3));
    assert!(matches!(below, Err(StorageError::Compacted)));
    let beyond = opened.region.term(LogIndex(11));
    assert!(matches!(beyond, Err(StorageError::Unavailable)));
    assert_eq!(opened.log.hard_state(REGION).unwrap(), hard_state(1, 9));
    assert_eq!(opened.log.hard_state(other).unwrap(), HardState::default());
    let mut regions = opened.log.regions();
    regions.sort_unstable();
    assert_eq!(regions, [REGION, other]);
}

#[test]
fn entries_that_overlap_take_the_place_of_those_before() {
    let dir = TempDir::new().unwrap();
    let expected = [entries(1, 1..=5), entries(2, 6..=7)].concat();
    {
        let opened = Opened::at(&dir);
        append(&opened.log, REGION, entries(1, 1..=10));
        append(&opened.log, REGION, entries(2, 6..=7));
        assert_eq!(opened.read(), expected);
    }
    let opened = Opened::at(&dir);
    assert_eq!(opened.read(), expected);
    // In one write, too.
    let runs = [entries(3, 8..=12), entries(4, 7..=9)];
    let write = RegionWrite {
        entries: runs.map(Entries::from).into(),
        ..RegionWrite::default()
    };
    let mut writing = opened.log.write();
    writing.put(REGION, &write).unwrap();
    writing.commit().unwrap();
    drop(opened);
    let expected = [entries(1, 1..=5), entries(2, 6..=6), entries(4, 7..=9)].concat();
    assert_eq!(Opened::at(&dir).read(), expected);
}

#[test]
fn a_log_that_begins_anew_holds_nothing_of_before() {
    let dir = TempDir::new().unwrap();
    {
        let log = Opened::at(&dir).log;
        append(&log, REGION, entries(1, 1..=10));
        let mut writing = log.write();
        writing.begin_at(REGION, LogId::new(2, 50)).unwrap();
        writing.commit().unwrap();
    }
    let opened = Opened::at(&dir);
    assert_eq!(opened.read(), []);
    assert_eq!(opened.region.last_index().unwrap(), LogIndex(50));
    append(&opened.log, REGION, entries(2, 51..=52));
    assert_eq!(opened.read(), entries(2, 51..=52));
}

#[test]
fn garbage_behind_the_last_record_is_cut_off() {
    for garbage in [&[0xff_u8; 100][..], b"garbage", &[1; 5_000]] {
        let dir = TempDir::new().unwrap();
        append(&Opened::at(&dir).log, REGION, entries(1, 1..=5));
        let file = last_file(&dir);
        let end = end_of(&file);
        let mut writer = fs::OpenOptions::new().write(true).open(&file).unwrap();
        writer.set_len(end).unwrap();
        std::io::Seek::seek(&mut writer, std::io::SeekFrom::End(0)).unwrap();
        writer.write_all(garbage).unwrap();
        drop(writer);

        let opened = Opened::at(&dir);
        assert_eq!(opened.read(), entries(1, 1..=5));
        append(&opened.log, REGION, entries(1, 6..=6));
        drop(opened);
        assert_eq!(Opened::at(&dir).read(), entries(1, 1..=6));
    }
}

#[test]
fn a_torn_record_is_cut_off_and_those_before_are_kept() {
    let dir = TempDir::new().unwrap();
    let before = {
        let log = Opened::at(&dir).log;
        append(&log, REGION, entries(1, 1..=5));
        let before = end_of(&last_file(&dir));
        append(&log, REGION, entries(1, 6..=8));
        before
    };
    let file = last_file(&dir);
    let whole = fs::read(&file).unwrap();
    let end = end_of(&file);
    // A record may end with zeros: the first lengths may be nothing torn at all.
    for len in (before + 8..end).step_by(29) {
        let torn = TempDir::new().unwrap();
        fs::create_dir(torn.path().join("log")).unwrap();
        let copy = torn.path().join("log").join(file.file_name().unwrap());
        fs::write(&copy, &whole[..usize::try_from(len).unwrap()]).unwrap();
        let opened = Opened::at(&torn);
        assert_eq!(opened.read(), entries(1, 1..=5), "cut at {len} of {end}");
        append(&opened.log, REGION, entries(2, 6..=6));
        drop(opened);
        let expected = [entries(1, 1..=5), entries(2, 6..=6)].concat();
        assert_eq!(Opened::at(&torn).read(), expected);
    }
}

/// What takes the place of a log stays in its place, whichever files are given back.
#[test]
fn a_log_that_begins_anew_does_not_find_its_old_entries_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let (file, all) = (ReadableSize::kb(32), ReadableSize::kb(128));
    let open = || Log::open_with(&path, file, all).unwrap();
    let log = open();
    let others = |rounds: u64, begin: u64| {
        for round in begin..begin + rounds {
            for other in 100..110 {
                append(
                    &log,
                    RegionId(other),
                    entries(1, round * 10 + 1..=round * 10 + 10),
                );
            }
            for other in 100..110 {
                let mut writing = log.write();
                let cut = LogId::new(1, round * 10 + 5);
                writing.cut(RegionId(other), cut).unwrap();
                writing.commit().unwrap();
            }
            log.purge().unwrap();
        }
    };
    append(&log, REGION, entries(1, 2..=20));
    // The entries are moved to younger files.
    others(60, 0);
    let mut writing = log.write();
    writing.begin_at(REGION, LogId::new(9, 12)).unwrap();
    writing
        .put(REGION, &RegionWrite::of(hard_state(9, 12)))
        .unwrap();
    writing.commit().unwrap();
    // What says that they are gone is moved, too, or given back.
    others(200, 60);
    drop(log);

    let log = open();
    assert_eq!(log.cut(REGION).unwrap(), LogId::new(9, 12));
    assert_eq!(
        log.engine.first_index(REGION.0),
        None,
        "old entries are back"
    );
    assert_eq!(log.hard_state(REGION).unwrap(), hard_state(9, 12));
    append(&log, REGION, entries(9, 13..=15));
    assert_eq!(log.last_index(REGION), Some(LogIndex(15)));
}

/// What the region holds when the power has failed, and of what was not synced so much was left: up to where
/// its log is cut, and the entries behind that.
fn left(files: &FaultFs, torn: impl FnMut(usize) -> usize) -> (u64, Vec<Entry>) {
    let dir = TempDir::new().unwrap();
    files.crash_image(dir.path(), torn);
    let log = Log::open(dir.path()).unwrap();
    let entry = |index| log.engine.get_entry::<Raw>(REGION.0, index).unwrap();
    let cut = log.cut(REGION).unwrap().index.0;
    let last = log.last_index(REGION).map_or(cut, |last| last.0);
    let entries = (cut + 1..=last).map(|index| {
        let entry = entry(index).expect("there is no gap");
        entry.decode().unwrap()
    });
    (cut, entries.collect())
}

/// All that was synced is there, and of what was not, a beginning.
#[test]
fn a_loss_of_power_leaves_what_was_synced() {
    let mut dice = 1_u64;
    let mut below = |limit: usize| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(dice >> 33).unwrap() % limit
    };
    let (mut lost, mut spared, mut purged) = (0, 0, 0);
    for life in 0..40 {
        let dir = TempDir::new().unwrap();
        let files = FaultFs::of(dir.path());
        // In every other life files are given back.
        let all = [ReadableSize::mb(1), ReadableSize::kb(3)][life % 2];
        let log = Log::open_with(dir.path(), ReadableSize::kb(1), all).unwrap();
        let (mut written, mut cut) = (0, 0);
        let write = |written: &mut u64, below: &mut dyn FnMut(usize) -> usize| {
            let next = *written + 1 + below(5) as u64;
            append(&log, REGION, entries(1, *written + 1..=next));
            *written = next;
        };
        for _ in 0..10 + below(80) {
            write(&mut written, &mut below);
            if life % 2 == 1 && below(3) == 0 {
                cut = cut.max(below(usize::try_from(written).unwrap()) as u64);
                let mut writing = log.write();
                writing.cut(REGION, LogId::new(1, cut)).unwrap();
                writing.commit().unwrap();
                let before = log.engine.get_used_size();
                log.purge().unwrap();
                purged += usize::from(log.engine.get_used_size() < before);
            }
        }
        let synced = written;
        // The power fails while the last write is being synced.
        let (found_cut, found) = thread::scope(|scope| {
            files.on_sync(OnSync::Hold);
            scope.spawn(|| write(&mut written, &mut |_| 4));
            files.wait_until_held();
            let found = left(&files, |unsynced| below(unsynced + 1));
            files.on_sync(OnSync::Work);
            found
        });
        let last = found_cut + found.len() as u64;
        assert!(found_cut <= cut, "{found_cut} <= {cut}");
        assert_eq!(found, entries(1, found_cut + 1..=last));
        assert!(
            (synced..=written).contains(&last),
            "{synced} <= {last} <= {written}"
        );
        lost += written - last;
        spared += last - synced;
    }
    assert!(
        lost > 0 && spared > 0 && purged > 0,
        "{lost} lost, {spared} spared, {purged} purged"
    );
}

/// A killed process leaves what it has written to the system alone. The next one reads it, and speaks
/// for it.
#[test]
fn what_a_process_finds_is_durable_before_it_goes_on() {
    let dir = TempDir::new().unwrap();
    let files = FaultFs::of(dir.path());
    let log = Log::open(dir.path()).unwrap();
    append(&log, REGION, entries(1, 1..=3));
    // To close a log syncs it, which a killed process does not.
    files.on_sync(OnSync::Lie);
    append(&log, REGION, entries(1, 4..=9));
    assert_eq!(left(&files, |_| 0), (0, entries(1, 1..=3)));
    drop(log);

    files.on_sync(OnSync::Work);
    let log = Log::open(dir.path()).unwrap();
    assert_eq!(log.last_index(REGION), Some(LogIndex(9)));
    assert_eq!(left(&files, |_| 0), (0, entries(1, 1..=9)));
}
