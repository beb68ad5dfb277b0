//! Segments that are gone, by what the other files and the checkpoint say.

use std::path::Path;

use super::Damage;
use super::data_dir::Report;
use super::partition::{Known, Segments};
use crate::segment::{SegmentFile, path_of};

pub(super) fn report_missing(dir: &Path, known: &Known, segments: &Segments, report: &mut Report) {
    // Base offsets of the segments whose batches are there.
    let batches = || {
        segments
            .iter()
            .filter(|(_, kinds)| kinds.contains(&SegmentFile::Log))
            .map(|(base, _)| base)
    };
    if known.is_closed {
        for (base_offset, kinds) in segments {
            let has_index = kinds
                .iter()
                .any(|kind| !matches!(kind, SegmentFile::Log | SegmentFile::ProducerSnapshot));
            if has_index && !kinds.contains(&SegmentFile::Log) {
                let next = batches().find(|next| **next > *base_offset).copied();
                let end = next.or(known.offsets.as_ref().map(|offsets| offsets.end));
                push_once(report, missing(dir, *base_offset, end));
            }
        }
    }
    if let (Some(log_start), Some(first)) = (known.log_start, batches().next())
        && log_start < *first
    {
        push_once(report, missing(dir, log_start, Some(*first)));
    }
    if let Some((base, size)) = known.synced
        && size > 0
        && !batches().any(|one| *one == base)
    {
        push_once(report, missing(dir, base, known.synced_end));
    }
}

/// Several signs tell of the same missing segment.
fn push_once(report: &mut Report, damage: Damage) {
    let is_known = |one: &Damage| one.path == damage.path && one.position == damage.position;
    if !report.damages.iter().any(is_known) {
        report.damages.push(damage);
    }
}

/// `end`: the offset that follows the segment's last one, as far as it is known.
pub(super) fn missing(dir: &Path, base_offset: i64, end: Option<i64>) -> Damage {
    let path = path_of(dir, base_offset, SegmentFile::Log);
    Damage {
        offsets: end.map(|end| base_offset..end),
        ..Damage::new(&path, 0, "the segment is missing")
    }
}
