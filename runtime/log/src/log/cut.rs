//! Changes that take records away from a log: they are entries of the journal like appends.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::cut_notes::{CutNote, PreparedNote};
use super::{AppendError, Appender, Log, Stability};
use crate::failpoint;
use crate::journal::{EntryKind, EntryRef, Lsn};
use crate::producer_state::ProducerStates;
use crate::segment::{Piece, Segment, SegmentFile, SegmentSizes, path_of};

/// A cut that is about to be made.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cut {
    /// The log ends with `end` from now on; that is `position` in the segment at `segment_base`.
    Back {
        end: i64,
        segment_base: i64,
        position: u64,
    },
    /// Nothing is left, and the log begins at `to`.
    All { to: i64 },
}

impl Cut {
    fn entry(self) -> EntryKind<'static> {
        match self {
            Self::Back { end, .. } => EntryKind::Truncate { to: end },
            Self::All { to } => EntryKind::Reset { to },
        }
    }

    fn note(self, log_start: i64) -> CutNote {
        let lsn = Lsn(u64::MAX);
        match self {
            Self::Back {
                end,
                segment_base,
                position,
            } => CutNote {
                lsn,
                log_start,
                log_end: end,
                segment_base,
                segment_size: position,
            },
            Self::All { to } => CutNote {
                lsn,
                log_start: to,
                log_end: to,
                segment_base: to,
                segment_size: 0,
            },
        }
    }
}

impl Log {
    /// Cuts the log so that it ends with the last batch that lies wholly below `to`. For a follower whose end differs
    /// from its leader's; producer states are rebuilt from what is left.
    ///
    /// When compaction has taken the batches right before `to`, the log ends behind a gap, and a read within the gap is
    /// answered with an error until something is appended: nothing tells such an end from one that was lost.
    pub fn truncate_to(&self, to: i64) -> Result<Lsn, AppendError> {
        // Before the append lock: a reader that holds up a cut may want that lock to look after the indexes.
        let _cut = self.cutting.write();
        let mut appender = self.appender.lock();
        self.check_writable(&appender)?;
        if to >= appender.log_end {
            return Ok(appender.last_lsn);
        }
        let cut = self
            .plan_cut(&appender, to)
            .map_err(|error| AppendError::write(self.dir.clone(), error))?;
        let lsn = self.journal_and_cut(&mut appender, cut)?;
        drop(appender);
        self.progress.watchers.notify();
        Ok(lsn)
    }

    /// Empties the log; the next record gets offset `to`.
    pub fn reset_to(&self, to: i64) -> Result<Lsn, AppendError> {
        let _cut = self.cutting.write();
        let mut appender = self.appender.lock();
        self.check_writable(&appender)?;
        let lsn = self.journal_and_cut(&mut appender, Cut::All { to })?;
        drop(appender);
        self.progress.watchers.notify();
        Ok(lsn)
    }

    fn check_writable(&self, appender: &Appender) -> Result<(), AppendError> {
        appender.check_open()?;
        self.shared
            .check_healthy()
            .map_err(|reason| AppendError::Poisoned { reason })
    }

    /// Makes the cut durable and then makes it. What cannot be known beforehand to succeed and fails poisons the store:
    /// the journal has the cut by then, so nothing may be appended that stands on what should be gone.
    fn journal_and_cut(&self, appender: &mut Appender, cut: Cut) -> Result<Lsn, AppendError> {
        let failed = |error| AppendError::write(self.dir.clone(), error);
        // Files that would be in the way, and may keep their names.
        self.finish_replacing().map_err(failed)?;
        let prepared = self.prepare_cut(appender, cut).map_err(failed)?;
        // A journal that has no room for what came before refuses the cut too.
        self.wait_flushed(appender.last_lsn)?;
        let given = self.journal_change(appender, cut.entry())?;
        self.finish_cut(appender, cut, prepared, given)
            .inspect_err(|error| {
                self.shared
                    .poison(&format!("cutting {} failed: {error}", self.id));
            })
    }

