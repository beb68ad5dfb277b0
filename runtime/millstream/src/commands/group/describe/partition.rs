//! One partition of a group: how far the group has come in it.

use std::collections::BTreeMap;

use serde::Serialize;

#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct GroupPartition {
    pub topic: String,
    pub partition: i32,
    pub committed: Option<i64>,
    /// The next offset that the member reads. Known of a stage's task; a client keeps its own to itself.
    pub current: Option<i64>,
    pub last_stable: Option<i64>,
    pub end: Option<i64>,
    /// From the committed offset to the last stable one.
    pub lag: Option<i64>,
    /// Where the partition begins.
    pub start: Option<i64>,
    /// From what the group has consumed to where the partition begins: offsets whose records were removed unread.
    pub removed: Option<i64>,
    pub member: Option<String>,
}

/// Offsets by topic and partition.
pub type Offsets = BTreeMap<(String, i32), i64>;

/// All that is known of the offsets of a group's partitions.
pub struct GroupOffsets<'a> {
    pub committed: &'a Offsets,
    pub current: &'a Offsets,
    pub starts: &'a Offsets,
    pub stable: &'a Offsets,
    pub ends: &'a Offsets,
}

impl GroupOffsets<'_> {
    pub fn of(&self, place: &(String, i32), member: Option<&&str>) -> GroupPartition {
        let committed = self.committed.get(place).copied();
        let last_stable = self.stable.get(place).copied();
        let committed_by_task = committed.filter(|_| self.current.contains_key(place));
        // A task notes a position when it reads on, a moment after it has committed it.
        let current = self.current.get(place).copied().max(committed_by_task);
        let start = self.starts.get(place).copied();
        GroupPartition {
            topic: place.0.clone(),
            partition: place.1,
            committed,
            current,
            start,
            removed: committed
                .max(current)
                .zip(start)
                .map(|(consumed, start)| start.saturating_sub(consumed).max(0)),
            last_stable,
            end: self.ends.get(place).copied(),
            lag: committed
                .zip(last_stable)
                .map(|(committed, stable)| stable.saturating_sub(committed).max(0)),
            member: member.map(|member| (*member).to_owned()),
        }
    }
}

impl GroupPartition {
    /// A warning, where records were removed before the group consumed them.
    pub fn removed_text(&self) -> Option<String> {
        let removed = self.removed.filter(|removed| *removed > 0)?;
        let start = self.start?;
        Some(format!(
            "\nwarning: up to {removed} records of {}-{} (offsets {} to {}) were removed by retention or DeleteRecords \
             before the group consumed them\n",
            self.topic,
            self.partition,
            start - removed,
            start - 1,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offsets(offsets: &[(i32, i64)]) -> Offsets {
        let entry = |(partition, offset): &(i32, i64)| (("t".to_owned(), *partition), *offset);
        offsets.iter().map(entry).collect()
    }

    #[test]
    fn lag_reaches_to_the_last_stable_offset_and_is_unknown_without_a_commit() {
        let committed = offsets(&[(0, 5), (1, 9)]);
        let stable = offsets(&[(0, 8), (1, 9), (2, 4)]);
        let ends = offsets(&[(0, 12), (1, 9), (2, 4)]);
        let known = GroupOffsets {
            committed: &committed,
            current: &Offsets::new(),
            starts: &Offsets::new(),
            stable: &stable,
            ends: &ends,
        };
        let lag = |partition: i32| known.of(&("t".to_owned(), partition), None).lag;
        assert_eq!(
            [lag(0), lag(1), lag(2), lag(3)],
            [Some(3), Some(0), None, None]
        );
    }

    #[test]
    fn a_tasks_position_is_never_shown_behind_its_commit() {
        let known = GroupOffsets {
            committed: &offsets(&[(0, 5), (1, 9), (2, 3)]),
            current: &offsets(&[(0, 7), (1, 6)]),
            starts: &Offsets::new(),
            stable: &Offsets::new(),
            ends: &Offsets::new(),
        };
        let current = |partition: i32| known.of(&("t".to_owned(), partition), None).current;
        assert_eq!(
            [current(0), current(1), current(2)],
            [Some(7), Some(9), None]
        );
    }

    #[test]
    fn what_was_removed_before_it_was_consumed_is_told() {
        let known = GroupOffsets {
            committed: &offsets(&[(0, 5), (1, 5), (2, 5), (3, 5)]),
            current: &offsets(&[(2, 9), (3, 20)]),
            starts: &offsets(&[(0, 12), (1, 5), (2, 12), (3, 12)]),
            stable: &Offsets::new(),
            ends: &Offsets::new(),
        };
        let of = |partition: i32| known.of(&("t".to_owned(), partition), None);
        let removed: Vec<_> = (0..5).map(|partition| of(partition).removed).collect();
        assert_eq!(removed, [Some(7), Some(0), Some(3), Some(0), None]);
        let text = of(0).removed_text().expect("something is gone");
        assert!(
            text.contains("up to 7 records of t-0 (offsets 5 to 11)"),
            "{text}"
        );
        assert_eq!(of(1).removed_text(), None);
    }
}
