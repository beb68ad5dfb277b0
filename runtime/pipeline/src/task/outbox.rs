//! The batches of a transaction: one growing batch per output partition, with the sequences of the
//! task's producer.

use millstream_records::{
    BatchBuilder, BatchOptions, BuildError, HEADER_LEN, ProducerStamp, increment_sequence,
};

use super::partitioner::{Sticky, partition_for_key};
use crate::ports::{Engine, PortError, TaskLease, TopicInfo, TopicRef, Transaction};

/// A batch is closed when it has this many bytes, so that a large transaction leaves in pieces.
const BATCH_BYTES: usize = 256 * 1024;
/// Buffers kept for the next batches.
const SPARE_BUFFERS_MAX: usize = 16;
/// Room that a record may need beside its fields: lengths, deltas, the batch's header.
const RECORD_OVERHEAD_MAX: usize = HEADER_LEN + 64;
/// The same for one of its headers.
const HEADER_OVERHEAD_MAX: usize = 10;

/// An output topic as tasks see it.
#[derive(Debug, Clone)]
pub struct OutputTopic {
    pub name: String,
    pub info: TopicInfo,
}

impl OutputTopic {
    fn reference(&self) -> TopicRef<'_> {
        TopicRef {
            name: &self.name,
            id: self.info.id,
        }
    }
}

/// One record to send.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'r, H> {
    /// `None`: by key, as Kafka's default partitioner.
    pub partition: Option<i32>,
    pub timestamp: i64,
    pub key: Option<&'r [u8]>,
    pub value: Option<&'r [u8]>,
    pub headers: H,
}

impl<'h, H> Outgoing<'_, H>
where
    H: Iterator<Item = (&'h [u8], Option<&'h [u8]>)> + Clone,
{
    /// At most so many bytes, alone in a batch.
    #[inline]
    fn size_max(&self) -> usize {
        let headers: usize = self
            .headers
            .clone()
            .map(|(name, value)| name.len() + value.map_or(0, <[u8]>::len) + HEADER_OVERHEAD_MAX)
            .sum();
        let fields = self.key.map_or(0, <[u8]>::len) + self.value.map_or(0, <[u8]>::len);
        fields + headers + RECORD_OVERHEAD_MAX
    }
}

/// Why a record cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    #[error("an output for {topic} goes to partition {partition}; it has {partitions}")]
    NoSuchPartition {
        topic: String,
        partition: i32,
        partitions: i32,
    },
    #[error(
        "an output for {topic} has no key, and the topic is compacted (cleanup.policy): only records with a key stay in it"
    )]
    NoKey { topic: String },
    #[error(
        "the topic {topic} is compacted (cleanup.policy), so that of the refused records with the same key only the last would stay"
    )]
    CompactedDeadLetters { topic: String },
    #[error(
        "an output for {topic} has about {size} bytes; the topic takes {max} (max.message.bytes)"
    )]
    TooLarge {
        topic: String,
        size: usize,
        max: usize,
    },
}

/// The batches that a task is about to send.
#[derive(Debug)]
pub struct Outbox {
    producer_id: i64,
    producer_epoch: i16,
    sticky: Sticky,
    topics: Vec<Lanes>,
    /// Closed batches, in order.
    ready: Vec<Ready>,
    spare: Vec<Vec<u8>>,
    /// Bytes put since the transaction began.
    bytes: usize,
}

#[derive(Debug)]
struct Lanes {
    topic: OutputTopic,
    batch_bytes: usize,
    lanes: Vec<Lane>,
    /// Partitions with an open batch.
    open: Vec<i32>,
}

#[derive(Debug, Default)]
struct Lane {
    builder: Option<BatchBuilder>,
    next_sequence: i32,
}

#[derive(Debug)]
struct Ready {
    topic: usize,
    partition: i32,
    batch: Vec<u8>,
}

impl Outbox {
    /// Sequences begin at 0, as they must under a new producer epoch.
    pub fn new(lease: &TaskLease, topics: Vec<OutputTopic>, sticky_seed: u32) -> Self {
        let lanes = |topic: OutputTopic| Lanes {
            batch_bytes: topic.info.message_bytes_max.min(BATCH_BYTES),
            lanes: (0..topic.info.partitions)
                .map(|_| Lane::default())
                .collect(),
            open: Vec::new(),
            topic,
        };
        Outbox {
            producer_id: lease.producer_id,
            producer_epoch: lease.producer_epoch,
            sticky: Sticky::new(sticky_seed),
            topics: topics.into_iter().map(lanes).collect(),
            ready: Vec::new(),
            spare: Vec::new(),
            bytes: 0,
        }
    }

