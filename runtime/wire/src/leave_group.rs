//! LeaveGroup: members leave a classic group.
//! Up to version 2 one member, from version 3 a list of them, in other fields.

use crate::codec::api;

api! {
    LeaveGroup versions 0..=5, flexible from 4;
    LeaveGroupRequest => LeaveGroupResponse;

    /// Key 13, the request.
    pub struct LeaveGroupRequest {
        pub group_id: String,
        pub member_id: String => [until(2)],
        pub members: Vec<MemberIdentity> => [since(3)],
    }

    /// An element of `LeaveGroupRequest.members`.
    pub struct MemberIdentity {
        pub member_id: String,
        pub group_instance_id: Option<String>,
        pub reason: Option<String> => [since(5).ignorable()],
    }

    /// The response.
    pub struct LeaveGroupResponse {
        pub throttle_time_ms: i32 => [since(1).ignorable()],
        pub error_code: i16,
        pub members: Vec<MemberResponse> => [since(3)],
    }

    /// An element of `LeaveGroupResponse.members`.
    pub struct MemberResponse {
        pub member_id: String,
        pub group_instance_id: Option<String>,
        pub error_code: i16,
    }
}
