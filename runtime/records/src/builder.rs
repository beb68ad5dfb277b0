//! Builds batches: the hot path of every stage's output.

use crate::compression;
use crate::header::{
    ATTRIBUTES_AT, CONTROL_BIT, CRC_AT, LOG_APPEND_TIME_BIT, TRANSACTIONAL_BIT, put,
};
use crate::varint;
use crate::{
    BatchHeader, BuildError, Compression, HEADER_LEN, LOG_OVERHEAD, NO_PRODUCER_EPOCH,
    NO_PRODUCER_ID, NO_SEQUENCE, TimestampType,
};

/// Who produces a batch, and where it stands in that producer's sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerStamp {
    pub id: i64,
    pub epoch: i16,
    pub base_sequence: i32,
}

/// What a batch's header says beyond its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchOptions {
    pub base_offset: i64,
    /// -1 while no leader has assigned one.
    pub leader_epoch: i32,
    pub compression: Compression,
    pub timestamp_type: TimestampType,
    pub producer: Option<ProducerStamp>,
    pub transactional: bool,
    pub control: bool,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self {
            base_offset: 0,
            leader_epoch: -1,
            compression: Compression::None,
            timestamp_type: TimestampType::CreateTime,
            producer: None,
            transactional: false,
            control: false,
        }
    }
}

/// Collects records into one growing buffer; `build` adds the header, compresses and seals.
#[derive(Debug)]
pub struct BatchBuilder {
    options: BatchOptions,
    /// Room for the header, then the records.
    buffer: Vec<u8>,
    count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
}

/// Length, attributes, timestamp delta, offset delta, key length: the most bytes in front of a key.
const PREFIX_LEN_MAX: usize = 5 + 1 + 10 + 5 + 5;

impl BatchBuilder {
    pub fn new(options: BatchOptions) -> Self {
        Self::with_buffer(options, Vec::new())
    }

    /// Reuses the memory of `buffer`; its content is dropped.
    pub fn with_buffer(options: BatchOptions, mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        buffer.resize(HEADER_LEN, 0);
        Self {
            options,
            buffer,
            count: 0,
            base_timestamp: 0,
            max_timestamp: i64::MIN,
        }
    }

