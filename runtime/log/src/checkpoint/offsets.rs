//! `recovery-point-offset-checkpoint`, `replication-offset-checkpoint`, `log-start-offset-checkpoint` and
//! `cleaner-offset-checkpoint`: one offset for each partition of the node.
//!
//! ```text
//! 0                    version
//! 2                    number of entries
//! flights 0 1200       topic, partition, offset
//! flights 1 1180
//! ```

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use super::{CheckpointError, read_entries, write_atomically};
use crate::fs::FileSystem;

/// Up to where each log is known to be synced.
pub const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";
/// The high watermark of each log.
pub const HIGH_WATERMARKS: &str = "replication-offset-checkpoint";
/// The first offset of each log, where it is not that of its first segment.
pub const LOG_STARTS: &str = "log-start-offset-checkpoint";

/// Up to where each log was compacted.
pub const CLEANED_OFFSETS: &str = "cleaner-offset-checkpoint";

/// Offsets by topic name and partition.
pub type OffsetMap = BTreeMap<(String, i32), i64>;

/// Reads one of these files; `None` when it does not exist.
pub fn read_offsets(
    fs: &dyn FileSystem,
    path: &Path,
) -> Result<Option<OffsetMap>, CheckpointError> {
    let Some(lines) = read_entries(fs, path)? else {
        return Ok(None);
    };
    let mut offsets = OffsetMap::new();
    for (index, line) in lines.iter().enumerate() {
        let line_number = index + 3;
        let malformed = |reason| CheckpointError::malformed(path, line_number, reason);
        let (topic, partition, offset) =
            parse(line).ok_or_else(|| malformed("expected `topic partition offset`"))?;
        if offsets.insert((topic, partition), offset).is_some() {
            return Err(malformed("the partition is there twice"));
        }
    }
    Ok(Some(offsets))
}

/// Replaces one of these files.
pub fn write_offsets(
    fs: &dyn FileSystem,
    path: &Path,
    offsets: &OffsetMap,
) -> Result<(), CheckpointError> {
    let mut text = format!("0\n{}\n", offsets.len());
    for ((topic, partition), offset) in offsets {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{topic} {partition} {offset}");
    }
    write_atomically(fs, path, text.as_bytes())
}

fn parse(line: &str) -> Option<(String, i32, i64)> {
    let mut words = line.split_whitespace();
    let topic = words.next()?.to_owned();
    let partition = words.next()?.parse().ok()?;
    let offset = words.next()?.parse().ok()?;
    words.next().is_none().then_some((topic, partition, offset))
}
