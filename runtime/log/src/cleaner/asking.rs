//! When the cleaner asks for a checkpoint: a pass takes only what lies below the recovery point. Pure: the caller says
//! what time it is.

use std::time::Duration;

/// What was asked for, and what has come of it.
#[derive(Debug, Default)]
pub(super) struct Asking {
    asked_at: Option<Duration>,
    /// A log waits for a checkpoint that was not asked for yet.
    waits: bool,
    checkpoints: u64,
}

impl Asking {
    /// Whether to ask now, if a log `waits`: at most once per back-off.
    pub(super) fn asks(&mut self, waits: bool, now: Duration, backoff: Duration) -> bool {
        let may = self.asked_at.is_none_or(|at| now >= at + backoff);
        self.waits = waits && !may;
        if waits && may {
            self.asked_at = Some(now);
        }
        waits && may
    }

    /// How long a thread without work may sleep.
    pub(super) fn wait(&self, now: Duration, backoff: Duration) -> Duration {
        match self.asked_at {
            Some(at) if self.waits => (at + backoff).saturating_sub(now),
            _ => backoff,
        }
    }

    pub(super) fn checkpoints(&self) -> u64 {
        self.checkpoints
    }

    pub(super) fn note_checkpoint(&mut self) {
        self.checkpoints += 1;
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
