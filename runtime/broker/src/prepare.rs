//! A client's record set made ready for the log: one sound batch, in the codec that the topic wants.

use millstream_records::{
    BatchBuilder, BatchError, BatchHeader, BatchOptions, BatchView, BuildError, Compression,
    HEADER_LEN, ProducerStamp, TimestampType, batches, patch,
};
use millstream_wire::ErrorCode;
use thiserror::Error;

use crate::{error_codes::batch_error, topic_settings::TopicSettings};

/// What a batch may be, besides the topic's settings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchLimits {
    /// Most bytes into which a batch may decompress; bounds what a small request can make the node allocate.
    pub decompressed_bytes_max: usize,
    /// Whether the client's version of the protocol allows zstd.
    pub zstd: bool,
}

/// Why a record set is not taken.
#[derive(Debug, Error)]
pub(crate) enum PrepareError {
    #[error("there is no record batch")]
    Empty,
    #[error("a partition takes one batch in a request, and more came")]
    SeveralBatches,
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error("the batch has {size} bytes, and max.message.bytes is {max}")]
    TooLarge { size: usize, max: usize },
    #[error("zstd needs a newer version of Produce")]
    ZstdTooEarly,
    #[error("record {index} has no key, and the topic is compacted")]
    KeylessOnCompacted { index: usize },
    #[error("the batch cannot be stored with the topic's compression.type: {0}")]
    Build(#[from] BuildError),
}

impl PrepareError {
    /// What the client is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            PrepareError::Empty
            | PrepareError::SeveralBatches
            | PrepareError::KeylessOnCompacted { .. } => ErrorCode::InvalidRecord,
            PrepareError::Batch(error) => batch_error(error),
            PrepareError::TooLarge { .. } | PrepareError::Build(BuildError::TooLarge { .. }) => {
                ErrorCode::MessageTooLarge
            }
            PrepareError::ZstdTooEarly => ErrorCode::UnsupportedCompressionType,
            PrepareError::Build(_) => ErrorCode::InvalidRecord,
        }
    }
}

/// Checks a client's record set down to its records and returns it as it is to be appended.
pub(crate) fn prepare(
    records: &[u8],
    settings: &TopicSettings,
    limits: BatchLimits,
) -> Result<(Vec<u8>, BatchHeader), PrepareError> {
    let batch = single_batch(records)?;
    let header = *batch.header();
    let max = usize::try_from(settings.log.max_message_bytes).unwrap_or(usize::MAX);
    if records.len() > max {
        return Err(PrepareError::TooLarge {
            size: records.len(),
            max,
        });
    }
    if header.compression() == Compression::Zstd && !limits.zstd {
        return Err(PrepareError::ZstdTooEarly);
    }
    let max_timestamp = batch.validate_produced(limits.decompressed_bytes_max)?;
    if settings.log.cleanup.compact {
        check_keys(&batch, limits.decompressed_bytes_max)?;
    }
    if let Some(codec) = settings.compression
        && codec != header.compression()
    {
        let rebuilt = recompressed(&batch, codec, limits)?;
        let header = BatchHeader::parse(&rebuilt)?;
        return Ok((rebuilt, header));
    }
    let mut bytes = records.to_vec();
    if max_timestamp != header.max_timestamp
        && settings.log.timestamp_type == TimestampType::CreateTime
    {
        patch::set_max_timestamp(&mut bytes, max_timestamp);
    }
    let header = BatchHeader::parse(&bytes)?;
    Ok((bytes, header))
}

fn single_batch(records: &[u8]) -> Result<BatchView<'_>, PrepareError> {
    if records.is_empty() {
        return Err(PrepareError::Empty);
    }
    let size = BatchHeader::parse(records)?.size_in_bytes();
    if records.len() >= size + HEADER_LEN
        && batches(&records[size..])
            .next()
            .is_some_and(|next| next.is_ok())
    {
        return Err(PrepareError::SeveralBatches);
    }
    Ok(BatchView::parse(records)?)
}

/// A compacted topic takes no record without a key, whoever appends it: compaction would drop it.
pub(crate) fn check_keys(
    batch: &BatchView<'_>,
    decompressed_bytes_max: usize,
) -> Result<(), PrepareError> {
    let records = batch.records(decompressed_bytes_max)?;
    for (index, record) in records.iter().enumerate() {
        if record?.key.is_none() {
            return Err(PrepareError::KeylessOnCompacted { index });
        }
    }
    Ok(())
}

/// The same records, of the same producer, in another codec.
fn recompressed(
    batch: &BatchView<'_>,
    codec: Compression,
    limits: BatchLimits,
) -> Result<Vec<u8>, PrepareError> {
    let header = batch.header();
    let producer = header.has_producer_id().then_some(ProducerStamp {
        id: header.producer_id,
        epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
    });
    let mut builder = BatchBuilder::new(BatchOptions {
        base_offset: 0,
        leader_epoch: header.leader_epoch,
        compression: codec,
        timestamp_type: header.timestamp_type(),
        producer,
        transactional: header.is_transactional(),
        control: false,
    });
    let records = batch.records(limits.decompressed_bytes_max)?;
    for record in records.iter() {
        let record = record?;
        builder.append(
            record.timestamp,
            record.key,
            record.value,
            record.headers.iter(),
        )?;
    }
    Ok(builder.build()?)
}

#[cfg(test)]
mod tests;
