//! A log whose batches are read anew at a start: those behind its recovery point, or all of them.

use std::io;
use std::sync::Arc;

use millstream_records::{BatchHeader, HEADER_LEN, patch};

use super::replay::{indexed, marker_of};
use super::{Appender, Log, LogCheckpoint, index_limits};
use crate::checkpoint::{EpochStart, LEADER_EPOCHS};
use crate::segment::{Piece, Region, ScannedBatch, Segment, Surroundings, Walk};
use crate::store::Problem;

impl Log {
    /// Reads every batch behind the recovery point, builds indexes, epochs and producer states anew, and cuts the log
    /// at the first bad batch.
    pub(super) fn rescan(
        &self,
        appender: &mut Appender,
        from: Option<&LogCheckpoint>,
        may_have_gaps: bool,
        problems: &mut Vec<Problem>,
    ) -> io::Result<()> {
        // A log of another making has at most Kafka's file, which has no checksum.
        let announced = match may_have_gaps {
            true => None,
            false => self.announced_epochs(),
        };
        let epochs = announced.as_deref();
        self.scan_behind(appender, from, may_have_gaps, epochs, problems)?;
        let end = appender.log_end;
        if epochs.is_some_and(|epochs| epochs.iter().any(|entry| entry.start_offset > end)) {
            // They tell of records that are lost, and others will take those offsets.
            self.forget_epoch_files()?;
            self.shared.fs.sync_dir(&self.dir)?;
        }
        Ok(())
    }

    /// `epochs`: which leader epoch wrote what, if the log's own files say so.
    fn scan_behind(
        &self,
        appender: &mut Appender,
        from: Option<&LogCheckpoint>,
        may_have_gaps: bool,
        epochs: Option<&[EpochStart]>,
        problems: &mut Vec<Problem>,
    ) -> io::Result<()> {
        let segments = self.segments.read().clone();
        let recovered_to = from.map_or(i64::MIN, |at| at.recovery_point);
        appender.epochs_changed = true;
        appender.epochs.truncate_to(recovered_to);
        let (first, mut position) = match from {
            Some(at) => match self.begin_behind(appender, at, &segments, problems)? {
                Some(begin) => begin,
                None => return Ok(()),
            },
            None => {
                // Nothing is known of these files but what they say themselves.
                let base = segments[0].base_offset();
                appender.producers = self.load_snapshot(base).unwrap_or_default();
                appender.log_end = base;
                appender.log_start = appender.log_start.max(base);
                (0, 0)
            }
        };
        let fits = move |end: i64, begin: i64| begin == end || (may_have_gaps && begin > end);
        for (index, segment) in segments.iter().enumerate().skip(first) {
            let base_offset = segment.base_offset();
            if index > first && !fits(appender.log_end, base_offset) {
                let reason = format!("it begins at {base_offset}, the one before ends elsewhere");
                self.report_cut(appender, segment, 0, &reason, problems);
                self.set_segments_aside(base_offset - 1)?;
                return self.shared.fs.sync_dir(&self.dir);
            }
            if index > first && !may_have_gaps {
                self.write_snapshot(appender);
            }
            appender.active = Arc::clone(segment);
            if segment.mark_unsynced() {
                appender.unsynced.push(Arc::clone(segment));
            }
            if position == 0 {
                appender.log_end = segment.base_offset();
                segment.clear_indexes()?;
                segment.trust_indexes();
            } else if let Some(at) = from {
                segment.restore_indexes(at.indexes)?;
            }
            let scan = Rescan {
                segment,
                position,
                keeps_damage: may_have_gaps,
                upper: segments.get(index + 1).map(|next| next.base_offset()),
                epochs,
            };
            if let Some(region) = self.rescan_segment(appender, &scan, problems)? {
                return self.cut_at(appender, index, &region, problems);
            }
            if index + 1 < segments.len() {
                self.check_or_rebuild(segment)?;
                let end = segments[index + 1].base_offset();
                segment.seal(&*self.shared.fs, Some(end))?;
            }
            position = 0;
        }
        Ok(())
    }

    /// Takes in a segment's batches from a position on. Damage is kept in a log that somebody else wrote; behind the
    /// recovery point of our own it is given back, to cut the log there.
    fn rescan_segment(
        &self,
        appender: &mut Appender,
        scan: &Rescan<'_>,
        problems: &mut Vec<Problem>,
    ) -> io::Result<Option<Region>> {
        let segment = scan.segment;
        if segment.size() == 0 {
            return Ok(None);
        }
        let limits = index_limits(&self.config());
        let around = Surroundings {
            lower: appender.log_end,
            upper: scan.upper.unwrap_or(i64::MAX),
            epochs: &[],
        };
        let mut walk = Walk::new(segment.file()?, scan.position, segment.size(), around, &[]);
        while let Some(piece) = walk.next()? {
            let batch = match piece {
                Piece::Batch(batch) => batch,
                Piece::Damage(region)
                    if region.end == segment.size()
                        && segment.is_unused_from(region.position)? =>
                {
                    segment.set_size(region.position)?;
                    return Ok(None);
                }
                // An end that is not a whole batch is a write that was under way.
                Piece::Damage(region) if !scan.keeps_damage || region.end == segment.size() => {
                    return Ok(Some(region));
                }
                Piece::Damage(region) => {
                    problems.push(Problem {
                        path: segment.path(),
                        position: region.position,
                        reason: region.complaint(),
                    });
                    self.note(segment, &region);
                    let first_open = appender.producers.open_transactions().min();
                    segment.note_undecided(first_open, region.offsets());
                    appender.log_end = region.next_offset;
                    continue;
                }
            };
            let log_end = appender.log_end;
            let ends_before = |reason| Region {
                position: batch.position,
                end: segment.size(),
                first_offset: log_end,
                next_offset: batch.header.base_offset,
                reason,
            };
            let has_gap = batch.header.base_offset != log_end;
            if has_gap && !scan.keeps_damage {
                return Ok(Some(ends_before(format!(
                    "the batch has base offset {}, the one before ends at {log_end}",
                    batch.header.base_offset
                ))));
            }
            let bytes = walk.bytes(batch.position, batch.header.size_in_bytes())?;
            let marker = marker_of(bytes).map_err(io::Error::other)?;
            let follower = walk.next_header()?;
            if let Some(known) = scan.epoch_before_newer(&batch.header, follower) {
                return Ok(Some(ends_before(format!(
                    "the batch has leader epoch {}, and the newest that {LEADER_EPOCHS} knows is {known}",
                    batch.header.leader_epoch
                ))));
            }
            let batch = self.settle_epoch(appender, scan, batch, follower, problems)?;
            self.take_in(appender, segment, &batch, marker);
            segment.reindex(&indexed(&batch), limits);
        }
        Ok(None)
    }

