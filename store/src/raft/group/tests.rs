//! One region's node, whose log is written when the test says so.

use super::*;
use crate::raft::Outlets;
use crate::raft::tests::Host;

const REGION: RegionId = RegionId::FIRST;
const KEEP: u64 = 10;

/// The only voter of a region.
struct Alone {
    host: Host,
    group: Group,
    outlets: Outlets,
}

impl Alone {
    fn new() -> Self {
        let (host, outlets) = Host::new();
        let region = host.region(REGION, host.settings.id.get());
        let membership = region.membership().unwrap();
        let snapshots = Arc::clone(&host.snapshots);
        let log = RegionLog::open(host.log.clone(), REGION, membership, snapshots).unwrap();
        let mut group = Group::open(&host.settings, REGION, 1, Some(region), log).unwrap();
        group.campaign();
        Self {
            host,
            group,
            outlets,
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
            while let Ok(task) = self.host.to_log.try_recv() {
                let log_writer::Task::Write { written, write, .. } = task else {
                    continue;
                };
                let mut batch = self.host.log.write();
                batch.put(REGION, &write).unwrap();
                batch.commit().unwrap();
                self.group.persisted(written, &self.outlets.apply).unwrap();
                is_idle = false;
            }
            while let Ok(task) = self.host.to_state.try_recv() {
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
