//! Offsets and groups that have outlived their retention, and offsets that have
//! outlived their topic.

use millstream_wire::ErrorCode;
use uuid::Uuid;

use super::offsets::PresentTopics;
use super::shard::Shard;
use crate::coordinator::Now;

/// What decides about an expiry.
#[derive(Clone, Copy)]
pub(crate) struct ExpiryRules<'a> {
    /// `offsets.retention.minutes`, in milliseconds
    pub(crate) retention_ms: i64,
    /// Whether a deployed stage keeps its positions in this group.
    pub(crate) is_stage_group: &'a dyn Fn(&str) -> bool,
    pub(crate) present: PresentTopics<'a>,
}

impl Shard {
    /// Writes tombstones for offsets that have outlived their retention, for
    /// groups that have nothing left, and for offsets of topics that are gone.
    ///
    /// Retention spares the groups of deployed stages, be they held or not: a
    /// stage whose offsets are gone would process its whole input once more.
    pub(crate) fn expire(&mut self, rules: ExpiryRules<'_>, now: Now) -> Result<(), ErrorCode> {
        self.each_group_at_rest(now, |shard, group| shard.expire_group(group, rules, now))
    }

    /// Writes tombstones for offsets whose records name no topic id and whose
    /// topic is gone (nil: was gone when they were read). Later nothing would
    /// tell them from those of another topic of that name.
    pub(crate) fn drop_unnamed(
        &mut self,
        is_gone: impl Fn(Uuid) -> bool,
        now: Now,
    ) -> Result<(), ErrorCode> {
        self.each_group_at_rest(now, |shard, group| {
            let Some(entry) = shard.groups.get(group) else {
                return Ok(());
            };
            let partitions = entry.offsets.unnamed(&is_gone);
            shard.append_tombstones(group, partitions, false, now)
        })
    }

    /// Runs `step` for every group without a commit or a tombstone under way: a
    /// tombstone would stand behind that commit and end it. Returns the first
    /// error.
    fn each_group_at_rest(
        &mut self,
        now: Now,
        mut step: impl FnMut(&mut Shard, &str) -> Result<(), ErrorCode>,
    ) -> Result<(), ErrorCode> {
        self.settle(now);
        let in_flight = self.groups_in_flight();
        let at_rest = self
            .groups
            .keys()
            .filter(|group| !in_flight.contains(*group));
        let names: Vec<String> = at_rest.cloned().collect();
        let mut result = Ok(());
        for group in names {
            result = result.and(step(self, &group));
        }
        self.settle(now);
        result
    }

    fn expire_group(
        &mut self,
        group: &str,
        rules: ExpiryRules<'_>,
        now: Now,
    ) -> Result<(), ErrorCode> {
        let Some(entry) = self.groups.get(group) else {
            return Ok(());
        };
        let mut partitions = entry.offsets.stale(rules.present);
        let is_in_use = entry.held.is_held() || !entry.membership.is_deserted();
        if is_in_use || (rules.is_stage_group)(group) {
            return self.append_tombstones(group, partitions, false, now);
        }
        // A group that never had members is as old as its commits.
        let idle_since_ms = match entry.membership.generation() {
            0 => 0,
            _ => entry.membership.state_since_ms(),
        };
        let retention_ms = rules.retention_ms;
        partitions.extend(
            entry
                .offsets
                .expired(now.wall_ms, retention_ms, idle_since_ms),
        );
        partitions.sort();
        partitions.dedup();
        let is_over = entry.offsets.committed_count() == partitions.len()
            && !entry.offsets.has_any_pending()
            && idle_since_ms.saturating_add(retention_ms) <= now.wall_ms;
        let has_record = entry.membership.generation() > 0;
        self.append_tombstones(group, partitions, is_over && has_record, now)?;
        if is_over {
            if has_record && let Some(entry) = self.groups.get_mut(group) {
                entry.membership.die();
            }
            self.forget_if_empty(group);
        }
        Ok(())
    }
}
