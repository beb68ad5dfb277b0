//! Metadata: brokers, topics, partitions and their leaders.
//! In version 0 an empty topic list means all topics; from version 1 on null does. Version 4 may
//! forbid auto-creation, 5 lists offline replicas, 7 gives leader epochs, 10 topic ids.

use uuid::Uuid;

use crate::codec::api;

api! {
    Metadata versions 0..=12, flexible from 9;
    MetadataRequest => MetadataResponse;

    /// Key 3, the request.
    pub struct MetadataRequest {
        pub topics: Option<Vec<MetadataRequestTopic>> => [nullable(1)],
        pub allow_auto_topic_creation: bool = true => [since(4)],
        pub include_cluster_authorized_operations: bool => [since(8).until(10)],
        pub include_topic_authorized_operations: bool => [since(8)],
    }

    /// An element of `MetadataRequest.topics`.
    pub struct MetadataRequestTopic {
        pub topic_id: Uuid => [since(10).ignorable()],
        pub name: Option<String> => [nullable(10)],
    }

    /// The response.
    pub struct MetadataResponse {
        pub throttle_time_ms: i32 => [since(3).ignorable()],
        pub brokers: Vec<MetadataResponseBroker>,
        pub cluster_id: Option<String> => [since(2).ignorable()],
        pub controller_id: i32 = -1 => [since(1).ignorable()],
        pub topics: Vec<MetadataResponseTopic>,
        pub cluster_authorized_operations: i32 = i32::MIN => [since(8).until(10)],
    }

    /// An element of `MetadataResponse.brokers`.
    pub struct MetadataResponseBroker {
        pub node_id: i32,
        pub host: String,
        pub port: i32,
        pub rack: Option<String> => [since(1).ignorable()],
    }

    /// An element of `MetadataResponse.topics`.
    pub struct MetadataResponseTopic {
        pub error_code: i16,
        pub name: Option<String> => [nullable(12)],
        pub topic_id: Uuid => [since(10).ignorable()],
        pub is_internal: bool => [since(1).ignorable()],
        pub partitions: Vec<MetadataResponsePartition>,
        pub topic_authorized_operations: i32 = i32::MIN => [since(8)],
    }

    /// An element of `MetadataResponseTopic.partitions`.
    pub struct MetadataResponsePartition {
        pub error_code: i16,
        pub partition_index: i32,
        pub leader_id: i32,
        pub leader_epoch: i32 = -1 => [since(7).ignorable()],
        pub replica_nodes: Vec<i32>,
        pub isr_nodes: Vec<i32>,
        pub offline_replicas: Vec<i32> => [since(5).ignorable()],
    }
}
