//! The cleaner's threads: each takes the dirtiest log that is due, or sleeps.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::blocks::Buffer;
use super::due::{Candidate, dirtiest};
use super::metrics::DirtyLog;
use super::pass::{Pass, PassEnd, PassLimits, PassReport};
use super::recovery::finish_swap;
use super::state::CleanerState;
use super::{CleanError, CleanerMetrics, CleanerOptions};
use crate::checkpoint::CheckpointError;
use crate::failpoint;
use crate::log::{Log, LogId};
use crate::store::LogStore;

/// Blocks are at least and at most so large.
const BLOCK_BYTES_MIN: u64 = 64 << 10;
const BLOCK_BYTES_MAX: u64 = 16 << 20;

/// A store's cleaner.
#[derive(Debug)]
pub(crate) struct Cleaner {
    state: Arc<CleanerState>,
    store: OnceLock<Weak<LogStore>>,
    /// As many as were ever wanted; those that are too many now wait.
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Cleaner {
    pub(crate) fn new(state: CleanerState) -> Self {
        Self {
            state: Arc::new(state),
            store: OnceLock::new(),
            threads: Mutex::default(),
        }
    }

    /// Starts the threads.
    pub(crate) fn start(&self, store: Weak<LogStore>) -> io::Result<()> {
        // A store is opened once.
        let _ = self.store.set(store);
        self.spawn_missing()
    }

    fn spawn_missing(&self) -> io::Result<()> {
        let Some(store) = self.store.get() else {
            return Ok(());
        };
        let mut threads = self.threads.lock();
        while threads.len() < self.state.thread_count() {
            let number = threads.len();
            let (store, state) = (Weak::clone(store), Arc::clone(&self.state));
            let thread = thread::Builder::new()
                .name(format!("log-cleaner-{number}"))
                .spawn(move || run(number, &store, &state))?;
            threads.push(thread);
        }
        Ok(())
    }

    /// Ends all threads, in the midst of a pass too, and waits for them.
    pub(crate) fn stop(&self) {
        self.state.stop();
        for thread in std::mem::take(&mut *self.threads.lock()) {
            if thread.thread().id() != thread::current().id() {
                let _ = thread.join();
            }
        }
    }

    pub(crate) fn options(&self) -> CleanerOptions {
        self.state.options()
    }

    pub(crate) fn set_options(&self, options: CleanerOptions) {
        self.state.set_options(options);
        if let Err(error) = self.spawn_missing() {
            tracing::error!(%error, "not all threads of the cleaner could be started");
        }
    }

    /// Compacts the dirtiest log that is due on this thread.
    pub(crate) fn clean_dirtiest(
        &self,
        logs: impl Fn() -> Vec<Arc<Log>>,
    ) -> Result<Option<PassReport>, CleanError> {
        match pick(&self.state, &logs()).candidate {
            Some(candidate) => clean(&self.state, candidate, logs),
            None => Ok(catch_up(&self.state, logs).map(|()| None)?),
        }
    }

    /// Writes down how far these logs, which are all, are compacted.
    pub(crate) fn write_checkpoint(&self, logs: &[Arc<Log>]) -> Result<(), CheckpointError> {
        self.state.write_checkpoint(logs)
    }

    /// The node's checkpoint was taken: what waited for it may be due.
    pub(crate) fn note_checkpoint(&self) {
        self.state.note_checkpoint();
    }

    /// What a pass could not end in this log has ended now: another may try.
    pub(crate) fn forgive(&self, log: &Log) {
        self.state.forgive(log.id());
    }

    /// What a pass has found out of a log that is gone now is forgotten.
    pub(crate) fn forget(&self, log: &Log, rest: &[Arc<Log>]) -> Result<(), CleanError> {
        match log.cleaned_to() {
            Some(_) => Ok(self.state.write_checkpoint(rest)?),
            None => Ok(()),
        }
    }

    pub(crate) fn metrics(&self, logs: &[Arc<Log>], now_ms: i64) -> CleanerMetrics {
        let mut dirty: Vec<_> = logs
            .iter()
            .filter_map(|log| look_at(log, now_ms).ok().flatten())
            .map(|candidate| DirtyLog {
                topic: candidate.log.id().topic.clone(),
                partition: candidate.log.id().partition,
                percent: 100.0 * candidate.portions.dirty_ratio(),
            })
            .collect();
        dirty.sort_unstable_by(|one, other| {
            (&one.topic, one.partition).cmp(&(&other.topic, other.partition))
        });
        let (bytes_read, bytes_written, passes, last_pass) = self.state.totals();
        CleanerMetrics {
            max_dirty_percent: dirty.iter().map(|one| one.percent).fold(0.0, f64::max),
            dirty,
            idle_ratio: self.state.idle_ratio(),
            threads: self.state.thread_count(),
            passes,
            bytes_read,
            bytes_written,
            since_last_pass: last_pass.map(|(ended, _)| ended.elapsed()),
            last_pass: last_pass.map(|(_, took)| took),
            uncleanable: self
                .state
                .uncleanable(|id| logs.iter().any(|log| log.id() == id)),
        }
    }
}

fn run(number: usize, store: &Weak<LogStore>, state: &Arc<CleanerState>) {
    while state.awaits_turn(number) {
        let checkpoints = state.checkpoints();
        // A store that nobody holds any more is not kept alive by a pass.
        let picked = match store.upgrade() {
            Some(store) => {
                let picked = pick(state, &store.logs());
                if state.asks_for_checkpoint(picked.waits_for_checkpoint) {
                    store.want_checkpoint();
                }
                picked
            }
            None => return,
        };
        let all = || store.upgrade().map_or_else(Vec::new, |store| store.logs());
        let Some(candidate) = picked.candidate else {
            if let Err(error) = catch_up(state, all) {
                tracing::error!(%error, "the cleaner's checkpoint is tried again later");
            }
            state.sleep(number, checkpoints);
            continue;
        };
        let log = Arc::clone(&candidate.log);
        match clean(state, candidate, all) {
            Ok(Some(report)) => {
                tracing::info!(
                    log = %log.id(),
                    cleaned_to = report.cleaned_to,
                    keys = report.keys,
                    before = report.bytes_before,
                    after = report.bytes_after,
                    "a log is compacted"
                );
            }
            Ok(None) => {}
            Err(_) if log.is_over() => {}
            Err(error) => {
                tracing::error!(log = %log.id(), %error, "compaction failed and is tried again later");
            }
        }
    }
}

/// Writes the checkpoint that could not be written after a pass.
fn catch_up(state: &CleanerState, logs: impl Fn() -> Vec<Arc<Log>>) -> Result<(), CheckpointError> {
    match state.is_behind() {
        true => state.write_checkpoint(&logs()),
        false => Ok(()),
    }
}

/// What a look at all logs has found.
struct Picked {
    /// The dirtiest log that is due and that no other thread has.
    candidate: Option<Candidate>,
    /// Some log would be due if it were synced.
    waits_for_checkpoint: bool,
}

fn pick(state: &CleanerState, logs: &[Arc<Log>]) -> Picked {
    let mut waits_for_checkpoint = false;
    loop {
        let candidates = logs
            .iter()
            .filter(|log| log.config().cleanup.compact && !log.is_over())
            .filter(|log| state.is_free(log.id()))
            .filter_map(|log| match look_at(log, log.now_ms()) {
                Ok(candidate) => candidate.filter(|one| {
                    waits_for_checkpoint |= one.waits_for_checkpoint;
                    is_due(state, one)
                }),
                Err(error) => {
                    tracing::error!(log = %log.id(), %error, "its segments cannot be looked at");
                    state.failed(log.id(), &error);
                    None
                }
            })
            .collect();
        let candidate = dirtiest(candidates);
        if candidate
            .as_ref()
            .is_none_or(|one| state.begin(one.log.id()))
        {
            return Picked {
                candidate,
                waits_for_checkpoint,
            };
        }
    }
}

/// A log that is not due any more is not uncleanable either, once all that failed is done.
fn is_due(state: &CleanerState, candidate: &Candidate) -> bool {
    if candidate.portions.is_due {
        return true;
    }
    let log = &candidate.log;
    if state.has_failed(log.id()) {
        match finish_swap(log) {
            Ok(()) => state.forgive(log.id()),
            Err(error) => state.failed(log.id(), &error),
        }
    }
    false
}

fn look_at(log: &Arc<Log>, now_ms: i64) -> Result<Option<Candidate>, CleanError> {
    without_panic(log.id(), || {
        Candidate::of(log, now_ms).map_err(|error| CleanError::io("looking at", log.dir(), error))
    })
}

/// Runs a pass; none when it was abandoned.
fn clean(
    state: &CleanerState,
    candidate: Candidate,
    logs: impl Fn() -> Vec<Arc<Log>>,
) -> Result<Option<PassReport>, CleanError> {
    let began = Instant::now();
    let id = candidate.log.id().clone();
    let result = without_panic(&id, || {
        let report = run_pass(state, &candidate)?;
        if let Some(report) = &report {
            state.count(report, began.elapsed().max(Duration::from_nanos(1)));
            failpoint::hit("cleaner.before_checkpoint");
            state.write_checkpoint(&logs())?;
        }
        Ok(report)
    });
    state.end(&id, &result);
    result
}

/// A panic over one log is that log's failure; the thread has others. What it leaves half done is ended by the next
/// pass, and swaps by the store before that.
fn without_panic<T>(
    id: &LogId,
    work: impl FnOnce() -> Result<T, CleanError>,
) -> Result<T, CleanError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(CleanError::Panicked {
            partition: id.to_string(),
            message: text.unwrap_or("without a message").to_owned(),
        })
    })
}

