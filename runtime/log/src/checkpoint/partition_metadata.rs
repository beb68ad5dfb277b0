//! `partition.metadata` of a partition: its topic's id.

use std::path::Path;

use uuid::Uuid;

use super::{CheckpointError, id_from_text, id_to_text, read_pairs, write_atomically};
use crate::fs::FileSystem;

/// The file's name in the partition's directory.
pub const PARTITION_METADATA: &str = "partition.metadata";

/// What the file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionMetadata {
    pub topic_id: Uuid,
}

impl PartitionMetadata {
    /// Reads the file; `None` when it does not exist.
    pub fn read(
        fs: &dyn FileSystem,
        path: &Path,
    ) -> Result<Option<PartitionMetadata>, CheckpointError> {
        let Some(pairs) = read_pairs(fs, path, ':')? else {
            return Ok(None);
        };
        let mut topic_id = None;
        for (line, key, value) in pairs {
            let malformed = |reason| CheckpointError::malformed(path, line, reason);
            match (key.as_str(), value.as_str()) {
                ("version", "0") => {}
                ("version", _) => return Err(malformed("only version 0 is known")),
                ("topic_id", text) => {
                    let id = id_from_text(text).ok_or_else(|| malformed("not a topic id"))?;
                    topic_id = Some(id);
                }
                _ => return Err(malformed("an unknown key")),
            }
        }
        match topic_id {
            Some(topic_id) => Ok(Some(PartitionMetadata { topic_id })),
            None => Err(CheckpointError::malformed(path, 1, "`topic_id` is missing")),
        }
    }

    /// Replaces the file.
    pub fn write(&self, fs: &dyn FileSystem, path: &Path) -> Result<(), CheckpointError> {
        write_atomically(fs, path, self.to_text().as_bytes())
    }

    /// What the file holds.
    pub fn to_text(&self) -> String {
        format!("version: 0\ntopic_id: {}", id_to_text(self.topic_id))
    }
}
