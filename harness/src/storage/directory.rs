//! A directory of real files, and copies of it as crashes leave them.
//!
//! Owns the directory, and removes it. Must not know what is stored.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use super::StoreError;
use super::place::{Crash, Faults, Place, Unsynced};

/// A temporary directory for a store on real files; removed with the last handle to it.
///
/// The process may be crashed between two actions: the files are copied while the store has them
/// open, so nothing is there that the store holds back in memory. What the system has not synced
/// cannot be seen from outside; if the store tells it
/// ([`Subject::unsynced`](super::Subject::unsynced)), the ends of those files are cut off, cut in
/// the middle, and overwritten with zeros and with noise.
///
/// Crashes in the middle of a write take a [`SimDisk`](super::SimDisk), or a store that asks
/// [`Directory::faults`](Place::faults) before it writes.
#[derive(Clone, Debug)]
pub struct Directory {
    folder: Arc<TempDir>,
    faults: Faults,
}

impl Directory {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// What becomes of the unsynced ends of files.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Seen,
    Lost,
    Cut,
    Zeros,
    Noise,
}

const FATES: [Fate; 5] = [Fate::Seen, Fate::Lost, Fate::Cut, Fate::Zeros, Fate::Noise];

impl Place for Directory {
    fn empty() -> Result<Self, StoreError> {
        Ok(Self {
            folder: Arc::new(
                tempfile::Builder::new()
                    .prefix("almadia-store-")
                    .tempdir()?,
            ),
            faults: Faults::default(),
        })
    }

    fn crashes(&self, unsynced: &[Unsynced]) -> usize {
        if unsynced.is_empty() { 1 } else { FATES.len() }
    }

    fn crash(&self, number: usize, unsynced: &[Unsynced]) -> Result<Crash<Self>, StoreError> {
        let fate = *FATES.get(number).ok_or("there is no such crash")?;
        let place = Self::empty()?;
        copy(self.path(), place.path())?;
        for end in unsynced {
            fate.befall(&place.path().join(&end.file), end.synced_bytes)?;
        }
        let what = match fate {
            Fate::Seen => "the process ends",
            Fate::Lost => "the unsynced ends of files are lost",
            Fate::Cut => "half of the unsynced ends of files is lost",
            Fate::Zeros => "the unsynced ends of files have become zeros",
            Fate::Noise => "the unsynced ends of files have become noise",
        };
        Ok(Crash {
            place,
            what: what.into(),
            is_after: true,
        })
    }

    fn faults(&self) -> Option<&Faults> {
        Some(&self.faults)
    }
}

impl Fate {
    fn befall(self, file: &Path, synced_bytes: u64) -> Result<(), StoreError> {
        let mut content = fs::read(file)?;
        let synced = usize::try_from(synced_bytes)?.min(content.len());
        match self {
            Self::Seen => return Ok(()),
            Self::Lost => content.truncate(synced),
            Self::Cut => content.truncate(synced + (content.len() - synced) / 2),
            Self::Zeros => content[synced..].fill(0),
            Self::Noise => {
                for byte in &mut content[synced..] {
                    *byte = byte.wrapping_mul(31).wrapping_add(17);
                }
            }
        }
        Ok(fs::write(file, content)?)
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), StoreError> {
    let mut entries: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(from)? {
        entries.push(entry?.path());
    }
    for path in entries {
        let Some(name) = path.file_name() else {
            continue;
        };
        let target = to.join(name);
        if path.is_dir() {
            fs::create_dir(&target)?;
            copy(&path, &target)?;
        } else {
            fs::copy(&path, &target)?;
        }
    }
    Ok(())
}
