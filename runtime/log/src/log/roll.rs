//! Ending the active segment and beginning the next.

use std::sync::Arc;

use super::append::Incomer;
use super::{AppendError, Appender, Log, index_limits};
use crate::LogConfig;
use crate::failpoint;
use crate::fs::OpenMode;
use crate::segment::{Incoming, Segment, SegmentFile, SegmentSizes, path_of};

impl Log {
    /// Rolls when the incoming batches do not belong into the active segment.
    pub(super) fn roll_if_needed(
        &self,
        appender: &mut Appender,
        bytes: usize,
        incomers: &[Incomer],
        config: &LogConfig,
    ) -> Result<(), AppendError> {
        let incoming = Incoming {
            bytes: bytes as u64,
            last_offset: incomers.last().map_or(0, |last| last.header.last_offset()),
            max_timestamp: incomers
                .iter()
                .map(|one| one.header.max_timestamp)
                .max()
                .unwrap_or(-1),
            segment_bytes: config.segment_bytes,
            segment_ms: config.segment_ms,
        };
        // Whatever is added to an index rests on what it says already.
        let should_roll = self
            .check_active_indexes(appender)
            .and_then(|()| appender.active.should_roll(&incoming, index_limits(config)))
            .map_err(|error| AppendError::write(appender.active.path().to_owned(), error))?;
        if should_roll {
            self.roll(appender);
        }
        Ok(())
    }

    /// Seals the active segment and begins the next one at the log end.
    pub(super) fn roll(&self, appender: &mut Appender) {
        failpoint::hit("log.before_roll");
        if appender.active.mark_unsynced() {
            let active = Arc::clone(&appender.active);
            appender.unsynced.push(active);
        }
        // Neither an index nor a snapshot is needed for the log to be right, so a full disk does not stop the roll:
        // the next checkpoint writes the rest, or fails.
        let sealed = self
            .check_active_indexes(appender)
            .and_then(|()| appender.active.seal(&*self.shared.fs));
        if let Err(error) = sealed {
            tracing::warn!(path = %appender.active.path().display(), %error, "indexes are not complete yet");
        }
        self.write_snapshot(appender);
        let next = Segment::open(
            &self.shared.open_files,
            &self.dir,
            appender.log_end,
            SegmentSizes::default(),
        );
        let next = Arc::new(next);
        self.segments.write().push(Arc::clone(&next));
        appender.active = next;
    }

    /// Writes the producers' state as a `.snapshot` at the log end.
    pub(super) fn write_snapshot(&self, appender: &mut Appender) {
        let path = path_of(&self.dir, appender.log_end, SegmentFile::ProducerSnapshot);
        let bytes = appender.producers.to_snapshot();
        appender.names_changed = true;
        let written = self
            .shared
            .fs
            .open(&path, OpenMode::Create)
            .and_then(|file| {
                file.set_len(bytes.len() as u64)
                    .and_then(|()| file.write_at(&bytes, 0))
            });
        if let Err(error) = written {
            tracing::warn!(path = %path.display(), %error, "the producer snapshot is left out");
        }
    }
}
