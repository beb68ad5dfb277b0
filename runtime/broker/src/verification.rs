//! The question that a partition asks before a transaction's first batch is written to it (KIP-890, part 1).

use std::{future::Future, pin::Pin};

use millstream_wire::ErrorCode;

/// A partition by topic name and index.
pub type NamedPartition = (String, i32);

/// The transaction coordinator as the partitions see it.
pub trait VerifyTransaction: Send + Sync {
    /// Whether the transaction that is open under this id, producer and epoch holds each of the partitions; one
    /// answer for each, in order, `None` when it does.
    fn verify<'a>(
        &'a self,
        transactional_id: &'a str,
        producer_id: i64,
        producer_epoch: i16,
        partitions: &'a [NamedPartition],
    ) -> Pin<Box<dyn Future<Output = Vec<ErrorCode>> + Send + 'a>>;
}

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
