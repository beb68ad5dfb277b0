//! AddPartitionsToTxn: partitions join a producer's transaction before their first data.

use millstream_wire::{
    ErrorCode,
    add_partitions_to_txn::{
        AddPartitionsToTxnPartitionResult, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
        AddPartitionsToTxnTopicResult,
    },
};

use super::end_txn::for_version;
use crate::{
    context::RequestContext,
    coordinator::TopicPartition,
    transaction::{Durability, Producer},
};

/// The first version that knows PRODUCER_FENCED.
const FENCED_FROM: i16 = 2;

pub(super) async fn handle(
    context: &RequestContext,
    request: AddPartitionsToTxnRequest,
) -> AddPartitionsToTxnResponse {
    let partitions: Vec<TopicPartition> = request
        .v3_and_below_topics
        .iter()
        .flat_map(|topic| {
            topic
                .partitions
                .iter()
                .map(|index| TopicPartition::new(topic.name.clone(), *index))
        })
        .collect();
    let unknown = unknown_partitions(context, &partitions);
    let result = if unknown.is_empty() {
        let producer = Producer {
            id: request.v3_and_below_producer_id,
            epoch: request.v3_and_below_producer_epoch,
        };
        let id = &request.v3_and_below_transactional_id;
        let added = context
            .broker
            .transactions()
            .add_partitions(id, producer, &partitions, Durability::Flushed)
            .await;
        for_version(context.api_version, FENCED_FROM, added)
    } else {
        // All or nothing: the others were not even tried.
        ErrorCode::OperationNotAttempted
    };
    let answer = |topic: &str, index: i32| {
        let is_unknown = unknown
            .iter()
            .any(|one| one.topic == topic && one.partition == index);
        let error = if is_unknown {
            ErrorCode::UnknownTopicOrPartition
        } else {
            result
        };
        AddPartitionsToTxnPartitionResult {
            partition_index: index,
            partition_error_code: error.code(),
        }
    };
    let results = request
        .v3_and_below_topics
        .iter()
        .map(|topic| AddPartitionsToTxnTopicResult {
            name: topic.name.clone(),
            results_by_partition: topic
                .partitions
                .iter()
                .map(|index| answer(&topic.name, *index))
                .collect(),
        })
        .collect();
    AddPartitionsToTxnResponse {
        throttle_time_ms: 0,
        results_by_topic_v3_and_below: results,
    }
}

fn unknown_partitions(
    context: &RequestContext,
    partitions: &[TopicPartition],
) -> Vec<TopicPartition> {
    let image = context.broker.cluster().image();
    let exists = |one: &&TopicPartition| {
        let count = image
            .topic(&one.topic)
            .map_or(0, |topic| topic.partitions.len());
        usize::try_from(one.partition).is_ok_and(|index| index < count)
    };
    partitions
        .iter()
        .filter(|one| !exists(one))
        .cloned()
        .collect()
}
