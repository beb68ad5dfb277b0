//! ApiVersions: what the broker speaks.
//! The header of the response is always version 0, so that a client can read the answer to a
//! version that the broker does not know. Version 3 is flexible and has features (KIP-584).

use crate::codec::api;

api! {
    ApiVersions versions 0..=4, flexible from 3;
    ApiVersionsRequest => ApiVersionsResponse;

    /// Key 18, the request.
    pub struct ApiVersionsRequest {
        pub client_software_name: String => [since(3).ignorable()],
        pub client_software_version: String => [since(3).ignorable()],
    }

    /// The response.
    pub struct ApiVersionsResponse {
        pub error_code: i16,
        pub api_keys: Vec<ApiVersion>,
        pub throttle_time_ms: i32 => [since(1).ignorable()],
        pub supported_features: Vec<SupportedFeatureKey> => [since(3).tag(0).ignorable()],
        pub finalized_features_epoch: i64 = -1 => [since(3).tag(1).ignorable()],
        pub finalized_features: Vec<FinalizedFeatureKey> => [since(3).tag(2).ignorable()],
        pub zk_migration_ready: bool => [since(3).tag(3).ignorable()],
    }

    /// An element of `ApiVersionsResponse.api_keys`.
    pub struct ApiVersion {
        pub api_key: i16,
        pub min_version: i16,
        pub max_version: i16,
    }

    /// An element of `ApiVersionsResponse.supported_features`.
    pub struct SupportedFeatureKey {
        pub name: String,
        pub min_version: i16,
        pub max_version: i16,
    }

    /// An element of `ApiVersionsResponse.finalized_features`.
    pub struct FinalizedFeatureKey {
        pub name: String,
        pub max_version_level: i16,
        pub min_version_level: i16,
    }
}