    /// Could this record be sent?
    #[inline]
    pub fn check<'h, H>(&self, topic: usize, record: &Outgoing<'_, H>) -> Result<(), Misfit>
    where
        H: Iterator<Item = (&'h [u8], Option<&'h [u8]>)> + Clone,
    {
        let lanes = &self.topics[topic];
        if let Some(partition) = record.partition
            && !(0..lanes.topic.info.partitions).contains(&partition)
        {
            return Err(Misfit::NoSuchPartition {
                topic: lanes.topic.name.clone(),
                partition,
                partitions: lanes.topic.info.partitions,
            });
        }
        if lanes.topic.info.compacted && record.key.is_none() {
            return Err(Misfit::NoKey {
                topic: lanes.topic.name.clone(),
            });
        }
        let size = record.size_max();
        if size > lanes.topic.info.message_bytes_max {
            return Err(Misfit::TooLarge {
                topic: lanes.topic.name.clone(),
                size,
                max: lanes.topic.info.message_bytes_max,
            });
        }
        Ok(())
    }

    /// Could this record be sent as a dead letter?
    pub fn check_dead_letter<'h, H>(
        &self,
        topic: usize,
        record: &Outgoing<'_, H>,
    ) -> Result<(), Misfit>
    where
        H: Iterator<Item = (&'h [u8], Option<&'h [u8]>)> + Clone,
    {
        let facts = &self.topics[topic].topic;
        if facts.info.compacted {
            return Err(Misfit::CompactedDeadLetters {
                topic: facts.name.clone(),
            });
        }
        self.check(topic, record)
    }

    /// Compares the topics with what the checks believe of them. One that is gone is left to the append.
    pub async fn check_topics<E: Engine>(&self, engine: &E) -> Result<(), PortError> {
        for lanes in &self.topics {
            let known = &lanes.topic;
            let present = engine.topic(&known.name).await?;
            if present.is_some_and(|present| !present.takes_the_same(&known.info)) {
                return Err(PortError::TopicChanged {
                    topic: known.name.clone(),
                });
            }
        }
        Ok(())
    }

    /// Adds a record that passed [`Outbox::check`].
    #[inline]
    pub fn put<'h, H>(&mut self, topic: usize, record: &Outgoing<'_, H>) -> Result<(), BuildError>
    where
        H: Iterator<Item = (&'h [u8], Option<&'h [u8]>)> + Clone,
    {
        let lanes = &mut self.topics[topic];
        let partitions = lanes.topic.info.partitions;
        let partition = match (record.partition, record.key) {
            (Some(partition), _) => partition,
            _ if partitions == 1 => 0,
            (None, Some(key)) => partition_for_key(key, partitions),
            (None, None) => self.sticky.partition(partitions),
        };
        let lane = &mut lanes.lanes[partition as usize];
        if let Some(builder) = &lane.builder
            && builder.estimated_size() + record.size_max() > lanes.batch_bytes
        {
            self.close(topic, partition)?;
        }
        let lanes = &mut self.topics[topic];
        let lane = &mut lanes.lanes[partition as usize];
        let builder = match &mut lane.builder {
            Some(builder) => builder,
            none => {
                lanes.open.push(partition);
                let options = BatchOptions {
                    compression: lanes.topic.info.compression,
                    producer: Some(ProducerStamp {
                        id: self.producer_id,
                        epoch: self.producer_epoch,
                        base_sequence: lane.next_sequence,
                    }),
                    transactional: true,
                    ..BatchOptions::default()
                };
                let buffer = self.spare.pop().unwrap_or_default();
                none.insert(BatchBuilder::with_buffer(options, buffer))
            }
        };
        let before = builder.estimated_size();
        builder.append(
            record.timestamp,
            record.key,
            record.value,
            record.headers.clone(),
        )?;
        self.bytes += builder.estimated_size() - before;
        Ok(())
    }

    /// Closes the open batch of a partition.
    fn close(&mut self, topic: usize, partition: i32) -> Result<(), BuildError> {
        let lanes = &mut self.topics[topic];
        let lane = &mut lanes.lanes[partition as usize];
        lanes.open.retain(|open| *open != partition);
        let Some(builder) = lane.builder.take() else {
            return Ok(());
        };
        let count = builder.count() as i32;
        let batch = builder.build()?;
        lane.next_sequence = increment_sequence(lane.next_sequence, count);
        self.ready.push(Ready {
            topic,
            partition,
            batch,
        });
        Ok(())
    }

    /// Closes every open batch.
    pub fn close_all(&mut self) -> Result<(), BuildError> {
        for topic in 0..self.topics.len() {
            while let Some(&partition) = self.topics[topic].open.first() {
                self.close(topic, partition)?;
            }
        }
        Ok(())
    }

    /// Appends what is closed. A batch that meets NotLeader is kept, and so are those behind it:
    /// the call may be repeated.
    pub async fn send<T: Transaction>(&mut self, transaction: &mut T) -> Result<(), PortError> {
        let mut sent = 0;
        let mut outcome = Ok(());
        for ready in &mut self.ready {
            let topic = self.topics[ready.topic].topic.reference();
            outcome = transaction
                .append(topic, ready.partition, &mut ready.batch)
                .await;
            if outcome.is_err() {
                break;
            }
            sent += 1;
        }
        for ready in self.ready.drain(..sent) {
            if self.spare.len() < SPARE_BUFFERS_MAX && ready.batch.capacity() <= 4 * BATCH_BYTES {
                self.spare.push(ready.batch);
            }
        }
        outcome
    }

    /// True when closed batches wait to be sent.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Bytes put since the transaction began.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// A transaction ended; the next one begins.
    pub fn turn(&mut self) {
        self.sticky.turn();
        self.bytes = 0;
    }
}
