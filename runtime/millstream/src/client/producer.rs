//! Writes records to one topic: batches per partition, `acks=all`, idempotent, so that a batch that
//! is sent again after a broken connection is stored once.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use millstream_pipeline::task::partitioner::partition_for_key;
use millstream_records::{
    BatchBuilder, BatchOptions, BuildError, Compression, ProducerStamp, increment_sequence,
};
use millstream_wire::ErrorCode;
use millstream_wire::init_producer_id::InitProducerIdRequest;
use millstream_wire::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, TopicProduceData,
};

use super::{Client, ClientError, Patience, Topic};

/// A batch that has grown to this size before compression is sent: well below the 1 MiB that a
/// topic takes by default.
const BATCH_BYTES: usize = 512 << 10;
const PRODUCE_TIMEOUT_MS: i32 = 30_000;

/// Names and values, in order.
pub type NewHeaders = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// A record to be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewRecord {
    /// Chosen from the key if none is given; without a key, partitions take turns.
    pub partition: Option<i32>,
    /// Milliseconds since 1970; now if none is given.
    pub timestamp: Option<i64>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: NewHeaders,
}

/// What has been written to one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    pub records: u64,
    pub first_offset: i64,
    pub last_offset: i64,
}

/// Collects and sends. Nothing is sent before [`Producer::flush`] or a full batch.
#[derive(Debug)]
pub struct Producer {
    topic: Topic,
    compression: Compression,
    id: i64,
    epoch: i16,
    sequences: BTreeMap<i32, i32>,
    open: BTreeMap<i32, BatchBuilder>,
    /// Where records without a key go until the next flush.
    sticky: i32,
    written: BTreeMap<i32, Written>,
}

/// A sealed batch on its way.
#[derive(Debug)]
struct Batch {
    partition: i32,
    bytes: Bytes,
    count: i32,
}

impl Producer {
    /// Gets a producer id. The topic must have its leaders.
    pub async fn start(
        client: &mut Client,
        topic: Topic,
        compression: Compression,
    ) -> Result<Producer, ClientError> {
        let request = InitProducerIdRequest {
            transaction_timeout_ms: i32::MAX,
            ..InitProducerIdRequest::default()
        };
        let patience = Patience::new();
        let granted = loop {
            let response = client.call(&request).await?;
            match ErrorCode::from_code(response.error_code) {
                ErrorCode::None => break response,
                code if code.is_retriable() && patience.wait().await => {}
                code => return Err(ClientError::refused("getting a producer id", code)),
            }
        };
        Ok(Producer {
            topic,
            compression,
            id: granted.producer_id,
            epoch: granted.producer_epoch,
            sequences: BTreeMap::new(),
            open: BTreeMap::new(),
            sticky: 0,
            written: BTreeMap::new(),
        })
    }

    /// Adds a record; sends everything when its batch is full.
    pub async fn append(
        &mut self,
        client: &mut Client,
        record: &NewRecord,
    ) -> Result<(), ClientError> {
        let partition = self.partition_of(record)?;
        if !self.open.contains_key(&partition) {
            let builder = self.new_batch(partition);
            self.open.insert(partition, builder);
        }
        let builder = self.open.get_mut(&partition).expect("it was just made");
        let timestamp = record.timestamp.unwrap_or_else(now_ms);
        let headers = record
            .headers
            .iter()
            .map(|(name, value)| (name.as_slice(), value.as_deref()));
        builder
            .append(
                timestamp,
                record.key.as_deref(),
                record.value.as_deref(),
                headers,
            )
            .map_err(unbuildable)?;
        match builder.estimated_size() >= BATCH_BYTES {
            true => self.flush(client).await,
            false => Ok(()),
        }
    }

    /// Is there anything that a flush would send?
    pub fn has_unsent(&self) -> bool {
        !self.open.is_empty()
    }

