//! A log's directory as a start finds it: files of segments that come or go are dealt with first.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::replay::sync_snapshot;
use super::{LogCheckpoint, TRUNCATIONS};
use crate::cleaner::finish_swaps;
use crate::repair::ACCEPTED_LOSSES;
use crate::segment::{Segment, SegmentFile, SegmentSizes, Sidecar, Suffix, own_bytes, path_of};
use crate::store::Shared;

/// Removes the segments that lie wholly below the log's start: a crash may have come between the checkpoint that moved
/// the start and the removal, or in the midst of it. A removal that has begun has left a snapshot of the producers.
pub(super) fn finish_drop(
    shared: &Shared,
    dir: &Path,
    mut segments: Vec<Arc<Segment>>,
    at: &LogCheckpoint,
) -> io::Result<Vec<Arc<Segment>>> {
    let is_gone = |pair: &[Arc<Segment>]| {
        pair[1].base_offset() <= at.log_start && pair[0].base_offset() < at.segment_base
    };
    let count = segments.windows(2).take_while(|pair| is_gone(pair)).count();
    if count > 0 && sync_snapshot(&*shared.fs, dir, segments[count].base_offset())? {
        for segment in segments.drain(..count) {
            segment.remove(&shared.open_files)?;
        }
    }
    Ok(segments)
}

/// The segments in a log's directory, by their base offsets.
#[derive(Debug, Default)]
pub(super) struct Listing {
    sizes: BTreeMap<i64, SegmentSizes>,
    /// What is left where the file of batches is not.
    left: BTreeMap<i64, SegmentSizes>,
    /// Offsets of producer snapshots.
    pub(super) snapshots: Vec<i64>,
    /// There is a file of notes about cuts.
    pub(super) has_notes: bool,
    /// There is a file of losses that were accepted.
    pub(super) has_accepted_losses: bool,
}

/// What a directory has, after files of segments that come or go were dealt with.
pub(super) fn list_segments(shared: &Shared, dir: &Path) -> io::Result<Listing> {
    let mut listing = Listing::default();
    let mut entries = shared.fs.read_dir(dir)?;
    if finish_swaps(&*shared.fs, dir, &entries)? {
        entries = shared.fs.read_dir(dir)?;
    }
    for entry in &entries {
        if Suffix::is_deleted(&entry.name) {
            shared.fs.remove_file(&dir.join(&entry.name))?;
        }
        if let Some((SegmentFile::Log, base_offset)) = SegmentFile::parse(&entry.name) {
            listing.sizes.entry(base_offset).or_default().log = entry.len;
        }
    }
    for entry in &entries {
        let Some((kind, base_offset)) = SegmentFile::parse(&entry.name) else {
            continue;
        };
        match kind {
            SegmentFile::Log => continue,
            SegmentFile::ProducerSnapshot => {
                listing.snapshots.push(base_offset);
                continue;
            }
            _ => {}
        }
        let sizes = match listing.sizes.get_mut(&base_offset) {
            Some(sizes) => sizes,
            None => listing.left.entry(base_offset).or_default(),
        };
        match kind {
            SegmentFile::OffsetIndex => sizes.offset_index = entry.len,
            SegmentFile::TimeIndex => sizes.time_index = entry.len,
            SegmentFile::AbortedIndex => sizes.aborted_index = entry.len,
            SegmentFile::Checksums => sizes.has_sidecar = true,
            SegmentFile::Log | SegmentFile::ProducerSnapshot => {}
        }
    }
    let has = |name| entries.iter().any(|entry| entry.name == name);
    listing.has_notes = has(TRUNCATIONS);
    listing.has_accepted_losses = has(ACCEPTED_LOSSES);
    Ok(listing)
}

/// Sizes of segments by their base offsets, and where those of them ended whose batches are gone.
pub(super) type Settled = (BTreeMap<i64, SegmentSizes>, BTreeMap<i64, i64>);

