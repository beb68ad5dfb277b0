//! The journal: one append-only file sequence that makes the appends of all logs of a node durable.
//!
//! Every change of a log goes, in order, to the log's segment file (page cache only) and to the
//! journal. One thread takes everything that waits, writes it as one *group*, calls `fdatasync` once
//! and tells everybody. After a crash [`Journal::open`] hands the entries back in order ([`Redo`]),
//! the logs are rebuilt from their recovery points, and [`Redo::start`] begins a new generation.
//!
//! - [`format`](mod@format): the bytes of files, groups and entries.
//! - `group.rs`, `shared.rs`: what is collected, and who waits for it.
//! - `flusher.rs`: the thread that writes and syncs; when it is idle it blocks.
//! - `files.rs`, `prepare.rs`: the files, made ready ahead, sealed, cut after a checkpoint, used again; `inventory.rs`:
//!   which of them must be there.
//! - `reader.rs`, `redo.rs`: reading back, and telling a torn end from damage.
//!
//! **When the disk fails.** A failed write or sync *poisons* the journal: nothing is tried again,
//! nothing that was not acknowledged ever is, every caller gets [`JournalError::Poisoned`], and no
//! file is cut. When there is no room for the next file (nothing of the group is written then), the
//! journal is *full*: appends and waits get [`JournalError::Full`], what was taken before stays
//! queued, and all goes on by itself once there is room.

mod files;
mod flusher;
pub mod format;
mod group;
mod inventory;
mod prepare;
mod reader;
mod redo;
mod shared;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::fs::{FileSystem, create_dir_durably};
pub use format::{EntryKind, EntryRef};
pub use redo::Redo;

use flusher::Flusher;
use inventory::Inventory;
use shared::{Condition, Shared};

/// A log sequence number: 1 for the first entry of a journal, one more for each entry.
/// It goes on counting over restarts as long as the journal's files exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(pub u64);

impl Lsn {
    /// Before every entry: always flushed.
    pub const ZERO: Lsn = Lsn(0);

    /// The number after this one.
    #[must_use]
    pub fn next(self) -> Lsn {
        Lsn(self.0 + 1)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Told by the flusher's thread what became durable, before anybody who waits in
/// [`Journal::flushed_to`] goes on. It must be quick and must not call back into the journal's
/// blocking methods; it may take the log's own lock only if no holder of that lock waits for a flush.
pub trait FlushListener: Send + Sync {
    /// All entries given with this listener up to `lsn` are durable; `end_offset` is the one that
    /// was given with the last of them.
    fn flushed(&self, end_offset: i64, lsn: Lsn);

    /// The journal failed; entries that were not reported as flushed never will be.
    fn poisoned(&self, reason: &str);
}

/// Called by the flusher's thread after it began a new file, with the bytes of all files now.
/// The owner wakes its checkpoint here.
pub type RollHook = Arc<dyn Fn(u64) + Send + Sync>;

/// Sizes and limits of a journal.
#[derive(Clone)]
pub struct JournalOptions {
    /// The least number to give. Counting goes on from what the directory holds, unless this is
    /// more: a checkpoint may cover entries that the journal lost with its unflushed end, and
    /// their numbers must not be given again.
    pub first_lsn: Lsn,
    /// Size of the first file of a start; each next one is twice as big, up to `file_bytes_max`,
    /// so that a node that does little writes little.
    pub first_file_bytes: u64,
    /// Size of a file at most (a group that is larger gets a file of its own size).
    pub file_bytes_max: u64,
    /// All files together at most. At this limit the journal is full until a checkpoint cuts it.
    pub total_bytes_max: u64,
    /// Files that were cut and wait to be used again, together at most.
    pub spare_bytes_max: u64,
    /// Bytes that were taken and are not durable yet, at most; at this limit an append blocks
    /// until the flusher has caught up (a single larger entry is let through alone).
    pub unflushed_bytes_max: usize,
    pub on_roll: Option<RollHook>,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self {
            first_lsn: Lsn(1),
            first_file_bytes: 1 << 20,
            file_bytes_max: 16 << 20,
            total_bytes_max: 1 << 30,
            spare_bytes_max: 512 << 20,
            unflushed_bytes_max: 16 << 20,
            on_roll: None,
        }
    }
}

impl fmt::Debug for JournalOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JournalOptions")
            .field("first_lsn", &self.first_lsn)
            .field("first_file_bytes", &self.first_file_bytes)
            .field("file_bytes_max", &self.file_bytes_max)
            .field("total_bytes_max", &self.total_bytes_max)
            .field("spare_bytes_max", &self.spare_bytes_max)
            .field("unflushed_bytes_max", &self.unflushed_bytes_max)
            .finish_non_exhaustive()
    }
}

