//! When the active segment ends.

use std::io;
use std::sync::atomic::Ordering;

use super::{IndexLimits, Piece, Segment};
use crate::fs::FileSystem;
use crate::index::{IndexEntry, OffsetEntry, TimeEntry};

/// No append has come since the segment was opened.
pub(super) const NOT_BEGUN: i64 = i64::MIN;

/// What is about to be appended, for the decision to roll.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Incoming {
    pub(crate) bytes: u64,
    pub(crate) last_offset: i64,
    pub(crate) max_timestamp: i64,
    pub(crate) segment_bytes: u32,
    /// Age at which a segment is ended.
    pub(crate) roll_after_ms: i64,
    pub(crate) now_ms: i64,
}

impl Segment {
    /// Whether a batch that ends with `last_offset` and has `max_timestamp` must go to a new segment.
    pub(crate) fn should_roll(&self, incoming: &Incoming, limits: IndexLimits) -> io::Result<bool> {
        let size = self.size();
        if size == 0 {
            self.begun_ms(incoming.now_ms);
            return Ok(false);
        }
        let is_too_large = size + incoming.bytes > u64::from(incoming.segment_bytes);
        if is_too_large || self.relative(incoming.last_offset).is_none() {
            return Ok(true);
        }
        {
            let indexes = self.indexes.read();
            let slots = |entry: usize| (limits.index_bytes as usize / entry).max(1);
            // The time index keeps its last slot for the entry that is made at the roll.
            let is_full = indexes.offset.len() >= slots(OffsetEntry::BYTES)
                || indexes.time.len() + 1 >= slots(TimeEntry::BYTES).max(2);
            if is_full {
                return Ok(true);
            }
        }
        let Some(first) = self.first_timestamp()? else {
            return Ok(false);
        };
        let age = if first >= 0 {
            incoming.max_timestamp.saturating_sub(first)
        } else {
            incoming
                .now_ms
                .saturating_sub(self.begun_ms(incoming.now_ms))
        };
        Ok(age > incoming.roll_after_ms)
    }

    /// When the first append of this run came, for batches that have no timestamp.
    fn begun_ms(&self, now_ms: i64) -> i64 {
        let unset = NOT_BEGUN;
        let relaxed = Ordering::Relaxed;
        match self
            .begun_ms
            .compare_exchange(unset, now_ms, relaxed, relaxed)
        {
            Ok(_) => now_ms,
            Err(begun_ms) => begun_ms,
        }
    }

    /// When the file of batches was last written to.
    pub(crate) fn modified_ms(&self, fs: &dyn FileSystem) -> io::Result<i64> {
        Ok(fs.metadata(&self.path())?.modified_ms)
    }

    /// Dates the file of batches.
    pub(crate) fn set_modified(&self, modified_ms: i64) -> io::Result<()> {
        self.log.get()?.set_modified(modified_ms)
    }

    /// Of the first batch, its greatest one.
    pub(crate) fn first_timestamp(&self) -> io::Result<Option<i64>> {
        if let Some(known) = self.indexes.read().first_timestamp {
            return Ok(known);
        }
        if self.size() == 0 {
            return Ok(None);
        }
        let mut walk = self.walk(0, self.size())?;
        let mut first = None;
        while let Some(piece) = walk.next()? {
            if let Piece::Batch(batch) = piece {
                first = Some(batch.header.max_timestamp);
                break;
            }
        }
        self.indexes.write().first_timestamp = Some(first);
        Ok(first)
    }
}