    /// Appends a record at the next offset. `headers` is walked twice. After an error the builder is unchanged.
    #[inline]
    pub fn append<'h, H>(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: H,
    ) -> Result<(), BuildError>
    where
        H: IntoIterator<Item = (&'h [u8], Option<&'h [u8]>)>,
        H::IntoIter: Clone,
    {
        let headers = headers.into_iter();
        let (mut header_count, mut headers_size) = (0_usize, 0_usize);
        for (name, value) in headers.clone() {
            header_count += 1;
            headers_size += size_of_nullable(Some(name)) + size_of_nullable(value);
        }
        let base_timestamp = if self.count == 0 {
            timestamp
        } else {
            self.base_timestamp
        };
        let timestamp_delta = timestamp.wrapping_sub(base_timestamp);
        let size = 1
            + varint::size_i64(timestamp_delta)
            + varint::size_i32(self.count)
            + size_of_nullable(key)
            + size_of_nullable(value)
            + size_of_len(header_count)
            + headers_size;
        self.check_room(size)?;

        // Every length below is less than `size`, which fits an i32.
        let mut prefix = [0; PREFIX_LEN_MAX];
        let mut at = varint::put_i32(&mut prefix, 0, size as i32);
        at += 1; // Attributes of a record are unused and 0.
        at = varint::put_i64(&mut prefix, at, timestamp_delta);
        at = varint::put_i32(&mut prefix, at, self.count);
        at = varint::put_i32(&mut prefix, at, len_or_null(key));
        self.buffer.reserve(size + 5);
        self.buffer.extend_from_slice(&prefix[..at]);
        self.buffer.extend_from_slice(key.unwrap_or_default());
        varint::write_i32(&mut self.buffer, len_or_null(value));
        self.buffer.extend_from_slice(value.unwrap_or_default());
        varint::write_i32(&mut self.buffer, header_count as i32);
        for (name, value) in headers {
            varint::write_i32(&mut self.buffer, name.len() as i32);
            self.buffer.extend_from_slice(name);
            varint::write_i32(&mut self.buffer, len_or_null(value));
            self.buffer.extend_from_slice(value.unwrap_or_default());
        }

        self.base_timestamp = base_timestamp;
        self.max_timestamp = self.max_timestamp.max(timestamp);
        self.count += 1;
        Ok(())
    }

    fn check_room(&self, record_size: usize) -> Result<(), BuildError> {
        let size = self
            .buffer
            .len()
            .saturating_add(record_size)
            .saturating_add(5);
        if size > i32::MAX as usize {
            return Err(BuildError::TooLarge { size });
        }
        if self.count == i32::MAX {
            return Err(BuildError::TooManyRecords);
        }
        Ok(())
    }

    /// Records so far.
    pub fn count(&self) -> usize {
        self.count.unsigned_abs() as usize
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of the batch so far, before compression.
    pub fn estimated_size(&self) -> usize {
        self.buffer.len()
    }

    /// The latest timestamp so far; none while empty.
    pub fn max_timestamp(&self) -> Option<i64> {
        (self.count > 0).then_some(self.max_timestamp)
    }

    /// The finished batch.
    pub fn build(self) -> Result<Vec<u8>, BuildError> {
        if self.count == 0 {
            return Err(BuildError::Empty);
        }
        if self.options.transactional && self.options.producer.is_none() {
            return Err(BuildError::TransactionalWithoutProducer);
        }
        let mut bytes = match self.options.compression {
            Compression::None => self.buffer,
            codec => {
                let mut out = vec![0; HEADER_LEN];
                compression::compress_into(codec, &self.buffer[HEADER_LEN..], &mut out)?;
                out
            }
        };
        let too_large = BuildError::TooLarge { size: bytes.len() };
        let batch_length = i32::try_from(bytes.len() - LOG_OVERHEAD).map_err(|_| too_large)?;
        let options = &self.options;
        let producer = options.producer.unwrap_or(ProducerStamp {
            id: NO_PRODUCER_ID,
            epoch: NO_PRODUCER_EPOCH,
            base_sequence: NO_SEQUENCE,
        });
        let header = BatchHeader {
            base_offset: options.base_offset,
            batch_length,
            leader_epoch: options.leader_epoch,
            crc: 0,
            attributes: attributes(options),
            last_offset_delta: self.count - 1,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            base_sequence: producer.base_sequence,
            record_count: self.count,
        };
        bytes[..HEADER_LEN].copy_from_slice(&header.encode());
        seal(&mut bytes);
        Ok(bytes)
    }
}

/// Computes and stores the CRC of a whole batch.
pub(crate) fn seal(batch: &mut [u8]) {
    let crc = crc32c::crc32c(&batch[ATTRIBUTES_AT..]);
    put(batch, CRC_AT, crc.to_be_bytes());
}

fn attributes(options: &BatchOptions) -> i16 {
    let mut attributes = i16::from(options.compression.id());
    if options.timestamp_type == TimestampType::LogAppendTime {
        attributes |= LOG_APPEND_TIME_BIT;
    }
    if options.transactional {
        attributes |= TRANSACTIONAL_BIT;
    }
    if options.control {
        attributes |= CONTROL_BIT;
    }
    attributes
}

#[inline]
fn size_of_len(len: usize) -> usize {
    // Lengths beyond i32 are refused by `check_room`, whatever this says about them.
    varint::size_i32(len as i32)
}

#[inline]
fn size_of_nullable(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| {
        size_of_len(bytes.len()).saturating_add(bytes.len())
    })
}

#[inline]
fn len_or_null(bytes: Option<&[u8]>) -> i32 {
    bytes.map_or(-1, |bytes| bytes.len() as i32)
}
