//! `leader-epoch-checkpoint` of a partition: where each leader epoch began.
//!
//! ```text
//! 0            version
//! 2            number of entries
//! 0 0          epoch, first offset
//! 3 1200
//! ```

use std::fmt::Write;
use std::path::Path;

use super::{CheckpointError, read_entries, write_atomically};
use crate::fs::FileSystem;

/// The file's name in the partition's directory.
pub const LEADER_EPOCHS: &str = "leader-epoch-checkpoint";

/// The first offset that a leader epoch wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochStart {
    pub epoch: i32,
    pub start_offset: i64,
}

/// Reads the file; `None` when it does not exist. Epochs rise strictly, offsets do not fall.
pub fn read_leader_epochs(
    fs: &dyn FileSystem,
    path: &Path,
) -> Result<Option<Vec<EpochStart>>, CheckpointError> {
    let Some(lines) = read_entries(fs, path)? else {
        return Ok(None);
    };
    let mut epochs: Vec<EpochStart> = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let malformed = |reason| CheckpointError::malformed(path, index + 3, reason);
        let entry = parse(line).ok_or_else(|| malformed("expected `epoch offset`"))?;
        let in_order = epochs
            .last()
            .is_none_or(|last| last.epoch < entry.epoch && last.start_offset <= entry.start_offset);
        if !in_order {
            return Err(malformed("epochs and offsets must rise"));
        }
        epochs.push(entry);
    }
    Ok(Some(epochs))
}

/// Replaces the file.
pub fn write_leader_epochs(
    fs: &dyn FileSystem,
    path: &Path,
    epochs: &[EpochStart],
) -> Result<(), CheckpointError> {
    write_atomically(fs, path, leader_epochs_text(epochs).as_bytes())
}

/// What the file holds.
pub fn leader_epochs_text(epochs: &[EpochStart]) -> String {
    let mut text = format!("0\n{}\n", epochs.len());
    for entry in epochs {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{} {}", entry.epoch, entry.start_offset);
    }
    text
}

fn parse(line: &str) -> Option<EpochStart> {
    let (epoch, start_offset) = line.trim().split_once(' ')?;
    Some(EpochStart {
        epoch: epoch.parse().ok()?,
        start_offset: start_offset.trim().parse().ok()?,
    })
}
