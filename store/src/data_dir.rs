//! The directory in which a node keeps everything.
//!
//! Owns what tells whose directory it is, and that one process has it.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The version of what is in a directory.
const VERSION: u32 = 1;

/// Why a directory cannot be used.
#[derive(Debug, Error)]
pub enum DataDirError {
    /// The disk says why.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the disk says.
        error: io::Error,
    },
    /// Another process has it.
    #[error("{} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// It is somebody else's.
    #[error(
        "{} belongs to node {found_node} of cluster {found_cluster:?}, and this is node {node} of \
         {cluster:?}; give each node a directory of its own",
        path.display()
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        found_cluster: String,
        /// Whose it is.
        found_node: u64,
        /// Who asks for it.
        cluster: String,
        /// Who asks for it.
        node: u64,
    },
    /// It was written by a newer program.
    #[error(
        "{} was written by a newer version of this program (format {found}, known are up to \
         {VERSION}); start that one",
        path.display()
    )]
    Newer {
        /// The directory.
        path: PathBuf,
        /// Its format.
        found: u64,
    },
    /// It says nothing that makes sense.
    #[error("{}: {error}; is this a node's directory?", path.display())]
    Unintelligible {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: serde_json::Error,
    },
}

#[derive(Serialize, Deserialize)]
struct Identity {
    version: u32,
    cluster: String,
    node: u64,
    /// How often a node was started from it.
    starts: u32,
}

/// A node's directory, as long as it is this process's.
pub struct DataDir {
    path: PathBuf,
    /// How often a node was started from it, this time included.
    pub starts: u32,
    _lock: File,
}

impl DataDir {
    /// Takes the directory for this node, and makes it if it is not there.
    ///
    /// # Errors
    ///
    /// If it is not to be had, is somebody else's, or newer than this program.
    pub fn open(path: &Path, cluster: &str, node: u64) -> Result<Self, DataDirError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| DataDirError::Io { path, error }
        };
        make_dir(path).map_err(failed(path))?;
        // Whoever has made it may not have come to this. A parent that this user may not read was made by
        // somebody else, long ago.
        match sync_dir(parent_of(path)) {
            Err(error) if error.kind() != io::ErrorKind::PermissionDenied => {
                return Err(failed(path)(error));
            }
            Ok(()) | Err(_) => {}
        }
        let lock_path = path.join("lock");
        let lock = File::create(&lock_path).map_err(failed(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DataDirError::InUse(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(failed(&lock_path)(error)),
        }
        let file = path.join("identity.json");
        let mut identity = match fs::read(&file) {
            Ok(bytes) => read(path, &file, &bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Identity {
                version: VERSION,
                cluster: cluster.to_owned(),
                node,
                starts: 0,
            },
            Err(error) => return Err(failed(&file)(error)),
        };
        if (identity.cluster.as_str(), identity.node) != (cluster, node) {
            return Err(DataDirError::Foreign {
                path: path.to_owned(),
                found_cluster: identity.cluster,
                found_node: identity.node,
                cluster: cluster.to_owned(),
                node,
            });
        }
        identity.starts = identity.starts.wrapping_add(1);
        write(&file, &identity).map_err(failed(&file))?;
        Ok(Self {
            path: path.to_owned(),
            starts: identity.starts,
            _lock: lock,
        })
    }

    /// Makes durable which files and directories are in it: without that a loss of power could take them,
    /// however often they were synced themselves.
    ///
    /// # Errors
    ///
    /// If the disk fails.
    pub fn sync(&self) -> io::Result<()> {
        sync_dir(&self.path)
    }

    /// A file or a directory in it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

fn read(dir: &Path, file: &Path, bytes: &[u8]) -> Result<Identity, DataDirError> {
    let unintelligible = |error| DataDirError::Unintelligible {
        path: file.to_owned(),
        error,
    };
    // A newer version may have other fields.
    let value: serde_json::Value = serde_json::from_slice(bytes).map_err(unintelligible)?;
    let found = value["version"].as_u64();
    if let Some(found) = found.filter(|found| *found > u64::from(VERSION)) {
        let path = dir.to_owned();
        return Err(DataDirError::Newer { path, found });
    }
    serde_json::from_value(value).map_err(unintelligible)
}

/// Makes durable which files and directories are in this directory.
///
/// # Errors
///
/// If the disk fails.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    #[cfg(test)]
    synced::note(dir);
    File::open(dir)?.sync_all()
}

/// Makes a directory, and those that it is in, durably; those that are there stay as they are.
fn make_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    make_dir(parent_of(dir))?;
    match fs::create_dir(dir) {
        // Another node, which has its directory beside this one's, has been faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
        made => made?,
    }
    sync_dir(parent_of(dir))
}

fn parent_of(dir: &Path) -> &Path {
    match dir.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => Path::new("/"),
    }
}

/// Writes it so that a crash leaves the old one or the new one.
fn write(file: &Path, identity: &Identity) -> io::Result<()> {
    let new = file.with_extension("new");
    let mut writer = File::create(&new)?;
    writer.write_all(&serde_json::to_vec_pretty(identity)?)?;
    writer.sync_all()?;
    fs::rename(&new, file)?;
    file.parent().map_or(Ok(()), sync_dir)
}

/// For tests: what was in which directory when it was synced last.
#[cfg(test)]
pub(crate) mod synced {
    use std::collections::{BTreeSet, HashMap};
    use std::ffi::OsString;
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::sync::LazyLock;

    use parking_lot::Mutex;

    static NAMES: LazyLock<Mutex<HashMap<PathBuf, BTreeSet<OsString>>>> =
        LazyLock::new(Mutex::default);

    pub(super) fn note(dir: &Path) {
        let names = fs::read_dir(dir).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name()).collect();
        NAMES.lock().insert(dir.to_owned(), names);
    }

    /// `None` if it was never synced.
    pub(crate) fn names(dir: &Path) -> Option<BTreeSet<OsString>> {
        NAMES.lock().get(dir).cloned()
    }
}
