//! One pass over one log: the offset map of its dirty portion, then every segment up to there written anew.

use std::sync::Arc;

use millstream_records::{BatchHeader, BatchView, RawRecords};

use super::blocks::{BlockError, Blocks, Buffer};
use super::error::CleanError;
use super::filter::{DECOMPRESSED_BYTES_MAX, Fate, Filter, Scratch, marker_of};
use super::key_hash::KeyHash;
use super::last_batches::DirtyBatches;
use super::offset_map::{MapFull, OffsetMap};
use super::plan::{GroupLimits, Portions, SegmentFacts, groups};
use super::recovery;
use super::successor::Successor;
use super::transactions::Transactions;
use crate::failpoint;
use crate::log::{CompactionView, Log, Placing};
use crate::segment::Segment;

/// What a pass may use.
#[derive(Debug, Clone, Copy)]
pub(super) struct PassLimits {
    pub(super) map_bytes: u64,
    pub(super) load_factor: f64,
    /// Bytes that are read or written at once.
    pub(super) block_bytes: usize,
}

/// What a pass did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PassReport {
    /// The log is compacted up to here now.
    pub cleaned_to: i64,
    /// Keys of the dirty portion.
    pub keys: u64,
    /// Bytes read, for the map and for the copy.
    pub bytes_read: u64,
    pub bytes_written: u64,
    /// Bytes of the segments that took part, before and after.
    pub bytes_before: u64,
    pub bytes_after: u64,
}

/// Why a pass did not come to its end.
#[derive(Debug)]
pub(super) enum PassEnd {
    /// The log was cut or deleted, or the cleaner stops.
    Abandoned,
    Failed(CleanError),
}

impl From<CleanError> for PassEnd {
    fn from(error: CleanError) -> Self {
        Self::Failed(error)
    }
}

/// Asked after every block with the bytes read or written since; false ends the pass.
pub(super) type Pace<'a> = &'a dyn Fn(u64) -> bool;

pub(super) struct Pass<'a> {
    pub(super) log: &'a Log,
    pub(super) view: &'a CompactionView,
    pub(super) limits: PassLimits,
    pub(super) pace: Pace<'a>,
    pub(super) now_ms: i64,
    pub(super) buffer: Buffer,
    pub(super) report: PassReport,
}

/// What a pass knows of the dirty segments that it read.
struct Mapped {
    map: OffsetMap,
    /// Where they end.
    end: i64,
    dirty: DirtyBatches,
}

