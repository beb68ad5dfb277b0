//! Which groups work on a topic: those with offsets in it.

use std::collections::BTreeSet;
use std::sync::Arc;

use millstream_wire::ErrorCode;

use super::coordinator::GroupCoordinator;

/// A group, and those of the topics asked for in which it has offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupWithOffsets {
    pub group: String,
    pub topics: BTreeSet<String>,
}

impl GroupCoordinator {
    /// The groups that have offsets in one of these topics, committed ones or those of an open transaction.
    pub(crate) async fn with_offsets_in(
        self: &Arc<Self>,
        topics: &BTreeSet<String>,
    ) -> Result<Vec<GroupWithOffsets>, ErrorCode> {
        self.load_all().await?;
        let mut found = Vec::new();
        for partition in self.shards.partitions() {
            self.with_loaded(partition, |shard, _| {
                for (group, entry) in shard.groups() {
                    let present = |topic: &str| self.topic_id(topic);
                    let used = entry.offsets.topics(&present);
                    let used = used.filter(|topic| topics.contains(*topic));
                    let used: BTreeSet<String> = used.map(str::to_owned).collect();
                    if !used.is_empty() {
                        found.push(GroupWithOffsets {
                            group: group.clone(),
                            topics: used,
                        });
                    }
                }
            });
        }
        found.sort_by(|one, other| one.group.cmp(&other.group));
        Ok(found)
    }
}
