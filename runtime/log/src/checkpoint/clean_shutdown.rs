//! `.kafka_cleanshutdown` at the root: the last thing a clean shutdown writes, and the first that
//! a start deletes.

use std::io;
use std::path::Path;

use super::{CheckpointError, write_atomically};
use crate::fs::FileSystem;

/// The file's name.
pub const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";

/// The marker of a clean shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanShutdown {
    /// Kafka's broker epoch; -1 when it is not known.
    pub broker_epoch: i64,
}

impl CleanShutdown {
    /// Whether the marker is there. What it says does not matter: that it is there does.
    pub fn exists(fs: &dyn FileSystem, path: &Path) -> Result<bool, CheckpointError> {
        fs.exists(path)
            .map_err(CheckpointError::io("looking for", path))
    }

    /// Deletes the marker, durably, so that a crash from now on is seen as one.
    pub fn delete(fs: &dyn FileSystem, path: &Path) -> Result<(), CheckpointError> {
        match fs.remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(CheckpointError::io("deleting", path)(error)),
            Ok(()) => {}
        }
        let dir = path.parent().unwrap_or(Path::new("."));
        fs.sync_dir(dir)
            .map_err(CheckpointError::io("syncing", dir))
    }

    /// Writes the marker.
    pub fn write(&self, fs: &dyn FileSystem, path: &Path) -> Result<(), CheckpointError> {
        let text = format!("{{\"version\":0,\"brokerEpoch\":{}}}", self.broker_epoch);
        write_atomically(fs, path, text.as_bytes())
    }
}
