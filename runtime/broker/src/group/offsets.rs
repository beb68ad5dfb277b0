//! A group's offsets: the committed ones, and those of open transactions.
//!
//! Pure; whoever calls this has read or appended a record, and says at which
//! offset of `__consumer_offsets` it stands. That position decides between two
//! commits of one partition: the later record wins, whenever it materialised.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};

use crate::coordinator::TopicPartition;

/// What a client committed for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    pub offset: i64,
    pub leader_epoch: i32,
    pub metadata: String,
    /// Wall-clock time of the commit, in milliseconds.
    pub commit_ms: i64,
    /// An expiry that the client asked for, as clients before 2.1 could.
    pub expire_ms: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Recorded {
    value: CommittedOffset,
    /// Offset of the record in `__consumer_offsets`.
    at: i64,
}

type Offsets = BTreeMap<TopicPartition, Recorded>;

/// All offsets of one group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupOffsets {
    committed: Offsets,
    /// By producer id: what its open transaction will commit.
    pending: HashMap<i64, Offsets>,
}

impl GroupOffsets {
    /// A plain commit that stands at `at`.
    pub fn commit(&mut self, partition: TopicPartition, value: CommittedOffset, at: i64) {
        put(&mut self.committed, partition, Recorded { value, at });
    }

    /// A commit within the open transaction of `producer_id`.
    pub fn commit_pending(
        &mut self,
        producer_id: i64,
        partition: TopicPartition,
        value: CommittedOffset,
        at: i64,
    ) {
        let pending = self.pending.entry(producer_id).or_default();
        put(pending, partition, Recorded { value, at });
    }

    /// The marker of a transaction: its offsets before `at` materialise or are
    /// dropped. Later ones belong to the producer's next transaction.
    pub fn end_transaction(&mut self, producer_id: i64, commit: bool, at: i64) {
        let Some(pending) = self.pending.remove(&producer_id) else {
            return;
        };
        let (ended, next): (Offsets, Offsets) =
            pending.into_iter().partition(|(_, one)| one.at < at);
        if commit {
            for (partition, recorded) in ended {
                put(&mut self.committed, partition, recorded);
            }
        }
        if !next.is_empty() {
            self.pending.insert(producer_id, next);
        }
    }

    /// A tombstone: the partition has no committed offset any more.
    pub fn remove(&mut self, partition: &TopicPartition) {
        self.committed.remove(partition);
    }

    /// The committed offset of a partition.
    pub fn committed(&self, partition: &TopicPartition) -> Option<&CommittedOffset> {
        self.committed.get(partition).map(|one| &one.value)
    }

    /// All committed offsets, by partition.
    pub fn all_committed(&self) -> impl Iterator<Item = (&TopicPartition, &CommittedOffset)> {
        self.committed
            .iter()
            .map(|(partition, one)| (partition, &one.value))
    }

    /// Whether an open transaction may still change this partition's offset.
    pub fn is_unstable(&self, partition: &TopicPartition) -> bool {
        self.pending
            .values()
            .any(|pending| pending.contains_key(partition))
    }

    /// Whether this producer's open transaction has offsets here.
    pub fn has_pending(&self, producer_id: i64) -> bool {
        self.pending.contains_key(&producer_id)
    }

    /// Whether any open transaction has offsets here.
    pub fn has_any_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether nothing is committed and nothing is pending.
    pub fn is_empty(&self) -> bool {
        self.committed.is_empty() && self.pending.is_empty()
    }

    /// Partitions whose committed offset has outlived its retention: its own
    /// expiry when it has one, else `retention_ms` after the commit or after
    /// `idle_since_ms`, whichever is later. Never one with a pending commit.
    pub fn expired(
        &self,
        now_ms: i64,
        retention_ms: i64,
        idle_since_ms: i64,
    ) -> Vec<TopicPartition> {
        let is_over = |value: &CommittedOffset| match value.expire_ms {
            Some(expire_ms) => expire_ms <= now_ms,
            None => {
                let since_ms = value.commit_ms.max(idle_since_ms);
                since_ms.saturating_add(retention_ms) <= now_ms
            }
        };
        self.committed
            .iter()
            .filter(|(partition, one)| is_over(&one.value) && !self.is_unstable(partition))
            .map(|(partition, _)| partition.clone())
            .collect()
    }
}

