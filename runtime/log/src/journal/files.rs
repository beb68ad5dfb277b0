//! The journal's files: made ready ahead (so that a flush changes no length and no block map), used
//! one after the other, and taken from the oldest end when a checkpoint has covered them. What was
//! cut waits as a *spare* to be used again; see `prepare.rs`.
//!
//! **How many spares.** All of them together are at most `spare_bytes_max`, and after each cut no
//! more are kept than files were begun in the time of the last four cuts (under load one cut may
//! follow another at once): a burst's files go again within a few checkpoints.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::inventory::Inventory;
use super::{JournalError, Lsn};
use crate::failpoint;
use crate::fs::FileSystem;

const SUFFIX: &str = ".journal";
/// Ends the name of a file that holds nothing that counts any more and waits for its next use.
const SPARE_SUFFIX: &str = ".spare";
/// Ends the name of a file that is being made.
const NEW_SUFFIX: &str = ".new";

const CUTS_REMEMBERED: usize = 4;

/// The file name of a sequence number.
pub(super) fn file_name(sequence: u64) -> String {
    format!("{sequence:020}{SUFFIX}")
}

/// The name of a file while it is made.
pub(super) fn new_name(sequence: u64) -> String {
    format!("{sequence:020}{NEW_SUFFIX}")
}

/// The sequence number in a file name; `None` when it is not a journal file.
pub(super) fn parse_file_name(name: &str) -> Option<u64> {
    parse_name(name, SUFFIX)
}

fn parse_name(name: &str, suffix: &str) -> Option<u64> {
    let digits = name.strip_suffix(suffix)?;
    let all_digits = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| digits.parse().ok()).flatten()
}

/// A file that is written to its end.
#[derive(Debug)]
pub(super) struct Sealed {
    pub path: PathBuf,
    pub last_lsn: Lsn,
    pub bytes: u64,
}

/// A file that was cut and waits for its next use.
#[derive(Debug)]
pub(super) struct Spare {
    pub path: PathBuf,
    pub bytes: u64,
}

/// Which cut files are kept as spares.
#[derive(Debug, Clone, Copy)]
pub(super) struct SpareLimits {
    /// Smaller files go: a journal that grows again needs larger ones.
    pub file_bytes: u64,
    /// All spares together at most.
    pub total_bytes: u64,
}

/// The files that hold entries, and the spares.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) fs: Arc<dyn FileSystem>,
    pub(super) dir: PathBuf,
    limits: SpareLimits,
    list: Mutex<List>,
    inventory: Mutex<Inventory>,
    /// One cut at a time; held while files are deleted, so that `list` need not be.
    cutting: Mutex<()>,
}

#[derive(Debug, Default)]
struct List {
    sealed: VecDeque<Sealed>,
    active: Option<(PathBuf, u64)>,
    spares: Vec<Spare>,
    /// Files that were begun since the last cut, and between the cuts before it, the latest first.
    begun: [usize; CUTS_REMEMBERED],
    /// Entries below this are covered.
    cut: Lsn,
    /// No file will be begun any more.
    is_closed: bool,
}

impl Files {
    pub fn new(
        fs: Arc<dyn FileSystem>,
        dir: PathBuf,
        limits: SpareLimits,
        sealed: VecDeque<Sealed>,
        inventory: Inventory,
    ) -> Files {
        let list = List {
            sealed,
            ..List::default()
        };
        Files {
            fs,
            dir,
            limits,
            list: Mutex::new(list),
            inventory: Mutex::new(inventory),
            cutting: Mutex::new(()),
        }
    }

    /// The file with this number is durable with its name: it may be used when it is noted.
    pub fn note(&self, sequence: u64) -> io::Result<()> {
        self.inventory.lock().add(&*self.fs, sequence)
    }

    /// This file is about to go.
    pub fn forget(&self, path: &Path) -> io::Result<()> {
        let name = path.file_name().and_then(|name| name.to_str());
        match name.and_then(parse_file_name) {
            Some(sequence) => self.inventory.lock().take_out(&*self.fs, sequence),
            None => Ok(()),
        }
    }

    /// Takes over the spares that another run has left, and removes what it left half made.
    pub fn adopt_spares(&self) -> io::Result<()> {
        for entry in self.fs.read_dir(&self.dir)? {
            let path = self.dir.join(&entry.name);
            if parse_name(&entry.name, SPARE_SUFFIX).is_some() {
                self.keep_or_remove(path, entry.len)?;
            } else if parse_name(&entry.name, NEW_SUFFIX).is_some() {
                self.fs.remove_file(&path)?;
            }
        }
        if self.list.lock().spares.is_empty() {
            return Ok(());
        }
        // A kill may have come right after a file got its spare's name. The former one must not come back with what is
        // written to it from now on.
        self.fs.sync_dir(&self.dir)
    }