/// What can go wrong with a journal.
#[derive(Debug, Clone, thiserror::Error)]
pub enum JournalError {
    /// A write or sync failed before: the node can only be stopped.
    #[error("the journal failed and takes nothing more: {reason}")]
    Poisoned { reason: Arc<str> },
    /// There is no room; it heals by itself when there is.
    #[error("the journal is full: {reason}")]
    Full { reason: Arc<str> },
    /// The journal was closed.
    #[error("the journal is closed")]
    Closed,
    /// An entry that does not fit the format.
    #[error("an entry of {bytes} bytes is too large for the journal (at most {max})")]
    TooLarge { bytes: usize, max: usize },
    /// What is on disk cannot be a journal that merely lost its unflushed end.
    #[error(
        "the journal is damaged: {} at position {position}: {reason}; \
         acknowledged records would be lost by going on: restore the file from a copy of the disk",
        path.display()
    )]
    Damaged {
        path: PathBuf,
        position: u64,
        reason: String,
    },
    /// The file system refused something before anything was taken.
    #[error("{action} {}: {source}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        source: Arc<io::Error>,
    },
}

impl JournalError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JournalError {
        move |source| JournalError::Io {
            action,
            path: path.to_owned(),
            source: Arc::new(source),
        }
    }
}

/// Whether a journal takes entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JournalHealth {
    Ok,
    /// See [`JournalError::Full`].
    Full {
        reason: Arc<str>,
    },
    /// See [`JournalError::Poisoned`].
    Poisoned {
        reason: Arc<str>,
    },
}

/// A running journal; made by [`Redo::start`]. Dropping it flushes and stops its thread,
/// [`Journal::close`] does so with a result.
pub struct Journal {
    shared: Arc<Shared>,
    flusher: Flusher,
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal")
            .field("flushed", &self.flushed())
            .field("health", &self.health())
            .finish_non_exhaustive()
    }
}

impl Journal {
    /// Opens the journal's directory (made when missing) for reading back what it holds.
    ///
    /// # Errors
    /// `Damaged` when a file is missing or its header is unsound, `Io`.
    pub fn open(fs: Arc<dyn FileSystem>, dir: &Path) -> Result<Redo, JournalError> {
        create_dir_durably(&*fs, dir).map_err(JournalError::io("creating", dir))?;
        Redo::open(fs, dir)
    }

