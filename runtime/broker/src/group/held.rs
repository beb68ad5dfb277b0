//! A group that a pipeline's stage holds: synthetic members, one per task, so
//! that Kafka's tools show members, offsets and lag.
//!
//! Each member has its own generation, the epoch of its task. Nobody else may
//! join or commit while it is held, and its offsets do not expire.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use millstream_wire::ErrorCode;

use super::read_positions::ReadPositions;
use crate::coordinator::TopicPartition;

/// The assignment protocol that a held group names; no client speaks it.
pub const HELD_PROTOCOL: &str = "millstream";

/// One task of a stage, as a member of the stage's group.
#[derive(Clone, Debug)]
pub struct HeldMember {
    pub member_id: String,
    /// Shown by tools; the task's name.
    pub client_id: String,
    pub client_host: String,
    /// The task's epoch. A commit under another one is refused.
    pub generation: i32,
    /// The input partitions that the task reads.
    pub partitions: Vec<TopicPartition>,
    /// `partitions` as the consumer protocol writes a subscription.
    pub(super) subscription: Bytes,
    /// How far the task has read them.
    pub positions: Arc<ReadPositions>,
}

/// All members that hold one group.
#[derive(Clone, Debug, Default)]
pub struct HeldGroup {
    members: BTreeMap<String, HeldMember>,
}

impl HeldGroup {
    /// Adds a member, or replaces the one of the same name. An older
    /// generation than the known one is refused: a newer task runs already.
    pub fn hold(&mut self, member: HeldMember) -> Result<(), ErrorCode> {
        if let Some(known) = self.members.get(&member.member_id)
            && known.generation > member.generation
        {
            return Err(ErrorCode::FencedInstanceId);
        }
        self.members.insert(member.member_id.clone(), member);
        Ok(())
    }

    /// Lets a member go, if it is still the one of this generation.
    pub fn release(&mut self, member_id: &str, generation: i32) {
        if let Some(known) = self.members.get(member_id)
            && known.generation == generation
        {
            self.members.remove(member_id);
        }
    }

    /// Whether anybody holds the group.
    pub fn is_held(&self) -> bool {
        !self.members.is_empty()
    }

    /// The member of this name, if it is of this generation.
    pub fn member(&self, member_id: &str, generation: i32) -> Option<&HeldMember> {
        let member = self.members.get(member_id)?;
        (member.generation == generation).then_some(member)
    }

    pub fn members(&self) -> impl Iterator<Item = &HeldMember> {
        self.members.values()
    }

    /// Whether this member may commit under this generation.
    pub fn check_commit(&self, member_id: &str, generation: i32) -> Result<(), ErrorCode> {
        match self.members.get(member_id) {
            None => Err(ErrorCode::UnknownMemberId),
            Some(known) if known.generation != generation => Err(ErrorCode::IllegalGeneration),
            Some(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(member_id: &str, generation: i32) -> HeldMember {
        let partitions = vec![TopicPartition::new("flights", 0)];
        HeldMember {
            member_id: member_id.into(),
            client_id: "p/clean/0".into(),
            client_host: "/127.0.0.1".into(),
            generation,
            positions: Arc::new(ReadPositions::new(&partitions)),
            partitions,
            subscription: Bytes::new(),
        }
    }

    #[test]
    fn commits_need_the_members_own_generation() {
        let mut held = HeldGroup::default();
        held.hold(member("a", 3)).unwrap();
        held.hold(member("b", 5)).unwrap();
        let cases = [
            ("a", 3, Ok(())),
            ("a", 5, Err(ErrorCode::IllegalGeneration)),
            ("a", 2, Err(ErrorCode::IllegalGeneration)),
            ("b", 5, Ok(())),
            ("c", 3, Err(ErrorCode::UnknownMemberId)),
            ("", -1, Err(ErrorCode::UnknownMemberId)),
        ];
        for (member_id, generation, expected) in cases {
            assert_eq!(
                held.check_commit(member_id, generation),
                expected,
                "{member_id} {generation}"
            );
        }
    }

    #[test]
    fn an_older_task_can_neither_replace_nor_release_a_newer_one() {
        let mut held = HeldGroup::default();
        held.hold(member("a", 3)).unwrap();
        assert_eq!(held.hold(member("a", 2)), Err(ErrorCode::FencedInstanceId));
        held.release("a", 2);
        assert!(held.is_held());
        held.hold(member("a", 4)).unwrap();
        held.release("a", 3);
        assert_eq!(held.check_commit("a", 4), Ok(()));
        held.release("a", 4);
        assert!(!held.is_held());
    }
}
