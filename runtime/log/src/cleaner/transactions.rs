//! What compaction has to know of transactions: whose data was aborted, and which markers have outlived their data.

use std::collections::{HashMap, HashSet, VecDeque};

use millstream_records::{BatchHeader, Marker};

use crate::index::AbortedEntry;

/// The transactions of a log, as a walk over its batches in offset order meets them.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    /// Aborted ones that begin behind the batches met so far, by first offset.
    upcoming: VecDeque<AbortedEntry>,
    /// By producer: the aborted transaction that is open here, and whether a batch of it was met.
    aborted: HashMap<i64, (AbortedEntry, bool)>,
    /// Producers of which a batch was met whose transaction is not an aborted one.
    committed: HashSet<i64>,
}

/// What a marker means for the rest of the pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MarkerFate {
    /// Records or kept empty batches of its transaction are still there. An aborted transaction stays in the index.
    Needed(Option<AbortedEntry>),
    /// Nothing of its transaction is left: it goes when its horizon has passed.
    Outlived,
}

impl Transactions {
    /// `aborted` are all aborted transactions with records in the batches to come, in any order.
    pub(super) fn new(mut aborted: Vec<AbortedEntry>) -> Self {
        aborted.sort_unstable_by_key(|entry| (entry.first_offset, entry.last_offset));
        Self {
            upcoming: aborted.into(),
            ..Self::default()
        }
    }

    /// Meets a batch of data; true when it was aborted.
    pub(super) fn meet_batch(&mut self, header: &BatchHeader) -> bool {
        self.open_up_to(header.last_offset());
        if !header.is_transactional() {
            return false;
        }
        if let Some((entry, was_met)) = self.aborted.get_mut(&header.producer_id) {
            // A walk that begins in the midst of the log has not met the markers before.
            if header.base_offset <= entry.last_offset {
                *was_met = true;
                return true;
            }
            self.aborted.remove(&header.producer_id);
        }
        self.committed.insert(header.producer_id);
        false
    }

    /// Meets a control batch; `marker` is none when it ends no transaction or has lost its record.
    pub(super) fn meet_marker(
        &mut self,
        header: &BatchHeader,
        marker: Option<Marker>,
    ) -> MarkerFate {
        self.open_up_to(header.last_offset());
        let outlived = match marker {
            Some(Marker::Abort) => match self.aborted.remove(&header.producer_id) {
                Some((entry, true)) => return MarkerFate::Needed(Some(entry)),
                // Should the index not know of it, what was met before may be its data.
                _ => !self.committed.remove(&header.producer_id),
            },
            Some(Marker::Commit) => !self.committed.remove(&header.producer_id),
            None => header.record_count == 0,
        };
        match outlived {
            true => MarkerFate::Outlived,
            false => MarkerFate::Needed(None),
        }
    }

    fn open_up_to(&mut self, offset: i64) {
        while let Some(next) = self.upcoming.front()
            && next.first_offset <= offset
        {
            self.aborted.insert(next.producer_id, (*next, false));
            self.upcoming.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use millstream_records::{BatchView, build_marker};

    use super::*;

    fn header(producer_id: i64, base_offset: i64, last_offset_delta: i32) -> BatchHeader {
        let bytes = build_marker(Marker::Commit, producer_id, 0, 0, 0);
        let header = *BatchView::parse(&bytes).unwrap().header();
        BatchHeader {
            base_offset,
            last_offset_delta,
            ..header
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

    #[test]
    fn only_the_batches_of_an_aborted_transaction_are_aborted() {
        let entries = vec![aborted(2, 20, 25), aborted(1, 10, 15)];
        let mut walk = Transactions::new(entries.clone());
        assert!(!walk.meet_batch(&header(1, 5, 0)), "an earlier transaction");
        let commit = walk.meet_marker(&header(1, 6, 0), Some(Marker::Commit));
        assert_eq!(commit, MarkerFate::Needed(None));
        assert!(walk.meet_batch(&header(1, 10, 2)));
        assert!(!walk.meet_batch(&header(2, 13, 0)), "another producer's");
        let abort = walk.meet_marker(&header(1, 15, 0), Some(Marker::Abort));
        assert_eq!(abort, MarkerFate::Needed(Some(entries[1])));
        assert!(!walk.meet_batch(&header(1, 16, 0)), "a later transaction");
        let commit = walk.meet_marker(&header(2, 17, 0), Some(Marker::Commit));
        assert_eq!(commit, MarkerFate::Needed(None));
    }

    #[test]
    fn a_walk_that_begins_behind_a_marker_knows_that_its_transaction_is_over() {
        let mut walk = Transactions::new(vec![aborted(1, 10, 15)]);
        assert!(!walk.meet_batch(&header(1, 16, 3)));
        let commit = walk.meet_marker(&header(1, 20, 0), Some(Marker::Commit));
        assert_eq!(commit, MarkerFate::Needed(None));
    }

    #[test]
    fn a_marker_without_batches_is_outlived() {
        let mut walk = Transactions::new(vec![aborted(1, 10, 15)]);
        let abort = walk.meet_marker(&header(1, 15, 0), Some(Marker::Abort));
        assert_eq!(abort, MarkerFate::Outlived);
        let commit = walk.meet_marker(&header(2, 16, 0), Some(Marker::Commit));
        assert_eq!(commit, MarkerFate::Outlived);
        let unlisted = walk.meet_marker(&header(3, 17, 0), Some(Marker::Abort));
        assert_eq!(unlisted, MarkerFate::Outlived);
    }

    #[test]
    fn a_control_batch_of_another_kind_stays() {
        let mut walk = Transactions::default();
        let other = walk.meet_marker(&header(1, 15, 0), None);
        assert_eq!(other, MarkerFate::Needed(None));
        let empty = BatchHeader {
            record_count: 0,
            ..header(1, 16, 0)
        };
        assert_eq!(walk.meet_marker(&empty, None), MarkerFate::Outlived);
    }

    #[test]
    fn a_batch_without_a_transaction_is_never_aborted() {
        let mut walk = Transactions::new(vec![aborted(1, 10, 15)]);
        let plain = header(1, 12, 0);
        let plain = BatchHeader {
            attributes: 0,
            ..plain
        };
        assert!(!walk.meet_batch(&plain));
        let abort = walk.meet_marker(&header(1, 15, 0), Some(Marker::Abort));
        assert_eq!(abort, MarkerFate::Outlived);
    }
}
