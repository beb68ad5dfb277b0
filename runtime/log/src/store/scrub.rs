//! The background scrub: a thread that reads all rolled segments again, slowly.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::LogStore;
use crate::log::{DamagedRegion, Log, Scrubbed};

/// The first pass does not compete with a start.
const FIRST_PASS: Duration = Duration::from_secs(60);
/// `last_pass_ms` before the first pass has ended.
const NEVER: i64 = i64::MIN;

/// What the scrub has done since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScrubStats {
    /// Bytes of segments that were read.
    pub bytes: u64,
    /// Segments that were read to their end.
    pub segments: u64,
    /// Whole passes over all logs.
    pub passes: u64,
    /// When the last whole pass ended, ms since 1970.
    pub last_pass_ms: Option<i64>,
    /// A pass is under way.
    pub is_running: bool,
    /// Damaged regions that are known now, whoever found them.
    pub damaged_regions: u64,
}

#[derive(Debug)]
pub(super) struct Scrub {
    counts: Arc<Counts>,
    signal: Arc<Signal>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// One pass at a time.
    passing: Mutex<()>,
}

#[derive(Debug)]
struct Counts {
    bytes: AtomicU64,
    segments: AtomicU64,
    passes: AtomicU64,
    last_pass_ms: AtomicI64,
    is_running: AtomicBool,
}

#[derive(Debug, Default)]
struct Signal {
    stops: Mutex<bool>,
    changed: Condvar,
}

impl Signal {
    /// Waits; false when the thread has to stop.
    fn wait(&self, time: Duration) -> bool {
        let mut stops = self.stops.lock();
        if !*stops && !time.is_zero() {
            self.changed.wait_for(&mut stops, time);
        }
        !*stops
    }
}

impl Default for Scrub {
    fn default() -> Self {
        Self {
            counts: Arc::new(Counts {
                bytes: AtomicU64::new(0),
                segments: AtomicU64::new(0),
                passes: AtomicU64::new(0),
                last_pass_ms: AtomicI64::new(NEVER),
                is_running: AtomicBool::new(false),
            }),
            signal: Arc::default(),
            thread: Mutex::new(None),
            passing: Mutex::new(()),
        }
    }
}

impl Scrub {
    /// Starts the thread; none with an interval of 0.
    pub(super) fn start(
        &self,
        store: Weak<LogStore>,
        interval: Duration,
        bytes_per_second: u64,
    ) -> std::io::Result<()> {
        if interval.is_zero() {
            return Ok(());
        }
        let signal = Arc::clone(&self.signal);
        let thread = thread::Builder::new()
            .name("log-scrub".to_owned())
            .spawn(move || run(&store, &signal, interval, bytes_per_second))?;
        *self.thread.lock() = Some(thread);
        Ok(())
    }

    /// Stops the thread and waits for it.
    pub(super) fn stop(&self) {
        *self.signal.stops.lock() = true;
        self.signal.changed.notify_all();
        if let Some(thread) = self.thread.lock().take()
            && thread.thread().id() != thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

fn run(store: &Weak<LogStore>, signal: &Signal, interval: Duration, bytes_per_second: u64) {
    let mut wait = FIRST_PASS.min(interval);
    while signal.wait(wait) {
        let Some(logs) = store.upgrade().map(|store| store.logs()) else {
            return;
        };
        let begun = Instant::now();
        let mut pacer = Pacer {
            signal,
            bytes_per_second: bytes_per_second.max(1),
            begun,
            bytes: 0,
        };
        if !pass(store, logs, |bytes| pacer.pace(bytes)) {
            return;
        }
        wait = interval.saturating_sub(begun.elapsed());
    }
}

/// Keeps a pass at its speed.
struct Pacer<'a> {
    signal: &'a Signal,
    bytes_per_second: u64,
    begun: Instant,
    bytes: u64,
}

impl Pacer<'_> {
    /// Waits until so many more bytes may have been read; false when the thread has to stop.
    fn pace(&mut self, bytes: u64) -> bool {
        self.bytes = self.bytes.saturating_add(bytes);
        let micros = u128::from(self.bytes) * 1_000_000 / u128::from(self.bytes_per_second);
        let due = Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX));
        self.signal.wait(due.saturating_sub(self.begun.elapsed()))
    }
}

/// Scrubs all rolled segments of these logs; false when it was stopped.
fn pass(store: &Weak<LogStore>, logs: Vec<Arc<Log>>, mut pace: impl FnMut(u64) -> bool) -> bool {
    let Some(counts) = store.upgrade().map(|store| Arc::clone(&store.scrub.counts)) else {
        return false;
    };
    counts.is_running.store(true, Ordering::Relaxed);
    let mut goes_on = true;
    'logs: for log in logs {
        for segment in log.rolled_segments() {
            let scrubbed = log.scrub(&segment, |bytes| {
                counts.bytes.fetch_add(bytes, Ordering::Relaxed);
                goes_on = pace(bytes);
                goes_on
            });
            match scrubbed {
                Ok(Scrubbed::Sound | Scrubbed::Damaged) => {
                    counts.segments.fetch_add(1, Ordering::Relaxed);
                }
                Ok(Scrubbed::Stopped) => {}
                Err(error) => {
                    let path = segment.path();
                    tracing::error!(path = %path.display(), %error, "the scrub cannot read a segment");
                }
            }
            if !goes_on {
                break 'logs;
            }
        }
    }
    counts.is_running.store(false, Ordering::Relaxed);
    if goes_on && let Some(store) = store.upgrade() {
        counts.passes.fetch_add(1, Ordering::Relaxed);
        let now_ms = store.clock().now_ms();
        counts.last_pass_ms.store(now_ms, Ordering::Relaxed);
    }
    goes_on
}

impl LogStore {
    /// Reads all rolled segments now, as fast as the disk is, and returns the damage that is known then. Blocks.
    pub fn scrub(self: &Arc<Self>) -> Vec<DamagedRegion> {
        let _one_at_a_time = self.scrub.passing.lock();
        pass(&Arc::downgrade(self), self.logs(), |_| true);
        self.damages()
    }

    /// All damage that is known, by log and position.
    pub fn damages(&self) -> Vec<DamagedRegion> {
        self.logs().iter().flat_map(|log| log.damages()).collect()
    }

    /// What the scrub has done so far.
    pub fn scrub_stats(&self) -> ScrubStats {
        let counts = &self.scrub.counts;
        let last_pass_ms = counts.last_pass_ms.load(Ordering::Relaxed);
        ScrubStats {
            bytes: counts.bytes.load(Ordering::Relaxed),
            segments: counts.segments.load(Ordering::Relaxed),
            passes: counts.passes.load(Ordering::Relaxed),
            last_pass_ms: (last_pass_ms != NEVER).then_some(last_pass_ms),
            is_running: counts.is_running.load(Ordering::Relaxed),
            damaged_regions: self.damages().len() as u64,
        }
    }
}
