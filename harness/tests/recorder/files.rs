//! Recordings as files: torn, damaged, foreign, full, in folders, and not writable.

use std::fs;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use almadia::{Entries, EntriesRequest, InitialState, Snapshot, StorageError};
use almadia_harness::recorder::{Flush, TapeStopped};

use super::*;

/// A folder that is removed in the end.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn new(name: &str) -> Self {
        let path = std::env::temp_dir();
        Self(path.join(format!("almadia-recorder-{}-{name}", std::process::id())))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// A life in so many blocks that each call is one.
fn in_many_blocks() -> (Vec<u8>, RawNode<Witness<MemStorage>>) {
    full_life(Options {
        flush: Flush::EachCall,
        ..exact()
    })
}

#[test]
fn what_is_before_a_torn_end_is_used() {
    let (recording, node) = in_many_blocks();
    let all = replay_to(recording.clone(), &node).steps.len();
    let frames = blocks(&recording);
    assert!(frames.len() > all / 2, "there are many blocks");
    let mut before = 0;
    for length in HEADER..recording.len() {
        let outcome = replay(recording[..length].to_vec()).expect("a recording");
        assert_eq!(outcome.divergence, None, "{length} bytes");
        let steps = outcome.steps.len();
        assert!(
            steps >= before && steps <= all,
            "{steps} steps of {length} bytes"
        );
        before = steps;
        let end = outcome.end.expect("it is read to its end");
        if length == HEADER || frames.contains(&length) {
            assert_eq!(end, End::Open);
        } else {
            let at = frames
                .iter()
                .rev()
                .find(|&&frame| frame < length)
                .expect("a block");
            let (at, unused) = (*at as u64, (length - at) as u64);
            assert_eq!(end, End::Torn { at, unused });
        }
    }
    assert!(before >= all - 1);
}

#[test]
fn nothing_behind_a_damaged_block_is_used() {
    let (recording, node) = in_many_blocks();
    let all = replay_to(recording.clone(), &node).steps.len();
    let frames = blocks(&recording);
    for (position, &frame) in frames.iter().enumerate() {
        let mut damaged = recording.clone();
        damaged[frame + FRAME] ^= 1;
        let outcome = replay(damaged).expect("a recording");
        assert_eq!(outcome.divergence, None);
        let before = replay(recording[..frame].to_vec()).expect("a recording");
        assert_eq!(outcome.methods(), before.methods());
        assert!(before.steps.len() < all || position + 2 >= frames.len());
        let at = frame as u64;
        let is_last = position + 1 == frames.len();
        let unused = recording.len() as u64 - at;
        let expected = if is_last {
            End::Torn { at, unused }
        } else {
            End::Damaged { at }
        };
        assert_eq!(outcome.end, Some(expected));
    }
}

#[test]
fn a_file_of_another_kind_is_told_from_one_of_another_version() {
    for foreign in [
        &b""[..],
        b"almadia",
        b"#!/bin/sh\n# a script",
        b"almadiaR\x01",
    ] {
        let error = replay(foreign.to_vec()).expect_err("it is no recording");
        assert!(matches!(error, RecordingError::NotARecording), "{error}");
    }
    let (mut recording, _) = full_life(exact());
    recording[8] = 200;
    let error = replay(recording).expect_err("it has another version");
    assert!(
        matches!(error, RecordingError::OtherVersion { found: 200 }),
        "{error}"
    );
}

#[test]
fn what_makes_no_sense_is_told_with_its_step() {
    let (mut recording, _) = full_life(outputs_only());
    // Of a heartbeat's token, the length of the mark.
    assert_eq!(tamper(&mut recording, b"\x04mark", b"\xffmark"), 1);
    let error = replay(recording).expect_err("it makes no sense");
    assert!(
        matches!(error, RecordingError::Malformed { step: 40.., .. }),
        "{error}"
    );
}

/// A file on a full disk.
struct NoRoom(usize);

