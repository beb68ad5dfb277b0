//! Producer state as bytes: Kafka's `.snapshot` files, and the fuller form of our own node checkpoint.
//!
//! ```text
//! .snapshot           at  bytes            entry (46 bytes)
//!                     0   2   version 1    i64 producer id, i16 epoch, i32 last sequence, i64 last offset,
//!                     2   4   CRC-32C of   i32 offset delta, i64 timestamp, i32 coordinator epoch,
//!                             6..end       i64 first offset of the open transaction or -1
//!                     6   4   count
//!                     10  ..  entries
//! ```
//!
//! Kafka's form holds only the last batch of a producer. After a restart a client may still retry any of its last
//! five, so the checkpoint's form holds all of them: `i32 count`, then per producer the fields `i64 id, i16 epoch,
//! i32 coordinator epoch, i64 last timestamp, i64 open transaction or -1, u8 batches` and per batch
//! `i32 last sequence, i64 last offset, i32 offset delta, i64 timestamp`. Its checksum is the checkpoint file's.

use bytes::{Buf, BufMut};

use super::entry::REMEMBERED_BATCHES;
use super::{ProducerEntry, ProducerStates, StoredBatch};

const VERSION: i16 = 1;
const ENTRY_BYTES: usize = 46;
const HEADER_BYTES: usize = 10;
const CRC_AT: usize = 2;
const CRC_START: usize = 6;
/// Least bytes of a producer in the checkpoint's form.
const FULL_ENTRY_BYTES: usize = 31;
const FULL_BATCH_BYTES: usize = 24;

/// A producer snapshot that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    #[error("the producer snapshot ends after {available} bytes, {needed} are needed")]
    TooShort { needed: usize, available: usize },
    #[error("the producer snapshot has version {0}, only 1 is known")]
    Version(i16),
    #[error("the producer snapshot has CRC {computed:#010x}, its header says {stored:#010x}")]
    Crc { stored: u32, computed: u32 },
    #[error("the producer snapshot counts {0} entries, which its length contradicts")]
    Count(i32),
    #[error("producer {producer_id} has the impossible {field} {value} in its snapshot")]
    Field {
        producer_id: i64,
        field: &'static str,
        value: i64,
    },
}

