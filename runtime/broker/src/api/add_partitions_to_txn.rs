//! AddPartitionsToTxn: partitions join a producer's transaction before their first data.

use millstream_cluster::Image;
use millstream_wire::{
    ErrorCode,
    add_partitions_to_txn::{
        AddPartitionsToTxnPartitionResult, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
        AddPartitionsToTxnTopic, AddPartitionsToTxnTopicResult,
    },
};

use super::end_txn::for_version;
use crate::{
    context::RequestContext,
    coordinator::TopicPartition,
    internal_topics::is_internal,
    transaction::{Durability, Producer},
};

/// The first version that knows PRODUCER_FENCED.
const FENCED_FROM: i16 = 2;

pub(super) async fn handle(
    context: &RequestContext,
    request: AddPartitionsToTxnRequest,
) -> AddPartitionsToTxnResponse {
    let image = context.broker.cluster().image();
    // A topic without partitions asks for nothing and, as in Kafka, is answered nothing: an error has no place but at a
    // partition.
    let topics: Vec<Asked> = request
        .v3_and_below_topics
        .into_iter()
        .filter(|topic| !topic.partitions.is_empty())
        .map(|topic| Asked::of(&image, topic))
        .collect();
    let is_sound = topics
        .iter()
        .flat_map(|topic| &topic.partitions)
        .all(|(_, verdict)| verdict.is_ok());
    let result = if topics.is_empty() {
        ErrorCode::None
    } else if is_sound {
        let partitions: Vec<TopicPartition> = topics.iter().flat_map(Asked::partitions).collect();
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
    AddPartitionsToTxnResponse {
        throttle_time_ms: 0,
        results_by_topic_v3_and_below: topics
            .into_iter()
            .map(|topic| topic.answered(result))
            .collect(),
    }
}

/// A topic of the request: each partition, and whether it may be written in a transaction.
struct Asked {
    topic: String,
    partitions: Vec<(i32, Result<(), ErrorCode>)>,
}

impl Asked {
    /// Offsets and sources' progress join a transaction on other roads; no client writes their topics, as in Kafka.
    fn of(image: &Image, asked: AddPartitionsToTxnTopic) -> Asked {
        let topic = image.topic(&asked.name);
        let count = topic.map_or(0, |topic| topic.partitions.len());
        let is_internal = is_internal(&asked.name);
        let check = |index: i32| match usize::try_from(index) {
            _ if is_internal => Err(ErrorCode::TopicAuthorizationFailed),
            Ok(position) if position < count => Ok(()),
            _ => Err(ErrorCode::UnknownTopicOrPartition),
        };
        Asked {
            topic: asked.name,
            partitions: asked
                .partitions
                .into_iter()
                .map(|index| (index, check(index)))
                .collect(),
        }
    }

    fn partitions(&self) -> impl Iterator<Item = TopicPartition> {
        self.partitions
            .iter()
            .map(|(index, _)| TopicPartition::new(self.topic.clone(), *index))
    }

    /// The answer: `result` for every partition that has no error of its own.
    fn answered(self, result: ErrorCode) -> AddPartitionsToTxnTopicResult {
        let partitions = self.partitions.into_iter();
        let answers = partitions.map(|(partition_index, verdict)| {
            let error = verdict.err().unwrap_or(result);
            AddPartitionsToTxnPartitionResult {
                partition_index,
                partition_error_code: error.code(),
            }
        });
        AddPartitionsToTxnTopicResult {
            name: self.topic,
            results_by_partition: answers.collect(),
        }
    }
}
