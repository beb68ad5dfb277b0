//! The fixed header of a record batch v2.

use std::fmt;

use crate::builder::seal;
use crate::{BatchError, BuildError, Compression, compression};

/// Bytes of the fixed header.
pub const HEADER_LEN: usize = 61;
/// Bytes in front of what the length field counts: base offset and the length itself.
pub const LOG_OVERHEAD: usize = 12;
/// Where the length field stands, for readers that look for the batch's end only.
pub const BATCH_LENGTH_OFFSET: usize = 8;
/// The format's number.
pub const MAGIC: i8 = 2;
/// Producer id of a batch without one.
pub const NO_PRODUCER_ID: i64 = -1;
/// Producer epoch of a batch without a producer id.
pub const NO_PRODUCER_EPOCH: i16 = -1;
/// Base sequence of a batch without one (also of every control batch).
pub const NO_SEQUENCE: i32 = -1;

pub(crate) const BASE_OFFSET_AT: usize = 0;
pub(crate) const LEADER_EPOCH_AT: usize = 12;
pub(crate) const MAGIC_AT: usize = 16;
pub(crate) const CRC_AT: usize = 17;
/// The CRC covers everything from here to the end.
pub(crate) const ATTRIBUTES_AT: usize = 21;
pub(crate) const LAST_OFFSET_DELTA_AT: usize = 23;
pub(crate) const BASE_TIMESTAMP_AT: usize = 27;
pub(crate) const MAX_TIMESTAMP_AT: usize = 35;
pub(crate) const PRODUCER_ID_AT: usize = 43;
pub(crate) const PRODUCER_EPOCH_AT: usize = 51;
pub(crate) const BASE_SEQUENCE_AT: usize = 53;
pub(crate) const RECORD_COUNT_AT: usize = 57;

const COMPRESSION_MASK: i16 = 0x07;
pub(crate) const LOG_APPEND_TIME_BIT: i16 = 0x08;
pub(crate) const TRANSACTIONAL_BIT: i16 = 0x10;
pub(crate) const CONTROL_BIT: i16 = 0x20;
const DELETE_HORIZON_BIT: i16 = 0x40;

/// The least value that the length field can have.
pub(crate) const BATCH_LENGTH_MIN: i32 = (HEADER_LEN - LOG_OVERHEAD) as i32;

/// Who gave a batch its timestamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TimestampType {
    /// The producer, record by record.
    #[default]
    CreateTime,
    /// The broker at the append: the batch's max timestamp holds for every record.
    LogAppendTime,
}

impl fmt::Display for TimestampType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CreateTime => "CreateTime",
            Self::LogAppendTime => "LogAppendTime",
        })
    }
}

/// The header's fields, decoded. All numbers on the wire are big-endian:
///
/// ```text
/// at  bytes field
///  0   8    base offset                 12   4    partition leader epoch
///  8   4    length of what follows      16   1    magic = 2
/// 17   4    CRC-32C of 21..end          21   2    attributes
/// 23   4    last offset delta           27   8    base timestamp, ms
/// 35   8    max timestamp, ms           43   8    producer id
/// 51   2    producer epoch              53   4    base sequence
/// 57   4    record count                61   ..   records, compressed as attributes say
///
/// attributes: bits 0-2 codec, 3 log append time, 4 transactional, 5 control,
///             6 the base timestamp is a delete horizon (KIP-534)
/// ```
///
/// Source: `DefaultRecordBatch.java`. Base offset and leader epoch lie before the CRC's range, so that a broker
/// assigns both in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    pub base_offset: i64,
    /// Bytes after this field; the whole batch is 12 more.
    pub batch_length: i32,
    pub leader_epoch: i32,
    pub crc: u32,
    pub attributes: i16,
    pub last_offset_delta: i32,
    pub base_timestamp: i64,
    pub max_timestamp: i64,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub record_count: i32,
}

