//! A process that runs almadia on the same disk. All bytes go through `almadia-proto`.

use almadia::{
    Bytes, ConfState, Config, Entries, EntriesRequest, Entry, HardState, InitialState, LogId,
    LogIndex, MemberChange, MembershipChange, Message, NodeId, Payload, RawNode, Ready, RoleKind,
    Snapshot, Storage, StorageError, Term,
};
use almadia_proto::{Decode, Encode};

use crate::disk::Disk;
use crate::process::{ELECTION_TIMEOUT, Frame, Kind, Process, Settings, election_timeout};

fn read<T: Decode>(bytes: &[u8]) -> T {
    T::decode(Bytes::copy_from_slice(bytes)).expect("almadia-proto reads what is there")
}

fn id_of(number: u64) -> NodeId {
    NodeId::new(number).expect("ids start at 1")
}

/// The disk as almadia reads it.
#[derive(Debug)]
struct Store(Disk);

impl Store {
    fn before_log(&self) -> LogId {
        let files = self.0.read();
        let snapshot = files.snapshot.as_deref().map(read::<Snapshot>);
        snapshot.map_or(LogId::ZERO, |snapshot| snapshot.last_included)
    }
}

impl Storage for Store {
    fn initial_state(&self) -> Result<InitialState, StorageError> {
        let files = self.0.read();
        Ok(InitialState {
            hard_state: read(&files.hard_state),
            conf_state: read(&files.conf_state),
        })
    }

    fn entries(&self, request: &EntriesRequest) -> Result<Entries, StorageError> {
        if request.first <= self.before_log().index {
            return Err(StorageError::Compacted);
        }
        let files = self.0.read();
        let range = files.log.range(request.first.0..=request.last.0);
        let entries: Entries = range.map(|(_, bytes)| read::<Entry>(bytes)).collect();
        Ok(entries.prefix_within(request.max_bytes))
    }

    fn term(&self, index: LogIndex) -> Result<Term, StorageError> {
        let before = self.before_log();
        if index == before.index {
            return Ok(before.term);
        }
        if index < before.index {
            return Err(StorageError::Compacted);
        }
        let entry = self.0.read().log.get(&index.0).map(|it| read::<Entry>(it));
        entry
            .map(|entry| entry.id.term)
            .ok_or(StorageError::Unavailable)
    }

    fn first_index(&self) -> Result<LogIndex, StorageError> {
        Ok(self.before_log().index.next())
    }

    fn last_index(&self) -> Result<LogIndex, StorageError> {
        let last = self.0.read().log.last_key_value().map(|(&it, _)| it);
        Ok(last.map_or(self.before_log().index, LogIndex))
    }

    fn snapshot(&self, index: LogIndex, _: NodeId) -> Result<Snapshot, StorageError> {
        let snapshot = self.0.read().snapshot.as_deref().map(read::<Snapshot>);
        let snapshot = snapshot.filter(|it| it.last_included.index >= index);
        snapshot.ok_or(StorageError::TemporarilyUnavailable)
    }
}

struct New {
    node: RawNode<Store>,
    disk: Disk,
}

pub(crate) fn start(
    id: u64,
    disk: &Disk,
    settings: Settings,
    incarnation: u32,
) -> Box<dyn Process> {
    let store = Store(disk.clone());
    // raft-rs has kept the index alone: the term is that of the entry, or of the snapshot.
    let applied = LogIndex(disk.read().applied);
    let term = store.term(applied).expect("the log holds it");
    let ticks = |ticks: u64| u32::try_from(ticks).expect("few");
    let config = Config::builder(id_of(id))
        .election_timeout_ticks(ticks(ELECTION_TIMEOUT))
        .max_election_timeout_ticks(ticks(election_timeout(id) + 1))
        .pre_vote(settings.pre_vote)
        .check_quorum(settings.check_quorum)
        .incarnation(incarnation)
        .applied(LogId::new(term.0, applied.0))
        .build();
    let node = RawNode::new(config.expect("it is sound"), store);
    let node = node.expect("almadia starts on this disk");
    let disk = disk.clone();
    Box::new(New { node, disk })
}

