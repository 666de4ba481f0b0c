//! A file system that loses what was not synced.
//!
//! Owns, for tests, the files that raft-engine writes: what of them is durable, and what becomes of a sync.
//! To make, rename or remove a file counts as durable at once, as raft-engine syncs the directory itself
//! then; but not to make the first ones, of which only [`sync_dir`](crate::data_dir::sync_dir) makes sure.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use raft_engine::env::{DefaultFileSystem, FileSystem, Handle, Permission};

use crate::data_dir::synced;

const SOON: Duration = Duration::from_secs(30);

type Plain = DefaultFileSystem;
type PlainHandle = <Plain as FileSystem>::Handle;

/// What becomes of a sync.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum OnSync {
    /// What is written becomes durable.
    #[default]
    Work,
    /// It does not return.
    Hold,
    /// It says that it has worked, and has not.
    Lie,
}

#[derive(Debug, Default)]
struct Shared {
    /// What is durable of each file.
    durable: Mutex<HashMap<PathBuf, Vec<u8>>>,
    /// The first files. They are there after a crash if the directory was synced.
    first: Mutex<HashSet<PathBuf>>,
    syncs: Mutex<Syncs>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Syncs {
    on_sync: OnSync,
    /// So many are held.
    held: usize,
}

/// The file system of one log. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct FaultFs(Arc<Shared>);

impl FaultFs {
    /// That of the log in this directory, which may yet be opened.
    pub(crate) fn of(dir: &Path) -> Self {
        static ALL: LazyLock<Mutex<HashMap<PathBuf, FaultFs>>> = LazyLock::new(Mutex::default);
        ALL.lock().entry(dir.to_owned()).or_default().clone()
    }

    /// Decides what becomes of syncs, also of those that are held.
    pub(crate) fn on_sync(&self, on_sync: OnSync) {
        self.0.syncs.lock().on_sync = on_sync;
        self.0.changed.notify_all();
    }

    /// Returns when a sync is held, which must be soon.
    pub(crate) fn wait_until_held(&self) {
        let mut syncs = self.0.syncs.lock();
        let is_none = |syncs: &mut Syncs| syncs.held == 0;
        let waited = self.0.changed.wait_while_for(&mut syncs, is_none, SOON);
        assert!(!waited.timed_out(), "nothing was synced");
    }

    /// Puts into a directory what a loss of power would leave: all that was synced, and of what was written
    /// to a file since, as many bytes as `torn` says, given how many there are.
    pub(crate) fn crash_image(&self, dir: &Path, mut torn: impl FnMut(usize) -> usize) {
        fs::create_dir_all(dir).unwrap();
        for (path, durable) in self.0.durable.lock().iter() {
            if self.0.first.lock().contains(path) && !is_in_its_directory(path) {
                continue;
            }
            let written = fs::read(path).unwrap();
            let same = written.iter().zip(durable).take_while(|(a, b)| a == b);
            let same = same.count();
            let end = written.iter().rposition(|byte| *byte != 0);
            let unsynced = end.map_or(0, |end| end + 1).saturating_sub(same);
            let mut image = durable.clone();
            let until = same + torn(unsynced).min(unsynced);
            image.resize(image.len().max(until), 0);
            image[same..until].copy_from_slice(&written[same..until]);
            fs::write(dir.join(path.file_name().unwrap()), image).unwrap();
        }
    }

    fn file(&self, path: &Path, plain: PlainHandle) -> FaultFile {
        FaultFile {
            plain: Arc::new(plain),
            path: path.to_owned(),
            shared: Arc::clone(&self.0),
        }
    }
}

/// Whether that it is there has become durable.
fn is_in_its_directory(path: &Path) -> bool {
    let names = path.parent().and_then(synced::names);
    names.is_some_and(|names| path.file_name().is_some_and(|name| names.contains(name)))
}

/// An open file.
pub(crate) struct FaultFile {
    plain: Arc<PlainHandle>,
    path: PathBuf,
    shared: Arc<Shared>,
}

impl Handle for FaultFile {
    fn truncate(&self, offset: usize) -> io::Result<()> {
        self.plain.truncate(offset)
    }

    fn file_size(&self) -> io::Result<usize> {
        self.plain.file_size()
    }

    fn sync(&self) -> io::Result<()> {
        let mut syncs = self.shared.syncs.lock();
        syncs.held += 1;
        self.shared.changed.notify_all();
        let is_held = |syncs: &mut Syncs| syncs.on_sync == OnSync::Hold;
        self.shared.changed.wait_while(&mut syncs, is_held);
        syncs.held -= 1;
        if syncs.on_sync == OnSync::Work {
            let content = match fs::read(&self.path) {
                // The test is over, and has removed it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                content => content?,
            };
            self.plain.sync()?;
            self.shared
                .durable
                .lock()
                .insert(self.path.clone(), content);
        }
        Ok(())
    }
}

impl FileSystem for FaultFs {
    type Handle = FaultFile;
    type Reader = <Plain as FileSystem>::Reader;
    type Writer = <Plain as FileSystem>::Writer;

    fn create<P: AsRef<Path>>(&self, path: P) -> io::Result<FaultFile> {
        let path = path.as_ref();
        let plain = DefaultFileSystem.create(path)?;
        self.0.durable.lock().insert(path.to_owned(), Vec::new());
        if path.parent().and_then(synced::names).is_none() {
            self.0.first.lock().insert(path.to_owned());
        }
        Ok(self.file(path, plain))
    }

    fn open<P: AsRef<Path>>(&self, path: P, permission: Permission) -> io::Result<FaultFile> {
        let path = path.as_ref();
        let plain = DefaultFileSystem.open(path, permission)?;
        let mut durable = self.0.durable.lock();
        if !durable.contains_key(path) {
            // It was there before.
            durable.insert(path.to_owned(), fs::read(path)?);
        }
        Ok(self.file(path, plain))
    }

    fn delete<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        self.0.durable.lock().remove(path.as_ref());
        DefaultFileSystem.delete(path)
    }

    fn rename<P: AsRef<Path>>(&self, from: P, to: P) -> io::Result<()> {
        let mut durable = self.0.durable.lock();
        if let Some(content) = durable.remove(from.as_ref()) {
            durable.insert(to.as_ref().to_owned(), content);
        }
        DefaultFileSystem.rename(from, to)
    }

    fn new_reader(&self, file: Arc<FaultFile>) -> io::Result<Self::Reader> {
        DefaultFileSystem.new_reader(Arc::clone(&file.plain))
    }

    fn new_writer(&self, file: Arc<FaultFile>) -> io::Result<Self::Writer> {
        DefaultFileSystem.new_writer(Arc::clone(&file.plain))
    }
}
