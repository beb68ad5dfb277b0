//! One partition in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use millstream_records::{BatchView, Marker, batches, build_marker, increment_sequence, patch};
use tokio::sync::Notify;

use crate::ports::{Bounds, InputChunk, PortError};
use crate::task::{AbortedFilter, Verdict};

/// A record as a test compares it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoredRecord {
    pub partition: i32,
    pub offset: i64,
    pub timestamp: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

#[derive(Debug, Default)]
pub struct Partition {
    batches: Vec<(i64, Bytes)>,
    start: i64,
    end: i64,
    /// First offset of each open transaction, by producer.
    open: BTreeMap<i64, i64>,
    /// (producer, first offset, offset of the marker).
    aborted: Vec<(i64, i64, i64)>,
    producers: HashMap<i64, ProducerState>,
    pub changed: Arc<Notify>,
}

#[derive(Debug, Clone, Copy)]
struct ProducerState {
    epoch: i16,
    next_sequence: i32,
    /// Sequence of the newest batch.
    last_sequence: i32,
}

impl Partition {
    pub fn bounds(&self) -> Bounds {
        Bounds {
            log_start: self.start,
            last_stable: self.last_stable(),
            log_end: self.end,
        }
    }

    fn last_stable(&self) -> i64 {
        self.open.values().copied().min().unwrap_or(self.end)
    }

    /// Appends one batch, with the checks of a partition leader.
    pub fn append(&mut self, batch: &mut [u8]) -> Result<(), PortError> {
        let refused = |reason: String| PortError::Refused { reason };
        let view = BatchView::parse(batch).map_err(|e| refused(e.to_string()))?;
        view.validate_produced(64 << 20)
            .map_err(|e| refused(e.to_string()))?;
        let header = *view.header();
        let id = header.producer_id;
        if header.has_producer_id() {
            if let Some(state) = self.producers.get(&id)
                && state.epoch == header.producer_epoch
            {
                if state.last_sequence == header.base_sequence {
                    return Ok(());
                }
                if state.next_sequence != header.base_sequence {
                    return Err(refused(format!(
                        "sequence {} instead of {}",
                        header.base_sequence, state.next_sequence
                    )));
                }
            } else if header.base_sequence != 0 {
                return Err(refused(format!(
                    "a new epoch begins with sequence {}",
                    header.base_sequence
                )));
            }
            let state = ProducerState {
                epoch: header.producer_epoch,
                next_sequence: increment_sequence(header.base_sequence, header.record_count),
                last_sequence: header.base_sequence,
            };
            self.producers.insert(id, state);
        }
        if header.is_transactional() {
            self.open.entry(id).or_insert(self.end);
        }
        self.push(batch);
        Ok(())
    }

    /// Ends a producer's transaction here.
    pub fn mark(&mut self, marker: Marker, producer_id: i64, epoch: i16) {
        let mut batch = build_marker(marker, producer_id, epoch, 0, 0);
        let at = self.end;
        if let Some(first) = self.open.remove(&producer_id)
            && marker == Marker::Abort
        {
            self.aborted.push((producer_id, first, at));
        }
        self.push(&mut batch);
    }

    fn push(&mut self, batch: &mut [u8]) {
        patch::set_base_offset(batch, self.end);
        patch::set_leader_epoch(batch, 0);
        let next = BatchView::parse(batch)
            .expect("it was parsed before")
            .header()
            .next_offset();
        self.batches.push((self.end, Bytes::copy_from_slice(batch)));
        self.end = next;
        self.changed.notify_waiters();
    }

    pub fn read(&self, offset: i64, max_bytes: usize) -> Option<InputChunk> {
        if offset < self.start || offset > self.end {
            return None;
        }
        let stable = self.last_stable();
        let first = self.batches.partition_point(|(base, _)| *base <= offset);
        let mut bytes = Vec::new();
        let mut end = offset;
        for (base, batch) in &self.batches[first.saturating_sub(1)..] {
            if *base >= stable || (!bytes.is_empty() && bytes.len() + batch.len() > max_bytes) {
                break;
            }
            bytes.extend_from_slice(batch);
            end = *base;
        }
        let aborted = self
            .aborted
            .iter()
            .filter(|(_, first, marker)| *first <= end && *marker >= offset)
            .map(|(id, first, _)| (*id, *first))
            .collect();
        Some(InputChunk {
            bytes: bytes.into(),
            aborted,
            last_stable: stable,
            log_start: self.start,
        })
    }

    /// Drops everything before an offset that begins a batch.
    pub fn delete_before(&mut self, offset: i64) {
        self.batches.retain(|(base, _)| *base >= offset);
        self.start = offset;
    }

    /// Damages the newest batch.
    pub fn damage_newest(&mut self) {
        if let Some((_, batch)) = self.batches.last_mut() {
            let mut bytes = batch.to_vec();
            if let Some(last) = bytes.last_mut() {
                *last ^= 1;
            }
            *batch = bytes.into();
        }
    }

    /// What a reader of committed records sees.
    pub fn committed(&self, partition: i32) -> Vec<StoredRecord> {
        let mut out = Vec::new();
        let Some(chunk) = self.read(self.start, usize::MAX) else {
            return out;
        };
        let mut filter = AbortedFilter::new(&chunk.aborted);
        for batch in batches(&chunk.bytes) {
            let batch = batch.expect("stored batches are sound");
            if filter.judge(&batch).expect("markers are sound") == Verdict::Skip {
                continue;
            }
            let records = batch.records(64 << 20).expect("stored batches are sound");
            for record in records.iter() {
                let record = record.expect("stored batches are sound");
                out.push(StoredRecord {
                    partition,
                    offset: record.offset,
                    timestamp: record.timestamp,
                    key: record.key.map(<[u8]>::to_vec),
                    value: record.value.map(<[u8]>::to_vec),
                    headers: record
                        .headers
                        .iter()
                        .map(|(name, value)| (name.to_vec(), value.map(<[u8]>::to_vec)))
                        .collect(),
                });
            }
        }
        out
    }
}