    /// The batch with the leader epoch that it must have. Where the log's files tell that epoch, a batch that says another
    /// one is mended: all else in it is under its checksum. Where they do not, one that is newer than its follower's
    /// lies; it is not believed, and so it is the only one that cannot be read.
    fn settle_epoch(
        &self,
        appender: &Appender,
        scan: &Rescan<'_>,
        mut batch: ScannedBatch,
        follower: Option<BatchHeader>,
        problems: &mut Vec<Problem>,
    ) -> io::Result<ScannedBatch> {
        let found = batch.header.leader_epoch;
        let Some(epochs) = scan.epochs else {
            let before = appender.epochs.latest().unwrap_or(-1);
            if let Some(next) = follower
                && (before..found).contains(&next.leader_epoch)
            {
                batch.header.leader_epoch = next.leader_epoch;
            }
            return Ok(batch);
        };
        let Some((known, _)) = epoch_at(epochs, batch.header.base_offset) else {
            return Ok(batch);
        };
        if known != found {
            let segment = scan.segment;
            let mut bytes = [0; HEADER_LEN];
            segment.read_at(&mut bytes, batch.position)?;
            patch::set_leader_epoch(&mut bytes, known);
            segment.write_at(&bytes, batch.position)?;
            batch.header.leader_epoch = known;
            problems.push(Problem {
                path: segment.path(),
                position: batch.position,
                reason: format!(
                    "the batch of offset {} had leader epoch {found}, which did not write it; it has epoch {known} again",
                    batch.header.base_offset
                ),
            });
        }
        Ok(batch)
    }

    fn report_cut(
        &self,
        appender: &Appender,
        segment: &Segment,
        position: u64,
        reason: &str,
        problems: &mut Vec<Problem>,
    ) {
        problems.push(Problem {
            path: segment.path(),
            position,
            reason: format!(
                "{reason}; the log was cut there, at offset {}",
                appender.log_end
            ),
        });
    }

    /// Ends the log at a bad batch behind the recovery point. What is sound behind it was never promised to anybody;
    /// it is set aside, not lost.
    fn cut_at(
        &self,
        appender: &mut Appender,
        index: usize,
        region: &Region,
        problems: &mut Vec<Problem>,
    ) -> io::Result<()> {
        let segment = Arc::clone(&self.segments.read()[index]);
        let mut reason = region.reason.clone();
        if let Some(aside) = self.set_tail_aside(&segment, region)? {
            reason += &format!(
                "; sound batches behind it are set aside in {}",
                aside.display()
            );
        }
        self.report_cut(appender, &segment, region.position, &reason, problems);
        self.set_segments_aside(segment.base_offset())?;
        segment.truncate(region.position, appender.log_end)?;
        // Another crash must not bring back what readers have seen go.
        segment.sync(&*self.shared.fs)?;
        self.shared.fs.sync_dir(&self.dir)?;
        appender.active = segment;
        Ok(())
    }
}

/// A segment that is read anew.
struct Rescan<'a> {
    segment: &'a Segment,
    /// What lies before is known.
    position: u64,
    keeps_damage: bool,
    /// Where the next segment begins.
    upper: Option<i64>,
    /// Which leader epoch wrote what, where that is known beside the batches.
    epochs: Option<&'a [EpochStart]>,
}

impl Rescan<'_> {
    /// The newest known epoch, when the batch says that it has a newer one and its follower does not contradict.
    ///
    /// Either the bytes of the epoch are damaged, or a power cut has brought older files back, which do not know the newest
    /// epoch. Then nobody was promised the batch; in both cases the log ends before it.
    fn epoch_before_newer(
        &self,
        batch: &BatchHeader,
        follower: Option<BatchHeader>,
    ) -> Option<i32> {
        let (known, is_newest) = epoch_at(self.epochs?, batch.base_offset)?;
        let is_newer = is_newest
            && batch.leader_epoch > known
            && follower.is_none_or(|next| next.leader_epoch != known);
        is_newer.then_some(known)
    }
}

/// The epoch that wrote an offset, and whether it is the newest that is known.
fn epoch_at(epochs: &[EpochStart], offset: i64) -> Option<(i32, bool)> {
    let after = epochs.partition_point(|entry| entry.start_offset <= offset);
    let entry = epochs[..after].last()?;
    Some((entry.epoch, after == epochs.len()))
}
