//! EndTxn: commits or aborts a transaction.

use crate::codec::api;

api! {
    EndTxn versions 0..=3, flexible from 3;
    EndTxnRequest => EndTxnResponse;

    /// Key 26, the request.
    pub struct EndTxnRequest {
        pub transactional_id: String,
        pub producer_id: i64,
        pub producer_epoch: i16,
        pub committed: bool,
    }

    /// The response.
    pub struct EndTxnResponse {
        pub throttle_time_ms: i32,
        pub error_code: i16,
    }
}