    /// Sends what is there and waits until all of it is acknowledged.
    pub async fn flush(&mut self, client: &mut Client) -> Result<(), ClientError> {
        let mut unsent = Vec::new();
        for (partition, builder) in std::mem::take(&mut self.open) {
            let count = builder.count() as i32;
            let sequence = self.sequences.entry(partition).or_insert(0);
            *sequence = increment_sequence(*sequence, count);
            let bytes = builder.build().map_err(unbuildable)?.into();
            unsent.push(Batch {
                partition,
                bytes,
                count,
            });
        }
        let partitions = self.topic.partitions.len().max(1) as i32;
        self.sticky = (self.sticky + 1) % partitions;
        let patience = Patience::new();
        loop {
            let Some(error) = self.send(client, &mut unsent).await? else {
                return Ok(());
            };
            if !patience.wait().await {
                return Err(error);
            }
            match client.topic(&self.topic.name, false).await {
                Ok(topic) => self.topic = topic,
                Err(error) if error.is_passing() => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Per partition, what has been acknowledged.
    pub fn written(&self) -> &BTreeMap<i32, Written> {
        &self.written
    }

    /// Sends each leader its batches and keeps those that must be sent again, with the reason.
    async fn send(
        &mut self,
        client: &mut Client,
        unsent: &mut Vec<Batch>,
    ) -> Result<Option<ClientError>, ClientError> {
        let mut by_leader: BTreeMap<i32, Vec<Batch>> = BTreeMap::new();
        for batch in unsent.drain(..) {
            let leader = self.leader_of(batch.partition);
            by_leader.entry(leader).or_default().push(batch);
        }
        let mut passing = None;
        for (leader, batches) in by_leader {
            match client.call_node(leader, &self.request(&batches)).await {
                Ok(response) => {
                    let mut answers: BTreeMap<i32, PartitionProduceResponse> = response
                        .responses
                        .into_iter()
                        .flat_map(|topic| topic.partition_responses)
                        .map(|answer| (answer.index, answer))
                        .collect();
                    for batch in batches {
                        let answer = answers.remove(&batch.partition).unwrap_or_else(|| {
                            PartitionProduceResponse {
                                error_code: ErrorCode::UnknownServerError.code(),
                                ..PartitionProduceResponse::default()
                            }
                        });
                        if let Some(error) = self.take_answer(&batch, answer)? {
                            passing = Some(error);
                            unsent.push(batch);
                        }
                    }
                }
                Err(error) if error.is_passing() => {
                    passing = Some(error);
                    unsent.extend(batches);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(passing)
    }

    /// Notes an acknowledged batch; an error that may pass is returned, any other ends it all.
    fn take_answer(
        &mut self,
        batch: &Batch,
        answer: PartitionProduceResponse,
    ) -> Result<Option<ClientError>, ClientError> {
        let code = ErrorCode::from_code(answer.error_code);
        // A duplicate is a batch that was stored when it was sent before.
        if !matches!(code, ErrorCode::None | ErrorCode::DuplicateSequenceNumber) {
            let error = ClientError::Refused {
                what: format!(
                    "writing {} records to {}-{}",
                    batch.count, self.topic.name, batch.partition
                ),
                code,
                detail: answer.error_message,
            };
            return match code.is_retriable() {
                true => Ok(Some(error)),
                false => Err(error),
            };
        }
        let first_offset = answer.base_offset;
        let last_offset = match first_offset {
            ..0 => -1,
            first => first.saturating_add(i64::from(batch.count) - 1),
        };
        let written = self.written.entry(batch.partition).or_insert(Written {
            records: 0,
            first_offset,
            last_offset,
        });
        written.records += u64::from(batch.count.unsigned_abs());
        written.last_offset = last_offset;
        Ok(None)
    }

    fn partition_of(&self, record: &NewRecord) -> Result<i32, ClientError> {
        let count = self.topic.partitions.len() as i32;
        match (record.partition, &record.key) {
            (Some(partition), _) if (0..count).contains(&partition) => Ok(partition),
            (Some(partition), _) => Err(ClientError::NotFound(format!(
                "topic {:?} has no partition {partition}: it has {count}, from 0 on",
                self.topic.name
            ))),
            (None, Some(key)) => Ok(partition_for_key(key, count)),
            (None, None) => Ok(self.sticky),
        }
    }

    fn new_batch(&self, partition: i32) -> BatchBuilder {
        let base_sequence = self.sequences.get(&partition).copied().unwrap_or(0);
        BatchBuilder::new(BatchOptions {
            compression: self.compression,
            producer: Some(ProducerStamp {
                id: self.id,
                epoch: self.epoch,
                base_sequence,
            }),
            ..BatchOptions::default()
        })
    }

    fn leader_of(&self, partition: i32) -> i32 {
        let mut partitions = self.topic.partitions.iter();
        let found = partitions.find(|candidate| candidate.index == partition);
        found.map_or(-1, |partition| partition.leader)
    }

    fn request(&self, batches: &[Batch]) -> ProduceRequest {
        let partition = |batch: &Batch| PartitionProduceData {
            index: batch.partition,
            records: Some(batch.bytes.clone()),
        };
        ProduceRequest {
            transactional_id: None,
            acks: -1,
            timeout_ms: PRODUCE_TIMEOUT_MS,
            topic_data: vec![TopicProduceData {
                name: self.topic.name.clone(),
                partition_data: batches.iter().map(partition).collect(),
            }],
        }
    }
}

fn unbuildable(error: BuildError) -> ClientError {
    ClientError::Input(format!("the record cannot be written: {error}"))
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |duration| duration.as_millis() as i64)
}