    fn finish_cut(
        &self,
        appender: &mut Appender,
        cut: Cut,
        prepared: Option<PreparedNote>,
        given: Lsn,
    ) -> Result<Lsn, AppendError> {
        let failed = |error| AppendError::write(self.dir.clone(), error);
        self.wait_flushed(given)?;
        if self.shared.journal().is_some() {
            self.make_cut(appender, cut, prepared, given)
                .map_err(failed)?;
            return Ok(given);
        }
        // Nobody else counts then, and a note must be told from one that a checkpoint contains.
        appender.last_lsn = appender.last_lsn.next();
        let lsn = appender.last_lsn;
        self.make_cut(appender, cut, prepared, lsn)
            .and_then(|()| self.sync_cut(appender))
            .map_err(failed)?;
        Ok(lsn)
    }

    /// Without a journal nothing tells after a power cut in which order appends and cuts came, so what was cut must
    /// not come back between what follows.
    fn sync_cut(&self, appender: &Appender) -> io::Result<()> {
        self.forget_epoch_files()?;
        self.sync_end(appender)
    }

    /// Makes the log's end durable: the active segment's length, and which segments there are.
    pub(super) fn sync_end(&self, appender: &Appender) -> io::Result<()> {
        if let Some(file) = appender.active.file_if_any()? {
            file.sync_data()?;
        }
        self.shared.fs.sync_dir(&self.dir)
    }

    /// A note of the cut: when it takes away what a checkpoint has, and always without a journal. A start that finds one
    /// then knows that the end which it sees may not be durable yet.
    fn prepare_cut(&self, appender: &Appender, cut: Cut) -> io::Result<Option<PreparedNote>> {
        let is_below_checkpoint = match cut {
            Cut::Back { end, .. } => appender.is_captured_beyond(end),
            Cut::All { .. } => appender.captured_to.is_some(),
        };
        match is_below_checkpoint || self.shared.journal().is_none() {
            true => self.prepare_note(cut.note(appender.log_start)).map(Some),
            false => Ok(None),
        }
    }

    /// The cut as the journal tells it at a start.
    pub(super) fn redo_cut(&self, appender: &mut Appender, cut: Cut, lsn: Lsn) -> io::Result<()> {
        let prepared = self.prepare_cut(appender, cut)?;
        self.make_cut(appender, cut, prepared, lsn)
    }

