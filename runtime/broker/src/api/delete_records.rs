//! DeleteRecords: moves the log start of each partition, so that the records below are gone at once; their segments go
//! with the next retention check.

use std::time::Duration;

use millstream_wire::{
    ErrorCode,
    delete_records::{
        DeleteRecordsPartition, DeleteRecordsPartitionResult, DeleteRecordsRequest,
        DeleteRecordsResponse, DeleteRecordsTopicResult,
    },
};
use tokio::time::{Instant, timeout_at};

use crate::{
    context::RequestContext,
    error_codes::{delete_records_error, store_error},
    internal_topics::is_internal,
    partition::Partition,
};

/// Longest time that a client may let a request wait.
const WAIT_MS_MAX: u64 = 300_000;

pub(super) async fn handle(
    context: &RequestContext,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    let wait_ms = u64::try_from(request.timeout_ms)
        .unwrap_or(0)
        .min(WAIT_MS_MAX);
    let until = Instant::now() + Duration::from_millis(wait_ms);
    // All are begun before the first is waited for: one flush serves them all.
    let mut begun = Vec::new();
    for topic in request.topics {
        let partitions = topic.partitions.iter();
        let partitions: Vec<_> = partitions
            .map(|wanted| (wanted.partition_index, begin(context, &topic.name, wanted)))
            .collect();
        begun.push((topic.name, partitions));
    }
    let mut topics = Vec::new();
    for (name, begun) in begun {
        let mut partitions = Vec::new();
        for (partition_index, begun) in begun {
            let result = match begun {
                Ok(begun) => begun.finish(until).await,
                Err(error) => Err(error),
            };
            partitions.push(DeleteRecordsPartitionResult {
                partition_index,
                low_watermark: result.unwrap_or(-1),
                error_code: result.err().unwrap_or(ErrorCode::None).code(),
            });
        }
        topics.push(DeleteRecordsTopicResult { name, partitions });
    }
    DeleteRecordsResponse {
        throttle_time_ms: 0,
        topics,
    }
}

/// A partition whose log start has moved and is not durable yet.
struct Begun {
    partition: Partition,
    deleted: millstream_log::DeletedRecords,
}

fn begin(
    context: &RequestContext,
    topic: &str,
    wanted: &DeleteRecordsPartition,
) -> Result<Begun, ErrorCode> {
    if is_internal(topic) {
        return Err(ErrorCode::InvalidTopicException);
    }
    let partition = context
        .broker
        .partitions()
        .led(topic, wanted.partition_index)?;
    let deleted = partition
        .log
        .delete_records(wanted.offset)
        .map_err(|error| delete_records_error(&error))?;
    Ok(Begun { partition, deleted })
}

impl Begun {
    /// The low watermark, once it is durable.
    async fn finish(self, until: Instant) -> Result<i64, ErrorCode> {
        let flushed = self.partition.log.flushed(self.deleted.lsn);
        match timeout_at(until, flushed).await {
            Ok(Ok(())) => Ok(self.deleted.log_start),
            Ok(Err(error)) => Err(store_error(&error)),
            Err(_) => Err(ErrorCode::RequestTimedOut),
        }
    }
}