impl Listing {
    /// The segments of the log. `at` tells which must be there: those that hold offsets from the log's start up to the
    /// segment that recovery begins with. Retention takes only those before them, and a compacted one covers those that
    /// it was made of. Those that are gone all the same are among the segments, with what is left of them.
    pub(super) fn settle(
        mut self,
        shared: &Shared,
        dir: &Path,
        at: Option<&LogCheckpoint>,
    ) -> io::Result<Settled> {
        let mut missing = BTreeMap::new();
        // A segment gets its file with its first batch, and a power cut may have taken the file.
        if let Some(at) = at
            && at.segment_size == 0
        {
            self.sizes.entry(at.segment_base).or_default();
        }
        for (base_offset, left) in std::mem::take(&mut self.left).into_iter().rev() {
            let next = self
                .sizes
                .range(base_offset..)
                .next()
                .map(|(next, _)| *next);
            if let (Some(at), Some(next)) = (at, next)
                && base_offset < at.segment_base
                && at.log_start < next
                && self.has_room_for(shared, dir, base_offset, &left)?
            {
                missing.insert(base_offset, next);
                self.sizes.insert(base_offset, left);
            } else {
                // A crash has left it behind. A later segment of this base must not find its entries.
                for kind in SegmentFile::OF_INDEXES {
                    match shared.fs.remove_file(&path_of(dir, base_offset, kind)) {
                        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                        _ => {}
                    }
                }
            }
        }
        if let Some(at) = at {
            self.find_holes(shared, dir, at, &mut missing)?;
        }
        Ok((self.sizes, missing))
    }

    /// Whether a segment may have begun at an offset: the one before it has ended by then, or, when that is not known, what
    /// is left is sound.
    fn has_room_for(
        &self,
        shared: &Shared,
        dir: &Path,
        base_offset: i64,
        left: &SegmentSizes,
    ) -> io::Result<bool> {
        let Some((before, sizes)) = self.sizes.range(..base_offset).next_back() else {
            return Ok(true);
        };
        match end_of(shared, dir, *before, sizes)? {
            Some(end) => Ok(end <= base_offset),
            None if left.has_sidecar => {
                let path = path_of(dir, base_offset, SegmentFile::Checksums);
                Ok(Sidecar::read(&*shared.fs, &path)?.is_some())
            }
            None => Ok(false),
        }
    }

    /// Counts of each rolled segment's file only what is the segment's, and finds segments of which nothing is left at all:
    /// the log begins behind its start, or a segment does not begin where the sidecar of the one before says that it ended.
    fn find_holes(
        &mut self,
        shared: &Shared,
        dir: &Path,
        at: &LogCheckpoint,
        missing: &mut BTreeMap<i64, i64>,
    ) -> io::Result<()> {
        let mut holes = Vec::new();
        let bases: Vec<i64> = self.sizes.keys().copied().collect();
        if let Some(first) = bases.first()
            && at.log_start < *first
            && *first <= at.segment_base
        {
            holes.push((at.log_start, *first));
        }
        for pair in bases.windows(2) {
            let (base, next) = (pair[0], pair[1]);
            if next > at.segment_base || next <= at.log_start {
                continue;
            }
            let sizes = self.sizes.get_mut(&base).expect("it is listed");
            let Some(sidecar) = sidecar_of(shared, dir, base, sizes)? else {
                continue;
            };
            let path = path_of(dir, base, SegmentFile::Log);
            sizes.log = own_bytes(&*shared.fs, &path, sizes.log, &sidecar, next)?;
            if let Some(end) = sidecar.end_at(sizes.log)
                && base < end
                && end < next
            {
                holes.push((end, next));
            }
        }
        for (base, next) in holes {
            self.sizes.entry(base).or_default();
            missing.insert(base, next);
        }
        Ok(())
    }
}

/// The offset that follows a segment's last one, by its sidecar.
fn end_of(
    shared: &Shared,
    dir: &Path,
    base_offset: i64,
    sizes: &SegmentSizes,
) -> io::Result<Option<i64>> {
    let sidecar = sidecar_of(shared, dir, base_offset, sizes)?;
    Ok(sidecar.and_then(|sidecar| sidecar.end_at(sizes.log)))
}

/// A segment's sidecar, if it has a sound one.
fn sidecar_of(
    shared: &Shared,
    dir: &Path,
    base_offset: i64,
    sizes: &SegmentSizes,
) -> io::Result<Option<Sidecar>> {
    match sizes.has_sidecar {
        true => Sidecar::read(
            &*shared.fs,
            &path_of(dir, base_offset, SegmentFile::Checksums),
        ),
        false => Ok(None),
    }
}