impl BatchHeader {
    /// Decodes the first 61 bytes of `bytes`; what follows may be missing.
    ///
    /// A parsed header has a length of at least 49, magic 2, a known codec, offsets that do not overflow,
    /// and neither count nor delta below zero.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        let Some(fixed) = bytes.first_chunk::<HEADER_LEN>() else {
            return Err(BatchError::TooShort {
                needed: HEADER_LEN,
                available: bytes.len(),
            });
        };
        let magic = fixed[MAGIC_AT].cast_signed();
        if magic != MAGIC {
            return Err(BatchError::Magic { found: magic });
        }
        let header = Self {
            base_offset: i64::from_be_bytes(field(fixed, BASE_OFFSET_AT)),
            batch_length: i32::from_be_bytes(field(fixed, BATCH_LENGTH_OFFSET)),
            leader_epoch: i32::from_be_bytes(field(fixed, LEADER_EPOCH_AT)),
            crc: u32::from_be_bytes(field(fixed, CRC_AT)),
            attributes: i16::from_be_bytes(field(fixed, ATTRIBUTES_AT)),
            last_offset_delta: i32::from_be_bytes(field(fixed, LAST_OFFSET_DELTA_AT)),
            base_timestamp: i64::from_be_bytes(field(fixed, BASE_TIMESTAMP_AT)),
            max_timestamp: i64::from_be_bytes(field(fixed, MAX_TIMESTAMP_AT)),
            producer_id: i64::from_be_bytes(field(fixed, PRODUCER_ID_AT)),
            producer_epoch: i16::from_be_bytes(field(fixed, PRODUCER_EPOCH_AT)),
            base_sequence: i32::from_be_bytes(field(fixed, BASE_SEQUENCE_AT)),
            record_count: i32::from_be_bytes(field(fixed, RECORD_COUNT_AT)),
        };
        header.check()?;
        Ok(header)
    }

    fn check(&self) -> Result<(), BatchError> {
        if self.batch_length < BATCH_LENGTH_MIN {
            return Err(BatchError::Length {
                length: self.batch_length,
            });
        }
        let refuse = |field, value| Err(BatchError::Field { field, value });
        if self.last_offset_delta < 0 {
            return refuse("last offset delta", i64::from(self.last_offset_delta));
        }
        let end = i64::MAX - i64::from(self.last_offset_delta);
        if self.base_offset < 0 || self.base_offset >= end {
            return refuse("base offset", self.base_offset);
        }
        if self.record_count < 0 {
            return refuse("record count", i64::from(self.record_count));
        }
        Compression::from_attributes(self.attributes)?;
        Ok(())
    }

    /// The header as bytes, for what is built by hand (tools and tests).
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        put(&mut bytes, BASE_OFFSET_AT, self.base_offset.to_be_bytes());
        put(
            &mut bytes,
            BATCH_LENGTH_OFFSET,
            self.batch_length.to_be_bytes(),
        );
        put(&mut bytes, LEADER_EPOCH_AT, self.leader_epoch.to_be_bytes());
        put(&mut bytes, MAGIC_AT, MAGIC.to_be_bytes());
        put(&mut bytes, CRC_AT, self.crc.to_be_bytes());
        put(&mut bytes, ATTRIBUTES_AT, self.attributes.to_be_bytes());
        put(
            &mut bytes,
            LAST_OFFSET_DELTA_AT,
            self.last_offset_delta.to_be_bytes(),
        );
        put(
            &mut bytes,
            BASE_TIMESTAMP_AT,
            self.base_timestamp.to_be_bytes(),
        );
        put(
            &mut bytes,
            MAX_TIMESTAMP_AT,
            self.max_timestamp.to_be_bytes(),
        );
        put(&mut bytes, PRODUCER_ID_AT, self.producer_id.to_be_bytes());
        put(
            &mut bytes,
            PRODUCER_EPOCH_AT,
            self.producer_epoch.to_be_bytes(),
        );
        put(
            &mut bytes,
            BASE_SEQUENCE_AT,
            self.base_sequence.to_be_bytes(),
        );
        put(&mut bytes, RECORD_COUNT_AT, self.record_count.to_be_bytes());
        bytes
    }

    /// Appends a whole batch with this header's fields to `out`: `records` are compressed as the attributes say, the
    /// length and the CRC are those of the result. After an error `out` is as before.
    pub fn write_batch(&self, records: &[u8], out: &mut Vec<u8>) -> Result<(), BuildError> {
        let start = out.len();
        out.resize(start + HEADER_LEN, 0);
        let written = compression::compress_into(self.compression(), records, out).and_then(|()| {
            let size = out.len() - start;
            let batch_length = i32::try_from(size - LOG_OVERHEAD);
            batch_length.map_err(|_| BuildError::TooLarge { size })
        });
        let batch_length = match written {
            Ok(batch_length) => batch_length,
            Err(error) => {
                out.truncate(start);
                return Err(error);
            }
        };
        let header = Self {
            batch_length,
            ..*self
        };
        out[start..start + HEADER_LEN].copy_from_slice(&header.encode());
        seal(&mut out[start..]);
        Ok(())
    }

    /// The header of a batch without records that keeps this one's place: offsets, sequence, producer, and its
    /// greatest timestamp.
    #[must_use]
    pub fn emptied(&self) -> Self {
        Self {
            attributes: self.attributes & !(COMPRESSION_MASK | DELETE_HORIZON_BIT),
            base_timestamp: self.max_timestamp,
            record_count: 0,
            ..*self
        }
    }

    /// The same without a producer and its transaction.
    #[must_use]
    pub fn anonymous(&self) -> Self {
        Self {
            attributes: self.attributes & !(TRANSACTIONAL_BIT | CONTROL_BIT),
            producer_id: NO_PRODUCER_ID,
            producer_epoch: NO_PRODUCER_EPOCH,
            base_sequence: NO_SEQUENCE,
            ..*self
        }
    }

    /// Sets when the cleaner may drop this batch's tombstones and markers, ms. The records' timestamps count from
    /// the horizon then, so their deltas must be written anew.
    pub fn set_delete_horizon(&mut self, horizon_ms: i64) {
        self.attributes |= DELETE_HORIZON_BIT;
        self.base_timestamp = horizon_ms;
    }

    /// Bytes of the whole batch, header included.
    pub fn size_in_bytes(&self) -> usize {
        LOG_OVERHEAD + usize::try_from(self.batch_length).unwrap_or(0)
    }

    pub fn last_offset(&self) -> i64 {
        self.base_offset
            .saturating_add(i64::from(self.last_offset_delta))
    }

    /// The offset that the next batch of the log may have at the least.
    pub fn next_offset(&self) -> i64 {
        self.last_offset().saturating_add(1)
    }

    /// The sequence of the last record; `NO_SEQUENCE` when the batch has none.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence == NO_SEQUENCE {
            return NO_SEQUENCE;
        }
        increment_sequence(self.base_sequence, self.last_offset_delta)
    }

    pub fn has_producer_id(&self) -> bool {
        self.producer_id > NO_PRODUCER_ID
    }

    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL_BIT != 0
    }

    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL_BIT != 0
    }

    /// The codec of the records. A header that was parsed always has a known one.
    pub fn compression(&self) -> Compression {
        Compression::from_attributes(self.attributes).unwrap_or(Compression::None)
    }

    pub fn timestamp_type(&self) -> TimestampType {
        if self.attributes & LOG_APPEND_TIME_BIT != 0 {
            TimestampType::LogAppendTime
        } else {
            TimestampType::CreateTime
        }
    }

    /// When the cleaner may drop this batch's tombstones and markers, ms; none while it has not set that (KIP-534).
    pub fn delete_horizon_ms(&self) -> Option<i64> {
        (self.attributes & DELETE_HORIZON_BIT != 0).then_some(self.base_timestamp)
    }
}

pub(crate) fn compression_bits(attributes: i16) -> u8 {
    (attributes & COMPRESSION_MASK) as u8
}

/// The sequence `increment` records after `sequence`; sequences wrap from `i32::MAX` to 0.
pub fn increment_sequence(sequence: i32, increment: i32) -> i32 {
    let sum = i64::from(sequence) + i64::from(increment);
    (sum & i64::from(i32::MAX)) as i32
}

fn field<const N: usize>(fixed: &[u8; HEADER_LEN], at: usize) -> [u8; N] {
    std::array::from_fn(|index| fixed[at + index])
}

pub(crate) fn put<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    bytes[at..at + N].copy_from_slice(&value);
}
