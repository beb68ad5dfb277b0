//! One partition's log: batches in segments, the producers' states, the offsets that readers may see.
//!
//! `append.rs` is the way in (one lock, nothing awaited), `read.rs` and `time.rs` are the ways out,
//! `stability.rs` decides who sees what, `load.rs` and `redo.rs` bring a log back from its files and the journal.

mod append;
mod check;
mod checkpoint;
mod compaction;
mod cut;
mod cut_notes;
mod damage;
mod delete_records;
mod directory;
mod epoch_files;
mod error;
mod index_repair;
mod load;
mod losses;
mod places;
mod positions;
mod read;
mod redo;
mod repair;
mod replace;
mod replay;
mod rescan;
mod retention;
mod roll;
mod scrub;
mod stability;
mod sync;
mod time;
mod watch;
mod write_again;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::LogConfig;
use crate::epochs::{EpochTable, LeaderEpochs};
use crate::journal::{FlushListener, Lsn};
use crate::producer_state::{ProducerEntry, ProducerStates, VerificationGuard};
use crate::repair::AcceptedLosses;
use crate::segment::{IndexLimits, Segment};
use crate::store::{Health, Shared, StoreError};

pub use append::{AppendOptions, AppendOrigin, Appended};
pub(crate) use checkpoint::{LogCheckpoint, Unsynced};
use compaction::Compaction;
pub(crate) use compaction::CompactionView;
pub(crate) use cut_notes::{CutNotes, TRUNCATIONS};
pub use damage::DamagedRegion;
pub use delete_records::{DeleteRecordsError, DeletedRecords};
pub use error::{AppendError, ReadError};
pub(crate) use load::LoadPlan;
pub(crate) use places::Placing;
pub use read::{Isolation, ReadResult};
pub(crate) use redo::{RedoChange, RedoEntry};
pub(crate) use replay::marker_in;
pub(crate) use scrub::Scrubbed;
pub use stability::LogOffsets;
pub(crate) use stability::TransactionChange;
pub use time::TimestampOffset;
pub use watch::WatchGuard;

use positions::Positions;
use replace::HalfDone;
use stability::Stability;
use sync::Synced;
use watch::Watchers;

/// Which log: a partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LogId {
    pub topic_id: Uuid,
    pub topic: String,
    pub partition: i32,
}

impl std::fmt::Display for LogId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// One partition's log. All methods take `&self`; appends go one at a time, reads run beside them.
#[derive(Debug)]
pub struct Log {
    id: LogId,
    dir: PathBuf,
    /// Which life of a log of this id: entries of another one are not redone.
    incarnation: u64,
    shared: Arc<Shared>,
    config: RwLock<Arc<LogConfig>>,
    appender: Mutex<Appender>,
    segments: RwLock<Vec<Arc<Segment>>>,
    /// Held for reading while bytes are read, for writing while bytes that may be read are cut.
    cutting: RwLock<()>,
    progress: Arc<Progress>,
    listener: ListenerHandle,
    positions: Positions,
    /// Which leader epoch wrote what, for readers.
    epochs: EpochTable,
    /// One index at a time is checked or built anew.
    repairing: Mutex<()>,
    /// One change of the list of segments at a time, but for those at its end. Holds the last one when not all files
    /// could be renamed.
    replacing: Mutex<Option<HalfDone>>,
    durable: Mutex<DurablePoint>,
    /// Cuts that the node's checkpoint may not have.
    notes: Mutex<CutNotes>,
    /// Losses that a repair has noted.
    accepted: Mutex<AcceptedLosses>,
    compaction: Mutex<Compaction>,
    /// Held by a pass of the cleaner, which writes files into the directory.
    cleaning: Mutex<()>,
    synced: Mutex<Synced>,
}

/// What the node's checkpoint has of a log: recovery begins with the segment at `segment_base`, and what lies below
/// both offsets is not needed for it.
#[derive(Debug, Clone, Copy)]
struct DurablePoint {
    log_start: i64,
    segment_base: i64,
    /// The transactions that begin here or later were open then, as far as that matters to compaction.
    first_open: i64,
}

impl DurablePoint {
    const NOTHING: Self = Self {
        log_start: i64::MIN,
        segment_base: i64::MIN,
        first_open: i64::MIN,
    };
}

/// What changes with the log's end, under the append lock.
#[derive(Debug)]
struct Appender {
    log_end: i64,
    log_start: i64,
    active: Arc<Segment>,
    epochs: LeaderEpochs,
    producers: ProducerStates,
    /// The journal's number of the last change.
    last_lsn: Lsn,
    /// The greatest recovery point that a checkpoint of this log may have; none before the first.
    captured_to: Option<i64>,
    life: Life,
    /// A write failed and what it left could not be cut off yet.
    trim_needed: bool,
    /// Changed since the last checkpoint.
    dirty: bool,
    /// Changed since the store was opened.
    touched: bool,
    epochs_changed: bool,
    /// Files were made since the directory was last synced.
    names_changed: bool,
    /// Segments written since the last checkpoint.
    unsynced: Vec<Arc<Segment>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Open,
    Closed,
    Deleted,
}

