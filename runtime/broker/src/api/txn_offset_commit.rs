//! TxnOffsetCommit: a group's positions, within a producer's transaction.

use millstream_wire::{
    ErrorCode,
    offset_commit::{
        OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetCommitResponseTopic,
    },
    txn_offset_commit::{
        TxnOffsetCommitRequest, TxnOffsetCommitRequestTopic, TxnOffsetCommitResponse,
        TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
    },
};

use super::offsets_to_commit::Asked;
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
    let (offsets, asked) = Asked::part(&image, request.topics.into_iter().map(asked_for));
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
    TxnOffsetCommitResponse {
        throttle_time_ms: 0,
        topics: asked.answers(results).map(answered).collect(),
    }
}

/// The same in OffsetCommit's words.
fn asked_for(topic: TxnOffsetCommitRequestTopic) -> OffsetCommitRequestTopic {
    let partitions = topic.partitions.into_iter();
    let partitions = partitions.map(|one| OffsetCommitRequestPartition {
        partition_index: one.partition_index,
        committed_offset: one.committed_offset,
        committed_leader_epoch: one.committed_leader_epoch,
        committed_metadata: one.committed_metadata,
    });
    OffsetCommitRequestTopic {
        name: topic.name,
        partitions: partitions.collect(),
    }
}

/// And back from them.
fn answered(topic: OffsetCommitResponseTopic) -> TxnOffsetCommitResponseTopic {
    let partitions = topic.partitions.into_iter();
    let partitions = partitions.map(|one| TxnOffsetCommitResponsePartition {
        partition_index: one.partition_index,
        error_code: one.error_code,
    });
    TxnOffsetCommitResponseTopic {
        name: topic.name,
        partitions: partitions.collect(),
    }
}

/// The codes that a client expects from the group coordinator (no version up to 3 knows PRODUCER_FENCED here).
fn told(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
        other => other,
    }
}
