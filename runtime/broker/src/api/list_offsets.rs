//! ListOffsets: the first and last offsets of partitions, and those at a time.

use millstream_log::{Isolation, TimestampOffset};
use millstream_wire::{
    ErrorCode,
    list_offsets::{
        ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest,
        ListOffsetsResponse, ListOffsetsTopicResponse,
    },
};

use crate::{context::RequestContext, error_codes::read_error};

/// The first version whose answer has a leader epoch.
const LEADER_EPOCH_FROM: i16 = 4;
/// Kafka's times that are none.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;

pub(super) async fn handle(
    context: &RequestContext,
    request: ListOffsetsRequest,
) -> ListOffsetsResponse {
    let isolation = if request.isolation_level == 1 {
        Isolation::Committed
    } else {
        Isolation::Uncommitted
    };
    let topics = request
        .topics
        .into_iter()
        .map(|topic| ListOffsetsTopicResponse {
            partitions: topic
                .partitions
                .iter()
                .map(|asked| one(context, &topic.name, asked, isolation))
                .collect(),
            name: topic.name,
        });
    ListOffsetsResponse {
        throttle_time_ms: 0,
        topics: topics.collect(),
    }
}

fn one(
    context: &RequestContext,
    topic: &str,
    asked: &ListOffsetsPartition,
    isolation: Isolation,
) -> ListOffsetsPartitionResponse {
    let mut response = ListOffsetsPartitionResponse {
        partition_index: asked.partition_index,
        ..Default::default()
    };
    match find(context, topic, asked, isolation) {
        Ok(Some(found)) => {
            response.timestamp = found.timestamp;
            response.offset = found.offset;
            if context.api_version >= LEADER_EPOCH_FROM {
                response.leader_epoch = found.leader_epoch;
            }
        }
        // No record is that young: Kafka answers with -1 in every field.
        Ok(None) => {}
        Err(code) => response.error_code = code.code(),
    }
    response
}

fn find(
    context: &RequestContext,
    topic: &str,
    asked: &ListOffsetsPartition,
    isolation: Isolation,
) -> Result<Option<TimestampOffset>, ErrorCode> {
    let partition = context
        .broker
        .partitions()
        .led(topic, asked.partition_index)?;
    partition.check_leader_epoch(asked.current_leader_epoch)?;
    let offsets = partition.log.offsets();
    let end = if isolation == Isolation::Committed {
        offsets.last_stable
    } else {
        offsets.high_watermark
    };
    let known = |offset, leader_epoch| TimestampOffset {
        timestamp: -1,
        offset,
        leader_epoch,
    };
    match asked.timestamp {
        LATEST => Ok(Some(known(end, partition.leader_epoch))),
        EARLIEST => Ok(Some(known(offsets.log_start, -1))),
        MAX_TIMESTAMP => partition
            .log
            .max_timestamp()
            .map_err(|error| read_error(&error)),
        time if time < 0 => Err(ErrorCode::UnsupportedVersion),
        time => partition
            .log
            .offset_for_timestamp(time, isolation)
            .map_err(|error| read_error(&error)),
    }
}
