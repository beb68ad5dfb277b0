//! What can go wrong with a store.

use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::checkpoint::CheckpointError;
use crate::journal::{JournalError, Lsn};
use crate::log::LogId;
use crate::producer_state::SnapshotError;
use crate::repair::repair_advice;

use super::lost::LostLog;
use super::survey::{FoundLogs, MetadataFault};

/// Damage that was found while a log was recovered, and what was done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub path: PathBuf,
    pub position: u64,
    pub reason: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} at position {}: {}",
            self.path.display(),
            self.position,
            self.reason
        )
    }
}

/// Why a store cannot be opened, changed or closed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{action} {}: {source}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// Another process, or another store of this one, has the directory.
    #[error("the data directory {} is in use by another process", dir.display())]
    Locked { dir: PathBuf },
    /// `meta.properties` names another node or cluster.
    #[error("the data directory {} belongs to {what} {found}, not to {expected}", dir.display())]
    ForeignDirectory {
        dir: PathBuf,
        what: &'static str,
        found: String,
        expected: String,
    },
    /// `meta.properties` is gone from a directory that has been a node's.
    #[error(
        "{} is gone; nothing was changed. Put it back from a copy of the disk; without one, write these lines into it, and clients see another cluster: {}",
        path.display(),
        content.trim_end().replace('\n', ", ")
    )]
    NoOwner { path: PathBuf, content: String },
    /// Partitions are there and nothing that says what they are.
    #[error(
        "{} holds partitions ({logs}) and no {}: they are not this node's, or its checkpoint is lost; nothing was changed. If they are another program's, as a Kafka broker's, give this node a data directory of its own. If they are this node's, put that file back from a copy of the disk",
        dir.display(),
        path.display()
    )]
    NoCheckpoint {
        dir: PathBuf,
        logs: FoundLogs,
        path: PathBuf,
    },
    #[error(
        "{} holds entries and {} is gone: acknowledged records would be lost by going on; nothing was changed. Put that file back from a copy of the disk",
        journal.display(),
        path.display()
    )]
    JournalAlone { journal: PathBuf, path: PathBuf },
    /// The node's logs are known, and the log that says what they are is not there.
    #[error(
        "{} is the directory of a node with partitions, and the cluster's metadata {fault}; nothing was changed. If the partitions are this node's, put {} back from a copy of the disk{}. If they are another program's, give this node a data directory of its own",
        dir.display(),
        path.display(),
        last_resort(fault)
    )]
    NoMetadata {
        dir: PathBuf,
        fault: MetadataFault,
        path: PathBuf,
    },
    #[error(
        "{} and {} both are the directory of one log by their partition.metadata; nothing was changed. One is a copy: move it out of the data directory",
        one.display(),
        other.display()
    )]
    Twins { one: PathBuf, other: PathBuf },
    /// Going on would drop the journal's entries.
    #[error("the journal has records of it that are nowhere else; nothing was changed. {lost}")]
    LostChanges { lost: LostLog },
    /// The log cannot be made, because it is known and not there.
    #[error("{lost}")]
    Lost { lost: LostLog },
    #[error("{0}{advice}", advice = advice(.0))]
    Checkpoint(#[from] CheckpointError),
    /// The node checkpoint is there and cannot be believed; without it, acknowledged records could be dropped.
    #[error("the checkpoint {} is damaged: {reason}; restore it from a copy of the disk", path.display())]
    DamagedCheckpoint { path: PathBuf, reason: String },
    #[error("the producer states of {} cannot be read: {source}", dir.display())]
    Producers { dir: PathBuf, source: SnapshotError },
    /// The journal continues a log behind where its segments and earlier entries end.
    #[error(
        "the journal's entry {lsn} appends to {log} at offset {base_offset}, but the log ends at {log_end}"
    )]
    Gap {
        log: String,
        lsn: Lsn,
        log_end: i64,
        base_offset: i64,
    },
    #[error("{log:?} is not a name that a partition can have")]
    Name { log: String },
    /// A log is known by its topic's id, and its directory by the topic's name: each belongs to one log.
    #[error(
        "{log} of topic {topic_id} is not made: {holder} of topic {holder_id} has its name or its id"
    )]
    Taken {
        log: String,
        topic_id: Uuid,
        holder: String,
        holder_id: Uuid,
    },
    #[error("the journal: {0}")]
    Journal(#[from] JournalError),
    #[error("the store takes no writes any more: {reason}")]
    Poisoned { reason: String },
    #[error("the store is closed")]
    Closed,
}

/// Some of the metadata can be given up; what is gone altogether cannot.
fn last_resort(fault: &MetadataFault) -> String {
    match fault {
        MetadataFault::Damaged { path, .. } => {
            let dir = path.parent().unwrap_or(path);
            format!("; if there is none, {}", repair_advice(dir))
        }
        MetadataFault::Absent { .. } | MetadataFault::Empty { .. } => String::new(),
    }
}

/// What to do about a file that cannot be understood.
fn advice(error: &CheckpointError) -> &'static str {
    match error {
        CheckpointError::Malformed { .. } => "; put the file back from a copy of the disk",
        CheckpointError::Io { .. } => "",
    }
}

impl StoreError {
    pub(super) fn taken(wanted: &LogId, holder: &LogId) -> Self {
        Self::Taken {
            log: wanted.to_string(),
            topic_id: wanted.topic_id,
            holder: holder.to_string(),
            holder_id: holder.topic_id,
        }
    }

    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }
}
