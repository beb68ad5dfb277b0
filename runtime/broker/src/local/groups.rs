//! Groups in process: a stage holds its group and reads its offsets.

use std::sync::Arc;

use millstream_wire::ErrorCode;

use super::Local;
use crate::{coordinator::TopicPartition, group::held_member};

pub use crate::group::{FetchedOffset, ReadPositions};

/// One task of a stage, as it appears in the stage's group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntheticMember {
    pub member_id: String,
    /// What tools show as the client's id; the task's name.
    pub client_id: String,
    /// The task's epoch: a commit under another one is refused.
    pub generation: i32,
    /// The input partitions that the task reads.
    pub partitions: Vec<TopicPartition>,
}

impl Local {
    /// Puts members into a group, which is held from then on: a foreign JoinGroup or commit is refused, and its
    /// offsets do not expire. Errors: NON_EMPTY_GROUP while other members are in it, FENCED_INSTANCE_ID when a newer
    /// generation of a member is.
    pub async fn hold_group(
        &self,
        group: &str,
        members: &[SyntheticMember],
    ) -> Result<(), ErrorCode> {
        for member in members {
            let partitions = member.partitions.clone();
            let held = held_member(
                &member.member_id,
                &member.client_id,
                member.generation,
                partitions,
            );
            self.broker.groups().hold(group, held).await?;
        }
        Ok(())
    }

    /// How far a member has read: its task writes it, `group describe` shows it. `None` when the group holds no such
    /// member of this generation.
    pub async fn read_positions(
        &self,
        group: &str,
        member_id: &str,
        generation: i32,
    ) -> Result<Option<Arc<ReadPositions>>, ErrorCode> {
        self.broker
            .groups()
            .read_positions(group, member_id, generation)
            .await
    }

    /// Takes a member out of a held group, if it is still the one of this generation.
    pub async fn release_group(
        &self,
        group: &str,
        member_id: &str,
        generation: i32,
    ) -> Result<(), ErrorCode> {
        self.broker
            .groups()
            .release(group, member_id, generation)
            .await
    }

    /// A group's committed offsets, in order; `None` where nothing is committed. With `require_stable`,
    /// UNSTABLE_OFFSET_COMMIT for those that an open transaction may still change.
    pub async fn fetch_offsets(
        &self,
        group: &str,
        partitions: &[TopicPartition],
        require_stable: bool,
    ) -> Result<Vec<FetchedOffset>, ErrorCode> {
        self.broker
            .groups()
            .fetch_offsets(group, Some(partitions), require_stable)
            .await
    }
}
