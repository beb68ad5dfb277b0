//! TxnOffsetCommit: a group's positions, within a producer's transaction.

use millstream_wire::{
    ErrorCode,
    txn_offset_commit::{
        TxnOffsetCommitRequest, TxnOffsetCommitResponse, TxnOffsetCommitResponsePartition,
        TxnOffsetCommitResponseTopic,
    },
};

use crate::{
    context::RequestContext,
    coordinator::TopicPartition,
    group::{Committer, OffsetToCommit},
    transaction::{Durability, Producer},
};

pub(super) async fn handle(
    context: &RequestContext,
    request: TxnOffsetCommitRequest,
) -> TxnOffsetCommitResponse {
    let image = context.broker.cluster().image();
    let exists = |topic: &str, index: i32| {
        let count = image.topic(topic).map_or(0, |topic| topic.partitions.len());
        usize::try_from(index).is_ok_and(|index| index < count)
    };
    let mut offsets = Vec::new();
    let mut topics: Vec<TxnOffsetCommitResponseTopic> = Vec::with_capacity(request.topics.len());
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
            partitions.push(TxnOffsetCommitResponsePartition {
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
        topics.push(TxnOffsetCommitResponseTopic {
            name: topic.name,
            partitions,
        });
    }
    let count = offsets.len();
    let committer = Committer {
        member_id: &request.member_id,
        instance_id: request.group_instance_id.as_deref(),
        generation: request.generation_id,
    };
    let producer = Producer {
        id: request.producer_id,
        epoch: request.producer_epoch,
    };
    let results = context
        .broker
        .transactions()
        .commit_offsets(
            &request.transactional_id,
            producer,
            &request.group_id,
            committer,
            offsets,
            Durability::Flushed,
        )
        .await
        .unwrap_or_else(|error| vec![told(error); count]);
    let accepted = topics
        .iter_mut()
        .flat_map(|topic| &mut topic.partitions)
        .filter(|partition| partition.error_code == ErrorCode::None.code());
    for (partition, result) in accepted.zip(results) {
        partition.error_code = result.code();
    }
    TxnOffsetCommitResponse {
        throttle_time_ms: 0,
        topics,
    }
}

/// The codes that a client expects from the group coordinator (no version up to 3 knows PRODUCER_FENCED here).
fn told(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
        other => other,
    }
}
