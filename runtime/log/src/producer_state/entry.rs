//! What a log remembers of one producer.

use millstream_records::{NO_PRODUCER_EPOCH, NO_SEQUENCE};

/// How many batches of a producer can be recognised when they come again.
/// Kafka promises 5, the most that an idempotent client keeps in flight.
pub const REMEMBERED_BATCHES: usize = 5;

/// Where a batch of a producer was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoredBatch {
    pub last_sequence: i32,
    pub last_offset: i64,
    /// Last offset minus base offset, which is also last sequence minus first.
    pub offset_delta: i32,
    /// The batch's greatest timestamp, ms.
    pub timestamp: i64,
}

impl StoredBatch {
    pub fn base_offset(&self) -> i64 {
        self.last_offset
            .saturating_sub(i64::from(self.offset_delta))
    }

    pub fn first_sequence(&self) -> i32 {
        decrement_sequence(self.last_sequence, self.offset_delta)
    }
}

/// The state of one producer id in one log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerEntry {
    pub producer_id: i64,
    /// `NO_PRODUCER_EPOCH` until the first append.
    pub epoch: i16,
    /// Of the last marker; -1 when there was none.
    pub coordinator_epoch: i32,
    /// When the last append happened, ms.
    pub last_timestamp: i64,
    /// The first offset of the transaction that is open in this log.
    pub transaction_first_offset: Option<i64>,
    batches: [StoredBatch; REMEMBERED_BATCHES],
    batch_count: u8,
}

impl ProducerEntry {
    pub(crate) fn new(producer_id: i64) -> Self {
        Self {
            producer_id,
            epoch: NO_PRODUCER_EPOCH,
            coordinator_epoch: -1,
            last_timestamp: -1,
            transaction_first_offset: None,
            batches: [StoredBatch::default(); REMEMBERED_BATCHES],
            batch_count: 0,
        }
    }

    /// The remembered batches of the present epoch, oldest first.
    pub fn batches(&self) -> &[StoredBatch] {
        &self.batches[..usize::from(self.batch_count)]
    }

    pub fn last_batch(&self) -> Option<&StoredBatch> {
        self.batches().last()
    }

    /// The last sequence of the present epoch, or `NO_SEQUENCE`.
    pub fn last_sequence(&self) -> i32 {
        self.last_batch()
            .map_or(NO_SEQUENCE, |batch| batch.last_sequence)
    }

    /// The remembered batch with exactly these sequences.
    pub(crate) fn find_duplicate(
        &self,
        epoch: i16,
        first_sequence: i32,
        last_sequence: i32,
    ) -> Option<&StoredBatch> {
        if epoch != self.epoch {
            return None;
        }
        self.batches().iter().find(|batch| {
            batch.first_sequence() == first_sequence && batch.last_sequence == last_sequence
        })
    }

    /// A new epoch forgets the batches of the one before.
    pub(crate) fn set_epoch(&mut self, epoch: i16) {
        if epoch != self.epoch {
            self.epoch = epoch;
            self.batch_count = 0;
        }
    }

    pub(crate) fn push_batch(&mut self, batch: StoredBatch) {
        let count = usize::from(self.batch_count);
        if count == REMEMBERED_BATCHES {
            self.batches.copy_within(1.., 0);
            self.batches[count - 1] = batch;
        } else {
            self.batches[count] = batch;
            self.batch_count += 1;
        }
    }
}

/// Whether `next` may follow `last`: one more, or 0 after `i32::MAX`.
pub(crate) fn in_sequence(last: i32, next: i32) -> bool {
    i64::from(next) == i64::from(last) + 1 || (next == 0 && last == i32::MAX)
}

/// The sequence that may follow `last`.
pub(crate) fn next_sequence(last: i32) -> i32 {
    last.checked_add(1).unwrap_or(0)
}

fn decrement_sequence(sequence: i32, by: i32) -> i32 {
    if sequence >= by {
        sequence - by
    } else {
        // Wrapped from i32::MAX to 0 in between.
        let missing = i64::from(by) - i64::from(sequence);
        i32::try_from(i64::from(i32::MAX) - missing + 1).unwrap_or(NO_SEQUENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(first_sequence: i32, last_sequence: i32, last_offset: i64, delta: i32) -> StoredBatch {
        let batch = StoredBatch {
            last_sequence,
            last_offset,
            offset_delta: delta,
            timestamp: 7,
        };
        assert_eq!(batch.first_sequence(), first_sequence);
        batch
    }

    #[test]
    fn sequences_wrap_at_the_greatest_i32() {
        assert!(in_sequence(4, 5));
        assert!(!in_sequence(4, 4));
        assert!(!in_sequence(4, 6));
        assert!(in_sequence(i32::MAX, 0));
        assert!(!in_sequence(i32::MAX, 1));
        assert!(in_sequence(NO_SEQUENCE, 0));
        assert_eq!(next_sequence(i32::MAX), 0);
        batch(i32::MAX - 1, 1, 10, 3);
        batch(i32::MAX, 0, 10, 1);
        batch(0, 3, 10, 3);
    }

    #[test]
    fn only_the_last_five_batches_are_recognised() {
        let mut entry = ProducerEntry::new(1);
        entry.set_epoch(0);
        for sequence in 0..6 {
            entry.push_batch(batch(
                sequence * 2,
                sequence * 2 + 1,
                i64::from(sequence) * 2 + 1,
                1,
            ));
        }
        assert!(entry.find_duplicate(0, 0, 1).is_none());
        assert_eq!(entry.find_duplicate(0, 2, 3).unwrap().base_offset(), 2);
        assert_eq!(entry.find_duplicate(0, 10, 11).unwrap().base_offset(), 10);
        assert!(
            entry.find_duplicate(0, 10, 12).is_none(),
            "both ends must match"
        );
        assert!(
            entry.find_duplicate(1, 10, 11).is_none(),
            "so must the epoch"
        );
    }
}
