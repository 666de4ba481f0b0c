//! What is said, and when: nothing before it is durable.

use std::sync::mpsc::{TryRecvError, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use almadia::{
    Body, ConfState, Entries, Entry, HardState, LogIndex, NodeId, Payload, Snapshot, Term,
};
use tempfile::TempDir;

use super::*;
use crate::log::fault_fs::{FaultFs, OnSync};
use crate::routes::Routes;

const REGION: RegionId = RegionId(7);
const SOON: Duration = Duration::from_secs(60);

/// A writer at work, and what it says.
struct Writer {
    dir: TempDir,
    files: FaultFs,
    log: Log,
    tasks: Sender<Task>,
    sent: Receiver<(RegionId, Vec<Message>)>,
    inputs: Receiver<Input>,
    thread: JoinHandle<()>,
}

/// A log that is opened again.
struct Left {
    log: Log,
    _dir: TempDir,
}

impl Writer {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::open_small(dir.path());
        let written = log.clone();
        let (tasks, from_tasks) = channel();
        let (to_inputs, inputs) = channel();
        let (to_sent, sent) = channel();
        let thread = thread::spawn(move || {
            let metrics = Arc::new(Metrics::new(Arc::new(Routes::default())));
            let send = |region, messages| drop(to_sent.send((region, messages)));
            run(&written, &from_tasks, send, &to_inputs, &metrics).unwrap();
        });
        Self {
            files: FaultFs::of(dir.path()),
            dir,
            log,
            tasks,
            sent,
            inputs,
            thread,
        }
    }

    fn ask(&self, task: Task) {
        self.tasks.send(task).unwrap();
    }

    /// Has this done.
    fn carry_out(&self, task: Task) {
        self.ask(task);
        self.inputs.recv_timeout(SOON).unwrap();
    }

    /// Holds the sync of this, and of what is asked after it.
    fn hold(&self, task: Task) {
        self.files.on_sync(OnSync::Hold);
        self.ask(task);
        self.files.wait_until_held();
    }

    fn release(&self) {
        self.files.on_sync(OnSync::Work);
    }

    /// What the log would hold if the power failed now.
    fn left(&self) -> Left {
        let dir = tempfile::tempdir().unwrap();
        self.files.crash_image(dir.path(), |_| 0);
        let log = Log::open(dir.path()).unwrap();
        Left { log, _dir: dir }
    }

    /// What the log holds when the writer has ended.
    fn end(self) -> Left {
        drop(self.tasks);
        self.thread.join().unwrap();
        drop(self.log);
        let log = Log::open(self.dir.path()).unwrap();
        Left {
            log,
            _dir: self.dir,
        }
    }
}

fn hard_state(term: u64) -> HardState {
    HardState {
        current_term: Term(term),
        voted_for: NodeId::new(1),
        commit_index: LogIndex(1),
    }
}

/// An entry, a hard state, and a message that speaks for them.
fn write(must_sync: bool) -> Task {
    let entry = Entry {
        id: LogId::new(3, 1),
        payload: Payload::Data("command".into()),
        context: "".into(),
    };
    let write = RegionWrite {
        entries: vec![Entries::from([entry])],
        ..RegionWrite::of(hard_state(3))
    };
    task_of(REGION, write, must_sync)
}

fn task_of(region: RegionId, write: RegionWrite, must_sync: bool) -> Task {
    let [from, to] = [1, 2].map(|id| NodeId::new(id).unwrap());
    let written = Written {
        generation: 1,
        number: 1,
    };
    let message = Message {
        to,
        from,
        term: Term(3),
        body: Body::TimeoutNow,
    };
    Task::Write {
        region,
        written,
        write,
        must_sync,
        messages: vec![message],
    }
}

/// A node that speaks for what the power may still take votes twice, or loses what it has
/// acknowledged.
#[test]
fn nothing_is_said_of_a_write_before_it_is_durable() {
    let writer = Writer::new();
    writer.hold(write(true));
    assert_eq!(writer.sent.try_recv().unwrap_err(), TryRecvError::Empty);
    assert!(matches!(writer.inputs.try_recv(), Err(TryRecvError::Empty)));
    let left = writer.left();
    assert_eq!(left.log.hard_state(REGION).unwrap(), HardState::default());

    writer.release();
    let (region, messages) = writer.sent.recv_timeout(SOON).unwrap();
    assert_eq!((region, messages.len()), (REGION, 1));
    let told = writer.inputs.recv_timeout(SOON).unwrap();
    assert!(matches!(told, Input::Persisted(writes) if writes.len() == 1));
    let left = writer.left();
    assert_eq!(left.log.hard_state(REGION).unwrap(), hard_state(3));
    assert_eq!(left.log.last_index(REGION), Some(LogIndex(1)));
    writer.end();
}

