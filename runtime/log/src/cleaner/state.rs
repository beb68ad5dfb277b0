//! What the cleaner's threads share.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::asking::Asking;
use super::idle::IdleMeter;
use super::metrics::UncleanableLog;
use super::pass::PassReport;
use super::throttle::Throttle;
use super::{CleanError, CleanerOptions};
use crate::checkpoint::{CLEANED_OFFSETS, CheckpointError, OffsetMap, write_offsets};
use crate::fs::FileSystem;
use crate::log::{Log, LogId};

/// A log whose pass has failed is tried again after the back-off, then after twice the time, up to this.
const RETRY_MAX: Duration = Duration::from_secs(60 * 60);
/// A thread that waits looks this often whether it still may.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Shared by the threads and the store.
#[derive(Debug)]
pub(crate) struct CleanerState {
    inner: Mutex<Inner>,
    changed: Condvar,
    began: Instant,
    throttle: Mutex<Throttle>,
    idle: Mutex<IdleMeter>,
    bytes_read: AtomicU64,
    bytes_written: AtomicU64,
    passes: AtomicU64,
    last_pass: Mutex<Option<(Instant, Duration)>>,
    /// What the checkpoint file says: it is written when that changes.
    written: Mutex<OffsetMap>,
    /// The checkpoint file could not be written when it should have been.
    is_behind: AtomicBool,
    dir: PathBuf,
    fs: Arc<dyn FileSystem>,
}

#[derive(Debug)]
struct Inner {
    options: CleanerOptions,
    stops: bool,
    in_progress: HashSet<LogId>,
    failures: HashMap<LogId, Failure>,
    asking: Asking,
}

#[derive(Debug)]
struct Failure {
    reason: String,
    delay: Duration,
    retry_at: Instant,
}

impl Inner {
    fn backoff(&self) -> Duration {
        Duration::from_millis(self.options.backoff_ms.max(1))
    }
}

impl CleanerState {
    pub(super) fn new(
        options: CleanerOptions,
        dir: PathBuf,
        fs: Arc<dyn FileSystem>,
        written: OffsetMap,
    ) -> Self {
        Self {
            inner: Mutex::new(Inner {
                options,
                stops: false,
                in_progress: HashSet::new(),
                failures: HashMap::new(),
                asking: Asking::default(),
            }),
            changed: Condvar::new(),
            began: Instant::now(),
            throttle: Mutex::default(),
            idle: Mutex::default(),
            bytes_read: AtomicU64::new(0),
            bytes_written: AtomicU64::new(0),
            passes: AtomicU64::new(0),
            last_pass: Mutex::new(None),
            written: Mutex::new(written),
            is_behind: AtomicBool::new(false),
            dir,
            fs,
        }
    }

    pub(super) fn options(&self) -> CleanerOptions {
        self.inner.lock().options.clone()
    }

    pub(super) fn set_options(&self, options: CleanerOptions) {
        {
            let mut inner = self.inner.lock();
            inner.options = options;
            // What failed by the former options may succeed by these.
            for failure in inner.failures.values_mut() {
                failure.retry_at = Instant::now();
            }
        }
        *self.throttle.lock() = Throttle::default();
        self.changed.notify_all();
    }

    /// All threads are to end, in the midst of a pass too.
    pub(super) fn stop(&self) {
        self.inner.lock().stops = true;
        self.changed.notify_all();
    }

    /// How many threads are to run now.
    pub(super) fn thread_count(&self) -> usize {
        let inner = self.inner.lock();
        match inner.options.enabled && !inner.stops {
            true => inner.options.thread_count(),
            false => 0,
        }
    }

    /// Waits while this thread is one too many. False when it has to end.
    pub(super) fn awaits_turn(&self, thread: usize) -> bool {
        let mut inner = self.inner.lock();
        loop {
            if inner.stops {
                return false;
            }
            if inner.options.enabled && thread < inner.options.thread_count() {
                return true;
            }
            self.changed.wait(&mut inner);
        }
    }

    /// Sleeps the back-off, or until the options change. A log that waits for a checkpoint is looked at again when one was
    /// taken after the first `checkpoints` ones, and when one may be asked for.
    pub(super) fn sleep(&self, thread: usize, checkpoints: u64) {
        self.idle.lock().falls_asleep(thread, self.began.elapsed());
        {
            let mut inner = self.inner.lock();
            let backoff = inner.backoff();
            let longest = inner.asking.wait(self.began.elapsed(), backoff);
            if !inner.stops && !inner.asking.has_come(checkpoints) {
                self.changed.wait_for(&mut inner, longest);
            }
        }
        self.idle.lock().wakes(thread, self.began.elapsed());
    }

    /// Whether to ask for a checkpoint now, for the sake of a log that is due but for that, if one `waits`.
    pub(super) fn asks_for_checkpoint(&self, waits: bool) -> bool {
        let mut inner = self.inner.lock();
        let backoff = inner.backoff();
        inner.asking.asks(waits, self.began.elapsed(), backoff)
    }

    /// How many checkpoints were taken so far.
    pub(super) fn checkpoints(&self) -> u64 {
        self.inner.lock().asking.checkpoints()
    }

    /// A checkpoint was taken: what waited for it may be due.
    pub(super) fn note_checkpoint(&self) {
        if self.inner.lock().asking.note_checkpoint() {
            self.changed.notify_all();
        }
    }

