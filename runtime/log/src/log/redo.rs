//! The journal's entries, applied to a log that was cut to its recovery point.

use std::io;
use std::sync::Arc;

use millstream_records::batches;

use super::replay::{indexed, marker_in};
use super::{Appender, Log, index_limits};
use crate::journal::Lsn;
use crate::segment::{Incoming, ScannedBatch};
use crate::store::StoreError;

/// An entry of the journal that takes records away.
#[derive(Debug, Clone, Copy)]
pub(crate) enum RedoChange {
    Truncate { to: i64 },
    Reset { to: i64 },
    LogStart { to: i64 },
}

impl Log {
    /// Applies an append of the journal: what lies at or behind its offset goes first.
    pub(crate) fn redo_append(
        &self,
        lsn: Lsn,
        base_offset: i64,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        let mut appender = self.appender.lock();
        if lsn <= appender.last_lsn {
            return Ok(());
        }
        let io = |source| StoreError::io("redoing the journal into", &self.dir, source);
        if base_offset < appender.log_end {
            self.cut_to(&mut appender, base_offset).map_err(io)?;
        }
        if base_offset != appender.log_end {
            return Err(StoreError::Gap {
                log: self.id.to_string(),
                lsn,
                log_end: appender.log_end,
                base_offset,
            });
        }
        self.redo_batches(&mut appender, bytes).map_err(io)?;
        appender.last_lsn = lsn;
        Ok(())
    }

    fn redo_batches(&self, appender: &mut Appender, bytes: &[u8]) -> io::Result<()> {
        let invalid = |error: millstream_records::BatchError| {
            io::Error::new(io::ErrorKind::InvalidData, error)
        };
        let config = self.config();
        for batch in batches(bytes) {
            let batch = batch.map_err(invalid)?;
            let header = *batch.header();
            let incoming = Incoming {
                bytes: batch.bytes().len() as u64,
                last_offset: header.last_offset(),
                max_timestamp: header.max_timestamp,
                segment_bytes: config.segment_bytes,
                roll_after_ms: i64::MAX,
                now_ms: 0,
            };
            if appender
                .active
                .should_roll(&incoming, index_limits(&config))?
            {
                self.roll(appender);
            }
            let active = Arc::clone(&appender.active);
            if active.mark_unsynced() {
                appender.unsynced.push(Arc::clone(&active));
            }
            appender.names_changed |= active.size() == 0;
            active.write(batch.bytes())?;
            let scanned = ScannedBatch {
                position: active.size(),
                header,
            };
            let marker = marker_in(&batch).map_err(invalid)?;
            self.take_in(appender, &active, &scanned, marker);
            active.publish(&[indexed(&scanned)], index_limits(&config));
        }
        appender.epochs_changed = true;
        appender.dirty = true;
        appender.touched = true;
        Ok(())
    }

    /// Applies another change of the journal to the log.
    pub(crate) fn redo_change(&self, lsn: Lsn, change: RedoChange) -> Result<(), StoreError> {
        let mut appender = self.appender.lock();
        if lsn <= appender.last_lsn {
            return Ok(());
        }
        let result = match change {
            RedoChange::Truncate { to } if to >= appender.log_end => Ok(()),
            RedoChange::Truncate { to } => self.cut_to(&mut appender, to),
            RedoChange::Reset { to } => self.clear_to(&mut appender, to),
            RedoChange::LogStart { to } => {
                let to = to.min(appender.log_end);
                if to > appender.log_start {
                    appender.log_start = to;
                    appender.epochs_changed |= appender.epochs.advance_start(to);
                }
                Ok(())
            }
        };
        result.map_err(|source| StoreError::io("redoing the journal into", &self.dir, source))?;
        appender.last_lsn = lsn;
        appender.dirty = true;
        appender.touched = true;
        Ok(())
    }
}
