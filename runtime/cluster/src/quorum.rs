//! How a metadata record gets committed. One voter today: the log `__cluster_metadata-0` of this node's store.
//! A replicated quorum replaces this file's [`LogQuorum`] and nothing else.

use std::{future::Future, path::PathBuf, pin::Pin, sync::Arc};

use millstream_log::{
    AppendError, AppendOptions, Isolation, Log, LogConfig, LogId, LogStore, Lsn, ReadError,
    StoreError, Writers, clock::Clock,
};
use millstream_records::{
    BatchBuilder, BatchError, BatchOptions, BuildError, Compression, TimestampType, batches,
};
use thiserror::Error;
use uuid::Uuid;

use crate::record::{MetadataRecord, RecordError};

/// Directory and name of the metadata log, as Kafka's.
pub const METADATA_TOPIC: &str = "__cluster_metadata";
/// Its fixed topic id, as Kafka's.
pub const METADATA_TOPIC_ID: Uuid = Uuid::from_u128(1);

/// The metadata log. A store that is opened with it as [`millstream_log::StoreOptions::metadata_log`] does not open a
/// directory that has lost it.
pub fn metadata_log() -> LogId {
    LogId {
        topic_id: METADATA_TOPIC_ID,
        topic: METADATA_TOPIC.to_owned(),
        partition: 0,
    }
}

/// Bytes read from the metadata log at a time when a node starts.
const REPLAY_CHUNK_BYTES: usize = 1 << 20;
/// Largest decompressed batch of the metadata log; nothing is compressed there, so this only bounds damage.
const BATCH_BYTES_MAX: usize = 256 << 20;

/// A batch of the metadata log, or what is left of some.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredBatch {
    /// So many records right before were damaged, and their loss was accepted.
    pub lost_before: i64,
    /// Offset of the batch's first record, and of the last one.
    pub first_offset: i64,
    pub last_offset: i64,
    /// None where the log ends with what is lost.
    pub records: Vec<MetadataRecord>,
}

/// Where an appended batch ends, and what to wait for until it is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Offset of the batch's last record.
    pub last_offset: i64,
    /// The journal position behind it.
    pub lsn: Lsn,
}

/// Why records did not get into the metadata log or could not be read back.
#[derive(Debug, Error)]
pub enum QuorumError {
    #[error("the metadata log does not take the records: {0}")]
    Append(#[from] AppendError),
    #[error("a metadata record could not be encoded: {0}")]
    Build(#[from] BuildError),
    #[error("the metadata log was not flushed: {0}")]
    Store(#[from] StoreError),
    #[error("the metadata log cannot be read: {0}")]
    Read(ReadError),
    #[error("the metadata log is damaged: {source}; put a copy of the file back, or {advice}")]
    Damaged { source: ReadError, advice: String },
    #[error(
        "the metadata log {path:?} has no records of offsets {first} to {last}, and nobody has accepted that: put the \
         file accepted-losses back, or a copy of the log"
    )]
    Missing {
        path: PathBuf,
        first: i64,
        last: i64,
    },
    #[error("the metadata log {path:?} holds a malformed batch at offset {offset}: {source}")]
    Batch {
        path: PathBuf,
        offset: i64,
        source: BatchError,
    },
    #[error("the metadata log {path:?} cannot be understood at offset {offset}: {source}")]
    Record {
        path: PathBuf,
        offset: i64,
        source: RecordError,
    },
}

/// Orders and commits metadata records.
pub trait Quorum: Send + Sync + 'static {
    /// Appends the records as one batch that is applied as a whole or not at all. The caller serializes calls.
    fn append(&self, records: &[MetadataRecord]) -> Result<Position, QuorumError>;

    /// Waits until everything up to `position` is committed.
    fn committed(
        &self,
        position: Position,
    ) -> Pin<Box<dyn Future<Output = Result<(), QuorumError>> + Send + '_>>;
}

/// A quorum of one: a record is committed when it is at or below the high watermark of this node's own log, and would
/// survive a power cut, however the other logs are made durable.
#[derive(Debug)]
pub struct LogQuorum {
    log: Arc<Log>,
    clock: Arc<dyn Clock>,
    leader_epoch: i32,
    path: PathBuf,
}

