//! Which batches of a chunk belong to aborted transactions.

use millstream_records::{BatchError, BatchView, ControlRecord, Marker};

/// What a reader of committed records does with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Records,
    /// A control batch, or data of an aborted transaction.
    Skip,
}

/// Follows the aborted transactions through the batches of one chunk, in order.
#[derive(Debug)]
pub struct AbortedFilter {
    /// (first offset, producer id), the earliest last.
    pending: Vec<(i64, i64)>,
    /// Producers inside an aborted transaction here.
    active: Vec<i64>,
}

impl AbortedFilter {
    /// `aborted` as the read gave it: (producer id, first offset).
    pub fn new(aborted: &[(i64, i64)]) -> Self {
        let mut pending: Vec<(i64, i64)> =
            aborted.iter().map(|(pid, first)| (*first, *pid)).collect();
        pending.sort_unstable_by(|a, b| b.cmp(a));
        AbortedFilter {
            pending,
            active: Vec::new(),
        }
    }

    pub fn judge(&mut self, batch: &BatchView<'_>) -> Result<Verdict, BatchError> {
        let header = batch.header();
        while let Some(&(first, pid)) = self.pending.last()
            && first <= header.last_offset()
        {
            self.pending.pop();
            if !self.active.contains(&pid) {
                self.active.push(pid);
            }
        }
        if header.is_control() {
            // The abort marker ends the aborted transaction; what the producer sends next may be
            // committed.
            let records = batch.records(CONTROL_BYTES_MAX)?;
            if let Some(record) = records.iter().next()
                && ControlRecord::parse(&record?)?.marker() == Some(Marker::Abort)
            {
                self.active.retain(|pid| *pid != header.producer_id);
            }
            return Ok(Verdict::Skip);
        }
        if header.is_transactional() && self.active.contains(&header.producer_id) {
            return Ok(Verdict::Skip);
        }
        Ok(Verdict::Records)
    }
}

/// A control batch is never compressed by Kafka; a compressed one may not grow beyond this.
const CONTROL_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use millstream_records::{BatchBuilder, BatchOptions, ProducerStamp, build_marker, patch};

    fn data(offset: i64, producer: Option<i64>) -> Vec<u8> {
        let mut builder = BatchBuilder::new(BatchOptions {
            base_offset: offset,
            transactional: producer.is_some(),
            producer: producer.map(|id| ProducerStamp {
                id,
                epoch: 0,
                base_sequence: 0,
            }),
            ..BatchOptions::default()
        });
        let none: [(&[u8], Option<&[u8]>); 0] = [];
        builder.append(0, None, Some(b"v"), none).unwrap();
        builder.build().unwrap()
    }

    fn marker(offset: i64, producer: i64, marker: Marker) -> Vec<u8> {
        let mut batch = build_marker(marker, producer, 0, 0, 0);
        patch::set_base_offset(&mut batch, offset);
        batch
    }

    #[test]
    fn only_data_inside_an_aborted_transaction_is_skipped() {
        let log = [
            data(0, Some(7)),
            data(1, Some(8)),
            data(2, None),
            marker(3, 7, Marker::Abort),
            data(4, Some(7)),
            marker(5, 8, Marker::Commit),
            data(6, Some(7)),
            marker(7, 7, Marker::Commit),
            data(8, Some(8)),
            marker(9, 8, Marker::Abort),
        ];
        // Producer 7 aborted from 0, producer 8 from 8.
        let mut filter = AbortedFilter::new(&[(8, 8), (7, 0)]);
        let kept: Vec<usize> = log
            .iter()
            .enumerate()
            .filter(|(_, batch)| {
                filter.judge(&BatchView::parse(batch).unwrap()).unwrap() == Verdict::Records
            })
            .map(|(index, _)| index)
            .collect();
        assert_eq!(kept, [1, 2, 4, 6]);
    }

    #[test]
    fn a_chunk_that_begins_inside_an_aborted_transaction_skips_its_rest() {
        let mut filter = AbortedFilter::new(&[(7, 0)]);
        let late = data(50, Some(7));
        let verdict = filter.judge(&BatchView::parse(&late).unwrap()).unwrap();
        assert_eq!(verdict, Verdict::Skip);
    }
}
