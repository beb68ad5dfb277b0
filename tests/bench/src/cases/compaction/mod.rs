//! Compaction: how many bytes of log one thread compacts in a second, and what writers feel of it meanwhile. Bytes are
//! those of the log before the pass; the time is that of the whole pass.

mod engine;
mod node;

use std::time::Duration;

use anyhow::Result;
use millstream_records::{BatchBuilder, BatchOptions};

use crate::report::Figure;
use crate::system::SystemKind;

const RECORD_BYTES: u64 = 200;
const KEY_BYTES: usize = 16;
const RECORDS_PER_BATCH: u64 = 320;
const TIMESTAMP_MS: i64 = 1_700_000_000_000;

pub fn run(kind: SystemKind, scale: f64) -> Result<Vec<Figure>> {
    let mut figures = match kind {
        SystemKind::Millstream => engine::run(scale)?,
        SystemKind::Kafka => Vec::new(),
    };
    figures.extend(node::run(kind, scale)?);
    Ok(figures)
}

/// The batch of that number, of records of 200 bytes each whose keys are spread over `keys`.
fn batch(number: u64, records: u64, keys: u64) -> Result<Vec<u8>> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    // Length, attributes, two deltas, two lengths and a header count take about 10 bytes.
    let value = [b'v'; RECORD_BYTES as usize - KEY_BYTES - 10];
    for index in 0..records {
        let record = number * records + index;
        let key = record.wrapping_mul(0x9E37_79B9_7F4A_7C15) % keys;
        let key = format!("{key:0KEY_BYTES$}");
        builder.append(TIMESTAMP_MS, Some(key.as_bytes()), Some(&value), [])?;
    }
    Ok(builder.build()?)
}

fn p99_us(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    let at = times.len() * 99 / 100;
    times.get(at).map_or(0.0, |time| time.as_secs_f64() * 1e6)
}