fn put(offsets: &mut Offsets, partition: TopicPartition, recorded: Recorded) {
    match offsets.entry(partition) {
        Entry::Vacant(place) => {
            place.insert(recorded);
        }
        Entry::Occupied(mut place) => {
            // Equal: one batch that names the partition twice.
            if place.get().at <= recorded.at {
                place.insert(recorded);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(index: i32) -> TopicPartition {
        TopicPartition::new("flights", index)
    }

    fn value(offset: i64) -> CommittedOffset {
        CommittedOffset {
            offset,
            leader_epoch: -1,
            metadata: String::new(),
            commit_ms: 1_000,
            expire_ms: None,
        }
    }

    fn committed(offsets: &GroupOffsets) -> Option<i64> {
        offsets.committed(&partition(0)).map(|one| one.offset)
    }

    #[test]
    fn a_transaction_commits_all_or_nothing() {
        for (commit, expected) in [(true, Some(7)), (false, Some(3))] {
            let mut offsets = GroupOffsets::default();
            offsets.commit(partition(0), value(3), 10);
            offsets.commit_pending(42, partition(0), value(7), 11);
            assert!(offsets.is_unstable(&partition(0)));
            assert_eq!(committed(&offsets), Some(3));
            offsets.end_transaction(42, commit, 12);
            assert!(!offsets.is_unstable(&partition(0)));
            assert_eq!(committed(&offsets), expected);
        }
    }

    #[test]
    fn the_later_record_wins_whenever_it_materialised() {
        let mut offsets = GroupOffsets::default();
        offsets.commit_pending(42, partition(0), value(7), 11);
        offsets.commit(partition(0), value(9), 12);
        offsets.end_transaction(42, true, 13);
        assert_eq!(committed(&offsets), Some(9));
    }

    #[test]
    fn transactions_of_two_producers_do_not_touch_each_other() {
        let mut offsets = GroupOffsets::default();
        offsets.commit_pending(1, partition(0), value(5), 10);
        offsets.commit_pending(2, partition(0), value(6), 11);
        offsets.end_transaction(2, false, 12);
        assert!(offsets.is_unstable(&partition(0)));
        offsets.end_transaction(1, true, 13);
        assert_eq!(committed(&offsets), Some(5));
    }

    #[test]
    fn a_marker_leaves_the_next_transaction_of_its_producer_alone() {
        let mut offsets = GroupOffsets::default();
        offsets.commit_pending(1, partition(0), value(5), 10);
        offsets.commit_pending(1, partition(1), value(6), 12);
        offsets.end_transaction(1, true, 11);
        assert_eq!(committed(&offsets), Some(5));
        assert!(offsets.is_unstable(&partition(1)));
        assert_eq!(offsets.committed(&partition(1)), None);
    }

    #[test]
    fn an_unknown_marker_changes_nothing() {
        let mut offsets = GroupOffsets::default();
        offsets.commit(partition(0), value(3), 10);
        let before = offsets.clone();
        offsets.end_transaction(99, true, 11);
        assert_eq!(offsets, before);
    }

    #[test]
    fn offsets_expire_unless_a_transaction_holds_them() {
        let mut offsets = GroupOffsets::default();
        offsets.commit(partition(0), value(3), 10);
        offsets.commit(partition(1), value(3), 11);
        let mut own = value(3);
        own.expire_ms = Some(1_050);
        offsets.commit(partition(2), own, 12);
        offsets.commit_pending(1, partition(1), value(4), 13);
        assert_eq!(offsets.expired(1_049, 100, 0), []);
        assert_eq!(offsets.expired(1_099, 100, 0), [partition(2)]);
        assert_eq!(offsets.expired(1_100, 100, 0), [partition(0), partition(2)]);
        assert_eq!(offsets.expired(1_100, 100, 1_001), [partition(2)]);
    }
}
