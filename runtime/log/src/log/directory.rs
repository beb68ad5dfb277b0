//! A log's directory as a start finds it: files of segments that come or go are dealt with first.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::replay::sync_snapshot;
use super::{LogCheckpoint, TRUNCATIONS};
use crate::cleaner::finish_swaps;
use crate::segment::{Segment, SegmentFile, SegmentSizes, Suffix, path_of};
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

/// The segments that a directory has, and whether there is a file of notes about cuts.
pub(super) fn list_segments(
    shared: &Shared,
    dir: &Path,
) -> io::Result<(BTreeMap<i64, SegmentSizes>, bool)> {
    let mut found: BTreeMap<i64, SegmentSizes> = BTreeMap::new();
    let mut entries = shared.fs.read_dir(dir)?;
    if finish_swaps(&*shared.fs, dir, &entries)? {
        entries = shared.fs.read_dir(dir)?;
    }
    for entry in &entries {
        if Suffix::is_deleted(&entry.name) {
            shared.fs.remove_file(&dir.join(&entry.name))?;
        }
        if let Some((SegmentFile::Log, base_offset)) = SegmentFile::parse(&entry.name) {
            found.entry(base_offset).or_default().log = entry.len;
        }
    }
    for entry in &entries {
        let Some((kind, base_offset)) = SegmentFile::parse(&entry.name) else {
            continue;
        };
        let is_index = !matches!(kind, SegmentFile::Log | SegmentFile::ProducerSnapshot);
        let Some(sizes) = found.get_mut(&base_offset) else {
            if is_index {
                // A crash has left it behind. A later segment of this base must not find its entries.
                shared.fs.remove_file(&path_of(dir, base_offset, kind))?;
            }
            continue;
        };
        match kind {
            SegmentFile::OffsetIndex => sizes.offset_index = entry.len,
            SegmentFile::TimeIndex => sizes.time_index = entry.len,
            SegmentFile::AbortedIndex => sizes.aborted_index = entry.len,
            SegmentFile::Checksums => sizes.has_sidecar = true,
            SegmentFile::Log | SegmentFile::ProducerSnapshot => {}
        }
    }
    let has_notes = entries.iter().any(|entry| entry.name == TRUNCATIONS);
    Ok((found, has_notes))
}
