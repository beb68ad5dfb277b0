//! Fetch: reads record batches from partitions.
//! Record sets are handed out as opaque slices. Version 7 has incremental sessions (KIP-227),
//! 12 is flexible and detects divergence by epoch, 13 names topics by id, 15 moves the
//! replica's id into a tagged field (KIP-903), 16 lists the endpoints of new leaders (KIP-951).

use bytes::Bytes;
use uuid::Uuid;

use crate::codec::api;

api! {
    Fetch versions 4..=16, flexible from 12;
    FetchRequest => FetchResponse;

    /// Key 1, the request.
    pub struct FetchRequest {
        pub cluster_id: Option<String> => [since(12).tag(0).ignorable()],
        pub replica_id: i32 = -1 => [until(14)],
        pub replica_state: ReplicaState => [since(15).tag(1)],
        pub max_wait_ms: i32,
        pub min_bytes: i32,
        pub max_bytes: i32 = i32::MAX,
        pub isolation_level: i8,
        pub session_id: i32 => [since(7).ignorable()],
        pub session_epoch: i32 = -1 => [since(7).ignorable()],
        pub topics: Vec<FetchTopic>,
        pub forgotten_topics_data: Vec<ForgottenTopic> => [since(7)],
        pub rack_id: String => [since(11).ignorable()],
    }

    /// The value of `FetchRequest.replica_state`.
    pub struct ReplicaState {
        pub replica_id: i32 = -1,
        pub replica_epoch: i64 = -1,
    }

    /// An element of `FetchRequest.topics`.
    pub struct FetchTopic {
        pub topic: String => [until(12).ignorable()],
        pub topic_id: Uuid => [since(13).ignorable()],
        pub partitions: Vec<FetchPartition>,
    }

    /// An element of `FetchTopic.partitions`.
    pub struct FetchPartition {
        pub partition: i32,
        pub current_leader_epoch: i32 = -1 => [since(9).ignorable()],
        pub fetch_offset: i64,
        pub last_fetched_epoch: i32 = -1 => [since(12)],
        pub log_start_offset: i64 = -1 => [since(5).ignorable()],
        pub partition_max_bytes: i32,
    }

    /// An element of `FetchRequest.forgotten_topics_data`.
    pub struct ForgottenTopic {
        pub topic: String => [until(12).ignorable()],
        pub topic_id: Uuid => [since(13).ignorable()],
        pub partitions: Vec<i32>,
    }

    /// The response.
    pub struct FetchResponse {
        pub throttle_time_ms: i32,
        pub error_code: i16 => [since(7).ignorable()],
        pub session_id: i32 => [since(7)],
        pub responses: Vec<FetchableTopicResponse>,
        pub node_endpoints: Vec<NodeEndpoint> => [since(16).tag(0).ignorable()],
    }

    /// An element of `FetchResponse.responses`.
    pub struct FetchableTopicResponse {
        pub topic: String => [until(12).ignorable()],
        pub topic_id: Uuid => [since(13).ignorable()],
        pub partitions: Vec<PartitionData>,
    }

    /// An element of `FetchableTopicResponse.partitions`.
    pub struct PartitionData {
        pub partition_index: i32,
        pub error_code: i16,
        pub high_watermark: i64,
        pub last_stable_offset: i64 = -1,
        pub log_start_offset: i64 = -1 => [since(5).ignorable()],
        pub diverging_epoch: EpochEndOffset => [since(12).tag(0).ignorable()],
        pub current_leader: LeaderIdAndEpoch => [since(12).tag(1).ignorable()],
        pub snapshot_id: SnapshotId => [since(12).tag(2).ignorable()],
        pub aborted_transactions: Option<Vec<AbortedTransaction>>,
        pub preferred_read_replica: i32 = -1 => [since(11)],
        pub records: Option<Bytes>,
    }

    /// The value of `PartitionData.diverging_epoch`.
    pub struct EpochEndOffset {
        pub epoch: i32 = -1,
        pub end_offset: i64 = -1,
    }

    /// The value of `PartitionData.current_leader`.
    pub struct LeaderIdAndEpoch {
        pub leader_id: i32 = -1,
        pub leader_epoch: i32 = -1,
    }

    /// The value of `PartitionData.snapshot_id`.
    pub struct SnapshotId {
        pub end_offset: i64 = -1,
        pub epoch: i32 = -1,
    }

    /// An element of `PartitionData.aborted_transactions`.
    pub struct AbortedTransaction {
        pub producer_id: i64,
        pub first_offset: i64,
    }

    /// An element of `FetchResponse.node_endpoints`.
    pub struct NodeEndpoint {
        pub node_id: i32,
        pub host: String,
        pub port: i32,
        pub rack: Option<String>,
    }
}
