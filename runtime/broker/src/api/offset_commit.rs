//! OffsetCommit: a group's positions, outside of a transaction.

use millstream_wire::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitResponse,
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};

use super::offsets_to_commit::{Asked, Wanted};
use crate::{context::RequestContext, group::Committer};

pub(super) async fn handle(
    context: &RequestContext,
    request: OffsetCommitRequest,
) -> OffsetCommitResponse {
    let image = context.broker.cluster().image();
    let wanted = request.topics.into_iter().map(|topic| {
        let wanted = |partition: OffsetCommitRequestPartition| Wanted {
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
    let topics = asked.answers(results).map(|(name, partitions)| {
        let answer = |(partition_index, error_code)| OffsetCommitResponsePartition {
            partition_index,
            error_code,
        };
        OffsetCommitResponseTopic {
            name,
            partitions: partitions.into_iter().map(answer).collect(),
        }
    });
    OffsetCommitResponse {
        throttle_time_ms: 0,
        topics: topics.collect(),
    }
}