fn frames(messages: &[Message]) -> Vec<Frame> {
    let messages = messages.iter();
    let frames = messages.map(|it| (it.to.get(), it.encode().to_vec()));
    frames.collect()
}

impl New {
    fn persist(&self, ready: &Ready) {
        let mut files = self.disk.write();
        if let Some(snapshot) = &ready.snapshot {
            let index = snapshot.last_included.index.0;
            files.install(snapshot.encode().to_vec(), index, &snapshot.data);
            files.conf_state = snapshot.conf_state.encode().to_vec();
        }
        for entry in ready.entries.iter().flat_map(|run| run.iter()) {
            files.append(entry.index().0, entry.encode().to_vec());
        }
        if let Some(hard_state) = ready.hard_state {
            files.hard_state = HardState::encode(&hard_state).to_vec();
        }
    }

    fn apply(&mut self, ready: &Ready) {
        for entry in ready.committed_entries.iter().flat_map(|run| run.iter()) {
            let index = entry.index().0;
            match &entry.payload {
                Payload::Data(data) => self.disk.write().apply(index, data),
                Payload::Change(change) => {
                    let state = self.node.apply_conf_change(change);
                    let state: ConfState = state.expect("it can be applied");
                    let mut files = self.disk.write();
                    files.conf_state = state.encode().to_vec();
                    files.apply(index, b"");
                }
            }
        }
    }
}

impl Process for New {
    fn kind(&self) -> Kind {
        Kind::Almadia
    }

    fn tick(&mut self) {
        self.node.tick().expect("it runs");
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.node.step(read(bytes)).expect("it takes the message");
    }

    fn propose(&mut self, command: &str) -> bool {
        self.node.propose("", command.to_string()).is_ok()
    }

    fn campaign(&mut self) {
        self.node.campaign().expect("it may");
    }

    fn change(&mut self, learner: u64, comes: bool) -> bool {
        let learner = id_of(learner);
        let change = MembershipChange::of([if comes {
            MemberChange::AddLearner(learner)
        } else {
            MemberChange::Remove(learner)
        }]);
        self.node.propose_conf_change("", change).is_ok()
    }

    fn hand_over(&mut self, to: u64) {
        self.node.transfer_leader(id_of(to)).expect("it may");
    }

    fn leads(&self) -> bool {
        self.node.role() == RoleKind::Leader
    }

    fn leader(&self) -> u64 {
        self.node.leader().map_or(0, NodeId::get)
    }

    fn term(&self) -> u64 {
        self.node.current_term().0
    }

    fn commit_index(&self) -> u64 {
        self.node.commit_index().0
    }

    fn last_index(&self) -> u64 {
        self.node.last_log().index.0
    }

    fn compact(&mut self) {
        let mut files = self.disk.write();
        let Some(last) = files.log.get(&files.applied).map(|it| read::<Entry>(it)) else {
            return;
        };
        let snapshot = Snapshot {
            last_included: last.id,
            conf_state: read(&files.conf_state),
            data: files.state().into(),
        };
        files.compact(snapshot.encode().to_vec());
    }

    fn work(&mut self) -> Vec<Frame> {
        let mut sent = Vec::new();
        while let Some(ready) = self.node.ready().expect("it runs") {
            sent.extend(frames(&ready.messages));
            self.persist(&ready);
            if ready.must_sync {
                self.disk.sync();
            }
            sent.extend(frames(&ready.messages_after_persist));
            self.apply(&ready);
            self.node.advance(ready).expect("it was the last");
        }
        sent
    }

    fn send_before_writing(&mut self) -> Vec<Frame> {
        let ready = self.node.ready().expect("it runs");
        ready.map_or_else(Vec::new, |ready| frames(&ready.messages))
    }
}
