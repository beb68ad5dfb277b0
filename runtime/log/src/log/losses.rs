//! What a start does with files that have lost bytes: nothing that is sound is thrown away, and no offset is given
//! twice.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Appender, Log, LogCheckpoint};
use crate::fs::OpenMode;
use crate::segment::{Piece, Region, Segment, SegmentFile, SegmentSizes, path_of};
use crate::store::Problem;

/// Ends the name of a file with batches that were cut from a log; nothing reads it but people.
const CUT_SUFFIX: &str = "cut";
/// Copied at once.
const COPY_BYTES: usize = 256 << 10;

impl Log {
    /// A segment that has fewer bytes than were synced keeps what it has. The log goes on behind what was lost, in a
    /// new segment.
    pub(super) fn keep_short(
        &self,
        appender: &mut Appender,
        short: &Arc<Segment>,
        at: &LogCheckpoint,
        problems: &mut Vec<Problem>,
    ) -> io::Result<()> {
        problems.push(Problem {
            path: short.path(),
            position: short.size(),
            reason: format!(
                "the file has {} bytes, {} were synced: offsets below {} are missing and cannot be read",
                short.size(),
                at.segment_size,
                at.recovery_point
            ),
        });
        appender.active = self.active_at(at.recovery_point);
        appender.log_end = at.recovery_point;
        appender.names_changed = true;
        appender.dirty = true;
        short.restore_indexes(at.indexes)?;
        self.check_or_rebuild(short)?;
        // From now on the sidecar tells what is missing.
        short.seal_short(&*self.shared.fs, at.segment_size)?;
        if short.mark_unsynced() {
            appender.unsynced.push(Arc::clone(short));
        }
        self.note_lost_end(short, at.segment_size)
    }

    /// Lets the offsets of segments that are gone, which ended where `missing` says, be answered with an error.
    pub(super) fn note_missing(
        &self,
        missing: &BTreeMap<i64, i64>,
    ) -> io::Result<Vec<Arc<Segment>>> {
        let mut found = Vec::new();
        for (base, next) in missing {
            let segments = self.segments.read().clone();
            let Some(segment) = segments.iter().find(|one| one.base_offset() == *base) else {
                continue;
            };
            segment.note_damage(&Region {
                position: 0,
                end: 0,
                first_offset: *base,
                next_offset: *next,
                reason: "the file is missing".to_owned(),
            });
            let sidecar = segment.sidecar(&*self.shared.fs)?;
            let has_indexes = match sidecar {
                Some(sidecar) => segment.indexes_match(&sidecar)?,
                None => false,
            };
            if !has_indexes {
                segment.forget_indexes();
                let producers = self.replay_producers(*base)?;
                let first_open = producers.open_transactions().min();
                segment.note_undecided(first_open, *base..*next);
            }
            found.push(Arc::clone(segment));
        }
        Ok(found)
    }

    /// What a start says of a segment that is gone; nothing when it has left the log meanwhile.
    pub(crate) fn missing_segment(&self, segment: &Arc<Segment>) -> Option<Problem> {
        let region = segment.damages().into_iter().next()?;
        self.has_segment(segment).then(|| Problem {
            path: segment.path(),
            position: 0,
            reason: format!(
                "{}: offsets {} to {} cannot be read",
                region.reason,
                region.first_offset,
                region.next_offset - 1
            ),
        })
    }

    /// Where a scan of what lies behind a checkpoint begins: the segment, and the position in it. None when nothing is
    /// left to be scanned.
    pub(super) fn begin_behind(
        &self,
        appender: &mut Appender,
        at: &LogCheckpoint,
        segments: &[Arc<Segment>],
        problems: &mut Vec<Problem>,
    ) -> io::Result<Option<(usize, u64)>> {
        let after = segments.partition_point(|segment| segment.base_offset() <= at.segment_base);
        let active = after.checked_sub(1).map(|index| (index, &segments[index]));
        if let Some((index, active)) = active
            && active.base_offset() == at.segment_base
        {
            if active.size() >= at.segment_size {
                return Ok(Some((index, at.segment_size)));
            }
            let has_more = after < segments.len();
            self.keep_short_or_go_on(appender, active, at, has_more, problems)?;
            return Ok(has_more.then_some((after, 0)));
        }
        let Some(next) = segments.get(after) else {
            let gone = self.active_at(at.segment_base);
            self.keep_short(appender, &gone, at, problems)?;
            return Ok(None);
        };
        problems.push(Problem {
            reason: format!(
                "the file is missing, {} bytes of it were synced: offsets below {} cannot be read",
                at.segment_size, at.recovery_point
            ),
            path: path_of(&self.dir, at.segment_base, SegmentFile::Log),
            position: 0,
        });
        self.insert_gone(at.segment_base, next.base_offset());
        Ok(Some((after, 0)))
    }

