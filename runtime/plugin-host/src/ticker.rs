//! One thread that advances the engine's epoch every few milliseconds while guests run, and sleeps when none does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::limits::TICK_MS;

/// Ticks without a running guest before the thread sleeps. Waking it costs a system call, so that a plugin that is
/// called a thousand times a second should not pay for it each time.
const IDLE_TICKS_MAX: u32 = 20;

#[derive(Debug)]
pub struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Guests that are inside a call.
    running: AtomicUsize,
    asleep: AtomicBool,
    stop: Mutex<bool>,
    wake: Condvar,
}

/// While this lives, the epoch advances.
#[derive(Debug)]
pub struct Running(Arc<Shared>);

impl Ticker {
    /// Starts the thread; it ends with the ticker.
    pub fn start(engine: wasmtime::Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("plugin-epoch".to_owned())
            .spawn(move || for_thread.tick_until_stopped(&engine))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// A guest starts to run.
    pub fn running(&self) -> Running {
        let shared = Arc::clone(&self.shared);
        shared.running.fetch_add(1, SeqCst);
        if shared.asleep.load(SeqCst) {
            let _stop = shared.stop.lock();
            shared.wake.notify_one();
        }
        Running(shared)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, SeqCst);
    }
}

impl Shared {
    fn tick_until_stopped(&self, engine: &wasmtime::Engine) {
        let mut idle_ticks = 0;
        let mut stop = self.stop.lock();
        while !*stop {
            if idle_ticks < IDLE_TICKS_MAX {
                self.wake
                    .wait_for(&mut stop, Duration::from_millis(TICK_MS));
            } else {
                // Say that we sleep, then look once more: `running` counts first and looks at `asleep` second, so
                // one of the two sees the other.
                self.asleep.store(true, SeqCst);
                if self.running.load(SeqCst) == 0 {
                    self.wake.wait(&mut stop);
                }
                self.asleep.store(false, SeqCst);
            }
            engine.increment_epoch();
            idle_ticks = if self.running.load(SeqCst) == 0 {
                idle_ticks + 1
            } else {
                0
            };
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        *self.shared.stop.lock() = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            // The thread does nothing that can panic; there is nobody to tell if it did.
            let _ = thread.join();
        }
    }
}
