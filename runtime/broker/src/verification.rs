//! The question that a partition asks before a transaction's first batch is written to it (KIP-890, part 1).

use millstream_wire::ErrorCode;

/// A partition by topic name and index.
pub type NamedPartition = (String, i32);

/// What the producer is told when verification fails. Clients of transactions v1 know no answer of a coordinator on
/// Produce, so passing troubles are turned into one that they retry.
pub(crate) fn produce_error(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::NetworkException
        | ErrorCode::CoordinatorLoadInProgress
        | ErrorCode::CoordinatorNotAvailable
        | ErrorCode::NotCoordinator
        | ErrorCode::ConcurrentTransactions => ErrorCode::NotEnoughReplicas,
        other => other,
    }
}
