//! The state machines of all regions, in one redb database.
//!
//! Owns the tables and what a command does to them. What is applied need not be on the disk at once:
//! the log has it. So a transaction is durable only where it is asked to be, and after a crash the
//! database is as of the last one that was. Knows no Raft node and no thread.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;

use almadia::{ConfState, Entry, LogId, LogIndex, MembershipChange, Payload};
use redb::{
    Database, Durability, ReadOnlyTable, ReadableTable, Table, TableDefinition, WriteTransaction,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::command::{Command, Outcome, Session, Write};
use crate::region::{Address, KeyRange, Region, RegionId};

const DATA: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("data");
const REGIONS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("regions");
/// By region and client: its last write.
const SESSIONS: TableDefinition<'_, (u64, &str), &[u8]> = TableDefinition::new("sessions");
/// By region and the age of a client's last write: the client.
const SESSIONS_BY_AGE: TableDefinition<'_, (u64, u64), &str> =
    TableDefinition::new("sessions_by_age");
/// By region: how many clients it knows.
const SESSION_COUNTS: TableDefinition<'_, u64, u64> = TableDefinition::new("session_counts");

/// How many clients a region remembers; it forgets those that have not written for longest.
const MAX_SESSIONS: u64 = 16_384;

/// Why the database did not do what it was asked.
#[derive(Debug, Error)]
pub enum StateError {
    /// redb says why.
    #[error("the state machine's database failed: {0}")]
    Redb(#[from] redb::Error),
    /// A record is not as this version writes it.
    #[error("a record of the state machine's database cannot be read: {0}")]
    Record(#[from] postcard::Error),
}

macro_rules! from_redb {
    ($($error:ty),*) => {$(
        impl From<$error> for StateError {
            fn from(error: $error) -> Self {
                Self::Redb(error.into())
            }
        }
    )*};
}
from_redb!(
    redb::DatabaseError,
    redb::TransactionError,
    redb::TableError,
    redb::StorageError,
    redb::CommitError
);

/// The last write of a client, and what came of it.
#[derive(Serialize, Deserialize)]
struct LastWrite {
    sequence: u64,
    outcome: Outcome,
    /// How many numbered writes the region had seen before.
    age: u64,
}

/// What the application of an entry means for others than the database.
#[derive(Debug)]
pub enum Effect {
    /// A command was carried out, or was not.
    Outcome(LogId, Outcome),
    /// The region was divided; this is the part that is new.
    Split(Region),
}

/// The database.
pub struct State {
    db: Database,
}

impl State {
    /// Opens the database of this file, or makes it.
    ///
    /// # Errors
    ///
    /// If it cannot be opened, or another process has it.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let db = Database::builder().set_cache_size(256 << 20).create(path)?;
        let txn = db.begin_write()?;
        txn.open_table(DATA)?;
        txn.open_table(REGIONS)?;
        txn.open_table(SESSIONS)?;
        txn.open_table(SESSIONS_BY_AGE)?;
        txn.open_table(SESSION_COUNTS)?;
        txn.commit()?;
        Ok(Self { db })
    }

    /// All regions that this node has a part of.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub fn regions(&self) -> Result<Vec<Region>, StateError> {
        let table = self.db.begin_read()?.open_table(REGIONS)?;
        let records = table.iter()?;
        records
            .map(|record| Ok(postcard::from_bytes(record?.1.value())?))
            .collect()
    }

    /// A view of what is applied now.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub fn view(&self) -> Result<View, StateError> {
        let txn = self.db.begin_read()?;
        Ok(View {
            data: txn.open_table(DATA)?,
            regions: txn.open_table(REGIONS)?,
            sessions: txn.open_table(SESSIONS)?,
        })
    }

    /// Changes the database.
    ///
    /// # Errors
    ///
    /// What `change` fails with, or the database; it is then as it was.
    pub fn change<T>(
        &self,
        durability: Durability,
        change: impl FnOnce(&mut Tables<'_>) -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        let mut txn = self.db.begin_write()?;
        txn.set_durability(durability);
        let result = change(&mut Tables::open(&txn)?)?;
        txn.commit()?;
        Ok(result)
    }
}

/// What is applied at one moment.
pub struct View {
    data: ReadOnlyTable<&'static [u8], &'static [u8]>,
    regions: ReadOnlyTable<u64, &'static [u8]>,
    sessions: ReadOnlyTable<(u64, &'static str), &'static [u8]>,
}

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

impl View {
    /// A region.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub fn region(&self, id: RegionId) -> Result<Option<Region>, StateError> {
        read_region(&self.regions, id)
    }

    /// What the key holds.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        Ok(self.data.get(key)?.map(|value| value.value().to_vec()))
    }

    /// What the keys of this range hold, in their order: `limit` of them at most, and no more bytes
    /// than `max_bytes` but for the last one. Also whether there is more.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub fn scan(
        &self,
        range: &KeyRange,
        limit: usize,
        max_bytes: usize,
    ) -> Result<(Vec<Pair>, bool), StateError> {
        let mut pairs = Vec::new();
        let mut bytes = 0;
        for pair in self.data.range::<&[u8]>(bounds(range))? {
            let (key, value) = pair?;
            if pairs.len() == limit || bytes >= max_bytes {
                return Ok((pairs, true));
            }
            bytes += key.value().len() + value.value().len();
            pairs.push((key.value().to_vec(), value.value().to_vec()));
        }
        Ok((pairs, false))
    }

    /// Hands out every record of a region, to be given to [`Tables::restore`] elsewhere.
    ///
    /// # Errors
    ///
    /// What `write` fails with, or the database.
    pub fn export<E: From<StateError>>(
        &self,
        region: &Region,
        mut write: impl FnMut(Record) -> Result<(), E>,
    ) -> Result<(), E> {
        let data = self.data.range::<&[u8]>(bounds(&region.range));
        for pair in data.map_err(StateError::from)? {
            let (key, value) = pair.map_err(StateError::from)?;
            let (key, value) = (key.value().to_vec(), value.value().to_vec());
            write(Record::Data { key, value })?;
        }
        let sessions = self
            .sessions
            .range((region.id.0, "")..(region.id.0 + 1, ""));
        for session in sessions.map_err(StateError::from)? {
            let (key, value) = session.map_err(StateError::from)?;
            let (client, last) = (key.value().1.to_owned(), value.value().to_vec());
            write(Record::Session { client, last })?;
        }
        Ok(())
    }
}

