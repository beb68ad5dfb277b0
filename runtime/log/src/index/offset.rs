//! `.index`: where batches lie. `i32 relative offset, i32 position`; the offset is the *last* of the batch there.

use std::io;

use bytes::{Buf, BufMut};

use super::{EntryFile, IndexEntry};

/// One entry: the batch at `position` ends with this offset, counted from the segment's base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OffsetEntry {
    pub(crate) relative_offset: i32,
    pub(crate) position: i32,
}

impl IndexEntry for OffsetEntry {
    const BYTES: usize = 8;

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_i32(self.relative_offset);
        out.put_i32(self.position);
    }

    fn decode(mut bytes: &[u8]) -> Self {
        Self {
            relative_offset: bytes.get_i32(),
            position: bytes.get_i32(),
        }
    }
}

impl EntryFile<OffsetEntry> {
    /// How many entries are not behind the batch with `relative_offset`.
    fn count_before(&self, relative_offset: i64) -> io::Result<usize> {
        self.partition_point(|entry| i64::from(entry.relative_offset) <= relative_offset)
    }

    /// An indexed batch that is not behind the one with `relative_offset`, if one is indexed.
    pub(crate) fn entry_before(&self, relative_offset: i64) -> io::Result<Option<OffsetEntry>> {
        match self.count_before(relative_offset)?.checked_sub(1) {
            Some(index) => self.get(index),
            None => Ok(None),
        }
    }

    /// That entry and those that follow it, `count` at most.
    pub(crate) fn entries_around(
        &self,
        relative_offset: i64,
        count: usize,
    ) -> io::Result<Vec<OffsetEntry>> {
        let first = self.count_before(relative_offset)?.saturating_sub(1);
        self.range(first, count)
    }
}
