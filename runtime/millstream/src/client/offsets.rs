//! Offsets by time or by place, asked of each partition's leader.

use std::collections::BTreeMap;

use millstream_wire::ErrorCode;
use millstream_wire::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};

use super::{Client, ClientError, Isolation, Patience, Topic};

/// The end of the partition: the high watermark, or under `read_committed` the last stable offset.
pub const LATEST: i64 = -1;
/// The first offset that is still there.
pub const EARLIEST: i64 = -2;

/// Offsets by partition.
pub type Offsets = BTreeMap<i32, i64>;

impl Client {
    /// The offset of `timestamp` (milliseconds, or [`LATEST`], [`EARLIEST`]) in some partitions of
    /// a topic.
    pub async fn offsets(
        &mut self,
        topic: &Topic,
        partitions: &[i32],
        timestamp: i64,
        isolation: Isolation,
    ) -> Result<Offsets, ClientError> {
        let mut topic = topic.clone();
        let patience = Patience::new();
        let mut found = Offsets::new();
        loop {
            let mut passing = None;
            for (leader, wanted) in by_leader(&topic, partitions, &found) {
                let request = request(&topic.name, &wanted, timestamp, isolation);
                let response = match self.call_node(leader, &request).await {
                    Ok(response) => response,
                    Err(error) if error.is_passing() => {
                        passing = Some(error);
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                for answer in response.topics.into_iter().flat_map(|t| t.partitions) {
                    match ErrorCode::from_code(answer.error_code) {
                        ErrorCode::None => {
                            found.insert(answer.partition_index, answer.offset);
                        }
                        code => {
                            let what = format!(
                                "asking for offsets of {}-{}",
                                topic.name, answer.partition_index
                            );
                            let error = ClientError::refused(what, code);
                            match code.is_retriable() {
                                true => passing = Some(error),
                                false => return Err(error),
                            }
                        }
                    }
                }
            }
            match passing {
                None => return Ok(found),
                Some(error) if !patience.wait().await => return Err(error),
                Some(_) => topic = self.topic(&topic.name, false).await?,
            }
        }
    }
}

/// The partitions that are still unknown, by leader.
fn by_leader(topic: &Topic, partitions: &[i32], found: &Offsets) -> BTreeMap<i32, Vec<i32>> {
    let mut leaders: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for partition in &topic.partitions {
        if partitions.contains(&partition.index) && !found.contains_key(&partition.index) {
            leaders
                .entry(partition.leader)
                .or_default()
                .push(partition.index);
        }
    }
    leaders
}

fn request(
    topic: &str,
    partitions: &[i32],
    timestamp: i64,
    isolation: Isolation,
) -> ListOffsetsRequest {
    let partition = |index: &i32| ListOffsetsPartition {
        partition_index: *index,
        timestamp,
        ..ListOffsetsPartition::default()
    };
    ListOffsetsRequest {
        replica_id: -1,
        isolation_level: isolation as i8,
        topics: vec![ListOffsetsTopic {
            name: topic.to_owned(),
            partitions: partitions.iter().map(partition).collect(),
        }],
    }
}
