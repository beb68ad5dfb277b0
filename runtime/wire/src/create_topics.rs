//! CreateTopics: creates topics.
//! Version 4 takes -1 for the broker's defaults, 5 answers with the settings in force, 7 with
//! the topic's id.

use uuid::Uuid;

use crate::codec::api;

api! {
    CreateTopics versions 2..=7, flexible from 5;
    CreateTopicsRequest => CreateTopicsResponse;

    /// Key 19, the request.
    pub struct CreateTopicsRequest {
        pub topics: Vec<CreatableTopic>,
        pub timeout_ms: i32 = 60000,
        pub validate_only: bool,
    }

    /// An element of `CreateTopicsRequest.topics`.
    pub struct CreatableTopic {
        pub name: String,
        pub num_partitions: i32,
        pub replication_factor: i16,
        pub assignments: Vec<CreatableReplicaAssignment>,
        pub configs: Vec<CreatableTopicConfig>,
    }

    /// An element of `CreatableTopic.assignments`.
    pub struct CreatableReplicaAssignment {
        pub partition_index: i32,
        pub broker_ids: Vec<i32>,
    }

    /// An element of `CreatableTopic.configs`.
    pub struct CreatableTopicConfig {
        pub name: String,
        pub value: Option<String>,
    }

    /// The response.
    pub struct CreateTopicsResponse {
        pub throttle_time_ms: i32,
        pub topics: Vec<CreatableTopicResult>,
    }

    /// An element of `CreateTopicsResponse.topics`.
    pub struct CreatableTopicResult {
        pub name: String,
        pub topic_id: Uuid => [since(7).ignorable()],
        pub error_code: i16,
        pub error_message: Option<String>,
        pub topic_config_error_code: i16 => [since(5).tag(0).ignorable()],
        pub num_partitions: i32 = -1 => [since(5).ignorable()],
        pub replication_factor: i16 = -1 => [since(5).ignorable()],
        pub configs: Option<Vec<CreatableTopicConfigs>> => [since(5).ignorable()],
    }

    /// An element of `CreatableTopicResult.configs`.
    pub struct CreatableTopicConfigs {
        pub name: String,
        pub value: Option<String>,
        pub read_only: bool,
        pub config_source: i8 = -1,
        pub is_sensitive: bool,
    }
}
