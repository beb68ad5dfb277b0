//! Passes beside writers and readers, on a real disk.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use millstream_records::{
    BatchBuilder, BatchOptions, ControlRecord, Marker, ProducerStamp, batches,
};
use uuid::Uuid;

use super::compacted;
use crate::{
    AppendOptions, CleanerOptions, FlushMode, Isolation, Log, LogConfig, LogId, LogStore,
    StoreOptions,
};

const WRITERS: i64 = 3;
const TRANSACTIONS: u64 = 150;
const KEYS: u64 = 11;

/// What a `read_committed` consumer has read of each key, over the whole log.
fn committed(log: &Log) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut next = log.offsets().log_start;
    loop {
        let read = log.read(next, 20_000, Isolation::Committed, true).unwrap();
        if read.bytes.is_empty() {
            return found;
        }
        let mut aborted = read.aborted;
        for batch in batches(&read.bytes) {
            let batch = batch.unwrap();
            let header = *batch.header();
            assert!(header.next_offset() > next || header.base_offset >= next);
            next = header.next_offset();
            let records = batch.records(1 << 20).unwrap();
            if header.is_control() {
                let record = records.iter().next();
                let control = record.map(|record| ControlRecord::parse(&record.unwrap()).unwrap());
                if control.is_some_and(|control| control.marker() == Some(Marker::Abort)) {
                    let ends = |one: &crate::AbortedTxn| {
                        one.producer_id == header.producer_id && one.first_offset < next
                    };
                    aborted.retain(|one| !ends(one));
                }
                continue;
            }
            let is_aborted = aborted.iter().any(|one| {
                one.producer_id == header.producer_id && one.first_offset <= header.last_offset()
            });
            if is_aborted {
                continue;
            }
            for record in records.iter() {
                let record = record.unwrap();
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                let value = text(record.value.unwrap());
                assert!(
                    !value.starts_with("aborted"),
                    "{value} at {}",
                    record.offset
                );
                found.insert(text(record.key.unwrap()), value);
            }
        }
    }
}

/// Runs transactions, every other one aborted; returns the last committed value of each of its keys.
fn write(log: &Log, writer: i64) -> BTreeMap<String, String> {
    let mut last = BTreeMap::new();
    let mut sequence = 0;
    for number in 0..TRANSACTIONS {
        let commits = number % 2 == 0;
        for part in 0..1 + number % 3 {
            let key = format!("{writer}-{}", (number * 7 + part) % KEYS);
            let word = if commits { "committed" } else { "aborted" };
            let value = format!("{word} {number}.{part} {}", "x".repeat(60));
            let mut builder = BatchBuilder::new(BatchOptions {
                producer: Some(ProducerStamp {
                    id: writer,
                    epoch: 0,
                    base_sequence: sequence,
                }),
                transactional: true,
                ..BatchOptions::default()
            });
            let now_ms = 1_700_000_000_000;
            builder
                .append(now_ms, Some(key.as_bytes()), Some(value.as_bytes()), [])
                .unwrap();
            let guard = log.verification_guard(writer, 0, sequence);
            let options = AppendOptions::client(0).verified_by(guard);
            log.append(&mut builder.build().unwrap(), options).unwrap();
            sequence += 1;
            if commits {
                last.insert(key, value);
            }
        }
        let marker = match commits {
            true => Marker::Commit,
            false => Marker::Abort,
        };
        log.append_marker(marker, writer, 0, 0, 0).unwrap();
        std::thread::sleep(Duration::from_micros(300));
    }
    last
}

#[test]
fn readers_beside_passes_and_transactions_see_committed_values_only() {
    for flush in [FlushMode::Os, FlushMode::Journal] {
        let dir = tempfile::tempdir().unwrap();
        let options = StoreOptions {
            cleaner: CleanerOptions {
                threads: 2,
                backoff_ms: 1,
                ..CleanerOptions::default()
            },
            open_files_max: 4,
            ..StoreOptions::new(dir.path(), flush)
        };
        let (store, _) = LogStore::open(options).unwrap();
        let id = LogId {
            topic_id: Uuid::from_u128(7),
            topic: "flights".to_owned(),
            partition: 0,
        };
        let config = LogConfig {
            segment_bytes: 4000,
            delete_retention_ms: 1,
            ..compacted()
        };
        let log = store.create_log(id, config).unwrap();
        let is_over = AtomicBool::new(false);
        let expected: BTreeMap<String, String> = std::thread::scope(|scope| {
            let writers: Vec<_> = (1..=WRITERS)
                .map(|writer| {
                    let log = Arc::clone(&log);
                    scope.spawn(move || write(&log, writer))
                })
                .collect();
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    store.checkpoint().unwrap();
                    store.remove_deleted_files();
                    std::thread::sleep(Duration::from_millis(2));
                }
            });
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    committed(&log);
                }
            });
            let last = writers.into_iter().map(|writer| writer.join().unwrap());
            let expected = last.flatten().collect();
            is_over.store(true, Ordering::Relaxed);
            expected
        });
        store
            .flushed_blocking(log.append_marker(Marker::Commit, 99, 0, 0, 0).unwrap().lsn)
            .unwrap();
        assert_eq!(committed(&log), expected);
        log.roll_active().unwrap();
        store.checkpoint().unwrap();
        // One of the threads may be at it, or this one.
        while store.cleaner_metrics().max_dirty_percent > 0.0 {
            store.clean_dirtiest().unwrap();
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(committed(&log), expected);
        assert!(log.size() < 60_000, "{}", log.size());
        let metrics = store.cleaner_metrics();
        assert!(
            metrics.passes > 0 && metrics.uncleanable.is_empty(),
            "{metrics:?}"
        );
        store.close_blocking().unwrap();
        drop((log, store));
        let (store, report) = LogStore::open(StoreOptions::new(dir.path(), flush)).unwrap();
        assert!(report.problems.is_empty(), "{:?}", report.problems);
        let log = store.get(&Uuid::from_u128(7), 0).unwrap();
        assert_eq!(committed(&log), expected);
    }
}
