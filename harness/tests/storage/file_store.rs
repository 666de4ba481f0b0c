//! A log store on one file, as an embedder might write it, and with a bug on demand.
//!
//! Owns the store and its bugs. Its file is a run of records; each write is one of them, a
//! compaction writes a new file and gives it the old one's name. Must not know what it is tested
//! for.

use std::io;
use std::marker::PhantomData;

use almadia::{
    Bytes, ChangeForm, ConfState, Entries, EntriesRequest, Entry, HardState, InitialState, LogId,
    LogIndex, MembershipChange, NodeId, Payload, Snapshot, Storage, StorageError, Term,
};
use almadia_harness::storage::{Place, StoreError, Subject, Unsynced, Write};

use crate::codec::{self, HEADER_BYTES, Item};
use crate::files::{File, Files};

/// What is wrong with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    None,
    // What it writes.
    KeepsConflictingSuffix,
    WritesFirstRunOnly,
    ForgetsVote,
    StaleHardState,
    HardStateForgottenByEmptyWrite,
    InstallKeepsLog,
    InstallForgetsSnapshot,
    CompactionTakesOneMore,
    CompactsBeyondSnapshot,
    IndexesOf32Bits,
    LosesEmptyPayloads,
    LosesContexts,
    LosesChangeForms,
    // What it leaves to a crash.
    TwoRecordsForOneWrite,
    NoSync,
    SyncsFirstOfManyOnly,
    NoChecksum,
    AppendsBehindGarbage,
    NoSyncAtOpening,
    OpensInPlace,
    NoDirectorySync,
    NoSyncBeforeRename,
    CompactsInPlace,
    // What it makes of errors.
    ReadErrorIsCompacted,
    ReadErrorIsEmptyAnswer,
    ReadErrorEndsTheLog,
    ReadErrorIsANewStore,
    SwallowsSyncErrors,
}

const LOG: &str = "log";
const NEW_LOG: &str = "log.new";

/// An entry in the file.
#[derive(Clone, Copy, Debug)]
struct Located {
    id: LogId,
    /// What it counts for in limits.
    size_bytes: u64,
    offset: u64,
    length: usize,
}

pub(crate) struct FileStore<F: Files> {
    files: F,
    file: F::File,
    end: u64,
    synced: u64,
    members: ConfState,
    hard_state: HardState,
    /// The entry before the first.
    before: LogId,
    log: Vec<Located>,
    snapshot: Option<Snapshot>,
    bug: Bug,
}

impl<F: Files> FileStore<F> {
    fn open(files: &F, members: &ConfState, bug: Bug) -> Result<Self, StoreError> {
        let found = match files.open(LOG) {
            Err(_) if bug == Bug::ReadErrorIsANewStore => None,
            found => found?,
        };
        let is_new = found.is_none();
        let file = match found {
            Some(file) => file,
            None => files.create(NEW_LOG)?,
        };
        let mut store = Self {
            files: files.clone(),
            file,
            end: 0,
            synced: 0,
            members: members.clone(),
            hard_state: HardState::default(),
            before: LogId::ZERO,
            log: Vec::new(),
            snapshot: None,
            bug,
        };
        if is_new {
            store.rewrite()?;
        } else {
            store.replay()?;
        }
        Ok(store)
    }

    /// Reads the file up to its last sound record, cuts off what a crash left behind that, and
    /// makes sure that all which was read is durable.
    fn replay(&mut self) -> Result<(), StoreError> {
        let size = self.file.size_bytes()?;
        loop {
            let body = match self.read_record(size) {
                Err(_) if self.bug == Bug::ReadErrorEndsTheLog => break,
                body => body?,
            };
            let Some(body) = body else { break };
            let Some(items) = codec::decode(&body) else {
                break;
            };
            let start = self.end + HEADER_BYTES as u64;
            for (item, offset, length) in items {
                self.apply(&item, start + offset as u64, length);
            }
            self.end = start + body.len() as u64;
        }
        if self.bug == Bug::AppendsBehindGarbage {
            self.end = size;
        } else if self.end < size {
            self.file.resize(self.end)?;
        }
        if self.bug == Bug::OpensInPlace {
            self.rewrite()?;
        }
        if self.bug != Bug::NoSyncAtOpening {
            self.sync()?;
            self.files.sync_directory()?;
        }
        Ok(())
    }

