//! Kafka record batch v2: decode, validate, build, compress, patch in place.
//! It does no I/O and knows neither topics nor offsets' meaning: bytes in, bytes out, and every malformed byte is an error.
//! Read `header.rs` first (the 61-byte layout is drawn there), then `batch.rs` and `record.rs`.

mod batch;
mod builder;
pub mod compression;
mod control;
mod error;
mod header;
pub mod patch;
mod raw;
mod record;
pub mod varint;
mod walk;

pub use batch::{BatchView, Batches, batches};
pub use builder::{BatchBuilder, BatchOptions, ProducerStamp};
pub use compression::Compression;
pub use control::{ControlKind, ControlRecord, Marker, build_marker};
pub use error::{BatchError, BuildError, DecompressError, RecordFault};
pub use header::{
    BATCH_LENGTH_OFFSET, BatchHeader, HEADER_LEN, LOG_OVERHEAD, MAGIC, NO_PRODUCER_EPOCH,
    NO_PRODUCER_ID, NO_SEQUENCE, TimestampType, increment_sequence,
};
pub use raw::{RawRecord, RawRecords};
pub use record::{HeaderIter, Headers, Record, RecordIter, Records};

#[cfg(test)]
mod tests;
