//! Segments that leave a log, and those that take their place.
//!
//! The list is changed first, then the files get other names, and after `file.delete.delay.ms` they go. Who has begun to
//! read a segment goes on undisturbed: it holds the segment, the cache of open files knows the new names, and files
//! that somebody holds are not removed. Where a file cannot be renamed, the store tries again every second; until then
//! the log is written and read as ever, and no other change of the list's older part comes in between.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::Log;
use super::replay::sync_snapshot;
use crate::failpoint;
use crate::segment::{Segment, Suffix};

/// A change of the list that was made, while files are still to be renamed.
#[derive(Debug)]
pub(super) struct HalfDone {
    old: Vec<Arc<Segment>>,
    new: Vec<Arc<Segment>>,
}

impl Log {
    /// Takes `old`, segments that follow each other, out of the log and puts `new` into their place. `new` covers the
    /// same offsets; its files are complete and durable, under whatever suffix, and get their own names here.
    ///
    /// False, and nothing is changed, when the log does not have all of `old` any more, or the active segment is one
    /// of them.
    ///
    /// # Errors
    /// An earlier change is not done yet. Or the list is changed, and files could not be renamed: those of `new` then
    /// keep their suffix, so that recovery can tell which of both is valid, and [`Log::finish_replacing`] goes on.
    pub(crate) fn replace_segments(
        &self,
        old: &[Arc<Segment>],
        new: &[Arc<Segment>],
    ) -> io::Result<bool> {
        self.replace_segments_when(old, new, || Ok(true))
    }

    /// The same when `is_ready`, which is asked while no other change of the list can come in between.
    pub(super) fn replace_segments_when(
        &self,
        old: &[Arc<Segment>],
        new: &[Arc<Segment>],
        is_ready: impl FnOnce() -> io::Result<bool>,
    ) -> io::Result<bool> {
        let mut replacing = self.replacing.lock();
        self.finish(&mut replacing)?;
        if position_of_run(&self.segments.read(), old).is_none() || !is_ready()? {
            return Ok(false);
        }
        *replacing = Some(HalfDone {
            old: old.to_vec(),
            new: new.to_vec(),
        });
        if !self.swap_in_list(old, new) {
            *replacing = None;
            return Ok(false);
        }
        failpoint::hit("segments.after_swap");
        self.finish(&mut replacing)?;
        Ok(true)
    }

    /// Renames the files that an earlier change of the list has left under other names. False when there are none.
    pub(crate) fn finish_replacing(&self) -> io::Result<bool> {
        let mut replacing = self.replacing.lock();
        let waits = replacing.is_some();
        self.finish(&mut replacing).map(|()| waits)
    }

    /// Ends what an earlier change of the list has left half done, before another one.
    pub(super) fn finish(&self, replacing: &mut Option<HalfDone>) -> io::Result<()> {
        let Some(half_done) = replacing else {
            return Ok(());
        };
        let key = (self.id.topic_id, self.id.partition);
        // Before anything can fail, or panic.
        self.shared.half_done.lock().insert(key);
        self.name_files(&half_done.old, &half_done.new)?;
        *replacing = None;
        self.shared.half_done.lock().remove(&key);
        Ok(())
    }

    /// What has its name already is left alone.
    fn name_files(&self, old: &[Arc<Segment>], new: &[Arc<Segment>]) -> io::Result<()> {
        self.let_go(old, new)?;
        if new.is_empty() {
            return Ok(());
        }
        let fs = &*self.shared.fs;
        // No former segment may come back beside the one that holds its offsets.
        fs.sync_dir(&self.dir)?;
        failpoint::hit("segments.before_own_name");
        for segment in new {
            segment.rename(fs, Suffix::None, false)?;
        }
        fs.sync_dir(&self.dir)
    }

    fn swap_in_list(&self, old: &[Arc<Segment>], new: &[Arc<Segment>]) -> bool {
        let mut segments = self.segments.write();
        let Some(at) = position_of_run(&segments, old) else {
            return false;
        };
        segments.splice(at..at + old.len(), new.iter().cloned());
        true
    }

    /// Renames the files of segments that are not in the list any more, and has them removed later. Those that it could
    /// not rename are left to another call.
    pub(super) fn let_go(&self, old: &[Arc<Segment>], new: &[Arc<Segment>]) -> io::Result<()> {
        let delay = u64::try_from(self.config().file_delete_delay_ms).unwrap_or(0);
        let due = self
            .shared
            .clock
            .monotonic()
            .saturating_add(Duration::from_millis(delay));
        // Whoever builds an index anew writes files under the names that it found.
        let _no_repair = self.repairing.lock();
        let mut result = Ok(());
        for segment in old.iter().filter(|segment| !segment.has_departed()) {
            let base_offset = segment.base_offset();
            let number = self.shared.deferred.next_number(segment);
            let is_replaced = new.iter().any(|new| new.base_offset() == base_offset);
            let fs = &*self.shared.fs;
            let renamed = segment.rename(fs, Suffix::Deleted(number), is_replaced);
            if renamed.is_ok() {
                self.shared.deferred.add(Arc::clone(segment), number, due);
            }
            result = result.and(renamed);
            failpoint::hit("segments.between_renames");
        }
        result
    }

    /// Makes sure of a durable snapshot of the producers at this offset: what lies before it is about to go, and without
    /// both neither their states nor the aborted transactions could be told anew.
    fn keep_producers_at(&self, offset: i64) -> io::Result<()> {
        if self.load_snapshot(offset).is_none() {
            let states = self.replay_producers(offset)?;
            self.write_states(offset, &states)?;
        }
        match sync_snapshot(&*self.shared.fs, &self.dir, offset) {
            Ok(true) => Ok(()),
            Ok(false) => Err(io::ErrorKind::NotFound.into()),
            Err(error) => {
                let reason = format!("syncing the snapshot of {}: {error}", self.id);
                self.shared.poison(&reason);
                Err(error)
            }
        }
    }

    /// Takes the segments that lie wholly below the log's start out of the log. Only as far as the node's checkpoint
    /// has the start, and none that recovery would begin with. Returns how many went.
    pub(crate) fn drop_segments_below_start(&self) -> io::Result<usize> {
        let durable = *self.durable.lock();
        let log_start = durable.log_start.min(self.offsets().log_start);
        let segments = self.segments.read().clone();
        let count = segments
            .iter()
            .zip(segments.iter().skip(1))
            .take_while(|(segment, next)| {
                next.base_offset() <= log_start && segment.base_offset() < durable.segment_base
            })
            .count();
        if count == 0 {
            return Ok(0);
        }
        self.keep_producers_at(segments[count].base_offset())?;
        let replaced = self.replace_segments(&segments[..count], &[])?;
        Ok(if replaced { count } else { 0 })
    }
}

/// Where `run` stands in the list; none when not all of it does, or when the active segment is one of it.
fn position_of_run(segments: &[Arc<Segment>], run: &[Arc<Segment>]) -> Option<usize> {
    let first = run.first()?;
    let at = segments
        .iter()
        .position(|segment| Arc::ptr_eq(segment, first))?;
    let end = at + run.len();
    let is_there = end < segments.len()
        && segments[at..end]
            .iter()
            .zip(run)
            .all(|(have, expected)| Arc::ptr_eq(have, expected));
    is_there.then_some(at)
}
