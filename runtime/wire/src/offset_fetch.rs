//! OffsetFetch: reads a group's offsets.
//! From version 2 a null topic list means all topics, from 7 `require_stable` waits out pending
//! transactions (KIP-447), and from 8 one request asks for many groups, in other fields.

use crate::codec::api;

api! {
    OffsetFetch versions 1..=9, flexible from 6;
    OffsetFetchRequest => OffsetFetchResponse;

    /// Key 9, the request.
    pub struct OffsetFetchRequest {
        pub group_id: String => [until(7)],
        pub topics: Option<Vec<OffsetFetchRequestTopic>> => [until(7).nullable(2)],
        pub groups: Vec<OffsetFetchRequestGroup> => [since(8)],
        pub require_stable: bool => [since(7)],
    }

    /// An element of `OffsetFetchRequest.topics`.
    pub struct OffsetFetchRequestTopic {
        pub name: String,
        pub partition_indexes: Vec<i32>,
    }

    /// An element of `OffsetFetchRequest.groups`.
    pub struct OffsetFetchRequestGroup {
        pub group_id: String,
        pub member_id: Option<String> => [since(9).ignorable()],
        pub member_epoch: i32 = -1 => [since(9).ignorable()],
        pub topics: Option<Vec<OffsetFetchRequestTopics>>,
    }

    /// An element of `OffsetFetchRequestGroup.topics`.
    pub struct OffsetFetchRequestTopics {
        pub name: String,
        pub partition_indexes: Vec<i32>,
    }

    /// The response.
    pub struct OffsetFetchResponse {
        pub throttle_time_ms: i32 => [since(3).ignorable()],
        pub topics: Vec<OffsetFetchResponseTopic> => [until(7)],
        pub error_code: i16 => [since(2).until(7).ignorable()],
        pub groups: Vec<OffsetFetchResponseGroup> => [since(8)],
    }

    /// An element of `OffsetFetchResponse.topics`.
    pub struct OffsetFetchResponseTopic {
        pub name: String,
        pub partitions: Vec<OffsetFetchResponsePartition>,
    }

    /// An element of `OffsetFetchResponseTopic.partitions`.
    pub struct OffsetFetchResponsePartition {
        pub partition_index: i32,
        pub committed_offset: i64,
        pub committed_leader_epoch: i32 = -1 => [since(5).ignorable()],
        pub metadata: Option<String>,
        pub error_code: i16,
    }

    /// An element of `OffsetFetchResponse.groups`.
    pub struct OffsetFetchResponseGroup {
        pub group_id: String,
        pub topics: Vec<OffsetFetchResponseTopics>,
        pub error_code: i16,
    }

    /// An element of `OffsetFetchResponseGroup.topics`.
    pub struct OffsetFetchResponseTopics {
        pub name: String,
        pub partitions: Vec<OffsetFetchResponsePartitions>,
    }

    /// An element of `OffsetFetchResponseTopics.partitions`.
    pub struct OffsetFetchResponsePartitions {
        pub partition_index: i32,
        pub committed_offset: i64,
        pub committed_leader_epoch: i32 = -1,
        pub metadata: Option<String>,
        pub error_code: i16,
    }
}
