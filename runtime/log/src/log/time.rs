//! Offsets by time, for `ListOffsets`.

use std::sync::Arc;

use millstream_records::{BatchView, TimestampType};

use super::damage::{Stopped, refused};
use super::{Isolation, Log, ReadError};
use crate::segment::{ScannedBatch, Segment};

/// A compressed batch is decompressed to at most this much to find a record's timestamp; beyond it the batch's first
/// offset stands for all. Bounds what a hostile producer's batch can make a time lookup allocate.
const DECOMPRESSED_BYTES_MAX: usize = 64 << 20;

/// A record found by its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampOffset {
    pub timestamp: i64,
    pub offset: i64,
    /// The leader epoch that wrote the record.
    pub leader_epoch: i32,
}

impl Log {
    /// The first record, in offset order, whose timestamp is at least `timestamp`, among those that the isolation
    /// shows.
    pub fn offset_for_timestamp(
        &self,
        timestamp: i64,
        isolation: Isolation,
    ) -> Result<Option<TimestampOffset>, ReadError> {
        let _not_cut = self.cutting.read();
        let offsets = self.offsets();
        let bound = isolation.bound(&offsets);
        for segment in self.segments_from(offsets.log_start) {
            if segment.base_offset() >= bound {
                break;
            }
            let largest = self
                .check_indexes(&segment)
                .and_then(|()| segment.largest_timestamp())
                .map_err(|error| self.read_failed(&segment, error))?;
            if let (None, Some(region)) = (largest, segment.damage_from(offsets.log_start))
                && region.first_offset < bound
            {
                // What is sought may have been in what is gone.
                return Err(refused(&segment, &region));
            }
            if largest.is_none_or(|largest| largest.timestamp < timestamp) {
                continue;
            }
            let from = segment
                .offset_before_timestamp(timestamp)
                .map_err(|error| self.read_failed(&segment, error))?
                .max(offsets.log_start);
            if let Some(found) = self.search(&segment, from, bound, |at| at >= timestamp)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The record with the greatest timestamp below the high watermark; the first of several.
    pub fn max_timestamp(&self) -> Result<Option<TimestampOffset>, ReadError> {
        let _not_cut = self.cutting.read();
        let offsets = self.offsets();
        let mut greatest: Option<(i64, Arc<Segment>)> = None;
        for segment in self.segments_from(offsets.log_start) {
            let largest = self
                .check_indexes(&segment)
                .and_then(|()| segment.largest_timestamp())
                .map_err(|error| self.read_failed(&segment, error))?;
            if let Some(largest) = largest
                && greatest
                    .as_ref()
                    .is_none_or(|(known, _)| largest.timestamp > *known)
            {
                greatest = Some((largest.timestamp, segment));
            }
        }
        let Some((timestamp, segment)) = greatest else {
            return Ok(None);
        };
        let from = segment
            .offset_before_timestamp(timestamp)
            .map_err(|error| self.read_failed(&segment, error))?
            .max(offsets.log_start);
        self.search(&segment, from, offsets.high_watermark, |at| at >= timestamp)
    }

    /// The first record from `from` on, below `bound`, whose timestamp is wanted.
    fn search(
        &self,
        segment: &Arc<Segment>,
        from: i64,
        bound: i64,
        is_wanted: impl Fn(i64) -> bool,
    ) -> Result<Option<TimestampOffset>, ReadError> {
        let found = self.visit_from(segment, from, |walk, batch, _| {
            if batch.header.base_offset >= bound {
                return Ok(Some(None));
            }
            if !is_wanted(batch.header.max_timestamp) {
                return Ok(None);
            }
            let bytes = walk.bytes(batch.position, batch.header.size_in_bytes())?;
            Ok(find_record(bytes, batch, from, &is_wanted).map(Some))
        });
        match found {
            Ok(Some(found)) => Ok(found),
            // Lost bytes at the segment's end.
            Ok(None) => match segment.damage_from(from) {
                Some(region) if region.first_offset < bound => Err(refused(segment, &region)),
                _ => Ok(None),
            },
            // What is sought may have been there.
            Err(Stopped::Damage(region)) if region.first_offset < bound => {
                Err(refused(segment, &region))
            }
            Err(Stopped::Damage(_)) => Ok(None),
            Err(Stopped::Io(error)) => Err(self.read_failed(segment, error)),
        }
    }
}

/// The first wanted record of a sound batch, from `from` on.
fn find_record(
    bytes: &[u8],
    batch: &ScannedBatch,
    from: i64,
    is_wanted: impl Fn(i64) -> bool,
) -> Option<TimestampOffset> {
    let header = batch.header;
    let at = |timestamp, offset| TimestampOffset {
        timestamp,
        offset,
        leader_epoch: header.leader_epoch,
    };
    if header.timestamp_type() == TimestampType::LogAppendTime {
        return Some(at(header.max_timestamp, header.base_offset.max(from)));
    }
    let Ok(records) = BatchView::parse(bytes).and_then(|view| view.records(DECOMPRESSED_BYTES_MAX))
    else {
        return Some(at(header.max_timestamp, header.base_offset.max(from)));
    };
    for record in records.iter() {
        let Ok(record) = record else { break };
        if record.offset >= from && is_wanted(record.timestamp) {
            return Some(at(record.timestamp, record.offset));
        }
    }
    None
}
