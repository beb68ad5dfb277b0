//! OffsetCommit: stores a group's offsets.
//! Version 7 carries the static member's instance id; version 9 the member epoch of KIP-848
//! in the field of the generation.

use crate::codec::api;

api! {
    OffsetCommit versions 2..=9, flexible from 8;
    OffsetCommitRequest => OffsetCommitResponse;

    /// Key 8, the request.
    pub struct OffsetCommitRequest {
        pub group_id: String,
        pub generation_id_or_member_epoch: i32 = -1,
        pub member_id: String,
        pub group_instance_id: Option<String> => [since(7)],
        pub retention_time_ms: i64 = -1 => [until(4).ignorable()],
        pub topics: Vec<OffsetCommitRequestTopic>,
    }

    /// An element of `OffsetCommitRequest.topics`.
    pub struct OffsetCommitRequestTopic {
        pub name: String,
        pub partitions: Vec<OffsetCommitRequestPartition>,
    }

    /// An element of `OffsetCommitRequestTopic.partitions`.
    pub struct OffsetCommitRequestPartition {
        pub partition_index: i32,
        pub committed_offset: i64,
        pub committed_leader_epoch: i32 = -1 => [since(6).ignorable()],
        pub committed_metadata: Option<String>,
    }

    /// The response.
    pub struct OffsetCommitResponse {
        pub throttle_time_ms: i32 => [since(3).ignorable()],
        pub topics: Vec<OffsetCommitResponseTopic>,
    }

    /// An element of `OffsetCommitResponse.topics`.
    pub struct OffsetCommitResponseTopic {
        pub name: String,
        pub partitions: Vec<OffsetCommitResponsePartition>,
    }

    /// An element of `OffsetCommitResponseTopic.partitions`.
    pub struct OffsetCommitResponsePartition {
        pub partition_index: i32,
        pub error_code: i16,
    }
}
