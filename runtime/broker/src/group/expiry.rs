//! Offsets and groups that have outlived their retention.

use millstream_wire::ErrorCode;

use super::shard::{Change, Shard};
use super::stored;
use crate::coordinator::{Now, batch_of};

impl Shard {
    /// Writes tombstones for offsets that have outlived their retention, and
    /// for groups that have nothing left.
    ///
    /// The groups of deployed stages are spared, be they held or not: a stage
    /// whose offsets are gone would process its whole input once more.
    pub(crate) fn expire(
        &mut self,
        retention_ms: i64,
        is_stage_group: impl Fn(&str) -> bool,
        now: Now,
    ) -> Result<(), ErrorCode> {
        self.settle(now);
        let ordinary = self.groups.keys().filter(|group| !is_stage_group(group));
        let names: Vec<String> = ordinary.cloned().collect();
        for group in names {
            self.expire_group(&group, retention_ms, now)?;
        }
        Ok(())
    }

    fn expire_group(&mut self, group: &str, retention_ms: i64, now: Now) -> Result<(), ErrorCode> {
        let Some(entry) = self.groups.get(group) else {
            return Ok(());
        };
        if entry.held.is_held() || !entry.membership.is_deserted() {
            return Ok(());
        }
        // A group that never had members is as old as its commits.
        let idle_since_ms = match entry.membership.generation() {
            0 => 0,
            _ => entry.membership.state_since_ms(),
        };
        let partitions = entry
            .offsets
            .expired(now.wall_ms, retention_ms, idle_since_ms);
        let unencodable = |_| ErrorCode::UnknownServerError;
        let mut keys = Vec::with_capacity(partitions.len());
        for partition in &partitions {
            keys.push(stored::offset_key(group, partition).map_err(unencodable)?);
        }
        let has_record = entry.membership.generation() > 0;
        let outlives = entry.offsets.all_committed().count() > partitions.len();
        let is_over = !outlives
            && !entry.offsets.has_any_pending()
            && idle_since_ms.saturating_add(retention_ms) <= now.wall_ms;
        if is_over && has_record {
            keys.push(stored::group_key(group).map_err(unencodable)?);
        }
        if keys.is_empty() {
            if is_over {
                self.forget_if_empty(group);
            }
            return Ok(());
        }
        if is_over && let Some(entry) = self.groups.get_mut(group) {
            entry.membership.die();
        }
        let records = keys.iter().map(|key| (&key[..], None));
        let appended = self
            .led
            .append(batch_of(records, now.wall_ms, None)?, None)?;
        let group = group.to_owned();
        self.enqueue(appended, Change::Tombstones { group, partitions });
        self.settle(now);
        Ok(())
    }
}
