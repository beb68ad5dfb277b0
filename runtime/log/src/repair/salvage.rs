//! The sound rest of a damaged segment, written anew.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use millstream_records::{
    BatchHeader, BatchView, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, build_marker, patch,
};

use super::RepairError;
use super::endings::{Ending, OpenTransaction, endings};
use crate::cleaner::Successor;
use crate::index::AbortedEntry;
use crate::log::{CompactionView, Log, marker_in};
use crate::producer_state::{BatchFacts, ProducerEntry, ProducerStates, ProducerUpdate};
use crate::segment::{Region, Segment};

/// Written at once.
const BLOCK_BYTES: usize = 1 << 20;

/// Offsets that are lost in one place of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LostPlace {
    pub(super) offsets: Range<i64>,
    pub(super) position: u64,
    pub(super) reason: String,
}

/// What comes next in a damaged segment.
enum Rest<'a> {
    Batch(&'a BatchView<'a>),
    Lost(LostPlace),
}

/// Everything that is lost in a rolled segment.
pub(super) fn lost_places(log: &Log, segment: &Arc<Segment>) -> io::Result<Vec<LostPlace>> {
    let mut found = Vec::new();
    let collect = |rest: Rest<'_>| {
        if let Rest::Lost(place) = rest {
            found.push(place);
        }
        Ok(())
    };
    visit_rest(log, segment, |error| error, collect)?;
    Ok(found)
}

/// Shows the rest of a rolled segment in the order of its offsets.
fn visit_rest<E>(
    log: &Log,
    segment: &Arc<Segment>,
    fail: impl Fn(io::Error) -> E,
    mut visit: impl FnMut(Rest<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let regions = segment.damages();
    let end = log.end_of_rolled(segment);
    let mut next = segment.base_offset();
    log.visit_sound(segment, fail, |batch| {
        let header = *batch.header();
        for place in lost_between(&regions, next..header.base_offset) {
            visit(Rest::Lost(place))?;
        }
        next = next.max(header.next_offset());
        visit(Rest::Batch(batch))
    })?;
    for place in lost_between(&regions, next..end.unwrap_or(next)) {
        visit(Rest::Lost(place))?;
    }
    Ok(())
}

/// The damaged offsets between two sound batches. Those that neither has are not all damaged: compaction leaves some out.
fn lost_between(regions: &[Region], gap: Range<i64>) -> Vec<LostPlace> {
    let mut regions: Vec<_> = regions.iter().collect();
    regions.sort_by_key(|region| region.first_offset);
    let mut found = Vec::new();
    let mut next = gap.start;
    for region in regions {
        let start = region.first_offset.max(next);
        let end = region.next_offset.min(gap.end);
        if start < end {
            next = end;
            found.push(LostPlace {
                offsets: start..end,
                position: region.position,
                reason: region.reason.clone(),
            });
        }
    }
    found
}

/// Writes what is left of a rolled segment into a new one and puts that into its place. False when the log has changed
/// so that it cannot.
pub(super) fn rewrite(
    log: &Log,
    view: &CompactionView,
    segment: &Arc<Segment>,
) -> Result<bool, RepairError> {
    let mut successor = Successor::begin(log, segment.base_offset());
    if let Err(error) = fill(log, segment, &mut successor) {
        successor.abandon();
        return Err(error);
    }
    Ok(successor.take_place(view, std::slice::from_ref(segment))?)
}

fn fill<'a>(
    log: &'a Log,
    segment: &Arc<Segment>,
    successor: &mut Successor<'a>,
) -> Result<(), RepairError> {
    let io = |source| RepairError::io("reading", &segment.path(), source);
    let known = aborted_from(log, segment).map_err(io)?;
    let mut rest = Writer {
        log,
        successor,
        producers: log.producers_before(segment).map_err(io)?,
        at_end: log.producer_states(),
        last_timestamp: -1,
        notes_aborted: known.is_none(),
    };
    visit_rest(log, segment, io, |piece| {
        match piece {
            Rest::Batch(batch) => rest.copy(batch)?,
            Rest::Lost(place) => rest.fill_in(&place, known.as_deref())?,
        }
        rest.successor.flush_if(BLOCK_BYTES)?;
        Ok(())
    })?;
    if known.is_some() {
        for entry in segment.aborted_entries().map_err(io)? {
            successor.push_aborted(entry);
        }
    }
    successor.flush_if(0)?;
    Ok(())
}

/// The transactions that ended with an abort in this segment and those behind it; none when not all indexes can tell.
fn aborted_from(log: &Log, segment: &Arc<Segment>) -> io::Result<Option<Vec<AbortedEntry>>> {
    let mut found = Vec::new();
    for one in log.all_segments() {
        if one.base_offset() < segment.base_offset() {
            continue;
        }
        log.check_indexes_of(&one)?;
        if one.is_undecided(&(one.base_offset()..i64::MAX)) {
            return Ok(None);
        }
        found.extend(one.aborted_entries()?);
    }
    Ok(Some(found))
}

struct Writer<'a, 'l> {
    log: &'l Log,
    successor: &'a mut Successor<'l>,
    /// As they were where the next batch comes.
    producers: ProducerStates,
    /// As they are at the log's end.
    at_end: Vec<ProducerEntry>,
    last_timestamp: i64,
    /// The aborted transactions are those that the batches tell.
    notes_aborted: bool,
}

