//! What the cleaner sees of a log, and how it gives it its compacted segments.

use std::io;
use std::sync::Arc;

use parking_lot::MutexGuard;

use super::{Life, Log, index_limits};
use crate::failpoint;
use crate::index::AbortedEntry;
use crate::segment::{IndexLimits, OpenFiles, Segment, Suffix};

/// How far a log was compacted, and what makes that worthless.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Compaction {
    /// Everything below was compacted; none when the log never was.
    cleaned_to: Option<i64>,
    /// How often the log's end was moved back.
    cuts: u64,
    /// How far back, at the most.
    cut_to: Option<i64>,
}

/// A log at the beginning of a pass.
#[derive(Debug)]
pub(crate) struct CompactionView {
    /// All segments; the last one is the active one.
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) cleaned_to: Option<i64>,
    pub(crate) log_start: i64,
    /// What lies at or behind it belongs to an open transaction, or is not known to be durable.
    pub(crate) bound: i64,
    /// What lies at or behind it belongs to an open transaction.
    pub(crate) last_stable: i64,
    cuts: u64,
}

impl Log {
    pub(crate) fn compaction_view(&self) -> CompactionView {
        // The count first: a cut in between is noticed at the end of the pass.
        let compaction = *self.compaction.lock();
        let offsets = self.offsets();
        let durable = *self.durable.lock();
        CompactionView {
            segments: self.segments.read().clone(),
            cleaned_to: compaction.cleaned_to,
            log_start: offsets.log_start,
            bound: offsets
                .last_stable
                .min(durable.segment_base)
                .min(durable.first_open),
            last_stable: offsets.last_stable,
            cuts: compaction.cuts,
        }
    }

    /// The aborted transactions that begin below `end`.
    pub(crate) fn aborted_below(
        &self,
        segments: &[Arc<Segment>],
        end: i64,
    ) -> io::Result<Vec<AbortedEntry>> {
        let mut found = Vec::new();
        for segment in segments {
            self.check_indexes(segment)?;
            found.extend(segment.aborted_entries()?);
        }
        found.retain(|entry| entry.first_offset < end);
        Ok(found)
    }

    /// As `check_indexes`, for the cleaner.
    pub(crate) fn check_indexes_of(&self, segment: &Arc<Segment>) -> io::Result<()> {
        self.check_indexes(segment)
    }

    /// Puts a compacted segment, whose files are complete and durable and called `.cleaned`, into the place of those
    /// that it was made of. False when the log is not any more what it was at the beginning of the pass.
    ///
    /// # Errors
    /// When [`Log::has_segment`] says that it is in its place then, only files are still to be renamed, and
    /// [`Log::finish_replacing`] goes on.
    pub(crate) fn put_compacted(
        &self,
        view: &CompactionView,
        old: &[Arc<Segment>],
        new: &Arc<Segment>,
    ) -> io::Result<bool> {
        let fs = &*self.shared.fs;
        let is_ready = || {
            if self.compaction.lock().cuts != view.cuts {
                return Ok(false);
            }
            failpoint::hit("cleaner.before_swap_name");
            new.rename(fs, Suffix::Swap, true)?;
            // From here on recovery finishes the swap, before it undoes it.
            fs.sync_dir(&self.dir)?;
            failpoint::hit("cleaner.after_swap_name");
            Ok(true)
        };
        self.replace_segments_when(old, std::slice::from_ref(new), is_ready)
    }

    /// Whether the segment belongs to the log.
    pub(crate) fn has_segment(&self, segment: &Arc<Segment>) -> bool {
        let segments = self.segments.read();
        segments.iter().any(|one| Arc::ptr_eq(one, segment))
    }

    /// Notes that everything below `offset` is compacted, unless the log was cut meanwhile.
    pub(crate) fn set_cleaned_to(&self, view: &CompactionView, offset: i64) {
        let mut compaction = self.compaction.lock();
        if compaction.cuts == view.cuts {
            compaction.cleaned_to = Some(offset);
        }
    }

    /// What the checkpoint of compacted offsets says at a start.
    pub(crate) fn restore_cleaned_to(&self, offset: i64) {
        let active_base = self.appender.lock().active.base_offset();
        let mut compaction = self.compaction.lock();
        // What recovery has cut and written anew was not compacted.
        let offset = compaction
            .cut_to
            .map_or(offset, |cut_to| offset.min(cut_to));
        // A log that ends before it is another one, or lost its end.
        if offset <= active_base {
            compaction.cleaned_to = Some(offset);
        }
    }

    /// Everything below was compacted; none when the log never was.
    pub(crate) fn cleaned_to(&self) -> Option<i64> {
        self.compaction.lock().cleaned_to
    }

    /// Whether the log's end was moved back in this run.
    pub(crate) fn was_cut(&self) -> bool {
        self.compaction.lock().cut_to.is_some()
    }

    /// The log's end is moved back: a pass that runs is worthless.
    pub(super) fn note_cut(&self, end: i64) {
        let mut compaction = self.compaction.lock();
        compaction.cuts += 1;
        compaction.cut_to = Some(compaction.cut_to.map_or(end, |cut_to| cut_to.min(end)));
        compaction.cleaned_to = compaction.cleaned_to.map(|offset| offset.min(end));
    }

    /// Held while files of a pass are written in the log's directory.
    pub(crate) fn begin_cleaning(&self) -> MutexGuard<'_, ()> {
        self.cleaning.lock()
    }

    #[cfg(test)]
    pub(crate) fn is_being_cleaned(&self) -> bool {
        self.cleaning.is_locked()
    }

    /// Whether a pass has nothing to work for any more.
    pub(crate) fn is_cut_since(&self, view: &CompactionView) -> bool {
        let cuts = self.compaction.lock().cuts;
        cuts != view.cuts || self.appender.lock().life != Life::Open
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.shared.clock.now_ms()
    }

    pub(crate) fn index_limits(&self) -> IndexLimits {
        index_limits(&self.config())
    }

    pub(crate) fn open_files(&self) -> &Arc<OpenFiles> {
        &self.shared.open_files
    }
}
