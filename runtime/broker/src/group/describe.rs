//! What tools are told about groups.

use std::sync::Arc;

use bytes::Bytes;
use millstream_wire::ErrorCode;

use super::coordinator::GroupCoordinator;
use super::held::{HELD_PROTOCOL, HeldMember};
use super::shard::GroupEntry;
use super::state::GroupState;
use super::stored;
use crate::coordinator::TopicPartition;

/// The protocol type of a group that a stage holds; Java's tools accept no
/// other.
const HELD_PROTOCOL_TYPE: &str = "consumer";

/// One group, as DescribeGroups tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GroupDescription {
    pub(crate) state: GroupState,
    pub(crate) protocol_type: String,
    pub(crate) protocol: String,
    pub(crate) members: Vec<MemberDescription>,
}

/// One member of a described group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MemberDescription {
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) metadata: Bytes,
    pub(crate) assignment: Bytes,
}

/// One group, as ListGroups tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GroupListing {
    pub(crate) group: String,
    pub(crate) state: GroupState,
    pub(crate) protocol_type: String,
}

impl GroupCoordinator {
    /// A group with its members; `None` when it does not exist.
    pub(crate) async fn describe(
        self: &Arc<Self>,
        group: &str,
    ) -> Result<Option<GroupDescription>, ErrorCode> {
        let exists = |partition: &TopicPartition| self.has_partition(partition);
        self.with_group(group, |shard, _| {
            shard.group(group).map(|entry| entry.describe(&exists))
        })
        .await
    }

    /// Why the partition of the group could not be read, when that was tried last.
    pub(crate) fn failure_of(&self, group: &str) -> Option<String> {
        self.shards.failure_of(group)
    }

    /// All groups of this node, by name.
    pub(crate) async fn list(self: &Arc<Self>) -> Result<Vec<GroupListing>, ErrorCode> {
        self.load_all().await?;
        let mut listings = Vec::new();
        for partition in self.shards.partitions() {
            self.with_loaded(partition, |shard, _| {
                listings.extend(shard.groups().map(|(group, entry)| GroupListing {
                    group: group.clone(),
                    state: entry.shown_state(),
                    protocol_type: entry.shown_protocol_type().to_owned(),
                }));
            });
        }
        listings.sort_by(|one, other| one.group.cmp(&other.group));
        Ok(listings)
    }
}

impl GroupEntry {
    fn shown_protocol_type(&self) -> &str {
        if self.held.is_held() {
            HELD_PROTOCOL_TYPE
        } else {
            self.membership.protocol_type().unwrap_or_default()
        }
    }

    fn describe(&self, exists: &dyn Fn(&TopicPartition) -> bool) -> GroupDescription {
        let state = self.shown_state();
        let members = if self.held.is_held() {
            self.describe_held_members(exists)
        } else {
            self.describe_members(state)
        };
        let protocol = match state {
            GroupState::Stable if self.held.is_held() => HELD_PROTOCOL,
            GroupState::Stable => self.membership.protocol().unwrap_or_default(),
            _ => "",
        };
        GroupDescription {
            state,
            protocol_type: self.shown_protocol_type().to_owned(),
            protocol: protocol.to_owned(),
            members,
        }
    }

    /// Without the partitions of topics that were deleted since the members came:
    /// tools ask for the ends of all that are assigned, and fail with the first
    /// that is not there.
    fn describe_held_members(
        &self,
        exists: &dyn Fn(&TopicPartition) -> bool,
    ) -> Vec<MemberDescription> {
        let there = |member: &HeldMember| -> Vec<TopicPartition> {
            let partitions = member.partitions.iter();
            partitions.filter(|one| exists(one)).cloned().collect()
        };
        self.held
            .members()
            .map(|member| MemberDescription {
                member_id: member.member_id.clone(),
                instance_id: None,
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                metadata: member.subscription.clone(),
                // It could be written when the member came.
                assignment: stored::assignment(
                    &there(member),
                    Some(member.positions.to_user_data(exists)),
                )
                .unwrap_or_default(),
            })
            .collect()
    }

    /// As Kafka: metadata and assignment only of a stable group.
    fn describe_members(&self, state: GroupState) -> Vec<MemberDescription> {
        let protocol = self.membership.protocol().unwrap_or_default();
        let stable = state == GroupState::Stable;
        self.membership
            .members()
            .map(|member| MemberDescription {
                member_id: member.member_id.clone(),
                instance_id: member.instance_id.clone(),
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                metadata: if stable {
                    member.metadata(protocol)
                } else {
                    Bytes::new()
                },
                assignment: if stable {
                    member.assignment.clone()
                } else {
                    Bytes::new()
                },
            })
            .collect()
    }
}
