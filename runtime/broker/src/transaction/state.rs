//! The states of a transactional id and the moves between them.

/// Status of a transactional id; the numbers are those of the record in
/// `__transaction_state` (Kafka's `TransactionState.java`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i8)]
pub enum TransactionState {
    /// A producer is known, nothing was begun.
    Empty = 0,
    /// Partitions were added.
    Ongoing = 1,
    /// The decision to commit is written: from here there is no way back.
    PrepareCommit = 2,
    /// The decision to abort is written.
    PrepareAbort = 3,
    /// All commit markers are written.
    CompleteCommit = 4,
    /// All abort markers are written.
    CompleteAbort = 5,
    /// Expired; its record is a tombstone.
    Dead = 6,
    /// The epoch is being bumped to abort a forerunner's transaction. Only in
    /// memory: what is written is `PrepareAbort` with the new epoch.
    PrepareEpochFence = 7,
}

impl TransactionState {
    /// The state behind a status byte from disk, if it is one of ours.
    pub fn from_status(status: i8) -> Option<Self> {
        Some(match status {
            0 => Self::Empty,
            1 => Self::Ongoing,
            2 => Self::PrepareCommit,
            3 => Self::PrepareAbort,
            4 => Self::CompleteCommit,
            5 => Self::CompleteAbort,
            6 => Self::Dead,
            7 => Self::PrepareEpochFence,
            _ => return None,
        })
    }

    /// The status byte of the record.
    pub fn status(self) -> i8 {
        self as i8
    }

    /// Whether Kafka's table of transitions allows `self` to become `next`.
    pub fn may_become(self, next: Self) -> bool {
        use TransactionState::*;
        match next {
            Empty => matches!(self, Empty | CompleteCommit | CompleteAbort),
            Ongoing => matches!(self, Ongoing | Empty | CompleteCommit | CompleteAbort),
            PrepareCommit => self == Ongoing,
            PrepareAbort => matches!(self, Ongoing | PrepareEpochFence),
            CompleteCommit => self == PrepareCommit,
            CompleteAbort => self == PrepareAbort,
            Dead => matches!(self, Empty | CompleteCommit | CompleteAbort),
            PrepareEpochFence => self == Ongoing,
        }
    }

    /// Whether the outcome is decided and markers may still be missing.
    pub fn is_prepared(self) -> bool {
        matches!(self, Self::PrepareCommit | Self::PrepareAbort)
    }

    /// Whether the last transaction is over and a new one may begin.
    pub fn is_idle(self) -> bool {
        matches!(
            self,
            Self::Empty | Self::CompleteCommit | Self::CompleteAbort
        )
    }
}

#[cfg(test)]
mod tests {
    use super::TransactionState::{self, *};

    const ALL: [TransactionState; 8] = [
        Empty,
        Ongoing,
        PrepareCommit,
        PrepareAbort,
        CompleteCommit,
        CompleteAbort,
        Dead,
        PrepareEpochFence,
    ];

    #[test]
    fn status_bytes_round_trip_and_strangers_are_refused() {
        for state in ALL {
            assert_eq!(TransactionState::from_status(state.status()), Some(state));
        }
        for stranger in [-1, 8, i8::MIN, i8::MAX] {
            assert_eq!(TransactionState::from_status(stranger), None);
        }
    }

    #[test]
    fn transitions_are_exactly_the_allowed_ones() {
        let allowed = [
            (Empty, Empty),
            (CompleteCommit, Empty),
            (CompleteAbort, Empty),
            (Empty, Ongoing),
            (Ongoing, Ongoing),
            (CompleteCommit, Ongoing),
            (CompleteAbort, Ongoing),
            (Ongoing, PrepareCommit),
            (Ongoing, PrepareAbort),
            (PrepareEpochFence, PrepareAbort),
            (PrepareCommit, CompleteCommit),
            (PrepareAbort, CompleteAbort),
            (Empty, Dead),
            (CompleteCommit, Dead),
            (CompleteAbort, Dead),
            (Ongoing, PrepareEpochFence),
        ];
        for from in ALL {
            for to in ALL {
                assert_eq!(
                    from.may_become(to),
                    allowed.contains(&(from, to)),
                    "{from:?} -> {to:?}"
                );
            }
        }
    }
}
