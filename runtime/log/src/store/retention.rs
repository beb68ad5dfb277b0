//! Retention over all logs of a store, and the files of deleted segments.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;

use super::{LogStore, StoreError};
use crate::log::Log;

impl LogStore {
    /// Applies `retention.ms`, `retention.bytes` and the logs' starts to all logs, and takes the segments that are
    /// wanted no more out of them; their files go after `file.delete.delay.ms`. Runs in the background by itself, every
    /// [`LogStore::retention_check_interval_ms`].
    ///
    /// # Errors
    /// Those of the checkpoint that comes before anything goes. What is wrong with a single log is logged, and tried
    /// again the next time.
    pub fn apply_retention(&self) -> Result<(), StoreError> {
        self.check_usable()?;
        let logs = self.sorted_logs();
        let mut waits = false;
        for log in &logs {
            match log.apply_retention() {
                Ok(has_unwanted) => waits |= has_unwanted,
                Err(_) if log.is_over() => {}
                Err(error) => {
                    tracing::warn!(log = %log.id(), %error, "retention is tried again later");
                }
            }
        }
        if !waits {
            return Ok(());
        }
        // Recovery must neither look for what is gone nor find it again.
        self.checkpoint()?;
        for log in &logs {
            drop_segments(log);
        }
        Ok(())
    }

    /// Goes on where a segment of a log was replaced and a file could not be renamed. Runs in the background by itself.
    pub fn finish_replacing(&self) {
        let waiting: Vec<_> = self.shared.half_done.lock().iter().copied().collect();
        for key in waiting {
            let Some(log) = self.get(&key.0, key.1) else {
                // It was deleted, its directory is gone.
                self.shared.half_done.lock().remove(&key);
                continue;
            };
            match log.finish_replacing() {
                Ok(false) => {}
                Ok(true) => {
                    tracing::info!(log = %log.id(), "all files of replaced segments have their names");
                    self.cleaner.forgive(&log);
                }
                // It was told when it failed first.
                Err(error) => {
                    tracing::debug!(log = %log.id(), %error, "files of replaced segments keep other names");
                }
            }
        }
    }

    /// Removes the files of deleted segments whose time has come. Runs in the background by itself.
    pub fn remove_deleted_files(&self) {
        let now = self.shared.clock.monotonic();
        self.shared
            .deferred
            .remove_due(now, &self.shared.open_files);
    }

    /// Changes whenever records have left the front of a log, by retention or by DeleteRecords.
    pub fn log_start_moves(&self) -> watch::Receiver<u64> {
        self.shared.log_start_moves()
    }

    /// `log.retention.check.interval.ms`
    pub fn retention_check_interval_ms(&self) -> u64 {
        self.retention_check_interval_ms.load(Ordering::Relaxed)
    }

    /// Changes the interval; it counts from the last check on.
    pub fn set_retention_check_interval_ms(&self, interval_ms: u64) {
        self.retention_check_interval_ms
            .store(interval_ms, Ordering::Relaxed);
    }

    pub(super) fn retention_check_interval(&self) -> Duration {
        Duration::from_millis(self.retention_check_interval_ms())
    }
}

fn drop_segments(log: &Log) {
    match log.drop_segments_below_start() {
        Ok(0) => {}
        Ok(count) => {
            tracing::info!(log = %log.id(), count, log_start = log.offsets().log_start, "segments are deleted");
        }
        Err(error) if log.is_over() => {
            tracing::debug!(log = %log.id(), %error, "the log is closed or deleted");
        }
        Err(error) => {
            tracing::warn!(log = %log.id(), %error, "files of deleted segments could not be renamed");
        }
    }
}
