//! Heartbeat: a member is alive, and learns whether the group rebalances.

use millstream_wire::{
    ErrorCode,
    heartbeat::{HeartbeatRequest, HeartbeatResponse},
};

use crate::context::RequestContext;

pub(super) async fn handle(
    context: &RequestContext,
    request: HeartbeatRequest,
) -> HeartbeatResponse {
    let instance_id = request.group_instance_id.as_deref();
    let beat = context
        .broker
        .groups()
        .heartbeat(
            &request.group_id,
            &request.member_id,
            instance_id,
            request.generation_id,
        )
        .await;
    HeartbeatResponse {
        throttle_time_ms: 0,
        error_code: beat.err().unwrap_or(ErrorCode::None).code(),
    }
}
