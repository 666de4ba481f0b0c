//! Files of which it is known what a loss of power would leave.
//!
//! Owns, for tests, the file system that raft-engine writes to: what was synced lasts, and a sync can be
//! held or ignored. Files that are made, renamed or removed count as durable at once.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use raft_engine::env::{DefaultFileSystem, FileSystem, Handle, Permission};

type Plain = DefaultFileSystem;
type PlainHandle = <Plain as FileSystem>::Handle;

/// What becomes of a sync.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Syncs {
    /// It makes durable what is written.
    #[default]
    Work,
    /// It waits.
    Wait,
    /// It does nothing: the process is as good as dead.
    AreIgnored,
}

#[derive(Debug, Default)]
struct Disk {
    /// What is durable of each file.
    durable: Mutex<HashMap<PathBuf, Vec<u8>>>,
    syncs: Mutex<Syncs>,
    changed: Condvar,
}

impl Disk {
    fn sync(&self, path: &Path) -> io::Result<()> {
        let mut syncs = self.syncs.lock();
        self.changed
            .wait_while(&mut syncs, |syncs| *syncs == Syncs::Wait);
        if *syncs == Syncs::Work {
            let content = fs::read(path)?;
            self.durable.lock().insert(path.to_owned(), content);
        }
        Ok(())
    }
}

/// The file system. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Files(Arc<Disk>);

impl Files {
    /// From now on this becomes of syncs.
    pub(crate) fn let_syncs(&self, syncs: Syncs) {
        *self.0.syncs.lock() = syncs;
        self.0.changed.notify_all();
    }

    /// Puts into this directory what would be left if the power failed now.
    pub(crate) fn leave_what_is_durable(&self, dir: &Path) {
        fs::create_dir_all(dir).unwrap();
        for (path, content) in self.0.durable.lock().iter() {
            fs::write(dir.join(path.file_name().unwrap()), content).unwrap();
        }
    }

    fn of(&self, path: &Path, plain: PlainHandle) -> File {
        File {
            plain: Arc::new(plain),
            path: path.to_owned(),
            disk: Arc::clone(&self.0),
        }
    }
}

/// An open file.
pub(crate) struct File {
    plain: Arc<PlainHandle>,
    path: PathBuf,
    disk: Arc<Disk>,
}

impl Handle for File {
    fn truncate(&self, offset: usize) -> io::Result<()> {
        self.plain.truncate(offset)
    }

    fn file_size(&self) -> io::Result<usize> {
        self.plain.file_size()
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.sync(&self.path)
    }
}

impl FileSystem for Files {
    type Handle = File;
    type Reader = <Plain as FileSystem>::Reader;
    type Writer = <Plain as FileSystem>::Writer;

    fn create<P: AsRef<Path>>(&self, path: P) -> io::Result<File> {
        let path = path.as_ref();
        let plain = DefaultFileSystem.create(path)?;
        self.0.durable.lock().insert(path.to_owned(), Vec::new());
        Ok(self.of(path, plain))
    }

    fn open<P: AsRef<Path>>(&self, path: P, permission: Permission) -> io::Result<File> {
        let path = path.as_ref();
        let plain = DefaultFileSystem.open(path, permission)?;
        let mut durable = self.0.durable.lock();
        if !durable.contains_key(path) {
            // It was there before.
            durable.insert(path.to_owned(), fs::read(path)?);
        }
        Ok(self.of(path, plain))
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

    fn new_reader(&self, file: Arc<File>) -> io::Result<Self::Reader> {
        DefaultFileSystem.new_reader(Arc::clone(&file.plain))
    }

    fn new_writer(&self, file: Arc<File>) -> io::Result<Self::Writer> {
        DefaultFileSystem.new_writer(Arc::clone(&file.plain))
    }
}