/// A new commit index is not worth a sync; but what is decided after it must not last without it.
#[test]
fn a_commit_index_waits_for_no_sync_and_lasts_as_soon_as_anything_later_does() {
    let writer = Writer::new();
    writer.carry_out(write(true));
    writer.files.on_sync(OnSync::Hold);
    let newer = |commit_index| HardState {
        commit_index: LogIndex(commit_index),
        ..hard_state(3)
    };
    let commit = |index| task_of(REGION, RegionWrite::of(newer(index)), false);
    writer.ask(commit(2));
    writer.ask(commit(3));
    writer.sent.recv_timeout(SOON).unwrap();
    let told = writer.inputs.recv_timeout(SOON);
    assert!(matches!(told, Ok(Input::Persisted(_))));
    writer.release();

    let other = RegionWrite::of(hard_state(5));
    writer.carry_out(task_of(RegionId(8), other, true));
    while writer.left().log.hard_state(RegionId(8)).unwrap() != hard_state(5) {
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(writer.left().log.hard_state(REGION).unwrap(), newer(3));
    writer.carry_out(commit(4));
    let Left { _dir, log } = writer.end();
    assert_eq!(log.hard_state(REGION).unwrap(), newer(4));
}

/// Files are given back as soon as something younger says what they say: a vote, say, with a newer commit
/// index. If that could be lost, the vote would be.
#[test]
fn what_need_not_last_takes_the_place_of_nothing_that_must() {
    let writer = Writer::new();
    writer.carry_out(write(true));
    for index in 1..30 {
        let entry = Entry {
            id: LogId::new(3, index),
            payload: Payload::Data(vec![0; 500].into()),
            context: "".into(),
        };
        let other = RegionWrite {
            entries: vec![Entries::from([entry])],
            ..RegionWrite::default()
        };
        writer.carry_out(task_of(RegionId(8), other, true));
    }
    let newer = RegionWrite::of(HardState {
        commit_index: LogIndex(2),
        ..hard_state(3)
    });
    writer.carry_out(task_of(REGION, newer, false));
    writer.carry_out(Task::Cut(RegionId(8), LogId::new(3, 28)));
    writer.log.purge().unwrap();
    let first = writer.dir.path().join("0000000000000004.raftlog");
    assert!(!first.exists(), "it was given back");
    let left = writer.left().log;
    let vote = left.hard_state(REGION).unwrap();
    assert_eq!(
        (vote.current_term, vote.voted_for),
        (Term(3), NodeId::new(1))
    );
    assert_eq!(left.last_index(REGION), Some(LogIndex(1)));
    writer.end();
}

/// Whoever waits for the beginning or the end of a region goes on when it is durable.
#[test]
fn who_waits_for_a_region_to_begin_or_end_waits_until_it_is_durable() {
    let begin = |done| Task::Begin(REGION, LogId::new(4, 10), hard_state(4), done);
    let tasks = [
        ("begin", begin as fn(Sender<()>) -> Task),
        ("leave", |done| Task::Leave(REGION, done)),
        ("stay", |done| Task::Stay(REGION, done)),
    ];
    for (name, task) in tasks {
        let writer = Writer::new();
        writer.carry_out(write(true));
        if name == "stay" {
            wait_for(&writer.tasks, |done| Task::Leave(REGION, done));
        }
        let (done, waits) = channel();
        writer.hold(task(done));
        assert_eq!(waits.try_recv(), Err(TryRecvError::Empty), "{name}");
        assert_eq!(writer.left().log.is_leaving(REGION), name == "stay");

        writer.release();
        waits.recv_timeout(SOON).expect(name);
        let Left { _dir, log } = writer.left();
        let (term, cut) = if name == "begin" {
            (4, LogId::new(4, 10))
        } else {
            (3, LogId::ZERO)
        };
        assert_eq!(log.hard_state(REGION).unwrap(), hard_state(term), "{name}");
        assert_eq!(log.cut(REGION).unwrap(), cut, "{name}");
        assert_eq!(log.is_leaving(REGION), name == "leave", "{name}");
        writer.end();
    }
}

/// A region that is forgotten is said to be when its vote is kept for good.
#[test]
fn a_region_is_forgotten_when_that_is_durable() {
    let writer = Writer::new();
    writer.hold(Task::Forget(REGION, hard_state(3)));
    assert!(matches!(writer.inputs.try_recv(), Err(TryRecvError::Empty)));
    writer.release();
    let told = writer.inputs.recv_timeout(SOON).unwrap();
    assert!(matches!(told, Input::Forgotten(REGION)));
    let left = writer.left();
    assert!(left.log.has_forgotten(REGION));
    let vote = left.log.hard_state(REGION).unwrap().voted_for;
    assert_eq!(vote, NodeId::new(1));
    writer.end();
}

/// What takes the place of a log takes the place of what is written together with it, too.
#[test]
fn what_was_asked_for_before_a_region_ends_does_not_come_back() {
    let writer = Writer::new();
    writer.hold(task_of(REGION, RegionWrite::of(hard_state(2)), true));
    // These are one write.
    writer.ask(write(true));
    writer.ask(Task::Forget(REGION, hard_state(3)));
    writer.release();
    let Left { _dir, log } = writer.end();
    assert!(log.has_forgotten(REGION));
    assert_eq!(log.last_index(REGION), None);
    assert_eq!(log.hard_state(REGION).unwrap().current_term, Term(3));
}

/// Who has restored a snapshot may find that another one has come meanwhile, which is yet to be restored.
#[test]
fn a_snapshot_is_kept_until_it_is_the_one_that_was_restored() {
    let of = |index| {
        let snapshot = Snapshot {
            last_included: LogId::new(3, index),
            conf_state: ConfState::default(),
            data: "description".into(),
        };
        let write = RegionWrite {
            snapshot: Some(Box::new(snapshot)),
            ..RegionWrite::default()
        };
        task_of(REGION, write, true)
    };
    let restored = |index| Task::SnapshotRestored(REGION, LogId::new(3, index));
    let writer = Writer::new();
    writer.carry_out(of(10));
    writer.hold(task_of(REGION, RegionWrite::of(hard_state(3)), true));
    // These are one write.
    writer.ask(of(20));
    writer.ask(restored(10));
    writer.release();
    let Left { _dir, log } = writer.end();
    let kept = log.snapshot(REGION).unwrap().unwrap();
    assert_eq!(kept.last_included, LogId::new(3, 20));
    assert_eq!(log.hard_state(REGION).unwrap(), hard_state(3));
    drop(log);

    let writer = Writer::new();
    writer.carry_out(of(20));
    writer.carry_out(restored(20));
    assert_eq!(writer.end().log.snapshot(REGION).unwrap(), None);
}
