//! What the node's checkpoint keeps of a log, and the log's part in taking it.

use std::io;
use std::sync::Arc;

use super::{DurablePoint, Life, Log};
use crate::checkpoint::{CheckpointError, EpochStart};
use crate::index::Checksum;
use crate::journal::Lsn;
use crate::producer_state::ProducerStates;
use crate::segment::{IndexSums, Segment};

/// A log at the moment of a checkpoint: all that recovery needs beside the bytes below `recovery_point`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogCheckpoint {
    pub(crate) incarnation: u64,
    /// Everything below is synced.
    pub(crate) recovery_point: i64,
    pub(crate) log_start: i64,
    /// Entries of the journal up to this one are contained.
    pub(crate) lsn: Lsn,
    /// The recovery point in the files: base offset of the active segment, and its size.
    pub(crate) segment_base: i64,
    pub(crate) segment_size: u64,
    /// What of its indexes is synced too. Behind that an index may hold anything after a power cut.
    pub(crate) indexes: IndexSums,
    /// The topic's `segment.bytes`, so that a redo cuts segments as the log did.
    pub(crate) segment_bytes: u32,
    pub(crate) epochs: Vec<EpochStart>,
    /// `ProducerStates::to_checkpoint`
    pub(crate) producers: Vec<u8>,
}

/// What has to be made durable before a [`LogCheckpoint`] is true.
#[derive(Debug)]
pub(crate) struct Unsynced {
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) names_changed: bool,
    /// `leader-epoch-checkpoint` was written.
    pub(crate) epochs_written: bool,
}

impl Log {
    /// Captures the log if it changed since the last time, with what must be synced for it. Index entries and leader
    /// epochs that were in memory only are written.
    pub(crate) fn capture(&self) -> Result<Option<(LogCheckpoint, Unsynced)>, CheckpointError> {
        let mut appender = self.appender.lock();
        if !appender.dirty || appender.life == Life::Deleted {
            return Ok(None);
        }
        let indexes = appender.active.index_sums().unwrap_or_else(|error| {
            let path = appender.active.path();
            tracing::warn!(path = %path.display(), %error, "the next start builds the indexes anew");
            [Checksum::UNKNOWN; 3]
        });
        let mut unsynced = Unsynced {
            segments: std::mem::take(&mut appender.unsynced),
            names_changed: std::mem::take(&mut appender.names_changed),
            epochs_written: false,
        };
        for segment in &unsynced.segments {
            segment.mark_synced();
        }
        let epochs_changed = std::mem::take(&mut appender.epochs_changed);
        // Then the file has them already.
        let announced = appender.epochs.has_announced();
        appender.dirty = false;
        appender.captured_to = appender.captured_to.max(Some(appender.log_end));
        let checkpoint = LogCheckpoint {
            incarnation: self.incarnation,
            recovery_point: appender.log_end,
            log_start: appender.log_start,
            lsn: appender.last_lsn,
            segment_base: appender.active.base_offset(),
            segment_size: appender.active.size(),
            indexes,
            segment_bytes: self.config().segment_bytes,
            epochs: appender.epochs.entries().to_vec(),
            producers: appender.producers.to_checkpoint(),
        };
        drop(appender);
        if epochs_changed {
            let written = match announced {
                true => Ok(()),
                false => self.write_epochs(&checkpoint.epochs),
            };
            match written {
                Ok(()) => unsynced.epochs_written = true,
                Err(error) => {
                    tracing::warn!(log = %self.id, %error, "the leader epochs are written later");
                    self.appender.lock().epochs_changed = true;
                }
            }
        }
        for segment in &unsynced.segments {
            if let Err(source) = segment.write_indexes() {
                let path = segment.path();
                self.capture_again(unsynced);
                return Err(CheckpointError::Io {
                    action: "writing the indexes of",
                    path,
                    source: Arc::new(source),
                });
            }
        }
        Ok(Some((checkpoint, unsynced)))
    }

    /// Whether the next checkpoint has anything to take of this log.
    pub(crate) fn has_unsynced(&self) -> bool {
        self.appender.lock().dirty
    }

    /// The node's checkpoint has this log so.
    pub(crate) fn note_durable(&self, checkpoint: &LogCheckpoint) {
        let mut notes = self.notes.lock();
        let had_notes = !notes.is_empty();
        notes.forget_to(checkpoint.lsn);
        // A cut may have come between the capture and now.
        let cuts = notes.iter().map(|note| note.segment_base);
        *self.durable.lock() = DurablePoint {
            log_start: checkpoint.log_start,
            segment_base: cuts.fold(checkpoint.segment_base, i64::min),
            first_open: self.first_open_in(checkpoint),
        };
        if had_notes && notes.is_empty() {
            self.remove_notes();
        }
    }

    /// Where the first transaction begins whose end a power cut could take back. A journal shows no end that it could.
    fn first_open_in(&self, checkpoint: &LogCheckpoint) -> i64 {
        if self.shared.waits_for_flush() {
            return i64::MAX;
        }
        match ProducerStates::from_checkpoint(&checkpoint.producers) {
            Ok(states) => states.open_transactions().min().unwrap_or(i64::MAX),
            // Then the log does not open either.
            Err(_) => i64::MIN,
        }
    }

    /// Lets the next checkpoint capture this log again, because this one did not come to its end.
    pub(crate) fn capture_again(&self, unsynced: Unsynced) {
        let mut appender = self.appender.lock();
        appender.dirty = true;
        appender.names_changed |= unsynced.names_changed;
        appender.epochs_changed |= unsynced.epochs_written;
        for segment in unsynced.segments {
            if segment.mark_unsynced() {
                appender.unsynced.push(segment);
            }
        }
    }

    /// Takes no more appends; seals indexes and writes the producer snapshot at the log end.
    pub(crate) fn close(&self) {
        let mut appender = self.appender.lock();
        if appender.life != Life::Open {
            return;
        }
        appender.life = Life::Closed;
        if appender.trim_needed {
            appender.trim_needed = appender.active.trim().is_err();
        }
        if appender.active.size() > 0 && (appender.touched || !self.is_sealed(&appender.active)) {
            let sealed = self.check_active_indexes(&appender).and_then(|()| {
                let end = Some(appender.log_end);
                appender.active.seal(&*self.shared.fs, end)
            });
            if let Err(error) = sealed {
                tracing::warn!(path = %appender.active.path().display(), %error, "indexes are not complete");
            }
            if appender.active.mark_unsynced() {
                let active = Arc::clone(&appender.active);
                appender.unsynced.push(active);
            }
            appender.dirty = true;
            self.write_snapshot(&mut appender);
        }
        drop(appender);
        self.progress.watchers.notify();
    }

    /// Whether the next start will believe the indexes of a segment that nobody has written to in this run. One that
    /// this run has not looked at is as the run before has left it.
    fn is_sealed(&self, segment: &Segment) -> bool {
        let fs = &*self.shared.fs;
        let matches = || -> io::Result<bool> {
            match segment.sidecar(fs)? {
                Some(sidecar) if sidecar.log_bytes == segment.size() => {
                    segment.indexes_match(&sidecar)
                }
                _ => Ok(false),
            }
        };
        !segment.indexes_are_trusted() || matches().unwrap_or(false)
    }

    /// Takes no more appends, and forgets what was not synced: the files go.
    pub(crate) fn mark_deleted(&self) {
        let mut appender = self.appender.lock();
        appender.life = Life::Deleted;
        appender.unsynced.clear();
        drop(appender);
        self.progress.watchers.notify();
    }
}
