//! AddOffsetsToTxn: registers a group's offsets partition in a transaction.

use crate::codec::api;

api! {
    AddOffsetsToTxn versions 0..=3, flexible from 3;
    AddOffsetsToTxnRequest => AddOffsetsToTxnResponse;

    /// Key 25, the request.
    pub struct AddOffsetsToTxnRequest {
        pub transactional_id: String,
        pub producer_id: i64,
        pub producer_epoch: i16,
        pub group_id: String,
    }

    /// The response.
    pub struct AddOffsetsToTxnResponse {
        pub throttle_time_ms: i32,
        pub error_code: i16,
    }
}
