//! Groups and offsets as records of `__consumer_offsets`, and back.

use std::collections::BTreeMap;

use bytes::Bytes;
use millstream_wire::coordinator_records::{
    ConsumerOffsetsKey, ConsumerProtocolAssignment, ConsumerProtocolSubscription, GroupMetadataKey,
    GroupMetadataValue, MemberMetadata, OffsetCommitKey, OffsetCommitValue,
    TopicPartition as TopicPartitions,
};
use millstream_wire::{DecodeError, EncodeError, Versioned};

use super::machine::Group;
use super::member::Member;
use super::offsets::CommittedOffset;
use super::state::GroupState;
use crate::coordinator::TopicPartition;

/// Record type of an offset's key.
const OFFSET_KEY: i16 = 1;
/// Record type of a classic group's key.
const GROUP_KEY: i16 = 2;
/// The version that has room for the topic's id.
const OFFSET_VALUE: i16 = 4;
const GROUP_VALUE: i16 = 3;

/// One record, read.
#[derive(Clone, Debug, PartialEq)]
pub enum StoredRecord {
    /// An offset, or its tombstone.
    Offset {
        group: String,
        partition: TopicPartition,
        value: Option<CommittedOffset>,
    },
    /// A group's membership, or its tombstone.
    Group {
        group: String,
        value: Option<GroupMetadataValue>,
    },
    /// A kind of record that this coordinator does not keep.
    Other,
}

/// Reads a record of `__consumer_offsets`.
pub fn read(key: Bytes, value: Option<Bytes>) -> Result<StoredRecord, DecodeError> {
    Ok(match ConsumerOffsetsKey::from_bytes(key)? {
        ConsumerOffsetsKey::Offset(key) => StoredRecord::Offset {
            group: key.group,
            partition: TopicPartition::new(key.topic, key.partition),
            value: value
                .map(OffsetCommitValue::from_bytes)
                .transpose()?
                .map(|value| CommittedOffset {
                    offset: value.offset,
                    leader_epoch: value.leader_epoch,
                    metadata: value.metadata,
                    commit_ms: value.commit_timestamp,
                    expire_ms: [value.expire_timestamp, value.client_expire_timestamp]
                        .into_iter()
                        .find(|expire_ms| *expire_ms >= 0),
                    topic_id: value.topic_id,
                }),
        },
        ConsumerOffsetsKey::Group(key) => StoredRecord::Group {
            group: key.group,
            value: value.map(GroupMetadataValue::from_bytes).transpose()?,
        },
        ConsumerOffsetsKey::Other { .. } => StoredRecord::Other,
    })
}

/// Key of an offset.
pub fn offset_key(group: &str, partition: &TopicPartition) -> Result<Bytes, EncodeError> {
    OffsetCommitKey {
        group: group.to_owned(),
        topic: partition.topic.clone(),
        partition: partition.partition,
    }
    .to_bytes(OFFSET_KEY)
}

/// Value of an offset.
pub fn offset_value(value: &CommittedOffset) -> Result<Bytes, EncodeError> {
    OffsetCommitValue {
        offset: value.offset,
        leader_epoch: value.leader_epoch,
        metadata: value.metadata.clone(),
        commit_timestamp: value.commit_ms,
        topic_id: value.topic_id,
        client_expire_timestamp: value.expire_ms.unwrap_or(-1),
        ..OffsetCommitValue::default()
    }
    .to_bytes(OFFSET_VALUE)
}

/// Key of a group.
pub fn group_key(group: &str) -> Result<Bytes, EncodeError> {
    GroupMetadataKey {
        group: group.to_owned(),
    }
    .to_bytes(GROUP_KEY)
}

