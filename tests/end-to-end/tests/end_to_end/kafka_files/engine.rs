//! A data directory as the log engine reads it.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use millstream_log::{FlushMode, Isolation, Log, LogStore, ReadResult, StoreOptions};
use millstream_records::{ControlRecord, Marker, batches};

use super::Consumed;
use super::printed::{Item, Record};

/// A batch is decompressed to at most this much.
const DECOMPRESSED_BYTES_MAX: usize = 64 << 20;
const READ_BYTES: usize = 1 << 20;

/// The records of some logs as both readers print them, in order.
#[derive(Debug, PartialEq, Eq)]
pub struct Printed(Vec<Record>);

impl Printed {
    pub fn of(items: &[Item]) -> Printed {
        Printed(items.iter().filter_map(Item::record).cloned().collect())
    }
}

fn open(data: &Path) -> Result<Arc<LogStore>> {
    let (store, report) = LogStore::open(StoreOptions::new(data, FlushMode::Os))?;
    assert_eq!(report.problems, [], "{}", data.display());
    Ok(store)
}

fn log_of(store: &LogStore, name: &str) -> Result<Arc<Log>> {
    let mut logs = store.logs().into_iter();
    logs.find(|log| log.id().to_string() == name)
        .with_context(|| format!("no log {name}"))
}

/// All records of these partitions, markers too.
pub fn stored(data: &Path, partitions: &[&str]) -> Result<Printed> {
    let store = open(data)?;
    let mut records = Vec::new();
    for name in partitions {
        let log = log_of(&store, name)?;
        read(&log, Isolation::LogEnd, |found, _| {
            records.push(found);
        })?;
    }
    store.close_blocking()?;
    Ok(Printed(records))
}

/// What a read_committed consumer gets of the topics that the script wrote.
pub fn committed(data: &Path) -> Result<Vec<Consumed>> {
    let store = open(data)?;
    let mut records = Vec::new();
    for topic in ["codecs", "compacted", "transactions"] {
        let log = log_of(&store, &format!("{topic}-0"))?;
        read(&log, Isolation::Committed, |record, is_aborted| {
            if record.marker.is_none() && !is_aborted {
                records.push(Consumed {
                    topic: topic.to_owned(),
                    offset: record.offset,
                    timestamp: record.timestamp,
                    key: record.key,
                    value: record.value,
                });
            }
        })?;
    }
    store.close_blocking()?;
    records.sort();
    Ok(records)
}

/// Shows every record, and whether its transaction was aborted.
fn read(log: &Log, isolation: Isolation, mut show: impl FnMut(Record, bool)) -> Result<()> {
    let mut next = log.offsets().log_start;
    loop {
        let found = log.read(next, READ_BYTES, isolation, true)?;
        if found.bytes.is_empty() {
            return Ok(());
        }
        next = show_batches(&found, &mut show)?;
    }
}

fn show_batches(found: &ReadResult, show: &mut impl FnMut(Record, bool)) -> Result<i64> {
    let mut next = 0;
    let mut aborted = found.aborted.clone();
    aborted.sort_by_key(|one| std::cmp::Reverse(one.first_offset));
    let mut aborting = HashSet::new();
    for batch in batches(&found.bytes) {
        let batch = batch?;
        batch.verify_crc()?;
        let header = batch.header();
        next = header.next_offset();
        while let Some(begun) = aborted.pop_if(|one| one.first_offset <= header.last_offset()) {
            aborting.insert(begun.producer_id);
        }
        for record in batch.records(DECOMPRESSED_BYTES_MAX)?.iter() {
            let record = record?;
            let marker = match header.is_control() {
                true => ControlRecord::parse(&record)?.marker(),
                false => None,
            };
            let is_aborted = header.is_transactional() && aborting.contains(&header.producer_id);
            let text = |bytes: Option<&[u8]>| match marker {
                Some(_) => None,
                None => bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned()),
            };
            let printed = Record {
                offset: record.offset,
                timestamp: record.timestamp,
                key: text(record.key),
                value: text(record.value),
                marker: marker.map(|marker| match marker {
                    Marker::Commit => "commit".to_owned(),
                    Marker::Abort => "abort".to_owned(),
                }),
            };
            show(printed, is_aborted);
            if marker == Some(Marker::Abort) {
                aborting.remove(&header.producer_id);
            }
        }
    }
    Ok(next)
}
