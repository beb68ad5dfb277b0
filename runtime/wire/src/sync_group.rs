//! SyncGroup: the leader hands in the assignment and every member takes its own.

use bytes::Bytes;

use crate::codec::api;

api! {
    SyncGroup versions 0..=5, flexible from 4;
    SyncGroupRequest => SyncGroupResponse;

    /// Key 14, the request.
    pub struct SyncGroupRequest {
        pub group_id: String,
        pub generation_id: i32,
        pub member_id: String,
        pub group_instance_id: Option<String> => [since(3)],
        pub protocol_type: Option<String> => [since(5).ignorable()],
        pub protocol_name: Option<String> => [since(5).ignorable()],
        pub assignments: Vec<SyncGroupRequestAssignment>,
    }

    /// An element of `SyncGroupRequest.assignments`.
    pub struct SyncGroupRequestAssignment {
        pub member_id: String,
        pub assignment: Bytes,
    }

    /// The response.
    pub struct SyncGroupResponse {
        pub throttle_time_ms: i32 => [since(1).ignorable()],
        pub error_code: i16,
        pub protocol_type: Option<String> => [since(5).ignorable()],
        pub protocol_name: Option<String> => [since(5).ignorable()],
        pub assignment: Bytes,
    }
}
