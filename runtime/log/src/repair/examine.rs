//! The damage of a log, shown and left as it is.

use std::io;
use std::path::{Path, PathBuf};

use super::{AcceptedLoss, Loss, RepairError, RepairTarget, check_log_exists};
use crate::checkpoint::{CLEAN_SHUTDOWN, CleanShutdown, PARTITION_METADATA, PartitionMetadata};
use crate::fs::FileSystem;
use crate::inspect::{self, SegmentPiece, SegmentReader};
use crate::segment::{SegmentFile, path_of};
use crate::store::{NodeCheckpoint, split_name};

/// What a repair would meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examination {
    /// By rising offsets.
    pub losses: Vec<Loss>,
    /// What earlier repairs have given up.
    pub accepted: Vec<AcceptedLoss>,
    /// A node has the directory open. The end of the log was left out.
    pub is_open: bool,
}

/// Looks for what a repair would give up. Nothing is changed, and a node may run. What the journal of a node that was
/// killed will write again is not counted as damage.
///
/// # Errors
/// There is no such log, or its files cannot be read.
pub fn examine(target: &RepairTarget) -> Result<Examination, RepairError> {
    check_log_exists(target)?;
    let dir = target.dir.join(&target.log);
    let io = |source| RepairError::io("reading", &dir, source);
    let report = inspect::verify(&target.fs, &dir, false).map_err(io)?;
    let redone_from = match report.is_open {
        true => None,
        false => redone_from(target, &dir)?,
    };
    let mut losses = Vec::new();
    for damage in report.damages {
        let Some(offsets) = damage.offsets.filter(|offsets| !offsets.is_empty()) else {
            continue;
        };
        if redone_from.is_some_and(|from| offsets.start >= from) {
            continue;
        }
        let mut loss = Loss {
            path: damage.path,
            position: damage.position,
            offsets,
            reason: damage.reason,
            before_ms: None,
            after_ms: None,
        };
        loss.find_times(&*target.fs).map_err(io)?;
        losses.push(loss);
    }
    losses.sort_by_key(|loss| loss.offsets.start);
    Ok(Examination {
        losses,
        accepted: report.accepted.into_iter().map(|(_, loss)| loss).collect(),
        is_open: report.is_open,
    })
}

/// Where a start after a kill believes no file any more: the journal has what follows, or nothing has. None when the
/// node was closed.
fn redone_from(target: &RepairTarget, dir: &Path) -> Result<Option<i64>, RepairError> {
    let fs = &*target.fs;
    if CleanShutdown::exists(fs, &target.dir.join(CLEAN_SHUTDOWN))? {
        return Ok(None);
    }
    let metadata = PartitionMetadata::read(fs, &dir.join(PARTITION_METADATA));
    let checkpoint = NodeCheckpoint::read(fs, &target.dir)?;
    let partition = split_name(&target.log).map(|(_, partition)| partition);
    let (Ok(Some(metadata)), Some(checkpoint), Some(partition)) = (metadata, checkpoint, partition)
    else {
        return Ok(None);
    };
    let known = checkpoint.get(&(metadata.topic_id, partition));
    Ok(known.map(|known| known.recovery_point))
}

impl Loss {
    /// Finds the timestamps of the sound batches around, which may lie in the neighbouring segments.
    pub(super) fn find_times(&mut self, fs: &dyn FileSystem) -> io::Result<()> {
        let Some(dir) = self.path.parent() else {
            return Ok(());
        };
        let mut bases: Vec<i64> = fs
            .read_dir(dir)?
            .iter()
            .filter_map(|entry| match SegmentFile::parse(&entry.name) {
                Some((SegmentFile::Log, base)) => Some(base),
                _ => None,
            })
            .collect();
        bases.sort_unstable();
        let after = bases.partition_point(|base| *base <= self.offsets.start);
        let path = |base: &i64| -> PathBuf { path_of(dir, *base, SegmentFile::Log) };
        for base in bases[..after].iter().rev() {
            let (before, behind) = times_in(fs, &path(base), &self.offsets)?;
            self.before_ms = before;
            self.after_ms = self.after_ms.or(behind);
            if before.is_some() {
                break;
            }
        }
        for base in &bases[after..] {
            if self.after_ms.is_some() {
                break;
            }
            self.after_ms = times_in(fs, &path(base), &self.offsets)?.1;
        }
        Ok(())
    }
}

/// The greatest timestamp of the last batch before the offsets in a segment, and the timestamp of the first one behind.
/// Batches without one do not count.
fn times_in(
    fs: &dyn FileSystem,
    path: &Path,
    offsets: &std::ops::Range<i64>,
) -> io::Result<(Option<i64>, Option<i64>)> {
    let mut reader = match SegmentReader::open(fs, path) {
        Ok(reader) => reader,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((None, None)),
        Err(error) => return Err(error),
    };
    let mut before = None;
    while let Some(piece) = reader.next_piece()? {
        let SegmentPiece::Batch { header, .. } = piece else {
            continue;
        };
        if header.max_timestamp < 0 {
            continue;
        }
        if header.base_offset >= offsets.end {
            return Ok((before, Some(header.base_timestamp)));
        }
        if header.next_offset() <= offsets.start {
            before = Some(header.max_timestamp);
        }
    }
    Ok((before, None))
}
