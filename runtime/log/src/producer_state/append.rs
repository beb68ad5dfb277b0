//! The checks of one append, against a copy that is applied only when the bytes are stored.

use millstream_records::{BatchHeader, Marker, NO_PRODUCER_EPOCH};

use super::entry::{in_sequence, next_sequence};
use super::{ProducerEntry, ProducerStates, StoredBatch, VerificationGuard};
use crate::log::TransactionChange;

/// Who wrote a batch, and with it which rules hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A producer: sequences, epochs and verification are checked.
    Client,
    /// A coordinator of this broker: epochs and verification are checked, sequences are not used.
    Coordinator,
    /// Bytes that were accepted before (recovery, redo, and later replication): they are facts.
    Stored,
}

/// A batch was refused by the rules for producers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProducerError {
    /// Kafka: `OUT_OF_ORDER_SEQUENCE_NUMBER`.
    #[error("producer {producer_id} epoch {epoch} sent sequence {found}, expected {expected}")]
    OutOfOrderSequence {
        producer_id: i64,
        epoch: i16,
        expected: i32,
        found: i32,
    },
    /// Kafka: `INVALID_PRODUCER_EPOCH`.
    #[error(
        "producer {producer_id} has epoch {current} in this log, the batch has the older {found}"
    )]
    StaleEpoch {
        producer_id: i64,
        current: i16,
        found: i16,
    },
    /// Kafka: `INVALID_TXN_STATE`.
    #[error(
        "producer {producer_id} has a transaction open since offset {first_offset}, the batch belongs to none"
    )]
    NotTransactional { producer_id: i64, first_offset: i64 },
    /// Kafka: `INVALID_TXN_STATE`.
    #[error(
        "producer {producer_id} epoch {epoch} has no open transaction here and the batch was not verified"
    )]
    NotVerified { producer_id: i64, epoch: i16 },
    /// Kafka: `TRANSACTION_COORDINATOR_FENCED`.
    #[error(
        "the marker for producer {producer_id} is of coordinator epoch {found}, {current} was seen before"
    )]
    StaleCoordinator {
        producer_id: i64,
        current: i32,
        found: i32,
    },
}

/// One batch as the rules see it: its header with the offsets it is to get.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchFacts<'a> {
    pub(crate) header: &'a BatchHeader,
    /// Of a control batch that ends a transaction: which marker, of which coordinator epoch.
    pub(crate) marker: Option<(Marker, i32)>,
    pub(crate) now_ms: i64,
}

/// A transaction that a marker has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CompletedTransaction {
    pub(crate) producer_id: i64,
    pub(crate) first_offset: i64,
    pub(crate) marker_offset: i64,
    pub(crate) aborted: bool,
}

/// What the batches of one append change; nothing of it holds before [`ProducerUpdate::apply`].
#[derive(Debug, Default)]
pub(crate) struct ProducerUpdate {
    /// Almost always none or one.
    entries: Vec<ProducerEntry>,
    verified: Vec<i64>,
    pub(crate) changes: Vec<TransactionChange>,
    pub(crate) completed: Vec<CompletedTransaction>,
}

impl ProducerUpdate {
    /// Checks one batch with a producer id and notes what it changes.
    pub(crate) fn add(
        &mut self,
        states: &ProducerStates,
        batch: &BatchFacts<'_>,
        origin: Origin,
        guard: Option<VerificationGuard>,
    ) -> Result<(), ProducerError> {
        let header = batch.header;
        let producer_id = header.producer_id;
        let current = self
            .entries
            .iter()
            .find(|entry| entry.producer_id == producer_id)
            .or_else(|| states.get(producer_id))
            .copied()
            .unwrap_or_else(|| ProducerEntry::new(producer_id));
        let mut next = current;
        if let Some((marker, coordinator_epoch)) = batch.marker {
            if origin != Origin::Stored {
                check_epoch(&current, header.producer_epoch)?;
                check_coordinator(&current, coordinator_epoch)?;
            }
            self.end_transaction(&mut next, header, marker, coordinator_epoch);
        } else if !header.is_control() {
            if origin != Origin::Stored {
                check_verified(states, &current, header, guard)?;
                check_epoch(&current, header.producer_epoch)?;
            }
            if origin == Origin::Client {
                check_sequence(states, &current, header)?;
            }
            if let Some(first_offset) = current.transaction_first_offset
                && !header.is_transactional()
                && origin != Origin::Stored
            {
                return Err(ProducerError::NotTransactional {
                    producer_id,
                    first_offset,
                });
            }
            self.store_batch(&mut next, header);
        }
        next.last_timestamp = batch.now_ms.max(next.last_timestamp);
        if header.is_transactional() {
            // There is a first offset now, or the transaction is over: either way the guard has served.
            self.verified.push(producer_id);
        }
        match self
            .entries
            .iter_mut()
            .find(|entry| entry.producer_id == producer_id)
        {
            Some(entry) => *entry = next,
            None => self.entries.push(next),
        }
        Ok(())
    }

