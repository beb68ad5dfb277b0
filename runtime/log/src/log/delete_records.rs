//! Records that are deleted on request: Kafka's DeleteRecords.

use super::{AppendError, Log};
use crate::journal::Lsn;

/// What a request to delete records came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeletedRecords {
    /// The log's start now: Kafka's low watermark of the answer.
    pub log_start: i64,
    /// Wait for this with [`Log::flushed`] before the answer is given.
    pub lsn: Lsn,
}

/// Why records cannot be deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeleteRecordsError {
    /// The offset is negative, or above the high watermark.
    #[error("offset {offset} is out of range, records can be deleted up to {high_watermark}")]
    OffsetOutOfRange { offset: i64, high_watermark: i64 },
    /// `cleanup.policy` has no `delete`.
    #[error("the cleanup policy of {log} does not allow that records are deleted")]
    Policy { log: String },
    #[error(transparent)]
    Append(#[from] AppendError),
}

impl Log {
    /// Deletes the records below `offset`, or below the high watermark when it is [`Log::HIGH_WATERMARK`]. They are out
    /// of range at once; the segments that lie wholly below go with the next retention. Durable when the entry of the
    /// journal is; in `FlushMode::Os` with the next checkpoint, as in Kafka.
    pub fn delete_records(&self, offset: i64) -> Result<DeletedRecords, DeleteRecordsError> {
        if !self.config().cleanup.delete {
            return Err(DeleteRecordsError::Policy {
                log: self.id.to_string(),
            });
        }
        // It never goes back, so what is allowed now is so later.
        let high_watermark = self.offsets().high_watermark;
        let to = match offset {
            Self::HIGH_WATERMARK => high_watermark,
            offset => offset,
        };
        if !(0..=high_watermark).contains(&to) {
            return Err(DeleteRecordsError::OffsetOutOfRange {
                offset,
                high_watermark,
            });
        }
        let lsn = self.advance_log_start(to)?;
        Ok(DeletedRecords {
            log_start: self.offsets().log_start,
            lsn,
        })
    }

    /// Stands for the high watermark in [`Log::delete_records`].
    pub const HIGH_WATERMARK: i64 = -1;
}
