//! A process that runs raft-rs 0.7, as its documentation has it done. All bytes are of its codec.

use raft::eraftpb::{
    ConfChange, ConfChangeSingle, ConfChangeType, ConfChangeV2, ConfState, Entry, EntryType,
    HardState, Message, Snapshot,
};
use raft::{GetEntriesContext, RaftState, RawNode, StateRole, Storage, StorageError};

use crate::disk::Disk;
use crate::process::{ELECTION_TIMEOUT, Frame, Kind, Process, Settings, election_timeout};

fn read<T: protobuf_of_raft_rs::Message>(bytes: &[u8]) -> T {
    T::parse_from_bytes(bytes).expect("raft-rs reads what is on the disk")
}

fn bytes_of(value: &impl protobuf_of_raft_rs::Message) -> Vec<u8> {
    value.write_to_bytes().expect("raft-rs writes")
}

/// The disk as raft-rs reads it.
struct Store(Disk);

impl Store {
    /// The position before the log: its index and its term.
    fn before_log(&self) -> (u64, u64) {
        let files = self.0.read();
        let snapshot = files.snapshot.as_deref().map(read::<Snapshot>);
        snapshot.map_or((0, 0), |snapshot| {
            let metadata = snapshot.get_metadata();
            (metadata.index, metadata.term)
        })
    }
}

