//! A disk in memory that forgets what was not synced.
//!
//! Owns the files as a store sees them, and the order of what was done to them. What a crash leaves
//! of that stands in `sim_disk/journal.rs`. Must not know what is stored.

mod journal;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use self::journal::{Files, Journal, Operation};
use super::StoreError;
use super::place::{Crash, Faults, Place, Unsynced, locked};

/// A simulated directory of files, for the tests of a store that reaches its files through a layer
/// of its own: implement that layer for this. Clones share it.
///
/// What is written is seen at once, and durable when it was synced, as POSIX has it and no more:
///
/// * [`SimFile::sync`] makes the content of a file durable, not its name;
/// * [`SimDisk::sync_directory`] makes durable which files there are and how they are called;
/// * everything else may reach the disk early, late, in part, or never; names in their order,
///   contents in any.
///
/// [`Place::crash`] has every operation as a boundary, and for each of them several fates of what
/// was not synced.
#[derive(Clone, Default)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
    faults: Faults,
}

#[derive(Clone, Debug, Default)]
struct State {
    /// What the store sees.
    live: Files,
    /// What was on the disk, and on its way there, when the action began.
    before: Journal,
    /// What was done since then.
    operations: Vec<Operation>,
    last_file: u64,
}

/// An open file of a [`SimDisk`]. Stays with the file if that is renamed or removed.
#[derive(Clone)]
pub struct SimFile {
    disk: SimDisk,
    file: u64,
}

impl SimDisk {
    /// A new, empty file of this name, in the place of one that may be there.
    ///
    /// # Errors
    ///
    /// If writes are made to fail.
    pub fn create(&self, name: impl AsRef<Path>) -> io::Result<SimFile> {
        self.faults.before_write()?;
        let mut state = locked(&self.state);
        state.last_file += 1;
        let file = state.last_file;
        state.record(Operation::Create {
            name: name.as_ref().to_path_buf(),
            file,
        });
        Ok(self.handle(file))
    }

    /// The file of this name.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] if there is none, another one if reads are made to fail.
    pub fn open(&self, name: impl AsRef<Path>) -> io::Result<SimFile> {
        self.faults.before_read()?;
        let file = locked(&self.state).live.file_of(name.as_ref())?;
        Ok(self.handle(file))
    }

    /// The names of all files, in order.
    ///
    /// # Errors
    ///
    /// If reads are made to fail.
    pub fn names(&self) -> io::Result<Vec<PathBuf>> {
        self.faults.before_read()?;
        Ok(locked(&self.state).live.names().cloned().collect())
    }

    /// Gives a file another name, which it takes from another one that may have it. A crash leaves
    /// it with one name or the other.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] if there is none, another one if writes are made to fail.
    pub fn rename(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
        self.faults.before_write()?;
        let mut state = locked(&self.state);
        state.live.file_of(from.as_ref())?;
        state.record(Operation::Rename {
            from: from.as_ref().to_path_buf(),
            to: to.as_ref().to_path_buf(),
        });
        Ok(())
    }

    /// Removes a file.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] if there is none, another one if writes are made to fail.
    pub fn remove(&self, name: impl AsRef<Path>) -> io::Result<()> {
        self.faults.before_write()?;
        let mut state = locked(&self.state);
        state.live.file_of(name.as_ref())?;
        state.record(Operation::Remove {
            name: name.as_ref().to_path_buf(),
        });
        Ok(())
    }

    /// An fsync of the directory: all names are durable.
    ///
    /// # Errors
    ///
    /// If writes are made to fail.
    pub fn sync_directory(&self) -> io::Result<()> {
        self.faults.before_write()?;
        locked(&self.state).record(Operation::SyncDirectory);
        Ok(())
    }

    fn handle(&self, file: u64) -> SimFile {
        SimFile {
            disk: self.clone(),
            file,
        }
    }
}

impl State {
    fn record(&mut self, operation: Operation) {
        self.live.apply(&operation);
        self.operations.push(operation);
    }
}

impl SimFile {
    /// How many bytes it has.
    ///
    /// # Errors
    ///
    /// If reads are made to fail.
    pub fn size_bytes(&self) -> io::Result<u64> {
        self.disk.faults.before_read()?;
        Ok(locked(&self.disk.state).live.content(self.file).len() as u64)
    }

    /// Reads from `offset` on, and returns how many bytes there were; fewer than `buffer` takes if
    /// the file ends before.
    ///
    /// # Errors
    ///
    /// If reads are made to fail.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.disk.faults.before_read()?;
        let state = locked(&self.disk.state);
        let content = state.live.content(self.file);
        let start = usize::try_from(offset).map_or(content.len(), |it| it.min(content.len()));
        let rest = &content[start..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    /// Writes all of `bytes` at `offset`. A gap before it is filled with zeros.
    ///
    /// # Errors
    ///
    /// If writes are made to fail.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.disk.faults.before_write()?;
        locked(&self.disk.state).record(Operation::Write {
            file: self.file,
            offset,
            bytes: bytes.to_vec(),
        });
        Ok(())
    }

    /// Cuts the file to this size, or fills it with zeros up to it.
    ///
    /// # Errors
    ///
    /// If writes are made to fail.
    pub fn resize(&self, size_bytes: u64) -> io::Result<()> {
        self.disk.faults.before_write()?;
        locked(&self.disk.state).record(Operation::Resize {
            file: self.file,
            size_bytes,
        });
        Ok(())
    }

    /// An fsync of the file: its content is durable.
    ///
    /// # Errors
    ///
    /// If writes are made to fail.
    pub fn sync(&self) -> io::Result<()> {
        self.disk.faults.before_write()?;
        locked(&self.disk.state).record(Operation::Sync { file: self.file });
        Ok(())
    }
}

impl Place for SimDisk {
    fn empty() -> Result<Self, StoreError> {
        Ok(Self::default())
    }

    fn begin(&self) {
        let mut state = locked(&self.state);
        let done = std::mem::take(&mut state.operations);
        state.before.advance(&done);
    }

    fn crashes(&self, _unsynced: &[Unsynced]) -> usize {
        let state = locked(&self.state);
        journal::crash_points(&state.before, &state.operations).len()
    }

    fn crash(&self, number: usize, _unsynced: &[Unsynced]) -> Result<Crash<Self>, StoreError> {
        let state = locked(&self.state);
        let points = journal::crash_points(&state.before, &state.operations);
        let point = points.get(number).ok_or("there is no such crash")?;
        let before = point.leaves(&state.before, &state.operations);
        let left = State {
            live: before.live(),
            before,
            operations: Vec::new(),
            last_file: state.last_file,
        };
        Ok(Crash {
            place: Self {
                state: Arc::new(Mutex::new(left)),
                faults: Faults::default(),
            },
            what: point.describe(&state.operations),
            is_after: point.done == state.operations.len(),
        })
    }

    fn faults(&self) -> Option<&Faults> {
        Some(&self.faults)
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = locked(&self.state);
        let files = state.live.names().map(|name| {
            let file = state.live.file_of(name).unwrap_or_default();
            (name, state.live.content(file).len())
        });
        f.debug_map().entries(files).finish()
    }
}

impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimFile")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}
