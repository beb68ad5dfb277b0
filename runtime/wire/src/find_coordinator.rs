//! FindCoordinator: which broker coordinates a group (key type 0) or a transactional id (1).
//! From version 4 one request asks for many keys, in other fields.

use crate::codec::api;

api! {
    FindCoordinator versions 0..=5, flexible from 3;
    FindCoordinatorRequest => FindCoordinatorResponse;

    /// Key 10, the request.
    pub struct FindCoordinatorRequest {
        pub key: String => [until(3)],
        pub key_type: i8 => [since(1)],
        pub coordinator_keys: Vec<String> => [since(4)],
    }

    /// The response.
    pub struct FindCoordinatorResponse {
        pub throttle_time_ms: i32 => [since(1).ignorable()],
        pub error_code: i16 => [until(3)],
        pub error_message: Option<String> => [since(1).until(3).ignorable()],
        pub node_id: i32 => [until(3)],
        pub host: String => [until(3)],
        pub port: i32 => [until(3)],
        pub coordinators: Vec<Coordinator> => [since(4)],
    }

    /// An element of `FindCoordinatorResponse.coordinators`.
    pub struct Coordinator {
        pub key: String,
        pub node_id: i32,
        pub host: String,
        pub port: i32,
        pub error_code: i16,
        pub error_message: Option<String>,
    }
}
