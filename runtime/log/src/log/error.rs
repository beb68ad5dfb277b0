//! Why a log refuses an append or a read.

use std::io;
use std::path::PathBuf;

use millstream_records::BatchError;

use super::AppendOrigin;
use crate::journal::JournalError;
use crate::producer_state::ProducerError;

/// Nothing of a refused append is in the log.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The bytes are not sound record batches, or not what a client may send.
    #[error("the record batch is not valid: {0}")]
    Batch(#[from] BatchError),
    /// There is no batch in the bytes.
    #[error("there is no record batch in the bytes")]
    Empty,
    /// `LogConfig::writers` leaves this origin out.
    #[error("{log} is the node's own and takes nothing from {origin}")]
    NotAdmitted { log: String, origin: AppendOrigin },
    /// A batch is larger than `max.message.bytes`, or all of them than `segment.bytes`.
    #[error("{size} bytes are more than the {max} that the setting {setting} allows")]
    TooLarge {
        size: usize,
        max: usize,
        setting: &'static str,
    },
    /// A client's timestamp is too far from the clock.
    #[error(
        "timestamp {timestamp} is too far from the clock, {now_ms}; the setting {setting} allows {allowed_ms} ms"
    )]
    Timestamp {
        timestamp: i64,
        now_ms: i64,
        allowed_ms: i64,
        setting: &'static str,
    },
    /// The rules for producers and transactions.
    #[error(transparent)]
    Producer(#[from] ProducerError),
    /// A newer leader epoch has written already.
    #[error("leader epoch {found} is older than {current}, which has written already")]
    StaleLeaderEpoch { current: i32, found: i32 },
    /// The log has no offsets left.
    #[error("the log has no offsets left after {log_end}")]
    NoOffsetsLeft { log_end: i64 },
    /// The log was deleted.
    #[error("the log was deleted")]
    Deleted,
    /// The store is closed or closing.
    #[error("the log is closed")]
    Closed,
    /// There is no room on the disk; the log is as before, and takes appends again when there is room.
    #[error("no room for {}: {reason}", path.display())]
    Full { path: PathBuf, reason: String },
    /// The segment file could not be written; the log is as before.
    #[error("writing {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// A flush failed before: the node takes no writes until it is restarted.
    #[error("the node takes no writes any more: {reason}")]
    Poisoned { reason: String },
    /// The journal refused the append for another reason.
    #[error(transparent)]
    Journal(JournalError),
}

impl AppendError {
    /// Whether the store itself tells, when it begins, why appends like this one are refused.
    pub fn is_of_the_node(&self) -> bool {
        matches!(
            self,
            Self::Full { .. } | Self::Poisoned { .. } | Self::Closed
        )
    }

    pub(super) fn write(path: PathBuf, source: io::Error) -> Self {
        if is_full(&source) {
            Self::Full {
                path,
                reason: source.to_string(),
            }
        } else {
            Self::Io { path, source }
        }
    }

    pub(super) fn journal(path: PathBuf, error: JournalError) -> Self {
        match error {
            JournalError::Poisoned { reason } => Self::Poisoned {
                reason: reason.to_string(),
            },
            JournalError::Full { reason } => Self::Full {
                path,
                reason: reason.to_string(),
            },
            JournalError::Closed => Self::Closed,
            other => Self::Journal(other),
        }
    }
}

/// Whether an error means that the disk or the quota is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Why nothing could be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The offset is below the log's start or above its end.
    #[error("offset {offset} is out of range, the log has {log_start}..{log_end}")]
    OffsetOutOfRange {
        offset: i64,
        log_start: i64,
        log_end: i64,
    },
    /// The stored bytes are damaged. They are not served.
    #[error("{} is corrupt at position {position}: {reason}", path.display())]
    Corrupt {
        path: PathBuf,
        position: u64,
        reason: String,
    },
    #[error("reading {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// The log was deleted.
    #[error("the log was deleted")]
    Deleted,
}
