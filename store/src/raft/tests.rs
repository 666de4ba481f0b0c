//! The thread that drives the nodes, without the others: what it wants of them comes out at the test.

use std::collections::BTreeMap;
use std::sync::mpsc::channel;
use std::thread;

use almadia::{Entries, Entry, Payload};
use tempfile::TempDir;

use super::*;
use crate::disk::Disk;
use crate::metrics::Metrics;
use crate::region::Address;
use crate::state::State;

const ME: NodeId = NodeId::new(1).unwrap();

/// What the nodes of a process have in common.
pub(super) struct Host {
    _dir: TempDir,
    pub(super) log: Log,
    pub(super) snapshots: Arc<Snapshots>,
    pub(super) settings: Settings,
    pub(super) to_log: Receiver<log_writer::Task>,
    pub(super) to_state: Receiver<applier::Task>,
}

impl Host {
    pub(super) fn new() -> (Self, Outlets) {
        let dir = TempDir::new().unwrap();
        let state = Arc::new(State::open(&dir.path().join("state")).unwrap());
        let snapshots = Snapshots::open(dir.path().join("snapshots"), state).unwrap();
        let (log, to_log) = channel();
        let (apply, to_state) = channel();
        let disk = Disk::new(ME, dir.path(), 0);
        let transport = Transport::new(
            ME,
            Address::default(),
            String::new(),
            channel().0,
            Arc::clone(&snapshots),
            None,
            disk,
        );
        let outlets = Outlets {
            log,
            apply,
            transport,
            routes: Arc::new(Routes::default()),
        };
        let settings = Settings {
            id: ME,
            incarnation: 1,
            lease_reads: false,
            keep_entries: 10,
            seed: 1,
        };
        let host = Self {
            log: Log::open(&dir.path().join("log")).unwrap(),
            _dir: dir,
            snapshots,
            settings,
            to_log,
            to_state,
        };
        (host, outlets)
    }

    /// A region of this voter, whose log begins.
    pub(super) fn region(&self, id: RegionId, voter: u64) -> Region {
        let mut write = self.log.write();
        write.begin_at(id, BEGIN).unwrap();
        let hard_state = begins_with(HardState::default());
        write
            .put(id, &crate::log::RegionWrite::of(hard_state))
            .unwrap();
        write.commit().unwrap();
        let membership = ConfState::of_voters(NodeId::new(voter));
        Region::new(id, KeyRange::default(), &membership, BTreeMap::new())
    }
}

/// A node that was removed may divide the region afterwards, as long as it has not heard of its removal. The
/// part, too, is no longer its own; and if nobody told it, it would keep its keys for ever.
#[tokio::test]
async fn who_is_no_member_of_a_part_leaves_it() {
    let (host, outlets) = Host::new();
    let [at_start, divided] = [RegionId(2), RegionId(3)].map(|id| host.region(id, 2));
    let own = host.region(RegionId::FIRST, ME.get());
    // Whoever has more in its log may become a member by that.
    let comes_back = host.region(RegionId(4), 2);
    let entry = Entry {
        id: LogId {
            index: BEGIN.index.next(),
            ..BEGIN
        },
        payload: Payload::Data(Bytes::new()),
        context: Bytes::new(),
    };
    let mut write = host.log.write();
    let more = crate::log::RegionWrite {
        entries: vec![Entries::from([entry])],
        ..Default::default()
    };
    write.put(comes_back.id, &more).unwrap();
    write.commit().unwrap();
    let regions = vec![own, at_start, comes_back];
    let Host {
        log,
        snapshots,
        settings,
        to_log,
        to_state,
        _dir,
    } = host;
    let mut raft = Raft::new(settings, log.clone(), snapshots, outlets, regions).unwrap();
    let written = log.clone();
    let writer = thread::spawn(move || {
        let metrics = Arc::new(Metrics::new(Arc::new(Routes::default())));
        log_writer::run(&written, &to_log, |_, _| (), &channel().0, &metrics)
    });
    raft.begin(divided, true).unwrap();
    let (inputs, from_inputs) = channel();
    inputs.send(Input::Stop).unwrap();
    raft.run(&from_inputs).unwrap();
    writer.join().unwrap().unwrap();
    let forgotten = to_state.iter().filter_map(|task| match task {
        applier::Task::Forget(id) => Some(id),
        applier::Task::Entries { .. } | applier::Task::Restore(..) => None,
    });
    assert_eq!(forgotten.collect::<Vec<_>>(), [RegionId(3), RegionId(2)]);
    assert!(log.is_leaving(RegionId(2)) && log.is_leaving(RegionId(3)));
    assert!(!log.is_leaving(RegionId::FIRST) && !log.is_leaving(RegionId(4)));
}