impl LogQuorum {
    /// Opens the metadata log of the store and reads all of its batches, in order.
    pub fn open(store: &Arc<LogStore>) -> Result<(LogQuorum, Vec<StoredBatch>), QuorumError> {
        // Every record is needed at the next start, however old it is.
        let config = LogConfig {
            writers: Writers::Coordinators,
            max_message_bytes: LogConfig::SEGMENT_BYTES_MAX,
            ..LogConfig::keeping_all()
        };
        let log = store.create_log(metadata_log(), config)?;
        let path = PathBuf::from(format!("{METADATA_TOPIC}-0"));
        // The epoch of this life of the node, so that what it writes now differs from what it wrote before.
        let leader_epoch = log
            .leader_epoch()
            .map_or(0, |epoch| epoch.saturating_add(1));
        let quorum = LogQuorum {
            log,
            clock: Arc::clone(store.clock()),
            leader_epoch,
            path,
        };
        let replayed = quorum.replay()?;
        Ok((quorum, replayed))
    }

    fn replay(&self) -> Result<Vec<StoredBatch>, QuorumError> {
        let mut found = Vec::new();
        let offsets = self.log.offsets();
        let mut next = offsets.log_start;
        // Where the records begin that are lost right before `next`.
        let mut lost_from = next;
        while next < offsets.high_watermark {
            let read = self
                .log
                .read(next, REPLAY_CHUNK_BYTES, Isolation::Uncommitted, true)
                .map_err(|error| self.unreadable(error))?;
            let before = next;
            for batch in batches(&read.bytes) {
                let damaged = |source| QuorumError::Batch {
                    path: self.path.clone(),
                    offset: next,
                    source,
                };
                let batch = batch.map_err(damaged)?;
                batch.validate(BATCH_BYTES_MAX).map_err(damaged)?;
                let header = *batch.header();
                if header.record_count == 0 {
                    // It stands in the place of what is lost.
                    next = header.next_offset();
                    continue;
                }
                self.check_accepted(lost_from, header.base_offset)?;
                let records = batch.records(BATCH_BYTES_MAX).map_err(damaged)?;
                let mut decoded = Vec::new();
                for record in records.iter() {
                    let record = record.map_err(damaged)?;
                    let value = MetadataRecord::decode(record.value.unwrap_or_default());
                    decoded.push(value.map_err(|source| QuorumError::Record {
                        path: self.path.clone(),
                        offset: record.offset,
                        source,
                    })?);
                }
                found.push(StoredBatch {
                    lost_before: header.base_offset - lost_from,
                    first_offset: header.base_offset,
                    last_offset: header.last_offset(),
                    records: decoded,
                });
                next = header.next_offset();
                lost_from = next;
            }
            assert!(
                next > before,
                "a read below the high watermark returns at least one whole batch"
            );
        }
        self.check_accepted(lost_from, next)?;
        if lost_from < next {
            found.push(StoredBatch {
                lost_before: next - lost_from,
                first_offset: next,
                last_offset: next - 1,
                records: Vec::new(),
            });
        }
        Ok(found)
    }

    fn unreadable(&self, error: ReadError) -> QuorumError {
        match error {
            ReadError::Corrupt { .. } => QuorumError::Damaged {
                source: error,
                advice: self.log.repair_advice(),
            },
            other => QuorumError::Read(other),
        }
    }

    /// This log is never compacted: no offset of it is missing, but where somebody has accepted a loss.
    fn check_accepted(&self, from: i64, to: i64) -> Result<(), QuorumError> {
        if from >= to {
            return Ok(());
        }
        let accepted = self.log.accepted_losses();
        let is_accepted = |offset| accepted.iter().any(|loss| loss.offsets.contains(&offset));
        match (from..to).find(|offset| !is_accepted(*offset)) {
            None => Ok(()),
            Some(first) => Err(QuorumError::Missing {
                path: self.path.clone(),
                first,
                last: to - 1,
            }),
        }
    }
}

impl Quorum for LogQuorum {
    fn append(&self, records: &[MetadataRecord]) -> Result<Position, QuorumError> {
        let mut builder = BatchBuilder::new(BatchOptions {
            base_offset: 0,
            leader_epoch: self.leader_epoch,
            compression: Compression::None,
            timestamp_type: TimestampType::CreateTime,
            producer: None,
            transactional: false,
            control: false,
        });
        let now_ms = self.clock.now_ms();
        for record in records {
            builder.append(now_ms, None, Some(&record.encode()), [])?;
        }
        let mut batch = builder.build()?;
        let appended = self
            .log
            .append(&mut batch, AppendOptions::coordinator(self.leader_epoch))?;
        Ok(Position {
            last_offset: appended.last_offset,
            lsn: appended.lsn,
        })
    }

    fn committed(
        &self,
        position: Position,
    ) -> Pin<Box<dyn Future<Output = Result<(), QuorumError>> + Send + '_>> {
        Box::pin(async move { Ok(self.log.durable(position.lsn).await?) })
    }
}
