//! SyncGroup: the leader hands in the assignment, every member gets its share.

use millstream_wire::sync_group::{SyncGroupRequest, SyncGroupResponse};

use crate::{context::RequestContext, group::SyncRequest};

pub(super) async fn handle(
    context: &RequestContext,
    request: SyncGroupRequest,
) -> SyncGroupResponse {
    let sync = SyncRequest {
        request: 0,
        member_id: request.member_id,
        instance_id: request.group_instance_id,
        generation: request.generation_id,
        protocol_type: request.protocol_type,
        protocol: request.protocol_name,
        assignments: request
            .assignments
            .into_iter()
            .map(|share| (share.member_id, share.assignment))
            .collect(),
    };
    let answer = context.broker.groups().sync(&request.group_id, sync).await;
    SyncGroupResponse {
        throttle_time_ms: 0,
        error_code: answer.error.code(),
        protocol_type: answer.protocol_type,
        protocol_name: answer.protocol,
        assignment: answer.assignment,
    }
}
