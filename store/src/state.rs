//! The state machines of all regions, in one map.
//!
//! Owns the records and what a command does to them. Knows no Raft node and no thread.

use std::collections::BTreeMap;
use std::path::Path;

use almadia::{ConfState, Entry, LogId, LogIndex, MembershipChange, Payload};
use parking_lot::{RwLockReadGuard, RwLockWriteGuard};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::command::{Command, Outcome, Session, Write};
use crate::kv::{Kv, KvError, Layers, Records};
use crate::region::{Address, KeyRange, Region, RegionId};

// What a key begins with says what is stored under it.
const DATA: u8 = b'd';
const REGION: u8 = b'r';
/// By region and client: its last write.
const SESSION: u8 = b's';
/// By region and the age of a client's last write: the client.
const SESSION_BY_AGE: u8 = b't';

/// How many clients a region remembers; it forgets those that have not written for longest.
const MAX_SESSIONS: u64 = 16_384;

/// Why the state machine did not do what it was asked.
#[derive(Debug, Error)]
pub enum StateError {
    /// The database says why.
    #[error(transparent)]
    Kv(#[from] KvError),
    /// Entries are missing between what is applied and what is to be.
    #[error(
        "the state machine has applied up to {0}, and is to go on with {1}: entries are missing"
    )]
    Gap(LogIndex, LogIndex),
    /// A record is not as this version writes it.
    #[error("a record of the state machine's database cannot be read: {0}")]
    Record(#[from] postcard::Error),
}

fn data_key(key: &[u8]) -> Vec<u8> {
    [&[DATA], key].concat()
}

/// The first key behind the data of this range.
fn data_end(range: &KeyRange) -> Vec<u8> {
    range
        .end
        .as_deref()
        .map_or_else(|| vec![DATA + 1], data_key)
}

fn region_key(id: RegionId) -> Vec<u8> {
    [&[REGION][..], &id.0.to_be_bytes()].concat()
}

fn session_key(id: RegionId, client: &str) -> Vec<u8> {
    [&[SESSION][..], &id.0.to_be_bytes(), client.as_bytes()].concat()
}

fn age_key(id: RegionId, age: u64) -> Vec<u8> {
    [
        &[SESSION_BY_AGE][..],
        &id.0.to_be_bytes(),
        &age.to_be_bytes(),
    ]
    .concat()
}

/// Where the records of this kind begin and end that belong to a region.
fn of_region(kind: u8, id: RegionId) -> (Vec<u8>, Vec<u8>) {
    let key = |id: u64| [&[kind][..], &id.to_be_bytes()].concat();
    (key(id.0), key(id.0 + 1))
}

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

/// The state machines.
pub struct State {
    kv: Kv,
}

impl State {
    /// Opens them in this file, or makes it.
    ///
    /// # Errors
    ///
    /// If it cannot be opened, or another process has it.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        Ok(Self {
            kv: Kv::open(path)?,
        })
    }

    /// All regions that this node has a part of.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub fn regions(&self) -> Result<Vec<Region>, StateError> {
        let mut regions = Vec::new();
        let layers = self.kv.read();
        layers.scan::<StateError>(&[REGION], Some(&[REGION + 1]), |_, record| {
            regions.push(postcard::from_bytes(record)?);
            Ok(true)
        })?;
        Ok(regions)
    }

    /// What is applied now. Nothing is applied as long as this is there.
    pub fn view(&self) -> View<RwLockReadGuard<'_, Layers>> {
        View(self.kv.read())
    }

    /// What is applied now, for as long as it takes.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub fn lasting_view(&self) -> Result<View<Box<Layers>>, StateError> {
        Ok(View(Box::new(self.kv.settled()?)))
    }

    /// To be changed.
    pub fn change(&self) -> Changing<'_> {
        Changing(self.kv.write())
    }

    /// Makes durable what is applied.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub fn checkpoint(&self) -> Result<(), StateError> {
        Ok(self.kv.checkpoint()?)
    }

    /// Puts these records into the place of a region's, durably. `region` is what it is then; without
    /// it, nothing is left. Nothing may be applied meanwhile.
    ///
    /// # Errors
    ///
    /// If the database or `next` fails; then all is as it was.
    pub fn replace(
        &self,
        id: RegionId,
        region: Option<&Region>,
        mut next: impl FnMut() -> Result<Option<Record>, StateError>,
    ) -> Result<(), StateError> {
        let old = self.view().region(id)?;
        self.kv.rewrite::<StateError>(|records| {
            if let Some(old) = &old {
                clear(records, &data_key(&old.range.start), &data_end(&old.range))?;
            }
            for kind in [SESSION, SESSION_BY_AGE] {
                let (from, to) = of_region(kind, id);
                clear(records, &from, &to)?;
            }
            while let Some(record) = next()? {
                restore(records, id, record)?;
            }
            let key = region_key(id);
            match region {
                Some(region) => {
                    let region = postcard::to_stdvec(region)?;
                    records
                        .insert(key.as_slice(), region.as_slice())
                        .map_err(KvError::from)?;
                }
                None => drop(records.remove(key.as_slice()).map_err(KvError::from)?),
            }
            Ok(())
        })
    }
}

