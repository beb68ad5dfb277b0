//! Files read for people and tools: nothing is written, nothing is repaired, a damaged byte is named and stepped over.
//!
//! `segment.rs` walks a `.log`, `entries.rs` and `texts.rs` read the small files beside it, `partition.rs` checks all files
//! of a partition against each other (`missing.rs`: those that are gone), `data_dir.rs` all partitions of a node with its
//! checkpoints and journal.

mod crosscheck;
mod data_dir;
mod entries;
mod missing;
mod partition;
mod segment;
mod texts;

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::checkpoint::{
    HIGH_WATERMARKS, LEADER_EPOCHS, LOG_STARTS, META_PROPERTIES, PARTITION_METADATA,
    RECOVERY_POINTS,
};
use crate::repair::ACCEPTED_LOSSES;
use crate::segment::SegmentFile;
use crate::store::CHECKPOINT_FILE;

pub use data_dir::{Report, verify};
pub use entries::{
    AbortedIndexEntry, LogState, NodeState, OffsetIndexEntry, TimeIndexEntry, read_aborted_index,
    read_node_checkpoint, read_offset_index, read_producer_snapshot, read_time_index,
};
pub use segment::{SegmentPiece, SegmentReader};

/// `cleaner-offset-checkpoint`: up to where compaction has come in each log.
const CLEANER_OFFSETS: &str = "cleaner-offset-checkpoint";

/// The files of a data directory, by their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    Segment,
    OffsetIndex,
    TimeIndex,
    AbortedIndex,
    ProducerSnapshot,
    /// Ours: what a rolled segment's files must add up to.
    Checksums,
    LeaderEpochs,
    PartitionMetadata,
    /// One of Kafka's files with an offset for each partition.
    Offsets,
    /// Ours: what a repair has given up.
    AcceptedLosses,
    /// Ours: the recovery point of every log.
    NodeCheckpoint,
    MetaProperties,
}

impl FileKind {
    /// The kind of a file, and the base offset in its name, if its kind has one.
    pub fn of(path: &Path) -> Option<(FileKind, Option<i64>)> {
        let name = path.file_name()?.to_str()?;
        if let Some((kind, base_offset)) = SegmentFile::parse(name) {
            let kind = match kind {
                SegmentFile::Log => FileKind::Segment,
                SegmentFile::OffsetIndex => FileKind::OffsetIndex,
                SegmentFile::TimeIndex => FileKind::TimeIndex,
                SegmentFile::AbortedIndex => FileKind::AbortedIndex,
                SegmentFile::ProducerSnapshot => FileKind::ProducerSnapshot,
                SegmentFile::Checksums => FileKind::Checksums,
            };
            return Some((kind, Some(base_offset)));
        }
        let kind = match name {
            LEADER_EPOCHS => FileKind::LeaderEpochs,
            PARTITION_METADATA => FileKind::PartitionMetadata,
            ACCEPTED_LOSSES => FileKind::AcceptedLosses,
            RECOVERY_POINTS | HIGH_WATERMARKS | LOG_STARTS | CLEANER_OFFSETS => FileKind::Offsets,
            CHECKPOINT_FILE => FileKind::NodeCheckpoint,
            META_PROPERTIES => FileKind::MetaProperties,
            _ => return None,
        };
        Some((kind, None))
    }
}

/// Bytes that are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    pub path: PathBuf,
    /// Byte in the file; of a text file, where the bad line begins is not known and this is 0.
    pub position: u64,
    /// Offsets that cannot be read because of it; none when the file holds no records.
    pub offsets: Option<Range<i64>>,
    pub reason: String,
}

impl Damage {
    fn new(path: &Path, position: u64, reason: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            position,
            offsets: None,
            reason: reason.into(),
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, position) = (self.path.display(), self.position);
        write!(f, "{path} at position {position}: {}", self.reason)?;
        match &self.offsets {
            Some(offsets) if offsets.end == i64::MAX => {
                write!(f, "; offsets from {} on cannot be read", offsets.start)
            }
            Some(offsets) if !offsets.is_empty() => write!(
                f,
                "; offsets {} to {} cannot be read",
                offsets.start,
                offsets.end - 1
            ),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
