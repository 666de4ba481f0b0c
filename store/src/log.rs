//! The logs of all regions, in one raft-engine.
//!
//! Owns what is written for a region and under which key, and the [`Storage`] by which a Raft node
//! reads it back. One write serves all regions that have something to write, with one fsync.
//! Knows neither threads nor what is in an entry.

use std::path::Path;
use std::sync::Arc;

use almadia::{
    ConfState, Entries, EntriesRequest, Entry, HardState, InitialState, LogId, LogIndex, NodeId,
    Snapshot, Storage, StorageError, Term,
};
use almadia_proto::{Decode, Encode};
use raft_engine::{Command, Config, Engine, LogBatch, ReadableSize, RecoveryMode};
use thiserror::Error;

use crate::data_dir::sync_dir;
use crate::log::raw::{Raw, RawEntry};
use crate::region::RegionId;
use crate::snapshot::Snapshots;

#[cfg(test)]
pub(crate) mod fault_fs;
mod raw;
#[cfg(test)]
mod tests;

#[cfg(not(test))]
type Files = raft_engine::env::DefaultFileSystem;

/// Tests decide what becomes of a sync.
#[cfg(test)]
type Files = fault_fs::FaultFs;

#[cfg(not(test))]
const fn files(_: &Path) -> Files {
    raft_engine::env::DefaultFileSystem
}

#[cfg(test)]
fn files(dir: &Path) -> Files {
    Files::of(dir)
}

const HARD_STATE: &[u8] = b"hard state";
/// Up to where the log is cut.
const CUT: &[u8] = b"cut";
/// The snapshot with which the log begins, until it is in the state machine.
const SNAPSHOT: &[u8] = b"snapshot";

/// This node has no part in the region any more, and forgets it.
const LEAVING: &[u8] = b"leaving";

/// This node had a part in the region, and has forgotten it.
const FORGOTTEN: &[u8] = b"forgotten";

/// No region: here it is noted that the log was opened.
const OPENED: u64 = u64::MAX;

/// Why the log did not do what it was asked.
#[derive(Debug, Error)]
pub enum LogError {
    /// raft-engine says why.
    #[error("the log failed: {0}")]
    Engine(#[from] raft_engine::Error),
    /// A record is not as this version writes it.
    #[error("a record of the log cannot be read: {0}")]
    Record(#[from] almadia_proto::DecodeError),
    /// The disk says why.
    #[error("the log's directory failed: {0}")]
    Io(#[from] std::io::Error),
}

/// What is to be written for a region.
#[derive(Debug, Default)]
pub struct RegionWrite {
    /// To take the place of the log.
    pub snapshot: Option<Box<Snapshot>>,
    /// To take the place of what the log holds from the first of them on.
    pub entries: Vec<Entries>,
    /// The hard state.
    pub hard_state: Option<HardState>,
}

impl RegionWrite {
    /// A hard state alone.
    #[must_use]
    pub fn of(hard_state: HardState) -> Self {
        Self {
            hard_state: Some(hard_state),
            ..Self::default()
        }
    }
}

/// The engine.
#[derive(Clone)]
pub struct Log {
    engine: Arc<Engine<Files>>,
}

impl Log {
    /// Opens the logs in this directory, or makes it.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn open(dir: &Path) -> Result<Self, LogError> {
        Self::open_with(dir, ReadableSize::mb(64), ReadableSize::mb(256))
    }

    /// With small files, which are given back soon.
    #[cfg(test)]
    pub(crate) fn open_small(dir: &Path) -> Self {
        Self::open_with(dir, ReadableSize::kb(1), ReadableSize::kb(3)).expect("it can be opened")
    }

    /// With files of this size, of which the oldest are given back when there are so many bytes.
    fn open_with(dir: &Path, file: ReadableSize, all: ReadableSize) -> Result<Self, LogError> {
        let config = Config {
            dir: dir.to_string_lossy().into_owned(),
            // A write that a crash has torn was never acknowledged.
            recovery_mode: RecoveryMode::TolerateTailCorruption,
            recovery_threads: 2,
            // Compressing costs more than it spares on a disk that has only to be flushed.
            batch_compression_threshold: ReadableSize::kb(0),
            target_file_size: file,
            purge_threshold: all,
            ..Config::default()
        };
        let engine = Engine::open_with_file_system(config, Arc::new(files(dir)))?;
        // What a killed process had written may not be on the disk; nodes will speak for it. An
        // empty write would not reach the disk.
        let mut batch = LogBatch::default();
        batch.put(OPENED, b"opened".to_vec(), Vec::new())?;
        engine.write(&mut batch, true)?;
        // The engine does this for every file but the first.
        sync_dir(dir)?;
        Ok(Self {
            engine: Arc::new(engine),
        })
    }

    /// All regions that have something here.
    #[must_use]
    pub fn regions(&self) -> Vec<RegionId> {
        let regions = self.engine.raft_groups().into_iter();
        regions.filter(|id| *id != OPENED).map(RegionId).collect()
    }

    /// Begins a write.
    #[must_use]
    pub fn write(&self) -> LogWrite<'_> {
        LogWrite {
            engine: &self.engine,
            batch: LogBatch::default(),
        }
    }

    /// Gives the disk back what is cut. Regions that keep much from it are returned.
    ///
    /// # Errors
    ///
    /// If the engine fails.
    pub fn purge(&self) -> Result<Vec<RegionId>, LogError> {
        let regions = self.engine.purge_expired_files()?;
        Ok(regions.into_iter().map(RegionId).collect())
    }

    /// The last entry that is there of a region.
    #[must_use]
    pub(crate) fn last_index(&self, region: RegionId) -> Option<LogIndex> {
        self.engine.last_index(region.0).map(LogIndex)
    }

    /// Up to where a region's log is cut.
    ///
    /// # Errors
    ///
    /// If the record cannot be read.
    pub fn cut(&self, region: RegionId) -> Result<LogId, LogError> {
        let cut = self.engine.get(region.0, CUT);
        Ok(cut.map_or(LogId::ZERO, |bytes| read_log_id(&bytes)))
    }

    /// The snapshot that has yet to be put into the state machine.
    ///
    /// # Errors
    ///
    /// If the record cannot be read.
    pub fn snapshot(&self, region: RegionId) -> Result<Option<Snapshot>, LogError> {
        let bytes = self.engine.get(region.0, SNAPSHOT);
        Ok(bytes
            .map(|bytes| Snapshot::decode(bytes.into()))
            .transpose()?)
    }

    /// Whether this node was about to forget the region.
    #[must_use]
    pub fn is_leaving(&self, region: RegionId) -> bool {
        self.engine.get(region.0, LEAVING).is_some()
    }

    /// Whether this node had a part in the region, and has forgotten it.
    #[must_use]
    pub fn has_forgotten(&self, region: RegionId) -> bool {
        self.engine.get(region.0, FORGOTTEN).is_some()
    }

    /// The last hard state of a region.
    ///
    /// # Errors
    ///
    /// If the record cannot be read.
    pub fn hard_state(&self, region: RegionId) -> Result<HardState, LogError> {
        let bytes = self.engine.get(region.0, HARD_STATE);
        Ok(bytes.map_or(Ok(HardState::default()), |bytes| {
            HardState::decode(bytes.into())
        })?)
    }
}

/// A write for some regions.
pub struct LogWrite<'log> {
    engine: &'log Engine<Files>,
    batch: LogBatch,
}

