//! A client's record set made ready for the log: one sound batch, in the codec that the topic wants.

mod refused_records;

use millstream_records::{
    BatchBuilder, BatchError, BatchHeader, BatchOptions, BatchView, BuildError, Compression,
    HEADER_LEN, ProducerStamp, TimestampType, batches, patch,
};
use millstream_wire::ErrorCode;
use thiserror::Error;

use crate::{error_codes::batch_error, topic_settings::TopicSettings};

pub(crate) use refused_records::RefusedRecords;
use refused_records::{RecordRefusal, RecordRules};

/// What a batch may be, besides the topic's settings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchLimits {
    /// Most bytes into which a batch may decompress; bounds what a small request can make the node allocate.
    pub decompressed_bytes_max: usize,
    /// Whether the client's version of the protocol allows zstd.
    pub zstd: bool,
    /// The time by which records are too old or too new.
    pub now_ms: i64,
    /// Most refused records that are named.
    pub record_errors_max: usize,
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
    #[error(transparent)]
    Records(#[from] RefusedRecords),
    #[error("the batch cannot be stored with the topic's compression.type: {0}")]
    Build(#[from] BuildError),
}

impl PrepareError {
    /// What the client is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            PrepareError::Empty | PrepareError::SeveralBatches => ErrorCode::InvalidRecord,
            PrepareError::Records(refused) => refused.code(),
            PrepareError::Batch(error) => batch_error(error),
            PrepareError::TooLarge { .. } | PrepareError::Build(BuildError::TooLarge { .. }) => {
                ErrorCode::MessageTooLarge
            }
            PrepareError::ZstdTooEarly => ErrorCode::UnsupportedCompressionType,
            PrepareError::Build(_) => ErrorCode::InvalidRecord,
        }
    }

    /// The records at fault by their numbers in the batch, and what is wrong with each; none when it is the batch.
    pub fn records(&self) -> Vec<(i32, String)> {
        match self {
            PrepareError::Records(refused) => refused.named().collect(),
            PrepareError::Batch(BatchError::Record { index, fault, .. }) => {
                vec![(*index, fault.to_string())]
            }
            _ => Vec::new(),
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
    batch.check_produced_header()?;
    batch.verify_crc()?;
    let rules = RecordRules::of(&settings.log, &header, limits.now_ms);
    let max_timestamp = check_records(&batch, &rules, limits)?;
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

/// Checks every record; returns the greatest timestamp.
fn check_records(
    batch: &BatchView<'_>,
    rules: &RecordRules,
    limits: BatchLimits,
) -> Result<i64, PrepareError> {
    let records = batch.records(limits.decompressed_bytes_max)?;
    let mut max_timestamp = i64::MIN;
    let mut refused = None;
    for (index, record) in (0..).zip(records.iter()) {
        let record = record?;
        max_timestamp = max_timestamp.max(record.timestamp);
        if let Err(refusal) = rules.check(&record) {
            RefusedRecords::add(&mut refused, index, refusal, limits.record_errors_max);
        }
    }
    match refused {
        Some(refused) => Err(refused.into()),
        None => Ok(max_timestamp),
    }
}

/// A compacted topic takes no record without a key, whoever appends it: compaction would drop it.
pub(crate) fn check_keys(
    batch: &BatchView<'_>,
    decompressed_bytes_max: usize,
) -> Result<(), PrepareError> {
    let records = batch.records(decompressed_bytes_max)?;
    let mut refused = None;
    for (index, record) in (0..).zip(records.iter()) {
        if record?.key.is_none() {
            RefusedRecords::add(&mut refused, index, RecordRefusal::Keyless, 1);
        }
    }
    match refused {
        Some(refused) => Err(refused.into()),
        None => Ok(()),
    }
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