impl ProducerStates {
    /// The bytes of a `.snapshot` file.
    pub(crate) fn to_snapshot(&self) -> Vec<u8> {
        let entries = self.sorted();
        let mut bytes = Vec::with_capacity(HEADER_BYTES + entries.len() * ENTRY_BYTES);
        bytes.put_i16(VERSION);
        bytes.put_u32(0);
        bytes.put_i32(count_of(&entries));
        for entry in entries {
            let (last_offset, offset_delta) = entry
                .last_batch()
                .map_or((-1, 0), |batch| (batch.last_offset, batch.offset_delta));
            bytes.put_i64(entry.producer_id);
            bytes.put_i16(entry.epoch);
            bytes.put_i32(entry.last_sequence());
            bytes.put_i64(last_offset);
            bytes.put_i32(offset_delta);
            bytes.put_i64(entry.last_timestamp);
            bytes.put_i32(entry.coordinator_epoch);
            bytes.put_i64(entry.transaction_first_offset.unwrap_or(-1));
        }
        let crc = crc32c::crc32c(&bytes[CRC_START..]);
        bytes[CRC_AT..CRC_START].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    /// Decodes a `.snapshot` file.
    pub(crate) fn from_snapshot(bytes: &[u8]) -> Result<Self, SnapshotError> {
        need(bytes, HEADER_BYTES)?;
        let mut rest = bytes;
        let version = rest.get_i16();
        if version != VERSION {
            return Err(SnapshotError::Version(version));
        }
        let stored = rest.get_u32();
        let computed = crc32c::crc32c(&bytes[CRC_START..]);
        if stored != computed {
            return Err(SnapshotError::Crc { stored, computed });
        }
        let count = rest.get_i32();
        if usize::try_from(count)
            .ok()
            .and_then(|count| count.checked_mul(ENTRY_BYTES))
            != Some(rest.len())
        {
            return Err(SnapshotError::Count(count));
        }
        let mut states = Self::default();
        while !rest.is_empty() {
            let mut entry = ProducerEntry::new(rest.get_i64());
            entry.set_epoch(rest.get_i16());
            let last_sequence = rest.get_i32();
            let last_offset = rest.get_i64();
            let offset_delta = rest.get_i32();
            entry.last_timestamp = rest.get_i64();
            entry.coordinator_epoch = rest.get_i32();
            entry.transaction_first_offset = open_transaction(rest.get_i64());
            if last_offset >= 0 {
                entry.push_batch(checked_batch(
                    &entry,
                    StoredBatch {
                        last_sequence,
                        last_offset,
                        offset_delta,
                        timestamp: entry.last_timestamp,
                    },
                )?);
            }
            states.insert(entry);
        }
        Ok(states)
    }

    /// The form for our node checkpoint, with every remembered batch. Empty when there are no producers.
    pub(crate) fn to_checkpoint(&self) -> Vec<u8> {
        let entries = self.sorted();
        if entries.is_empty() {
            return Vec::new();
        }
        let mut bytes =
            Vec::with_capacity(4 + entries.len() * (FULL_ENTRY_BYTES + FULL_BATCH_BYTES));
        bytes.put_i32(count_of(&entries));
        for entry in entries {
            bytes.put_i64(entry.producer_id);
            bytes.put_i16(entry.epoch);
            bytes.put_i32(entry.coordinator_epoch);
            bytes.put_i64(entry.last_timestamp);
            bytes.put_i64(entry.transaction_first_offset.unwrap_or(-1));
            bytes.put_u8(entry.batches().len() as u8);
            for batch in entry.batches() {
                bytes.put_i32(batch.last_sequence);
                bytes.put_i64(batch.last_offset);
                bytes.put_i32(batch.offset_delta);
                bytes.put_i64(batch.timestamp);
            }
        }
        bytes
    }

    /// Decodes what [`ProducerStates::to_checkpoint`] made.
    pub(crate) fn from_checkpoint(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let mut states = Self::default();
        if bytes.is_empty() {
            return Ok(states);
        }
        need(bytes, 4)?;
        let mut rest = bytes;
        let count = rest.get_i32();
        for _ in 0..count.max(0) {
            need(rest, FULL_ENTRY_BYTES)?;
            let mut entry = ProducerEntry::new(rest.get_i64());
            entry.set_epoch(rest.get_i16());
            entry.coordinator_epoch = rest.get_i32();
            entry.last_timestamp = rest.get_i64();
            entry.transaction_first_offset = open_transaction(rest.get_i64());
            let batches = usize::from(rest.get_u8());
            if batches > REMEMBERED_BATCHES {
                return Err(SnapshotError::Field {
                    producer_id: entry.producer_id,
                    field: "count of batches",
                    value: batches as i64,
                });
            }
            need(rest, batches * FULL_BATCH_BYTES)?;
            for _ in 0..batches {
                entry.push_batch(checked_batch(
                    &entry,
                    StoredBatch {
                        last_sequence: rest.get_i32(),
                        last_offset: rest.get_i64(),
                        offset_delta: rest.get_i32(),
                        timestamp: rest.get_i64(),
                    },
                )?);
            }
            states.insert(entry);
        }
        if rest.is_empty() {
            Ok(states)
        } else {
            Err(SnapshotError::Count(count))
        }
    }

    fn sorted(&self) -> Vec<&ProducerEntry> {
        let mut entries: Vec<_> = self.iter().collect();
        entries.sort_unstable_by_key(|entry| entry.producer_id);
        entries
    }
}

fn need(bytes: &[u8], needed: usize) -> Result<(), SnapshotError> {
    if bytes.len() < needed {
        return Err(SnapshotError::TooShort {
            needed,
            available: bytes.len(),
        });
    }
    Ok(())
}

fn count_of(entries: &[&ProducerEntry]) -> i32 {
    i32::try_from(entries.len()).expect("a log has fewer than 2^31 producers in memory")
}

fn open_transaction(first_offset: i64) -> Option<i64> {
    (first_offset >= 0).then_some(first_offset)
}

/// Numbers that later arithmetic relies on.
fn checked_batch(entry: &ProducerEntry, batch: StoredBatch) -> Result<StoredBatch, SnapshotError> {
    let refuse = |field, value| {
        Err(SnapshotError::Field {
            producer_id: entry.producer_id,
            field,
            value,
        })
    };
    if batch.last_sequence < -1 {
        return refuse("last sequence", i64::from(batch.last_sequence));
    }
    if batch.offset_delta < 0 || i64::from(batch.offset_delta) > batch.last_offset {
        return refuse("offset delta", i64::from(batch.offset_delta));
    }
    Ok(batch)
}
