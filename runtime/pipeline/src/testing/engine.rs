//! The engine in memory: what tests do with it, and how its calls fail.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_records::{
    BatchBuilder, BatchOptions, Compression, Marker, ProducerStamp, TimestampType,
};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::faults::{Fault, Step};
use super::partition::{Partition, StoredRecord};
use super::state::{State, Topic, TransactionState};
use crate::ports::{Bounds, PortError, TaskId, TaskLease, TopicInfo, TopicRef};

/// An engine in memory. Clones are handles of the same incarnation; [`MemoryEngine::restart`] gives
/// one of the next, as a process that was started again has.
#[derive(Clone, Default)]
pub struct MemoryEngine {
    state: Arc<Mutex<State>>,
    crash: Arc<Notify>,
    incarnation: u64,
}

/// Key and value of a record to produce.
pub type KeyValue<'r> = (Option<&'r [u8]>, Option<&'r [u8]>);

impl MemoryEngine {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn create_topic(&self, name: &str, partitions: i32) {
        self.create_topic_with(name, partitions, 1 << 20, Compression::None);
    }

    /// Creates a topic that takes batches up to a size and wants them compressed.
    pub fn create_topic_with(
        &self,
        name: &str,
        partitions: i32,
        message_bytes_max: usize,
        compression: Compression,
    ) {
        let mut state = self.state.lock();
        let info = TopicInfo {
            id: state.new_topic_id(),
            partitions,
            message_bytes_max,
            compacted: false,
            compression,
            settings: BTreeMap::new(),
        };
        let topic = Topic {
            partitions: (0..partitions).map(|_| Partition::default()).collect(),
            info,
        };
        state.topics.insert(name.to_owned(), topic);
    }

    /// Changes what a topic takes, as a change of its settings does.
    pub fn alter_topic(&self, name: &str, change: impl FnOnce(&mut TopicInfo)) {
        let mut state = self.state.lock();
        let topic = state.topics.get_mut(name).expect("the topic exists");
        change(&mut topic.info);
        state.settings_version += 1;
    }

    /// Deletes a topic; whoever waits for it hears of it.
    pub fn delete_topic(&self, name: &str) {
        let deleted = self.state.lock().topics.remove(name);
        for partition in deleted.into_iter().flat_map(|topic| topic.partitions) {
            partition.changed.notify_waiters();
        }
    }

    /// Lets `plan` decide about each call from now on.
    pub fn fail(&self, plan: impl FnMut(u64, Step) -> Option<Fault> + Send + 'static) {
        let mut state = self.state.lock();
        state.calls = 0;
        state.plan = Some(Box::new(plan));
    }

    /// No call fails from now on.
    pub fn heal(&self) {
        self.state.lock().plan = None;
    }

    /// Waits for a crash that the plan ordered.
    pub async fn crashed(&self) {
        loop {
            let notified = self.crash.notified();
            if self.state.lock().crashed {
                return;
            }
            notified.await;
        }
    }

    /// The engine after a restart: everything stored is there, earlier handles are dead.
    pub fn restart(&self) -> MemoryEngine {
        let mut state = self.state.lock();
        state.incarnation += 1;
        state.crashed = false;
        MemoryEngine {
            state: Arc::clone(&self.state),
            crash: Arc::clone(&self.crash),
            incarnation: state.incarnation,
        }
    }

    /// What readers of committed records see, partition by partition.
    pub fn committed_records(&self, topic: &str) -> Vec<StoredRecord> {
        let state = self.state.lock();
        let partitions = state.topics.get(topic).map(|topic| &topic.partitions);
        partitions
            .into_iter()
            .flatten()
            .zip(0..)
            .flat_map(|(partition, index)| partition.committed(index))
            .collect()
    }

    /// The committed offset of a group.
    pub fn group_offset(&self, group: &str, topic: &str, partition: i32) -> Option<i64> {
        self.state.lock().group_offset(group, topic, partition)
    }

    pub fn bounds(&self, topic: &str, partition: i32) -> Result<Bounds, PortError> {
        Ok(self.state.lock().partition(topic, partition)?.bounds())
    }

    /// Deletes the records before an offset that begins a batch.
    pub fn delete_records(
        &self,
        topic: &str,
        partition: i32,
        before: i64,
    ) -> Result<(), PortError> {
        let mut state = self.state.lock();
        state.partition(topic, partition)?.delete_before(before);
        Ok(())
    }

    /// Damages the newest batch of a partition.
    pub fn damage(&self, topic: &str, partition: i32) -> Result<(), PortError> {
        self.state
            .lock()
            .partition(topic, partition)?
            .damage_newest();
        Ok(())
    }

