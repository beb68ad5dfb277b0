//! What the cleaner says of itself.

use std::time::Duration;

/// The cleaner at one moment. Names in parentheses are Kafka's.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CleanerMetrics {
    /// Of each log that is compacted, the dirty part of what a pass would read now, in percent (`percentDirty`).
    pub dirty: Vec<DirtyLog>,
    /// The greatest of them; 0 without any (`max-dirty-percent`).
    pub max_dirty_percent: f64,
    /// The part of their time that the threads have slept in the last minute or two, 0 to 1 (`cleanerIdleRatio`).
    pub idle_ratio: f64,
    /// Threads that run.
    pub threads: usize,
    /// Passes since the store was opened that came to their end.
    pub passes: u64,
    /// Bytes that passes have read since then, for the offset map and for the copy.
    pub bytes_read: u64,
    pub bytes_written: u64,
    /// Since the last pass of any log ended; none when there was none (`time-since-last-run-ms`).
    pub since_last_pass: Option<Duration>,
    /// How long the last pass took.
    pub last_pass: Option<Duration>,
    /// Logs whose last pass failed (`uncleanable-partitions-count`).
    pub uncleanable: Vec<UncleanableLog>,
}

/// How dirty a log is.
#[derive(Debug, Clone, PartialEq)]
pub struct DirtyLog {
    pub topic: String,
    pub partition: i32,
    pub percent: f64,
}

/// A log whose last pass failed. It is tried again after a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UncleanableLog {
    pub topic: String,
    pub partition: i32,
    pub reason: String,
}
