//! What the logs of a store have in common.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::deferred::Deferred;
use super::failed_sync::FailedSync;
use super::{Health, LogKey, StoreError};
use crate::clock::Clock;
use crate::fs::FileSystem;
use crate::journal::{EntryRef, FlushListener, Journal, JournalError, JournalHealth, Lsn};
use crate::segment::{OpenFiles, PlacesCache};
use crate::{FlushMode, StoreOptions};

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) fs: Arc<dyn FileSystem>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) open_files: Arc<OpenFiles>,
    pub(crate) deferred: Deferred,
    /// Logs whose segments were replaced while not all files could be renamed.
    pub(crate) half_done: Mutex<HashSet<LogKey>>,
    pub(crate) places: PlacesCache,
    flush: FlushMode,
    /// Set when recovery is over; none in `FlushMode::Os`.
    journal: OnceLock<Arc<Journal>>,
    poisoned: OnceLock<String>,
    /// The last append of some log found no room for its segment.
    is_full: AtomicBool,
    told_full: Mutex<ToldFull>,
    pub(super) failed_sync: FailedSync,
    /// How often the start of a log has moved.
    log_start_moves: watch::Sender<u64>,
}

/// A disk that hovers at its limit is spoken of this often at most.
const FULL_IS_TOLD_EVERY: Duration = Duration::from_secs(10);

/// What the log of this process says about a full disk: one line when it begins and one when it ends.
#[derive(Debug, Default)]
struct ToldFull {
    is_told: bool,
    last: Option<Instant>,
}

impl Shared {
    pub(crate) fn new(options: &StoreOptions) -> Arc<Self> {
        Arc::new(Self {
            fs: Arc::clone(&options.fs),
            clock: Arc::clone(&options.clock),
            open_files: OpenFiles::new(Arc::clone(&options.fs), options.open_files_max),
            deferred: Deferred::default(),
            half_done: Mutex::default(),
            places: PlacesCache::default(),
            flush: options.flush,
            journal: OnceLock::new(),
            poisoned: OnceLock::new(),
            is_full: AtomicBool::new(false),
            told_full: Mutex::new(ToldFull::default()),
            failed_sync: FailedSync::new(options),
            log_start_moves: watch::Sender::new(0),
        })
    }

    /// Records have left the front of a log.
    pub(crate) fn log_start_moved(&self) {
        self.log_start_moves.send_modify(|moves| *moves += 1);
    }

    pub(super) fn log_start_moves(&self) -> watch::Receiver<u64> {
        self.log_start_moves.subscribe()
    }

    pub(super) fn start_journal(&self, journal: Journal) {
        assert!(
            self.journal.set(Arc::new(journal)).is_ok(),
            "a store has one journal"
        );
    }

    pub(crate) fn journal(&self) -> Option<&Arc<Journal>> {
        self.journal.get()
    }

    pub(crate) fn waits_for_flush(&self) -> bool {
        self.flush == FlushMode::Journal
    }

    /// Gives an entry to the journal; nothing to do without one.
    pub(crate) fn journal_append(
        &self,
        entry: EntryRef<'_>,
        listener: &Arc<dyn FlushListener>,
        end_offset: i64,
        within: Duration,
    ) -> Result<Lsn, JournalError> {
        match self.journal() {
            Some(journal) => journal.append(entry, listener, end_offset, within),
            None => Ok(Lsn::ZERO),
        }
    }

    pub(crate) async fn flushed(&self, lsn: Lsn) -> Result<(), StoreError> {
        match self.journal() {
            Some(journal) => Ok(journal.flushed_to(lsn).await?),
            None => Ok(()),
        }
    }

    /// An append found no room for its segment.
    pub(crate) fn found_no_room(&self, reason: &dyn std::fmt::Display) {
        if self.is_full.swap(true, Ordering::Relaxed) {
            return;
        }
        let mut told = self.told_full.lock();
        let is_new = told
            .last
            .is_none_or(|last| last.elapsed() >= FULL_IS_TOLD_EVERY);
        if is_new && !told.is_told {
            tracing::error!(%reason, "the disk is full: writes are refused until there is room, reads go on");
            (told.is_told, told.last) = (true, Some(Instant::now()));
        }
    }

    /// An append found room.
    pub(crate) fn found_room(&self) {
        if !self.is_full.load(Ordering::Relaxed) || !self.is_full.swap(false, Ordering::Relaxed) {
            return;
        }
        if std::mem::take(&mut self.told_full.lock().is_told) {
            tracing::info!("there is room on the disk again: writes are taken");
        }
    }

    /// Stops all writes for good: what is durable is not known any more.
    pub(crate) fn poison(&self, reason: &str) {
        if self.poisoned.set(reason.to_owned()).is_ok() {
            tracing::error!(reason, "the store takes no writes any more");
            self.failed_sync.leave(&*self.fs);
        }
        if let Some(journal) = self.journal() {
            journal.poison(reason);
        }
    }

    /// The reason when the store was poisoned.
    pub(crate) fn check_healthy(&self) -> Result<(), String> {
        self.poisoned
            .get()
            .map_or(Ok(()), |reason| Err(reason.clone()))
    }

    pub(crate) fn health(&self) -> Health {
        if let Err(reason) = self.check_healthy() {
            return Health::Poisoned { reason };
        }
        match self.journal().map(|journal| journal.health()) {
            Some(JournalHealth::Poisoned { reason }) => Health::Poisoned {
                reason: reason.to_string(),
            },
            Some(JournalHealth::Full { reason }) => Health::Full {
                reason: reason.to_string(),
            },
            _ if self.is_full.load(Ordering::Relaxed) => Health::Full {
                reason: "there is no room for segment files".to_owned(),
            },
            _ => Health::Ok,
        }
    }
}
