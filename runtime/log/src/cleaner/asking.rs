//! When the cleaner asks for a checkpoint: a pass takes only what lies below the recovery point. Pure: the caller says
//! what time it is.

use std::time::Duration;

/// What was asked for, and what has come of it.
#[derive(Debug, Default)]
pub(super) struct Asking {
    asked_at: Option<Duration>,
    /// The last look has found a log that waits for a checkpoint.
    waits: bool,
    /// It was not asked for yet.
    is_due: bool,
    checkpoints: u64,
}

impl Asking {
    /// Whether to ask now, if a log `waits`: at most once per back-off.
    pub(super) fn asks(&mut self, waits: bool, now: Duration, backoff: Duration) -> bool {
        let may = self.asked_at.is_none_or(|at| now >= at + backoff);
        self.waits = waits;
        self.is_due = waits && !may;
        if waits && may {
            self.asked_at = Some(now);
        }
        waits && may
    }

    /// How long a thread without work may sleep.
    pub(super) fn wait(&self, now: Duration, backoff: Duration) -> Duration {
        match self.asked_at {
            Some(at) if self.is_due => (at + backoff).saturating_sub(now),
            _ => backoff,
        }
    }

    pub(super) fn checkpoints(&self) -> u64 {
        self.checkpoints
    }

    /// Whether a thread that saw so many checkpoints before its last look has to look again.
    pub(super) fn has_come(&self, seen: u64) -> bool {
        self.waits && self.checkpoints != seen
    }

    /// Whether somebody has waited for it.
    pub(super) fn note_checkpoint(&mut self) -> bool {
        self.checkpoints += 1;
        self.waits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Duration = Duration::from_secs(15);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_checkpoint_is_asked_for_once_per_backoff() {
        let mut asking = Asking::default();
        let asked: Vec<_> = (0..60)
            .filter(|second| asking.asks(true, at(*second), BACKOFF))
            .collect();
        assert_eq!(asked, [0, 15, 30, 45]);
    }

    #[test]
    fn nothing_is_asked_for_when_no_log_waits() {
        let mut asking = Asking::default();
        assert!(!asking.asks(false, at(0), BACKOFF));
        assert!(asking.asks(true, at(1), BACKOFF));
        assert!(!asking.asks(false, at(30), BACKOFF));
    }

    #[test]
    fn a_checkpoint_that_nobody_waits_for_wakes_nobody() {
        let mut asking = Asking::default();
        let seen = asking.checkpoints();
        assert!(!asking.note_checkpoint() && !asking.has_come(seen));
        let seen = asking.checkpoints();
        assert!(asking.asks(true, at(0), BACKOFF));
        assert!(!asking.has_come(seen));
        assert!(asking.note_checkpoint() && asking.has_come(seen));
        // It may have begun before what waits was written: the next one is waited for too.
        let seen = asking.checkpoints();
        assert!(!asking.asks(true, at(1), BACKOFF));
        assert!(asking.note_checkpoint() && asking.has_come(seen));
        assert!(!asking.asks(false, at(2), BACKOFF));
        assert!(!asking.note_checkpoint());
    }

    #[test]
    fn who_may_not_ask_yet_sleeps_no_longer_than_until_then() {
        let mut asking = Asking::default();
        assert_eq!(asking.wait(at(0), BACKOFF), BACKOFF);
        assert!(asking.asks(true, at(0), BACKOFF));
        assert_eq!(asking.wait(at(1), BACKOFF), BACKOFF, "it was asked for");
        assert!(!asking.asks(true, at(9), BACKOFF));
        assert_eq!(asking.wait(at(9), BACKOFF), at(6));
        assert_eq!(asking.wait(at(20), BACKOFF), Duration::ZERO);
        assert!(asking.asks(true, at(20), BACKOFF));
        assert_eq!(asking.wait(at(20), BACKOFF), BACKOFF);
    }
}
