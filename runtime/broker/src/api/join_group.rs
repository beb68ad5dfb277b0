//! JoinGroup: a member enters a classic group, or enters it again.

use millstream_wire::join_group::{JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember};

use crate::{context::RequestContext, group::JoinRequest};

/// From here on a new member is told its id first (KIP-394).
const KNOWN_MEMBER_ID_FROM: i16 = 4;
/// From here on a static leader may be told to skip the assignment (KIP-814).
const SKIPPING_FROM: i16 = 9;
/// From here on the protocol's name may be null.
const NULLABLE_PROTOCOL_FROM: i16 = 7;

pub(super) async fn handle(
    context: &RequestContext,
    request: JoinGroupRequest,
) -> JoinGroupResponse {
    let rebalance_timeout_ms = match request.rebalance_timeout_ms {
        // Version 0 has one time-out for both.
        -1 => request.session_timeout_ms,
        timeout_ms => timeout_ms,
    };
    let join = JoinRequest {
        request: 0,
        member_id: request.member_id,
        instance_id: request.group_instance_id,
        client_id: context.client_id.clone().unwrap_or_default(),
        client_host: context.client_host(),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms,
        protocol_type: request.protocol_type,
        protocols: request
            .protocols
            .into_iter()
            .map(|protocol| (protocol.name, protocol.metadata))
            .collect(),
        require_known_member_id: context.api_version >= KNOWN_MEMBER_ID_FROM,
        supports_skipping_assignment: context.api_version >= SKIPPING_FROM,
        fresh_member_id: String::new(),
    };
    let answer = context.broker.groups().join(&request.group_id, join).await;
    let protocol_name = match answer.protocol {
        None if context.api_version < NULLABLE_PROTOCOL_FROM => Some(String::new()),
        name => name,
    };
    let members = answer
        .members
        .into_iter()
        .map(
            |(member_id, group_instance_id, metadata)| JoinGroupResponseMember {
                member_id,
                group_instance_id,
                metadata,
            },
        )
        .collect();
    JoinGroupResponse {
        throttle_time_ms: 0,
        error_code: answer.error.code(),
        generation_id: answer.generation,
        protocol_type: answer.protocol_type,
        protocol_name,
        leader: answer.leader,
        skip_assignment: answer.skip_assignment,
        member_id: answer.member_id,
        members,
    }
}
