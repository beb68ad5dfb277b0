//! TxnOffsetCommit: stores a group's offsets within a transaction.
//! From version 3 it carries the member and generation that the coordinator checks (KIP-447).

use crate::codec::api;

api! {
    TxnOffsetCommit versions 0..=3, flexible from 3;
    TxnOffsetCommitRequest => TxnOffsetCommitResponse;

    /// Key 28, the request.
    pub struct TxnOffsetCommitRequest {
        pub transactional_id: String,
        pub group_id: String,
        pub producer_id: i64,
        pub producer_epoch: i16,
        pub generation_id: i32 = -1 => [since(3)],
        pub member_id: String => [since(3)],
        pub group_instance_id: Option<String> => [since(3)],
        pub topics: Vec<TxnOffsetCommitRequestTopic>,
    }

    /// An element of `TxnOffsetCommitRequest.topics`.
    pub struct TxnOffsetCommitRequestTopic {
        pub name: String,
        pub partitions: Vec<TxnOffsetCommitRequestPartition>,
    }

    /// An element of `TxnOffsetCommitRequestTopic.partitions`.
    pub struct TxnOffsetCommitRequestPartition {
        pub partition_index: i32,
        pub committed_offset: i64,
        pub committed_leader_epoch: i32 = -1 => [since(2).ignorable()],
        pub committed_metadata: Option<String>,
    }

    /// The response.
    pub struct TxnOffsetCommitResponse {
        pub throttle_time_ms: i32,
        pub topics: Vec<TxnOffsetCommitResponseTopic>,
    }

    /// An element of `TxnOffsetCommitResponse.topics`.
    pub struct TxnOffsetCommitResponseTopic {
        pub name: String,
        pub partitions: Vec<TxnOffsetCommitResponsePartition>,
    }

    /// An element of `TxnOffsetCommitResponseTopic.partitions`.
    pub struct TxnOffsetCommitResponsePartition {
        pub partition_index: i32,
        pub error_code: i16,
    }
}
