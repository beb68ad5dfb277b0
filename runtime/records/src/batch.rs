//! A batch as it lies in a buffer, and a run of batches.

use std::borrow::Cow;

use crate::header::{
    ATTRIBUTES_AT, BATCH_LENGTH_MIN, BATCH_LENGTH_OFFSET, LOG_OVERHEAD, MAGIC, MAGIC_AT,
    NO_SEQUENCE,
};
use crate::record::RECORD_LEN_MIN;
use crate::{BatchError, BatchHeader, Compression, HEADER_LEN, Records, compression};

/// One whole batch in somebody else's buffer. Nothing is copied; the CRC is checked only when asked for.
#[derive(Debug, Clone, Copy)]
pub struct BatchView<'a> {
    header: BatchHeader,
    bytes: &'a [u8],
}

impl<'a> BatchView<'a> {
    /// Takes exactly one batch: checks the header's structure (see `BatchHeader::parse`) and that `bytes` is as long
    /// as the header says.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BatchError> {
        let header = BatchHeader::parse(bytes)?;
        let size = header.size_in_bytes();
        if bytes.len() < size {
            return Err(BatchError::TooShort {
                needed: size,
                available: bytes.len(),
            });
        }
        if bytes.len() > size {
            return Err(BatchError::TrailingBytes {
                size,
                extra: bytes.len() - size,
            });
        }
        Ok(Self { header, bytes })
    }

    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The whole batch, header included.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The records as they lie there, compressed if the attributes say so.
    pub fn body(&self) -> &'a [u8] {
        &self.bytes[HEADER_LEN..]
    }

    /// Compares the stored CRC-32C with that of the bytes.
    pub fn verify_crc(&self) -> Result<(), BatchError> {
        let computed = crc32c::crc32c(&self.bytes[ATTRIBUTES_AT..]);
        if computed == self.header.crc {
            return Ok(());
        }
        Err(BatchError::Crc {
            base_offset: self.header.base_offset,
            stored: self.header.crc,
            computed,
        })
    }

    /// The records, decompressed where needed to at most `max_decompressed` bytes (a limit on decompressed data
    /// only: an uncompressed batch is as large as it is).
    pub fn records(&self, max_decompressed: usize) -> Result<Records<'a>, BatchError> {
        let body = match self.header.compression() {
            Compression::None => Cow::Borrowed(self.body()),
            codec => Cow::Owned(compression::decompress(
                codec,
                self.body(),
                max_decompressed,
            )?),
        };
        let available = body.len();
        let fitting = available / RECORD_LEN_MIN;
        if usize::try_from(self.header.record_count).is_ok_and(|count| count > fitting) {
            return Err(BatchError::CountBeyondBytes {
                record_count: self.header.record_count,
                available,
            });
        }
        Ok(Records::new(&self.header, body))
    }

    /// Checks everything that holds for every stored batch: CRC, header fields, and each record with its place in
    /// the batch. Batches that compaction has thinned out pass.
    pub fn validate(&self, max_decompressed: usize) -> Result<(), BatchError> {
        self.verify_crc()?;
        self.check_fields()?;
        for record in self.records(max_decompressed)?.iter() {
            record?;
        }
        Ok(())
    }

    /// Checks what a client may send beyond `validate`: base offset 0, as many records as offsets and at least one,
    /// neither control records nor a delete horizon, a sequence where there is a producer id. Returns the greatest
    /// timestamp of the records, which clients do not always put into the header (`patch::set_max_timestamp` corrects
    /// it, as Kafka does).
    pub fn validate_produced(&self, max_decompressed: usize) -> Result<i64, BatchError> {
        self.check_produced_header()?;
        self.verify_crc()?;
        let mut max_timestamp = i64::MIN;
        for record in self.records(max_decompressed)?.iter() {
            max_timestamp = max_timestamp.max(record?.timestamp);
        }
        Ok(max_timestamp)
    }

    /// The part of `validate_produced` that needs the header alone.
    pub fn check_produced_header(&self) -> Result<(), BatchError> {
        let header = &self.header;
        self.check_fields()?;
        if header.base_offset != 0 {
            return Err(BatchError::Field {
                field: "base offset of a produced batch",
                value: header.base_offset,
            });
        }
        // Compaction believes a horizon: it would drop the batch's tombstones when a client says so.
        if header.is_control() || header.delete_horizon_ms().is_some() {
            return Err(BatchError::Field {
                field: "attributes of a produced batch",
                value: i64::from(header.attributes),
            });
        }
        if i64::from(header.record_count) != i64::from(header.last_offset_delta) + 1 {
            return Err(self.count_fault());
        }
        if header.has_producer_id() && header.base_sequence == NO_SEQUENCE {
            return Err(BatchError::Field {
                field: "base sequence of a batch with a producer id",
                value: i64::from(NO_SEQUENCE),
            });
        }
        Ok(())
    }

    fn check_fields(&self) -> Result<(), BatchError> {
        let header = &self.header;
        let refuse = |field, value| Err(BatchError::Field { field, value });
        if i64::from(header.record_count) > i64::from(header.last_offset_delta) + 1 {
            return Err(self.count_fault());
        }
        if header.producer_id < -1 {
            return refuse("producer id", header.producer_id);
        }
        if header.producer_epoch < -1 || (header.has_producer_id() && header.producer_epoch < 0) {
            return refuse("producer epoch", i64::from(header.producer_epoch));
        }
        if header.base_sequence < NO_SEQUENCE {
            return refuse("base sequence", i64::from(header.base_sequence));
        }
        // A transactional batch without a producer is nobody's: Kafka stores it, and readers take it as committed.
        Ok(())
    }

    fn count_fault(&self) -> BatchError {
        BatchError::Count {
            record_count: self.header.record_count,
            last_offset_delta: self.header.last_offset_delta,
        }
    }
}

/// Walks batches that lie back to back. A last batch that is not wholly there ends the walk without an error
/// (fetches and torn files end like that); `complete_len` tells where it begins.
pub fn batches(bytes: &[u8]) -> Batches<'_> {
    Batches {
        bytes,
        complete: 0,
        failed: false,
    }
}

/// See [`batches`].
#[derive(Debug, Clone)]
pub struct Batches<'a> {
    bytes: &'a [u8],
    complete: usize,
    failed: bool,
}

impl<'a> Batches<'a> {
    /// Bytes of the whole batches handed out so far; after the walk, where a partial tail or a malformed batch begins.
    pub fn complete_len(&self) -> usize {
        self.complete
    }

    fn step(&self) -> Result<Option<BatchView<'a>>, BatchError> {
        let rest = &self.bytes[self.complete..];
        if rest.len() > MAGIC_AT && rest[MAGIC_AT].cast_signed() != MAGIC {
            return Err(BatchError::Magic {
                found: rest[MAGIC_AT].cast_signed(),
            });
        }
        let Some(field) = rest
            .get(BATCH_LENGTH_OFFSET..LOG_OVERHEAD)
            .and_then(|field| field.first_chunk::<4>())
        else {
            return Ok(None);
        };
        let length = i32::from_be_bytes(*field);
        if length < BATCH_LENGTH_MIN {
            return Err(BatchError::Length { length });
        }
        let size = LOG_OVERHEAD + length.unsigned_abs() as usize;
        match rest.get(..size) {
            Some(batch) => BatchView::parse(batch).map(Some),
            None => Ok(None),
        }
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<BatchView<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        match self.step() {
            Ok(Some(view)) => {
                self.complete += view.bytes.len();
                Some(Ok(view))
            }
            Ok(None) => None,
            Err(error) => {
                self.failed = true;
                Some(Err(error))
            }
        }
    }
}
