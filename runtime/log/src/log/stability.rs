//! Which offsets of a log are visible to whom: high watermark and last stable offset as pure state.

use std::collections::BTreeMap;

/// The offsets of a log at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogOffsets {
    /// The first offset that may be read.
    pub log_start: i64,
    /// What lies below is durable by the node's rules and visible to `read_uncommitted`.
    pub high_watermark: i64,
    /// What lies below belongs to no open transaction and is visible to `read_committed`.
    pub last_stable: i64,
    /// The offset that the next record gets.
    pub log_end: i64,
    /// The last stable offset counted to the log end instead of the high watermark: what a stage task of this
    /// node may work on before it is flushed.
    pub appended_last_stable: i64,
}

/// A change in the set of transactions that a batch brings with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransactionChange {
    /// The first batch of a transaction of this log.
    Started { first_offset: i64 },
    /// A marker ended the transaction that began at `first_offset`.
    Completed {
        first_offset: i64,
        marker_offset: i64,
    },
}

/// The open transactions and the ends of a log. The append end and the flushed end arrive in any order, from
/// different threads; the high watermark is the lesser of both, so that neither shows what the other lacks.
#[derive(Debug, Clone)]
pub(crate) struct Stability {
    log_start: i64,
    log_end: i64,
    flushed_end: i64,
    high_watermark: i64,
    /// First offsets of the transactions without a marker.
    ongoing: BTreeMap<i64, ()>,
    /// First offset to marker offset of the transactions whose marker is not below the high watermark.
    completed: BTreeMap<i64, i64>,
}

impl Stability {
    /// A log of which everything up to `log_end` is durable. `waits_for_flush` is true in journal mode.
    pub(crate) fn new(
        log_start: i64,
        log_end: i64,
        waits_for_flush: bool,
        ongoing: impl IntoIterator<Item = i64>,
    ) -> Self {
        Self {
            log_start,
            log_end,
            flushed_end: if waits_for_flush { log_end } else { i64::MAX },
            high_watermark: log_end,
            ongoing: ongoing.into_iter().map(|first| (first, ())).collect(),
            completed: BTreeMap::new(),
        }
    }

    pub(crate) fn appended(&mut self, log_end: i64, changes: &[TransactionChange]) {
        assert!(log_end >= self.log_end, "an append moved the log end back");
        for change in changes {
            match *change {
                TransactionChange::Started { first_offset } => {
                    self.ongoing.insert(first_offset, ());
                }
                TransactionChange::Completed {
                    first_offset,
                    marker_offset,
                } => {
                    self.ongoing.remove(&first_offset);
                    self.completed.insert(first_offset, marker_offset);
                }
            }
        }
        self.log_end = log_end;
        self.settle();
    }

    pub(crate) fn flushed(&mut self, end: i64) {
        self.flushed_end = self.flushed_end.max(end);
        self.settle();
    }

    pub(crate) fn advance_log_start(&mut self, log_start: i64) {
        assert!(
            log_start <= self.high_watermark,
            "a log cannot start above its high watermark"
        );
        self.log_start = self.log_start.max(log_start);
    }

    pub(crate) fn offsets(&self) -> LogOffsets {
        let first_open = self.ongoing.keys().next().copied().unwrap_or(i64::MAX);
        let first_incomplete = self.completed.keys().next().copied().unwrap_or(i64::MAX);
        // The first records of an open transaction may have been deleted.
        let visible = |bound: i64| bound.min(first_open).max(self.log_start);
        LogOffsets {
            log_start: self.log_start,
            high_watermark: self.high_watermark,
            last_stable: visible(self.high_watermark.min(first_incomplete)),
            log_end: self.log_end,
            appended_last_stable: visible(self.log_end),
        }
    }

    fn settle(&mut self) {
        self.high_watermark = self.high_watermark.max(self.flushed_end.min(self.log_end));
        let high_watermark = self.high_watermark;
        self.completed.retain(|_, marker| *marker >= high_watermark);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(first_offset: i64) -> TransactionChange {
        TransactionChange::Started { first_offset }
    }

    fn completed(first_offset: i64, marker_offset: i64) -> TransactionChange {
        TransactionChange::Completed {
            first_offset,
            marker_offset,
        }
    }

    #[test]
    fn without_a_journal_the_log_end_is_the_high_watermark() {
        let mut state = Stability::new(0, 0, false, []);
        state.appended(3, &[]);
        assert_eq!(state.offsets().high_watermark, 3);
        assert_eq!(state.offsets().last_stable, 3);
    }

    #[test]
    fn the_high_watermark_waits_for_the_flush() {
        let mut state = Stability::new(0, 0, true, []);
        state.appended(3, &[]);
        assert_eq!(state.offsets().high_watermark, 0);
        assert_eq!(state.offsets().appended_last_stable, 3);
        state.flushed(2);
        assert_eq!(state.offsets().high_watermark, 2);
        state.flushed(1);
        assert_eq!(
            state.offsets().high_watermark,
            2,
            "a late report moves nothing back"
        );
    }

    #[test]
    fn a_flush_that_is_reported_before_the_append_is_published_shows_nothing_early() {
        let mut state = Stability::new(0, 0, true, []);
        state.flushed(5);
        assert_eq!(state.offsets().high_watermark, 0);
        state.appended(5, &[started(2)]);
        assert_eq!(state.offsets().high_watermark, 5);
        assert_eq!(state.offsets().last_stable, 2);
    }

    #[test]
    fn an_open_transaction_holds_the_last_stable_offset_until_its_marker_is_flushed() {
        let mut state = Stability::new(0, 0, true, []);
        state.appended(4, &[started(1)]);
        state.flushed(4);
        assert_eq!(state.offsets().last_stable, 1);
        state.appended(5, &[completed(1, 4)]);
        assert_eq!(
            state.offsets().last_stable,
            1,
            "the marker is not below the high watermark"
        );
        assert_eq!(state.offsets().appended_last_stable, 5);
        state.flushed(5);
        assert_eq!(state.offsets().last_stable, 5);
    }

    #[test]
    fn the_last_stable_offset_is_not_below_the_log_start() {
        let mut state = Stability::new(0, 0, false, []);
        state.appended(9, &[started(2)]);
        state.advance_log_start(5);
        assert_eq!(state.offsets().last_stable, 5);
        assert_eq!(state.offsets().appended_last_stable, 5);
        state.appended(10, &[completed(2, 9)]);
        assert_eq!(state.offsets().last_stable, 10);
    }

    #[test]
    fn the_earliest_of_several_transactions_counts() {
        let mut state = Stability::new(0, 0, false, []);
        state.appended(1, &[started(0)]);
        state.appended(2, &[started(1)]);
        state.appended(3, &[completed(0, 2)]);
        assert_eq!(state.offsets().last_stable, 1);
        assert_eq!(state.offsets().appended_last_stable, 1);
        state.appended(4, &[completed(1, 3)]);
        assert_eq!(state.offsets().last_stable, 4);
    }
}
