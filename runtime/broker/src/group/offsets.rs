//! A group's offsets: the committed ones, and those of open transactions.
//!
//! Pure; whoever calls this has read or appended a record, and says at which
//! offset of `__consumer_offsets` it stands. That position decides between two
//! commits of one partition: the later record wins, whenever it materialised.
//! A tombstone is a record like any other.
//!
//! Each offset names its topic by id. In a topic of the same name that was made
//! anew it means nothing, so that it is never handed out there; the records go
//! with the expiry.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use crate::coordinator::TopicPartition;

/// The id of the topic that has a name now, if there is one.
pub type PresentTopics<'a> = &'a dyn Fn(&str) -> Option<Uuid>;

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
    /// The topic of the partition; nil when it is not known.
    pub topic_id: Uuid,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Recorded {
    value: CommittedOffset,
    /// Offset of the record in `__consumer_offsets`.
    at: i64,
    /// The record itself names no topic id, as an older one; see
    /// [`GroupOffsets::adopt`].
    is_unnamed: bool,
}

impl Recorded {
    fn new(value: CommittedOffset, at: i64) -> Self {
        Self {
            is_unnamed: value.topic_id.is_nil(),
            value,
            at,
        }
    }

    fn is_of(&self, topic_id: Option<Uuid>) -> bool {
        !self.value.topic_id.is_nil() && topic_id == Some(self.value.topic_id)
    }
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
        put(&mut self.committed, partition, Recorded::new(value, at));
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
        put(pending, partition, Recorded::new(value, at));
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

    /// A tombstone that stands at `at`: the partition has no offset of an
    /// earlier record any more. One of an open transaction goes too, as it
    /// would from a compacted log.
    pub fn remove(&mut self, partition: &TopicPartition, at: i64) {
        let remove = |offsets: &mut Offsets| {
            if offsets.get(partition).is_some_and(|one| one.at <= at) {
                offsets.remove(partition);
            }
        };
        remove(&mut self.committed);
        self.pending.values_mut().for_each(remove);
        self.pending.retain(|_, offsets| !offsets.is_empty());
    }

    /// Gives offsets whose records name no topic id that of the topic which has
    /// the name now; to be called once, when all records are read. Where there
    /// is none, the topic was deleted: they stay without, and so are none.
    pub fn adopt(&mut self, present: PresentTopics<'_>) {
        let pending = self.pending.values_mut().flatten();
        for (partition, one) in self.committed.iter_mut().chain(pending) {
            if one.is_unnamed {
                one.value.topic_id = present(&partition.topic).unwrap_or_default();
            }
        }
    }

    /// The committed offset of a partition of the present topic.
    pub fn committed(
        &self,
        partition: &TopicPartition,
        present: PresentTopics<'_>,
    ) -> Option<&CommittedOffset> {
        let known = self.committed.get(partition)?;
        known
            .is_of(present(&partition.topic))
            .then_some(&known.value)
    }

    /// All committed offsets of present topics, by partition.
    pub fn all_committed<'a>(
        &'a self,
        present: PresentTopics<'a>,
    ) -> impl Iterator<Item = (&'a TopicPartition, &'a CommittedOffset)> {
        self.committed
            .iter()
            .filter(|(partition, one)| one.is_of(present(&partition.topic)))
            .map(|(partition, one)| (partition, &one.value))
    }

    /// The present topics in which there are offsets, committed ones or those of
    /// open transactions; one may come several times.
    pub fn topics<'a>(&'a self, present: PresentTopics<'a>) -> impl Iterator<Item = &'a str> {
        let pending = self.pending.values().flatten();
        let all = self.committed.iter().chain(pending);
        all.filter(|(partition, one)| one.is_of(present(&partition.topic)))
            .map(|(partition, _)| partition.topic.as_str())
    }

    /// How many partitions have an offset, of whatever topic.
    pub fn committed_count(&self) -> usize {
        self.committed.len()
    }

    /// Whether an open transaction may still change this partition's offset. A
    /// pending offset of another topic of that name cannot.
    pub fn is_unstable(&self, partition: &TopicPartition, present: PresentTopics<'_>) -> bool {
        self.pending_of(partition)
            .any(|one| one.is_of(present(&partition.topic)))
    }

    fn pending_of<'a>(
        &'a self,
        partition: &'a TopicPartition,
    ) -> impl Iterator<Item = &'a Recorded> {
        self.pending
            .values()
            .filter_map(|pending| pending.get(partition))
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

    /// Partitions whose committed offset is of another topic than the present
    /// one of that name, or of one that is gone. Never one with a pending
    /// commit.
    pub fn stale(&self, present: PresentTopics<'_>) -> Vec<TopicPartition> {
        self.without_pending(|partition, one| !one.is_of(present(&partition.topic)))
    }

    /// Partitions with an offset whose record names no topic id and that is of
    /// such a topic (nil: of none that is there). They must not be read again
    /// when the name belongs to another topic. Never one with a pending commit
    /// that names its topic: a tombstone would end that one too.
    pub fn unnamed(&self, is_gone: impl Fn(Uuid) -> bool) -> Vec<TopicPartition> {
        let goes = |one: &Recorded| one.is_unnamed && is_gone(one.value.topic_id);
        let pending = self.pending.values().flatten();
        let mut partitions: Vec<TopicPartition> = self
            .committed
            .iter()
            .chain(pending)
            .filter(|(partition, one)| {
                goes(one) && self.pending_of(partition).all(|one| one.is_unnamed)
            })
            .map(|(partition, _)| partition.clone())
            .collect();
        partitions.sort();
        partitions.dedup();
        partitions
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
        self.without_pending(|_, one| match one.value.expire_ms {
            Some(expire_ms) => expire_ms <= now_ms,
            None => {
                let since_ms = one.value.commit_ms.max(idle_since_ms);
                since_ms.saturating_add(retention_ms) <= now_ms
            }
        })
    }

    fn without_pending(
        &self,
        wanted: impl Fn(&TopicPartition, &Recorded) -> bool,
    ) -> Vec<TopicPartition> {
        self.committed
            .iter()
            .filter(|(partition, one)| {
                wanted(partition, one) && self.pending_of(partition).next().is_none()
            })
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
mod tests;
