//! What is said of the state machine, and what a crash just then leaves of it.

use std::fs;
use std::sync::mpsc::channel;
use std::thread;

use almadia::{Entry, NodeId, Payload};
use tempfile::TempDir;

use super::*;
use crate::command::{Command, Write};
use crate::region::{BEGIN, KeyRange};
use crate::routes::Routes;

const SOON: Duration = Duration::from_secs(20);

/// A thread that applies, for one region of all keys.
struct Applier {
    dir: TempDir,
    tasks: Sender<Task>,
    inputs: Receiver<Input>,
    thread: JoinHandle<()>,
    last: LogId,
}

impl Applier {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let state = Arc::new(State::open(&dir.path().join("state")).unwrap());
        let membership = ConfState::of_voters(NodeId::new(1));
        let region = Region::new(
            RegionId::FIRST,
            KeyRange::default(),
            &membership,
            BTreeMap::new(),
        );
        state.change().put_region(&region).unwrap();
        state.checkpoint().unwrap();
        let snapshots = Snapshots::open(dir.path().join("snapshots"), Arc::clone(&state)).unwrap();
        let (tasks, from_tasks) = channel();
        let (to_inputs, inputs) = channel();
        let thread = thread::spawn(move || {
            let metrics = Arc::new(Metrics::new(Arc::new(Routes::default())));
            run(&state, &snapshots, &from_tasks, &to_inputs, &metrics).unwrap();
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

    /// Its directory may be removed then.
    fn end(self) {
        drop(self.tasks);
        self.thread.join().unwrap();
    }
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
