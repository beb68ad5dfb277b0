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
    /// The position of an indexed batch that is not behind the one with `relative_offset`; 0 when none is indexed.
    pub(crate) fn position_before(&self, relative_offset: i64) -> io::Result<u64> {
        let after =
            self.partition_point(|entry| i64::from(entry.relative_offset) <= relative_offset)?;
        let Some(index) = after.checked_sub(1) else {
            return Ok(0);
        };
        let entry = self.get(index)?;
        Ok(entry
            .and_then(|entry| u64::try_from(entry.position).ok())
            .unwrap_or(0))
    }
}