    /// Lets the offsets of a segment that is gone be answered with an error, up to where the next one begins.
    fn insert_gone(&self, base_offset: i64, next: i64) {
        let none = SegmentSizes::default();
        let gone = Segment::open(&self.shared.open_files, &self.dir, base_offset, none);
        gone.note_damage(&Region {
            position: 0,
            end: 0,
            first_offset: base_offset,
            next_offset: next,
            reason: "the file is missing".to_owned(),
        });
        let mut segments = self.segments.write();
        let after = segments.partition_point(|one| one.base_offset() <= base_offset);
        segments.insert(after, Arc::new(gone));
    }

    fn keep_short_or_go_on(
        &self,
        appender: &mut Appender,
        short: &Arc<Segment>,
        at: &LogCheckpoint,
        has_more: bool,
        problems: &mut Vec<Problem>,
    ) -> io::Result<()> {
        if !has_more {
            return self.keep_short(appender, short, at, problems);
        }
        problems.push(Problem {
            path: short.path(),
            position: short.size(),
            reason: format!(
                "the file has {} bytes, {} were synced; the end of it cannot be read",
                short.size(),
                at.segment_size
            ),
        });
        short.restore_indexes(at.indexes)?;
        self.check_or_rebuild(short)?;
        short.seal_short(&*self.shared.fs, at.segment_size)?;
        self.note_lost_end(short, at.segment_size)
    }

    /// Renames the segments behind `base_offset` and takes them off the log.
    pub(super) fn set_segments_aside(&self, base_offset: i64) -> io::Result<()> {
        loop {
            let last = {
                let mut segments = self.segments.write();
                match segments.last() {
                    Some(last) if last.base_offset() > base_offset => segments.pop(),
                    _ => None,
                }
            };
            let Some(last) = last else {
                return Ok(());
            };
            if last.size() > 0 {
                let aside = cut_name(&self.dir, last.base_offset(), 0);
                self.shared.fs.rename(&last.path(), &aside)?;
            }
            last.remove(&self.shared.open_files)?;
        }
    }

    /// Copies what is behind damage to a file beside, if a sound batch is among it.
    pub(super) fn set_tail_aside(
        &self,
        segment: &Arc<Segment>,
        region: &Region,
    ) -> io::Result<Option<PathBuf>> {
        let sight = self.sight_at_rest(segment);
        let mut is_sound_behind = false;
        if let Some(mut walk) = Self::walk(segment, &sight)? {
            while let Some(piece) = walk.next()? {
                is_sound_behind |= matches!(
                    piece,
                    Piece::Batch(batch) if batch.position > region.position
                );
            }
        }
        if !is_sound_behind {
            return Ok(None);
        }
        let aside = cut_name(&self.dir, segment.base_offset(), region.position);
        let from = segment.file()?;
        let to = self.shared.fs.open(&aside, OpenMode::Create)?;
        to.set_len(0)?;
        let mut buffer = vec![0; COPY_BYTES];
        let mut at = region.position;
        while at < segment.size() {
            let rest = usize::try_from(segment.size() - at).unwrap_or(usize::MAX);
            let len = COPY_BYTES.min(rest);
            from.read_exact_at(&mut buffer[..len], at)?;
            to.write_at(&buffer[..len], at - region.position)?;
            at += len as u64;
        }
        to.sync_data()?;
        Ok(Some(aside))
    }
}

/// `<segment>.log.<position>.cut`
fn cut_name(dir: &Path, base_offset: i64, position: u64) -> PathBuf {
    let mut name = path_of(dir, base_offset, SegmentFile::Log).into_os_string();
    name.push(format!(".{position}.{CUT_SUFFIX}"));
    PathBuf::from(name)
}
