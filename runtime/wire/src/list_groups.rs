//! ListGroups: the groups that a broker coordinates.
//! Version 4 filters by state, version 5 by type.

use crate::codec::api;

api! {
    ListGroups versions 0..=5, flexible from 3;
    ListGroupsRequest => ListGroupsResponse;

    /// Key 16, the request.
    pub struct ListGroupsRequest {
        pub states_filter: Vec<String> => [since(4)],
        pub types_filter: Vec<String> => [since(5)],
    }

    /// The response.
    pub struct ListGroupsResponse {
        pub throttle_time_ms: i32 => [since(1).ignorable()],
        pub error_code: i16,
        pub groups: Vec<ListedGroup>,
    }

    /// An element of `ListGroupsResponse.groups`.
    pub struct ListedGroup {
        pub group_id: String,
        pub protocol_type: String,
        pub group_state: String => [since(4).ignorable()],
        pub group_type: String => [since(5).ignorable()],
    }
}
