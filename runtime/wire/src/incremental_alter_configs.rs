//! IncrementalAlterConfigs: sets, removes, extends or shortens single settings of topics and brokers (KIP-339).

use crate::codec::api;

api! {
    IncrementalAlterConfigs versions 0..=1, flexible from 1;
    IncrementalAlterConfigsRequest => IncrementalAlterConfigsResponse;

    /// Key 44, the request.
    pub struct IncrementalAlterConfigsRequest {
        pub resources: Vec<AlterConfigsResource>,
        pub validate_only: bool,
    }

    /// An element of `IncrementalAlterConfigsRequest.resources`.
    pub struct AlterConfigsResource {
        pub resource_type: i8,
        pub resource_name: String,
        pub configs: Vec<AlterableConfig>,
    }

    /// An element of `AlterConfigsResource.configs`. Operations: 0 set, 1 delete, 2 append, 3 subtract.
    pub struct AlterableConfig {
        pub name: String,
        pub config_operation: i8,
        pub value: Option<String>,
    }

    /// The response.
    pub struct IncrementalAlterConfigsResponse {
        pub throttle_time_ms: i32,
        pub responses: Vec<AlterConfigsResourceResponse>,
    }

    /// An element of `IncrementalAlterConfigsResponse.responses`.
    pub struct AlterConfigsResourceResponse {
        pub error_code: i16,
        pub error_message: Option<String>,
        pub resource_type: i8,
        pub resource_name: String,
    }
}
