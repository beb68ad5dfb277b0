//! All logs of a data directory: opened under one lock, recovered, checkpointed in the background, closed cleanly.
//!
//! `survey/` looks at a directory before anything is changed and says whether a start may go on, `open.rs` brings it back
//! (and redoes the journal), `checkpointing.rs` moves the recovery points and cuts the journal, `node_checkpoint.rs` is
//! the file in between. `changes.rs`: logs come and go.

mod changes;
mod checkpointing;
mod deferred;
mod error;
mod failed_sync;
mod lost;
mod names;
mod node_checkpoint;
mod open;
mod owner;
mod parallel;
mod redo;
mod retention;
mod scrub;
mod shared;
mod survey;
mod worker;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use uuid::Uuid;

use crate::checkpoint::{CLEAN_SHUTDOWN, CleanShutdown, MetaProperties, OffsetMap};
use crate::cleaner::{CleanError, Cleaner, CleanerMetrics, PassReport};
use crate::clock::Clock;
use crate::fs::FileLock;
use crate::journal::Lsn;
use crate::log::Log;
use crate::{CleanerOptions, FlushMode, StoreOptions, failpoint};

pub use changes::Deletion;
pub use error::{Problem, StoreError};
pub use lost::{DirFault, LostLog};
pub(crate) use names::split_name;
pub use open::RecoveryReport;
pub use scrub::ScrubStats;
pub(crate) use shared::Shared;
pub(crate) use survey::find_lost_logs;
pub use survey::{FoundLogs, MetadataFault};

pub(crate) use node_checkpoint::{FILE_NAME as CHECKPOINT_FILE, NodeCheckpoint};
use scrub::Scrub;
use worker::Worker;

/// Locked by the process that has the data directory open.
pub(crate) const LOCK_FILE: &str = ".lock";
/// The journal's directory within the data directory.
pub(crate) const JOURNAL_DIR: &str = "journal";

pub(crate) type LogKey = (Uuid, i32);

/// All logs of a data directory.
#[derive(Debug)]
pub struct LogStore {
    options: StoreOptions,
    meta: MetaProperties,
    shared: Arc<Shared>,
    logs: RwLock<HashMap<LogKey, Arc<Log>>>,
    /// Logs that the checkpoint knows and that are not there.
    lost: Mutex<HashMap<LogKey, LostLog>>,
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
}

impl Drop for LogStore {
    fn drop(&mut self) {
        self.scrub.stop();
        self.worker.stop();
        self.cleaner.stop();
    }
}

fn key_of(log: &Log) -> LogKey {
    (log.id().topic_id, log.id().partition)
}

#[cfg(test)]
mod tests;
