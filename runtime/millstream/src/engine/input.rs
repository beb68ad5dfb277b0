//! A partition as a stage task reads it: up to the last stable offset of what is appended.

use std::sync::Arc;

use millstream_broker::{Local, LocalPartition, ReadPositions};
use millstream_log::Isolation;
use millstream_pipeline::ports::{Bounds, InputChunk, InputPartition, PortError};
use millstream_wire::ErrorCode;
use tokio::sync::Notify;
use uuid::Uuid;

use super::errors::{Asked, port_error};

#[derive(Debug)]
pub struct LocalInput {
    topic: String,
    partition: i32,
    log: LocalPartition,
    /// Where a task's reads are noted; none for other readers.
    positions: Option<Arc<ReadPositions>>,
}

impl LocalInput {
    pub fn open(local: &Local, topic: &str, partition: i32) -> Result<LocalInput, PortError> {
        let log = local
            .partition(topic, partition)
            .map_err(|code| port_error(code, Asked::partition(topic, partition)))?;
        Ok(LocalInput {
            topic: topic.to_owned(),
            partition,
            log,
            positions: None,
        })
    }

    /// Notes from now on where it reads.
    pub fn noted_in(mut self, positions: Option<Arc<ReadPositions>>) -> LocalInput {
        self.positions = positions;
        self
    }

    fn note(&self, position: i64) {
        if let Some(positions) = &self.positions {
            positions.set(&self.topic, self.partition, position);
        }
    }

    fn gone(&self) -> PortError {
        PortError::Gone {
            topic: self.topic.clone(),
        }
    }

    fn error(&self, code: ErrorCode, offset: i64) -> PortError {
        if matches!(
            code,
            ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId
        ) {
            return self.gone();
        }
        if code == ErrorCode::OffsetOutOfRange {
            let offsets = self.log.offsets();
            return PortError::OffsetOutOfRange {
                topic: self.topic.clone(),
                partition: self.partition,
                offset,
                log_start: offsets.log_start,
                log_end: offsets.log_end,
            };
        }
        port_error(code, Asked::partition(&self.topic, self.partition))
    }
}

impl InputPartition for LocalInput {
    fn topic_id(&self) -> Uuid {
        self.log.topic_id()
    }

    async fn read(&self, offset: i64, max_bytes: usize) -> Result<InputChunk, PortError> {
        self.note(offset);
        let read = self
            .log
            .read(offset, max_bytes, Isolation::CommittedUnflushed)
            .map_err(|code| self.error(code, offset))?;
        let aborted = read.aborted.iter();
        Ok(InputChunk {
            bytes: read.bytes,
            aborted: aborted
                .map(|transaction| (transaction.producer_id, transaction.first_offset))
                .collect(),
            last_stable: read.offsets.appended_last_stable,
            log_start: read.offsets.log_start,
        })
    }

    async fn bounds(&self) -> Result<Bounds, PortError> {
        let offsets = self.log.offsets();
        Ok(Bounds {
            log_start: offsets.log_start,
            last_stable: offsets.appended_last_stable,
            log_end: offsets.log_end,
        })
    }

    async fn offset_for_timestamp(&self, timestamp_ms: i64) -> Result<Option<i64>, PortError> {
        let found = self
            .log
            .offset_for_timestamp(timestamp_ms, Isolation::CommittedUnflushed)
            .map_err(|code| self.error(code, -1))?;
        Ok(found.map(|found| found.offset))
    }

    async fn wait_beyond(&self, offset: i64) -> Result<(), PortError> {
        self.note(offset);
        if self.log.offsets().appended_last_stable > offset {
            return Ok(());
        }
        let moved = Arc::new(Notify::new());
        let _watch = self.log.watch(Arc::clone(&moved));
        while self.log.offsets().appended_last_stable <= offset {
            // Looked at after the watch began, so that a deletion wakes us or is seen.
            if self.log.log().is_deleted() {
                return Err(self.gone());
            }
            moved.notified().await;
        }
        Ok(())
    }
}
