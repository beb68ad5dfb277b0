//! TxnOffsetCommit: a group's positions, within a producer's transaction.

use millstream_wire::{
    ErrorCode,
    txn_offset_commit::{
        TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitResponse,
        TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
    },
};

use super::offsets_to_commit::{Asked, Wanted};
use crate::{
    context::RequestContext,
    group::Committer,
    transaction::{Durability, Producer},
};

pub(super) async fn handle(
    context: &RequestContext,
    request: TxnOffsetCommitRequest,
) -> TxnOffsetCommitResponse {
    let image = context.broker.cluster().image();
    let wanted = request.topics.into_iter().map(|topic| {
        let wanted = |partition: TxnOffsetCommitRequestPartition| Wanted {
            index: partition.partition_index,
            offset: partition.committed_offset,
            leader_epoch: partition.committed_leader_epoch,
            metadata: partition.committed_metadata,
        };
        (
            topic.name,
            topic.partitions.into_iter().map(wanted).collect(),
        )
    });
    let (offsets, asked) = Asked::part(&image, wanted);
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
    let topics = asked.answers(results).map(|(name, partitions)| {
        let answer = |(partition_index, error_code)| TxnOffsetCommitResponsePartition {
            partition_index,
            error_code,
        };
        TxnOffsetCommitResponseTopic {
            name,
            partitions: partitions.into_iter().map(answer).collect(),
        }
    });
    TxnOffsetCommitResponse {
        throttle_time_ms: 0,
        topics: topics.collect(),
    }
}

/// The codes that a client expects from the group coordinator (no version up to 3 knows PRODUCER_FENCED here).
fn told(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
        other => other,
    }
}
