//! An ordered map on the disk, with the latest changes in memory.
//!
//! Owns the redb database and the changes since the last checkpoint. A checkpoint writes them all at
//! once: after a crash the map is as of the last one that was finished. A transaction of redb for every
//! batch, even one that need not be durable, would cost more than all of Raft. Knows no records.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use redb::{Database, ReadOnlyTable, Table, TableDefinition};
use thiserror::Error;

const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("state");

/// Why the database did not do what it was asked.
#[derive(Debug, Error)]
#[error("the state machine's database failed: {0}")]
pub struct KvError(Box<redb::Error>);

impl<E: Into<redb::Error>> From<E> for KvError {
    fn from(error: E) -> Self {
        Self(Box::new(error.into()))
    }
}

/// By key: the new value, or that there is none any more.
type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// The map as of a checkpoint.
type Base = Arc<ReadOnlyTable<&'static [u8], &'static [u8]>>;

/// The database's table, to be changed.
pub type Records<'txn> = Table<'txn, &'static [u8], &'static [u8]>;

/// The map.
pub struct Kv {
    db: Database,
    layers: RwLock<Layers>,
    /// Held by whoever writes to the database.
    checkpoint: Mutex<()>,
}

/// The map as it is, and the changes that make it so.
pub struct Layers {
    recent: Changes,
    recent_bytes: usize,
    /// What is being written to the database.
    frozen: Arc<Changes>,
    base: Base,
}

impl Kv {
    /// Opens the map in this file, or makes it.
    ///
    /// # Errors
    ///
    /// If it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, KvError> {
        let db = Database::builder().set_cache_size(256 << 20).create(path)?;
        let txn = db.begin_write()?;
        txn.open_table(TABLE)?;
        txn.commit()?;
        let layers = RwLock::new(Layers {
            recent: Changes::new(),
            recent_bytes: 0,
            frozen: Arc::default(),
            base: Arc::new(db.begin_read()?.open_table(TABLE)?),
        });
        Ok(Self {
            db,
            layers,
            checkpoint: Mutex::default(),
        })
    }

    /// To be read; nothing changes meanwhile.
    pub fn read(&self) -> RwLockReadGuard<'_, Layers> {
        self.layers.read()
    }

    /// To be changed; nobody reads meanwhile.
    pub fn write(&self) -> RwLockWriteGuard<'_, Layers> {
        self.layers.write()
    }

    /// Writes all changes to the database; those that come meanwhile wait for the next time.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub fn checkpoint(&self) -> Result<(), KvError> {
        let _only = self.checkpoint.lock();
        self.write_back()
    }

    /// Changes the database itself, after a checkpoint. Nobody else may change the map meanwhile.
    ///
    /// # Errors
    ///
    /// What `change` fails with, or the database; it is then as it was.
    pub fn rewrite<E: From<KvError>>(
        &self,
        change: impl FnOnce(&mut Records<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let _only = self.checkpoint.lock();
        self.write_back()?;
        let txn = self.db.begin_write().map_err(KvError::from)?;
        change(&mut txn.open_table(TABLE).map_err(KvError::from)?)?;
        txn.commit().map_err(KvError::from)?;
        self.layers.write().base = self.latest()?;
        Ok(())
    }

    /// The map as of a checkpoint that is made now.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub fn settled(&self) -> Result<Layers, KvError> {
        let _only = self.checkpoint.lock();
        self.write_back()?;
        Ok(Layers {
            recent: Changes::new(),
            recent_bytes: 0,
            frozen: Arc::default(),
            base: self.latest()?,
        })
    }

    fn latest(&self) -> Result<Base, KvError> {
        Ok(Arc::new(self.db.begin_read()?.open_table(TABLE)?))
    }

    fn write_back(&self) -> Result<(), KvError> {
        let mut layers = self.layers.write();
        let recent = std::mem::take(&mut layers.recent);
        layers.recent_bytes = 0;
        if layers.frozen.is_empty() {
            layers.frozen = Arc::new(recent);
        } else {
            // The last time failed: what was to be written then comes first.
            Arc::make_mut(&mut layers.frozen).extend(recent);
        }
        let frozen = Arc::clone(&layers.frozen);
        drop(layers);
        if frozen.is_empty() {
            return Ok(());
        }
        let txn = self.db.begin_write()?;
        let mut table = txn.open_table(TABLE)?;
        for (key, value) in frozen.iter() {
            match value {
                Some(value) => table.insert(key.as_slice(), value.as_slice())?,
                None => table.remove(key.as_slice())?,
            };
        }
        drop(table);
        txn.commit()?;
        let base = self.latest()?;
        let mut layers = self.layers.write();
        layers.base = base;
        layers.frozen = Arc::default();
        Ok(())
    }
}

impl Layers {
    /// How many bytes of changes no checkpoint has seen.
    #[must_use]
    pub const fn recent_bytes(&self) -> usize {
        self.recent_bytes
    }

