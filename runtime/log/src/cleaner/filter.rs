//! What becomes of one batch in a pass. Pure: bytes in, bytes out.
//!
//! A batch is copied as it is when all its records stay, written anew with its own codec when some do, kept empty when
//! somebody needs its place, or dropped. Offsets, order, base sequence and last offset delta never change.

use std::collections::HashMap;

use millstream_records::{
    BatchError, BatchHeader, BatchView, BuildError, ControlRecord, Marker, RawRecord, RawRecords,
    TimestampType,
};

use super::key_hash::KeyHash;
use super::last_batches::LastBatch;
use super::offset_map::OffsetMap;
use super::transactions::{MarkerFate, Transactions};
use crate::index::AbortedEntry;

/// A compressed batch is decompressed to at most this much.
pub(super) const DECOMPRESSED_BYTES_MAX: usize = 1 << 30;

/// A batch that compaction can make nothing of.
#[derive(Debug, thiserror::Error)]
pub(super) enum FilterError {
    #[error(transparent)]
    Damaged(#[from] BatchError),
    #[error("it cannot be written anew: {0}")]
    Build(#[from] BuildError),
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is to be copied as it is.
    Kept,
    /// Its successor was written.
    Written,
    Dropped,
}

/// The fate of a batch, and what its segment's index of aborted transactions has to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Filtered {
    pub(super) fate: Fate,
    pub(super) aborted: Option<AbortedEntry>,
}

/// One pass over the batches of a log, in offset order.
#[derive(Debug)]
pub(super) struct Filter<'a> {
    pub(super) map: &'a OffsetMap,
    pub(super) transactions: Transactions,
    pub(super) last_batches: &'a HashMap<i64, LastBatch>,
    pub(super) now_ms: i64,
    pub(super) delete_retention_ms: i64,
    /// Used anew for every batch.
    pub(super) scratch: Scratch,
}

/// Memory that batches use one after the other.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// One for each record of the batch, and the hash of its key.
    places: Vec<Place>,
    hashes: Vec<KeyHash>,
    body: Vec<u8>,
}

/// A record in the body of its batch.
#[derive(Debug, Clone, Copy)]
struct Place {
    start: usize,
    end: usize,
    offset_delta: i32,
    timestamp_delta: i64,
    is_tombstone: bool,
    stays: bool,
}

