//! InitProducerId: gives a producer its id and epoch, and fences its forerunner.
//! From version 3 a producer may name the id and epoch that it has (KIP-360).

use crate::codec::api;

api! {
    InitProducerId versions 0..=4, flexible from 2;
    InitProducerIdRequest => InitProducerIdResponse;

    /// Key 22, the request.
    pub struct InitProducerIdRequest {
        pub transactional_id: Option<String>,
        pub transaction_timeout_ms: i32,
        pub producer_id: i64 = -1 => [since(3)],
        pub producer_epoch: i16 = -1 => [since(3)],
    }

    /// The response.
    pub struct InitProducerIdResponse {
        pub throttle_time_ms: i32,
        pub error_code: i16,
        pub producer_id: i64 = -1,
        pub producer_epoch: i16,
    }
}
