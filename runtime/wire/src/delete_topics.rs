//! DeleteTopics: deletes topics, by name or, from version 6, by id.

use uuid::Uuid;

use crate::codec::api;

api! {
    DeleteTopics versions 1..=6, flexible from 4;
    DeleteTopicsRequest => DeleteTopicsResponse;

    /// Key 20, the request.
    pub struct DeleteTopicsRequest {
        pub topics: Vec<DeleteTopicState> => [since(6)],
        pub topic_names: Vec<String> => [until(5).ignorable()],
        pub timeout_ms: i32,
    }

    /// An element of `DeleteTopicsRequest.topics`.
    pub struct DeleteTopicState {
        pub name: Option<String>,
        pub topic_id: Uuid,
    }

    /// The response.
    pub struct DeleteTopicsResponse {
        pub throttle_time_ms: i32,
        pub responses: Vec<DeletableTopicResult>,
    }

    /// An element of `DeleteTopicsResponse.responses`.
    pub struct DeletableTopicResult {
        pub name: Option<String> => [nullable(6)],
        pub topic_id: Uuid => [since(6).ignorable()],
        pub error_code: i16,
        pub error_message: Option<String> => [since(5).ignorable()],
    }
}
