//! One transaction of a task through the broker's own coordinator. Nothing waits for a flush before the
//! end, which waits for one.

use std::collections::BTreeSet;
use std::time::Duration;

use millstream_broker::{Local, MemberStamp, OffsetCommit, TopicPartition, TransactionalProducer};
use millstream_pipeline::ports::{PortError, Position, TaskLease, TopicRef, Transaction};
use millstream_wire::ErrorCode;

use super::errors::{Asked, port_error};

/// How long data may wait for the commit that follows it before it is flushed on its own.
const FLUSH_WITHIN: Duration = Duration::from_millis(20);

pub struct LocalTransaction {
    local: Local,
    lease: TaskLease,
    registered: BTreeSet<TopicPartition>,
    has_offsets: bool,
}

impl LocalTransaction {
    pub fn new(local: Local, lease: TaskLease) -> LocalTransaction {
        LocalTransaction {
            local,
            lease,
            registered: BTreeSet::new(),
            has_offsets: false,
        }
    }

    fn producer(&self) -> TransactionalProducer<'_> {
        let lease = &self.lease;
        let id = &lease.transactional_id;
        self.local
            .transactional_producer(id, lease.producer_id, lease.producer_epoch)
    }

    fn error(&self, code: ErrorCode) -> PortError {
        port_error(code, Asked::transaction(&self.lease.transactional_id))
    }

    async fn register(&mut self, topic: TopicRef<'_>, partition: i32) -> Result<(), PortError> {
        let wanted = TopicPartition::new(topic.name, partition);
        if self.registered.contains(&wanted) {
            return Ok(());
        }
        let only = std::slice::from_ref(&wanted);
        self.producer()
            .add_partitions(only)
            .await
            .map_err(|code| match code {
                ErrorCode::UnknownTopicOrPartition => gone(topic.name),
                ErrorCode::NotLeaderOrFollower => {
                    port_error(code, Asked::partition(topic.name, partition))
                }
                other => self.error(other),
            })?;
        self.registered.insert(wanted);
        Ok(())
    }

    /// Which of the topics was deleted.
    fn gone_of(&self, positions: &[Position]) -> PortError {
        let is_gone = |position: &&Position| {
            let present = self.local.topic(&position.topic);
            present.map(|topic| topic.id) != Some(position.topic_id)
        };
        let position = positions.iter().find(is_gone).or(positions.first());
        gone(position.map_or("", |position| &position.topic))
    }

    async fn end(self, commit: bool) -> Result<(), PortError> {
        if self.registered.is_empty() && !self.has_offsets {
            // The coordinator has never heard of it.
            return Ok(());
        }
        let ended = self.producer().end(commit).await;
        ended.map_err(|code| self.error(code))
    }
}

impl Transaction for LocalTransaction {
    async fn append(
        &mut self,
        topic: TopicRef<'_>,
        partition: i32,
        batch: &mut [u8],
    ) -> Result<(), PortError> {
        self.register(topic, partition).await?;
        let id = Some(self.lease.transactional_id.as_str());
        self.local
            .append(id, &topic.id, partition, batch, FLUSH_WITHIN)
            .await
            .map_err(|code| match code {
                ErrorCode::UnknownTopicId | ErrorCode::UnknownTopicOrPartition => gone(topic.name),
                ErrorCode::ProducerFenced | ErrorCode::InvalidProducerEpoch => self.error(code),
                other => port_error(other, Asked::partition(topic.name, partition)),
            })?;
        Ok(())
    }

    async fn offsets(&mut self, positions: &[Position]) -> Result<(), PortError> {
        let Some(group) = &self.lease.group else {
            return Err(PortError::Refused {
                reason: format!("{} has no group", self.lease.transactional_id),
            });
        };
        if !self.has_offsets {
            self.producer()
                .add_offsets(group)
                .await
                .map_err(|code| self.error(code))?;
            self.has_offsets = true;
        }
        let member = MemberStamp {
            member_id: self.lease.member_id.clone(),
            generation: self.lease.task_epoch,
        };
        let offsets: Vec<OffsetCommit> = positions.iter().map(to_commit).collect();
        self.producer()
            .commit_offsets(group, &member, &offsets)
            .await
            .map_err(|code| match code {
                ErrorCode::UnknownTopicOrPartition => self.gone_of(positions),
                other => self.error(other),
            })
    }

    async fn commit(self) -> Result<(), PortError> {
        self.end(true).await
    }

    async fn abort(self) -> Result<(), PortError> {
        self.end(false).await
    }
}

fn gone(topic: &str) -> PortError {
    PortError::Gone {
        topic: topic.to_owned(),
    }
}

fn to_commit(position: &Position) -> OffsetCommit {
    OffsetCommit {
        partition: TopicPartition::new(&position.topic, position.partition),
        topic_id: position.topic_id,
        offset: position.offset,
        leader_epoch: -1,
        metadata: String::new(),
    }
}
