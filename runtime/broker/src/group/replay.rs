//! A partition of `__consumer_offsets`, read back when its coordinator starts.

use millstream_wire::DecodeError;

use super::machine::{Group, GroupLimits};
use super::offsets::{CommittedOffset, PresentTopics};
use super::shard::{GroupEntry, Shard};
use super::stored::{self, StoredRecord};
use crate::coordinator::{LedLog, LoadError, Now, Origin, Stored, TopicPartition};

impl Shard {
    /// Reads a partition from its start to its end. Blocks.
    pub(crate) fn load(
        led: LedLog,
        limits: GroupLimits,
        present: PresentTopics<'_>,
        now: Now,
    ) -> Result<Self, LoadError> {
        let mut shard = Self::new(led.clone(), limits);
        let mut failed = None;
        led.read_all(|stored| {
            if let Err(error) = shard.replay(stored, now) {
                failed.get_or_insert(error);
            }
        })?;
        if let Some(error) = failed {
            let reason = format!("a record of a group cannot be read: {error}");
            return Err(LoadError::corrupt(reason));
        }
        for entry in shard.groups.values_mut() {
            entry.offsets.adopt(present);
        }
        shard.touched.extend(shard.groups.keys().cloned());
        Ok(shard)
    }

    fn replay(&mut self, stored: Stored, now: Now) -> Result<(), DecodeError> {
        match stored {
            Stored::End {
                at,
                producer_id,
                marker,
            } => self.end_transaction(producer_id, marker, at),
            Stored::Record {
                at,
                origin,
                key,
                value,
            } => match stored::read(key, value)? {
                StoredRecord::Offset {
                    group,
                    partition,
                    value,
                } => self.replay_offset(group, partition, value, origin, at, now),
                StoredRecord::Group { group, value } => {
                    let entry = self.entry(&group, now);
                    entry.membership = match value {
                        Some(value) => Group::restore(value, now.monotonic_ms),
                        None => Group::new(now.wall_ms),
                    };
                    self.forget_if_empty(&group);
                }
                StoredRecord::Other => {}
            },
        }
        Ok(())
    }

    fn replay_offset(
        &mut self,
        group: String,
        partition: TopicPartition,
        value: Option<CommittedOffset>,
        origin: Origin,
        at: i64,
        now: Now,
    ) {
        let entry = self
            .groups
            .entry(group.clone())
            .or_insert_with(|| GroupEntry::new(now.wall_ms));
        match (value, origin) {
            (Some(value), Origin::Plain) => entry.offsets.commit(partition, value, at),
            (Some(value), Origin::Transactional(producer_id)) => {
                entry
                    .offsets
                    .commit_pending(producer_id, partition, value, at);
                self.open.entry(producer_id).or_default().insert(group);
            }
            (None, _) => {
                entry.offsets.remove(&partition, at);
                self.forget_if_empty(&group);
            }
        }
    }
}
