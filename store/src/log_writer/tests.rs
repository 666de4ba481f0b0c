//! What is said, and when: nothing before it is durable.

use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use almadia::{Body, Entries, Entry, HardState, NodeId, Payload, Term};

use super::*;
use crate::log::power::{Files, Syncs};
use crate::routes::Routes;

const REGION: RegionId = RegionId(7);
/// Nothing that waits for a sync comes within this time; a write takes a hundredth of it.
const WHILE: Duration = Duration::from_millis(300);
const SOON: Duration = Duration::from_secs(20);

/// A writer at work, and what it says.
struct Writer {
    files: Files,
    tasks: Sender<Task>,
    sent: Receiver<(RegionId, Vec<Message>)>,
    inputs: Receiver<Input>,
    thread: JoinHandle<()>,
}

impl Writer {
    fn at(dir: &Path) -> Self {
        let files = Files::default();
        let log = Log::open_on(dir, files.clone()).unwrap();
        let (tasks, from_tasks) = channel();
        let (to_inputs, inputs) = channel();
        let (to_sent, sent) = channel();
        let thread = thread::spawn(move || {
            let metrics = Arc::new(Metrics::new(Arc::new(Routes::default())));
            let send = |region, messages| drop(to_sent.send((region, messages)));
            run(&log, &from_tasks, send, &to_inputs, &metrics).unwrap();
        });
        Self {
            files,
            tasks,
            sent,
            inputs,
            thread,
        }
    }

    /// Its directory may be removed then.
    fn end(self) {
        drop(self.tasks);
        self.thread.join().unwrap();
    }

    /// What the log would hold if the power failed now.
    fn left(&self) -> Left {
        let dir = tempfile::tempdir().unwrap();
        self.files.leave_what_is_durable(dir.path());
        let log = Log::open(dir.path()).unwrap();
        Left { log, _dir: dir }
    }
}

struct Left {
    log: Log,
    _dir: tempfile::TempDir,
}

fn hard_state() -> HardState {
    HardState {
        current_term: Term(3),
        voted_for: NodeId::new(1),
        commit_index: almadia::LogIndex(1),
    }
}

fn write(must_sync: bool) -> Task {
    let [from, to] = [1, 2].map(|id| NodeId::new(id).unwrap());
    let entry = Entry {
        id: LogId::new(3, 1),
        payload: Payload::Data("command".into()),
        context: "".into(),
    };
    Task::Write {
        region: REGION,
        written: Written {
            generation: 1,
            number: 1,
        },
        write: RegionWrite {
            entries: vec![Entries::from([entry])],
            ..RegionWrite::of(hard_state())
        },
        must_sync,
        messages: vec![Message {
            to,
            from,
            term: Term(3),
            body: Body::TimeoutNow,
        }],
    }
}

/// A node that speaks for what the power may still take votes twice, or loses what it has
/// acknowledged.
#[test]
fn nothing_is_said_of_a_write_before_it_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    let writer = Writer::at(dir.path());
    writer.files.let_syncs(Syncs::Wait);
    writer.tasks.send(write(true)).unwrap();

    let said = writer.sent.recv_timeout(WHILE);
    assert_eq!(said.unwrap_err(), RecvTimeoutError::Timeout);
    assert!(
        writer.inputs.try_recv().is_err(),
        "the node was told too early"
    );
    assert_eq!(
        writer.left().log.hard_state(REGION).unwrap(),
        HardState::default()
    );

    writer.files.let_syncs(Syncs::Work);
    let (region, messages) = writer.sent.recv_timeout(SOON).unwrap();
    assert_eq!((region, messages.len()), (REGION, 1));
    let told = writer.inputs.recv_timeout(SOON).unwrap();
    assert!(matches!(told, Input::Persisted(writes) if writes.len() == 1));
    let left = writer.left();
    assert_eq!(left.log.hard_state(REGION).unwrap(), hard_state());
    assert_eq!(left.log.last_index(REGION), Some(almadia::LogIndex(1)));
    writer.end();
}

/// A new commit index is not worth a sync.
#[test]
fn a_write_that_need_not_last_waits_for_no_sync() {
    let dir = tempfile::tempdir().unwrap();
    let writer = Writer::at(dir.path());
    writer.files.let_syncs(Syncs::Wait);
    writer.tasks.send(write(false)).unwrap();
    writer.sent.recv_timeout(SOON).unwrap();
    assert!(matches!(
        writer.inputs.recv_timeout(SOON),
        Ok(Input::Persisted(_))
    ));
    writer.files.let_syncs(Syncs::Work);
    writer.end();
}

/// Whoever waits for the beginning or the end of a region goes on when it is durable.
#[test]
fn who_waits_for_a_region_to_begin_or_end_waits_until_it_is_durable() {
    let begin = |done| Task::Begin(REGION, LogId::new(3, 10), hard_state(), done);
    let tasks = [
        ("begin", begin as fn(Sender<()>) -> Task),
        ("leave", |done| Task::Leave(REGION, done)),
        ("stay", |done| Task::Stay(REGION, done)),
    ];
    for (name, task) in tasks {
        let dir = tempfile::tempdir().unwrap();
        let writer = Writer::at(dir.path());
        writer.tasks.send(write(true)).unwrap();
        writer.sent.recv_timeout(SOON).unwrap();
        writer.inputs.recv_timeout(SOON).unwrap();
        writer.files.let_syncs(Syncs::Wait);
        let (done, waits) = channel();
        writer.tasks.send(task(done)).unwrap();
        assert_eq!(
            waits.recv_timeout(WHILE),
            Err(RecvTimeoutError::Timeout),
            "{name}"
        );
        writer.files.let_syncs(Syncs::Work);
        waits.recv_timeout(SOON).expect(name);
        let left = writer.left();
        let cut = left.log.cut(REGION).unwrap();
        assert_eq!(cut == LogId::new(3, 10), name == "begin", "{name}");
        assert_eq!(left.log.is_leaving(REGION), name == "leave", "{name}");
        assert_eq!(left.log.hard_state(REGION).unwrap(), hard_state(), "{name}");
        writer.end();
    }
}

/// A region that is forgotten is said to be when its vote is kept for good.
#[test]
fn a_region_is_forgotten_when_that_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    let writer = Writer::at(dir.path());
    writer.files.let_syncs(Syncs::Wait);
    writer
        .tasks
        .send(Task::Forget(REGION, hard_state()))
        .unwrap();
    let told = writer.inputs.recv_timeout(WHILE);
    assert!(matches!(told, Err(RecvTimeoutError::Timeout)));
    writer.files.let_syncs(Syncs::Work);
    let told = writer.inputs.recv_timeout(SOON).unwrap();
    assert!(matches!(told, Input::Forgotten(REGION)));
    let left = writer.left();
    assert!(left.log.has_forgotten(REGION));
    assert_eq!(
        left.log.hard_state(REGION).unwrap().voted_for,
        NodeId::new(1)
    );
    writer.end();
}