impl Writer<'_, '_> {
    fn copy(&mut self, batch: &BatchView<'_>) -> Result<(), RepairError> {
        self.successor.copy(batch);
        self.meet(batch)
    }

    /// Writes what stands in the place of lost offsets: empty batches, and the markers that may have been there.
    fn fill_in(
        &mut self,
        place: &LostPlace,
        known: Option<&[AbortedEntry]>,
    ) -> Result<(), RepairError> {
        let mut next = place.offsets.start;
        for ending in endings(&place.offsets, &self.open(), known) {
            self.write_empty(next..ending.offset)?;
            self.write_marker(&ending)?;
            next = ending.offset + 1;
        }
        self.write_empty(next..place.offsets.end)
    }

    /// The transactions that are open here and not at the log's end.
    fn open(&self) -> Vec<OpenTransaction> {
        let mut found: Vec<_> = self
            .producers
            .iter()
            .filter_map(|entry| {
                Some(OpenTransaction {
                    producer_id: entry.producer_id,
                    producer_epoch: entry.epoch,
                    coordinator_epoch: entry.coordinator_epoch,
                    first_offset: entry.transaction_first_offset?,
                })
            })
            .filter(|open| {
                !self.at_end.iter().any(|entry| {
                    entry.producer_id == open.producer_id
                        && entry.transaction_first_offset == Some(open.first_offset)
                })
            })
            .collect();
        found.sort_unstable_by_key(|open| (open.first_offset, open.producer_id));
        found
    }

    fn write_empty(&mut self, offsets: Range<i64>) -> Result<(), RepairError> {
        let mut next = offsets.start;
        while next < offsets.end {
            let count = (offsets.end - next).min(i64::from(i32::MAX));
            let header = BatchHeader {
                base_offset: next,
                batch_length: 0,
                leader_epoch: self.log.leader_epoch_at(next).unwrap_or(0),
                crc: 0,
                attributes: 0,
                last_offset_delta: i32::try_from(count - 1).expect("it is at most i32::MAX"),
                base_timestamp: self.last_timestamp,
                max_timestamp: self.last_timestamp,
                producer_id: NO_PRODUCER_ID,
                producer_epoch: NO_PRODUCER_EPOCH,
                base_sequence: NO_SEQUENCE,
                record_count: 0,
            };
            header
                .write_batch(&[], self.successor.out())
                .map_err(|error| self.not_written(error))?;
            self.successor.written();
            next += count;
        }
        Ok(())
    }

    fn write_marker(&mut self, ending: &Ending) -> Result<(), RepairError> {
        let transaction = ending.transaction;
        let mut bytes = build_marker(
            ending.marker,
            transaction.producer_id,
            transaction.producer_epoch,
            transaction.coordinator_epoch.max(0),
            self.last_timestamp,
        );
        patch::set_base_offset(&mut bytes, ending.offset);
        let epoch = self.log.leader_epoch_at(ending.offset).unwrap_or(0);
        patch::set_leader_epoch(&mut bytes, epoch);
        let batch = BatchView::parse(&bytes).map_err(|error| self.not_written(error))?;
        self.copy(&batch)
    }

    /// What a batch means for the producers.
    fn meet(&mut self, batch: &BatchView<'_>) -> Result<(), RepairError> {
        let header = batch.header();
        self.last_timestamp = self.last_timestamp.max(header.max_timestamp);
        if !header.has_producer_id() {
            return Ok(());
        }
        let facts = BatchFacts {
            header,
            marker: marker_in(batch).map_err(|error| self.not_written(error))?,
            now_ms: self.log.now_ms(),
        };
        let update = ProducerUpdate::stored(&self.producers, &facts);
        for completed in update.completed.iter().filter(|one| one.aborted) {
            if self.notes_aborted {
                self.successor.push_aborted(AbortedEntry {
                    producer_id: completed.producer_id,
                    first_offset: completed.first_offset,
                    last_offset: completed.marker_offset,
                    last_stable: self
                        .producers
                        .last_stable_after(completed.producer_id, completed.marker_offset),
                });
            }
        }
        update.apply(&mut self.producers);
        Ok(())
    }

    fn not_written(
        &self,
        error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> RepairError {
        RepairError::io("writing into", self.log.dir(), io::Error::other(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(position: u64, offsets: Range<i64>) -> Region {
        Region {
            position,
            end: position + 10,
            first_offset: offsets.start,
            next_offset: offsets.end,
            reason: "damaged".to_owned(),
        }
    }

    #[test]
    fn only_damaged_offsets_between_sound_batches_are_lost_and_each_once() {
        let regions = [region(0, 3..8), region(50, 6..12), region(90, 40..41)];
        let lost = |gap| -> Vec<_> {
            let found = lost_between(&regions, gap);
            found.into_iter().map(|place| place.offsets).collect()
        };
        assert_eq!(lost(0..20), [3..8, 8..12]);
        assert_eq!(lost(5..7), [5..7]);
        assert_eq!(lost(8..9), [8..9]);
        assert_eq!(lost(12..40), []);
        assert_eq!(lost(12..i64::MAX), [40..41]);
    }
}
