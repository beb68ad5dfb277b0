//! Ending the active segment and beginning the next.

use std::io;
use std::sync::Arc;

use super::append::Incomer;
use super::{AppendError, Appender, Log, index_limits};
use crate::LogConfig;
use crate::failpoint;
use crate::fs::OpenMode;
use crate::producer_state::ProducerStates;
use crate::segment::{Incoming, Segment, SegmentFile, SegmentSizes, path_of};

impl Log {
    /// Rolls when the incoming batches do not belong into the active segment.
    pub(super) fn roll_if_needed(
        &self,
        appender: &mut Appender,
        bytes: usize,
        incomers: &[Incomer],
        config: &LogConfig,
        now_ms: i64,
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
            roll_after_ms: self.roll_after_ms(config, appender.active.base_offset()),
            now_ms,
        };
        // Whatever is added to an index rests on what it says already.
        let should_roll = self
            .check_active_indexes(appender)
            .and_then(|()| appender.active.should_roll(&incoming, index_limits(config)))
            .map_err(|error| AppendError::write(appender.active.path(), error))?;
        if should_roll {
            self.roll(appender);
        }
        Ok(())
    }

    /// The age at which the segment at `base_offset` is ended: `segment.ms`, in a compacted log at most
    /// `max.compaction.lag.ms`, less a part of `segment.jitter.ms` that is the segment's own.
    pub(super) fn roll_after_ms(&self, config: &LogConfig, base_offset: i64) -> i64 {
        let mut after_ms = config.segment_ms;
        if config.cleanup.compact && config.max_compaction_lag_ms > 0 {
            after_ms = after_ms.min(config.max_compaction_lag_ms);
        }
        let jitter_max = config.segment_jitter_ms.min(config.segment_ms);
        match u64::try_from(jitter_max) {
            Ok(max @ 1..) => after_ms.saturating_sub_unsigned(self.spread(base_offset) % max),
            _ => after_ms,
        }
    }

    /// A number that looks random, is the same for the same segment after a restart, and another one for other logs.
    fn spread(&self, base_offset: i64) -> u64 {
        let (high, low) = self.id.topic_id.as_u64_pair();
        let mut bytes = Vec::with_capacity(28);
        bytes.extend(high.to_be_bytes());
        bytes.extend(low.to_be_bytes());
        bytes.extend(self.id.partition.to_be_bytes());
        bytes.extend(base_offset.to_be_bytes());
        let forward = crc32c::crc32c(&bytes);
        bytes.reverse();
        u64::from(forward) << 32 | u64::from(crc32c::crc32c(&bytes))
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
        let sealed = self.check_active_indexes(appender).and_then(|()| {
            let end = Some(appender.log_end);
            appender.active.seal(&*self.shared.fs, end)
        });
        if let Err(error) = sealed {
            tracing::warn!(path = %appender.active.path().display(), %error, "indexes are not complete yet");
        }
        // It may have been rolled before, and cut since.
        self.shared.places.forget(appender.active.id());
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

    /// Gives a segment that gets its first batch its room, if the log's settings say so.
    pub(super) fn preallocate(&self, active: &Segment) -> io::Result<()> {
        if active.size() > 0 {
            return Ok(());
        }
        let config = self.config();
        match config.preallocate {
            true => active.preallocate(u64::from(config.segment_bytes)),
            false => Ok(()),
        }
    }

    /// Writes the producers' state as a `.snapshot` at the log end.
    pub(super) fn write_snapshot(&self, appender: &mut Appender) {
        appender.names_changed = true;
        if let Err(error) = self.write_states(appender.log_end, &appender.producers) {
            tracing::warn!(log = %self.id, %error, "the producer snapshot is left out");
        }
    }

    pub(super) fn write_states(&self, offset: i64, states: &ProducerStates) -> io::Result<()> {
        let path = path_of(&self.dir, offset, SegmentFile::ProducerSnapshot);
        let bytes = states.to_snapshot();
        let file = self.shared.fs.open(&path, OpenMode::Create)?;
        file.set_len(bytes.len() as u64)?;
        file.write_at(&bytes, 0)
    }
}
