//! Passes over whole stores; the pure parts have their tests beside them.

mod beside_writers;
mod failures;
mod passes;
mod store;
mod tombstones;
mod undurable;

use std::collections::BTreeMap;

use millstream_records::{BatchBuilder, BatchOptions, batches};

use crate::{
    AppendOptions, CleanupPolicy, Isolation, Log, LogConfig,
    log::test_support::{NOW_MS, Rig},
};

/// Small segments, compacted as soon as anything is dirty.
fn compacted() -> LogConfig {
    LogConfig {
        segment_bytes: 1000,
        cleanup: CleanupPolicy {
            delete: false,
            compact: true,
        },
        min_cleanable_dirty_ratio: 0.0,
        file_delete_delay_ms: 0,
        ..LogConfig::default()
    }
}

fn put(log: &Log, key: &str, value: Option<&str>) {
    put_at(log, NOW_MS, key, value);
}

fn put_at(log: &Log, timestamp: i64, key: &str, value: Option<&str>) {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    let value = value.map(str::as_bytes);
    builder
        .append(timestamp, Some(key.as_bytes()), value, [])
        .unwrap();
    let mut bytes = builder.build().unwrap();
    log.append(&mut bytes, AppendOptions::client(0)).unwrap();
}

/// Appends `count` records of the keys `0..keys`, one batch each.
fn fill(log: &Log, count: usize, keys: usize) {
    for number in 0..count {
        put(log, &format!("key-{}", number % keys), Some("value"));
    }
}

/// Ends the active segment and lets everything become durable, so that a pass takes all of it.
fn settle(rig: &Rig, log: &Log) {
    log.roll_active().unwrap();
    rig.store.flushed_blocking(log.last_lsn()).unwrap();
    rig.store.checkpoint().unwrap();
}

/// What a consumer sees from the start: the offsets, and each key's last value.
fn view(log: &Log) -> (Vec<i64>, BTreeMap<String, String>) {
    view_in_steps(log, 4096)
}

/// The same, so many bytes at once; at least a batch.
fn view_in_steps(log: &Log, bytes: usize) -> (Vec<i64>, BTreeMap<String, String>) {
    let (mut offsets, mut values) = (Vec::new(), BTreeMap::new());
    let mut next = log.offsets().log_start;
    loop {
        let read = log.read(next, bytes, Isolation::LogEnd, true).unwrap();
        if read.bytes.is_empty() {
            return (offsets, values);
        }
        for batch in batches(&read.bytes) {
            let batch = batch.unwrap();
            next = batch.header().next_offset();
            for record in batch.records(1 << 20).unwrap().iter() {
                let record = record.unwrap();
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                offsets.push(record.offset);
                let key = text(record.key.unwrap_or_default());
                match record.value {
                    Some(value) => values.insert(key, text(value)),
                    None => values.remove(&key),
                };
            }
        }
    }
}
