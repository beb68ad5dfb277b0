//! `.txnindex`: aborted transactions. `i16 version 0, i64 producer id, i64 first offset, i64 last offset, i64 last
//! stable offset`; last offsets (those of the abort markers) rise. The file exists from the first abort on.

use std::io;

use bytes::{Buf, BufMut};

use super::{EntryFile, IndexEntry};

/// Of an entry.
pub(crate) const ABORTED_VERSION: i16 = 0;
/// Entries that a search reads at once.
const BATCH: usize = 128;

/// A transaction whose records a `read_committed` reader must leave out, until its abort marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AbortedTxn {
    pub producer_id: i64,
    pub first_offset: i64,
}

/// One entry of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AbortedEntry {
    pub(crate) producer_id: i64,
    pub(crate) first_offset: i64,
    /// Of the abort marker.
    pub(crate) last_offset: i64,
    /// The log's last stable offset right after the marker: no later entry begins below it.
    pub(crate) last_stable: i64,
}

impl IndexEntry for AbortedEntry {
    const BYTES: usize = 34;

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_i16(ABORTED_VERSION);
        out.put_i64(self.producer_id);
        out.put_i64(self.first_offset);
        out.put_i64(self.last_offset);
        out.put_i64(self.last_stable);
    }

    fn decode(mut bytes: &[u8]) -> Self {
        bytes.advance(2);
        Self {
            producer_id: bytes.get_i64(),
            first_offset: bytes.get_i64(),
            last_offset: bytes.get_i64(),
            last_stable: bytes.get_i64(),
        }
    }
}

impl EntryFile<AbortedEntry> {
    /// Adds the aborted transactions that touch `from..to` to `found`. True when no later segment can add more.
    pub(crate) fn collect(
        &self,
        from: i64,
        to: i64,
        found: &mut Vec<AbortedTxn>,
    ) -> io::Result<bool> {
        let mut index = self.partition_point(|entry| entry.last_offset < from)?;
        while index < self.len() {
            let entries = self.range(index, BATCH)?;
            if entries.is_empty() {
                break;
            }
            index += entries.len();
            for entry in entries {
                if entry.first_offset < to {
                    found.push(AbortedTxn {
                        producer_id: entry.producer_id,
                        first_offset: entry.first_offset,
                    });
                }
                if entry.last_stable >= to {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}
