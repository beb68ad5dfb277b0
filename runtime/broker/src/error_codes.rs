//! The one place where internal errors become Kafka's error codes. Every match is exhaustive on purpose: a new error
//! does not compile before somebody has decided what a client is told.

use millstream_cluster::{QuorumError, SubmitError, TopicError};
use millstream_log::{AppendError, DeleteRecordsError, ProducerError, ReadError, StoreError};
use millstream_records::{BatchError, DecompressError};
use millstream_wire::ErrorCode;

/// A record batch that is not sound.
pub(crate) fn batch_error(error: &BatchError) -> ErrorCode {
    match error {
        // Damage on the way: clients send the batch again.
        BatchError::TooShort { .. }
        | BatchError::TrailingBytes { .. }
        | BatchError::Length { .. }
        | BatchError::Crc { .. } => ErrorCode::CorruptMessage,
        BatchError::Magic { .. } => ErrorCode::UnsupportedForMessageFormat,
        // As Kafka. The checksum holds, so it helps nobody to send such a batch again.
        BatchError::UnknownCompression { .. }
        | BatchError::Decompress(DecompressError::Corrupt { .. }) => ErrorCode::UnknownServerError,
        BatchError::Decompress(DecompressError::TooLarge { .. }) => ErrorCode::MessageTooLarge,
        // The checksum holds, so the client itself has written nonsense.
        BatchError::Field { .. }
        | BatchError::Count { .. }
        | BatchError::CountBeyondBytes { .. }
        | BatchError::Record { .. }
        | BatchError::TrailingRecordBytes { .. }
        | BatchError::Control { .. } => ErrorCode::InvalidRecord,
    }
}

/// An append that a log refused.
pub(crate) fn append_error(error: &AppendError) -> ErrorCode {
    match error {
        AppendError::Batch(error) => batch_error(error),
        AppendError::Empty => ErrorCode::InvalidRecord,
        AppendError::NotAdmitted { .. } => ErrorCode::InvalidTopicException,
        AppendError::TooLarge { setting, .. } if *setting == "segment.bytes" => {
            ErrorCode::RecordListTooLarge
        }
        AppendError::TooLarge { .. } => ErrorCode::MessageTooLarge,
        AppendError::Timestamp { .. } => ErrorCode::InvalidTimestamp,
        AppendError::Producer(error) => producer_error(error),
        AppendError::StaleLeaderEpoch { .. } | AppendError::Closed => {
            ErrorCode::NotLeaderOrFollower
        }
        AppendError::Deleted => ErrorCode::UnknownTopicOrPartition,
        AppendError::NoOffsetsLeft { .. } => ErrorCode::UnknownServerError,
        AppendError::Full { .. }
        | AppendError::Io { .. }
        | AppendError::Poisoned { .. }
        | AppendError::Journal(_) => ErrorCode::KafkaStorageError,
    }
}

fn producer_error(error: &ProducerError) -> ErrorCode {
    match error {
        ProducerError::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
        ProducerError::StaleEpoch { .. } => ErrorCode::InvalidProducerEpoch,
        ProducerError::NotTransactional { .. } | ProducerError::NotVerified { .. } => {
            ErrorCode::InvalidTxnState
        }
        ProducerError::StaleCoordinator { .. } => ErrorCode::TransactionCoordinatorFenced,
    }
}

/// A read that a log refused.
pub(crate) fn read_error(error: &ReadError) -> ErrorCode {
    match error {
        ReadError::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        ReadError::Corrupt { .. } => ErrorCode::CorruptMessage,
        ReadError::Io { .. } => ErrorCode::KafkaStorageError,
        ReadError::Deleted => ErrorCode::UnknownTopicOrPartition,
    }
}

/// Records that cannot be deleted.
pub(crate) fn delete_records_error(error: &DeleteRecordsError) -> ErrorCode {
    match error {
        DeleteRecordsError::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        DeleteRecordsError::Policy { .. } => ErrorCode::PolicyViolation,
        DeleteRecordsError::Append(error) => append_error(error),
    }
}

/// Trouble of the store as a whole.
pub(crate) fn store_error(_: &StoreError) -> ErrorCode {
    ErrorCode::KafkaStorageError
}

/// A topic that cannot be created or deleted.
pub(crate) fn topic_error(error: &TopicError) -> ErrorCode {
    match error {
        TopicError::InvalidName { .. } => ErrorCode::InvalidTopicException,
        TopicError::Reserved { .. } => ErrorCode::InvalidRequest,
        TopicError::Exists { .. } => ErrorCode::TopicAlreadyExists,
        TopicError::Unknown { .. } => ErrorCode::UnknownTopicOrPartition,
        TopicError::Replaced { .. } => ErrorCode::UnknownTopicId,
        TopicError::InvalidPartitions { .. } => ErrorCode::InvalidPartitions,
        TopicError::InvalidReplicationFactor { .. } => ErrorCode::InvalidReplicationFactor,
        TopicError::InvalidAssignment { .. } => ErrorCode::InvalidReplicaAssignment,
        TopicError::InvalidConfig { .. } => ErrorCode::InvalidConfig,
        TopicError::Ambiguous { .. } => ErrorCode::InvalidRequest,
        TopicError::Contradiction(_) => ErrorCode::UnknownServerError,
    }
}

/// A metadata change that was not committed.
pub(crate) fn submit_error(error: &SubmitError) -> ErrorCode {
    match error {
        SubmitError::Contradiction(_) => ErrorCode::UnknownServerError,
        SubmitError::Quorum(QuorumError::Append(error)) => append_error(error),
        SubmitError::Quorum(
            QuorumError::Store(_)
            | QuorumError::Read(_)
            | QuorumError::Damaged { .. }
            | QuorumError::Missing { .. }
            | QuorumError::Batch { .. }
            | QuorumError::Record { .. },
        ) => ErrorCode::KafkaStorageError,
        SubmitError::Quorum(QuorumError::Build(_)) => ErrorCode::UnknownServerError,
    }
}