    /// Counts what a pass has read or written, and waits as the throttle says. False when the pass has to end, because
    /// the cleaner stops or `goes_on` says so.
    pub(super) fn pace(&self, bytes: u64, goes_on: impl Fn() -> bool) -> bool {
        let rate = self.inner.lock().options.io_max_bytes_per_second;
        let wait = self
            .throttle
            .lock()
            .spend(self.began.elapsed(), bytes, rate);
        let until = Instant::now() + wait;
        while goes_on() {
            let mut inner = self.inner.lock();
            if inner.stops {
                return false;
            }
            let left = until.saturating_duration_since(Instant::now());
            // Less than a system sleeps at the least is not worth a sleep; and a new rate begins at once.
            let is_over = left < Duration::from_millis(1);
            if is_over || inner.options.io_max_bytes_per_second.to_bits() != rate.to_bits() {
                return true;
            }
            self.changed.wait_for(&mut inner, left.min(LOOK_EVERY));
        }
        false
    }

    /// Whether a pass over the log may begin: none runs, and the last one did not just fail.
    pub(super) fn is_free(&self, id: &LogId) -> bool {
        let inner = self.inner.lock();
        let waits = |failure: &Failure| Instant::now() < failure.retry_at;
        !inner.in_progress.contains(id) && !inner.failures.get(id).is_some_and(waits)
    }

    /// False when another thread was faster.
    pub(super) fn begin(&self, id: &LogId) -> bool {
        self.inner.lock().in_progress.insert(id.clone())
    }

    pub(super) fn end(&self, id: &LogId, result: &Result<Option<PassReport>, CleanError>) {
        self.inner.lock().in_progress.remove(id);
        match result {
            Ok(_) => self.forgive(id),
            Err(error) => self.failed(id, error),
        }
    }

    /// What was wrong with the log is not wrong any more.
    pub(super) fn forgive(&self, id: &LogId) {
        self.inner.lock().failures.remove(id);
    }

    /// The log counts as uncleanable, and waits.
    pub(super) fn failed(&self, id: &LogId, error: &CleanError) {
        let mut inner = self.inner.lock();
        let first = inner.backoff();
        let delay = inner.failures.get(id).map_or(first, |failure| {
            (failure.delay * 2).min(RETRY_MAX.max(first))
        });
        let failure = Failure {
            reason: error.to_string(),
            delay,
            retry_at: Instant::now() + delay,
        };
        inner.failures.insert(id.clone(), failure);
    }

    pub(super) fn count(&self, report: &PassReport, took: Duration) {
        self.bytes_read
            .fetch_add(report.bytes_read, Ordering::Relaxed);
        self.bytes_written
            .fetch_add(report.bytes_written, Ordering::Relaxed);
        self.passes.fetch_add(1, Ordering::Relaxed);
        *self.last_pass.lock() = Some((Instant::now(), took));
    }

    /// Replaces `cleaner-offset-checkpoint` when it is not true any more of these logs, which are all.
    pub(super) fn write_checkpoint(&self, logs: &[Arc<Log>]) -> Result<(), CheckpointError> {
        // Until it is done, be it that this ends in a panic.
        self.is_behind.store(true, Ordering::Relaxed);
        let mut written = self.written.lock();
        let offsets: OffsetMap = logs
            .iter()
            .filter_map(|log| {
                let name = (log.id().topic.clone(), log.id().partition);
                Some((name, log.cleaned_to()?))
            })
            .collect();
        if *written != offsets {
            write_offsets(&*self.fs, &self.dir.join(CLEANED_OFFSETS), &offsets)?;
            *written = offsets;
        }
        self.is_behind.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Whether [`CleanerState::write_checkpoint`] has failed the last time.
    pub(super) fn is_behind(&self) -> bool {
        self.is_behind.load(Ordering::Relaxed)
    }

    /// Whether the log's last pass failed.
    pub(super) fn has_failed(&self, id: &LogId) -> bool {
        self.inner.lock().failures.contains_key(id)
    }

    /// Bytes read, bytes written, passes, and when the last one ended and how long it took.
    pub(super) fn totals(&self) -> (u64, u64, u64, Option<(Instant, Duration)>) {
        (
            self.bytes_read.load(Ordering::Relaxed),
            self.bytes_written.load(Ordering::Relaxed),
            self.passes.load(Ordering::Relaxed),
            *self.last_pass.lock(),
        )
    }

    pub(super) fn idle_ratio(&self) -> f64 {
        let threads = self.thread_count();
        self.idle.lock().ratio(threads, self.began.elapsed())
    }

    /// Logs whose last pass failed; those that `exists` denies are forgotten.
    pub(super) fn uncleanable(&self, exists: impl Fn(&LogId) -> bool) -> Vec<UncleanableLog> {
        let mut inner = self.inner.lock();
        inner.failures.retain(|id, _| exists(id));
        let mut found: Vec<_> = inner
            .failures
            .iter()
            .map(|(id, failure)| UncleanableLog {
                topic: id.topic.clone(),
                partition: id.partition,
                reason: failure.reason.clone(),
            })
            .collect();
        found.sort_unstable_by(|one, other| {
            (&one.topic, one.partition).cmp(&(&other.topic, other.partition))
        });
        found
    }
}
