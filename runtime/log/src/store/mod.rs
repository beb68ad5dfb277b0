//! All logs of a data directory: opened under one lock, recovered, checkpointed in the background, closed cleanly.
//!
//! `open.rs` brings a directory back (and redoes the journal), `checkpointing.rs` moves the recovery points and cuts
//! the journal, `node_checkpoint.rs` is the file in between.

mod checkpointing;
mod deferred;
mod error;
mod failed_sync;
mod node_checkpoint;
mod open;
mod parallel;
mod redo;
mod retention;
mod scrub;
mod shared;
mod worker;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use uuid::Uuid;

use crate::checkpoint::{
    CLEAN_SHUTDOWN, CleanShutdown, MetaProperties, OffsetMap, PARTITION_METADATA, PartitionMetadata,
};
use crate::cleaner::{CleanError, Cleaner, CleanerMetrics, PassReport};
use crate::clock::Clock;
use crate::fs::{FileLock, OpenMode};
use crate::journal::{EntryKind, EntryRef, FlushListener, Lsn};
use crate::log::{Log, LogId};
use crate::{CleanerOptions, FlushMode, LogConfig, StoreOptions, failpoint};

pub use error::{Problem, StoreError};
pub use open::RecoveryReport;
pub(crate) use open::split_name;
pub use scrub::ScrubStats;
pub(crate) use shared::Shared;

pub(crate) use node_checkpoint::{FILE_NAME as CHECKPOINT_FILE, NodeCheckpoint};
use scrub::Scrub;
use worker::Worker;

/// Locked by the process that has the data directory open.
pub(crate) const LOCK_FILE: &str = ".lock";
/// The journal's directory within the data directory.
pub(crate) const JOURNAL_DIR: &str = "journal";
/// Ends the name of a directory whose log was deleted and whose files are being removed.
const DELETED_SUFFIX: &str = "-delete";
/// Ends the name of a directory that nothing durable knows of; it is kept for its owner to look at.
const STRAY_SUFFIX: &str = "-stray";

pub(crate) type LogKey = (Uuid, i32);

/// All logs of a data directory.
#[derive(Debug)]
pub struct LogStore {
    options: StoreOptions,
    meta: MetaProperties,
    shared: Arc<Shared>,
    logs: RwLock<HashMap<LogKey, Arc<Log>>>,
    /// One creation or deletion at a time.
    changing: Mutex<()>,
    next_incarnation: AtomicU64,
    /// What the checkpoint file says; locked while one is taken.
    checkpoint: Mutex<NodeCheckpoint>,
    /// What Kafka's checkpoint files say, by name: a file is written when that changes.
    text_files: Mutex<HashMap<&'static str, OffsetMap>>,
    /// Names in the data directory changed since they were last synced.
    names_changed: AtomicBool,
    cleaner: Cleaner,
    retention_check_interval_ms: AtomicU64,
    producer_id_expiration_ms: AtomicI64,
    worker: Worker,
    scrub: Scrub,
    is_closed: AtomicBool,
    /// Last, so that everything is gone when another process may come.
    _lock: Box<dyn FileLock>,
}

/// Whether a store takes writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    Ok,
    /// There is no room on the disk; it heals by itself.
    Full {
        reason: String,
    },
    /// A write or flush of the journal, or the sync of a log, failed: only a restart helps.
    Poisoned {
        reason: String,
    },
}

impl LogStore {
    /// Opens a data directory, made when it is missing: takes its lock, checks whose it is, and recovers every log.
    /// Blocks as long as that takes.
    pub fn open(options: StoreOptions) -> Result<(Arc<Self>, RecoveryReport), StoreError> {
        open::open(options)
    }

    /// Makes a log, or returns the one that exists, with these settings. In journal mode its creation is durable
    /// before its first entry, in the same journal, so nothing is waited for here. [`StoreError::Taken`] while a log of
    /// another topic of that name is there.
    pub fn create_log(&self, id: LogId, config: LogConfig) -> Result<Arc<Log>, StoreError> {
        check_name(&id)?;
        let _changing = self.changing.lock();
        self.check_usable()?;
        if let Some(log) = self.get(&id.topic_id, id.partition) {
            if log.id() != &id {
                return Err(StoreError::taken(&id, log.id()));
            }
            log.set_config(config);
            return Ok(log);
        }
        let incarnation = self.next_incarnation.fetch_add(1, Ordering::Relaxed);
        let dir = self.options.dir.join(id.to_string());
        self.set_aside(&id, &dir)?;
        write_log_dir(&self.shared, &dir, id.topic_id)?;
        self.names_changed.store(true, Ordering::Release);
        let log = Log::create(id, dir, incarnation, &self.shared, config);
        let created = EntryKind::Create {
            topic: &log.id().topic,
        };
        if let Err(error) = self.journal_entry(&log, created) {
            // Nobody knows of the directory; what cannot be removed is set aside by the next attempt.
            let _ = self.shared.fs.remove_dir_all(log.dir());
            return Err(error);
        }
        self.logs.write().insert(key_of(&log), Arc::clone(&log));
        Ok(log)
    }

