//! The journal's entries, applied to a log that was cut to its recovery point.
//!
//! What they add is written over what the segment's file still has there, many batches at a time,
//! and the rest of the file is cut off at the end: the file system has no blocks to give back and
//! to find again.

use std::io;
use std::sync::Arc;

use millstream_records::batches;

use super::cut::Cut;
use super::replay::{indexed, marker_in};
use super::{Appender, Log, index_limits};
use crate::LogConfig;
use crate::journal::Lsn;
use crate::segment::{Incoming, ScannedBatch, Segment};
use crate::store::StoreError;

/// Batches are written when so many bytes of them have come together.
const UNWRITTEN_BYTES_MAX: usize = 256 << 10;

/// An entry of the journal, as its log sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum RedoEntry<'a> {
    Append { base_offset: i64, bytes: &'a [u8] },
    Change(RedoChange),
}

/// An entry of the journal that takes records away.
#[derive(Debug, Clone, Copy)]
pub(crate) enum RedoChange {
    Truncate { to: i64 },
    Reset { to: i64 },
    LogStart { to: i64 },
}

/// Batches of the active segment that are part of it already and not yet in its file.
#[derive(Debug, Default)]
struct Unwritten {
    position: u64,
    bytes: Vec<u8>,
}

impl Unwritten {
    fn push(&mut self, segment: &Segment, position: u64, bytes: &[u8]) -> io::Result<()> {
        if self.bytes.len() + bytes.len() > UNWRITTEN_BYTES_MAX {
            self.write(segment)?;
        }
        if self.bytes.is_empty() {
            self.position = position;
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn write(&mut self, segment: &Segment) -> io::Result<()> {
        if !self.bytes.is_empty() {
            segment.write_at(&self.bytes, self.position)?;
            self.bytes.clear();
        }
        Ok(())
    }
}

impl Log {
    /// Applies entries of the journal, in their order; those that the log has already are left out. Returns how many
    /// changed something.
    pub(crate) fn redo<'a>(
        &self,
        entries: impl IntoIterator<Item = (Lsn, RedoEntry<'a>)>,
    ) -> Result<u64, StoreError> {
        let mut appender = self.appender.lock();
        let config = self.config();
        let io = |source| StoreError::io("redoing the journal into", &self.dir, source);
        let mut unwritten = Unwritten::default();
        let mut applied = 0;
        for (lsn, entry) in entries {
            if lsn <= appender.last_lsn {
                continue;
            }
            match entry {
                RedoEntry::Append { base_offset, bytes } => {
                    if base_offset < appender.log_end {
                        unwritten.write(&appender.active).map_err(io)?;
                        // The cut is this entry's; all before it are in what it leaves.
                        let before = Lsn(lsn.0.saturating_sub(1));
                        self.plan_cut(&appender, base_offset)
                            .and_then(|cut| self.redo_cut(&mut appender, cut, before))
                            .map_err(io)?;
                    }
                    if base_offset != appender.log_end {
                        return Err(StoreError::Gap {
                            log: self.id.to_string(),
                            lsn,
                            log_end: appender.log_end,
                            base_offset,
                        });
                    }
                    self.redo_batches(&mut appender, &mut unwritten, &config, bytes)
                        .map_err(io)?;
                }
                RedoEntry::Change(change) => {
                    unwritten.write(&appender.active).map_err(io)?;
                    self.redo_change(&mut appender, change, lsn).map_err(io)?;
                }
            }
            appender.last_lsn = lsn;
            appender.dirty = true;
            appender.touched = true;
            applied += 1;
        }
        unwritten.write(&appender.active).map_err(io)?;
        Ok(applied)
    }

    fn redo_batches(
        &self,
        appender: &mut Appender,
        unwritten: &mut Unwritten,
        config: &LogConfig,
        bytes: &[u8],
    ) -> io::Result<()> {
        let invalid = |error: millstream_records::BatchError| {
            io::Error::new(io::ErrorKind::InvalidData, error)
        };
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
                .should_roll(&incoming, index_limits(config))?
            {
                unwritten.write(&appender.active)?;
                self.trim_if_needed(appender)?;
                self.roll(appender);
            }
            let active = Arc::clone(&appender.active);
            if active.mark_unsynced() {
                appender.unsynced.push(Arc::clone(&active));
            }
            appender.names_changed |= active.size() == 0;
            let scanned = ScannedBatch {
                position: active.size(),
                header,
            };
            unwritten.push(&active, scanned.position, batch.bytes())?;
            let marker = marker_in(&batch).map_err(invalid)?;
            self.take_in(appender, &active, &scanned, marker);
            active.publish(&[indexed(&scanned)], index_limits(config));
        }
        appender.epochs_changed = true;
        Ok(())
    }

    fn redo_change(&self, appender: &mut Appender, change: RedoChange, lsn: Lsn) -> io::Result<()> {
        match change {
            RedoChange::Truncate { to } if to >= appender.log_end => Ok(()),
            RedoChange::Truncate { to } => {
                let cut = self.plan_cut(appender, to)?;
                self.redo_cut(appender, cut, lsn)
            }
            RedoChange::Reset { to } => self.redo_cut(appender, Cut::All { to }, lsn),
            RedoChange::LogStart { to } => {
                let to = to.min(appender.log_end);
                if to > appender.log_start {
                    appender.log_start = to;
                    appender.epochs_changed |= appender.epochs.advance_start(to);
                }
                Ok(())
            }
        }
    }

    /// Ends the recovery of this log: what its files have behind its end goes, and readers and appends may come.
    pub(crate) fn finish_recovery(&self) -> Result<(), StoreError> {
        self.trim_if_needed(&mut self.appender.lock())
            .map_err(|source| StoreError::io("cutting the end of", &self.dir, source))?;
        self.settle();
        Ok(())
    }

    /// Cuts off what the active segment's file has behind the last batch, when something is there.
    pub(super) fn trim_if_needed(&self, appender: &mut Appender) -> io::Result<()> {
        if appender.trim_needed {
            appender.active.trim()?;
            appender.trim_needed = false;
        }
        Ok(())
    }
}
