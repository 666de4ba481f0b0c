//! The state machines of all regions, in one map.
//!
//! Owns the records and what a command does to them. Knows no Raft node and no thread.

use std::path::Path;

use almadia::{LogId, LogIndex};
use parking_lot::RwLockReadGuard;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use self::changing::Changing;
use crate::command::Outcome;
use crate::kv::{Kv, KvError, Layers, Records};
use crate::region::{KeyRange, Region, RegionId};

mod changing;

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
    /// The records that are to take a region's place do not come.
    #[error("the records that are to take a region's place cannot be read: {0}")]
    Read(#[from] std::io::Error),
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

#[cfg(test)]
mod tests;
