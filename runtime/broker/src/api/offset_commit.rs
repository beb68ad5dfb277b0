//! OffsetCommit: a group's positions, outside of a transaction.

use millstream_wire::{
    ErrorCode,
    offset_commit::{
        OffsetCommitRequest, OffsetCommitResponse, OffsetCommitResponsePartition,
        OffsetCommitResponseTopic,
    },
};

use crate::{
    context::RequestContext,
    coordinator::TopicPartition,
    group::{Committer, OffsetToCommit},
};

pub(super) async fn handle(
    context: &RequestContext,
    request: OffsetCommitRequest,
) -> OffsetCommitResponse {
    let image = context.broker.cluster().image();
    let exists = |topic: &str, index: i32| {
        let count = image.topic(topic).map_or(0, |topic| topic.partitions.len());
        usize::try_from(index).is_ok_and(|index| index < count)
    };
    // The answer in the request's order; partitions that exist are filled in below.
    let mut offsets = Vec::new();
    let mut topics: Vec<OffsetCommitResponseTopic> = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in topic.partitions {
            let index = partition.partition_index;
            let known = exists(&topic.name, index);
            let error = if known {
                ErrorCode::None
            } else {
                ErrorCode::UnknownTopicOrPartition
            };
            partitions.push(OffsetCommitResponsePartition {
                partition_index: index,
                error_code: error.code(),
            });
            if known {
                offsets.push(OffsetToCommit {
                    partition: TopicPartition::new(topic.name.clone(), index),
                    offset: partition.committed_offset,
                    leader_epoch: partition.committed_leader_epoch,
                    metadata: partition.committed_metadata.unwrap_or_default(),
                });
            }
        }
        topics.push(OffsetCommitResponseTopic {
            name: topic.name,
            partitions,
        });
    }
    let committer = Committer {
        member_id: &request.member_id,
        instance_id: request.group_instance_id.as_deref(),
        generation: request.generation_id_or_member_epoch,
    };
    let retention_ms = (request.retention_time_ms >= 0).then_some(request.retention_time_ms);
    let results = context
        .broker
        .groups()
        .commit_offsets(&request.group_id, committer, retention_ms, offsets)
        .await;
    let accepted = topics
        .iter_mut()
        .flat_map(|topic| &mut topic.partitions)
        .filter(|partition| partition.error_code == ErrorCode::None.code());
    for (partition, result) in accepted.zip(results) {
        partition.error_code = result.code();
    }
    OffsetCommitResponse {
        throttle_time_ms: 0,
        topics,
    }
}
