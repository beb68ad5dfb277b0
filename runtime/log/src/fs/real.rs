//! The machine's own file system.

use std::fs;
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::{Advice, FallocateFlags, FlockOperation, OFlags};

use super::{DirEntry, File, FileLock, FileSystem, Metadata, OpenMode};

/// The machine's own file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealFs;

#[derive(Debug)]
struct RealFile(fs::File);

/// The lock goes with the descriptor, so a process that dies lets go of it.
#[derive(Debug)]
struct RealLock {
    _file: fs::File,
}

impl FileLock for RealLock {}

impl FileSystem for RealFs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut options = fs::OpenOptions::new();
        options.read(true).write(mode != OpenMode::Read);
        match mode {
            OpenMode::Create => options.create(true).truncate(false),
            OpenMode::CreateNew => options.create_new(true),
            OpenMode::Direct => options.custom_flags(OFlags::DIRECT.bits().cast_signed()),
            OpenMode::Read | OpenMode::ReadWrite => &mut options,
        };
        Ok(Arc::new(RealFile(options.open(path)?)))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            // An entry may be removed while the directory is listed.
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let is_dir = metadata.is_dir();
            let len = if is_dir { 0 } else { metadata.len() };
            entries.push(DirEntry { name, is_dir, len });
        }
        entries.sort();
        Ok(entries)
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        let metadata = fs::metadata(path)?;
        let is_dir = metadata.is_dir();
        let len = if is_dir { 0 } else { metadata.len() };
        let since_epoch = metadata
            .modified()
            .ok()
            .and_then(|modified| modified.duration_since(UNIX_EPOCH).ok());
        let modified_ms = since_epoch
            .and_then(|time| i64::try_from(time.as_millis()).ok())
            .unwrap_or(0);
        Ok(Metadata {
            is_dir,
            len,
            modified_ms,
        })
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fs::File::open(path)?.sync_all()
    }

    fn sync_filesystem(&self, path: &Path) -> io::Result<()> {
        Ok(rustix::fs::syncfs(fs::File::open(path)?)?)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn FileLock>> {
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(RealLock { _file: file }))
    }
}

impl File for RealFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match self.0.read_at(buf, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(buf, offset)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        if len == 0 {
            return Ok(());
        }
        match rustix::fs::fallocate(&self.0, FallocateFlags::empty(), 0, len) {
            // Some file systems cannot reserve; a longer file is the next best.
            Err(rustix::io::Errno::OPNOTSUPP) if self.len()? < len => self.set_len(len),
            Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
            result => Ok(result?),
        }
    }

    fn will_need(&self, len: u64) {
        // A hint: a system that does not take it is only slower.
        let _ = rustix::fs::fadvise(&self.0, 0, NonZeroU64::new(len), Advice::WillNeed);
    }

    fn set_modified(&self, modified_ms: i64) -> io::Result<()> {
        let since_epoch = Duration::from_millis(u64::try_from(modified_ms).unwrap_or(0));
        self.0.set_modified(UNIX_EPOCH + since_epoch)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::{SECTOR, SectorBuffer};

    #[test]
    fn files_are_written_read_renamed_and_listed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        RealFs.create_dir_all(&path).unwrap();
        let file = RealFs.open(&path.join("x"), OpenMode::CreateNew).unwrap();
        file.write_at(b"world", 6).unwrap();
        file.write_at(b"hello ", 0).unwrap();
        file.allocate(20).unwrap();
        file.set_len(11).unwrap();
        file.set_modified(1_700_000_000_123).unwrap();
        file.sync_data().unwrap();
        let dated = RealFs.metadata(&path.join("x")).unwrap().modified_ms;
        assert_eq!(dated, 1_700_000_000_123);
        RealFs.rename(&path.join("x"), &path.join("y")).unwrap();
        RealFs.sync_dir(&path).unwrap();
        RealFs.sync_filesystem(&path).unwrap();
        assert_eq!(RealFs.read(&path.join("y"), 11).unwrap(), b"hello world");
        assert!(RealFs.read(&path.join("y"), 10).is_err());
        assert!(!RealFs.exists(&path.join("x")).unwrap());
        let expected = DirEntry {
            name: "y".into(),
            is_dir: false,
            len: 11,
        };
        assert_eq!(RealFs.read_dir(&path).unwrap(), [expected]);
    }

    #[test]
    fn a_write_past_the_page_cache_is_read_back_or_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let file = RealFs.open(&path, OpenMode::CreateNew).unwrap();
        file.write_at(&[1; 3 * SECTOR], 0).unwrap();
        let mut sector = SectorBuffer::of(b"direct");
        let written = RealFs
            .open(&path, OpenMode::Direct)
            .and_then(|file| file.write_at(sector.whole_sectors(), SECTOR as u64));
        let bytes = RealFs.read(&path, 3 * SECTOR as u64).unwrap();
        let middle = &bytes[SECTOR..2 * SECTOR];
        match written {
            Ok(()) => assert!(middle.starts_with(b"direct\0")),
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
                assert_eq!(middle, [1; SECTOR]);
            }
        }
        assert_eq!(bytes[..SECTOR], [1; SECTOR]);
        assert_eq!(bytes[2 * SECTOR..], [1; SECTOR]);
    }

    #[test]
    fn a_locked_file_cannot_be_locked_again_until_released() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".lock");
        let lock = RealFs.lock(&path).unwrap();
        let second = RealFs.lock(&path).unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::WouldBlock);
        drop(lock);
        RealFs.lock(&path).unwrap();
    }
}