    /// The body of the record at the end of what was read, if there is a sound one.
    fn read_record(&self, size: u64) -> io::Result<Option<Vec<u8>>> {
        if self.end + HEADER_BYTES as u64 > size {
            return Ok(None);
        }
        let header = codec::header(&self.file.read_at(self.end, HEADER_BYTES)?);
        let Some((length, sum)) = header else {
            return Ok(None);
        };
        let start = self.end + HEADER_BYTES as u64;
        if length == 0 || start + length as u64 > size {
            return Ok(None);
        }
        let body = self.file.read_at(start, length)?;
        let is_sound = codec::checksum(&body) == sum || self.bug == Bug::NoChecksum;
        Ok(is_sound.then_some(body))
    }

    fn apply(&mut self, item: &Item, offset: u64, length: usize) {
        match item {
            Item::Members(members) => self.members = members.clone(),
            Item::HardState(hard_state) => self.hard_state = *hard_state,
            Item::Installed(snapshot) => {
                self.before = snapshot.last_included;
                if self.bug == Bug::InstallKeepsLog {
                    let last = snapshot.last_included.index;
                    self.log.retain(|entry| entry.id.index > last);
                } else {
                    self.log.clear();
                }
                if self.bug != Bug::InstallForgetsSnapshot {
                    self.snapshot = Some(snapshot.clone());
                }
            }
            Item::Saved(snapshot) => self.snapshot = Some(snapshot.clone()),
            Item::Entry(entry) => {
                let located = Located {
                    id: entry.id,
                    size_bytes: entry.size_bytes(),
                    offset,
                    length,
                };
                self.put(located);
            }
            Item::Base(id) => {
                self.before = *id;
                self.log.retain(|entry| entry.id.index > id.index);
            }
        }
    }

    /// Puts an entry into the log, in the place of what is there and behind.
    fn put(&mut self, located: Located) {
        let mut at = usize::try_from(located.id.index.since(self.first())).unwrap_or(usize::MAX);
        if self.bug == Bug::IndexesOf32Bits {
            let index = located.id.index.0 & u64::from(u32::MAX);
            at = usize::try_from(LogIndex(index).since(self.first())).unwrap_or(usize::MAX);
        }
        if self.bug == Bug::KeepsConflictingSuffix && at < self.log.len() {
            self.log[at] = located;
            return;
        }
        self.log.truncate(at);
        self.log.push(located);
    }

    fn first(&self) -> LogIndex {
        self.before.index.next()
    }

    fn last(&self) -> LogIndex {
        self.log
            .last()
            .map_or(self.before.index, |entry| entry.id.index)
    }

    fn locate(&self, index: LogIndex) -> Option<&Located> {
        let at = index.since(self.before.index).checked_sub(1)?;
        self.log.get(usize::try_from(at).ok()?)
    }

