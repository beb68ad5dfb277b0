//! Heartbeat: keeps a member of a classic group alive.

use crate::codec::api;

api! {
    Heartbeat versions 0..=4, flexible from 4;
    HeartbeatRequest => HeartbeatResponse;

    /// Key 12, the request.
    pub struct HeartbeatRequest {
        pub group_id: String,
        pub generation_id: i32,
        pub member_id: String,
        pub group_instance_id: Option<String> => [since(3)],
    }

    /// The response.
    pub struct HeartbeatResponse {
        pub throttle_time_ms: i32 => [since(1).ignorable()],
        pub error_code: i16,
    }
}