    /// Removes a log and its files. Readers that still hold it get [`crate::ReadError::Deleted`] sooner or later.
    pub fn delete_log(&self, topic_id: &Uuid, partition: i32) -> Result<(), StoreError> {
        let _changing = self.changing.lock();
        self.check_usable()?;
        let Some(log) = self.get(topic_id, partition) else {
            return Ok(());
        };
        self.journal_entry(&log, EntryKind::Delete)?;
        failpoint::hit("store.after_delete_entry");
        self.logs.write().remove(&(*topic_id, partition));
        log.mark_deleted();
        // A pass that writes into the directory comes to its end first: soon another log may have the same one.
        drop(log.begin_cleaning());
        if let Err(error) = self.cleaner.forget(&log, &self.logs()) {
            tracing::warn!(%error, "the deleted log stays in the cleaner's checkpoint for a while");
        }
        let renamed = suffixed(log.dir(), DELETED_SUFFIX);
        let io = |source| StoreError::io("deleting", log.dir(), source);
        self.shared.fs.rename(log.dir(), &renamed).map_err(io)?;
        self.names_changed.store(true, Ordering::Release);
        self.shared.deferred.forget(log.dir());
        failpoint::hit("store.after_delete_name");
        self.shared.fs.remove_dir_all(&renamed).map_err(io)
    }

    pub fn get(&self, topic_id: &Uuid, partition: i32) -> Option<Arc<Log>> {
        self.logs.read().get(&(*topic_id, partition)).cloned()
    }

    /// All logs, in no particular order.
    pub fn logs(&self) -> Vec<Arc<Log>> {
        self.logs.read().values().cloned().collect()
    }

    /// All logs in the order of their keys, for work whose order can be seen on the disk.
    fn sorted_logs(&self) -> Vec<Arc<Log>> {
        let mut logs = self.logs();
        logs.sort_unstable_by_key(|log| key_of(log));
        logs
    }

    /// `producer.id.expiration.ms`
    pub fn producer_id_expiration_ms(&self) -> i64 {
        self.producer_id_expiration_ms.load(Ordering::Relaxed)
    }

    /// Changes how long a silent producer is remembered.
    pub fn set_producer_id_expiration_ms(&self, expiration_ms: i64) {
        self.producer_id_expiration_ms
            .store(expiration_ms, Ordering::Relaxed);
    }

    pub fn flush_mode(&self) -> FlushMode {
        self.options.flush
    }

    pub fn dir(&self) -> &Path {
        &self.options.dir
    }

    /// The id of the cluster that this directory belongs to.
    pub fn cluster_id(&self) -> &str {
        &self.meta.cluster_id
    }