impl Pass<'_> {
    pub(super) fn run(
        mut self,
        portions: &Portions,
        facts: &[SegmentFacts],
    ) -> Result<PassReport, PassEnd> {
        recovery::clear_leftovers(self.log)?;
        let segments = &self.view.segments;
        let aborted = self
            .log
            .aborted_below(segments, portions.first_uncleanable)
            .map_err(|error| CleanError::io("reading the indexes of", self.log.dir(), error))?;
        let walk = Transactions::new(aborted.clone());
        let producers = self.log.producer_states();
        let Mapped { map, end, dirty } = self.build_map(portions, walk)?;
        failpoint::hit("cleaner.after_map");
        let count = segments.partition_point(|segment| segment.base_offset() < end);
        let last_batches = producers
            .iter()
            .map(|producer| (producer.producer_id, dirty.last_of(producer, end)))
            .collect();
        let config = self.log.config();
        let mut filter = Filter {
            map: &map,
            transactions: Transactions::new(aborted),
            last_batches: &last_batches,
            now_ms: self.now_ms,
            delete_retention_ms: config.delete_retention_ms,
            scratch: Scratch::default(),
        };
        let limits = GroupLimits {
            segment_bytes: u64::from(config.segment_bytes),
            index_bytes: u64::from(config.segment_index_bytes),
        };
        let ends: Vec<_> = (1..=count)
            .map(|next| segments[next].base_offset())
            .collect();
        let mut first = 0;
        for length in groups(&facts[..count], &ends, limits) {
            self.clean_group(&segments[first..first + length], &mut filter)?;
            first += length;
        }
        self.log.set_cleaned_to(self.view, end);
        self.report.cleaned_to = end;
        self.report.keys = map.len() as u64;
        Ok(self.report)
    }

    /// Reads the dirty segments, as many of them as the map has room for.
    fn build_map(
        &mut self,
        portions: &Portions,
        mut transactions: Transactions,
    ) -> Result<Mapped, PassEnd> {
        let offsets = portions.first_uncleanable - portions.first_dirty;
        let mut map = OffsetMap::new(
            self.limits.map_bytes,
            self.limits.load_factor,
            offsets.unsigned_abs(),
        );
        let mut hashes = Vec::new();
        let mut dirty = DirtyBatches::default();
        let mut pairs = self.view.segments.windows(2);
        let dirty_pairs = pairs.by_ref().filter(|pair| {
            let (base, end) = (pair[0].base_offset(), pair[1].base_offset());
            base < portions.first_uncleanable && end > portions.first_dirty
        });
        let mut end = portions.first_dirty;
        for pair in dirty_pairs {
            let (base, next) = (pair[0].base_offset(), pair[1].base_offset());
            let from = base.max(portions.first_dirty);
            match self.map_segment(&pair[0], from, &mut map, &mut transactions, &mut hashes)? {
                Ok(met) => {
                    dirty.extend(met);
                    end = next;
                }
                Err(MapFull) if end > portions.first_dirty => break,
                Err(MapFull) => {
                    let entries = (next - from).unsigned_abs() as f64 / self.limits.load_factor;
                    return Err(PassEnd::Failed(CleanError::MapTooSmall {
                        partition: self.log.id().to_string(),
                        segment_base: base,
                        needed_bytes: (entries.ceil() as u64)
                            .saturating_mul(OffsetMap::ENTRY_BYTES),
                        budget_bytes: self.limits.map_bytes,
                        keys_max: map.capacity(),
                    }));
                }
            }
        }
        Ok(Mapped { map, end, dirty })
    }

    fn map_segment(
        &mut self,
        segment: &Arc<Segment>,
        from: i64,
        map: &mut OffsetMap,
        transactions: &mut Transactions,
        hashes: &mut Vec<(KeyHash, i64)>,
    ) -> Result<Result<DirtyBatches, MapFull>, PassEnd> {
        let mut met = DirtyBatches::default();
        let placing = placing(self.log, segment)?;
        let mut blocks = Blocks::new(segment, placing, &mut self.buffer, self.limits.block_bytes);
        let mut unpaid = 0;
        while let Some((position, batch)) =
            blocks.next().map_err(|error| read_failed(segment, error))?
        {
            unpaid += batch.bytes().len() as u64;
            self.report.bytes_read += batch.bytes().len() as u64;
            met.meet(batch.header());
            let mapped = map_batch(&batch, from, map, transactions, hashes)
                .map_err(|error| damaged(segment, position, error.to_string()))?;
            if mapped.is_err() {
                return Ok(Err(MapFull));
            }
            if unpaid >= self.limits.block_bytes as u64 && !(self.pace)(std::mem::take(&mut unpaid))
            {
                return Err(PassEnd::Abandoned);
            }
        }
        match (self.pace)(unpaid) {
            true => Ok(Ok(met)),
            false => Err(PassEnd::Abandoned),
        }
    }

    fn clean_group(
        &mut self,
        old: &[Arc<Segment>],
        filter: &mut Filter<'_>,
    ) -> Result<(), PassEnd> {
        let mut successor = Successor::begin(self.log, old[0].base_offset());
        let finished = self.fill(&mut successor, old, filter);
        let is_changed = match finished {
            Ok(is_changed) => is_changed,
            Err(end) => {
                successor.abandon();
                return Err(end);
            }
        };
        let before: u64 = old.iter().map(|segment| segment.size()).sum();
        self.report.bytes_before += before;
        if !is_changed && old.len() == 1 {
            self.report.bytes_after += before;
            successor.discard()?;
            return Ok(());
        }
        self.report.bytes_after += successor.bytes();
        match successor.take_place(self.view, old)? {
            true => Ok(()),
            false => Err(PassEnd::Abandoned),
        }
    }

    /// Copies what stays of these segments. True when it is not all of it.
    fn fill(
        &mut self,
        successor: &mut Successor<'_>,
        old: &[Arc<Segment>],
        filter: &mut Filter<'_>,
    ) -> Result<bool, PassEnd> {
        let mut is_changed = false;
        let mut dropped_last: Option<BatchHeader> = None;
        for segment in old {
            let placing = placing(self.log, segment)?;
            let mut blocks =
                Blocks::new(segment, placing, &mut self.buffer, self.limits.block_bytes);
            let mut unpaid = 0;
            while let Some((position, batch)) =
                blocks.next().map_err(|error| read_failed(segment, error))?
            {
                unpaid += batch.bytes().len() as u64;
                self.report.bytes_read += batch.bytes().len() as u64;
                let filtered = filter
                    .batch(&batch, successor.out())
                    .map_err(|error| damaged(segment, position, error.to_string()))?;
                match filtered.fate {
                    Fate::Kept => successor.copy(&batch),
                    Fate::Written => successor.written(),
                    Fate::Dropped => {}
                }
                is_changed |= filtered.fate != Fate::Kept;
                dropped_last = (filtered.fate == Fate::Dropped).then_some(*batch.header());
                if let Some(aborted) = filtered.aborted {
                    successor.push_aborted(aborted);
                }
                let written = successor.flush_if(self.limits.block_bytes)?;
                self.report.bytes_written += written;
                unpaid += written;
                if unpaid >= self.limits.block_bytes as u64
                    && !(self.pace)(std::mem::take(&mut unpaid))
                {
                    return Err(PassEnd::Abandoned);
                }
            }
            failpoint::hit("cleaner.after_segment");
            if !(self.pace)(unpaid) {
                return Err(PassEnd::Abandoned);
            }
        }
        // Whoever reads on must find that the log goes at least as far as it did, and so must recovery.
        if let Some(header) = dropped_last {
            successor.placeholder(&header)?;
        }
        self.report.bytes_written += successor.flush_if(0)?;
        Ok(is_changed)
    }
}

