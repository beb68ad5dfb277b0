//! ApiVersions: what the node speaks.

use millstream_wire::{
    ApiKey, ErrorCode,
    api_versions::{ApiVersion, ApiVersionsRequest, ApiVersionsResponse},
};

use super::ADVERTISED;
use crate::context::RequestContext;

pub(super) async fn handle(
    context: &RequestContext,
    request: ApiVersionsRequest,
) -> ApiVersionsResponse {
    let versions = ApiKey::ApiVersions.valid_versions();
    if !versions.contains(&context.api_version) {
        return ApiVersionsResponse {
            error_code: ErrorCode::UnsupportedVersion.code(),
            api_keys: vec![ApiVersion {
                api_key: ApiKey::ApiVersions as i16,
                min_version: *versions.start(),
                max_version: *versions.end(),
            }],
            ..ApiVersionsResponse::default()
        };
    }
    if context.api_version >= 3 && !names_are_valid(&request) {
        return ApiVersionsResponse {
            error_code: ErrorCode::InvalidRequest.code(),
            ..ApiVersionsResponse::default()
        };
    }
    let api_keys = ADVERTISED.iter().map(|(api, versions)| ApiVersion {
        api_key: *api as i16,
        min_version: *versions.start(),
        max_version: *versions.end(),
    });
    ApiVersionsResponse {
        api_keys: api_keys.collect(),
        ..ApiVersionsResponse::default()
    }
}

/// KIP-511: the client's software names itself with letters, digits, `-` and `.`, and neither begins nor ends with a
/// sign.
fn names_are_valid(request: &ApiVersionsRequest) -> bool {
    let valid = |name: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
        let outer = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let bytes = name.as_bytes();
        bytes.iter().all(|byte| inner(*byte)) && outer(bytes.first()) && outer(bytes.last())
    };
    valid(&request.client_software_name) && valid(&request.client_software_version)
}
