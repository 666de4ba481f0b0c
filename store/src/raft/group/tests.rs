//! One region's node, whose log is written when the test says so.

use std::sync::mpsc::{Receiver, channel};

use almadia::ConfState;
use tempfile::TempDir;

use super::*;
use crate::disk::Disk;
use crate::log::{Log, RegionWrite};
use crate::raft::Outlets;
use crate::region::{Address, BEGIN, begins_with};
use crate::routes::Routes;
use crate::snapshot::Snapshots;
use crate::state::State;

const REGION: RegionId = RegionId::FIRST;
const KEEP: u64 = 10;

/// The only voter of a region.
struct Alone {
    _dir: TempDir,
    log: Log,
    group: Group,
    outlets: Outlets,
    to_log: Receiver<log_writer::Task>,
    to_state: Receiver<applier::Task>,
}

impl Alone {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let id = NodeId::new(1).unwrap();
        let state = Arc::new(State::open(&dir.path().join("state")).unwrap());
        let snapshots = Snapshots::open(dir.path().join("snapshots"), state).unwrap();
        let log = Log::open(&dir.path().join("log")).unwrap();
        let mut write = log.write();
        write.begin_at(REGION, BEGIN).unwrap();
        let hard_state = begins_with(HardState::default());
        write.put(REGION, &RegionWrite::of(hard_state)).unwrap();
        write.commit(true).unwrap();
        let membership = ConfState::of_voters([id]);
        let region = Region::new(REGION, KeyRange::default(), &membership, BTreeMap::new());
        let entries =
            RegionLog::open(log.clone(), REGION, membership, Arc::clone(&snapshots)).unwrap();
        let settings = Settings {
            id,
            incarnation: 1,
            lease_reads: false,
            keep_entries: KEEP,
            seed: 1,
        };
        let mut group = Group::open(&settings, REGION, 1, Some(region), entries).unwrap();
        group.campaign();
        let (log_tasks, to_log) = channel();
        let (apply, to_state) = channel();
        let (inputs, _) = channel();
        let disk = Disk::new(id, dir.path(), 0);
        let transport = Transport::new(
            id,
            Address::default(),
            String::new(),
            inputs,
            snapshots,
            None,
            disk,
        );
        let outlets = Outlets {
            log: log_tasks,
            apply,
            transport,
            routes: Arc::new(Routes::default()),
        };
        Self {
            _dir: dir,
            log,
            group,
            outlets,
            to_log,
            to_state,
        }
    }

    fn propose(&mut self) {
        let (reply, _) = Reply::new();
        self.group.request(Request::Propose("".into()), reply);
        self.group.work(&self.outlets).unwrap();
    }

    /// All that was handed out is written and applied. Returns up to where.
    fn settle(&mut self) -> LogId {
        loop {
            self.group.work(&self.outlets).unwrap();
            let mut is_idle = true;
            while let Ok(task) = self.to_log.try_recv() {
                let log_writer::Task::Write { written, write, .. } = task else {
                    continue;
                };
                let mut batch = self.log.write();
                batch.put(REGION, &write).unwrap();
                batch.commit(true).unwrap();
                self.group.persisted(written, &self.outlets.apply).unwrap();
                is_idle = false;
            }
            while let Ok(task) = self.to_state.try_recv() {
                let applier::Task::Entries { runs, .. } = task else {
                    continue;
                };
                let last = runs.last().and_then(almadia::Entries::last_id).unwrap();
                self.group.applied(last.index, None).unwrap();
                is_idle = false;
            }
            if is_idle {
                return self.group.node.last_log();
            }
        }
    }
}

/// Under load something is being written at any time.
#[tokio::test]
async fn a_log_is_cut_while_more_is_being_written() {
    let mut alone = Alone::new();
    alone.settle();
    assert!(alone.group.leads());
    for _ in 0..100 {
        alone.propose();
    }
    let applied = alone.settle();
    alone.propose();
    assert!(alone.group.persisted < alone.group.handed_out);
    let cut = alone.group.durable(applied, KEEP).expect("it is cut");
    assert_eq!(cut.index, LogIndex(applied.index.0 - KEEP));
    // Not again for the little that could go.
    assert_eq!(alone.group.durable(applied, KEEP), None);
}