/// Notes the keys of a batch that was not aborted.
fn map_batch(
    batch: &BatchView<'_>,
    from: i64,
    map: &mut OffsetMap,
    transactions: &mut Transactions,
    hashes: &mut Vec<(KeyHash, i64)>,
) -> Result<Result<(), MapFull>, millstream_records::BatchError> {
    let header = batch.header();
    if header.is_control() {
        transactions.meet_marker(header, marker_of(batch)?);
        return Ok(Ok(()));
    }
    if transactions.meet_batch(header) || header.record_count == 0 {
        return Ok(Ok(()));
    }
    let records = batch.records(DECOMPRESSED_BYTES_MAX)?;
    hashes.clear();
    for record in RawRecords::new(header, records.bytes()) {
        let record = record?;
        let offset = header.base_offset + i64::from(record.offset_delta);
        if let Some(key) = record.key
            && offset >= from
        {
            hashes.push((map.hash(key), offset));
        }
    }
    map.touch(hashes.iter().map(|(hash, _)| hash));
    for (hash, offset) in hashes {
        if map.put(*hash, *offset).is_err() {
            return Ok(Err(MapFull));
        }
    }
    Ok(Ok(()))
}

/// What the batches of a segment are compared with. One that is known to have lost batches is not copied: its
/// successor would not tell that anything was lost.
fn placing(log: &Log, segment: &Arc<Segment>) -> Result<Placing, CleanError> {
    match segment.damages().into_iter().next() {
        Some(region) => Err(damaged(segment, region.position, region.reason)),
        None => Ok(log.placing(segment)),
    }
}

fn read_failed(segment: &Segment, error: BlockError) -> CleanError {
    match error {
        BlockError::Io(source) => CleanError::io("reading", &segment.path(), source),
        BlockError::Damaged { position, reason } => damaged(segment, position, reason),
    }
}

fn damaged(segment: &Segment, position: u64, reason: String) -> CleanError {
    CleanError::Damaged {
        path: segment.path(),
        position,
        reason,
    }
}
