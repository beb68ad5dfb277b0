//! How transactions end whose marker may lie among lost offsets. Pure.
//!
//! A marker that is gone would leave its transaction open for every reader of the batches, and let the next marker of the
//! same producer end two of them. So the markers are written again, at lost offsets.

use std::ops::Range;

use millstream_records::Marker;

use crate::index::AbortedEntry;

/// A transaction that is open where the lost offsets begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OpenTransaction {
    pub(super) producer_id: i64,
    pub(super) producer_epoch: i16,
    pub(super) coordinator_epoch: i32,
    pub(super) first_offset: i64,
}

/// A marker to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) offset: i64,
    pub(super) transaction: OpenTransaction,
    pub(super) marker: Marker,
}

/// The markers at lost offsets, in their order. `open` have been begun before them and are not open at the log's end.
/// `aborted` are all transactions that ended with an abort from there on; none when no index tells, and then what was
/// open counts as aborted: nothing aborted may be shown.
pub(super) fn endings(
    lost: &Range<i64>,
    open: &[OpenTransaction],
    aborted: Option<&[AbortedEntry]>,
) -> Vec<Ending> {
    let mut found: Vec<Ending> = Vec::new();
    let mut others = Vec::new();
    for transaction in open {
        let Some(aborted) = aborted else {
            others.push((*transaction, Marker::Abort));
            continue;
        };
        let own = aborted
            .iter()
            .filter(|entry| entry.producer_id == transaction.producer_id)
            .filter(|entry| {
                entry.first_offset <= transaction.first_offset && entry.last_offset >= lost.start
            })
            .min_by_key(|entry| entry.last_offset);
        match own {
            Some(entry) if lost.contains(&entry.last_offset) => found.push(Ending {
                offset: entry.last_offset,
                transaction: *transaction,
                marker: Marker::Abort,
            }),
            // Its marker is there, behind what is lost.
            Some(_) => {}
            // The marker may be behind too. Then a second one changes nothing.
            None => others.push((*transaction, Marker::Commit)),
        }
    }
    // There were no more markers than offsets: who gets none was not ended there.
    let mut free = lost.end;
    for (transaction, marker) in others {
        let is_taken = |found: &[Ending], offset| found.iter().any(|one| one.offset == offset);
        free -= 1;
        while free >= lost.start && is_taken(&found, free) {
            free -= 1;
        }
        if free < lost.start {
            break;
        }
        found.push(Ending {
            offset: free,
            transaction,
            marker,
        });
    }
    found.sort_unstable_by_key(|ending| ending.offset);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(producer_id: i64, first_offset: i64) -> OpenTransaction {
        OpenTransaction {
            producer_id,
            producer_epoch: 3,
            coordinator_epoch: 1,
            first_offset,
        }
    }

    fn aborted(producer_id: i64, first_offset: i64, last_offset: i64) -> AbortedEntry {
        AbortedEntry {
            producer_id,
            first_offset,
            last_offset,
            last_stable: last_offset + 1,
        }
    }

    /// Offset, producer and marker of what is written into the offsets 10 to 12.
    fn written(
        transactions: &[OpenTransaction],
        index: Option<&[AbortedEntry]>,
    ) -> Vec<(i64, i64, Marker)> {
        endings(&(10..13), transactions, index)
            .into_iter()
            .map(|one| (one.offset, one.transaction.producer_id, one.marker))
            .collect()
    }

    #[test]
    fn an_abort_comes_back_to_its_place_and_a_commit_to_any() {
        let index = [aborted(1, 4, 12), aborted(3, 11, 20)];
        let found = written(&[open(1, 4), open(2, 5)], Some(&index));
        assert_eq!(found, [(11, 2, Marker::Commit), (12, 1, Marker::Abort)]);
    }

    #[test]
    fn a_transaction_that_is_aborted_behind_goes_on_and_an_earlier_one_does_not_count() {
        let index = [aborted(1, 1, 3), aborted(1, 4, 20)];
        assert_eq!(written(&[open(1, 4)], Some(&index)), []);
        // The producer's next transaction begins among what is lost, and is aborted: the one before was not.
        let index = [aborted(1, 1, 3), aborted(1, 11, 20)];
        let found = written(&[open(1, 4)], Some(&index));
        assert_eq!(found, [(12, 1, Marker::Commit)]);
    }

    #[test]
    fn what_no_index_tells_counts_as_aborted() {
        let found = written(&[open(1, 4), open(2, 5)], None);
        assert_eq!(found, [(11, 2, Marker::Abort), (12, 1, Marker::Abort)]);
    }

    #[test]
    fn no_more_markers_are_written_than_offsets_are_lost() {
        let many: Vec<_> = (0..9).map(|producer| open(producer, 4)).collect();
        assert_eq!(written(&many, None).len(), 3);
        let index = [aborted(7, 4, 11)];
        let found = written(&many, Some(&index));
        assert_eq!(found.len(), 3);
        assert!(found.contains(&(11, 7, Marker::Abort)), "{found:?}");
    }
}
