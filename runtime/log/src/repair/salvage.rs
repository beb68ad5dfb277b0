//! The sound rest of a damaged segment, written anew: the facts of a plan read, its steps done.

use std::io;
use std::sync::Arc;

use millstream_records::{BatchError, BatchHeader, BatchView, HEADER_LEN};

use super::RepairError;
use super::plan::{Facts, Gaps, KnownAborts, LostPlace, Planner, SegmentPlan, Step};
use crate::cleaner::Successor;
use crate::log::{CompactionView, Log, marker_in};
use crate::segment::Segment;

/// Written at once.
const BLOCK_BYTES: usize = 1 << 20;

/// Everything that is lost in a rolled segment.
pub(super) fn lost_places(log: &Log, segment: &Arc<Segment>) -> io::Result<Vec<LostPlace>> {
    let mut gaps = Gaps::new(segment.base_offset(), segment.damages());
    let mut found = Vec::new();
    log.visit_sound(segment, |_, batch| {
        found.extend(gaps.before(batch.header()));
        Ok(())
    })?;
    found.extend(gaps.at_end(end_of(log, segment)?));
    Ok(found)
}

/// What is to become of a rolled segment.
pub(super) fn plan(log: &Log, segment: &Arc<Segment>) -> io::Result<SegmentPlan> {
    let mut planner = Planner::new(Facts {
        base_offset: segment.base_offset(),
        end: end_of(log, segment)?,
        damages: segment.damages(),
        producers: log.producers_before(segment)?,
        producers_at_end: log.producer_states(),
        aborted: known_aborts(log, segment)?,
        epochs: log.leader_epochs(),
    });
    log.visit_sound(segment, |position, batch| {
        let marker = marker_in(batch).map_err(io::Error::other)?;
        planner.meet(position, batch.header(), marker);
        Ok(())
    })?;
    Ok(planner.finish())
}

fn end_of(log: &Log, segment: &Arc<Segment>) -> io::Result<i64> {
    let end = log.end_of_rolled(segment);
    end.ok_or_else(|| io::Error::other("the log goes on in this segment"))
}

/// The transactions that ended with an abort in this segment and those behind it; none when not all indexes can tell.
fn known_aborts(log: &Log, segment: &Arc<Segment>) -> io::Result<Option<KnownAborts>> {
    let mut known = KnownAborts::default();
    for one in log.all_segments() {
        if one.base_offset() < segment.base_offset() {
            continue;
        }
        log.check_indexes_of(&one)?;
        if one.is_undecided(&(one.base_offset()..i64::MAX)) {
            return Ok(None);
        }
        let found = one.aborted_entries()?;
        match one.base_offset() == segment.base_offset() {
            true => known.own = found,
            false => known.later.extend(found),
        }
    }
    Ok(Some(known))
}

/// Writes the new segment and puts it into the place of the old one. False when the log has changed so that it cannot.
pub(super) fn execute(
    log: &Log,
    view: &CompactionView,
    segment: &Arc<Segment>,
    plan: &SegmentPlan,
) -> Result<bool, RepairError> {
    let mut successor = Successor::begin(log, segment.base_offset());
    if let Err(error) = write(segment, plan, &mut successor) {
        successor.abandon();
        return Err(error);
    }
    Ok(successor.take_place(view, std::slice::from_ref(segment))?)
}

fn write(
    segment: &Segment,
    plan: &SegmentPlan,
    successor: &mut Successor<'_>,
) -> Result<(), RepairError> {
    for step in &plan.steps {
        match step {
            Step::Copy(bytes) => copy(segment, bytes.start, bytes.end, successor)?,
            Step::Write(bytes) => {
                successor.out().extend_from_slice(bytes);
                successor.written();
            }
        }
        successor.flush_if(BLOCK_BYTES)?;
    }
    for entry in &plan.aborted {
        successor.push_aborted(*entry);
    }
    successor.flush_if(0)?;
    Ok(())
}

/// Copies sound batches. One that is not as it was when the plan was made ends the repair.
fn copy(
    segment: &Segment,
    from: u64,
    to: u64,
    successor: &mut Successor<'_>,
) -> Result<(), RepairError> {
    let io = |source| RepairError::io("reading", &segment.path(), source);
    let decayed = |error: BatchError| io(io::Error::new(io::ErrorKind::InvalidData, error));
    let mut position = from;
    let mut batch = Vec::new();
    while position < to {
        batch.resize(HEADER_LEN, 0);
        segment.read_at(&mut batch, position).map_err(io)?;
        let size = BatchHeader::parse(&batch).map_err(decayed)?.size_in_bytes();
        let next = position + size as u64;
        if size < HEADER_LEN || next > to {
            return Err(io(io::ErrorKind::InvalidData.into()));
        }
        batch.resize(size, 0);
        segment
            .read_at(&mut batch[HEADER_LEN..], position + HEADER_LEN as u64)
            .map_err(io)?;
        let view = BatchView::parse(&batch).map_err(decayed)?;
        view.verify_crc().map_err(decayed)?;
        successor.copy(&view);
        successor.flush_if(BLOCK_BYTES)?;
        position = next;
    }
    Ok(())
}
