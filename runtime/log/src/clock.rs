//! Time enters the engine here and nowhere else, so that tests can hold it.

use std::fmt::Debug;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where the engine asks what time it is.
///
/// Time-outs and waits count by the monotonic time. The wall clock, which somebody may set, is for what records carry
/// and for what is kept by their age: retention, expiries, compaction lags, the age at which a segment is rolled.
pub trait Clock: Send + Sync + Debug {
    /// Milliseconds since 1970-01-01 UTC, as Kafka's timestamps count.
    fn now_ms(&self) -> i64;

    /// Time since some fixed moment of this process; it never goes back.
    fn monotonic(&self) -> Duration;

    /// The same in milliseconds.
    fn monotonic_ms(&self) -> i64 {
        i64::try_from(self.monotonic().as_millis()).unwrap_or(i64::MAX)
    }
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
    }

    fn monotonic(&self) -> Duration {
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed()
    }
}
