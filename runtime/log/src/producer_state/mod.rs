//! What a log remembers of its producers, and the rules that a batch of a producer must obey.
//!
//! The rules are Kafka's (`ProducerAppendInfo.java`, `UnifiedLog.analyzeAndValidateProducerState`): the last five
//! batches answer a retry with their old offsets, sequences have no gap, an older epoch is refused, a new one starts
//! at sequence 0, a transaction's first batch was verified with the coordinator, and a marker of an older coordinator
//! is refused. Nothing here does I/O or knows the time.

mod append;
mod entry;
mod snapshot;
mod verification;

use std::collections::HashMap;

use millstream_records::BatchHeader;

pub use append::ProducerError;
pub(crate) use append::{BatchFacts, Origin, ProducerUpdate};
pub use entry::{ProducerEntry, REMEMBERED_BATCHES, StoredBatch};
pub use snapshot::SnapshotError;
pub use verification::VerificationGuard;

#[cfg(test)]
use crate::log::TransactionChange;
use verification::Verifications;

/// The producers of one log. Changes with the log's end, under the log's append lock.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProducerStates {
    producers: HashMap<i64, ProducerEntry>,
    verifications: Verifications,
}

impl ProducerStates {
    pub(crate) fn get(&self, producer_id: i64) -> Option<&ProducerEntry> {
        self.producers.get(&producer_id)
    }

    /// The stored batch that a client's batch repeats, if any.
    pub(crate) fn find_duplicate(&self, header: &BatchHeader) -> Option<StoredBatch> {
        self.get(header.producer_id)?
            .find_duplicate(
                header.producer_epoch,
                header.base_sequence,
                header.last_sequence(),
            )
            .copied()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &ProducerEntry> {
        self.producers.values()
    }

    pub(crate) fn insert(&mut self, entry: ProducerEntry) {
        self.producers.insert(entry.producer_id, entry);
    }

    /// The first offsets of the open transactions.
    pub(crate) fn open_transactions(&self) -> impl Iterator<Item = i64> + '_ {
        self.producers
            .values()
            .filter_map(|entry| entry.transaction_first_offset)
    }

    /// Whether this producer, in exactly this epoch, has a transaction open in this log.
    pub(crate) fn has_ongoing_transaction(&self, producer_id: i64, epoch: i16) -> bool {
        self.get(producer_id)
            .is_some_and(|entry| entry.epoch == epoch && entry.transaction_first_offset.is_some())
    }

    /// The guard that the first batch of a transaction must bring, or none when the transaction is open already.
    /// `monotonic_ms` is the time by the monotonic clock.
    pub(crate) fn verification_guard(
        &mut self,
        producer_id: i64,
        epoch: i16,
        base_sequence: i32,
        monotonic_ms: i64,
    ) -> Option<VerificationGuard> {
        if self.has_ongoing_transaction(producer_id, epoch) {
            return None;
        }
        Some(
            self.verifications
                .guard(producer_id, epoch, base_sequence, monotonic_ms),
        )
    }

    /// Forgets producers without an open transaction whose last append is older than `expiration_ms`, and guards that
    /// were handed out so long ago. The former have their time from their batches, by the wall clock; the latter live
    /// in memory only, and a clock that is set must not make one worthless between the question and the append.
    pub(crate) fn remove_expired(&mut self, now_ms: i64, monotonic_ms: i64, expiration_ms: i64) {
        let is_fresh = |now: i64, then: i64| now.saturating_sub(then) < expiration_ms;
        self.producers.retain(|_, entry| {
            entry.transaction_first_offset.is_some() || is_fresh(now_ms, entry.last_timestamp)
        });
        self.verifications
            .retain(|created_ms| is_fresh(monotonic_ms, created_ms));
    }

    /// The last stable offset of a log in which only the transaction of `producer_id` has just ended
    /// at `marker_offset`; the aborted transactions index stores it.
    pub(crate) fn last_stable_after(&self, producer_id: i64, marker_offset: i64) -> i64 {
        self.producers
            .values()
            .filter(|entry| entry.producer_id != producer_id)
            .filter_map(|entry| entry.transaction_first_offset)
            .min()
            .unwrap_or(marker_offset + 1)
    }
}

#[cfg(test)]
mod tests;
