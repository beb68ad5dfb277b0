//! Produce: appends record batches to partitions.
//! The record set of a partition is an opaque slice of the frame. Version 7 allows zstd,
//! 8 reports single records that were refused, 9 is flexible, 10 names the present leader (KIP-951).

use bytes::Bytes;

use crate::codec::api;

api! {
    Produce versions 3..=11, flexible from 9;
    ProduceRequest => ProduceResponse;

    /// Key 0, the request.
    pub struct ProduceRequest {
        pub transactional_id: Option<String>,
        pub acks: i16,
        pub timeout_ms: i32,
        pub topic_data: Vec<TopicProduceData>,
    }

    /// An element of `ProduceRequest.topic_data`.
    pub struct TopicProduceData {
        pub name: String,
        pub partition_data: Vec<PartitionProduceData>,
    }

    /// An element of `TopicProduceData.partition_data`.
    pub struct PartitionProduceData {
        pub index: i32,
        pub records: Option<Bytes>,
    }

    /// The response.
    pub struct ProduceResponse {
        pub responses: Vec<TopicProduceResponse>,
        pub throttle_time_ms: i32,
        pub node_endpoints: Vec<NodeEndpoint> => [since(10).tag(0).ignorable()],
    }

    /// An element of `ProduceResponse.responses`.
    pub struct TopicProduceResponse {
        pub name: String,
        pub partition_responses: Vec<PartitionProduceResponse>,
    }

    /// An element of `TopicProduceResponse.partition_responses`.
    pub struct PartitionProduceResponse {
        pub index: i32,
        pub error_code: i16,
        pub base_offset: i64,
        pub log_append_time_ms: i64 = -1,
        pub log_start_offset: i64 = -1 => [since(5).ignorable()],
        pub record_errors: Vec<BatchIndexAndErrorMessage> => [since(8).ignorable()],
        pub error_message: Option<String> => [since(8).ignorable()],
        pub current_leader: LeaderIdAndEpoch => [since(10).tag(0).ignorable()],
    }

    /// An element of `PartitionProduceResponse.record_errors`.
    pub struct BatchIndexAndErrorMessage {
        pub batch_index: i32,
        pub batch_index_error_message: Option<String>,
    }

    /// The value of `PartitionProduceResponse.current_leader`.
    pub struct LeaderIdAndEpoch {
        pub leader_id: i32 = -1,
        pub leader_epoch: i32 = -1,
    }

    /// An element of `ProduceResponse.node_endpoints`.
    pub struct NodeEndpoint {
        pub node_id: i32,
        pub host: String,
        pub port: i32,
        pub rack: Option<String>,
    }
}
