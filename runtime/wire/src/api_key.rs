//! The APIs that the codec knows.

use std::fmt;
use std::ops::RangeInclusive;

use crate::{Message, Request};

/// A number that is no API of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("API key {0} is unknown")]
pub struct UnknownApiKey(pub i16);

macro_rules! api_keys {
    ($($name:ident = $key:literal, $module:ident :: $request:ident;)*) => {
        /// An API of the protocol, with Kafka's name and number.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(i16)]
        pub enum ApiKey {
            $(#[allow(missing_docs)] $name = $key,)*
        }

        impl ApiKey {
            /// Every API that the codec knows, in rising order of its key.
            pub const ALL: &[ApiKey] = &[$(ApiKey::$name,)*];

            /// The versions that the codec knows. What the broker advertises is its own affair.
            pub const fn valid_versions(self) -> RangeInclusive<i16> {
                match self {
                    $(ApiKey::$name => <crate::$module::$request as Message>::VALID_VERSIONS,)*
                }
            }

            /// The first flexible version.
            pub const fn flexible_from(self) -> i16 {
                match self {
                    $(ApiKey::$name => <crate::$module::$request as Request>::FLEXIBLE_FROM,)*
                }
            }

            /// Kafka's name of the API.
            pub const fn name(self) -> &'static str {
                match self { $(ApiKey::$name => stringify!($name),)* }
            }
        }

        impl TryFrom<i16> for ApiKey {
            type Error = UnknownApiKey;

            fn try_from(key: i16) -> Result<Self, UnknownApiKey> {
                match key {
                    $($key => Ok(ApiKey::$name),)*
                    other => Err(UnknownApiKey(other)),
                }
            }
        }
    };
}

api_keys! {
    Produce = 0, produce::ProduceRequest;
    Fetch = 1, fetch::FetchRequest;
    ListOffsets = 2, list_offsets::ListOffsetsRequest;
    Metadata = 3, metadata::MetadataRequest;
    OffsetCommit = 8, offset_commit::OffsetCommitRequest;
    OffsetFetch = 9, offset_fetch::OffsetFetchRequest;
    FindCoordinator = 10, find_coordinator::FindCoordinatorRequest;
    JoinGroup = 11, join_group::JoinGroupRequest;
    Heartbeat = 12, heartbeat::HeartbeatRequest;
    LeaveGroup = 13, leave_group::LeaveGroupRequest;
    SyncGroup = 14, sync_group::SyncGroupRequest;
    DescribeGroups = 15, describe_groups::DescribeGroupsRequest;
    ListGroups = 16, list_groups::ListGroupsRequest;
    ApiVersions = 18, api_versions::ApiVersionsRequest;
    CreateTopics = 19, create_topics::CreateTopicsRequest;
    DeleteTopics = 20, delete_topics::DeleteTopicsRequest;
    DeleteRecords = 21, delete_records::DeleteRecordsRequest;
    InitProducerId = 22, init_producer_id::InitProducerIdRequest;
    AddPartitionsToTxn = 24, add_partitions_to_txn::AddPartitionsToTxnRequest;
    AddOffsetsToTxn = 25, add_offsets_to_txn::AddOffsetsToTxnRequest;
    EndTxn = 26, end_txn::EndTxnRequest;
    TxnOffsetCommit = 28, txn_offset_commit::TxnOffsetCommitRequest;
    DescribeConfigs = 32, describe_configs::DescribeConfigsRequest;
    IncrementalAlterConfigs = 44, incremental_alter_configs::IncrementalAlterConfigsRequest;
}

impl fmt::Display for ApiKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}
