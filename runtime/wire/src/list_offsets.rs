//! ListOffsets: finds an offset by time.
//! The timestamps -1 (latest; the last stable offset under `read_committed`), -2 (earliest) and,
//! from version 7, -3 (the record with the greatest timestamp) are questions, not times.

use crate::codec::api;

api! {
    ListOffsets versions 1..=7, flexible from 6;
    ListOffsetsRequest => ListOffsetsResponse;

    /// Key 2, the request.
    pub struct ListOffsetsRequest {
        pub replica_id: i32,
        pub isolation_level: i8 => [since(2)],
        pub topics: Vec<ListOffsetsTopic>,
    }

    /// An element of `ListOffsetsRequest.topics`.
    pub struct ListOffsetsTopic {
        pub name: String,
        pub partitions: Vec<ListOffsetsPartition>,
    }

    /// An element of `ListOffsetsTopic.partitions`.
    pub struct ListOffsetsPartition {
        pub partition_index: i32,
        pub current_leader_epoch: i32 = -1 => [since(4).ignorable()],
        pub timestamp: i64,
    }

    /// The response.
    pub struct ListOffsetsResponse {
        pub throttle_time_ms: i32 => [since(2).ignorable()],
        pub topics: Vec<ListOffsetsTopicResponse>,
    }

    /// An element of `ListOffsetsResponse.topics`.
    pub struct ListOffsetsTopicResponse {
        pub name: String,
        pub partitions: Vec<ListOffsetsPartitionResponse>,
    }

    /// An element of `ListOffsetsTopicResponse.partitions`.
    pub struct ListOffsetsPartitionResponse {
        pub partition_index: i32,
        pub error_code: i16,
        pub timestamp: i64 = -1,
        pub offset: i64 = -1,
        pub leader_epoch: i32 = -1 => [since(4)],
    }
}