impl Write for NoRoom {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0 < bytes.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0 -= bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_node_outlives_its_tape() {
    let options = Options {
        flush: Flush::EachCall,
        ..exact()
    };
    let tape = Tape::writer(NoRoom(300), options).expect("there is room for the header");
    let config = Config::builder(id(1)).seed(SEED).incarnation(1).build();
    let node = Recorded::new(config.expect("valid"), storage(), tape.clone());
    let mut node = node.expect("a start");
    make_every_call(&mut node);
    let stopped = tape.flush().expect_err("there is no room");
    assert!(matches!(stopped, TapeStopped::Failed(_)), "{stopped}");
    let (_, other) = full_life(exact());
    assert_eq!(node.into_node(), other);
}

#[test]
fn a_recording_ends_at_its_limit() {
    let (whole, _) = in_many_blocks();
    for limit in (HEADER..whole.len()).step_by(100) {
        let options = Options {
            max_bytes: limit as u64,
            flush: Flush::EachCall,
            ..exact()
        };
        let (recording, _) = full_life(options);
        assert!(recording.len() <= limit, "{} bytes", recording.len());
        assert!(
            recording.len() + 250 > limit,
            "{} bytes of {limit}",
            recording.len()
        );
        let outcome = replay(recording).expect("a recording");
        assert_eq!(outcome.divergence, None);
        if limit > 50 {
            assert!(
                matches!(outcome.end, Some(End::Full | End::Open)),
                "{:?}",
                outcome.end
            );
        }
    }
}

/// A disk that looks at what was recorded when it is asked, or panics.
#[derive(Clone)]
struct Witnessing {
    disk: MemStorage,
    memory: Memory,
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
    panics: bool,
}

impl Storage for Witnessing {
    fn initial_state(&self) -> Result<InitialState, StorageError> {
        self.disk.initial_state()
    }

    fn entries(&self, request: &EntriesRequest) -> Result<Entries, StorageError> {
        self.seen
            .lock()
            .expect("one thread")
            .push(self.memory.bytes());
        assert!(!self.panics, "the disk is gone");
        self.disk.entries(request)
    }

    fn term(&self, index: LogIndex) -> Result<Term, StorageError> {
        self.disk.term(index)
    }

    fn first_index(&self) -> Result<LogIndex, StorageError> {
        self.disk.first_index()
    }

    fn last_index(&self) -> Result<LogIndex, StorageError> {
        self.disk.last_index()
    }