fn clear(records: &mut Records<'_>, from: &[u8], to: &[u8]) -> Result<(), KvError> {
    Ok(records.retain_in::<&[u8], _>(from..to, |_, _| false)?)
}

fn restore(records: &mut Records<'_>, id: RegionId, record: Record) -> Result<(), StateError> {
    let mut insert = |key: Vec<u8>, value: &[u8]| {
        let inserted = records.insert(key.as_slice(), value).map(drop);
        inserted.map_err(KvError::from)
    };
    match record {
        Record::Data { key, value } => insert(data_key(&key), &value)?,
        Record::Session { client, last } => {
            let age = postcard::from_bytes::<LastWrite>(&last)?.age;
            insert(session_key(id, &client), &last)?;
            insert(age_key(id, age), client.as_bytes())?;
        }
    }
    Ok(())
}

/// What is applied at one moment.
pub struct View<L>(L);

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

impl<L: std::ops::Deref<Target = Layers>> View<L> {
    /// A region.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub fn region(&self, id: RegionId) -> Result<Option<Region>, StateError> {
        read_region(&self.0, id)
    }

    /// What the key holds.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        Ok(self.0.get(&data_key(key))?)
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
        let mut is_more = false;
        let (from, to) = (data_key(&range.start), data_end(range));
        self.0.scan::<StateError>(&from, Some(&to), |key, value| {
            is_more = pairs.len() == limit || bytes >= max_bytes;
            if !is_more {
                bytes += key.len() + value.len();
                pairs.push((key[1..].to_vec(), value.to_vec()));
            }
            Ok(!is_more)
        })?;
        Ok((pairs, is_more))
    }

    /// Hands out every record of a region, to be given to [`State::replace`] elsewhere.
    ///
    /// # Errors
    ///
    /// What `write` fails with, or the database.
    pub fn export<E: From<StateError>>(
        &self,
        region: &Region,
        mut write: impl FnMut(Record) -> Result<(), E>,
    ) -> Result<(), E> {
        let (from, to) = (data_key(&region.range.start), data_end(&region.range));
        let written = self.0.scan(&from, Some(&to), |key, value| {
            let (key, value) = (key[1..].to_vec(), value.to_vec());
            write(Record::Data { key, value }).map_err(Stopped::By)?;
            Ok(true)
        });
        written.map_err(Stopped::into)?;
        let sessions = sessions(&self.0, region.id)?;
        sessions
            .into_iter()
            .try_for_each(|(client, last)| write(Record::Session { client, last }))
    }
}

/// Why an export has ended early.
enum Stopped<E> {
    By(E),
    Kv(KvError),
}

impl<E> From<KvError> for Stopped<E> {
    fn from(error: KvError) -> Self {
        Self::Kv(error)
    }
}

impl<E: From<StateError>> Stopped<E> {
    fn into(self) -> E {
        match self {
            Self::By(error) => error,
            Self::Kv(error) => StateError::from(error).into(),
        }
    }
}

/// The clients that a region remembers, and their last writes as they are stored.
fn sessions(layers: &Layers, id: RegionId) -> Result<Vec<(String, Vec<u8>)>, StateError> {
    let mut found = Vec::new();
    let (from, to) = of_region(SESSION, id);
    layers.scan::<StateError>(&from, Some(&to), |key, last| {
        let client = String::from_utf8_lossy(&key[from.len()..]).into_owned();
        found.push((client, last.to_vec()));
        Ok(true)
    })?;
    Ok(found)
}

fn read_region(layers: &Layers, id: RegionId) -> Result<Option<Region>, StateError> {
    let record = layers.get(&region_key(id))?;
    Ok(record
        .map(|record| postcard::from_bytes(&record))
        .transpose()?)
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

/// The state machines, to be changed.
pub struct Changing<'s>(RwLockWriteGuard<'s, Layers>);