    /// Appends key-value records as one batch, as a plain producer does.
    pub fn produce(
        &self,
        topic: &str,
        partition: i32,
        records: &[KeyValue<'_>],
    ) -> Result<(), PortError> {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        for (index, (key, value)) in records.iter().enumerate() {
            let none: [(&[u8], Option<&[u8]>); 0] = [];
            let timestamp = 1_000 + index as i64;
            append(&mut builder, timestamp, *key, *value, none)?;
        }
        self.produce_batch(topic, partition, builder)
    }

    /// Appends a batch that a test has built.
    pub fn produce_batch(
        &self,
        topic: &str,
        partition: i32,
        builder: BatchBuilder,
    ) -> Result<(), PortError> {
        let mut batch = builder.build().map_err(|error| PortError::Refused {
            reason: error.to_string(),
        })?;
        self.state
            .lock()
            .partition(topic, partition)?
            .append(&mut batch)
    }

    /// Appends values in a foreign producer's transaction, which ends as `end` says or stays open.
    pub fn produce_in_transaction(
        &self,
        transactional_id: &str,
        (topic, partition): (&str, i32),
        values: &[&[u8]],
        end: Option<Marker>,
    ) -> Result<(), PortError> {
        let mut state = self.state.lock();
        let owner = state.init_producer(transactional_id);
        let mut builder = BatchBuilder::new(BatchOptions {
            transactional: true,
            timestamp_type: TimestampType::CreateTime,
            producer: Some(ProducerStamp {
                id: owner.producer_id,
                epoch: owner.epoch,
                base_sequence: 0,
            }),
            ..BatchOptions::default()
        });
        for value in values {
            let none: [(&[u8], Option<&[u8]>); 0] = [];
            append(&mut builder, 1_000, None, Some(value), none)?;
        }
        let mut batch = builder.build().map_err(|error| PortError::Refused {
            reason: error.to_string(),
        })?;
        let lease = lease_of(transactional_id.to_owned(), &owner, None);
        let id = state.topics.get(topic).map(|topic| topic.info.id);
        let topic = TopicRef {
            name: topic,
            id: id.unwrap_or_default(),
        };
        state.append(&lease, (topic, partition), &mut batch)?;
        match end {
            Some(marker) => state.end_of(&lease, marker),
            None => Ok(()),
        }
    }

    /// Makes somebody else the owner of a task, as a second node would.
    pub fn steal(&self, task: &TaskId) {
        self.state.lock().init_producer(&task.transactional_id());
    }

    /// Runs one call under the plan: `done` is its effect.
    pub(super) async fn call<T>(
        &self,
        step: Step,
        (topic, partition): (&str, i32),
        done: impl FnOnce(&mut State) -> Result<T, PortError>,
    ) -> Result<T, PortError> {
        let unknown = || PortError::Unknown {
            operation: format!("{step:?}"),
        };
        let fault = self.next_fault(step);
        match fault {
            None | Some(Fault::UnknownDone | Fault::CrashAfter) => {}
            Some(Fault::Delay) => {
                for _ in 0..DELAY_TURNS {
                    tokio::task::yield_now().await;
                }
            }
            Some(Fault::NotLeader) => {
                return Err(PortError::NotLeader {
                    topic: topic.to_owned(),
                    partition,
                });
            }
            Some(Fault::UnknownNotDone) => return Err(unknown()),
            Some(Fault::Unstable) => {
                return Err(PortError::UnstableOffsets {
                    group: topic.to_owned(),
                });
            }
            Some(Fault::Full) => return Err(PortError::Full),
            Some(Fault::CrashBefore) => self.die(),
        }
        let Some(outcome) = self.if_alive(done) else {
            return std::future::pending().await;
        };
        match fault {
            Some(Fault::UnknownDone) => outcome.and(Err(unknown())),
            Some(Fault::CrashAfter) => {
                self.die();
                std::future::pending().await
            }
            _ => outcome,
        }
    }

    pub(super) fn version(&self) -> u64 {
        self.state.lock().settings_version
    }

    fn next_fault(&self, step: Step) -> Option<Fault> {
        let mut state = self.state.lock();
        if !self.is_alive(&state) {
            return None;
        }
        let call = state.calls;
        state.calls += 1;
        state.plan.as_mut().and_then(|plan| plan(call, step))
    }

    pub(super) fn if_alive<T>(&self, work: impl FnOnce(&mut State) -> T) -> Option<T> {
        let mut state = self.state.lock();
        self.is_alive(&state).then(|| work(&mut state))
    }

    fn is_alive(&self, state: &State) -> bool {
        state.incarnation == self.incarnation && !state.crashed
    }

    fn die(&self) {
        self.state.lock().crashed = true;
        self.crash.notify_waiters();
    }
}

/// How often a delayed call lets others go first.
const DELAY_TURNS: usize = 3;

fn append(
    builder: &mut BatchBuilder,
    timestamp: i64,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: [(&[u8], Option<&[u8]>); 0],
) -> Result<(), PortError> {
    builder
        .append(timestamp, key, value, headers)
        .map_err(|error| PortError::Refused {
            reason: error.to_string(),
        })
}

pub(super) fn lease_of(id: String, owner: &TransactionState, group: Option<String>) -> TaskLease {
    TaskLease {
        member_id: format!("{id}-member"),
        transactional_id: id,
        producer_id: owner.producer_id,
        producer_epoch: owner.epoch,
        task_epoch: owner.task_epoch,
        group,
    }
}
