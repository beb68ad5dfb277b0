//! Which batch of each producer a pass keeps although all its records go: it holds the producer's last sequence.
//!
//! The log remembers batches that lie beyond the pass, and those may be lost again with the power. What has to
//! stay is the last batch below the pass's end.

use std::collections::HashMap;

use millstream_records::BatchHeader;

use crate::producer_state::ProducerEntry;

/// What must stay of a producer that the log remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LastBatch {
    /// The batch that ends with this offset.
    EndsWith(i64),
    /// It lies in the clean portion, nobody knows where: any of its batches.
    SomewhereClean,
    /// It has no batch in its present epoch, which only a marker tells.
    MarkerOf { epoch: i16 },
}

impl LastBatch {
    /// Whether this is what must stay; of several in the clean portion, each.
    pub(super) fn is(self, header: &BatchHeader) -> bool {
        match self {
            Self::EndsWith(offset) => offset == header.last_offset(),
            Self::SomewhereClean => !header.is_control(),
            Self::MarkerOf { epoch } => header.is_control() && header.producer_epoch == epoch,
        }
    }
}

/// The last batch of each producer in a part of the dirty portion.
#[derive(Debug, Default)]
pub(super) struct DirtyBatches(HashMap<i64, i64>);

impl DirtyBatches {
    /// Takes a batch; they come in the order of their offsets.
    pub(super) fn meet(&mut self, header: &BatchHeader) {
        if header.has_producer_id() && !header.is_control() {
            self.0.insert(header.producer_id, header.last_offset());
        }
    }

    /// Takes those of a part that lies behind.
    pub(super) fn extend(&mut self, behind: Self) {
        self.0.extend(behind.0);
    }

    /// What a pass that ends before `end` keeps of the producer.
    pub(super) fn last_of(&self, producer: &ProducerEntry, end: i64) -> LastBatch {
        let ends = producer.batches().iter().map(|batch| batch.last_offset);
        let remembered = ends.filter(|offset| *offset < end).max();
        match remembered.or_else(|| self.0.get(&producer.producer_id).copied()) {
            Some(offset) => LastBatch::EndsWith(offset),
            None if producer.batches().is_empty() => LastBatch::MarkerOf {
                epoch: producer.epoch,
            },
            None => LastBatch::SomewhereClean,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::producer_state::StoredBatch;

    fn producer(ends: &[i64]) -> ProducerEntry {
        let mut producer = ProducerEntry::new(7);
        producer.set_epoch(3);
        for end in ends {
            producer.push_batch(StoredBatch {
                last_offset: *end,
                ..StoredBatch::default()
            });
        }
        producer
    }

    #[test]
    fn what_lies_beyond_the_pass_is_nobodys_last_batch() {
        let nothing = DirtyBatches::default();
        let of = |ends: &[i64], end| nothing.last_of(&producer(ends), end);
        assert_eq!(of(&[10, 20, 30], 31), LastBatch::EndsWith(30));
        assert_eq!(of(&[10, 20, 30], 30), LastBatch::EndsWith(20));
        assert_eq!(of(&[10, 20, 30], 10), LastBatch::SomewhereClean);
        assert_eq!(of(&[], 10), LastBatch::MarkerOf { epoch: 3 });
    }

    #[test]
    fn a_batch_of_the_dirty_portion_is_later_than_any_clean_one() {
        let mut dirty = DirtyBatches(HashMap::from([(7, 4)]));
        assert_eq!(dirty.last_of(&producer(&[10]), 10), LastBatch::EndsWith(4));
        dirty.extend(DirtyBatches(HashMap::from([(7, 6), (8, 9)])));
        assert_eq!(dirty.last_of(&producer(&[10]), 10), LastBatch::EndsWith(6));
        assert_eq!(dirty.last_of(&producer(&[10]), 11), LastBatch::EndsWith(10));
    }
}
