//! The background thread of a store: when checkpoints are taken, retention is applied and deleted files go.

use std::sync::Arc;
use std::sync::Weak;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::LogStore;

/// How often the thread looks whether the journal is full and waits for a checkpoint to make room, whether files of
/// deleted segments are to be removed, and whether retention is due.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// When retention comes first at the latest.
const FIRST_RETENTION: Duration = Duration::from_secs(30);

/// The thread, and how to wake and stop it.
#[derive(Debug, Default)]
pub(super) struct Worker {
    signal: Arc<Signal>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
pub(super) struct Signal {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    wants_checkpoint: bool,
    wants_checkpoint_soon: bool,
    stops: bool,
}

impl Signal {
    /// Asks for a checkpoint soon.
    pub(super) fn want_checkpoint(&self) {
        self.state.lock().wants_checkpoint = true;
        self.changed.notify_one();
    }

    /// Asks for a checkpoint at the next look, however many ask.
    pub(super) fn want_checkpoint_soon(&self) {
        self.state.lock().wants_checkpoint_soon = true;
    }

    /// Waits until a checkpoint is wanted or `until` has come; false when the thread has to stop.
    fn wait(&self, until: Instant) -> bool {
        let mut state = self.state.lock();
        while !state.stops && !state.wants_checkpoint {
            if self.changed.wait_until(&mut state, until).timed_out() {
                break;
            }
        }
        !state.stops
    }

    fn take_wish(&self) -> bool {
        let mut state = self.state.lock();
        let wants_one = state.wants_checkpoint || state.wants_checkpoint_soon;
        (state.wants_checkpoint, state.wants_checkpoint_soon) = (false, false);
        wants_one
    }
}

impl Worker {
    pub(super) fn signal(&self) -> &Arc<Signal> {
        &self.signal
    }

    pub(super) fn start(&self, store: Weak<LogStore>, interval: Duration) -> std::io::Result<()> {
        let signal = Arc::clone(&self.signal);
        let thread = thread::Builder::new()
            .name("log-checkpoint".to_owned())
            .spawn(move || run(&store, &signal, interval))?;
        *self.thread.lock() = Some(thread);
        Ok(())
    }

    /// Stops the thread and waits for it.
    pub(super) fn stop(&self) {
        self.signal.state.lock().stops = true;
        self.signal.changed.notify_all();
        if let Some(thread) = self.thread.lock().take()
            && thread.thread().id() != thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

fn run(store: &Weak<LogStore>, signal: &Signal, interval: Duration) {
    let mut last = Instant::now();
    let (mut last_retention, mut last_sweep) = (last, last);
    let mut longest_wait = FIRST_RETENTION;
    loop {
        let due = last + interval;
        if !signal.wait(due.min(Instant::now() + LOOK_EVERY)) {
            return;
        }
        let Some(store) = store.upgrade() else { return };
        store.finish_replacing();
        store.remove_deleted_files();
        if last_retention.elapsed() >= store.retention_check_interval().min(longest_wait) {
            if let Err(error) = store.apply_retention() {
                tracing::error!(%error, "retention failed, nothing is deleted");
            }
            last_retention = Instant::now();
            longest_wait = Duration::MAX;
        }
        let is_due = Instant::now() >= due;
        if !signal.take_wish() && !is_due && !store.journal_is_full() {
            continue;
        }
        // Who asks for checkpoints in between does not keep idle files open.
        if last_sweep.elapsed() >= interval {
            store.sweep();
            last_sweep = Instant::now();
        }
        if let Err(error) = store.checkpoint() {
            tracing::error!(%error, "the checkpoint failed; the journal keeps what it covers");
        }
        last = Instant::now();
    }
}