impl Scratch {
    /// Looks at all records, and lets those stay of which `stays` says so.
    fn place(
        &mut self,
        header: &BatchHeader,
        body: &[u8],
        mut visit: impl FnMut(&RawRecord<'_>) -> (KeyHash, bool),
    ) -> Result<(), BatchError> {
        self.places.clear();
        self.hashes.clear();
        let mut start = 0;
        for record in RawRecords::new(header, body) {
            let record = record?;
            let end = start + record.bytes.len();
            let (hash, stays) = visit(&record);
            self.hashes.push(hash);
            self.places.push(Place {
                start,
                end,
                offset_delta: record.offset_delta,
                timestamp_delta: record.timestamp_delta,
                is_tombstone: !record.has_value,
                stays,
            });
            start = end;
        }
        Ok(())
    }
}

impl Filter<'_> {
    /// Decides on a batch, whose CRC was checked, and appends its successor to `out` when it has another one than
    /// itself.
    pub(super) fn batch(
        &mut self,
        batch: &BatchView<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Filtered, FilterError> {
        if batch.header().is_control() {
            return self.control_batch(batch, out);
        }
        let header = batch.header();
        let is_aborted = self.transactions.meet_batch(header);
        let fate = if header.record_count == 0 {
            self.empty(header)
        } else if is_aborted {
            self.without_records(header, out)?
        } else {
            self.data_batch(batch, out)?
        };
        Ok(Filtered {
            fate,
            aborted: None,
        })
    }

    fn control_batch(
        &mut self,
        batch: &BatchView<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Filtered, FilterError> {
        let header = batch.header();
        let marker = marker_of(batch)?;
        let fate = self.transactions.meet_marker(header, marker);
        let (fate, aborted) = match fate {
            MarkerFate::Needed(aborted) => (Fate::Kept, aborted),
            MarkerFate::Outlived if header.record_count == 0 => (self.empty(header), None),
            MarkerFate::Outlived => match header.delete_horizon_ms() {
                None => {
                    let records = batch.records(DECOMPRESSED_BYTES_MAX)?;
                    let all = |_: &RawRecord<'_>| (KeyHash([0; 2]), true);
                    self.scratch.place(header, records.bytes(), all)?;
                    self.write(header, records.bytes(), true, out)?;
                    (Fate::Written, None)
                }
                Some(horizon_ms) if self.now_ms < horizon_ms => (Fate::Kept, None),
                Some(_) => (self.without_records(header, out)?, None),
            },
        };
        Ok(Filtered { fate, aborted })
    }

    fn data_batch(
        &mut self,
        batch: &BatchView<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Fate, FilterError> {
        let header = batch.header();
        let records = batch.records(DECOMPRESSED_BYTES_MAX)?;
        let body = records.bytes();
        let chosen = self.choose(header, body)?;
        if chosen.kept == 0 {
            return Ok(self.without_records(header, out)?);
        }
        let sets_horizon = chosen.has_tombstone && header.delete_horizon_ms().is_none();
        if chosen.kept == self.scratch.places.len() && !sets_horizon {
            return Ok(Fate::Kept);
        }
        self.write(header, body, sets_horizon, out)?;
        Ok(Fate::Written)
    }

    /// Decides which records stay.
    fn choose(&mut self, header: &BatchHeader, body: &[u8]) -> Result<Chosen, BatchError> {
        let map = self.map;
        let drops_tombstones = header
            .delete_horizon_ms()
            .is_some_and(|horizon_ms| self.now_ms >= horizon_ms);
        // First all hashes, so that their places in the map are fetched together.
        self.scratch
            .place(header, body, |record| match record.key {
                Some(key) => (map.hash(key), record.has_value || !drops_tombstones),
                None => (KeyHash([0; 2]), false),
            })?;
        let Scratch { places, hashes, .. } = &mut self.scratch;
        map.touch(hashes.iter());
        let mut chosen = Chosen {
            kept: 0,
            has_tombstone: false,
        };
        for (place, hash) in places.iter_mut().zip(hashes) {
            let offset = header.base_offset + i64::from(place.offset_delta);
            place.stays = place.stays && map.get(*hash).is_none_or(|newest| offset >= newest);
            chosen.kept += usize::from(place.stays);
            chosen.has_tombstone |= place.stays && place.is_tombstone;
        }
        Ok(chosen)
    }

    /// Writes a batch with those records that stay.
    fn write(
        &mut self,
        header: &BatchHeader,
        body: &[u8],
        sets_horizon: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), FilterError> {
        let mut next = *header;
        next.record_count = 0;
        let has_own_times = header.timestamp_type() == TimestampType::CreateTime;
        if has_own_times {
            next.max_timestamp = i64::MIN;
        }
        let Scratch {
            places,
            body: records,
            ..
        } = &mut self.scratch;
        records.clear();
        for place in places.iter().filter(|place| place.stays) {
            let timestamp = header.base_timestamp.wrapping_add(place.timestamp_delta);
            if has_own_times {
                next.max_timestamp = next.max_timestamp.max(timestamp);
            }
            next.record_count += 1;
            if !sets_horizon {
                records.extend_from_slice(&body[place.start..place.end]);
            }
        }
        if sets_horizon {
            let horizon_ms = self.now_ms.saturating_add(self.delete_retention_ms.max(0));
            next.set_delete_horizon(horizon_ms);
            for (record, place) in RawRecords::new(header, body).zip(places.iter()) {
                if place.stays {
                    let timestamp = header.base_timestamp.wrapping_add(place.timestamp_delta);
                    record?.write_with_timestamp_delta(timestamp.wrapping_sub(horizon_ms), records);
                }
            }
        }
        next.write_batch(records, out)?;
        Ok(())
    }

    /// A batch that loses all its records.
    fn without_records(&self, header: &BatchHeader, out: &mut Vec<u8>) -> Result<Fate, BuildError> {
        if !self.is_last_of_producer(header) {
            return Ok(Fate::Dropped);
        }
        header.emptied().write_batch(&[], out)?;
        Ok(Fate::Written)
    }

    /// A batch that has no records any more.
    fn empty(&self, header: &BatchHeader) -> Fate {
        match self.is_last_of_producer(header) {
            true => Fate::Kept,
            false => Fate::Dropped,
        }
    }

    /// Whether the producer's sequence, or without one its epoch, is known by this batch alone.
    fn is_last_of_producer(&self, header: &BatchHeader) -> bool {
        header.has_producer_id()
            && self
                .last_batches
                .get(&header.producer_id)
                .is_some_and(|last| last.is(header))
    }
}

struct Chosen {
    kept: usize,
    has_tombstone: bool,
}

/// The marker of a control batch; none when it has lost its record, or is of another kind.
pub(super) fn marker_of(batch: &BatchView<'_>) -> Result<Option<Marker>, BatchError> {
    let records = batch.records(batch.bytes().len())?;
    let Some(record) = records.iter().next() else {
        return Ok(None);
    };
    Ok(ControlRecord::parse(&record?)?.marker())
}

/// A batch without records or producer in the place of this one: says only that the log goes at least so far.
pub(super) fn write_placeholder(
    header: &BatchHeader,
    out: &mut Vec<u8>,
) -> Result<BatchHeader, BuildError> {
    let start = out.len();
    header.emptied().anonymous().write_batch(&[], out)?;
    Ok(BatchHeader::parse(&out[start..]).expect("it was just written"))
}

#[cfg(test)]
mod tests;