    fn keep_or_remove(&self, path: PathBuf, bytes: u64) -> io::Result<()> {
        if !self.wants_spare(bytes) {
            return self.fs.remove_file(&path);
        }
        self.list.lock().spares.push(Spare { path, bytes });
        Ok(())
    }

    fn wants_spare(&self, bytes: u64) -> bool {
        bytes >= self.limits.file_bytes
            && !self.list.lock().is_closed
            && self.spare_bytes().saturating_add(bytes) <= self.limits.total_bytes
    }

    /// Bytes of the files that hold entries.
    pub fn bytes(&self) -> u64 {
        let list = self.list.lock();
        let sealed: u64 = list.sealed.iter().map(|file| file.bytes).sum();
        sealed + list.active.as_ref().map_or(0, |(_, bytes)| *bytes)
    }

    /// Bytes of the spares.
    pub fn spare_bytes(&self) -> u64 {
        self.list
            .lock()
            .spares
            .iter()
            .map(|spare| spare.bytes)
            .sum()
    }

    /// A spare of at least this size, for its next use.
    pub fn take_spare(&self, bytes: u64) -> Option<Spare> {
        let mut list = self.list.lock();
        let fits = list.spares.iter().rposition(|spare| spare.bytes >= bytes)?;
        Some(list.spares.swap_remove(fits))
    }

    /// A new file is in use; the one before, if any, ends with `last_lsn`.
    pub fn rolled(&self, path: PathBuf, bytes: u64, last_lsn: Lsn) {
        let mut list = self.list.lock();
        list.begun[0] += 1;
        if let Some((path, bytes)) = list.active.replace((path, bytes)) {
            list.sealed.push_back(Sealed {
                path,
                last_lsn,
                bytes,
            });
        }
    }

    /// Takes away the sealed files that end below `lsn`, the oldest first. Each one's going is made
    /// durable before the next, so that what remains after a power cut has no gap.
    pub fn cut_before(&self, lsn: Lsn) -> Result<(), JournalError> {
        let _one_at_a_time = self.cutting.lock();
        loop {
            let (path, bytes) = {
                let mut list = self.list.lock();
                list.cut = list.cut.max(lsn);
                match list.sealed.front() {
                    Some(oldest) if oldest.last_lsn < lsn => (oldest.path.clone(), oldest.bytes),
                    _ => break,
                }
            };
            if self.wants_spare(bytes) {
                let path = self.set_aside(&path)?;
                self.list.lock().spares.push(Spare { path, bytes });
            } else {
                self.delete(&path)?;
            }
            self.list.lock().sealed.pop_front();
        }
        self.remove_idle_spares();
        Ok(())
    }

    /// Lets go of spares that the time of the last cuts did not need.
    fn remove_idle_spares(&self) {
        let idle = {
            let mut list = self.list.lock();
            let kept = list.begun.iter().sum::<usize>().min(list.spares.len());
            list.begun.rotate_right(1);
            list.begun[0] = 0;
            list.spares.split_off(kept)
        };
        self.remove(idle);
    }

    fn remove(&self, spares: Vec<Spare>) {
        for spare in spares {
            if let Err(error) = self.fs.remove_file(&spare.path) {
                // Nothing depends on it, and the next start looks again.
                tracing::warn!(path = %spare.path.display(), %error, "a spare journal file stays");
            }
        }
    }

    /// After the journal was closed: no spare stays, and no file when the last cut covers all entries.
    pub fn finish(&self, last_lsn: Lsn) -> Result<(), JournalError> {
        let (spares, cut) = {
            let mut list = self.list.lock();
            list.is_closed = true;
            (std::mem::take(&mut list.spares), list.cut)
        };
        self.remove(spares);
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

    /// Gives a cut file its spare's name, durably.
    fn set_aside(&self, path: &Path) -> Result<PathBuf, JournalError> {
        failpoint::check("journal.before_cut").map_err(JournalError::io("setting aside", path))?;
        self.forget(path)
            .map_err(JournalError::io("setting aside", path))?;
        let spare = path.with_extension(&SPARE_SUFFIX[1..]);
        self.fs
            .rename(path, &spare)
            .map_err(JournalError::io("setting aside", path))?;
        self.sync_dir()?;
        Ok(spare)
    }

    fn delete(&self, path: &Path) -> Result<(), JournalError> {
        failpoint::check("journal.before_cut").map_err(JournalError::io("deleting", path))?;
        self.forget(path)
            .map_err(JournalError::io("deleting", path))?;
        match self.fs.remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(JournalError::io("deleting", path)(error));
            }
            _ => {}
        }
        self.sync_dir()
    }

    fn sync_dir(&self) -> Result<(), JournalError> {
        self.fs
            .sync_dir(&self.dir)
            .map_err(JournalError::io("syncing", &self.dir))
    }
}
