//! A clock that stands until a test moves it.

use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::Clock;

/// A clock that stands until a test moves it.
#[derive(Debug)]
pub struct ManualClock {
    start_ms: i64,
    now: Mutex<(i64, Duration)>,
}

impl ManualClock {
    /// A clock that shows this many milliseconds since 1970.
    pub fn new(now_ms: i64) -> Self {
        Self {
            start_ms: now_ms,
            now: Mutex::new((now_ms, Duration::ZERO)),
        }
    }

    /// Moves both times forward.
    pub fn advance(&self, time: Duration) {
        let mut now = self.now.lock();
        now.0 += i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        now.1 += time;
    }

    /// Lets time pass without the date, as when a time server holds the date back.
    pub fn advance_monotonic(&self, time: Duration) {
        self.now.lock().1 += time;
    }

    /// Sets the date alone, as an administrator might, also backwards.
    pub fn set_date(&self, now_ms: i64) {
        self.now.lock().0 = now_ms;
    }

    /// What it showed at first.
    pub fn start_ms(&self) -> i64 {
        self.start_ms
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> i64 {
        self.now.lock().0
    }

    fn monotonic(&self) -> Duration {
        self.now.lock().1
    }
}
