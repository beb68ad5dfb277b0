//! Appends and reads in process.

use std::{sync::Arc, time::Duration};

use millstream_log::{
    AppendOptions, Appended, Isolation, Log, LogOffsets, ReadResult, TimestampOffset, WatchGuard,
};
use millstream_records::BatchView;
use millstream_wire::ErrorCode;
use tokio::sync::Notify;
use uuid::Uuid;

use super::Local;
use crate::{
    error_codes::{append_error, batch_error, read_error, store_error},
    partition::Partition,
    prepare::check_keys,
};

/// A batch that would grow beyond this when it is decompressed is not taken.
const DECOMPRESSED_BYTES_MAX: usize = 128 * 1024 * 1024;

/// A partition that this node leads.
#[derive(Clone, Debug)]
pub struct LocalPartition {
    partition: Partition,
}

impl Local {
    /// The partition. Errors as a client would get them: UNKNOWN_TOPIC_OR_PARTITION, NOT_LEADER_OR_FOLLOWER,
    /// KAFKA_STORAGE_ERROR.
    pub fn partition(&self, topic: &str, index: i32) -> Result<LocalPartition, ErrorCode> {
        Ok(LocalPartition {
            partition: self.broker.partitions().led(topic, index)?,
        })
    }

    /// Appends one batch of a stage or source, under the rules for clients. Returns before the flush; wait with
    /// [`LocalPartition::flushed`], or commit a transaction over it. `flush_within` lets the flush wait for what
    /// follows (zero begins it at once). A transactional batch needs its `transactional_id`. UNKNOWN_TOPIC_ID when the
    /// topic is there no more, whatever has its name.
    pub async fn append(
        &self,
        transactional_id: Option<&str>,
        topic_id: &Uuid,
        index: i32,
        batch: &mut [u8],
        flush_within: Duration,
    ) -> Result<Appended, ErrorCode> {
        let partition = self.broker.partitions().led_by_id(topic_id, index)?;
        let topic = &partition.topic.name;
        if !partition.has_enough_replicas() {
            return Err(ErrorCode::NotEnoughReplicas);
        }
        let view = BatchView::parse(batch).map_err(|error| batch_error(&error))?;
        let header = *view.header();
        if partition.settings.log.cleanup.compact {
            check_keys(&view, DECOMPRESSED_BYTES_MAX).map_err(|error| error.code())?;
        }
        let mut options = AppendOptions::task(partition.leader_epoch).flush_within(flush_within);
        if header.is_transactional() {
            let (id, epoch) = (header.producer_id, header.producer_epoch);
            let guard = partition
                .log
                .verification_guard(id, epoch, header.base_sequence);
            if guard.is_some() {
                let transactional_id = transactional_id.ok_or(ErrorCode::InvalidTxnState)?;
                let named = [(topic.clone(), index)];
                let verdict = self
                    .broker
                    .verify_transaction(transactional_id, id, epoch, &named)
                    .await;
                match verdict.first() {
                    Some(ErrorCode::None) => {}
                    Some(refused) => return Err(*refused),
                    None => return Err(ErrorCode::UnknownServerError),
                }
            }
            options = options.verified_by(guard);
        }
        partition.log.append(batch, options).map_err(|error| {
            let code = append_error(&error);
            if code == ErrorCode::KafkaStorageError && !error.is_of_the_node() {
                tracing::error!(%topic, partition = index, %error, "append failed");
            }
            code
        })
    }
}

impl LocalPartition {
    /// Batches from `offset` on, at most `max_bytes` but at least one whole batch when there is one.
    pub fn read(
        &self,
        offset: i64,
        max_bytes: usize,
        isolation: Isolation,
    ) -> Result<ReadResult, ErrorCode> {
        self.partition
            .log
            .read(offset, max_bytes, isolation, true)
            .map_err(|error| {
                let code = read_error(&error);
                if code != ErrorCode::OffsetOutOfRange {
                    let (topic, partition) = (&self.partition.topic.name, self.partition.index);
                    tracing::error!(%topic, partition, offset, %error, "read failed");
                }
                code
            })
    }

    /// The topic's id.
    pub fn topic_id(&self) -> Uuid {
        self.partition.topic.id
    }

    pub fn offsets(&self) -> LogOffsets {
        self.partition.log.offsets()
    }

    /// The first offset whose record is not older than `timestamp` (ms), and its time.
    pub fn offset_for_timestamp(
        &self,
        timestamp: i64,
        isolation: Isolation,
    ) -> Result<Option<TimestampOffset>, ErrorCode> {
        let found = self
            .partition
            .log
            .offset_for_timestamp(timestamp, isolation);
        found.map_err(|error| read_error(&error))
    }

    /// Notifies `notify` whenever the log moves, until the guard is dropped.
    pub fn watch(&self, notify: Arc<Notify>) -> WatchGuard {
        self.partition.log.watch(notify)
    }

    /// Waits until an append is durable by the node's rules.
    pub async fn flushed(&self, appended: &Appended) -> Result<(), ErrorCode> {
        self.partition
            .log
            .flushed(appended.lsn)
            .await
            .map_err(|error| store_error(&error))
    }

    /// The log itself.
    pub fn log(&self) -> &Arc<Log> {
        &self.partition.log
    }

    /// The leader epoch under which this node appends.
    pub fn leader_epoch(&self) -> i32 {
        self.partition.leader_epoch
    }
}
