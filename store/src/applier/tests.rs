//! What is said of the state machine, and what a crash just then leaves of it.

use std::fs;
use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::thread;

use almadia::{Entry, NodeId, Payload};
use tempfile::TempDir;

use super::*;
use crate::command::{Command, Write};
use crate::region::{BEGIN, KeyRange};
use crate::routes::Routes;
use crate::snapshot::Description;

const SOON: Duration = Duration::from_secs(20);
/// Further than what is applied.
const AHEAD: LogId = LogId::new(BEGIN.term.0, BEGIN.index.0 + 10);

/// A thread that applies, for one region of all keys.
struct Applier {
    dir: TempDir,
    tasks: Sender<Task>,
    inputs: Receiver<Input>,
    thread: JoinHandle<Result<(), SnapshotError>>,
    last: LogId,
}

impl Applier {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let state = Arc::new(State::open(&dir.path().join("state")).unwrap());
        state.change().put_region(&region()).unwrap();
        state.checkpoint().unwrap();
        let snapshots = Snapshots::open(dir.path().join("snapshots"), Arc::clone(&state)).unwrap();
        let (tasks, from_tasks) = channel();
        let (to_inputs, inputs) = channel();
        let thread = thread::spawn(move || {
            let metrics = Arc::new(Metrics::new(Arc::new(Routes::default())));
            run(&state, &snapshots, &from_tasks, &to_inputs, &metrics)
        });
        Self {
            dir,
            tasks,
            inputs,
            thread,
            last: BEGIN,
        }
    }

    fn apply(&mut self, command: &Command) {
        self.last.index = self.last.index.next();
        let entry = Entry {
            id: self.last,
            payload: Payload::Data(command.encode().into()),
            context: "".into(),
        };
        let task = Task::Entries {
            region: RegionId::FIRST,
            runs: vec![Entries::from([entry])],
            memberships: BTreeMap::new(),
            replies: Vec::new(),
        };
        self.tasks.send(task).unwrap();
    }

    /// What is said next.
    fn said(&self) -> Applied {
        match self.inputs.recv_timeout(SOON) {
            Ok(Input::Applied(mut applied)) if applied.len() == 1 => applied.remove(0),
            Ok(_) => panic!("something else was said"),
            Err(error) => panic!("nothing was said: {error}"),
        }
    }

    /// The regions that there would be if the process were killed now.
    fn left(&self) -> Vec<Region> {
        let copy = self.dir.path().join("copy");
        fs::copy(self.dir.path().join("state"), &copy).unwrap();
        State::open(&copy).unwrap().regions().unwrap()
    }

    /// A snapshot of the region that reaches further than what is applied, and the directory in which alone
    /// its file is.
    fn snapshot(&self) -> (Snapshot, PathBuf) {
        let elsewhere = TempDir::new().unwrap();
        let state = Arc::new(State::open(&elsewhere.path().join("state")).unwrap());
        let mut region = region();
        region.set_applied(AHEAD);
        state.change().put_region(&region).unwrap();
        let snapshots = Snapshots::open(elsewhere.path().join("snapshots"), state).unwrap();
        let begun = Instant::now();
        let snapshot = loop {
            match snapshots.snapshot(region.id, AHEAD.index) {
                Ok(snapshot) => break snapshot,
                Err(_) => assert!(begun.elapsed() < SOON, "no snapshot is made"),
            }
            thread::sleep(Duration::from_millis(5));
        };
        let name = Description::of(&snapshot).unwrap().name;
        let files = self.dir.path().join("snapshots");
        fs::copy(snapshots.path(&name), files.join(name)).unwrap();
        (snapshot, files)
    }

    /// Its directory may be removed then.
    fn end(self) {
        drop(self.tasks);
        self.thread.join().unwrap().unwrap();
    }
}

fn region() -> Region {
    let membership = ConfState::of_voters(NodeId::new(1));
    Region::new(
        RegionId::FIRST,
        KeyRange::default(),
        &membership,
        BTreeMap::new(),
    )
}

fn put() -> Command {
    Command::Write {
        session: None,
        writes: vec![Write::Put {
            key: "key".into(),
            value: "value".into(),
        }],
    }
}

/// The log is cut behind what is said to be durable.
#[test]
fn what_is_said_to_be_durable_outlives_a_crash() {
    let mut applier = Applier::new();
    applier.apply(&put());
    let said = applier.said();
    assert!(matches!(said, Applied::Entries { index, .. } if index == applier.last.index));
    let Applied::Durable(durable) = applier.said() else {
        panic!("something else was said");
    };
    assert_eq!(durable, [(RegionId::FIRST, applier.last)]);
    assert_eq!(applier.left()[0].applied(), applier.last);
    applier.end();
}

/// A part begins its log. If the division were forgotten then, part and whole would both have the keys.
#[test]
fn a_part_is_durable_before_anybody_hears_of_it() {
    let mut applier = Applier::new();
    let new = RegionId(2);
    applier.apply(&Command::Split {
        at: "m".into(),
        new,
    });
    let said = applier.said();
    assert!(matches!(said, Applied::Entries { parts, .. } if parts.len() == 1));
    let left = applier.left();
    let ids: Vec<_> = left.iter().map(|region| region.id).collect();
    assert_eq!(ids, [RegionId::FIRST, new]);
    assert_eq!(left[0].range.end, Some("m".into()));
    applier.end();
}

/// Its log is forgotten then.
#[test]
fn a_region_is_gone_for_good_before_anybody_hears_of_it() {
    let applier = Applier::new();
    applier.tasks.send(Task::Forget(RegionId::FIRST)).unwrap();
    assert!(matches!(
        applier.said(),
        Applied::Forgotten(RegionId::FIRST)
    ));
    assert!(applier.left().is_empty());
    applier.end();
}

/// The log forgets then that there was one to be put in its place.
#[test]
fn a_snapshot_is_durable_before_anybody_hears_that_it_is_restored() {
    let applier = Applier::new();
    let (snapshot, files) = applier.snapshot();
    let task = Task::Restore(RegionId::FIRST, snapshot);
    applier.tasks.send(task).unwrap();
    assert!(matches!(applier.said(), Applied::Restored(region) if region.applied() == AHEAD));
    assert_eq!(applier.left()[0].applied(), AHEAD);
    assert_eq!(fs::read_dir(files).unwrap().count(), 0);
    applier.end();
}

/// It is all that there is of the region.
#[test]
fn a_snapshot_that_cannot_be_restored_stays() {
    let applier = Applier::new();
    let (snapshot, files) = applier.snapshot();
    let file = fs::read_dir(&files).unwrap().next().unwrap().unwrap();
    fs::write(file.path(), "something else").unwrap();
    let task = Task::Restore(RegionId::FIRST, snapshot);
    applier.tasks.send(task).unwrap();
    let failed = applier.thread.join().unwrap();
    assert!(matches!(failed, Err(SnapshotError::Damaged)));
    assert!(file.path().exists());
}
