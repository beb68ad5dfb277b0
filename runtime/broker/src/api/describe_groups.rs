//! DescribeGroups: groups with their members.

use millstream_wire::{
    ErrorCode,
    describe_groups::{
        DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
    },
};

use super::once::once;
use crate::{context::RequestContext, group::GroupState};

/// Operations on a group that a client without restrictions may do, as bits of Kafka's `AclOperation`: read, delete,
/// describe, describe and alter configs.
const GROUP_OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;
/// From here on a group that does not exist is an error of its own, and answers have a message (KIP-1043).
const MESSAGE_FROM: i16 = 6;

pub(super) async fn handle(
    context: &RequestContext,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let authorized_operations = match request.include_authorized_operations {
        true => GROUP_OPERATIONS,
        false => i32::MIN,
    };
    let mut groups = Vec::with_capacity(request.groups.len().min(1_024));
    for group_id in once(request.groups, String::clone) {
        let mut described = describe(context, group_id).await;
        if described.error_code == ErrorCode::None.code() {
            described.authorized_operations = authorized_operations;
        }
        groups.push(described);
    }
    DescribeGroupsResponse {
        throttle_time_ms: 0,
        groups,
    }
}

async fn describe(context: &RequestContext, group_id: String) -> DescribedGroup {
    match context.broker.groups().describe(&group_id).await {
        Ok(Some(group)) => DescribedGroup {
            // A group that a stage holds may exist and its stage be stopped: the message says why, without an error.
            error_message: (context.api_version >= MESSAGE_FROM)
                .then(|| context.broker.group_note(&group_id))
                .flatten(),
            group_id,
            group_state: group.state.to_string(),
            protocol_type: group.protocol_type,
            protocol_data: group.protocol,
            members: group
                .members
                .into_iter()
                .map(|member| DescribedGroupMember {
                    member_id: member.member_id,
                    group_instance_id: member.instance_id,
                    client_id: member.client_id,
                    client_host: member.client_host,
                    member_metadata: member.metadata,
                    member_assignment: member.assignment,
                })
                .collect(),
            ..DescribedGroup::default()
        },
        Ok(None) => {
            let message = format!("Group {group_id} not found.");
            let is_error = context.api_version >= MESSAGE_FROM;
            DescribedGroup {
                error_code: if is_error {
                    ErrorCode::GroupIdNotFound
                } else {
                    ErrorCode::None
                }
                .code(),
                error_message: is_error.then_some(message),
                group_id,
                group_state: GroupState::Dead.to_string(),
                ..DescribedGroup::default()
            }
        }
        Err(error) => DescribedGroup {
            error_code: error.code(),
            error_message: (context.api_version >= MESSAGE_FROM)
                .then(|| context.broker.groups().failure_of(&group_id))
                .flatten(),
            group_id,
            ..DescribedGroup::default()
        },
    }
}