/// What readers and the journal's flusher share. Its lock is held for a few instructions only, never over I/O,
/// so the flusher never waits for an append that waits for the flusher.
#[derive(Debug)]
struct Progress {
    stability: Mutex<Stability>,
    watchers: Arc<Watchers>,
}

/// `Progress` as the journal wants it.
struct ListenerHandle(Arc<dyn FlushListener>);

impl std::fmt::Debug for ListenerHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ListenerHandle")
    }
}

impl FlushListener for Progress {
    fn flushed(&self, end_offset: i64, _lsn: Lsn) {
        self.stability.lock().flushed(end_offset);
        self.watchers.notify();
    }

    fn poisoned(&self, _reason: &str) {
        self.watchers.notify();
    }
}

impl Log {
    pub fn id(&self) -> &LogId {
        &self.id
    }

    /// The partition's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn config(&self) -> Arc<LogConfig> {
        Arc::clone(&self.config.read())
    }

    /// Settings for appends from now on; what is stored stays as it is.
    pub fn set_config(&self, config: LogConfig) {
        *self.config.write() = Arc::new(config);
    }

    /// Log start, high watermark, last stable offset and log end at one moment.
    pub fn offsets(&self) -> LogOffsets {
        self.progress.stability.lock().offsets()
    }

    /// The newest leader epoch that wrote into this log.
    pub fn leader_epoch(&self) -> Option<i32> {
        self.appender.lock().epochs.latest()
    }

    /// For `OffsetForLeaderEpoch`: the greatest epoch of this log that is at most `leader_epoch`, and where it ends.
    pub fn epoch_end_offset(&self, leader_epoch: i32) -> Option<(i32, i64)> {
        let appender = self.appender.lock();
        appender.epochs.end_offset(leader_epoch, appender.log_end)
    }

    /// The producers that this log remembers.
    pub fn producer_states(&self) -> Vec<ProducerEntry> {
        self.appender.lock().producers.iter().copied().collect()
    }

    /// Whether this producer, in this epoch, has a transaction open in this log.
    pub fn has_ongoing_transaction(&self, producer_id: i64, epoch: i16) -> bool {
        self.appender
            .lock()
            .producers
            .has_ongoing_transaction(producer_id, epoch)
    }

    /// The guard with which the first batch of a transaction must be appended, after the coordinator has confirmed
    /// that it knows of the transaction. None: the transaction is open in this log already, nothing need be asked.
    ///
    /// `base_sequence` is the batch's first sequence, or `NO_SEQUENCE`. A marker that is written in between makes the
    /// guard worthless.
    pub fn verification_guard(
        &self,
        producer_id: i64,
        epoch: i16,
        base_sequence: i32,
    ) -> Option<VerificationGuard> {
        let monotonic_ms = self.shared.clock.monotonic_ms();
        self.appender.lock().producers.verification_guard(
            producer_id,
            epoch,
            base_sequence,
            monotonic_ms,
        )
    }

    /// Notifies `notify` (one waiter, or a permit) whenever log end, high watermark or last stable offset may have
    /// moved, and when the node stops taking writes, until the guard is dropped. Register first, then look at
    /// [`Log::offsets`], then wait: nothing is missed.
    pub fn watch(&self, notify: Arc<Notify>) -> WatchGuard {
        self.progress.watchers.add(notify)
    }

    /// Returns when everything up to `lsn` is durable by the node's rules: at once in `FlushMode::Os`.
    pub async fn flushed(&self, lsn: Lsn) -> Result<(), StoreError> {
        self.shared.flushed(lsn).await
    }

    /// Whether the node takes writes. A log that is watched is notified when it stops doing so.
    pub fn health(&self) -> Health {
        self.shared.health()
    }

    /// Bytes of all segments.
    pub fn size(&self) -> u64 {
        self.segments
            .read()
            .iter()
            .map(|segment| segment.size())
            .sum()
    }

    pub(crate) fn incarnation(&self) -> u64 {
        self.incarnation
    }

    pub(crate) fn last_lsn(&self) -> Lsn {
        self.appender.lock().last_lsn
    }

    pub(crate) fn set_last_lsn(&self, lsn: Lsn) {
        self.appender.lock().last_lsn = lsn;
    }

    pub(crate) fn remove_expired_producers(&self, expiration_ms: i64) {
        let clock = &self.shared.clock;
        let (now_ms, monotonic_ms) = (clock.now_ms(), clock.monotonic_ms());
        self.appender
            .lock()
            .producers
            .remove_expired(now_ms, monotonic_ms, expiration_ms);
    }

    /// The segment that holds `offset`, and all later ones.
    fn segments_from(&self, offset: i64) -> Vec<Arc<Segment>> {
        let segments = self.segments.read();
        let first = segments
            .partition_point(|segment| segment.base_offset() <= offset)
            .saturating_sub(1);
        segments[first..].to_vec()
    }
}

fn index_limits(config: &LogConfig) -> IndexLimits {
    IndexLimits {
        interval_bytes: config.index_interval_bytes,
        index_bytes: config.segment_index_bytes,
    }
}

#[cfg(test)]
pub(crate) use tests::support as test_support;
#[cfg(test)]
mod tests;
