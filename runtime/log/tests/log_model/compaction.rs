//! Passes of the cleaner, and what they may have taken out of a log.

use std::collections::{BTreeMap, BTreeSet};

use millstream_records::BatchView;

use super::model::{Entry, Model};
use super::{Case, PARTITIONS, Stop};

pub const DELETE_RETENTION_MS: i64 = 40_000;

/// A record by the number of its batch and its offset: an offset that was cut off may come again.
type RecordId = (u64, i64);

/// What passes may have done so far.
#[derive(Debug, Default)]
pub struct Passes {
    /// Records that a pass may have dropped.
    excused: BTreeSet<RecordId>,
    /// The earliest time at which a pass may have met a tombstone or a marker.
    met_ms: BTreeMap<RecordId, i64>,
}

/// A record as a batch holds it: offset, key, value and time.
type Record = (i64, Option<Vec<u8>>, Option<Vec<u8>>, i64);

pub fn records_of(batch: &[u8]) -> Vec<Record> {
    let view = BatchView::parse(batch).expect("a whole batch");
    let records = view.records(1 << 20).expect("sound records");
    let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    records
        .iter()
        .map(|record| record.expect("a sound record"))
        .map(|one| (one.offset, owned(one.key), owned(one.value), one.timestamp))
        .collect()
}

impl Passes {
    /// A pass is about to begin: it may drop what is replaced below `stable`, what was aborted, and tombstones and
    /// markers that an earlier one has met long enough ago.
    fn begin(&mut self, model: &Model, partition: i32, stable: i64, now_ms: i64) {
        let aborted = model.aborted(partition);
        let entries = model.entries(partition);
        let below: Vec<_> = entries.iter().filter(|one| one.next <= stable).collect();
        let mut newest: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
        for entry in &below {
            if entry.marker.is_none() && !aborted.contains(&entry.base) {
                let records = records_of(&entry.bytes).into_iter();
                newest.extend(records.filter_map(|one| Some((one.1?, one.0))));
            }
        }
        for entry in below {
            for (offset, key, value, _) in records_of(&entry.bytes) {
                let id = (entry.serial, offset);
                let is_replaced = entry.marker.is_none()
                    && key
                        .and_then(|key| newest.get(&key))
                        .is_some_and(|newest| *newest > offset);
                if is_replaced || aborted.contains(&entry.base) {
                    self.excused.insert(id);
                }
                if entry.marker.is_some() || value.is_none() {
                    let met_ms = self.met_ms.entry(id).or_insert(now_ms);
                    *met_ms = now_ms.min(*met_ms);
                    if now_ms >= *met_ms + DELETE_RETENTION_MS {
                        self.excused.insert(id);
                    }
                }
            }
        }
    }

    /// Whether a log from `start` on may hold these batches, by base offset, when these were appended. The number of
    /// records that are gone.
    pub fn compare(
        &self,
        found: &BTreeMap<i64, Vec<u8>>,
        entries: &[&Entry],
        start: i64,
    ) -> Result<u64, String> {
        let visible = || entries.iter().filter(|entry| entry.next > start);
        let known: BTreeSet<i64> = visible().map(|entry| entry.base).collect();
        if let Some(base) = found.keys().find(|base| !known.contains(base)) {
            return Err(format!("a batch at {base} was never appended"));
        }
        let mut gone = 0;
        for entry in visible() {
            let bytes = found.get(&entry.base);
            if bytes == Some(&entry.bytes) {
                continue;
            }
            let mut left = bytes
                .map_or_else(Vec::new, |bytes| records_of(bytes))
                .into_iter();
            let mut next_left = left.next();
            for record in records_of(&entry.bytes) {
                if next_left.as_ref() == Some(&record) {
                    next_left = left.next();
                } else if self.excused.contains(&(entry.serial, record.0)) {
                    gone += 1;
                } else {
                    return Err(format!(
                        "offset {} of the batch at {} is gone or changed",
                        record.0, entry.base
                    ));
                }
            }
            if let Some(more) = next_left {
                return Err(format!("offset {} was never appended", more.0));
            }
            if let Some(bytes) = bytes {
                let last = BatchView::parse(bytes).map(|view| view.header().next_offset());
                if last.as_ref().ok() != Some(&entry.next) {
                    return Err(format!(
                        "the batch at {} ends elsewhere: {last:?}",
                        entry.base
                    ));
                }
            }
        }
        Ok(gone)
    }
}

impl Case {
    /// One pass over the dirtiest log, into which the power may go off.
    pub fn compact(&mut self) -> Result<(), Stop> {
        let now_ms = self.now_ms();
        for partition in 0..PARTITIONS {
            let stable = self.log(partition)?.offsets().appended_last_stable;
            self.passes.begin(&self.model, partition, stable, now_ms);
        }
        if self.random.chance(20) {
            let operations = self.random.below(70);
            self.note(format!("the power goes after {operations} operations"));
            self.fs.cut_power_after(operations);
        }
        let result = self.store().clean_dirtiest();
        self.note(format!("compaction: {result:?}"));
        match result {
            Ok(Some(_)) => self.seen.passes += 1,
            Ok(None) => {}
            Err(error) => {
                self.seen.failed_passes += 1;
                return self.survives("a pass", &error);
            }
        }
        Ok(())
    }

    /// Keys of a compacted log's records, and which of them have no value.
    pub fn key_and_value(&mut self, value: String) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
        if !self.compacts {
            return (None, Some(value.into_bytes()));
        }
        let key = format!("key {}", self.random.below(6)).into_bytes();
        let has_value = !self.random.chance(25);
        (Some(key), has_value.then(|| value.into_bytes()))
    }
}