    /// What a batch that is in a log already means.
    pub(crate) fn stored(states: &ProducerStates, batch: &BatchFacts<'_>) -> Self {
        let mut update = Self::default();
        if let Err(error) = update.add(states, batch, Origin::Stored, None) {
            unreachable!("stored batches are facts, not checked: {error}");
        }
        update
    }

    fn store_batch(&mut self, next: &mut ProducerEntry, header: &BatchHeader) {
        next.set_epoch(header.producer_epoch);
        next.push_batch(StoredBatch {
            last_sequence: header.last_sequence(),
            last_offset: header.last_offset(),
            offset_delta: header.last_offset_delta,
            timestamp: header.max_timestamp,
        });
        if header.is_transactional() && next.transaction_first_offset.is_none() {
            next.transaction_first_offset = Some(header.base_offset);
            self.changes.push(TransactionChange::Started {
                first_offset: header.base_offset,
            });
        }
    }

    fn end_transaction(
        &mut self,
        next: &mut ProducerEntry,
        header: &BatchHeader,
        marker: Marker,
        coordinator_epoch: i32,
    ) {
        next.set_epoch(header.producer_epoch);
        next.coordinator_epoch = coordinator_epoch;
        // A transaction without data here moves no offset and is not indexed.
        if let Some(first_offset) = next.transaction_first_offset.take() {
            let marker_offset = header.last_offset();
            self.changes.push(TransactionChange::Completed {
                first_offset,
                marker_offset,
            });
            self.completed.push(CompletedTransaction {
                producer_id: header.producer_id,
                first_offset,
                marker_offset,
                aborted: marker == Marker::Abort,
            });
        }
    }

    /// Makes the noted changes true. The caller has stored the bytes.
    pub(crate) fn apply(&self, states: &mut ProducerStates) {
        for entry in &self.entries {
            states.insert(*entry);
        }
        for producer_id in &self.verified {
            states.verifications.clear(*producer_id);
        }
    }
}

fn check_epoch(current: &ProducerEntry, epoch: i16) -> Result<(), ProducerError> {
    if epoch < current.epoch {
        return Err(ProducerError::StaleEpoch {
            producer_id: current.producer_id,
            current: current.epoch,
            found: epoch,
        });
    }
    Ok(())
}

fn check_coordinator(current: &ProducerEntry, coordinator_epoch: i32) -> Result<(), ProducerError> {
    if coordinator_epoch < current.coordinator_epoch {
        return Err(ProducerError::StaleCoordinator {
            producer_id: current.producer_id,
            current: current.coordinator_epoch,
            found: coordinator_epoch,
        });
    }
    Ok(())
}

fn check_verified(
    states: &ProducerStates,
    current: &ProducerEntry,
    header: &BatchHeader,
    guard: Option<VerificationGuard>,
) -> Result<(), ProducerError> {
    let is_ongoing =
        current.epoch == header.producer_epoch && current.transaction_first_offset.is_some();
    if !header.is_transactional()
        || is_ongoing
        || states.verifications.holds(header.producer_id, guard)
    {
        return Ok(());
    }
    Err(ProducerError::NotVerified {
        producer_id: header.producer_id,
        epoch: header.producer_epoch,
    })
}

fn check_sequence(
    states: &ProducerStates,
    current: &ProducerEntry,
    header: &BatchHeader,
) -> Result<(), ProducerError> {
    let found = header.base_sequence;
    let out_of_order = |expected| {
        Err(ProducerError::OutOfOrderSequence {
            producer_id: header.producer_id,
            epoch: header.producer_epoch,
            expected,
            found,
        })
    };
    if let Some(lowest) = states.verifications.lowest_sequence(header.producer_id)
        && found > lowest
    {
        return out_of_order(lowest);
    }
    if current.epoch == NO_PRODUCER_EPOCH {
        // Nothing is known of this producer, perhaps because its records have expired: any sequence may be next.
        return Ok(());
    }
    if header.producer_epoch != current.epoch {
        return if found == 0 { Ok(()) } else { out_of_order(0) };
    }
    if in_sequence(current.last_sequence(), found) {
        return Ok(());
    }
    out_of_order(next_sequence(current.last_sequence()))
}
