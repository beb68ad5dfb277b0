//! The ports over memory.

use std::sync::Arc;

use millstream_records::{Compression, Marker};
use uuid::Uuid;

use super::engine::{MemoryEngine, lease_of};
use super::faults::Step;
use super::partition::Partition;
use super::state::{State, Topic};
use crate::ports::{
    Bounds, Engine, GroupClaim, InputChunk, InputPartition, PortError, Position, TaskId, TaskLease,
    TopicInfo, TopicRef, TopicSpec, Transaction,
};

/// A partition of a [`MemoryEngine`].
pub struct MemoryInput {
    engine: MemoryEngine,
    topic: String,
    topic_id: Uuid,
    partition: i32,
}

impl MemoryInput {
    fn topic(&self) -> TopicRef<'_> {
        TopicRef {
            name: &self.topic,
            id: self.topic_id,
        }
    }
}

/// A transaction of a [`MemoryEngine`].
pub struct MemoryTransaction {
    engine: MemoryEngine,
    lease: TaskLease,
}

impl Engine for MemoryEngine {
    type Input = MemoryInput;
    type Transaction = MemoryTransaction;

    async fn ensure_topic(&self, spec: &TopicSpec) -> Result<TopicInfo, PortError> {
        self.call(Step::EnsureTopic, (&spec.name, -1), |state| {
            let id = state.new_topic_id();
            let topic = state.topics.entry(spec.name.clone()).or_insert_with(|| {
                let partitions = spec.partitions.unwrap_or(1);
                Topic {
                    info: TopicInfo {
                        id,
                        partitions,
                        message_bytes_max: 1 << 20,
                        compacted: is_compacted(&spec.config),
                        compression: Compression::None,
                        settings: spec.config.iter().cloned().collect(),
                    },
                    partitions: (0..partitions).map(|_| Partition::default()).collect(),
                }
            });
            Ok(topic.info.clone())
        })
        .await
    }

    async fn topic(&self, name: &str) -> Result<Option<TopicInfo>, PortError> {
        self.call(Step::Topic, (name, -1), |state| {
            Ok(state.topics.get(name).map(|topic| topic.info.clone()))
        })
        .await
    }

    async fn acquire_task(
        &self,
        task: &TaskId,
        claim: Option<&GroupClaim>,
    ) -> Result<TaskLease, PortError> {
        let id = task.transactional_id();
        self.call(Step::Acquire, (&task.stage, task.partition), |state| {
            let owner = state.init_producer(&id);
            let group = claim.map(|claim| claim.group.clone());
            Ok(lease_of(id.clone(), &owner, group))
        })
        .await
    }

    async fn committed(
        &self,
        group: &str,
        partitions: &[(String, i32)],
    ) -> Result<Vec<Option<i64>>, PortError> {
        self.call(Step::Committed, (group, -1), |state| {
            let offsets = partitions
                .iter()
                .map(|(topic, partition)| state.group_offset(group, topic, *partition));
            Ok(offsets.collect())
        })
        .await
    }

    async fn input(&self, topic: &str, partition: i32) -> Result<MemoryInput, PortError> {
        let open = |state: &mut State| {
            state.partition(topic, partition)?;
            Ok(state.topics.get(topic).map(|topic| topic.info.id))
        };
        let opened = self.call(Step::Input, (topic, partition), open).await?;
        Ok(MemoryInput {
            engine: self.clone(),
            topic: topic.to_owned(),
            topic_id: opened.unwrap_or_default(),
            partition,
        })
    }

    fn settings_version(&self) -> u64 {
        self.version()
    }

    async fn begin(&self, lease: &TaskLease) -> Result<MemoryTransaction, PortError> {
        self.call(Step::Begin, (&lease.transactional_id, -1), |_| Ok(()))
            .await?;
        Ok(MemoryTransaction {
            engine: self.clone(),
            lease: lease.clone(),
        })
    }
}

fn is_compacted(config: &[(String, String)]) -> bool {
    let policy = config.iter().find(|(name, _)| name == "cleanup.policy");
    policy.is_some_and(|(_, policy)| policy.contains("compact"))
}

impl InputPartition for MemoryInput {
    fn topic_id(&self) -> Uuid {
        self.topic_id
    }

    async fn read(&self, offset: i64, max_bytes: usize) -> Result<InputChunk, PortError> {
        let place = (self.topic.as_str(), self.partition);
        self.engine
            .call(Step::Read, place, |state| {
                state.check_present(self.topic())?;
                let partition = state.partition(&self.topic, self.partition)?;
                let bounds = partition.bounds();
                partition
                    .read(offset, max_bytes)
                    .ok_or_else(|| PortError::OffsetOutOfRange {
                        topic: self.topic.clone(),
                        partition: self.partition,
                        offset,
                        log_start: bounds.log_start,
                        log_end: bounds.log_end,
                    })
            })
            .await
    }

    async fn bounds(&self) -> Result<Bounds, PortError> {
        let place = (self.topic.as_str(), self.partition);
        self.engine
            .call(Step::Bounds, place, |state| {
                state.check_present(self.topic())?;
                Ok(state.partition(&self.topic, self.partition)?.bounds())
            })
            .await
    }

    async fn offset_for_timestamp(&self, timestamp_ms: i64) -> Result<Option<i64>, PortError> {
        let records = self.engine.committed_records(&self.topic);
        Ok(records
            .into_iter()
            .filter(|record| record.partition == self.partition)
            .find(|record| record.timestamp >= timestamp_ms)
            .map(|record| record.offset))
    }

    async fn wait_beyond(&self, offset: i64) -> Result<(), PortError> {
        loop {
            let changed = self.engine.if_alive(|state| {
                state.check_present(self.topic())?;
                let partition = state.partition(&self.topic, self.partition)?;
                Ok(Arc::clone(&partition.changed))
            });
            let Some(changed) = changed.transpose()? else {
                return std::future::pending().await;
            };
            // Registered before the look, so that no change is missed.
            let mut changed = std::pin::pin!(changed.notified());
            changed.as_mut().enable();
            let last_stable = self.engine.if_alive(|state| {
                state.check_present(self.topic())?;
                let partition = state.partition(&self.topic, self.partition)?;
                Ok::<_, PortError>(partition.bounds().last_stable)
            });
            if last_stable.transpose()?.is_some_and(|last| last > offset) {
                return Ok(());
            }
            changed.await;
        }
    }
}

impl Transaction for MemoryTransaction {
    async fn append(
        &mut self,
        topic: TopicRef<'_>,
        partition: i32,
        batch: &mut [u8],
    ) -> Result<(), PortError> {
        let lease = &self.lease;
        self.engine
            .call(Step::Append, (topic.name, partition), |state| {
                state.append(lease, (topic, partition), batch)
            })
            .await
    }

    async fn offsets(&mut self, positions: &[Position]) -> Result<(), PortError> {
        let lease = &self.lease;
        self.engine
            .call(Step::Offsets, (&lease.transactional_id, -1), |state| {
                state.add_offsets(lease, positions)
            })
            .await
    }

    async fn commit(self) -> Result<(), PortError> {
        let lease = &self.lease;
        self.engine
            .call(Step::Commit, (&lease.transactional_id, -1), |state| {
                state.end_of(lease, Marker::Commit)
            })
            .await
    }

    async fn abort(self) -> Result<(), PortError> {
        let lease = &self.lease;
        self.engine
            .call(Step::Abort, (&lease.transactional_id, -1), |state| {
                state.end_of(lease, Marker::Abort)
            })
            .await
    }
}
