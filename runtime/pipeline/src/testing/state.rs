//! What the engine in memory keeps: topics, transactions, groups.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use millstream_records::{BatchView, Marker};

use super::faults::Plan;
use super::partition::Partition;
use uuid::Uuid;

use crate::ports::{PortError, Position, TaskLease, TopicInfo, TopicRef};

/// Everything that survives a crash, and the plan of faults.
#[derive(Default)]
pub struct State {
    pub topics: BTreeMap<String, Topic>,
    pub transactions: HashMap<String, TransactionState>,
    /// By group, topic and partition: the topic's id and the offset.
    pub groups: HashMap<(String, String, i32), (Uuid, i64)>,
    next_producer_id: i64,
    next_topic_id: u128,
    pub calls: u64,
    pub settings_version: u64,
    pub plan: Option<Plan>,
    /// Handles of an earlier incarnation are dead.
    pub incarnation: u64,
    pub crashed: bool,
}

pub struct Topic {
    pub info: TopicInfo,
    pub partitions: Vec<Partition>,
}

/// The coordinator's view of one transactional id.
#[derive(Debug, Clone, Default)]
pub struct TransactionState {
    pub producer_id: i64,
    pub epoch: i16,
    pub task_epoch: i32,
    partitions: BTreeSet<(String, i32)>,
    offsets: Vec<(String, Position)>,
}

impl State {
    /// An id that no topic has had.
    pub fn new_topic_id(&mut self) -> Uuid {
        self.next_topic_id += 1;
        Uuid::from_u128(self.next_topic_id)
    }

    /// Whether this is the topic that has its name now.
    pub fn check_present(&self, topic: TopicRef<'_>) -> Result<(), PortError> {
        let present = self.topics.get(topic.name).map(|topic| topic.info.id);
        match present == Some(topic.id) {
            true => Ok(()),
            false => Err(PortError::Gone {
                topic: topic.name.to_owned(),
            }),
        }
    }

    /// The committed offset of a group in the present topic.
    pub fn group_offset(&self, group: &str, topic: &str, partition: i32) -> Option<i64> {
        let place = (group.to_owned(), topic.to_owned(), partition);
        let (id, offset) = *self.groups.get(&place)?;
        let present = self.topics.get(topic)?.info.id;
        (id == present).then_some(offset)
    }

    /// InitProducerId: aborts what is open, fences the forerunner.
    pub fn init_producer(&mut self, id: &str) -> TransactionState {
        if self.transactions.contains_key(id) {
            self.end(id, Marker::Abort);
        }
        let next = self.next_producer_id;
        let state = self.transactions.entry(id.to_owned()).or_insert_with(|| {
            self.next_producer_id += 1;
            TransactionState {
                producer_id: next,
                epoch: -1,
                task_epoch: -1,
                ..TransactionState::default()
            }
        });
        state.epoch += 1;
        state.task_epoch += 1;
        state.clone()
    }

    /// The transaction of a lease, unless a newer owner has it.
    pub fn owned(&mut self, lease: &TaskLease) -> Result<&mut TransactionState, PortError> {
        let fenced = PortError::Fenced {
            owner: lease.transactional_id.clone(),
        };
        self.transactions
            .get_mut(&lease.transactional_id)
            .filter(|state| state.epoch == lease.producer_epoch)
            .ok_or(fenced)
    }

    pub fn append(
        &mut self,
        lease: &TaskLease,
        (topic, partition): (TopicRef<'_>, i32),
        batch: &mut [u8],
    ) -> Result<(), PortError> {
        self.check_present(topic)?;
        self.partition(topic.name, partition)?;
        let info = &self.topics[topic.name].info;
        if batch.len() > info.message_bytes_max {
            let reason = format!("a batch of {} bytes for {}", batch.len(), topic.name);
            return Err(PortError::Refused { reason });
        }
        if info.compacted {
            check_keys(topic.name, batch)?;
        }
        let transaction = self.owned(lease)?;
        transaction
            .partitions
            .insert((topic.name.to_owned(), partition));
        self.partition(topic.name, partition)?.append(batch)
    }

    pub fn add_offsets(
        &mut self,
        lease: &TaskLease,
        positions: &[Position],
    ) -> Result<(), PortError> {
        let group = lease.group.clone().unwrap_or_default();
        for position in positions {
            self.check_present(TopicRef {
                name: &position.topic,
                id: position.topic_id,
            })?;
        }
        let transaction = self.owned(lease)?;
        for position in positions {
            transaction.offsets.push((group.clone(), position.clone()));
        }
        Ok(())
    }

    pub fn end_of(&mut self, lease: &TaskLease, marker: Marker) -> Result<(), PortError> {
        self.owned(lease)?;
        self.end(&lease.transactional_id, marker);
        Ok(())
    }

    fn end(&mut self, id: &str, marker: Marker) {
        let Some(transaction) = self.transactions.get_mut(id) else {
            return;
        };
        let partitions = std::mem::take(&mut transaction.partitions);
        let offsets = std::mem::take(&mut transaction.offsets);
        let (producer_id, epoch) = (transaction.producer_id, transaction.epoch);
        for (topic, partition) in partitions {
            if let Ok(partition) = self.partition(&topic, partition) {
                partition.mark(marker, producer_id, epoch);
            }
        }
        if marker == Marker::Commit {
            for (group, position) in offsets {
                let place = (group, position.topic, position.partition);
                self.groups
                    .insert(place, (position.topic_id, position.offset));
            }
        }
    }

    pub fn partition(&mut self, topic: &str, partition: i32) -> Result<&mut Partition, PortError> {
        let missing = || PortError::NotFound {
            topic: topic.to_owned(),
        };
        let index = usize::try_from(partition).map_err(|_| missing())?;
        let topic = self.topics.get_mut(topic).ok_or_else(missing)?;
        topic.partitions.get_mut(index).ok_or_else(missing)
    }
}

/// A compacted topic takes no record without a key.
fn check_keys(topic: &str, batch: &[u8]) -> Result<(), PortError> {
    let refused = |reason: String| PortError::Refused { reason };
    let view = BatchView::parse(batch).map_err(|error| refused(error.to_string()))?;
    let records = view.records(64 << 20);
    let records = records.map_err(|error| refused(error.to_string()))?;
    for record in records.iter() {
        let record = record.map_err(|error| refused(error.to_string()))?;
        if record.key.is_none() {
            return Err(refused(format!("a record without a key for {topic}")));
        }
    }
    Ok(())
}