/// Value of a group: its members with these assignments, or with those that
/// they have.
pub fn group_value(
    group: &Group,
    assignment: Option<&BTreeMap<String, Bytes>>,
) -> Result<Bytes, EncodeError> {
    let protocol = group.protocol().unwrap_or_default();
    let members = group
        .members()
        .map(|member| MemberMetadata {
            member_id: member.member_id.clone(),
            group_instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout: member.rebalance_timeout_ms,
            session_timeout: member.session_timeout_ms,
            subscription: member.metadata(protocol),
            assignment: match assignment {
                Some(assignment) => assignment
                    .get(&member.member_id)
                    .cloned()
                    .unwrap_or_default(),
                None => member.assignment.clone(),
            },
        })
        .collect();
    GroupMetadataValue {
        protocol_type: group.protocol_type().unwrap_or_default().to_owned(),
        generation: group.generation(),
        protocol: group.protocol().map(str::to_owned),
        leader: group.leader().map(str::to_owned),
        current_state_timestamp: group.state_since_ms(),
        members,
    }
    .to_bytes(GROUP_VALUE)
}

impl Group {
    /// The group that a record tells of. Its members are alive for one more
    /// session from `now_ms` on. A record that makes no sense (a leader that
    /// is no member, one instance id twice) gives an empty group of that
    /// generation: its members are told to join again.
    pub fn restore(value: GroupMetadataValue, now_ms: i64) -> Self {
        let mut group = Self::new(value.current_state_timestamp);
        group.generation = value.generation.max(0);
        group.protocol_type = Some(value.protocol_type).filter(|name| !name.is_empty());
        let protocol = value.protocol.clone().unwrap_or_default();
        for stored in value.members {
            let mut member = Member {
                member_id: stored.member_id.clone(),
                instance_id: stored.group_instance_id,
                client_id: stored.client_id,
                client_host: stored.client_host,
                session_timeout_ms: stored.session_timeout,
                // Version 0 has none; Kafka then takes the session's.
                rebalance_timeout_ms: match stored.rebalance_timeout {
                    -1 => stored.session_timeout,
                    timeout_ms => timeout_ms,
                },
                protocols: vec![(protocol.clone(), stored.subscription)],
                assignment: stored.assignment,
                awaiting_join: None,
                awaiting_sync: None,
                is_new: false,
                session_deadline_ms: 0,
            };
            member.touch(now_ms);
            if let Some(instance_id) = &member.instance_id {
                group
                    .static_members
                    .insert(instance_id.clone(), member.member_id.clone());
            }
            group.members.insert(stored.member_id, member);
        }
        let leads = value
            .leader
            .as_ref()
            .is_some_and(|leader| group.members.contains_key(leader));
        let statics = group
            .members
            .values()
            .filter(|member| member.instance_id.is_some())
            .count();
        let is_sound = leads && group.generation > 0 && statics == group.static_members.len();
        if group.members.is_empty() || !is_sound {
            group.members.clear();
            group.static_members.clear();
            return group;
        }
        group.leader = value.leader;
        group.protocol = value.protocol;
        group.state = GroupState::Stable;
        group
    }
}

/// What a consumer of these topics would send with JoinGroup.
pub fn subscription(partitions: &[TopicPartition]) -> Result<Bytes, EncodeError> {
    ConsumerProtocolSubscription {
        topics: by_topic(partitions).into_keys().collect(),
        ..ConsumerProtocolSubscription::default()
    }
    .to_bytes(0)
}

/// What a leader would assign with SyncGroup.
pub fn assignment(
    partitions: &[TopicPartition],
    user_data: Option<Bytes>,
) -> Result<Bytes, EncodeError> {
    ConsumerProtocolAssignment {
        assigned_partitions: by_topic(partitions)
            .into_iter()
            .map(|(topic, partitions)| TopicPartitions { topic, partitions })
            .collect(),
        user_data,
    }
    .to_bytes(0)
}

fn by_topic(partitions: &[TopicPartition]) -> BTreeMap<String, Vec<i32>> {
    let mut topics: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for one in partitions {
        topics
            .entry(one.topic.clone())
            .or_default()
            .push(one.partition);
    }
    topics
        .values_mut()
        .for_each(|partitions| partitions.sort_unstable());
    topics
}

#[cfg(test)]
mod tests;
