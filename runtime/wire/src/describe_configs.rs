//! DescribeConfigs: settings of topics and brokers, with source and synonyms.

use crate::codec::api;

api! {
    DescribeConfigs versions 1..=4, flexible from 4;
    DescribeConfigsRequest => DescribeConfigsResponse;

    /// Key 32, the request.
    pub struct DescribeConfigsRequest {
        pub resources: Vec<DescribeConfigsResource>,
        pub include_synonyms: bool,
        pub include_documentation: bool => [since(3)],
    }

    /// An element of `DescribeConfigsRequest.resources`.
    pub struct DescribeConfigsResource {
        pub resource_type: i8,
        pub resource_name: String,
        pub configuration_keys: Option<Vec<String>>,
    }

    /// The response.
    pub struct DescribeConfigsResponse {
        pub throttle_time_ms: i32,
        pub results: Vec<DescribeConfigsResult>,
    }

    /// An element of `DescribeConfigsResponse.results`.
    pub struct DescribeConfigsResult {
        pub error_code: i16,
        pub error_message: Option<String>,
        pub resource_type: i8,
        pub resource_name: String,
        pub configs: Vec<DescribeConfigsResourceResult>,
    }

    /// An element of `DescribeConfigsResult.configs`.
    pub struct DescribeConfigsResourceResult {
        pub name: String,
        pub value: Option<String>,
        pub read_only: bool,
        pub config_source: i8 = -1,
        pub is_sensitive: bool,
        pub synonyms: Vec<DescribeConfigsSynonym>,
        pub config_type: i8 => [since(3).ignorable()],
        pub documentation: Option<String> => [since(3).ignorable()],
    }

    /// An element of `DescribeConfigsResourceResult.synonyms`.
    pub struct DescribeConfigsSynonym {
        pub name: String,
        pub value: Option<String>,
        pub source: i8,
    }
}
