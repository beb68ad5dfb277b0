//! Which leader epoch wrote which offsets (kept in `leader-epoch-checkpoint`).

use std::sync::Arc;

use parking_lot::RwLock;

use crate::checkpoint::EpochStart;

/// The start offset of each leader epoch that wrote into a log, both rising. Changes come under the append lock;
/// readers look at them through [`EpochTable`].
#[derive(Debug, Default)]
pub(crate) struct LeaderEpochs {
    entries: Vec<EpochStart>,
    table: EpochTable,
    /// The log's own files have all entries, and this one as the last.
    announced: Option<EpochStart>,
}

/// The same entries, as readers that hold no lock of the log see them.
#[derive(Debug, Clone, Default)]
pub(crate) struct EpochTable(Arc<RwLock<Arc<[EpochStart]>>>);

impl EpochTable {
    pub(crate) fn entries(&self) -> Arc<[EpochStart]> {
        Arc::clone(&self.0.read())
    }
}

impl LeaderEpochs {
    pub(crate) fn table(&self) -> EpochTable {
        self.table.clone()
    }

    /// Takes what a checkpoint file held: rising epochs.
    pub(crate) fn replace(&mut self, entries: Vec<EpochStart>) {
        self.announced = None;
        self.entries.clear();
        for entry in entries {
            self.assign(entry.epoch, entry.start_offset);
        }
        self.show();
    }

    fn show(&self) {
        *self.table.0.write() = self.entries.as_slice().into();
    }

    pub(crate) fn entries(&self) -> &[EpochStart] {
        &self.entries
    }

    /// The newest epoch, if any wrote.
    pub(crate) fn latest(&self) -> Option<i32> {
        self.entries.last().map(|entry| entry.epoch)
    }

    /// Notes that `epoch` writes at `start_offset`; true when it is a new epoch.
    pub(crate) fn assign(&mut self, epoch: i32, start_offset: i64) -> bool {
        if epoch < 0 || self.latest().is_some_and(|latest| epoch <= latest) {
            return false;
        }
        // An epoch that wrote nothing leaves no trace.
        self.entries
            .retain(|entry| entry.start_offset < start_offset);
        self.entries.push(EpochStart {
            epoch,
            start_offset,
        });
        self.show();
        true
    }

    /// All entries when `epoch` writes at `start_offset` next; the caller writes them to the log's files.
    pub(crate) fn announce(&mut self, epoch: i32, start_offset: i64) -> Vec<EpochStart> {
        let mut next = Self {
            entries: self.entries.clone(),
            ..Self::default()
        };
        next.assign(epoch, start_offset);
        self.announced = next.entries.last().copied();
        next.entries
    }

    /// Whether the log's files say already that `epoch` writes at `start_offset`.
    pub(crate) fn is_announced(&self, epoch: i32, start_offset: i64) -> bool {
        self.announced.is_some_and(|announced| {
            announced.epoch == epoch
                && (self.latest() == Some(epoch) || announced.start_offset == start_offset)
        })
    }

    /// Whether the log's files have what is known here.
    pub(crate) fn has_announced(&self) -> bool {
        self.announced.is_some() && self.entries.last() == self.announced.as_ref()
    }

    pub(crate) fn forget_announced(&mut self) {
        self.announced = None;
    }

    /// The greatest known epoch that is at most `epoch`, and where it ends: the start of the next, or the log end.
    pub(crate) fn end_offset(&self, epoch: i32, log_end: i64) -> Option<(i32, i64)> {
        let after = self.entries.partition_point(|entry| entry.epoch <= epoch);
        let found = self.entries[..after].last()?;
        let end = self
            .entries
            .get(after)
            .map_or(log_end, |next| next.start_offset);
        Some((found.epoch, end))
    }

    /// Drops what lies at or above `end`.
    pub(crate) fn truncate_to(&mut self, end: i64) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.start_offset < end);
        self.show();
        self.announced = None;
        self.entries.len() != before
    }

    /// Lets the log begin at `start`: the epoch that holds it begins there too, older ones go.
    pub(crate) fn advance_start(&mut self, start: i64) -> bool {
        let Some(holder) = self
            .entries
            .partition_point(|entry| entry.start_offset <= start)
            .checked_sub(1)
        else {
            return false;
        };
        let changed = holder > 0 || self.entries[holder].start_offset != start;
        self.entries.drain(..holder);
        self.entries[0].start_offset = start;
        self.show();
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(entries: &[(i32, i64)]) -> LeaderEpochs {
        let mut epochs = LeaderEpochs::default();
        for &(epoch, start) in entries {
            assert!(epochs.assign(epoch, start));
        }
        epochs
    }

    #[test]
    fn an_epoch_ends_where_the_next_one_starts() {
        let epochs = epochs(&[(1, 0), (3, 10), (4, 15)]);
        for (asked, found) in [
            (0, None),
            (1, Some((1, 10))),
            (2, Some((1, 10))),
            (3, Some((3, 15))),
            (4, Some((4, 20))),
            (9, Some((4, 20))),
        ] {
            assert_eq!(epochs.end_offset(asked, 20), found, "epoch {asked}");
        }
    }

    #[test]
    fn an_epoch_that_wrote_nothing_is_replaced() {
        assert_eq!(
            epochs(&[(1, 0), (2, 5), (3, 5)]).entries(),
            epochs(&[(1, 0), (3, 5)]).entries()
        );
        let mut same = epochs(&[(1, 0)]);
        assert!(!same.assign(1, 7), "an epoch starts once");
        assert!(!same.assign(0, 7), "an older epoch cannot start");
        assert!(!same.assign(-1, 7), "no epoch is not an epoch");
    }

    #[test]
    fn an_epoch_is_announced_once_and_anew_after_a_cut() {
        let mut epochs = epochs(&[(1, 0)]);
        assert!(!epochs.is_announced(1, 5));
        assert_eq!(epochs.announce(1, 5), epochs.entries());
        assert!(epochs.is_announced(1, 9) && epochs.has_announced());
        assert!(!epochs.is_announced(2, 9));
        let next = epochs.announce(2, 9);
        assert_eq!((next[1].epoch, next[1].start_offset), (2, 9));
        assert!(epochs.is_announced(2, 9) && !epochs.has_announced());
        assert!(!epochs.is_announced(2, 10), "it began elsewhere");
        epochs.assign(2, 9);
        assert!(epochs.is_announced(2, 10) && epochs.has_announced());
        assert!(epochs.truncate_to(9));
        assert!(!epochs.is_announced(1, 9));
        epochs.announce(1, 9);
        assert!(!epochs.truncate_to(50) && !epochs.is_announced(1, 9));
    }

    #[test]
    fn truncation_and_a_moved_start_cut_the_ends() {
        let full = || epochs(&[(1, 0), (3, 10), (4, 15)]);
        let mut cut = full();
        assert!(cut.truncate_to(15));
        assert_eq!(cut.entries(), epochs(&[(1, 0), (3, 10)]).entries());
        assert!(!cut.truncate_to(15));
        let mut moved = full();
        assert!(moved.advance_start(12));
        assert_eq!(moved.entries(), epochs(&[(3, 12), (4, 15)]).entries());
        assert_eq!(&*moved.table().entries(), moved.entries());
        assert!(!moved.advance_start(12));
    }
}
