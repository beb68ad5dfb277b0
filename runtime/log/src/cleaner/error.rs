//! Why a log could not be compacted.

use std::io;
use std::path::{Path, PathBuf};

use crate::checkpoint::CheckpointError;

/// A pass that failed. The log is as before, or compacted in part, and its records are all readable. The partition
/// counts as uncleanable and is tried again later.
#[derive(Debug, thiserror::Error)]
pub enum CleanError {
    /// The keys of the oldest dirty segment do not fit into a thread's offset map.
    #[error(
        "the offset map has {budget_bytes} bytes, room for {keys_max} keys, and the segment of {partition} at offset \
         {segment_base} may need {needed_bytes}: raise log.cleaner.dedupe.buffer.size, or lower log.cleaner.threads"
    )]
    MapTooSmall {
        partition: String,
        segment_base: i64,
        /// What is enough for all keys of the segment, be they all different.
        needed_bytes: u64,
        /// What a thread may use.
        budget_bytes: u64,
        keys_max: u64,
    },
    /// No sound batch begins there.
    #[error("{} is damaged at position {position}: {reason}", path.display())]
    Damaged {
        path: PathBuf,
        position: u64,
        reason: String,
    },
    /// An earlier swap could not give all files in this directory their names. It is tried again every second.
    #[error("files of an earlier swap in {} still wait for their names: {source}", path.display())]
    UnfinishedSwap { path: PathBuf, source: io::Error },
    /// A bug, of which this log alone suffers.
    #[error("compaction of {partition} has panicked: {message}")]
    Panicked { partition: String, message: String },
    #[error("{action} {}: {source}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

impl CleanError {
    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }
}