/// One record of a region.
#[derive(Debug, Serialize, Deserialize)]
pub enum Record {
    /// A key and its value.
    Data {
        /// The key.
        key: Vec<u8>,
        /// Its value.
        value: Vec<u8>,
    },
    /// A client and its last write.
    Session {
        /// The client.
        client: String,
        /// Its last write, as it is stored.
        last: Vec<u8>,
    },
}

fn bounds(range: &KeyRange) -> (Bound<&[u8]>, Bound<&[u8]>) {
    let end = range.end.as_deref();
    (
        Bound::Included(range.start.as_slice()),
        end.map_or(Bound::Unbounded, Bound::Excluded),
    )
}

fn read_region(
    table: &impl ReadableTable<u64, &'static [u8]>,
    id: RegionId,
) -> Result<Option<Region>, StateError> {
    let record = table.get(id.0)?;
    record
        .map(|record| Ok(postcard::from_bytes(record.value())?))
        .transpose()
}

/// The tables, to be changed.
pub struct Tables<'txn> {
    data: Table<'txn, &'static [u8], &'static [u8]>,
    regions: Table<'txn, u64, &'static [u8]>,
    sessions: Table<'txn, (u64, &'static str), &'static [u8]>,
    sessions_by_age: Table<'txn, (u64, u64), &'static str>,
    session_counts: Table<'txn, u64, u64>,
}

impl<'txn> Tables<'txn> {
    fn open(txn: &'txn WriteTransaction) -> Result<Self, StateError> {
        Ok(Self {
            data: txn.open_table(DATA)?,
            regions: txn.open_table(REGIONS)?,
            sessions: txn.open_table(SESSIONS)?,
            sessions_by_age: txn.open_table(SESSIONS_BY_AGE)?,
            session_counts: txn.open_table(SESSION_COUNTS)?,
        })
    }

