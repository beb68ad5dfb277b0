//! The records of `__transaction_state` and `__consumer_offsets`, and the consumer protocol that
//! group members exchange through the coordinator. All begin with an int16: a version, and in the
//! keys of `__consumer_offsets` a record type (0 and 1 an offset, 2 a group).

use bytes::{Buf, Bytes};

use crate::codec::{NEVER, message, structs};
use crate::{DecodeError, Versioned};

structs! {
    /// Key of `__transaction_state`, version 0.
    pub struct TransactionLogKey {
        pub transactional_id: String,
    }

    /// Value of `__transaction_state`: version 0, or 1 with the fields of KIP-890.
    /// `transaction_status` is 0 Empty, 1 Ongoing, 2 PrepareCommit, 3 PrepareAbort,
    /// 4 CompleteCommit, 5 CompleteAbort, 6 Dead, 7 PrepareEpochFence.
    pub struct TransactionLogValue {
        pub producer_id: i64,
        pub previous_producer_id: i64 = -1 => [since(1).tag(0)],
        pub next_producer_id: i64 = -1 => [since(1).tag(1)],
        pub producer_epoch: i16,
        pub transaction_timeout_ms: i32,
        pub transaction_status: i8,
        pub transaction_partitions: Option<Vec<PartitionsSchema>>,
        pub transaction_last_update_timestamp_ms: i64,
        pub transaction_start_timestamp_ms: i64,
        pub client_transaction_version: i16 => [since(1).tag(2)],
        pub next_producer_epoch: i16 = -1 => [since(1).tag(3)],
    }

    /// An element of `TransactionLogValue.transaction_partitions`.
    pub struct PartitionsSchema {
        pub topic: String,
        pub partition_ids: Vec<i32>,
    }

    /// Key of a committed offset, record type 1 (0 is read too; their forms are the same).
    pub struct OffsetCommitKey {
        pub group: String,
        pub topic: String,
        pub partition: i32,
    }

    /// Value of a committed offset. Version 1 has a client's own expiry, version 4 the topic's id.
    /// `client_expire_timestamp` is ours, so that version 4 can have both: Kafka passes over a tag
    /// that it does not know, and the number is far from those that it gives.
    pub struct OffsetCommitValue {
        pub offset: i64,
        pub leader_epoch: i32 = -1 => [since(3).ignorable()],
        pub metadata: String,
        pub commit_timestamp: i64,
        pub expire_timestamp: i64 = -1 => [since(1).until(1).ignorable()],
        pub topic_id: uuid::Uuid => [since(4).tag(0).ignorable()],
        pub client_expire_timestamp: i64 = -1 => [since(4).tag(10_000).ignorable()],
    }

    /// Key of a classic group's metadata, record type 2.
    pub struct GroupMetadataKey {
        pub group: String,
    }

    /// Value of a classic group's metadata. Kafka writes version 3. Times are in milliseconds.
    pub struct GroupMetadataValue {
        pub protocol_type: String,
        pub generation: i32,
        pub protocol: Option<String>,
        pub leader: Option<String>,
        pub current_state_timestamp: i64 = -1 => [since(2).ignorable()],
        pub members: Vec<MemberMetadata>,
    }

    /// An element of `GroupMetadataValue.members`.
    pub struct MemberMetadata {
        pub member_id: String,
        pub group_instance_id: Option<String> => [since(3).ignorable()],
        pub client_id: String,
        pub client_host: String,
        pub rebalance_timeout: i32 = -1 => [since(1).ignorable()],
        pub session_timeout: i32,
        pub subscription: Bytes,
        pub assignment: Bytes,
    }

    /// What a consumer tells its group's leader (the `metadata` of JoinGroup's protocols).
    pub struct ConsumerProtocolSubscription {
        pub topics: Vec<String>,
        pub user_data: Option<Bytes>,
        pub owned_partitions: Vec<TopicPartition> => [since(1).ignorable()],
        pub generation_id: i32 = -1 => [since(2).ignorable()],
        pub rack_id: Option<String> => [since(3).ignorable()],
    }

    /// What the leader gives a consumer (the `assignment` of SyncGroup).
    pub struct ConsumerProtocolAssignment {
        pub assigned_partitions: Vec<TopicPartition>,
        pub user_data: Option<Bytes>,
    }

    /// Partitions of one topic, in the consumer protocol.
    pub struct TopicPartition {
        pub topic: String,
        pub partitions: Vec<i32>,
    }
}

macro_rules! versioned {
    ($($name:ident, $low:literal..=$high:literal, $flexible:expr, $newer_reads_as_latest:literal;)*) => {
        $(
            message! { $name, $low..=$high, $flexible }

            impl Versioned for $name {
                const NEWER_READS_AS_LATEST: bool = $newer_reads_as_latest;
            }
        )*
    };
}

versioned! {
    TransactionLogKey, 0..=0, NEVER, false;
    TransactionLogValue, 0..=1, 1, false;
    OffsetCommitKey, 0..=1, NEVER, false;
    OffsetCommitValue, 0..=4, 4, false;
    GroupMetadataKey, 2..=2, NEVER, false;
    GroupMetadataValue, 0..=4, 4, false;
    ConsumerProtocolSubscription, 0..=3, NEVER, true;
    ConsumerProtocolAssignment, 0..=3, NEVER, true;
}

/// A key of `__consumer_offsets`.
#[derive(Clone, Debug, PartialEq)]
pub enum ConsumerOffsetsKey {
    /// Record types 0 and 1.
    Offset(OffsetCommitKey),
    /// Record type 2.
    Group(GroupMetadataKey),
    /// A record of a kind of group that we do not have; to be left alone.
    Other { record_type: i16 },
}

impl ConsumerOffsetsKey {
    /// Reads the record type, then the key.
    pub fn from_bytes(bytes: Bytes) -> Result<ConsumerOffsetsKey, DecodeError> {
        let Some(mut prefix) = bytes.get(..2) else {
            return Err(DecodeError::Truncated {
                field: "ConsumerOffsetsKey.record_type",
                needed: 2,
                remaining: bytes.len(),
            });
        };
        match prefix.get_i16() {
            0 | 1 => OffsetCommitKey::from_bytes(bytes).map(ConsumerOffsetsKey::Offset),
            2 => GroupMetadataKey::from_bytes(bytes).map(ConsumerOffsetsKey::Group),
            record_type => Ok(ConsumerOffsetsKey::Other { record_type }),
        }
    }
}
