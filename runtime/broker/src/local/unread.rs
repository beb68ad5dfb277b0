//! What partitions have lost that stages had yet to consume.

use millstream_wire::ErrorCode;

use super::Local;

/// Records have left the front of a partition before the group of a deployed stage consumed them: by retention, or by
/// DeleteRecords.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovedUnread {
    pub group: String,
    pub topic: String,
    pub partition: i32,
    /// The next offset that the group would have consumed.
    pub position: i64,
    /// Where the partition begins now.
    pub log_start: i64,
}

impl RemovedUnread {
    /// How many offsets are gone: at most so many records, since markers of transactions have offsets too.
    pub fn offsets(&self) -> i64 {
        self.log_start - self.position
    }
}

impl Local {
    /// What the stages of this node have not consumed and will not find any more, as far as their groups are loaded
    /// (see [`Local::load_groups`]). Does not block.
    pub fn removed_unread(&self) -> Vec<RemovedUnread> {
        let image = self.broker.cluster().image();
        let positions = self.broker.groups().stage_positions().into_iter();
        let removed = positions.filter_map(|position| {
            let place = position.partition;
            let topic = image.topic(&place.topic)?;
            let log = self.broker.store().get(&topic.id, place.partition)?;
            let log_start = log.offsets().log_start;
            (position.offset < log_start).then_some(RemovedUnread {
                group: position.group,
                topic: place.topic,
                partition: place.partition,
                position: position.offset,
                log_start,
            })
        });
        removed.collect()
    }

    /// Loads all groups of this node.
    pub async fn load_groups(&self) -> Result<(), ErrorCode> {
        self.broker.groups().load_all().await
    }
}
