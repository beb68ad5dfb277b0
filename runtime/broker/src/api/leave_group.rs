//! LeaveGroup: members leave a classic group.

use millstream_wire::{
    ErrorCode,
    leave_group::{LeaveGroupRequest, LeaveGroupResponse, MemberIdentity, MemberResponse},
};

use crate::context::RequestContext;

/// From here on one request takes several members out.
const BATCHED_FROM: i16 = 3;

pub(super) async fn handle(
    context: &RequestContext,
    request: LeaveGroupRequest,
) -> LeaveGroupResponse {
    let members = match context.api_version >= BATCHED_FROM {
        true => request.members,
        false => vec![MemberIdentity {
            member_id: request.member_id,
            ..MemberIdentity::default()
        }],
    };
    let names: Vec<(String, Option<String>)> = members
        .iter()
        .map(|member| (member.member_id.clone(), member.group_instance_id.clone()))
        .collect();
    let results = match context
        .broker
        .groups()
        .leave(&request.group_id, &names)
        .await
    {
        Ok(results) => results,
        Err(error) => {
            return LeaveGroupResponse {
                error_code: error.code(),
                ..LeaveGroupResponse::default()
            };
        }
    };
    if context.api_version < BATCHED_FROM {
        let error = results.first().copied().unwrap_or(ErrorCode::None);
        return LeaveGroupResponse {
            error_code: error.code(),
            ..LeaveGroupResponse::default()
        };
    }
    let members = members
        .into_iter()
        .zip(results)
        .map(|(member, result)| MemberResponse {
            member_id: member.member_id,
            group_instance_id: member.group_instance_id,
            error_code: result.code(),
        })
        .collect();
    LeaveGroupResponse {
        members,
        ..LeaveGroupResponse::default()
    }
}
