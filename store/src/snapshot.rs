//! Snapshots of regions: files of their records, made beside the work and read back whole.
//!
//! Owns the files and the description of one that travels in a Raft message. How the file travels is
//! the transport's. Knows no Raft node.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use almadia::{LogIndex, Snapshot, StorageError};
use crc32fast::Hasher;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::data_dir::sync_dir;
use crate::region::{Region, RegionId};
use crate::state::{Record, State, StateError};

#[cfg(test)]
mod tests;

/// What a snapshot's message says of its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// The file's name.
    pub name: String,
    /// Its bytes.
    pub len: u64,
    /// Their checksum.
    pub crc32: u32,
    /// The region, as of the last entry in the snapshot.
    pub region: Region,
}

impl Description {
    /// What this snapshot says of its file.
    ///
    /// # Errors
    ///
    /// If it says nothing that this version understands.
    pub fn of(snapshot: &Snapshot) -> Result<Self, SnapshotError> {
        let description: Self = postcard::from_bytes(&snapshot.data)?;
        check_name(&description.name)?;
        Ok(description)
    }
}

/// Whether a name, which comes from a peer, does not lead out of the directory.
///
/// # Errors
///
/// [`SnapshotError::Name`].
pub fn check_name(name: &str) -> Result<(), SnapshotError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if name.is_empty() || !name.chars().all(is_plain) {
        return Err(SnapshotError::Name);
    }
    Ok(())
}

