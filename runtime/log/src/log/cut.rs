//! Changes that take records away from a log: they are entries of the journal like appends.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::{AppendError, Appender, Log, Stability};
use crate::journal::{EntryKind, EntryRef, Lsn};
use crate::producer_state::ProducerStates;
use crate::segment::{BatchScan, ScanError, Segment, SegmentSizes};

impl Log {
    /// Cuts the log so that it ends with the last batch that lies wholly below `to`. For a follower whose end differs
    /// from its leader's; producer states are rebuilt from what is left.
    pub fn truncate_to(&self, to: i64) -> Result<Lsn, AppendError> {
        // Before the append lock: a reader that holds up a cut may want that lock to look after the indexes.
        let _cut = self.cutting.write();
        let mut appender = self.appender.lock();
        appender.check_open()?;
        if to >= appender.log_end {
            return Ok(appender.last_lsn);
        }
        let lsn = self.journal_change(&mut appender, EntryKind::Truncate { to })?;
        self.wait_flushed(lsn)?;
        self.cut_to(&mut appender, to)
            .map_err(|error| AppendError::write(self.dir.clone(), error))?;
        drop(appender);
        self.progress.watchers.notify();
        Ok(lsn)
    }

    /// Empties the log; the next record gets offset `to`.
    pub fn reset_to(&self, to: i64) -> Result<Lsn, AppendError> {
        let _cut = self.cutting.write();
        let mut appender = self.appender.lock();
        appender.check_open()?;
        let lsn = self.journal_change(&mut appender, EntryKind::Reset { to })?;
        self.wait_flushed(lsn)?;
        self.clear_to(&mut appender, to)
            .map_err(|error| AppendError::write(self.dir.clone(), error))?;
        drop(appender);
        self.progress.watchers.notify();
        Ok(lsn)
    }

    /// Lets the log begin at `to`, which is at most the high watermark. The records below are out of range from now
    /// on; their segments stay until retention takes them.
    pub fn advance_log_start(&self, to: i64) -> Result<Lsn, AppendError> {
        let mut appender = self.appender.lock();
        appender.check_open()?;
        let to = to.min(self.offsets().high_watermark);
        if to <= appender.log_start {
            return Ok(appender.last_lsn);
        }
        let lsn = self.journal_change(&mut appender, EntryKind::LogStart { to })?;
        self.begin_at(&mut appender, to);
        drop(appender);
        self.progress.watchers.notify();
        Ok(lsn)
    }

    fn journal_change(
        &self,
        appender: &mut Appender,
        kind: EntryKind<'_>,
    ) -> Result<Lsn, AppendError> {
        let entry = EntryRef {
            topic_id: self.id.topic_id,
            partition: self.id.partition,
            incarnation: self.incarnation,
            kind,
        };
        // With this entry all appends before it are durable; its report may be the only one that comes of them.
        let lsn = self
            .shared
            .journal_append(entry, &self.listener.0, appender.log_end, Duration::ZERO)
            .map_err(|error| AppendError::journal(self.dir.clone(), error))?;
        appender.last_lsn = lsn;
        appender.dirty = true;
        appender.touched = true;
        Ok(lsn)
    }

    /// Before records go, all reports of flushes that are under way must have come: a late one would speak of
    /// offsets that are other records' by then.
    fn wait_flushed(&self, lsn: Lsn) -> Result<(), AppendError> {
        match self.shared.journal() {
            Some(journal) => journal
                .wait_flushed_blocking(lsn)
                .map_err(|error| AppendError::journal(self.dir.clone(), error)),
            None => Ok(()),
        }
    }

    pub(super) fn begin_at(&self, appender: &mut Appender, to: i64) {
        appender.log_start = to;
        appender.dirty = true;
        appender.epochs_changed |= appender.epochs.advance_start(to);
        self.progress.stability.lock().advance_log_start(to);
    }

    /// Drops everything. Nobody reads meanwhile.
    pub(super) fn clear_to(&self, appender: &mut Appender, to: i64) -> io::Result<()> {
        let _one_at_a_time = self.replacing.lock();
        self.positions.clear();
        let segments = self.segments.read().clone();
        self.let_go(&segments, &[])?;
        self.segments.write().clear();
        appender.unsynced.clear();
        appender.active = self.push_segment(to);
        appender.producers = ProducerStates::default();
        appender.epochs_changed |= appender.epochs.truncate_to(i64::MIN);
        appender.log_start = to;
        self.end_at(appender, to);
        Ok(())
    }

    /// Cuts segments, indexes, epochs and producer states to `to`. Nobody reads meanwhile.
    pub(super) fn cut_to(&self, appender: &mut Appender, to: i64) -> io::Result<()> {
        if to <= appender.log_start {
            return self.clear_to(appender, to);
        }
        let one_at_a_time = self.replacing.lock();
        self.positions.clear();
        let mut end = to;
        loop {
            let Some(last) = self.segments.read().last().cloned() else {
                appender.active = self.push_segment(to);
                break;
            };
            if last.base_offset() < to {
                let (position, next_offset) = position_of(&last, to)?;
                last.truncate(position, next_offset)?;
                end = next_offset;
                appender.active = last;
                break;
            }
            self.let_go(std::slice::from_ref(&last), &[])?;
            self.segments.write().pop();
            appender
                .unsynced
                .retain(|segment| !Arc::ptr_eq(segment, &last));
        }
        drop(one_at_a_time);
        if end < appender.log_start {
            // The batch that holds the log's start went with the cut.
            return self.clear_to(appender, appender.log_start);
        }
        if appender.active.mark_unsynced() {
            let active = Arc::clone(&appender.active);
            appender.unsynced.push(active);
        }
        appender.epochs_changed |= appender.epochs.truncate_to(end);
        appender.producers = self.replay_producers(end)?;
        self.end_at(appender, end);
        Ok(())
    }

    fn end_at(&self, appender: &mut Appender, end: i64) {
        self.note_cut(end);
        // What the checkpoint says lies higher is not so any more.
        {
            let mut durable = self.durable.lock();
            durable.segment_base = durable.segment_base.min(appender.active.base_offset());
            durable.log_start = durable.log_start.min(appender.log_start);
        }
        appender.log_end = end;
        appender.dirty = true;
        appender.touched = true;
        appender.names_changed = true;
        let open = appender.producers.open_transactions();
        let waits = self.shared.waits_for_flush();
        *self.progress.stability.lock() = Stability::new(appender.log_start, end, waits, open);
    }

    fn push_segment(&self, base_offset: i64) -> Arc<Segment> {
        let sizes = SegmentSizes::default();
        let segment = Segment::open(&self.shared.open_files, &self.dir, base_offset, sizes);
        let segment = Arc::new(segment);
        self.segments.write().push(Arc::clone(&segment));
        segment
    }
}

/// Where the first batch that does not lie wholly below `to` begins, and the end that a cut there leaves.
fn position_of(segment: &Segment, to: i64) -> io::Result<(u64, i64)> {
    let mut scan = BatchScan::headers(segment, segment.position_before(to - 1)?);
    while let Some(batch) = scan.next().map_err(ScanError::into_io)? {
        if batch.header.last_offset() >= to {
            return Ok((batch.position, to.min(batch.header.base_offset)));
        }
    }
    Ok((scan.position(), to))
}
