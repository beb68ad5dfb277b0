//! The small text files of a data directory, in Kafka's formats. Each is replaced as a whole:
//! written beside as `.tmp`, synced, renamed, and the directory synced.

mod clean_shutdown;
mod leader_epochs;
mod meta_properties;
mod offsets;
mod partition_metadata;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use crate::failpoint;
use crate::fs::{FileSystem, OpenMode};

pub use clean_shutdown::{CLEAN_SHUTDOWN, CleanShutdown};
pub use leader_epochs::{
    EpochStart, LEADER_EPOCHS, leader_epochs_text, read_leader_epochs, write_leader_epochs,
};
pub use meta_properties::{META_PROPERTIES, MetaProperties};
pub use offsets::{
    CLEANED_OFFSETS, HIGH_WATERMARKS, LOG_STARTS, OffsetMap, RECOVERY_POINTS, read_offsets,
    write_offsets,
};
pub use partition_metadata::{PARTITION_METADATA, PartitionMetadata};

/// No checkpoint is larger than this (some 500,000 partitions).
const FILE_BYTES_MAX: u64 = 64 << 20;

/// A checkpoint that cannot be read or written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CheckpointError {
    #[error("{action} {}: {source}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        source: Arc<io::Error>,
    },
    /// `line` counts from 1.
    #[error("{} is damaged at line {line}: {reason}", path.display())]
    Malformed {
        path: PathBuf,
        line: usize,
        reason: String,
    },
}

impl CheckpointError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CheckpointError {
        move |source| CheckpointError::Io {
            action,
            path: path.to_owned(),
            source: Arc::new(source),
        }
    }

    fn malformed(path: &Path, line: usize, reason: impl Into<String>) -> CheckpointError {
        CheckpointError::Malformed {
            path: path.to_owned(),
            line,
            reason: reason.into(),
        }
    }
}

/// Replaces the file: after a crash it is the old one or the new one, whole.
pub fn write_atomically(
    fs: &dyn FileSystem,
    path: &Path,
    bytes: &[u8],
) -> Result<(), CheckpointError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    let io = CheckpointError::io;
    let file = fs
        .open(&temporary, OpenMode::Create)
        .map_err(io("creating", &temporary))?;
    file.set_len(0)
        .and_then(|()| file.write_at(bytes, 0))
        .map_err(io("writing", &temporary))?;
    file.sync_all().map_err(io("syncing", &temporary))?;
    failpoint::check("checkpoint.before_rename").map_err(io("renaming", &temporary))?;
    fs.rename(&temporary, path)
        .map_err(io("renaming", &temporary))?;
    let dir = path.parent().unwrap_or(Path::new("."));
    fs.sync_dir(dir).map_err(io("syncing", dir))
}

/// The lines of a text file; `None` when there is no such file.
fn read_lines(fs: &dyn FileSystem, path: &Path) -> Result<Option<Vec<String>>, CheckpointError> {
    let bytes = match fs.read(path, FILE_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(CheckpointError::io("reading", path)(error)),
    };
    let text = String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        CheckpointError::malformed(path, line, "not UTF-8")
    })?;
    Ok(Some(text.lines().map(str::to_owned).collect()))
}

/// The lines after the two that head Kafka's checkpoints: the version, 0, and the number of entries.
fn read_entries(fs: &dyn FileSystem, path: &Path) -> Result<Option<Vec<String>>, CheckpointError> {
    let Some(mut lines) = read_lines(fs, path)? else {
        return Ok(None);
    };
    let malformed = |line, reason| CheckpointError::malformed(path, line, reason);
    if lines.first().map(|line| line.trim()) != Some("0") {
        return Err(malformed(1, "expected version 0".to_owned()));
    }
    let count: usize = lines
        .get(1)
        .and_then(|line| line.trim().parse().ok())
        .ok_or_else(|| malformed(2, "expected the number of entries".to_owned()))?;
    let found = lines.len() - 2;
    if count != found {
        let reason = format!("{count} entries are announced, {found} are there");
        return Err(malformed(2, reason));
    }
    lines.drain(..2);
    Ok(Some(lines))
}

/// A line, counted from 1, with its key and value.
type Pair = (usize, String, String);

/// The pairs of a file of Java properties or of `key: value` lines, with their line numbers.
fn read_pairs(
    fs: &dyn FileSystem,
    path: &Path,
    separator: char,
) -> Result<Option<Vec<Pair>>, CheckpointError> {
    let Some(lines) = read_lines(fs, path)? else {
        return Ok(None);
    };
    let mut pairs = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let (key, value) = line.split_once(separator).ok_or_else(|| {
            CheckpointError::malformed(path, index + 1, format!("expected `key{separator}value`"))
        })?;
        pairs.push((index + 1, key.trim().to_owned(), value.trim().to_owned()));
    }
    Ok(Some(pairs))
}

/// Kafka's text form of an id: 16 bytes in URL-safe base64 without padding.
pub fn id_to_text(id: Uuid) -> String {
    URL_SAFE_NO_PAD.encode(id.as_bytes())
}

/// Reads Kafka's text form of an id.
pub fn id_from_text(text: &str) -> Option<Uuid> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    Uuid::from_slice(&bytes).ok()
}

#[cfg(test)]
mod tests;