impl Storage for Store {
    fn initial_state(&self) -> raft::Result<RaftState> {
        let files = self.0.read();
        let mut hard_state: HardState = read(&files.hard_state);
        // As raft-rs asks of its embedder.
        hard_state.commit = hard_state.commit.max(files.applied);
        Ok(RaftState::new(hard_state, read(&files.conf_state)))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.before_log().0 {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        let files = self.0.read();
        let entries = files.log.range(low..high).map(|(_, bytes)| read(bytes));
        let mut entries: Vec<Entry> = entries.collect();
        raft::util::limit_size(&mut entries, max_size.into());
        Ok(entries)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        let (before, term) = self.before_log();
        if index == before {
            return Ok(term);
        }
        if index < before {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        let entry = self.0.read().log.get(&index).map(|it| read::<Entry>(it));
        let entry = entry.ok_or(raft::Error::Store(StorageError::Unavailable))?;
        Ok(entry.term)
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.before_log().0 + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        let last = self.0.read().log.last_key_value().map(|(&index, _)| index);
        Ok(last.unwrap_or(self.before_log().0))
    }

    fn snapshot(&self, index: u64, _: u64) -> raft::Result<Snapshot> {
        let late = raft::Error::Store(StorageError::SnapshotTemporarilyUnavailable);
        let snapshot = self.0.read().snapshot.as_deref().map(read::<Snapshot>);
        let snapshot = snapshot.filter(|it| it.get_metadata().index >= index);
        snapshot.ok_or(late)
    }
}

/// Writes the first files of a machine.
pub(crate) fn format(disk: &Disk, voters: u64) {
    let mut conf_state = ConfState::default();
    conf_state.set_voters((1..=voters).collect());
    disk.write().conf_state = bytes_of(&conf_state);
    disk.sync();
}

/// Raises the stored term above all that a node of almadia can have asked for there.
pub(crate) fn raise_term(disk: &Disk, highest: u64) {
    let mut hard_state: HardState = read(&disk.read().hard_state);
    hard_state.term = highest.max(hard_state.term) + 1_000_000;
    hard_state.vote = 0;
    disk.write().hard_state = bytes_of(&hard_state);
    disk.sync();
}

pub(crate) fn stored_term(disk: &Disk) -> u64 {
    read::<HardState>(&disk.read().hard_state).term
}

struct Old {
    node: RawNode<Store>,
    disk: Disk,
}

pub(crate) fn start(id: u64, disk: &Disk, settings: Settings) -> Box<dyn Process> {
    let ticks = |ticks: u64| usize::try_from(ticks).expect("few");
    let config = raft::Config {
        id,
        election_tick: ticks(ELECTION_TIMEOUT),
        min_election_tick: ticks(election_timeout(id)),
        max_election_tick: ticks(election_timeout(id) + 1),
        heartbeat_tick: 1,
        applied: disk.read().applied,
        pre_vote: settings.pre_vote,
        check_quorum: settings.check_quorum,
        ..raft::Config::default()
    };
    let logger = slog::Logger::root(slog::Discard, slog::o!());
    let node = RawNode::new(&config, Store(disk.clone()), &logger);
    let node = node.expect("raft-rs starts on this disk");
    let disk = disk.clone();
    Box::new(Old { node, disk })
}

fn frames(messages: &[Message]) -> Vec<Frame> {
    let messages = messages.iter();
    messages.map(|it| (it.to, bytes_of(it))).collect()
}

impl Old {
    fn apply(&mut self, entries: &[Entry]) {
        for entry in entries {
            let data = entry.get_data();
            let state = match entry.get_entry_type() {
                EntryType::EntryNormal => {
                    self.disk.write().apply(entry.index, data);
                    continue;
                }
                EntryType::EntryConfChange => {
                    self.node.apply_conf_change(&read::<ConfChange>(data))
                }
                EntryType::EntryConfChangeV2 => {
                    self.node.apply_conf_change(&read::<ConfChangeV2>(data))
                }
            };
            let state = state.expect("it can be applied");
            let mut files = self.disk.write();
            files.conf_state = bytes_of(&state);
            files.apply(entry.index, b"");
        }
    }

    fn persist(&self, ready: &raft::Ready) {
        let mut files = self.disk.write();
        let snapshot = ready.snapshot();
        if !snapshot.is_empty() {
            let metadata = snapshot.get_metadata();
            files.install(bytes_of(snapshot), metadata.index, snapshot.get_data());
            files.conf_state = bytes_of(metadata.get_conf_state());
        }
        for entry in ready.entries() {
            files.append(entry.index, bytes_of(entry));
        }
        if let Some(hard_state) = ready.hs() {
            files.hard_state = bytes_of(hard_state);
        }
    }

    fn keep_commit_index(&self, commit: u64) {
        let mut files = self.disk.write();
        let mut hard_state: HardState = read(&files.hard_state);
        hard_state.commit = commit;
        files.hard_state = bytes_of(&hard_state);
    }
}

impl Process for Old {
    fn kind(&self) -> Kind {
        Kind::RaftRs
    }

    fn tick(&mut self) {
        self.node.tick();
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.node.step(read(bytes)).expect("it takes the message");
    }

    fn propose(&mut self, command: &str) -> bool {
        self.leads() && self.node.propose(vec![], command.into()).is_ok()
    }

    fn campaign(&mut self) {
        self.node.campaign().expect("it may");
    }

    fn change(&mut self, learner: u64, comes: bool) -> bool {
        if comes {
            let mut change = ConfChange::default();
            change.set_change_type(ConfChangeType::AddLearnerNode);
            change.node_id = learner;
            return self.node.propose_conf_change(vec![], change).is_ok();
        }
        let mut single = ConfChangeSingle::default();
        single.set_change_type(ConfChangeType::RemoveNode);
        single.node_id = learner;
        let mut change = ConfChangeV2::default();
        change.set_changes(vec![single].into());
        self.node.propose_conf_change(vec![], change).is_ok()
    }

    fn hand_over(&mut self, to: u64) {
        self.node.transfer_leader(to);
    }

    fn leads(&self) -> bool {
        self.node.raft.state == StateRole::Leader
    }

    fn leader(&self) -> u64 {
        self.node.raft.leader_id
    }

    fn term(&self) -> u64 {
        self.node.raft.term
    }

    fn commit_index(&self) -> u64 {
        self.node.raft.raft_log.committed
    }

    fn last_index(&self) -> u64 {
        self.node.raft.raft_log.last_index()
    }

    fn compact(&mut self) {
        let mut files = self.disk.write();
        let Some(last) = files.log.get(&files.applied).map(|it| read::<Entry>(it)) else {
            return;
        };
        let mut snapshot = Snapshot::default();
        snapshot.set_data(files.state().into());
        snapshot.mut_metadata().index = last.index;
        snapshot.mut_metadata().term = last.term;
        let conf_state = read(&files.conf_state);
        snapshot.mut_metadata().set_conf_state(conf_state);
        files.compact(bytes_of(&snapshot));
    }

    fn work(&mut self) -> Vec<Frame> {
        let mut sent = Vec::new();
        while self.node.has_ready() {
            let mut ready = self.node.ready();
            sent.extend(frames(&ready.take_messages()));
            self.persist(&ready);
            if ready.must_sync() {
                self.disk.sync();
            }
            sent.extend(frames(ready.persisted_messages()));
            let committed = ready.take_committed_entries();
            self.apply(&committed);
            let mut light = self.node.advance(ready);
            if let Some(commit) = light.commit_index() {
                self.keep_commit_index(commit);
            }
            sent.extend(frames(&light.take_messages()));
            let committed = light.take_committed_entries();
            self.apply(&committed);
            self.node.advance_apply();
        }
        sent
    }

    fn send_before_writing(&mut self) -> Vec<Frame> {
        frames(&self.node.ready().take_messages())
    }
}