    /// The value of a key.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        if let Some(change) = self.recent.get(key).or_else(|| self.frozen.get(key)) {
            return Ok(change.clone());
        }
        Ok(self.base.get(key)?.map(|value| value.value().to_vec()))
    }

    /// Gives a key a value.
    pub fn insert(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.recent_bytes += key.len() + value.len();
        self.recent.insert(key, Some(value));
    }

    /// Takes a key its value.
    pub fn remove(&mut self, key: Vec<u8>) {
        self.recent_bytes += key.len();
        self.recent.insert(key, None);
    }

    /// Shows the pairs from one key to before another one (`None`: to the end), in their order, as long
    /// as `show` returns `true`.
    ///
    /// # Errors
    ///
    /// What `show` fails with, or the database.
    pub fn scan<E: From<KvError>>(
        &self,
        from: &[u8],
        to: Option<&[u8]>,
        mut show: impl FnMut(&[u8], &[u8]) -> Result<bool, E>,
    ) -> Result<(), E> {
        if to.is_some_and(|to| to <= from) {
            return Ok(());
        }
        let bounds = (
            Bound::Included(from),
            to.map_or(Bound::Unbounded, Bound::Excluded),
        );
        let mut recent = self.recent.range::<[u8], _>(bounds).peekable();
        let mut frozen = self.frozen.range::<[u8], _>(bounds).peekable();
        let base = self.base.range::<&[u8]>(bounds).map_err(KvError::from)?;
        for pair in base {
            let (key, value) = pair.map_err(KvError::from)?;
            let key = key.value();
            while let Some((changed, value)) = next_change(&mut recent, &mut frozen, Some(key)) {
                if let Some(value) = value
                    && !show(changed, value)?
                {
                    return Ok(());
                }
            }
            // A change of the key takes the place of what is there.
            let is_at = |change: &(&Vec<u8>, &Option<Vec<u8>>)| change.0 == key;
            let older = frozen.next_if(is_at);
            let goes_on = match recent.next_if(is_at).or(older) {
                Some((_, Some(value))) => show(key, value)?,
                Some((_, None)) => true,
                None => show(key, value.value())?,
            };
            if !goes_on {
                return Ok(());
            }
        }
        while let Some((changed, value)) = next_change(&mut recent, &mut frozen, None) {
            if let Some(value) = value
                && !show(changed, value)?
            {
                break;
            }
        }
        Ok(())
    }
}

type Peekable<'l> =
    std::iter::Peekable<std::collections::btree_map::Range<'l, Vec<u8>, Option<Vec<u8>>>>;

/// The first change of a key before this one; the more recent one where both have changed it.
fn next_change<'l>(
    recent: &mut Peekable<'l>,
    frozen: &mut Peekable<'l>,
    before: Option<&[u8]>,
) -> Option<(&'l [u8], &'l Option<Vec<u8>>)> {
    let one = recent.peek().map(|(key, _)| key.as_slice());
    let other = frozen.peek().map(|(key, _)| key.as_slice());
    let key = match (one, other) {
        (Some(one), Some(other)) => one.min(other),
        (one, other) => one.or(other)?,
    };
    if before.is_some_and(|before| key >= before) {
        return None;
    }
    let older = frozen.next_if(|(at, _)| at.as_slice() == key);
    let newer = recent.next_if(|(at, _)| at.as_slice() == key);
    newer.or(older).map(|(key, value)| (key.as_slice(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(layers: &Layers, from: &str, to: Option<&str>) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        layers
            .scan::<KvError>(from.as_bytes(), to.map(str::as_bytes), |key, value| {
                found.push((text(key), text(value)));
                Ok(true)
            })
            .expect("the database works");
        found
    }

    fn put(kv: &Kv, key: &str, value: &str) {
        kv.write().insert(key.into(), value.into());
    }

    /// The map is the same as one in memory, whichever layers its pairs are in.
    #[test]
    fn layers_are_one_map() {
        let dir = tempfile::tempdir().expect("there is room");
        let kv = Kv::open(&dir.path().join("kv")).expect("it opens");
        let mut model = BTreeMap::new();
        let mut dice = 1_u64;
        for step in 0..3_000 {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let key = format!("{:02}", (dice >> 33) % 40);
            if (dice >> 50).is_multiple_of(3) {
                kv.write().remove(key.clone().into());
                model.remove(&key);
            } else {
                put(&kv, &key, &step.to_string());
                model.insert(key, step.to_string());
            }
            match step % 60 {
                20 => kv.checkpoint().expect("the database works"),
                // As if a checkpoint were under way.
                40 if kv.read().frozen.is_empty() => {
                    let mut layers = kv.write();
                    let recent = std::mem::take(&mut layers.recent);
                    drop(layers);
                    let txn = kv.db.begin_write().expect("the database works");
                    drop(txn);
                    kv.write().frozen = Arc::new(recent);
                }
                // It is finished.
                50 => {
                    let mut layers = kv.write();
                    let frozen = std::mem::take(&mut layers.frozen);
                    for (key, value) in frozen.iter() {
                        layers
                            .recent
                            .entry(key.clone())
                            .or_insert_with(|| value.clone());
                    }
                }
                _ => {}
            }
            let layers = kv.read();
            let expected: Vec<_> = model.clone().into_iter().collect();
            assert_eq!(all(&layers, "", None), expected, "step {step}");
            let part: Vec<_> = model
                .range("10".to_owned().."30".to_owned())
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            assert_eq!(all(&layers, "10", Some("30")), part, "step {step}");
            for number in 0..40 {
                let key = format!("{number:02}");
                let value = layers.get(key.as_bytes()).expect("the database works");
                let expected = model.get(&key).map(|value| value.clone().into_bytes());
                assert_eq!(value, expected, "step {step}");
            }
        }
    }

    /// After a crash the map is as of the last checkpoint, and after a checkpoint nothing is lost.
    #[test]
    fn a_checkpoint_is_what_a_crash_leaves() {
        let dir = tempfile::tempdir().expect("there is room");
        let path = dir.path().join("kv");
        let kv = Kv::open(&path).expect("it opens");
        put(&kv, "a", "1");
        kv.checkpoint().expect("the database works");
        put(&kv, "a", "2");
        put(&kv, "b", "2");
        drop(kv);
        let kv = Kv::open(&path).expect("it opens again");
        assert_eq!(
            all(&kv.read(), "", None),
            [("a".to_owned(), "1".to_owned())]
        );
    }
}
