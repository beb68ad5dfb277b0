//! How far the groups of deployed stages have come, for whoever wants to know what they have not consumed.

use std::collections::BTreeMap;

use super::coordinator::GroupCoordinator;
use super::offsets::PresentTopics;
use super::shard::GroupEntry;
use crate::coordinator::TopicPartition;

/// The next offset that a stage's group will consume of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StagePosition {
    pub(crate) group: String,
    pub(crate) partition: TopicPartition,
    pub(crate) offset: i64,
}

impl GroupCoordinator {
    /// The positions of all groups of stages that are loaded.
    pub(crate) fn stage_positions(&self) -> Vec<StagePosition> {
        let mut positions = Vec::new();
        for partition in self.shards.partitions() {
            self.shards.with(partition, |shard| {
                let stages = shard
                    .groups()
                    .filter(|(group, _)| self.is_stage_group(group));
                for (group, entry) in stages {
                    let consumed = entry.consumed(&|topic| self.topic_id(topic)).into_iter();
                    positions.extend(consumed.map(|(partition, offset)| StagePosition {
                        group: group.clone(),
                        partition,
                        offset,
                    }));
                }
            });
        }
        positions
    }
}

impl GroupEntry {
    /// The committed offsets; where a task is at work, what it reads now, which it will commit.
    fn consumed(&self, present: PresentTopics<'_>) -> BTreeMap<TopicPartition, i64> {
        let committed = self.offsets.all_committed(present);
        let mut consumed: BTreeMap<_, _> = committed
            .map(|(partition, committed)| (partition.clone(), committed.offset))
            .collect();
        for member in self.held.members() {
            for (partition, position) in member.positions.known() {
                if let Some(committed) = consumed.get_mut(partition) {
                    *committed = position.max(*committed);
                }
            }
        }
        consumed
    }
}