impl Changing<'_> {
    /// A region.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub fn region(&self, id: RegionId) -> Result<Option<Region>, StateError> {
        read_region(&self.0, id)
    }

    /// How many bytes of changes are not durable.
    #[must_use]
    pub fn undurable_bytes(&self) -> usize {
        self.0.recent_bytes()
    }

    /// Stores what is known of a region.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn put_region(&mut self, region: &Region) -> Result<(), StateError> {
        let record = postcard::to_stdvec(region)?;
        self.0.insert(region_key(region.id), record);
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
            let applied = region.applied().index;
            if entry.id.index <= applied {
                continue;
            }
            if entry.id.index != applied.next() {
                return Err(StateError::Gap(applied, entry.id.index));
            }
            region.set_applied(entry.id);
            match &entry.payload {
                Payload::Data(data) if data.is_empty() => {}
                Payload::Data(data) => {
                    let outcome = self.carry_out(region, data, effects)?;
                    effects.push(Effect::Outcome(entry.id, outcome));
                }
                Payload::Change(change) => {
                    let mut outcome = Outcome::ImpossibleChange;
                    if let Some(membership) = memberships.get(&entry.id.index) {
                        region.set_membership(membership);
                        change_addresses(&mut region.addresses, change, membership);
                        outcome = Outcome::Done;
                    }
                    effects.push(Effect::Outcome(entry.id, outcome));
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
            Some(Command::Write { session, writes }) => {
                let session = session.as_ref();
                self.write_once(region, session, &writes)
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
        writes: &[Write],
    ) -> Result<Outcome, StateError> {
        if !writes
            .iter()
            .all(|write| region.range.contains(write.key()))
        {
            return Ok(Outcome::OutsideOfRegion);
        }
        let Some(session) = session else {
            return self.write_all(writes);
        };
        let last = self.last_write(region.id, &session.client)?;
        match &last {
            Some(last) if last.sequence == session.sequence => return Ok(last.outcome.clone()),
            Some(last) if last.sequence > session.sequence => {
                return Ok(Outcome::OldSequence {
                    last: last.sequence,
                });
            }
            // It may have written in another region, or in this one so long ago that it is forgotten.
            None if session.sequence != 1 && region.has_forgotten => {
                return Ok(Outcome::UnknownClient);
            }
            Some(_) | None => {}
        }
        let outcome = self.write_all(writes)?;
        let new = LastWrite {
            sequence: session.sequence,
            outcome: outcome.clone(),
            age: region.numbered_writes,
        };
        region.numbered_writes += 1;
        self.remember(region, &session.client, last.as_ref(), &new)?;
        Ok(outcome)
    }

    fn last_write(&self, id: RegionId, client: &str) -> Result<Option<LastWrite>, StateError> {
        let record = self.0.get(&session_key(id, client))?;
        Ok(record
            .map(|record| postcard::from_bytes(&record))
            .transpose()?)
    }

    fn remember(
        &mut self,
        region: &mut Region,
        client: &str,
        last: Option<&LastWrite>,
        new: &LastWrite,
    ) -> Result<(), StateError> {
        let id = region.id;
        self.0
            .insert(session_key(id, client), postcard::to_stdvec(new)?);
        self.0.insert(age_key(id, new.age), client.into());
        if let Some(last) = last {
            self.0.remove(age_key(id, last.age));
            return Ok(());
        }
        if region.sessions < MAX_SESSIONS {
            region.sessions += 1;
            return Ok(());
        }
        let mut oldest = None;
        let (from, to) = of_region(SESSION_BY_AGE, id);
        self.0.scan::<StateError>(&from, Some(&to), |key, client| {
            oldest = Some((key.to_vec(), String::from_utf8_lossy(client).into_owned()));
            Ok(false)
        })?;
        if let Some((key, client)) = oldest {
            region.has_forgotten = true;
            self.0.remove(key);
            self.0.remove(session_key(id, &client));
        }
        Ok(())
    }

    fn write(&mut self, write: &Write) -> Result<Outcome, StateError> {
        match write {
            Write::Put { key, value } => {
                self.0.insert(data_key(key), value.clone());
            }
            Write::Delete { key } => {
                self.0.remove(data_key(key));
            }
            Write::Cas {
                key,
                expected,
                value,
            } => {
                let current = self.0.get(&data_key(key))?;
                if current != *expected {
                    let key = key.clone();
                    return Ok(Outcome::Unequal { key, current });
                }
                self.set(key, value.as_deref());
            }
        }
        Ok(Outcome::Done)
    }

    fn set(&mut self, key: &[u8], value: Option<&[u8]>) {
        match value {
            Some(value) => self.0.insert(data_key(key), value.to_vec()),
            None => self.0.remove(data_key(key)),
        }
    }

    /// Carries out all of them, one after another, or takes back those that are.
    fn write_all(&mut self, writes: &[Write]) -> Result<Outcome, StateError> {
        let mut before = Vec::new();
        for write in writes {
            let key = write.key();
            before.push((key, self.0.get(&data_key(key))?));
            let outcome = self.write(write)?;
            if outcome == Outcome::Done {
                continue;
            }
            for (key, value) in before.into_iter().rev() {
                self.set(key, value.as_deref());
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
        for (client, last) in sessions(&self.0, region.id)? {
            let age = postcard::from_bytes::<LastWrite>(&last)?.age;
            self.0.insert(session_key(new, &client), last);
            self.0.insert(age_key(new, age), client.into());
        }
        self.put_region(&part)?;
        Ok(part)
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

#[cfg(test)]
mod tests;
