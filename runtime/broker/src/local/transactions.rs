//! Transactions in process: the coordinator's own code and its fencing, without sockets. Nothing but the end of a
//! transaction waits for a flush.

use millstream_wire::ErrorCode;
use uuid::Uuid;

use super::Local;
use crate::{
    broker::Broker,
    coordinator::TopicPartition,
    group::{Committer, OffsetToCommit},
    transaction::{Durability, Producer},
};

/// The member of a group that commits, and the generation that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStamp {
    pub member_id: String,
    pub generation: i32,
}

/// A position to be committed: the next offset to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetCommit {
    pub partition: TopicPartition,
    /// The topic that was read. UNKNOWN_TOPIC_OR_PARTITION when the name belongs to no topic, or another one, by now.
    pub topic_id: Uuid,
    pub offset: i64,
    /// The leader epoch of the last record read, or -1.
    pub leader_epoch: i32,
    pub metadata: String,
}

/// A transactional id in the hands of one instance of its producer, as [`Local::init_producer_id`] named it.
#[derive(Clone, Copy)]
pub struct TransactionalProducer<'a> {
    broker: &'a Broker,
    transactional_id: &'a str,
    producer: Producer,
}

impl Local {
    /// A producer for a transactional id. Whoever used the id before is fenced, and its transaction is settled first:
    /// waited for when it is decided, else aborted. Returns the producer id and its epoch.
    pub async fn init_producer_id(
        &self,
        transactional_id: &str,
        timeout_ms: i32,
    ) -> Result<(i64, i16), ErrorCode> {
        let producer = self
            .broker
            .transactions()
            .init_producer_id(transactional_id, timeout_ms, None)
            .await?;
        Ok((producer.id, producer.epoch))
    }

    /// The producer that got these two for its transactional id.
    pub fn transactional_producer<'a>(
        &'a self,
        transactional_id: &'a str,
        producer_id: i64,
        producer_epoch: i16,
    ) -> TransactionalProducer<'a> {
        TransactionalProducer {
            broker: &self.broker,
            transactional_id,
            producer: Producer {
                id: producer_id,
                epoch: producer_epoch,
            },
        }
    }
}

impl TransactionalProducer<'_> {
    /// Partitions join the transaction; to be called before their first data.
    pub async fn add_partitions(&self, partitions: &[TopicPartition]) -> Result<(), ErrorCode> {
        for one in partitions {
            self.broker.partitions().led(&one.topic, one.partition)?;
        }
        let (id, producer) = (self.transactional_id, self.producer);
        self.broker
            .transactions()
            .add_partitions(id, producer, partitions, Durability::Appended)
            .await
    }

    /// A group's offsets join the transaction; to be called before [`TransactionalProducer::commit_offsets`].
    pub async fn add_offsets(&self, group: &str) -> Result<(), ErrorCode> {
        let (id, producer) = (self.transactional_id, self.producer);
        self.broker
            .transactions()
            .add_offsets(id, producer, group, Durability::Appended)
            .await
    }

    /// Positions of a group, within the transaction. The first refused one is the error.
    pub async fn commit_offsets(
        &self,
        group: &str,
        member: &MemberStamp,
        offsets: &[OffsetCommit],
    ) -> Result<(), ErrorCode> {
        let committer = Committer {
            member_id: &member.member_id,
            instance_id: None,
            generation: member.generation,
        };
        let offsets = offsets
            .iter()
            .map(|one| OffsetToCommit {
                partition: one.partition.clone(),
                topic_id: one.topic_id,
                offset: one.offset,
                leader_epoch: one.leader_epoch,
                metadata: one.metadata.clone(),
            })
            .collect();
        let (id, producer) = (self.transactional_id, self.producer);
        let results = self
            .broker
            .transactions()
            .commit_offsets(
                id,
                producer,
                group,
                committer,
                offsets,
                Durability::Appended,
            )
            .await?;
        results
            .into_iter()
            .find(|result| *result != ErrorCode::None)
            .map_or(Ok(()), Err)
    }

    /// Commits or aborts the transaction. Returns when the outcome is durable, after one flush of everything before
    /// it. A repetition after success is a success.
    pub async fn end(&self, commit: bool) -> Result<(), ErrorCode> {
        let (id, producer) = (self.transactional_id, self.producer);
        self.broker.transactions().end(id, producer, commit).await
    }
}
