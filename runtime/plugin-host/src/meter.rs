//! Measures the guest's own CPU over one call, which may be polled on several threads and may yield in between.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::thread_cpu::thread_cpu_ns;

/// CPU used by the present call. Only the thread that polls the call writes it.
#[derive(Debug, Default)]
pub struct Meter {
    /// Nanoseconds of the polls that have ended.
    finished_ns: AtomicU64,
    /// The polling thread's CPU clock when the present poll began.
    poll_began_ns: AtomicU64,
}

impl Meter {
    /// Runs `call`, counting the CPU of its polls from zero.
    pub async fn run<F: Future>(&self, call: F) -> F::Output {
        self.finished_ns.store(0, Relaxed);
        let mut call = pin!(call);
        poll_fn(|context| {
            let began = thread_cpu_ns();
            self.poll_began_ns.store(began, Relaxed);
            let outcome = call.as_mut().poll(context);
            let spent = thread_cpu_ns().saturating_sub(began);
            self.finished_ns.fetch_add(spent, Relaxed);
            outcome
        })
        .await
    }

    /// CPU of the call up to now. To be called from inside the call's poll, on the polling thread.
    pub fn used_within_poll(&self) -> Duration {
        let present = thread_cpu_ns().saturating_sub(self.poll_began_ns.load(Relaxed));
        Duration::from_nanos(self.finished_ns.load(Relaxed).saturating_add(present))
    }

    /// CPU of the call after it ended.
    pub fn used(&self) -> Duration {
        Duration::from_nanos(self.finished_ns.load(Relaxed))
    }
}
