//! A producer that fills the input and knows what was acknowledged.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use millstream_broker::Local;
use millstream_log::testing::Random;
use millstream_records::{BatchBuilder, BatchOptions};
use parking_lot::Mutex;

use crate::effects::{PARTITIONS, Seen, input};

/// What was sent to one partition; counts are of records and so the next offsets.
#[derive(Debug, Clone)]
pub struct Lane {
    /// Given to the log, whatever became of it.
    pub sent: i64,
    pub acknowledged: i64,
    /// Where batches end: a survivor ends at one of these.
    pub ends: BTreeSet<i64>,
}

/// The lanes of all partitions, shared with the task that produces.
pub type Lanes = Arc<Mutex<Vec<Lane>>>;

pub fn lanes() -> Lanes {
    let empty = Lane {
        sent: 0,
        acknowledged: 0,
        ends: BTreeSet::from([0]),
    };
    Arc::new(Mutex::new(vec![empty; PARTITIONS as usize]))
}

/// Appends batches, most of them waited for, until all are sent or the store refuses.
pub async fn produce(local: Local, lanes: Lanes, seed: u64, batches: u64) -> Result<(), String> {
    let mut random = Random::new(seed);
    let topic_id = local.topic("in").ok_or("there is no topic in")?.id;
    for _ in 0..batches {
        let partition = random.below(PARTITIONS as u64) as i32;
        let count = 1 + random.below(5) as i64;
        let end = {
            let lane = &mut lanes.lock()[partition as usize];
            lane.sent += count;
            lane.ends.insert(lane.sent);
            lane.sent
        };
        let mut batch = batch(partition, end - count, end);
        let appended = local
            .append(None, &topic_id, partition, &mut batch, Duration::ZERO)
            .await
            .map_err(|code| code.to_string())?;
        assert_eq!(appended.base_offset, end - count, "partition {partition}");
        if random.chance(70) {
            let log = local.partition("in", partition);
            let log = log.map_err(|code| code.to_string())?;
            let flushed = log.flushed(&appended).await;
            flushed.map_err(|code| code.to_string())?;
            lanes.lock()[partition as usize].acknowledged = end;
        }
        for _ in 0..random.below(30) {
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}

fn batch(partition: i32, from: i64, to: i64) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for offset in from..to {
        let Seen {
            timestamp,
            key,
            value,
            ..
        } = input(partition, offset);
        builder
            .append(timestamp, Some(key.as_bytes()), Some(value.as_bytes()), [])
            .unwrap();
    }
    builder.build().unwrap()
}
