//! Transactions as records of `__transaction_state`, and back.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use millstream_wire::coordinator_records::{
    PartitionsSchema, TransactionLogKey, TransactionLogValue,
};
use millstream_wire::{DecodeError, EncodeError, Versioned};

use super::machine::{NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_TIMESTAMP, Transaction};
use super::state::TransactionState;
use crate::coordinator::TopicPartition;

const KEY_VERSION: i16 = 0;
/// Version 1 keeps the producer id before a rotation.
const VALUE_VERSION: i16 = 1;

/// Why a record of `__transaction_state` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoredTransactionError {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("transactional id {transactional_id:?} has status {status}, which Kafka does not know")]
    Status {
        transactional_id: String,
        status: i8,
    },
    #[error(
        "transactional id {transactional_id:?} in state {state:?} is inconsistent: producer {producer_id}, epoch {producer_epoch}, {partitions} partitions, started at {start_ms}"
    )]
    Inconsistent {
        transactional_id: String,
        state: TransactionState,
        producer_id: i64,
        producer_epoch: i16,
        partitions: usize,
        start_ms: i64,
    },
}

/// Key of a transactional id.
pub fn key(transactional_id: &str) -> Result<Bytes, EncodeError> {
    TransactionLogKey {
        transactional_id: transactional_id.to_owned(),
    }
    .to_bytes(KEY_VERSION)
}

/// Value of a transactional id.
pub fn value(transaction: &Transaction) -> Result<Bytes, EncodeError> {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for one in &transaction.partitions {
        topics.entry(&one.topic).or_default().push(one.partition);
    }
    let partitions = topics
        .into_iter()
        .map(|(topic, partition_ids)| PartitionsSchema {
            topic: topic.to_owned(),
            partition_ids,
        })
        .collect();
    TransactionLogValue {
        producer_id: transaction.producer_id,
        previous_producer_id: transaction.previous_producer_id,
        producer_epoch: transaction.producer_epoch,
        transaction_timeout_ms: transaction.timeout_ms,
        transaction_status: transaction.state.status(),
        // Kafka writes null when nothing was begun.
        transaction_partitions: (transaction.state != TransactionState::Empty)
            .then_some(partitions),
        transaction_last_update_timestamp_ms: transaction.last_update_ms,
        transaction_start_timestamp_ms: transaction.start_ms,
        ..TransactionLogValue::default()
    }
    .to_bytes(VALUE_VERSION)
}

/// Reads a record: the transactional id, and its transaction unless the record
/// is a tombstone. An open one has its whole time-out from `now_ms` on, by the
/// monotonic clock.
pub fn read(
    key: Bytes,
    value: Option<Bytes>,
    now_ms: i64,
) -> Result<(String, Option<Transaction>), StoredTransactionError> {
    let TransactionLogKey { transactional_id } = TransactionLogKey::from_bytes(key)?;
    let Some(value) = value else {
        return Ok((transactional_id, None));
    };
    let value = TransactionLogValue::from_bytes(value)?;
    let status = value.transaction_status;
    let Some(state) = TransactionState::from_status(status) else {
        return Err(StoredTransactionError::Status {
            transactional_id,
            status,
        });
    };
    let partitions: BTreeSet<TopicPartition> = value
        .transaction_partitions
        .unwrap_or_default()
        .into_iter()
        .flat_map(|topic| {
            let name = topic.topic;
            topic
                .partition_ids
                .into_iter()
                .map(move |partition| TopicPartition::new(name.clone(), partition))
        })
        .collect();
    let mut transaction = Transaction {
        producer_id: value.producer_id,
        previous_producer_id: value.previous_producer_id,
        producer_epoch: value.producer_epoch,
        last_producer_epoch: NO_PRODUCER_EPOCH,
        timeout_ms: value.transaction_timeout_ms,
        state,
        partitions,
        start_ms: value.transaction_start_timestamp_ms,
        last_update_ms: value.transaction_last_update_timestamp_ms,
        deadline_ms: None,
        failed_fence: false,
    };
    if state == TransactionState::Ongoing {
        transaction.deadline_ms = Some(transaction.deadline_from(now_ms));
    }
    if !is_consistent(&transaction) {
        return Err(StoredTransactionError::Inconsistent {
            transactional_id,
            state,
            producer_id: transaction.producer_id,
            producer_epoch: transaction.producer_epoch,
            partitions: transaction.partitions.len(),
            start_ms: transaction.start_ms,
        });
    }
    Ok((transactional_id, Some(transaction)))
}

/// What [`Transaction::validate`] asserts, asked of foreign bytes.
fn is_consistent(transaction: &Transaction) -> bool {
    let open = !transaction.state.is_idle() && transaction.state != TransactionState::Dead;
    let named =
        transaction.producer_id > NO_PRODUCER_ID && transaction.producer_epoch > NO_PRODUCER_EPOCH;
    let started = transaction.start_ms > NO_TIMESTAMP;
    named && open != transaction.partitions.is_empty() && (!open || started)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transaction(state: TransactionState) -> Transaction {
        let open = !state.is_idle();
        let partitions = [("a", 0), ("a", 3), ("b", 1)]
            .into_iter()
            .filter(|_| open)
            .map(|(topic, partition)| TopicPartition::new(topic, partition))
            .collect();
        Transaction {
            producer_id: 1_000,
            previous_producer_id: 7,
            producer_epoch: 4,
            timeout_ms: 60_000,
            state,
            partitions,
            start_ms: if open { 99 } else { -1 },
            last_update_ms: 100,
            deadline_ms: (state == TransactionState::Ongoing).then_some(60_007),
            ..Transaction::default()
        }
    }

    #[test]
    fn every_state_round_trips() {
        use TransactionState::*;
        for state in [
            Empty,
            Ongoing,
            PrepareCommit,
            PrepareAbort,
            CompleteCommit,
            CompleteAbort,
        ] {
            let transaction = transaction(state);
            let (id, read) = read(
                key("p/clean/0").unwrap(),
                Some(value(&transaction).unwrap()),
                7,
            )
            .unwrap();
            assert_eq!(id, "p/clean/0");
            assert_eq!(read, Some(transaction));
        }
    }

    #[test]
    fn a_tombstone_names_its_id() {
        assert_eq!(
            read(key("gone").unwrap(), None, 7).unwrap(),
            ("gone".to_owned(), None)
        );
    }

    #[test]
    fn nonsense_is_an_error_and_never_a_panic() {
        let refuse = |transaction: &Transaction| {
            read(key("x").unwrap(), Some(value(transaction).unwrap()), 7).unwrap_err()
        };
        let mut no_partitions = transaction(TransactionState::PrepareCommit);
        no_partitions.partitions.clear();
        let mut no_start = transaction(TransactionState::Ongoing);
        no_start.start_ms = -1;
        let mut no_producer = transaction(TransactionState::Empty);
        no_producer.producer_id = -1;
        for one in [no_partitions, no_start, no_producer] {
            assert!(matches!(
                refuse(&one),
                StoredTransactionError::Inconsistent { .. }
            ));
        }
        let mut stranger =
            TransactionLogValue::from_bytes(value(&transaction(TransactionState::Empty)).unwrap())
                .unwrap();
        stranger.transaction_status = 9;
        assert!(matches!(
            read(key("x").unwrap(), Some(stranger.to_bytes(1).unwrap()), 7),
            Err(StoredTransactionError::Status { status: 9, .. })
        ));
        assert!(read(Bytes::from_static(&[0, 0, 0, 9]), None, 7).is_err());
    }
}
