//! DeleteRecords: moves the log start offset of partitions, so that everything below is gone.

use crate::codec::api;

api! {
    DeleteRecords versions 0..=2, flexible from 2;
    DeleteRecordsRequest => DeleteRecordsResponse;

    /// Key 21, the request.
    pub struct DeleteRecordsRequest {
        pub topics: Vec<DeleteRecordsTopic>,
        pub timeout_ms: i32,
    }

    /// An element of `DeleteRecordsRequest.topics`.
    pub struct DeleteRecordsTopic {
        pub name: String,
        pub partitions: Vec<DeleteRecordsPartition>,
    }

    /// An element of `DeleteRecordsTopic.partitions`. Offset -1 means the high watermark.
    pub struct DeleteRecordsPartition {
        pub partition_index: i32,
        pub offset: i64,
    }

    /// The response.
    pub struct DeleteRecordsResponse {
        pub throttle_time_ms: i32,
        pub topics: Vec<DeleteRecordsTopicResult>,
    }

    /// An element of `DeleteRecordsResponse.topics`.
    pub struct DeleteRecordsTopicResult {
        pub name: String,
        pub partitions: Vec<DeleteRecordsPartitionResult>,
    }

    /// An element of `DeleteRecordsTopicResult.partitions`.
    pub struct DeleteRecordsPartitionResult {
        pub partition_index: i32,
        pub low_watermark: i64,
        pub error_code: i16,
    }
}