impl LogWrite<'_> {
    /// What a region wants written.
    ///
    /// # Errors
    ///
    /// If the write is too large.
    pub fn put(&mut self, region: RegionId, write: &RegionWrite) -> Result<(), LogError> {
        let id = region.0;
        if let Some(snapshot) = &write.snapshot {
            self.begin_at(region, snapshot.last_included)?;
            self.batch
                .put(id, SNAPSHOT.to_vec(), snapshot.encode().to_vec())?;
        }
        for run in &write.entries {
            let entries: Vec<_> = run.iter().map(RawEntry::of).collect();
            self.batch.add_entries::<Raw>(id, &entries)?;
        }
        if let Some(hard_state) = write.hard_state {
            self.batch
                .put(id, HARD_STATE.to_vec(), hard_state.encode().to_vec())?;
        }
        Ok(())
    }

    /// A region's log begins here, and holds nothing but its hard state. What is not committed yet of this
    /// write must not be about the region.
    ///
    /// # Errors
    ///
    /// If the write is too large.
    pub fn begin_at(&mut self, region: RegionId, cut: LogId) -> Result<(), LogError> {
        let hard_state = self.engine.get(region.0, HARD_STATE);
        // To cut it off would not do: when files are purged that is forgotten, and entries that were
        // moved to younger files come back.
        self.batch.add_command(region.0, Command::Clean);
        self.batch.put(region.0, CUT.to_vec(), log_id_bytes(cut))?;
        if let Some(hard_state) = hard_state {
            self.batch.put(region.0, HARD_STATE.to_vec(), hard_state)?;
        }
        Ok(())
    }

    /// A region's log is cut behind this entry, which it holds.
    ///
    /// # Errors
    ///
    /// If the write is too large.
    pub fn cut(&mut self, region: RegionId, cut: LogId) -> Result<(), LogError> {
        let index = cut.index.0 + 1;
        self.batch.add_command(region.0, Command::Compact { index });
        self.batch.put(region.0, CUT.to_vec(), log_id_bytes(cut))?;
        Ok(())
    }

    /// This node is about to forget the region.
    ///
    /// # Errors
    ///
    /// If the write is too large.
    pub fn leave(&mut self, region: RegionId) -> Result<(), LogError> {
        Ok(self.batch.put(region.0, LEAVING.to_vec(), Vec::new())?)
    }

    /// This node has forgotten the region, but for its vote: if it joins again, it must not vote
    /// twice in a term.
    ///
    /// # Errors
    ///
    /// If the write is too large.
    pub fn forget(&mut self, region: RegionId, hard_state: HardState) -> Result<(), LogError> {
        self.begin_at(region, LogId::ZERO)?;
        let commit_index = LogIndex::ZERO;
        let hard_state = HardState {
            commit_index,
            ..hard_state
        };
        self.batch.put(region.0, FORGOTTEN.to_vec(), Vec::new())?;
        self.put(region, &RegionWrite::of(hard_state))
    }

    /// This node is a member after all.
    pub fn stay(&mut self, region: RegionId) {
        self.batch.delete(region.0, LEAVING.to_vec());
    }

    /// The snapshot is in the state machine now.
    pub fn forget_snapshot(&mut self, region: RegionId) {
        self.batch.delete(region.0, SNAPSHOT.to_vec());
    }

    /// Writes, durably. (What is not durable must not be there at all: what it takes the place of is given
    /// back by [`Log::purge`], and both would be lost.) Returns the bytes.
    ///
    /// # Errors
    ///
    /// If the disk fails; then nothing is to be said of what was written.
    pub fn commit(mut self) -> Result<usize, LogError> {
        Ok(self.engine.write(&mut self.batch, true)?)
    }
}

