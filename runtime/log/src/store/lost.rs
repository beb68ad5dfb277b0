//! Logs that the node's checkpoint knows and that are not there: they are lost, not new.
//!
//! Nothing is made in a lost log's place, or its offsets would be given twice. The checkpoint keeps its entry until the
//! log is back, or is deleted.

use std::fmt;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::LogKey;
use crate::checkpoint::{CheckpointError, PARTITION_METADATA, PartitionMetadata, id_to_text};
use crate::fs::FileSystem;
use crate::log::LogCheckpoint;

/// A log that is known and not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostLog {
    pub topic_id: Uuid,
    pub partition: i32,
    /// Where it belongs; none when a former version, which noted no names, wrote the checkpoint.
    pub dir: Option<PathBuf>,
    pub fault: DirFault,
    /// The offsets that the checkpoint knows of.
    pub log_start: i64,
    pub log_end: i64,
    pub(super) incarnation: u64,
}

/// Why a directory is not that of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DirFault {
    /// There is no directory.
    Absent,
    /// It has no `partition.metadata`.
    Nameless,
    /// Its `partition.metadata` cannot be understood; `line` counts from 1.
    Unsound { line: usize, reason: String },
    /// Its `partition.metadata` names another topic.
    OtherTopic { topic_id: Uuid },
}

impl LostLog {
    pub(super) fn new(root: &Path, key: &LogKey, topic: Option<&str>, at: &LogCheckpoint) -> Self {
        Self {
            topic_id: key.0,
            partition: key.1,
            dir: topic.map(|topic| root.join(format!("{topic}-{}", key.1))),
            fault: DirFault::Absent,
            log_start: at.log_start,
            log_end: at.recovery_point,
            incarnation: at.incarnation,
        }
    }

    pub(super) fn key(&self) -> LogKey {
        (self.topic_id, self.partition)
    }

    /// The file that has to be put right, or the directory.
    pub fn path(&self) -> Option<PathBuf> {
        let dir = self.dir.as_ref()?;
        Some(match self.fault {
            DirFault::Absent => dir.clone(),
            _ => dir.join(PARTITION_METADATA),
        })
    }
}

impl fmt::Display for LostLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let topic_id = id_to_text(self.topic_id);
        let name = self.dir.as_deref().and_then(Path::file_name);
        match name {
            Some(name) => write!(f, "the log {}", name.to_string_lossy())?,
            None => write!(
                f,
                "the log of partition {} of the topic with id {topic_id}",
                self.partition
            )?,
        }
        write!(
            f,
            ", offsets {} to {}, is known and not there; nothing is made in its place. ",
            self.log_start, self.log_end
        )?;
        let (Some(dir), Some(path)) = (&self.dir, self.path()) else {
            return write!(
                f,
                "No directory has a {PARTITION_METADATA} with that id: put it back from a copy of the disk, and start again"
            );
        };
        let (dir, path) = (dir.display(), path.display());
        match &self.fault {
            DirFault::Absent => {
                return write!(
                    f,
                    "There is no directory {dir}: put it back from a copy of the disk, and start again"
                );
            }
            DirFault::Nameless => write!(f, "There is no {path}")?,
            DirFault::Unsound { line, reason } => {
                write!(f, "{path} is damaged at line {line}: {reason}")?;
            }
            DirFault::OtherTopic { topic_id } => {
                write!(f, "{path} names another topic, {}", id_to_text(*topic_id))?;
            }
        }
        let content = PartitionMetadata {
            topic_id: self.topic_id,
        };
        let lines: Vec<_> = content
            .to_text()
            .lines()
            .map(|line| format!("`{line}`"))
            .collect();
        write!(
            f,
            ". Its content must be the lines {}: write them, and start again",
            lines.join(" and ")
        )
    }
}

/// The topic's id by a log's directory, or what is wrong with the directory.
pub(super) fn topic_id_in(
    fs: &dyn FileSystem,
    dir: &Path,
) -> Result<Result<Uuid, DirFault>, CheckpointError> {
    match PartitionMetadata::read(fs, &dir.join(PARTITION_METADATA)) {
        Ok(Some(PartitionMetadata { topic_id })) => Ok(Ok(topic_id)),
        Ok(None) => Ok(Err(DirFault::Nameless)),
        Err(CheckpointError::Malformed { line, reason, .. }) => {
            Ok(Err(DirFault::Unsound { line, reason }))
        }
        Err(error) => Err(error),
    }
}
