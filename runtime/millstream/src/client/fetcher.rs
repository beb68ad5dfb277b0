//! Reads partitions of one topic from their leaders, from given offsets on.

use std::collections::BTreeMap;

use bytes::Bytes;
use millstream_wire::ErrorCode;
use millstream_wire::fetch::{
    AbortedTransaction, FetchPartition, FetchRequest, FetchTopic, PartitionData,
};

use super::{Client, ClientError, EARLIEST, Isolation, LATEST, Offsets, Patience, Topic};

const FETCH_BYTES_MAX: i32 = 50 << 20;
const PARTITION_BYTES_MAX: i32 = 4 << 20;

/// Where a reader stands in each partition that it still reads.
#[derive(Debug)]
pub struct Fetcher {
    topic: Topic,
    isolation: Isolation,
    positions: Offsets,
}

/// What one fetch brought of one partition.
#[derive(Debug)]
pub struct Chunk {
    pub partition: i32,
    /// Whole batches, and perhaps a part of one at the end.
    pub records: Bytes,
    pub aborted: Vec<AbortedTransaction>,
}

impl Fetcher {
    pub fn new(topic: Topic, isolation: Isolation, positions: Offsets) -> Fetcher {
        Fetcher {
            topic,
            isolation,
            positions,
        }
    }

    /// The next offset of each partition that is still read.
    pub fn positions(&self) -> &Offsets {
        &self.positions
    }

    /// Goes on behind what was read.
    pub fn advance(&mut self, partition: i32, offset: i64) {
        self.positions.insert(partition, offset);
    }

    /// Reads a partition no more.
    pub fn drop_partition(&mut self, partition: i32) {
        self.positions.remove(&partition);
    }

    /// Asks every leader once; each waits up to `wait_ms` for something to come.
    pub async fn poll(
        &mut self,
        client: &mut Client,
        wait_ms: i32,
    ) -> Result<Vec<Chunk>, ClientError> {
        let patience = Patience::new();
        loop {
            let mut chunks = Vec::new();
            let mut passing = None;
            for (leader, partitions) in self.by_leader() {
                let request = self.request(&partitions, wait_ms);
                let response = match client.call_node(leader, &request).await {
                    Ok(response) => response,
                    Err(error) if error.is_passing() => {
                        passing = Some(error);
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                ErrorCode::check(response.error_code).map_err(|code| {
                    ClientError::refused(format!("reading {}", self.topic.name), code)
                })?;
                for data in response.responses.into_iter().flat_map(|t| t.partitions) {
                    match self.chunk(client, data).await {
                        Ok(chunk) => chunks.extend(chunk),
                        Err(ClientError::Refused { what, code, .. }) if code.is_retriable() => {
                            passing = Some(ClientError::refused(what, code));
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
            let Some(error) = passing else {
                return Ok(chunks);
            };
            if !patience.wait().await {
                return Err(error);
            }
            self.topic = client.topic(&self.topic.name, false).await?;
            if !chunks.is_empty() {
                return Ok(chunks);
            }
        }
    }

    async fn chunk(
        &self,
        client: &mut Client,
        data: PartitionData,
    ) -> Result<Option<Chunk>, ClientError> {
        let partition = data.partition_index;
        let name = &self.topic.name;
        match ErrorCode::from_code(data.error_code) {
            ErrorCode::None => {}
            ErrorCode::OffsetOutOfRange => {
                return Err(self.out_of_range(client, partition).await?);
            }
            code => {
                let what = format!("reading {name}-{partition}");
                return Err(ClientError::refused(what, code));
            }
        }
        let records = data.records.unwrap_or_default();
        Ok((!records.is_empty()).then_some(Chunk {
            partition,
            records,
            aborted: data.aborted_transactions.unwrap_or_default(),
        }))
    }

    /// Says what offsets there are.
    async fn out_of_range(
        &self,
        client: &mut Client,
        partition: i32,
    ) -> Result<ClientError, ClientError> {
        let mut ends = Vec::new();
        for timestamp in [EARLIEST, LATEST] {
            let found = client
                .offsets(&self.topic, &[partition], timestamp, self.isolation)
                .await?;
            ends.push(found.get(&partition).copied().unwrap_or(-1));
        }
        Ok(ClientError::NotFound(format!(
            "{}-{partition} has no offset {}: it begins at {} and ends at {}",
            self.topic.name, self.positions[&partition], ends[0], ends[1]
        )))
    }

    fn by_leader(&self) -> BTreeMap<i32, Vec<i32>> {
        let mut leaders: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
        for partition in &self.topic.partitions {
            if self.positions.contains_key(&partition.index) {
                leaders
                    .entry(partition.leader)
                    .or_default()
                    .push(partition.index);
            }
        }
        leaders
    }

    fn request(&self, partitions: &[i32], wait_ms: i32) -> FetchRequest {
        let partition = |index: &i32| FetchPartition {
            partition: *index,
            fetch_offset: self.positions[index],
            partition_max_bytes: PARTITION_BYTES_MAX,
            ..FetchPartition::default()
        };
        FetchRequest {
            max_wait_ms: wait_ms,
            min_bytes: 1,
            max_bytes: FETCH_BYTES_MAX,
            isolation_level: self.isolation as i8,
            topics: vec![FetchTopic {
                topic: self.topic.name.clone(),
                topic_id: self.topic.id,
                partitions: partitions.iter().map(partition).collect(),
            }],
            ..FetchRequest::default()
        }
    }
}