    fn read(&self, located: &Located) -> io::Result<Entry> {
        let bytes = self.file.read_at(located.offset, located.length)?;
        let item = codec::decode(&bytes).and_then(|items| items.into_iter().next());
        match item {
            Some((Item::Entry(entry), ..)) => Ok(entry),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        match self.file.sync() {
            Err(_) if self.bug == Bug::SwallowsSyncErrors => {}
            result => result?,
        }
        self.synced = self.end;
        Ok(())
    }

    /// Adds a record to the file. Nothing is synced.
    fn append(&mut self, items: &[Item]) -> Result<(), StoreError> {
        let (bytes, places) = codec::encode(items);
        self.file.write_at(self.end, &bytes)?;
        let mut places = places.into_iter();
        for item in items {
            let is_entry = matches!(item, Item::Entry(_));
            let (start, length) = if is_entry { places.next() } else { None }.unwrap_or_default();
            self.apply(item, self.end + start as u64, length);
        }
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// Writes everything that is to be kept into a new file, which takes the place of the old one.
    fn rewrite(&mut self) -> Result<(), StoreError> {
        let mut items = vec![
            Item::Members(self.members.clone()),
            Item::Base(self.before),
            Item::HardState(self.hard_state),
        ];
        items.extend(self.snapshot.clone().map(Item::Saved));
        for located in &self.log {
            items.push(Item::Entry(self.read(located)?));
        }
        let is_in_place = [Bug::CompactsInPlace, Bug::OpensInPlace].contains(&self.bug);
        if is_in_place {
            self.file = match self.files.open(LOG)? {
                Some(file) => file,
                None => self.files.create(LOG)?,
            };
            self.file.resize(0)?;
        } else {
            self.file = self.files.create(NEW_LOG)?;
        }
        self.end = 0;
        self.append(&items)?;
        if self.bug != Bug::NoSyncBeforeRename {
            self.sync()?;
        }
        if !is_in_place {
            self.files.rename(NEW_LOG, LOG)?;
        }
        if self.bug != Bug::NoDirectorySync {
            self.files.sync_directory()?;
        }
        self.synced = self.end;
        Ok(())
    }

    /// What one write adds to the file.
    fn items(&self, write: &Write) -> Vec<Item> {
        let mut items: Vec<Item> = write
            .snapshot
            .iter()
            .cloned()
            .map(Item::Installed)
            .collect();
        let is_first_only = self.bug == Bug::WritesFirstRunOnly;
        let runs = write
            .entries
            .iter()
            .take(if is_first_only { 1 } else { usize::MAX });
        items.extend(runs.flatten().map(|entry| Item::Entry(self.distort(entry))));
        let mut hard_state = write.hard_state;
        if let (Some(hard_state), Bug::ForgetsVote) = (&mut hard_state, self.bug) {
            hard_state.voted_for = None;
        }
        if self.bug == Bug::StaleHardState && items.is_empty() {
            hard_state = None;
        }
        if self.bug == Bug::HardStateForgottenByEmptyWrite {
            hard_state = Some(hard_state.unwrap_or_default());
        }
        items.extend(hard_state.map(Item::HardState));
        items
    }

    fn distort(&self, entry: &Entry) -> Entry {
        let mut entry = entry.clone();
        if self.bug == Bug::LosesContexts {
            entry.context = Bytes::new();
        }
        match &entry.payload {
            Payload::Data(data) if data.is_empty() && self.bug == Bug::LosesEmptyPayloads => {
                entry.payload = Payload::Data(Bytes::from_static(b"\0"));
            }
            Payload::Change(change) if self.bug == Bug::LosesChangeForms => {
                let change = MembershipChange {
                    form: ChangeForm::V2,
                    ..(**change).clone()
                };
                entry.payload = Payload::Change(change.into());
            }
            Payload::Data(_) | Payload::Change(_) => {}
        }
        entry
    }

    fn write(&mut self, write: &Write) -> Result<(), StoreError> {
        let items = self.items(write);
        if items.is_empty() {
            return Ok(());
        }
        if self.bug == Bug::TwoRecordsForOneWrite && items.len() > 1 {
            let (first, rest) = items.split_at(items.len() - 1);
            self.append(first)?;
            self.sync()?;
            return self.append(rest);
        }
        self.append(&items)
    }

    fn compact(&mut self, through: LogIndex) -> Result<(), StoreError> {
        let mut through = through;
        if through < self.first() {
            return Ok(());
        }
        let covered = self.snapshot.as_ref();
        let covered = covered.map_or(LogIndex::ZERO, |it| it.last_included.index);
        if through > covered && self.bug != Bug::CompactsBeyondSnapshot {
            return Err("nothing covers that".into());
        }
        if self.bug == Bug::CompactionTakesOneMore {
            through = through.next().min(self.last());
        }
        let term = self.term(through)?;
        self.before = LogId {
            term,
            index: through,
        };
        self.log.retain(|entry| entry.id.index > through);
        self.rewrite()
    }
}

impl<F: Files> Storage for FileStore<F> {
    fn initial_state(&self) -> Result<InitialState, StorageError> {
        let snapshot = self.snapshot.as_ref();
        Ok(InitialState {
            hard_state: self.hard_state,
            conf_state: snapshot.map_or_else(|| self.members.clone(), |it| it.conf_state.clone()),
        })
    }

    fn entries(&self, request: &EntriesRequest) -> Result<Entries, StorageError> {
        if request.first < self.first() {
            return Err(StorageError::Compacted);
        }
        if request.first > request.last || request.last > self.last() {
            return Err(StorageError::Unavailable);
        }
        let mut bytes = 0;
        let mut entries: Vec<Entry> = Vec::new();
        for index in request.first.0..=request.last.0 {
            let located = self
                .locate(LogIndex(index))
                .ok_or(StorageError::Unavailable)?;
            bytes += located.size_bytes;
            if bytes > request.max_bytes && !entries.is_empty() {
                break;
            }
            match self.read(located) {
                Ok(entry) => entries.push(entry),
                Err(_) if self.bug == Bug::ReadErrorIsEmptyAnswer => break,
                Err(_) if self.bug == Bug::ReadErrorIsCompacted => {
                    return Err(StorageError::Compacted);
                }
                Err(error) => return Err(StorageError::other(error)),
            }
        }
        Ok(entries.into())
    }

    fn term(&self, index: LogIndex) -> Result<Term, StorageError> {
        if index == self.before.index {
            return Ok(self.before.term);
        }
        if index < self.before.index {
            return Err(StorageError::Compacted);
        }
        let entry = self.locate(index);
        entry
            .map(|entry| entry.id.term)
            .ok_or(StorageError::Unavailable)
    }

    fn first_index(&self) -> Result<LogIndex, StorageError> {
        Ok(self.first())
    }

    fn last_index(&self) -> Result<LogIndex, StorageError> {
        Ok(self.last())
    }

    fn snapshot(&self, request_index: LogIndex, _to: NodeId) -> Result<Snapshot, StorageError> {
        let snapshot = self.snapshot.as_ref();
        let snapshot = snapshot.filter(|it| it.last_included.index >= request_index);
        snapshot
            .cloned()
            .ok_or(StorageError::TemporarilyUnavailable)
    }
}

/// The store under test, on files of this kind.
pub(crate) struct FileSubject<F> {
    pub(crate) bug: Bug,
    files: PhantomData<F>,
}

impl<F> FileSubject<F> {
    pub(crate) const fn with(bug: Bug) -> Self {
        Self {
            bug,
            files: PhantomData,
        }
    }
}

impl<F: Files + Place> Subject for FileSubject<F> {
    type Store = FileStore<F>;
    type Place = F;

    fn open(&self, place: &F, members: &ConfState) -> Result<FileStore<F>, StoreError> {
        FileStore::open(place, members, self.bug)
    }

    fn write(&self, store: &mut FileStore<F>, write: &Write) -> Result<(), StoreError> {
        store.write(write)?;
        if write.must_sync && self.bug != Bug::NoSync {
            store.sync()?;
        }
        Ok(())
    }

    /// All of them with one fsync.
    fn write_many(&self, store: &mut FileStore<F>, writes: &[Write]) -> Result<(), StoreError> {
        for (number, write) in writes.iter().enumerate() {
            store.write(write)?;
            if number == 0 && self.bug == Bug::SyncsFirstOfManyOnly {
                store.sync()?;
            }
        }
        let must_sync = writes.iter().any(|write| write.must_sync);
        if must_sync && ![Bug::NoSync, Bug::SyncsFirstOfManyOnly].contains(&self.bug) {
            store.sync()?;
        }
        Ok(())
    }

    fn save_snapshot(
        &self,
        store: &mut FileStore<F>,
        snapshot: &Snapshot,
    ) -> Result<(), StoreError> {
        store.append(&[Item::Saved(snapshot.clone())])?;
        Ok(store.sync()?)
    }

    fn compact(&self, store: &mut FileStore<F>, through: LogIndex) -> Result<(), StoreError> {
        store.compact(through)
    }

    fn unsynced(&self, store: &FileStore<F>) -> Vec<Unsynced> {
        let end = Unsynced {
            file: LOG.into(),
            synced_bytes: store.synced,
        };
        if store.synced < store.end {
            vec![end]
        } else {
            Vec::new()
        }
    }
}