    fn make_cut(
        &self,
        appender: &mut Appender,
        cut: Cut,
        prepared: Option<PreparedNote>,
        lsn: Lsn,
    ) -> io::Result<()> {
        if let Some(prepared) = prepared {
            self.commit_note(prepared, lsn)?;
        }
        failpoint::hit("log.before_cut");
        match cut {
            Cut::Back {
                end,
                segment_base,
                position,
            } => self.cut_back(appender, end, segment_base, position),
            Cut::All { to } => self.clear_to(appender, to),
        }
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
        self.shared.log_start_moved();
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
        appender.last_lsn = lsn.max(appender.last_lsn);
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
    fn clear_to(&self, appender: &mut Appender, to: i64) -> io::Result<()> {
        let mut one_at_a_time = self.replacing.lock();
        self.finish(&mut one_at_a_time)?;
        self.positions.clear();
        let segments = self.segments.read().clone();
        self.let_go(&segments, &[])?;
        self.drop_snapshots_behind(i64::MIN)?;
        self.segments.write().clear();
        appender.unsynced.clear();
        appender.active = self.push_segment(to);
        appender.producers = ProducerStates::default();
        appender.epochs_changed |= appender.epochs.truncate_to(i64::MIN);
        appender.log_start = to;
        self.end_at(appender, to);
        Ok(())
    }

    /// Where the log is to be cut so that nothing is left that reaches to `to` or beyond.
    pub(super) fn plan_cut(&self, appender: &Appender, to: i64) -> io::Result<Cut> {
        if to <= appender.log_start {
            return Ok(Cut::All { to });
        }
        let (before, last) = {
            let segments = self.segments.read();
            // A segment that begins there stays, empty: a checkpoint may have the one before it as ended.
            let after = segments.partition_point(|segment| segment.base_offset() <= to);
            let at = |index: Option<usize>| index.map(|index| Arc::clone(&segments[index]));
            (at(after.checked_sub(2)), at(after.checked_sub(1)))
        };
        let Some(last) = last else {
            return Ok(Cut::Back {
                end: to,
                segment_base: to,
                position: 0,
            });
        };
        let (position, end) = self.position_of(&last, to)?;
        if end <= appender.log_start {
            // The batch that holds the log's start goes too.
            return Ok(Cut::All {
                to: appender.log_start,
            });
        }
        // The note of a cut below a checkpoint has one segment to tell of. An earlier cut may have shortened the one before,
        // and nobody has synced that since; of an empty segment there is nothing to tell.
        let (last, position) = match before {
            Some(before) if position == 0 && appender.is_captured_beyond(end) => {
                let size = before.size();
                (before, size)
            }
            _ => (last, position),
        };
        Ok(Cut::Back {
            end,
            segment_base: last.base_offset(),
            position,
        })
    }

    /// Cuts segments, indexes, epochs and producer states. Nobody reads meanwhile.
    fn cut_back(
        &self,
        appender: &mut Appender,
        end: i64,
        segment_base: i64,
        position: u64,
    ) -> io::Result<()> {
        let mut one_at_a_time = self.replacing.lock();
        self.finish(&mut one_at_a_time)?;
        self.positions.clear();
        loop {
            let Some(last) = self.segments.read().last().cloned() else {
                appender.active = self.push_segment(segment_base);
                break;
            };
            if last.base_offset() <= segment_base {
                last.reopen(&*self.shared.fs)?;
                last.truncate(position, end)?;
                appender.active = last;
                break;
            }
            self.let_go(std::slice::from_ref(&last), &[])?;
            self.segments.write().pop();
            appender
                .unsynced
                .retain(|segment| !Arc::ptr_eq(segment, &last));
        }
        self.drop_snapshots_behind(end)?;
        drop(one_at_a_time);
        if appender.active.mark_unsynced() {
            let active = Arc::clone(&appender.active);
            appender.unsynced.push(active);
        }
        appender.epochs_changed |= appender.epochs.truncate_to(end);
        appender.producers = self.replay_producers(end)?;
        self.end_at(appender, end);
        Ok(())
    }

    /// A snapshot behind the end is of a history that was given up.
    fn drop_snapshots_behind(&self, end: i64) -> io::Result<()> {
        for entry in self.shared.fs.read_dir(&self.dir)? {
            if let Some((SegmentFile::ProducerSnapshot, offset)) = SegmentFile::parse(&entry.name)
                && offset > end
            {
                self.remove_snapshot(offset)?;
            }
        }
        Ok(())
    }

    pub(super) fn remove_snapshot(&self, offset: i64) -> io::Result<()> {
        let path = path_of(&self.dir, offset, SegmentFile::ProducerSnapshot);
        self.shared.fs.remove_file(&path)
    }

    fn end_at(&self, appender: &mut Appender, end: i64) {
        self.note_cut(end);
        self.forget_losses_from(end);
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

    /// Where the first batch begins that does not lie wholly below `to`, and the end that a cut there leaves. Damage
    /// that may hold `to` goes with it. The caller has the append lock.
    fn position_of(&self, segment: &Arc<Segment>, to: i64) -> io::Result<(u64, i64)> {
        self.check_or_rebuild(segment)?;
        let sight = self.sight_at_rest(segment);
        let anchor = segment.anchor_before(to - 1)?;
        let start = anchor.map_or(0, |anchor| anchor.position);
        let Some(mut walk) = Self::walk_from(segment, &sight, start)? else {
            return Ok((0, to));
        };
        while let Some(piece) = walk.next()? {
            match piece {
                Piece::Batch(batch) if batch.header.last_offset() >= to => {
                    return Ok((batch.position, to.min(batch.header.base_offset)));
                }
                Piece::Damage(region) if region.next_offset > to => {
                    let region = Self::widened(region, start, &sight, anchor.as_slice());
                    return Ok((region.position, to.min(region.first_offset)));
                }
                Piece::Batch(_) | Piece::Damage(_) => {}
            }
        }
        Ok((segment.size(), to))
    }
}
