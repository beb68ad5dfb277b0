//! AddPartitionsToTxn: registers partitions in a transaction before they get data.
//! Versions 4 and up, a batched form between brokers, are not spoken.

use crate::codec::api;

api! {
    AddPartitionsToTxn versions 0..=3, flexible from 3;
    AddPartitionsToTxnRequest => AddPartitionsToTxnResponse;

    /// Key 24, the request.
    pub struct AddPartitionsToTxnRequest {
        pub v3_and_below_transactional_id: String,
        pub v3_and_below_producer_id: i64,
        pub v3_and_below_producer_epoch: i16,
        pub v3_and_below_topics: Vec<AddPartitionsToTxnTopic>,
    }

    /// An element of `AddPartitionsToTxnRequest.v3_and_below_topics`.
    pub struct AddPartitionsToTxnTopic {
        pub name: String,
        pub partitions: Vec<i32>,
    }

    /// The response.
    pub struct AddPartitionsToTxnResponse {
        pub throttle_time_ms: i32,
        pub results_by_topic_v3_and_below: Vec<AddPartitionsToTxnTopicResult>,
    }

    /// An element of `AddPartitionsToTxnResponse.results_by_topic_v3_and_below`.
    pub struct AddPartitionsToTxnTopicResult {
        pub name: String,
        pub results_by_partition: Vec<AddPartitionsToTxnPartitionResult>,
    }

    /// An element of `AddPartitionsToTxnTopicResult.results_by_partition`.
    pub struct AddPartitionsToTxnPartitionResult {
        pub partition_index: i32,
        pub partition_error_code: i16,
    }
}
