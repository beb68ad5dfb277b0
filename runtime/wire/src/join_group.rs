//! JoinGroup: enters a classic group or rejoins it.
//! Version 4 may answer MEMBER_ID_REQUIRED, 5 has static members, 7 names the protocol type,
//! 8 gives a reason, 9 lets the leader skip the assignment (KIP-814).

use bytes::Bytes;

use crate::codec::api;

api! {
    JoinGroup versions 0..=9, flexible from 6;
    JoinGroupRequest => JoinGroupResponse;

    /// Key 11, the request.
    pub struct JoinGroupRequest {
        pub group_id: String,
        pub session_timeout_ms: i32,
        pub rebalance_timeout_ms: i32 = -1 => [since(1).ignorable()],
        pub member_id: String,
        pub group_instance_id: Option<String> => [since(5)],
        pub protocol_type: String,
        pub protocols: Vec<JoinGroupRequestProtocol>,
        pub reason: Option<String> => [since(8).ignorable()],
    }

    /// An element of `JoinGroupRequest.protocols`.
    pub struct JoinGroupRequestProtocol {
        pub name: String,
        pub metadata: Bytes,
    }

    /// The response.
    pub struct JoinGroupResponse {
        pub throttle_time_ms: i32 => [since(2).ignorable()],
        pub error_code: i16,
        pub generation_id: i32 = -1,
        pub protocol_type: Option<String> => [since(7).ignorable()],
        pub protocol_name: Option<String> => [nullable(7)],
        pub leader: String,
        pub skip_assignment: bool => [since(9)],
        pub member_id: String,
        pub members: Vec<JoinGroupResponseMember>,
    }

    /// An element of `JoinGroupResponse.members`.
    pub struct JoinGroupResponseMember {
        pub member_id: String,
        pub group_instance_id: Option<String> => [since(5).ignorable()],
        pub metadata: Bytes,
    }
}