/// Why a snapshot could not be made or read.
#[derive(Debug, Error)]
pub enum SnapshotError {
    /// The disk says why.
    #[error("a snapshot's file failed: {0}")]
    Io(#[from] io::Error),
    /// The state machine's database says why.
    #[error(transparent)]
    State(#[from] StateError),
    /// It is not as this version writes it.
    #[error("a snapshot cannot be read: {0}")]
    Record(#[from] postcard::Error),
    /// Its membership cannot be read.
    #[error("a snapshot's membership cannot be read: {0}")]
    Membership(#[from] almadia_proto::DecodeError),
    /// It names no file of this directory.
    #[error("a snapshot's file has no plain name")]
    Name,
    /// It has changed.
    #[error("a snapshot's file is damaged")]
    Damaged,
    /// The region is not here.
    #[error("there is no such region")]
    NoRegion,
}

enum Job {
    Making,
    /// With the version of the region that it is of.
    Made(Snapshot, u64),
}

/// The snapshots of a node.
pub struct Snapshots {
    dir: PathBuf,
    state: Arc<State>,
    jobs: Mutex<HashMap<RegionId, Job>>,
}

impl Snapshots {
    /// Keeps them in this directory, in which nothing else is.
    ///
    /// # Errors
    ///
    /// If it cannot be made.
    pub fn open(dir: PathBuf, state: Arc<State>) -> io::Result<Arc<Self>> {
        fs::create_dir_all(&dir)?;
        Ok(Arc::new(Self {
            dir,
            state,
            jobs: Mutex::default(),
        }))
    }

    /// Removes what an earlier life has left behind.
    ///
    /// # Errors
    ///
    /// If the directory cannot be read.
    pub fn clear(&self) -> io::Result<()> {
        for file in fs::read_dir(&self.dir)? {
            fs::remove_file(file?.path())?;
        }
        Ok(())
    }

    /// Where a file of this name is.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A snapshot of the region that reaches at least to this index. The first one who asks for it
    /// has it made.
    ///
    /// # Errors
    ///
    /// [`StorageError::TemporarilyUnavailable`] while it is being made.
    pub fn snapshot(
        self: &Arc<Self>,
        region: RegionId,
        at_least: LogIndex,
    ) -> Result<Snapshot, StorageError> {
        let mut jobs = self.jobs.lock();
        match jobs.get(&region) {
            // One from before a division has keys that other regions have now, and would not be taken.
            Some(Job::Made(snapshot, version))
                if snapshot.last_included.index >= at_least
                    && Some(*version) == self.version(region) =>
            {
                return Ok(snapshot.clone());
            }
            Some(Job::Making) => {}
            Some(Job::Made(..)) | None => {
                if let Some(Job::Made(old, _)) = jobs.insert(region, Job::Making) {
                    // Whoever sends it has it open.
                    self.remove(&old);
                }
                let snapshots = Arc::clone(self);
                std::thread::spawn(move || snapshots.make(region));
            }
        }
        Err(StorageError::TemporarilyUnavailable)
    }

    fn version(&self, region: RegionId) -> Option<u64> {
        let region = self.state.view().region(region).ok()?;
        region.map(|region| region.version)
    }

    fn make(&self, region: RegionId) {
        let made = self.write(region);
        let mut jobs = self.jobs.lock();
        match made {
            Ok((snapshot, version)) => {
                jobs.insert(region, Job::Made(snapshot, version));
            }
            Err(error) => {
                tracing::warn!(%region, %error, "no snapshot was made");
                jobs.remove(&region);
            }
        }
    }

    fn write(&self, id: RegionId) -> Result<(Snapshot, u64), SnapshotError> {
        let view = self.state.lasting_view()?;
        let region = view.region(id)?.ok_or(SnapshotError::NoRegion)?;
        let applied = region.applied();
        let name = format!("{id}-{}-{}", applied.term.0, applied.index.0);
        let mut file = Summed::new(BufWriter::new(File::create(self.path(&name))?));
        view.export::<SnapshotError>(&region, |record| {
            let record = postcard::to_stdvec(&record)?;
            file.write_all(
                &u32::try_from(record.len())
                    .unwrap_or(u32::MAX)
                    .to_le_bytes(),
            )?;
            Ok(file.write_all(&record)?)
        })?;
        file.inner.flush()?;
        let description = Description {
            name,
            len: file.len,
            crc32: file.crc.finalize(),
            region,
        };
        tracing::info!(region = %id, bytes = description.len, "made a snapshot");
        let snapshot = Snapshot {
            last_included: applied,
            conf_state: description.region.membership()?,
            data: postcard::to_stdvec(&description)?.into(),
        };
        Ok((snapshot, description.region.version))
    }

    /// This node has no part in the region any more.
    pub fn forget(&self, region: RegionId) {
        if let Some(Job::Made(old, _)) = self.jobs.lock().remove(&region) {
            self.remove(&old);
        }
    }

    /// Puts a snapshot whose file is here into the state machine, in place of what that holds of the
    /// region; all or nothing.
    ///
    /// # Errors
    ///
    /// If the file is damaged, or the disk fails.
    pub fn restore(&self, snapshot: &Snapshot) -> Result<Region, SnapshotError> {
        let description = Description::of(snapshot)?;
        let path = self.path(&description.name);
        if checksum(&path)? != (description.len, description.crc32) {
            return Err(SnapshotError::Damaged);
        }
        let mut records = Records {
            file: BufReader::new(File::open(&path)?),
            left: description.len,
        };
        let mut region = description.region;
        region.set_applied(snapshot.last_included);
        self.state
            .replace(region.id, Some(&region), || records.next())?;
        Ok(region)
    }

    /// Makes durable that the files are there.
    ///
    /// # Errors
    ///
    /// If the disk fails.
    pub fn sync(&self) -> io::Result<()> {
        sync_dir(&self.dir)
    }

    /// A snapshot is not needed any more.
    pub fn remove(&self, snapshot: &Snapshot) {
        if let Ok(description) = Description::of(snapshot) {
            drop(fs::remove_file(self.path(&description.name)));
        }
    }
}

/// The records of a file.
struct Records<R> {
    file: R,
    /// So many bytes are still to come.
    left: u64,
}

impl<R: io::Read> Records<R> {
    /// The next one. The end is where it was said to be: if the disk fails before, that is not the end, and
    /// what was read is not the region.
    fn next(&mut self) -> Result<Option<Record>, StateError> {
        if self.left == 0 {
            return Ok(None);
        }
        let mut len = [0; 4];
        self.file.read_exact(&mut len)?;
        let mut record = vec![0; u32::from_le_bytes(len) as usize];
        self.file.read_exact(&mut record)?;
        let read = (len.len() + record.len()) as u64;
        let left = self.left.checked_sub(read);
        self.left = left
            .ok_or(io::ErrorKind::InvalidData)
            .map_err(io::Error::from)?;
        Ok(Some(postcard::from_bytes(&record)?))
    }
}

/// The length of a file and the checksum of its bytes.
///
/// # Errors
///
/// If it cannot be read.
pub fn checksum(path: &Path) -> io::Result<(u64, u32)> {
    let mut file = File::open(path)?;
    let mut crc = Hasher::new();
    let mut len = 0;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((len, crc.finalize()));
        }
        crc.update(&buffer[..read]);
        len += read as u64;
    }
}

/// Sums what is written.
struct Summed<W> {
    inner: W,
    crc: Hasher,
    len: u64,
}

impl<W: io::Write> Summed<W> {
    fn new(inner: W) -> Self {
        Self {
            inner,
            crc: Hasher::new(),
            len: 0,
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.crc.update(bytes);
        self.len += bytes.len() as u64;
        self.inner.write_all(bytes)
    }
}
