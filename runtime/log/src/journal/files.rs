//! The journal's files: prepared ahead with zeros (so that a flush changes no length and no block
//! map), used one after the other, deleted from the oldest when a checkpoint has covered them.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{JournalError, Lsn};
use crate::failpoint;
use crate::fs::{File, FileSystem, OpenMode};

const SUFFIX: &str = ".journal";
const ZEROS: &[u8] = &[0; 256 << 10];

/// The file name of a sequence number.
pub(super) fn file_name(sequence: u64) -> String {
    format!("{sequence:020}{SUFFIX}")
}

/// The sequence number in a file name; `None` when it is not a journal file.
pub(super) fn parse_file_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    let all_digits = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| digits.parse().ok()).flatten()
}

/// A file full of zeros, durable with its name.
#[derive(Debug)]
pub(super) struct Prepared {
    pub file: Arc<dyn File>,
    pub path: PathBuf,
    pub sequence: u64,
    pub capacity: u64,
}

impl Prepared {
    /// Makes the file with the given number. On failure nothing is left behind, as far as the disk allows.
    pub fn make(
        fs: &dyn FileSystem,
        dir: &Path,
        sequence: u64,
        capacity: u64,
    ) -> io::Result<Prepared> {
        let path = dir.join(file_name(sequence));
        let made = Self::try_make(fs, dir, &path, sequence, capacity);
        if made.is_err() {
            let _ = fs.remove_file(&path);
        }
        made
    }

    fn try_make(
        fs: &dyn FileSystem,
        dir: &Path,
        path: &Path,
        sequence: u64,
        capacity: u64,
    ) -> io::Result<Prepared> {
        let file = fs.open(path, OpenMode::Create)?;
        // A failed attempt before this one may have left something.
        file.set_len(0)?;
        fill_with_zeros(&*file, 0, capacity)?;
        file.sync_all()?;
        fs.sync_dir(dir)?;
        Ok(Prepared {
            file,
            path: path.to_owned(),
            sequence,
            capacity,
        })
    }

    /// Makes room for a group that is larger than the file was planned.
    pub fn extend(&mut self, capacity: u64) -> io::Result<()> {
        if capacity > self.capacity {
            fill_with_zeros(&*self.file, self.capacity, capacity)?;
            self.file.sync_all()?;
            self.capacity = capacity;
        }
        Ok(())
    }
}

fn fill_with_zeros(file: &dyn File, from: u64, to: u64) -> io::Result<()> {
    let mut at = from;
    while at < to {
        let chunk = ZEROS
            .len()
            .min(usize::try_from(to - at).unwrap_or(usize::MAX));
        file.write_at(&ZEROS[..chunk], at)?;
        at += chunk as u64;
    }
    Ok(())
}

/// A file that is written to its end.
#[derive(Debug)]
pub(super) struct Sealed {
    pub path: PathBuf,
    pub last_lsn: Lsn,
    pub bytes: u64,
}

/// The files that hold entries.
#[derive(Debug)]
pub(super) struct Files {
    fs: Arc<dyn FileSystem>,
    dir: PathBuf,
    list: Mutex<List>,
    /// One cut at a time; held while files are deleted, so that `list` need not be.
    cutting: Mutex<()>,
}

#[derive(Debug, Default)]
struct List {
    sealed: VecDeque<Sealed>,
    active: Option<(PathBuf, u64)>,
    /// Entries below this are covered.
    cut: Lsn,
}

impl Files {
    pub fn new(fs: Arc<dyn FileSystem>, dir: PathBuf, sealed: VecDeque<Sealed>) -> Files {
        let list = List {
            sealed,
            ..List::default()
        };
        Files {
            fs,
            dir,
            list: Mutex::new(list),
            cutting: Mutex::new(()),
        }
    }

    pub fn bytes(&self) -> u64 {
        let list = self.list.lock();
        let sealed: u64 = list.sealed.iter().map(|file| file.bytes).sum();
        sealed + list.active.as_ref().map_or(0, |(_, bytes)| *bytes)
    }

    /// A new file is in use; the one before, if any, ends with `last_lsn`.
    pub fn rolled(&self, path: PathBuf, bytes: u64, last_lsn: Lsn) {
        let mut list = self.list.lock();
        if let Some((path, bytes)) = list.active.replace((path, bytes)) {
            list.sealed.push_back(Sealed {
                path,
                last_lsn,
                bytes,
            });
        }
    }

    /// Deletes the sealed files that end below `lsn`, the oldest first. Each deletion is made
    /// durable before the next, so that what remains after a power cut has no gap.
    pub fn cut_before(&self, lsn: Lsn) -> Result<(), JournalError> {
        let _one_at_a_time = self.cutting.lock();
        loop {
            let path = {
                let mut list = self.list.lock();
                list.cut = list.cut.max(lsn);
                match list.sealed.front() {
                    Some(oldest) if oldest.last_lsn < lsn => oldest.path.clone(),
                    _ => return Ok(()),
                }
            };
            self.delete(&path)?;
            self.list.lock().sealed.pop_front();
        }
    }

    /// After the journal was closed: deletes all files when the last cut covers all entries.
    pub fn delete_all_if_cut(&self, last_lsn: Lsn) -> Result<(), JournalError> {
        let cut = self.list.lock().cut;
        if cut <= last_lsn {
            return Ok(());
        }
        self.cut_before(cut)?;
        let active = self.list.lock().active.take();
        match active {
            Some((path, _)) => self.delete(&path),
            None => Ok(()),
        }
    }

    fn delete(&self, path: &Path) -> Result<(), JournalError> {
        failpoint::check("journal.before_cut").map_err(JournalError::io("deleting", path))?;
        match self.fs.remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(JournalError::io("deleting", path)(error));
            }
            _ => {}
        }
        self.fs
            .sync_dir(&self.dir)
            .map_err(JournalError::io("syncing", &self.dir))
    }
}
