//! OffsetCommit: a group's positions, outside of a transaction.

use millstream_wire::offset_commit::{OffsetCommitRequest, OffsetCommitResponse};

use super::offsets_to_commit::Asked;
use crate::{context::RequestContext, group::Committer};

pub(super) async fn handle(
    context: &RequestContext,
    request: OffsetCommitRequest,
) -> OffsetCommitResponse {
    let image = context.broker.cluster().image();
    let (offsets, asked) = Asked::part(&image, request.topics);
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
    OffsetCommitResponse {
        throttle_time_ms: 0,
        topics: asked.answers(results).collect(),
    }
}
