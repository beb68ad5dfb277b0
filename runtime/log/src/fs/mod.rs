//! The file layer: everything the engine does to a disk goes through these two
//! traits, so that tests can fail a write, fill the disk or cut the power.

mod real;
mod sectors;

use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;

pub use real::RealFs;
pub use sectors::{SECTOR, SectorBuffer};

/// How a file is opened. All modes but `Read` allow writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// The file must exist; it can only be read.
    Read,
    /// The file must exist.
    ReadWrite,
    /// The file must exist. Reads and writes go past the page cache: each is of whole sectors, at a
    /// multiple of a sector, and its bytes in a [`SectorBuffer`]. A file system or disk that cannot do it
    /// says `InvalidInput`, when the file is opened or at the first read or write.
    Direct,
    /// The file is made when it is missing; what it holds is kept.
    Create,
    /// The file must not exist (`AlreadyExists` otherwise).
    CreateNew,
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// The last part of the path. Names that are not UTF-8 are left out of listings.
    pub name: String,
    pub is_dir: bool,
    /// Bytes; 0 for a directory.
    pub len: u64,
}

/// What is known of a path without opening it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata {
    pub is_dir: bool,
    /// Bytes; 0 for a directory.
    pub len: u64,
    /// When the content last changed, ms since 1970; 0 when the file system does not say.
    pub modified_ms: i64,
}

/// Held as long as the lock file is locked; dropping it unlocks.
pub trait FileLock: Send + Sync + Debug {}

/// A tree of files. A name that was created, renamed or removed is durable only
/// after [`FileSystem::sync_dir`] of its directory, whatever was synced of the file.
pub trait FileSystem: Send + Sync + Debug {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>>;

    /// Makes the directory and all that are missing above it.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;

    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes the directory and everything in it.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Renames a file or a directory; a file that has the new name is replaced atomically.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// The entries of a directory, sorted by name.
    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>>;

    /// `NotFound` when there is nothing of that name.
    fn metadata(&self, path: &Path) -> io::Result<Metadata>;

    /// Makes the names in this directory durable (not the files behind them).
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes everything on the file system that holds `path` durable (`syncfs`).
    fn sync_filesystem(&self, path: &Path) -> io::Result<()>;

    /// Takes an exclusive lock on the file (made when missing) or fails with
    /// `WouldBlock` at once when another holder, in this process or another, has it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn FileLock>>;

    /// Whether the path names a file or a directory.
    fn exists(&self, path: &Path) -> io::Result<bool> {
        match self.metadata(path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The whole file; `InvalidData` when it is longer than `max` bytes.
    fn read(&self, path: &Path, max: u64) -> io::Result<Vec<u8>> {
        let file = self.open(path, OpenMode::Read)?;
        let len = file.len()?;
        if len > max {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("the file has {len} bytes, more than the {max} allowed"),
            ));
        }
        let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }
}

/// Makes the directory and all that are missing above it, and makes their names durable, also
/// those that a process before this one made and did not live to sync.
pub fn create_dir_durably(fs: &dyn FileSystem, path: &Path) -> io::Result<()> {
    fs.create_dir_all(path)?;
    for dir in path.ancestors().skip(1) {
        let dir = match dir.as_os_str().is_empty() {
            true => Path::new("."),
            false => dir,
        };
        match fs.sync_dir(dir) {
            // A directory that we may not even read is not one that we made.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(()),
            result => result?,
        }
    }
    Ok(())
}

/// An open file. All methods take `&self`; positions are explicit, so threads can share one.
pub trait File: Send + Sync + Debug {
    /// Reads at most `buf.len()` bytes at `offset`; 0 means the end of the file.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `buf` at `offset`, or fails; after a failure any part of it may be written.
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()>;

    /// Bytes.
    fn len(&self) -> io::Result<u64>;

    /// Dates the content, until the next write: ms since 1970. Durable with the next sync that has a change of the
    /// length to make durable.
    fn set_modified(&self, modified_ms: i64) -> io::Result<()>;

    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Cuts the file, or extends it with zeros that occupy no blocks.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Reserves blocks for the first `len` bytes and makes the file at least that long.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Says that the first `len` bytes will be written or read soon, so that the system may fetch them.
    fn will_need(&self, _len: u64) {}

    /// Makes the bytes and the length durable (`fdatasync`).
    fn sync_data(&self) -> io::Result<()>;

    /// As `sync_data`, with the times too (`fsync`).
    fn sync_all(&self) -> io::Result<()>;

    /// Fills `buf` from `offset`, or fails with `UnexpectedEof`.
    fn read_exact_at(&self, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buf.is_empty() {
            match self.read_at(buf, offset)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => {
                    buf = &mut buf[n..];
                    offset += n as u64;
                }
            }
        }
        Ok(())
    }
}
