//! What can be wrong with a batch, with the facts that a message or a log line needs.

use crate::Compression;

/// Why bytes are not a sound record batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Fewer bytes than the fixed header, or than the length field announces.
    #[error("a record batch needs {needed} bytes and only {available} are there")]
    TooShort { needed: usize, available: usize },
    /// More bytes than the length field announces.
    #[error("a record batch of {size} bytes is followed by {extra} bytes that belong to nothing")]
    TrailingBytes { size: usize, extra: usize },
    /// The length field cannot be true whatever follows.
    #[error("the batch length field says {length}, the least possible is 49")]
    Length { length: i32 },
    /// Another format than v2.
    #[error("the batch has magic {found}, only 2 is supported")]
    Magic { found: i8 },
    /// The checksum over attributes to the end does not match.
    #[error(
        "the batch at offset {base_offset} has CRC {computed:#010x}, its header says {stored:#010x}"
    )]
    Crc {
        base_offset: i64,
        stored: u32,
        computed: u32,
    },
    /// Attributes name a codec that does not exist.
    #[error("compression codec {id} does not exist")]
    UnknownCompression { id: u8 },
    /// A header field has a value that no batch can have.
    #[error("header field {field} is {value}, which no batch can have")]
    Field { field: &'static str, value: i64 },
    /// The record count and the offsets in the header contradict each other.
    #[error(
        "the header counts {record_count} records and a last offset delta of {last_offset_delta}"
    )]
    Count {
        record_count: i32,
        last_offset_delta: i32,
    },
    /// The header counts more records than its bytes can hold.
    #[error("the header counts {record_count} records, but {available} bytes cannot hold them")]
    CountBeyondBytes { record_count: i32, available: usize },
    /// The compressed body cannot be decompressed.
    #[error(transparent)]
    Decompress(#[from] DecompressError),
    /// A record is malformed. `index` counts from 0, `position` from the start of the (decompressed) records.
    #[error("record {index} at byte {position} of the records: {fault}")]
    Record {
        index: i32,
        position: usize,
        fault: RecordFault,
    },
    /// Bytes remain after the last record that the header counts.
    #[error("{extra} bytes follow the last of {record_count} records")]
    TrailingRecordBytes { record_count: i32, extra: usize },
    /// A control batch whose record is not a control record.
    #[error("not a control record: {reason}")]
    Control { reason: &'static str },
}

/// What is wrong with one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordFault {
    #[error("it ends in the middle of a field")]
    Truncated,
    #[error("a variable-length number has too many bytes")]
    Varint,
    #[error("a length is {0}")]
    NegativeLength(i32),
    #[error("its length field says {declared}, its fields take {used}")]
    Length { declared: i32, used: usize },
    #[error("it declares {0} headers, which do not fit")]
    HeaderCount(i32),
    #[error("its offset delta {delta} is not above {previous} and at most {last}")]
    OffsetDelta {
        delta: i32,
        previous: i32,
        last: i32,
    },
}

/// Why a compressed body cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecompressError {
    /// It would be larger than the caller allows; nothing beyond the limit was allocated.
    #[error("{codec} data decompresses to more than the {limit} bytes allowed")]
    TooLarge { codec: Compression, limit: usize },
    /// The bytes are not what the codec's format says.
    #[error("corrupt {codec} data: {reason}")]
    Corrupt { codec: Compression, reason: String },
}

impl DecompressError {
    pub(crate) fn corrupt(codec: Compression, reason: impl ToString) -> Self {
        Self::Corrupt {
            codec,
            reason: reason.to_string(),
        }
    }
}

/// Why a batch cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// A batch's length field is an i32, and so are the lengths in its records.
    #[error("a batch of {size} bytes does not fit into the format (at most 2^31 - 1)")]
    TooLarge { size: usize },
    /// The record count is an i32 too.
    #[error("a batch holds at most 2^31 - 1 records")]
    TooManyRecords,
    #[error("a batch without records cannot be built")]
    Empty,
    #[error("a transactional batch needs a producer id and epoch")]
    TransactionalWithoutProducer,
    #[error("compressing with {codec} failed: {reason}")]
    Compress { codec: Compression, reason: String },
}
