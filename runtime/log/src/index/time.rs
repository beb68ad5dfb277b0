//! `.timeindex`: the greatest timestamp so far. `i64 timestamp, i32 relative offset`; both rise.

use std::io;

use bytes::{Buf, BufMut};

use super::{EntryFile, IndexEntry};

/// One entry: up to the batch that ends with this offset, no timestamp is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeEntry {
    pub(crate) timestamp: i64,
    pub(crate) relative_offset: i32,
}

impl IndexEntry for TimeEntry {
    const BYTES: usize = 12;

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_i64(self.timestamp);
        out.put_i32(self.relative_offset);
    }

    fn decode(mut bytes: &[u8]) -> Self {
        Self {
            timestamp: bytes.get_i64(),
            relative_offset: bytes.get_i32(),
        }
    }
}

impl EntryFile<TimeEntry> {
    /// Adds the entry if its timestamp is a new greatest one.
    pub(crate) fn push_if_later(&mut self, entry: TimeEntry) -> io::Result<()> {
        let rises = self.last()?.is_none_or(|last| {
            entry.timestamp > last.timestamp && entry.relative_offset >= last.relative_offset
        });
        if rises {
            self.push(entry);
        }
        Ok(())
    }

    /// The relative offset from which on a search for `timestamp` has to look; none: from the start.
    pub(crate) fn offset_before(&self, timestamp: i64) -> io::Result<Option<i32>> {
        let after = self.partition_point(|entry| entry.timestamp < timestamp)?;
        let Some(index) = after.checked_sub(1) else {
            return Ok(None);
        };
        Ok(self.get(index)?.map(|entry| entry.relative_offset))
    }
}