    /// As [`Journal::open`], but nothing is made; without a directory it holds nothing.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn look(fs: Arc<dyn FileSystem>, dir: &Path) -> Result<Redo, JournalError> {
        Redo::open(fs, dir)
    }

    /// Removes a journal that does not count any more, durably.
    ///
    /// # Errors
    /// `Io`.
    pub fn remove(fs: &dyn FileSystem, dir: &Path) -> Result<(), JournalError> {
        let io = |error| JournalError::io("deleting", dir)(error);
        let mut inventory = Inventory::read(fs, dir).map_err(io)?;
        inventory.remove(fs).map_err(io)?;
        match fs.remove_dir_all(dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
            _ => {}
        }
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
        fs.sync_dir(parent.unwrap_or(Path::new("."))).map_err(io)
    }

    /// Takes an entry: copies it into the open group and gives it the next number. To be called
    /// under the log's append lock, so that a log's entries stand in its own order.
    ///
    /// The flush that makes it durable starts as soon as the flush that is under way has ended,
    /// and at the latest after `start_within`. Zero is for whoever waits for the flush next (or
    /// whose listener should hear of it soon); a longer time is for an entry that is known to be
    /// followed by others that somebody will wait for (the first writes of a fused commit), so
    /// that one flush serves them all. A wait for it starts the flush at once.
    ///
    /// Blocks (not long: the flusher frees it) while `unflushed_bytes_max` are not durable.
    ///
    /// # Errors
    /// `Poisoned`, `Full`, `Closed`, `TooLarge`; the entry is not taken then.
    pub fn append(
        &self,
        entry: EntryRef<'_>,
        listener: &Arc<dyn FlushListener>,
        end_offset: i64,
        start_within: Duration,
    ) -> Result<Lsn, JournalError> {
        let start_by = match start_within {
            Duration::ZERO => None,
            wait => Some(Instant::now() + wait),
        };
        self.shared.append(entry, listener, end_offset, start_by)
    }

    /// All entries up to this one are durable, and their listeners know.
    pub fn flushed(&self) -> Lsn {
        self.shared.flushed()
    }

    /// How often this run has written and synced a group of entries.
    pub fn flushes(&self) -> u64 {
        self.shared.groups()
    }

    /// The number that the next entry will get. A checkpoint notes it first, then visits every log
    /// under its lock and syncs it, and then calls [`Journal::cut_before`] with the noted number.
    pub fn next_lsn(&self) -> Lsn {
        self.shared.next_lsn()
    }

    /// Returns when the entry is durable; at once when it is already.
    ///
    /// # Errors
    /// `Poisoned`: it will not be acknowledged, whether it survives is unknown. `Full`: it is
    /// queued and may still become durable. `Closed`: no such entry was taken before the close.
    pub async fn flushed_to(&self, lsn: Lsn) -> Result<(), JournalError> {
        if self.flushed() >= lsn {
            return Ok(());
        }
        let mut progress = self.shared.demand(lsn);
        loop {
            if let Some(result) = progress.borrow_and_update().outcome(lsn) {
                return result;
            }
            if progress.changed().await.is_err() {
                return Err(JournalError::Closed);
            }
        }
    }

    /// As [`Journal::flushed_to`], for threads outside of the async runtime.
    pub fn wait_flushed_blocking(&self, lsn: Lsn) -> Result<(), JournalError> {
        self.shared.wait_flushed_blocking(lsn)
    }

    /// Takes away every file all of whose entries are below `lsn`: it is deleted, or becomes a spare
    /// that a later file is made of. The caller promises that each log
    /// is synced, and its recovery point durable, as far as these entries went. The file in use
    /// stays, but [`Journal::close`] deletes it too when nothing came after the cut.
    ///
    /// # Errors
    /// `Poisoned` and nothing goes; `Io` when a file could not be taken away: it is tried
    /// again at the next call, nothing is lost.
    pub fn cut_before(&self, lsn: Lsn) -> Result<(), JournalError> {
        self.shared.cut_before(lsn)
    }

    /// Bytes of the files that hold entries, the one in use counted with what it reserves.
    pub fn bytes_in_files(&self) -> u64 {
        self.shared.files.bytes()
    }

    /// Bytes of the spares.
    pub fn spare_bytes(&self) -> u64 {
        self.shared.files.spare_bytes()
    }

    pub fn health(&self) -> JournalHealth {
        match self.shared.condition() {
            Condition::Ok => JournalHealth::Ok,
            Condition::Full(reason) => JournalHealth::Full { reason },
            Condition::Poisoned(reason) => JournalHealth::Poisoned { reason },
        }
    }

    /// Stops the journal for good because a log's own file failed (rule: a failed sync poisons
    /// the node): nothing more is taken, acknowledged or cut.
    pub fn poison(&self, reason: &str) {
        self.shared.poison(reason.into());
    }

    /// Flushes what was taken, stops the thread, and deletes the files that are cut. Appends after
    /// it get `Closed`. A second call does nothing.
    pub fn close(&self) -> Result<(), JournalError> {
        self.shared.begin_close();
        self.flusher.join();
        self.shared.finish_close()
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.shared.begin_close();
        self.flusher.join();
    }
}