    fn snapshot(&self, request_index: LogIndex, to: NodeId) -> Result<Snapshot, StorageError> {
        self.disk.snapshot(request_index, to)
    }
}

fn witnessing(memory: &Memory, panics: bool) -> Witnessing {
    let mut disk = storage();
    let entry = Entry {
        id: LogId::new(1, 1),
        payload: Payload::Data("x".into()),
        context: "".into(),
    };
    disk.append([entry]).expect("a log");
    disk.set_hard_state(almadia::HardState {
        current_term: Term(1),
        voted_for: None,
        commit_index: LogIndex(1),
    });
    Witnessing {
        disk,
        memory: memory.clone(),
        seen: Arc::default(),
        panics,
    }
}

/// The file tells of a call before it has returned, so also if it never does.
#[test]
fn a_call_is_in_the_file_before_it_is_made() {
    let memory = Memory::default();
    let disk = witnessing(&memory, false);
    let seen = Arc::clone(&disk.seen);
    let options = Options {
        flush: Flush::EachCall,
        ..exact()
    };
    let node = Recorded::new(Config::new(id(1)), disk, memory.tape(options));
    let mut node = node.expect("a start");
    node.tick().expect("memory does not fail");
    let ready = node.ready().expect("memory does not fail");
    assert!(ready.is_some(), "there is an entry to be applied");
    let seen = seen.lock().expect("one thread").clone();
    assert_eq!(seen.len(), 1);
    let outcome = replay(seen[0].clone()).expect("a recording");
    assert_eq!(outcome.divergence, None);
    assert_eq!(outcome.methods(), ["new", "tick", "ready"]);
    assert_eq!(
        outcome
            .steps
            .iter()
            .map(|step| step.is_cut)
            .collect::<Vec<_>>(),
        [false, false, true]
    );
    assert_eq!(outcome.end, Some(End::Open));
}

#[test]
fn a_panic_leaves_the_call_that_it_came_from() {
    let memory = Memory::default();
    let tape = memory.tape(exact());
    let disk = witnessing(&memory, true);
    let result = catch_unwind(AssertUnwindSafe(|| {
        let node = Recorded::new(Config::new(id(1)), disk, tape);
        let mut node = node.expect("a start");
        node.tick().expect("memory does not fail");
        drop(node.ready());
    }));
    assert!(result.is_err());
    let outcome = replay(memory.bytes()).expect("a recording");
    assert_eq!(outcome.divergence, None);
    assert_eq!(outcome.methods(), ["new", "tick", "ready"]);
    assert_eq!(
        outcome.end,
        Some(End::Open),
        "the node did not end in peace"
    );
}

/// A call that panicked when it was recorded, and does not now, is a difference.
#[test]
fn a_call_that_returns_now_is_a_difference() {
    let memory = Memory::default();
    let disk = witnessing(&memory, true);
    let node = Recorded::new(Config::new(id(1)), disk, memory.tape(exact()));
    let mut node = node.expect("a start");
    assert!(catch_unwind(AssertUnwindSafe(|| drop(node.ready()))).is_err());
    node.tick().expect("the node does not know");
    drop(node);
    let found = replay(memory.bytes()).expect("a recording").divergence;
    let found = found.expect("the replay has no disk that panics");
    assert_eq!(found.step, 1);
    assert!(
        matches!(found.kind, DivergenceKind::Returned { .. }),
        "{found}"
    );
}

#[test]
fn a_folder_keeps_the_last_lives() {
    let folder = Folder::new("lives");
    let keep = NonZeroUsize::new(3).expect("not zero");
    fs::create_dir_all(&folder.0).expect("a folder");
    fs::write(folder.0.join("notes.txt"), "of somebody else").expect("a file");
    for life in 1..=5_u64 {
        let tape = Tape::in_folder(&folder.0, keep, exact()).expect("a folder");
        let config = Config::builder(id(1)).seed(life).build().expect("valid");
        drop(Recorded::new(config, storage(), tape).expect("a start"));
    }
    let mut files: Vec<_> = fs::read_dir(&folder.0)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "recording")
        })
        .collect();
    files.sort();
    let seeds: Vec<u64> = files
        .iter()
        .map(|path| {
            let outcome = replay(fs::read(path).expect("a file")).expect("a recording");
            outcome.node.expect("it has started").config().seed()
        })
        .collect();
    assert_eq!(seeds, [3, 4, 5]);
    assert!(folder.0.join("notes.txt").exists());

    let last = files.last().expect("three files");
    let error = Tape::<MemStorage>::file(last, exact())
        .map(drop)
        .expect_err("it is there");
    assert_eq!(
        error.kind(),
        io::ErrorKind::AlreadyExists,
        "evidence is not written over"
    );
}

#[test]
fn a_tape_writes_what_it_has_when_asked() {
    let memory = Memory::default();
    let tape = memory.tape(exact());
    let node = Recorded::new(Config::new(id(1)), storage(), tape.clone());
    let mut node = node.expect("a start");
    node.tick().expect("memory does not fail");
    assert_eq!(memory.bytes().len(), HEADER);
    tape.flush().expect("memory does not fail");
    let outcome = replay(memory.bytes()).expect("a recording");
    assert_eq!(outcome.methods(), ["new", "tick"]);
    assert_eq!(outcome.node.as_ref(), Some(&*node));
}