    /// A region.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub fn region(&self, id: RegionId) -> Result<Option<Region>, StateError> {
        read_region(&self.regions, id)
    }

    /// Stores what is known of a region.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub fn put_region(&mut self, region: &Region) -> Result<(), StateError> {
        let record = postcard::to_stdvec(region)?;
        self.regions.insert(region.id.0, record.as_slice())?;
        Ok(())
    }

    /// Applies entries of a region, in the order of the log. `memberships` has the membership after
    /// each change among them that took place.
    ///
    /// # Errors
    ///
    /// If the database fails, or does not have the region.
    pub fn apply<'e>(
        &mut self,
        region: &mut Region,
        entries: impl IntoIterator<Item = &'e Entry>,
        memberships: &BTreeMap<LogIndex, ConfState>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), StateError> {
        for entry in entries {
            if entry.id.index <= region.applied().index {
                continue;
            }
            region.set_applied(entry.id);
            match &entry.payload {
                Payload::Data(data) if data.is_empty() => {}
                Payload::Data(data) => {
                    let outcome = self.carry_out(region, data, effects)?;
                    effects.push(Effect::Outcome(entry.id, outcome));
                }
                Payload::Change(change) => {
                    if let Some(membership) = memberships.get(&entry.id.index) {
                        region.set_membership(membership);
                        change_addresses(&mut region.addresses, change, membership);
                    }
                    effects.push(Effect::Outcome(entry.id, Outcome::Done));
                }
            }
        }
        self.put_region(region)
    }

    fn carry_out(
        &mut self,
        region: &mut Region,
        command: &[u8],
        effects: &mut Vec<Effect>,
    ) -> Result<Outcome, StateError> {
        match Command::decode(command) {
            Some(Command::Write { session, write }) => {
                let session = session.as_ref();
                self.write_once(region, session, &write)
            }
            Some(Command::Split { at, new }) => {
                if !region.range.contains(&at) || at == region.range.start {
                    return Ok(Outcome::OutsideOfRegion);
                }
                let part = self.split(region, at, new)?;
                effects.push(Effect::Split(part));
                Ok(Outcome::Done)
            }
            None => Ok(Outcome::Unintelligible),
        }
    }

    fn write_once(
        &mut self,
        region: &mut Region,
        session: Option<&Session>,
        write: &Write,
    ) -> Result<Outcome, StateError> {
        if !write.keys().iter().all(|key| region.range.contains(key)) {
            return Ok(Outcome::OutsideOfRegion);
        }
        let Some(session) = session else {
            return self.write(write);
        };
        let last = self.last_write(region.id, &session.client)?;
        match &last {
            Some(last) if last.sequence == session.sequence => return Ok(last.outcome.clone()),
            Some(last) if last.sequence > session.sequence => {
                return Ok(Outcome::OldSequence {
                    last: last.sequence,
                });
            }
            None if session.sequence != 1 => return Ok(Outcome::UnknownClient),
            Some(_) | None => {}
        }
        let outcome = self.write(write)?;
        let new = LastWrite {
            sequence: session.sequence,
            outcome: outcome.clone(),
            age: region.numbered_writes,
        };
        region.numbered_writes += 1;
        self.remember(region.id, &session.client, last.as_ref(), &new)?;
        Ok(outcome)
    }

    fn last_write(&self, region: RegionId, client: &str) -> Result<Option<LastWrite>, StateError> {
        let record = self.sessions.get((region.0, client))?;
        record
            .map(|record| Ok(postcard::from_bytes(record.value())?))
            .transpose()
    }

    fn remember(
        &mut self,
        region: RegionId,
        client: &str,
        last: Option<&LastWrite>,
        new: &LastWrite,
    ) -> Result<(), StateError> {
        let record = postcard::to_stdvec(new)?;
        self.sessions
            .insert((region.0, client), record.as_slice())?;
        self.sessions_by_age.insert((region.0, new.age), client)?;
        if let Some(last) = last {
            self.sessions_by_age.remove((region.0, last.age))?;
            return Ok(());
        }
        let known = self.session_counts.get(region.0)?;
        let known = known.map_or(0, |known| known.value()) + 1;
        if known <= MAX_SESSIONS {
            self.session_counts.insert(region.0, known)?;
            return Ok(());
        }
        let oldest = self.sessions_by_age.range((region.0, 0)..)?.next();
        let oldest = oldest.transpose()?;
        if let Some((key, client)) =
            oldest.map(|(key, client)| (key.value(), client.value().to_owned()))
        {
            self.sessions_by_age.remove(key)?;
            self.sessions.remove((region.0, client.as_str()))?;
        }
        Ok(())
    }

    fn write(&mut self, write: &Write) -> Result<Outcome, StateError> {
        match write {
            Write::Put { key, value } => {
                self.data.insert(key.as_slice(), value.as_slice())?;
            }
            Write::Delete { key } => {
                self.data.remove(key.as_slice())?;
            }
            Write::Cas {
                key,
                expected,
                value,
            } => {
                let current = self.data.get(key.as_slice())?;
                let current = current.map(|current| current.value().to_vec());
                if current != *expected {
                    let key = key.clone();
                    return Ok(Outcome::Unequal { key, current });
                }
                match value {
                    Some(value) => self.data.insert(key.as_slice(), value.as_slice())?,
                    None => self.data.remove(key.as_slice())?,
                };
            }
            Write::Batch(writes) => return self.write_all(writes),
        }
        Ok(Outcome::Done)
    }

    /// Carries out all of them, one after another, or takes back those that are.
    fn write_all(&mut self, writes: &[Write]) -> Result<Outcome, StateError> {
        let mut before = Vec::new();
        for write in writes {
            for key in write.keys() {
                let value = self.data.get(key)?.map(|value| value.value().to_vec());
                before.push((key.to_vec(), value));
            }
            let outcome = self.write(write)?;
            if outcome == Outcome::Done {
                continue;
            }
            for (key, value) in before.into_iter().rev() {
                match value {
                    Some(value) => self.data.insert(key.as_slice(), value.as_slice())?,
                    None => self.data.remove(key.as_slice())?,
                };
            }
            return Ok(outcome);
        }
        Ok(Outcome::Done)
    }

    /// Divides a region. Both parts remember the clients of the whole.
    fn split(
        &mut self,
        region: &mut Region,
        at: Vec<u8>,
        new: RegionId,
    ) -> Result<Region, StateError> {
        let mut part = region.clone();
        part.id = new;
        part.range.start.clone_from(&at);
        part.version += 1;
        part.set_applied(crate::region::BEGIN);
        region.range.end = Some(at);
        region.version += 1;
        let mut sessions = Vec::new();
        for session in self
            .sessions
            .range((region.id.0, "")..(region.id.0 + 1, ""))?
        {
            let (key, last) = session?;
            sessions.push((key.value().1.to_owned(), last.value().to_vec()));
        }
        for (client, last) in sessions {
            self.insert_session(new, &client, &postcard::from_bytes(&last)?)?;
        }
        self.put_region(&part)?;
        Ok(part)
    }

    fn insert_session(
        &mut self,
        region: RegionId,
        client: &str,
        last: &LastWrite,
    ) -> Result<(), StateError> {
        let known = self.session_counts.get(region.0)?;
        let known = known.map_or(0, |known| known.value());
        self.session_counts.insert(region.0, known + 1)?;
        let record = postcard::to_stdvec(last)?;
        self.sessions
            .insert((region.0, client), record.as_slice())?;
        self.sessions_by_age.insert((region.0, last.age), client)?;
        Ok(())
    }

    /// Forgets all records of a region; what is known of the region itself goes too.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub fn clear(&mut self, region: &Region) -> Result<(), StateError> {
        self.data
            .retain_in::<&[u8], _>(bounds(&region.range), |_, _| false)?;
        let id = region.id.0;
        self.sessions
            .retain_in((id, "")..(id + 1, ""), |_, _| false)?;
        self.sessions_by_age
            .retain_in((id, 0)..(id + 1, 0), |_, _| false)?;
        self.session_counts.remove(id)?;
        self.regions.remove(id)?;
        Ok(())
    }

    /// Takes in a record of a region that was exported elsewhere.
    ///
    /// # Errors
    ///
    /// If the database fails, or the record is none.
    pub fn restore(&mut self, region: RegionId, record: Record) -> Result<(), StateError> {
        match record {
            Record::Data { key, value } => {
                self.data.insert(key.as_slice(), value.as_slice())?;
            }
            Record::Session { client, last } => {
                let last: LastWrite = postcard::from_bytes(&last)?;
                self.insert_session(region, &client, &last)?;
            }
        }
        Ok(())
    }
}

/// A change says in its context where those can be reached whom it adds.
fn change_addresses(
    addresses: &mut BTreeMap<u64, Address>,
    change: &MembershipChange,
    membership: &ConfState,
) {
    if let Ok(new) = postcard::from_bytes::<BTreeMap<u64, Address>>(&change.context) {
        addresses.extend(new);
    }
    let members = [
        &membership.voters,
        &membership.learners,
        &membership.voters_outgoing,
    ];
    let is_member = |id: u64| {
        members
            .iter()
            .any(|ids| ids.iter().any(|member| member.get() == id))
    };
    addresses.retain(|id, _| is_member(*id));
}
