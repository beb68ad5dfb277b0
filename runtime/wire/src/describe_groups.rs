//! DescribeGroups: state, members and assignments of classic groups.
//! From version 6 a group that does not exist is answered with GROUP_ID_NOT_FOUND and a message.

use bytes::Bytes;

use crate::codec::api;

api! {
    DescribeGroups versions 0..=6, flexible from 5;
    DescribeGroupsRequest => DescribeGroupsResponse;

    /// Key 15, the request.
    pub struct DescribeGroupsRequest {
        pub groups: Vec<String>,
        pub include_authorized_operations: bool => [since(3)],
    }

    /// The response.
    pub struct DescribeGroupsResponse {
        pub throttle_time_ms: i32 => [since(1).ignorable()],
        pub groups: Vec<DescribedGroup>,
    }

    /// An element of `DescribeGroupsResponse.groups`.
    pub struct DescribedGroup {
        pub error_code: i16,
        pub error_message: Option<String> => [since(6)],
        pub group_id: String,
        pub group_state: String,
        pub protocol_type: String,
        pub protocol_data: String,
        pub members: Vec<DescribedGroupMember>,
        pub authorized_operations: i32 = i32::MIN => [since(3)],
    }

    /// An element of `DescribedGroup.members`.
    pub struct DescribedGroupMember {
        pub member_id: String,
        pub group_instance_id: Option<String> => [since(4).ignorable()],
        pub client_id: String,
        pub client_host: String,
        pub member_metadata: Bytes,
        pub member_assignment: Bytes,
    }
}
