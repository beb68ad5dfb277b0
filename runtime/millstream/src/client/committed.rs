//! Which batches of a fetched range a `read_committed` reader sees.

use std::collections::{BTreeSet, VecDeque};

use millstream_records::{BatchError, BatchView, ControlRecord, Marker};
use millstream_wire::fetch::AbortedTransaction;

/// Decides batch by batch, in the order of their offsets. The node hands out the aborted
/// transactions that touch the range: from its first offset on a producer's transactional batches
/// are hidden, until that producer's abort marker comes.
#[derive(Debug)]
pub struct CommittedFilter {
    upcoming: VecDeque<AbortedTransaction>,
    aborting: BTreeSet<i64>,
}

impl CommittedFilter {
    /// Takes what the node said beside one fetched range.
    pub fn new(mut aborted: Vec<AbortedTransaction>) -> CommittedFilter {
        aborted.sort_by_key(|transaction| transaction.first_offset);
        CommittedFilter {
            upcoming: aborted.into(),
            aborting: BTreeSet::new(),
        }
    }

    /// Are this batch's records committed data? Markers never are.
    pub fn admits(&mut self, batch: &BatchView<'_>) -> Result<bool, BatchError> {
        let header = batch.header();
        while let Some(next) = self.upcoming.front() {
            if next.first_offset > header.last_offset() {
                break;
            }
            self.aborting.insert(next.producer_id);
            self.upcoming.pop_front();
        }
        if header.is_control() {
            if is_abort(batch)? {
                self.aborting.remove(&header.producer_id);
            }
            return Ok(false);
        }
        Ok(!(header.is_transactional() && self.aborting.contains(&header.producer_id)))
    }
}

fn is_abort(batch: &BatchView<'_>) -> Result<bool, BatchError> {
    // A marker is a few bytes; nothing compresses it.
    let records = batch.records(1024)?;
    match records.iter().next() {
        Some(record) => Ok(ControlRecord::parse(&record?)?.marker() == Some(Marker::Abort)),
        None => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use millstream_records::{
        BatchBuilder, BatchOptions, Marker, ProducerStamp, batches, build_marker, patch,
    };

    use super::*;

    fn data(offset: i64, producer: Option<i64>, transactional: bool) -> Vec<u8> {
        let mut builder = BatchBuilder::new(BatchOptions {
            base_offset: offset,
            producer: producer.map(|id| ProducerStamp {
                id,
                epoch: 0,
                base_sequence: 0,
            }),
            transactional,
            ..BatchOptions::default()
        });
        builder
            .append(0, None, Some(b"value"), std::iter::empty())
            .expect("fits");
        builder.build().expect("builds")
    }

    fn marker(offset: i64, marker: Marker, producer: i64) -> Vec<u8> {
        let mut batch = build_marker(marker, producer, 0, 0, 0);
        patch::set_base_offset(&mut batch, offset);
        batch
    }

    fn aborted(producer_id: i64, first_offset: i64) -> AbortedTransaction {
        AbortedTransaction {
            producer_id,
            first_offset,
        }
    }

    fn admitted(log: &[Vec<u8>], aborted: Vec<AbortedTransaction>) -> Vec<i64> {
        let mut filter = CommittedFilter::new(aborted);
        let bytes = log.concat();
        batches(&bytes)
            .map(|batch| batch.expect("sound"))
            .filter(|batch| filter.admits(batch).expect("sound"))
            .map(|batch| batch.header().base_offset)
            .collect()
    }

    #[test]
    fn aborted_transactions_and_markers_are_hidden_and_all_else_is_seen() {
        let log = [
            data(0, Some(7), true),
            data(1, Some(8), true),
            data(2, None, false),
            data(3, Some(7), true),
            marker(4, Marker::Abort, 7),
            marker(5, Marker::Commit, 8),
            data(6, Some(7), true),
            marker(7, Marker::Commit, 7),
            // Not transactional, though of a producer that is aborting.
            data(8, Some(8), true),
            data(9, Some(8), false),
            marker(10, Marker::Abort, 8),
        ];
        let list = vec![aborted(8, 8), aborted(7, 0)];
        assert_eq!(admitted(&log, list), [1, 2, 6, 9]);
        assert_eq!(admitted(&log, vec![]), [0, 1, 2, 3, 6, 8, 9]);
    }

    #[test]
    fn a_transaction_that_began_before_the_range_is_hidden_from_its_first_batch_on() {
        let log = [
            data(20, Some(7), true),
            marker(21, Marker::Abort, 7),
            data(22, Some(7), true),
        ];
        assert_eq!(admitted(&log, vec![aborted(7, 3)]), [22]);
    }
}