fn run_pass(state: &CleanerState, candidate: &Candidate) -> Result<Option<PassReport>, CleanError> {
    let (log, view) = (&*candidate.log, &candidate.view);
    let _cleaning = log.begin_cleaning();
    let pace = |bytes| state.pace(bytes, || !log.is_cut_since(view));
    if !pace(0) {
        return Ok(None);
    }
    let options = state.options();
    let block_bytes = options.io_buffer_bytes / options.thread_count() as u64 / 2;
    let block_bytes = block_bytes.clamp(BLOCK_BYTES_MIN, BLOCK_BYTES_MAX);
    let pass = Pass {
        log,
        view,
        limits: PassLimits {
            map_bytes: options.map_bytes_per_thread(),
            load_factor: options.io_buffer_load_factor.clamp(0.01, 1.0),
            block_bytes: usize::try_from(block_bytes).unwrap_or(usize::MAX),
        },
        pace: &pace,
        now_ms: log.now_ms(),
        buffer: Buffer::default(),
        report: PassReport::default(),
    };
    match pass.run(&candidate.portions, &candidate.facts) {
        Ok(report) => Ok(Some(report)),
        Err(PassEnd::Abandoned) => Ok(None),
        Err(PassEnd::Failed(error)) => Err(error),
    }
}