    /// The clock that this store and its logs go by.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.options.clock
    }

    /// How logs are compacted now.
    pub fn cleaner_options(&self) -> CleanerOptions {
        self.cleaner.options()
    }

    /// Changes how logs are compacted; a pass that runs already ends by the old settings.
    pub fn set_cleaner_options(&self, options: CleanerOptions) {
        self.cleaner.set_options(options);
    }

    /// Compacts the dirtiest log that is due, on this thread, whether the cleaner is enabled or not. None when no log
    /// is due, or the pass was abandoned because the log was cut or deleted. Runs in the background by itself.
    pub fn clean_dirtiest(&self) -> Result<Option<PassReport>, CleanError> {
        self.cleaner.clean_dirtiest(|| self.logs())
    }

    /// What the cleaner says of itself.
    pub fn cleaner_metrics(&self) -> CleanerMetrics {
        self.cleaner
            .metrics(&self.logs(), self.shared.clock.now_ms())
    }

    pub fn node_id(&self) -> i32 {
        self.meta.node_id
    }

    /// Bytes of the journal's files, its spares among them; 0 without a journal.
    pub fn journal_bytes(&self) -> u64 {
        self.shared.journal().map_or(0, |journal| {
            journal
                .bytes_in_files()
                .saturating_add(journal.spare_bytes())
        })
    }

    /// How often the journal was flushed in this run; 0 without a journal.
    pub fn journal_flushes(&self) -> u64 {
        self.shared.journal().map_or(0, |journal| journal.flushes())
    }

    pub fn health(&self) -> Health {
        self.shared.health()
    }

    /// Returns when everything up to `lsn` is durable; at once in `FlushMode::Os`.
    pub async fn flushed(&self, lsn: Lsn) -> Result<(), StoreError> {
        self.shared.flushed(lsn).await
    }

    /// The clean shutdown: no more appends, everything flushed and synced, snapshots and indexes complete, and the
    /// marker that saves the next start its recovery. A second call does nothing.
    pub async fn close(self: &Arc<Self>) -> Result<(), StoreError> {
        let store = Arc::clone(self);
        tokio::task::spawn_blocking(move || store.close_blocking())
            .await
            .map_err(|_| StoreError::Closed)?
    }

    /// [`LogStore::close`] for threads outside of the async runtime.
    pub fn close_blocking(&self) -> Result<(), StoreError> {
        if self.is_closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.scrub.stop();
        self.worker.stop();
        self.cleaner.stop();
        for log in self.logs() {
            log.close();
        }
        self.checkpoint()?;
        if let Some(journal) = self.shared.journal() {
            journal.close()?;
        }
        failpoint::check("store.before_clean_marker")
            .map_err(|source| StoreError::io("closing", &self.options.dir, source))?;
        let marker = CleanShutdown { broker_epoch: -1 };
        marker.write(&*self.shared.fs, &self.options.dir.join(CLEAN_SHUTDOWN))?;
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn shared_for_tests(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn check_usable(&self) -> Result<(), StoreError> {
        if self.is_closed.load(Ordering::Acquire) {
            return Err(StoreError::Closed);
        }
        self.shared
            .check_healthy()
            .map_err(|reason| StoreError::Poisoned { reason })
    }

    /// What stands where a new log's directory belongs is another log's, which keeps it, or nobody's: then nothing
    /// durable knows of it.
    fn set_aside(&self, id: &LogId, dir: &Path) -> Result<(), StoreError> {
        let io = |source| StoreError::io("setting aside", dir, source);
        if self.shared.fs.exists(dir).map_err(io)? {
            if let Some(holder) = self.logs().iter().find(|log| log.dir() == dir) {
                return Err(StoreError::taken(id, holder.id()));
            }
            let aside = suffixed(dir, STRAY_SUFFIX);
            tracing::warn!(path = %dir.display(), moved_to = %aside.display(), "a directory of an unknown log is set aside");
            self.shared.fs.rename(dir, &aside).map_err(io)?;
        }
        Ok(())
    }

    fn journal_entry(&self, log: &Arc<Log>, kind: EntryKind<'_>) -> Result<(), StoreError> {
        let entry = EntryRef {
            topic_id: log.id().topic_id,
            partition: log.id().partition,
            incarnation: log.incarnation(),
            kind,
        };
        let nobody: Arc<dyn FlushListener> = Arc::new(Nobody);
        // Whoever appends next, or waits, starts the flush.
        let within = std::time::Duration::from_millis(50);
        self.shared.journal_append(entry, &nobody, -1, within)?;
        Ok(())
    }
}

impl Drop for LogStore {
    fn drop(&mut self) {
        self.scrub.stop();
        self.worker.stop();
        self.cleaner.stop();
    }
}

/// A listener for entries that move no offset.
struct Nobody;

impl FlushListener for Nobody {
    fn flushed(&self, _end_offset: i64, _lsn: Lsn) {}

    fn poisoned(&self, _reason: &str) {}
}

fn key_of(log: &Log) -> LogKey {
    (log.id().topic_id, log.id().partition)
}

/// A topic's name becomes a directory's name: it must stay within the data directory.
fn check_name(id: &LogId) -> Result<(), StoreError> {
    let is_sound = !id.topic.is_empty()
        && id.topic.len() <= 249
        && id.topic != "."
        && id.topic != ".."
        && id
            .topic
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        && id.partition >= 0;
    if is_sound {
        Ok(())
    } else {
        Err(StoreError::Name {
            log: id.to_string(),
        })
    }
}

fn suffixed(dir: &Path, suffix: &str) -> PathBuf {
    let mut name = dir.as_os_str().to_owned();
    name.push(format!(".{}{suffix}", Uuid::new_v4().simple()));
    PathBuf::from(name)
}

/// Makes a log's directory and its `partition.metadata`, which the next checkpoint makes durable.
fn write_log_dir(shared: &Shared, dir: &Path, topic_id: Uuid) -> Result<(), StoreError> {
    let io = |source| StoreError::io("creating", dir, source);
    shared.fs.create_dir_all(dir).map_err(io)?;
    let text = PartitionMetadata { topic_id }.to_text();
    let path = dir.join(PARTITION_METADATA);
    let file = shared.fs.open(&path, OpenMode::Create).map_err(io)?;
    file.set_len(0)
        .and_then(|()| file.write_at(text.as_bytes(), 0))
        .map_err(io)
}

#[cfg(test)]
mod tests;
