//! Whether the log that says what all others are is there and whole.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::Survey;
use super::journal::JournalChanges;
use crate::FlushMode;
use crate::fs::FileSystem;
use crate::inspect::{SegmentPiece, SegmentReader};
use crate::log::LogId;
use crate::segment::{SegmentFile, path_of};
use crate::store::StoreError;
use crate::store::node_checkpoint::NodeCheckpoint;

/// What is wrong with the metadata log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetadataFault {
    /// There is no directory.
    Absent { dir: PathBuf },
    /// It holds no record.
    Empty { dir: PathBuf },
    /// A record that the node's checkpoint knows cannot be read.
    Damaged {
        path: PathBuf,
        position: u64,
        reason: String,
    },
}

impl fmt::Display for MetadataFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent { dir } => write!(f, "are gone: there is no directory {}", dir.display()),
            Self::Empty { dir } => write!(f, "are gone: {} holds no record", dir.display()),
            Self::Damaged {
                path,
                position,
                reason,
            } => write!(
                f,
                "are damaged: {} at position {position}: {reason}",
                path.display()
            ),
        }
    }
}

impl MetadataFault {
    /// What has to be put back.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Absent { dir } | Self::Empty { dir } => dir,
            Self::Damaged { path, .. } => path,
        }
    }
}

/// What is wrong with the metadata log `id`, if anything is.
pub(super) fn fault(
    fs: &dyn FileSystem,
    survey: &Survey,
    id: &LogId,
    checkpoint: &NodeCheckpoint,
    changes: &JournalChanges,
) -> Result<Option<MetadataFault>, StoreError> {
    let key = (id.topic_id, id.partition);
    // Then it is made anew, whatever the directory has.
    if changes.has_created(&key) && changes.has_any_change(&key) {
        return Ok(None);
    }
    let dir = survey.root.join(id.to_string());
    if !survey.logs.iter().any(|log| log.path == dir) {
        return Ok(Some(MetadataFault::Absent { dir }));
    }
    let at = checkpoint.get(&key);
    let io = |source| StoreError::io("reading", &dir, source);
    if let Some(at) = at.filter(|at| at.recovery_point > 0) {
        return find_damage(fs, &dir, at.log_start, at.recovery_point).map_err(io);
    }
    let is_journaled = checkpoint.flush == FlushMode::Journal && !survey.was_clean;
    let has_records = match is_journaled {
        // What the files have counts only as far as one of the two knows it.
        true => at.is_some() && changes.has_any_change(&key),
        false => begins(fs, &dir).map_err(io)?,
    };
    Ok((!has_records).then_some(MetadataFault::Empty { dir }))
}

/// The segments' base offsets, in order.
fn bases(fs: &dyn FileSystem, dir: &Path) -> io::Result<Vec<i64>> {
    let mut bases: Vec<i64> = fs
        .read_dir(dir)?
        .iter()
        .filter_map(|entry| match SegmentFile::parse(&entry.name) {
            Some((SegmentFile::Log, base)) => Some(base),
            _ => None,
        })
        .collect();
    bases.sort_unstable();
    Ok(bases)
}

/// Whether a sound batch stands at the beginning.
fn begins(fs: &dyn FileSystem, dir: &Path) -> io::Result<bool> {
    let Some(base) = bases(fs, dir)?.first().copied() else {
        return Ok(false);
    };
    let mut reader = SegmentReader::open(fs, &path_of(dir, base, SegmentFile::Log))?;
    Ok(matches!(
        reader.next_piece()?,
        Some(SegmentPiece::Batch { .. })
    ))
}

/// The first offset from `start` up to `end` that is not in a sound batch at its place.
fn find_damage(
    fs: &dyn FileSystem,
    dir: &Path,
    start: i64,
    end: i64,
) -> io::Result<Option<MetadataFault>> {
    let mut expected = start;
    let (mut path, mut position) = (path_of(dir, start, SegmentFile::Log), 0);
    for base in bases(fs, dir)? {
        path = path_of(dir, base, SegmentFile::Log);
        position = 0;
        let mut reader = SegmentReader::open(fs, &path)?;
        while expected < end {
            let (header, at) = match reader.next_piece()? {
                None => break,
                Some(SegmentPiece::Batch { position, header }) => (header, position),
                Some(SegmentPiece::Damage { damage, .. }) => {
                    return Ok(Some(MetadataFault::Damaged {
                        path,
                        position: damage.position,
                        reason: damage.reason,
                    }));
                }
            };
            let next = header.next_offset();
            if next > expected && header.base_offset > expected {
                let reason = format!("offset {expected} should stand here");
                return Ok(Some(MetadataFault::Damaged {
                    path,
                    position: at,
                    reason,
                }));
            }
            expected = expected.max(next);
            position = at + header.size_in_bytes() as u64;
        }
    }
    Ok((expected < end).then(|| MetadataFault::Damaged {
        path,
        position,
        reason: format!("offsets {expected} to {} are not there", end - 1),
    }))
}
