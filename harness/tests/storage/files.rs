//! The small layer through which the store of these tests reaches its files.
//!
//! Owns that layer on a simulated disk and on real files; a store of a real database has one of its
//! own, and implements it for [`SimDisk`] as here. Must not know what is stored.

use std::fs;
use std::io::{self, Read, Seek, SeekFrom, Write};

use almadia_harness::storage::{Directory, Faults, Place, SimDisk, SimFile};

/// A directory.
pub(crate) trait Files: Clone {
    type File: File;

    /// The file of this name, if there is one.
    fn open(&self, name: &str) -> io::Result<Option<Self::File>>;
    /// A new file in the place of one of this name.
    fn create(&self, name: &str) -> io::Result<Self::File>;
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn sync_directory(&self) -> io::Result<()>;
}

pub(crate) trait File {
    fn size_bytes(&self) -> io::Result<u64>;
    /// Exactly so many bytes.
    fn read_at(&self, offset: u64, size: usize) -> io::Result<Vec<u8>>;
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    fn resize(&self, size_bytes: u64) -> io::Result<()>;
    fn sync(&self) -> io::Result<()>;
}

/// What is there, or `None` where there is nothing.
fn if_found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Files for SimDisk {
    type File = SimFile;

    fn open(&self, name: &str) -> io::Result<Option<SimFile>> {
        if_found(SimDisk::open(self, name))
    }

    fn create(&self, name: &str) -> io::Result<SimFile> {
        SimDisk::create(self, name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        SimDisk::rename(self, from, to)
    }

    fn sync_directory(&self) -> io::Result<()> {
        SimDisk::sync_directory(self)
    }
}

impl File for SimFile {
    fn size_bytes(&self) -> io::Result<u64> {
        SimFile::size_bytes(self)
    }

    fn read_at(&self, offset: u64, size: usize) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; size];
        if SimFile::read_at(self, offset, &mut buffer)? < size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        SimFile::write_at(self, offset, bytes)
    }

    fn resize(&self, size_bytes: u64) -> io::Result<()> {
        SimFile::resize(self, size_bytes)
    }

    fn sync(&self) -> io::Result<()> {
        SimFile::sync(self)
    }
}

/// A real file, and the switch that makes it fail in tests.
#[derive(Debug)]
pub(crate) struct RealFile {
    file: fs::File,
    faults: Faults,
}

fn faults(directory: &Directory) -> Faults {
    directory.faults().cloned().unwrap_or_default()
}

impl Files for Directory {
    type File = RealFile;

    fn open(&self, name: &str) -> io::Result<Option<RealFile>> {
        let faults = faults(self);
        faults.before_read()?;
        let mut options = fs::File::options();
        let file = options.read(true).write(true).open(self.path().join(name));
        Ok(if_found(file)?.map(|file| RealFile { file, faults }))
    }

    fn create(&self, name: &str) -> io::Result<RealFile> {
        let faults = faults(self);
        faults.before_write()?;
        let mut options = fs::File::options();
        let options = options.read(true).write(true).create(true).truncate(true);
        let file = options.open(self.path().join(name))?;
        Ok(RealFile { file, faults })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        faults(self).before_write()?;
        fs::rename(self.path().join(from), self.path().join(to))
    }

    fn sync_directory(&self) -> io::Result<()> {
        faults(self).before_write()?;
        fs::File::open(self.path())?.sync_all()
    }
}

impl File for RealFile {
    fn size_bytes(&self) -> io::Result<u64> {
        self.faults.before_read()?;
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, offset: u64, size: usize) -> io::Result<Vec<u8>> {
        self.faults.before_read()?;
        let mut file = &self.file;
        file.seek(SeekFrom::Start(offset))?;
        let mut buffer = vec![0; size];
        file.read_exact(&mut buffer)?;
        Ok(buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.faults.before_write()?;
        let mut file = &self.file;
        file.seek(SeekFrom::Start(offset))?;
        file.write_all(bytes)
    }

    fn resize(&self, size_bytes: u64) -> io::Result<()> {
        self.faults.before_write()?;
        self.file.set_len(size_bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.faults.before_write()?;
        self.file.sync_data()
    }
}