fn log_id_bytes(id: LogId) -> Vec<u8> {
    [id.term.0.to_le_bytes(), id.index.0.to_le_bytes()].concat()
}

fn read_log_id(bytes: &[u8]) -> LogId {
    let number = |part: Option<&[u8; 8]>| part.map_or(0, |part| u64::from_le_bytes(*part));
    let term = number(bytes.first_chunk());
    LogId::new(term, number(bytes.last_chunk()))
}

/// A region's log, as its Raft node reads it.
pub struct RegionLog {
    log: Log,
    region: RegionId,
    membership: ConfState,
    /// The last entry that is not there any more.
    cut: LogId,
    snapshots: Arc<Snapshots>,
}

impl RegionLog {
    /// The log of a region that has applied what `membership` is the membership of.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn open(
        log: Log,
        region: RegionId,
        membership: ConfState,
        snapshots: Arc<Snapshots>,
    ) -> Result<Self, LogError> {
        let cut = log.cut(region)?;
        Ok(Self {
            log,
            region,
            membership,
            cut,
            snapshots,
        })
    }

    /// The log begins behind this entry now.
    pub const fn set_cut(&mut self, cut: LogId) {
        self.cut = cut;
    }

    /// How many entries it holds.
    #[must_use]
    pub fn entry_count(&self) -> u64 {
        self.last().since(self.cut.index)
    }

    fn last(&self) -> LogIndex {
        let last = self.log.last_index(self.region);
        last.map_or(self.cut.index, |last| last.max(self.cut.index))
    }

    fn entry(&self, index: LogIndex) -> Result<Entry, StorageError> {
        let look = || self.log.engine.get_entry::<Raw>(self.region.0, index.0);
        // A file may be purged between looking up where the entry is and reading it; then it is in
        // another one.
        let entry = look().or_else(|_| look()).map_err(StorageError::other)?;
        entry.ok_or(StorageError::Unavailable)?.decode()
    }
}

impl Storage for RegionLog {
    fn initial_state(&self) -> Result<InitialState, StorageError> {
        let hard_state = self.log.hard_state(self.region);
        Ok(InitialState {
            hard_state: hard_state.map_err(StorageError::other)?,
            conf_state: self.membership.clone(),
        })
    }

    fn entries(&self, request: &EntriesRequest) -> Result<Entries, StorageError> {
        if request.first <= self.cut.index {
            return Err(StorageError::Compacted);
        }
        let fetch = || {
            let mut found = Vec::new();
            let fetched = self.log.engine.fetch_entries_to::<Raw>(
                self.region.0,
                request.first.0,
                request.last.0 + 1,
                usize::try_from(request.max_bytes).ok(),
                &mut found,
            );
            fetched.map(|_| found)
        };
        // As for one entry.
        let found = fetch().or_else(|_| fetch()).map_err(StorageError::other)?;
        let entries: Result<Vec<_>, _> = found.into_iter().map(RawEntry::decode).collect();
        Ok(Entries::from(entries?))
    }

    fn term(&self, index: LogIndex) -> Result<Term, StorageError> {
        if index < self.cut.index {
            return Err(StorageError::Compacted);
        }
        if index == self.cut.index {
            return Ok(self.cut.term);
        }
        Ok(self.entry(index)?.id.term)
    }

    fn first_index(&self) -> Result<LogIndex, StorageError> {
        Ok(self.cut.index.next())
    }

    fn last_index(&self) -> Result<LogIndex, StorageError> {
        Ok(self.last())
    }

    fn snapshot(&self, request_index: LogIndex, _to: NodeId) -> Result<Snapshot, StorageError> {
        let at_least = request_index.max(self.cut.index);
        self.snapshots.snapshot(self.region, at_least)
    }
}
