//! How fast the cleaner may read and write. Pure: the caller says what time it is, and sleeps.

use std::time::Duration;

/// What all threads have read and written together, against a rate.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    /// When everything so far would have been done at the allowed rate.
    done_at: Duration,
}

impl Throttle {
    /// Counts `bytes` at `now` and returns how long to wait before the next ones.
    pub(super) fn spend(&mut self, now: Duration, bytes: u64, bytes_per_second: f64) -> Duration {
        // Time that was not used is not saved up.
        self.done_at = self.done_at.max(now);
        let seconds = bytes as f64 / bytes_per_second.max(1.0);
        self.done_at += Duration::try_from_secs_f64(seconds).unwrap_or(Duration::from_secs(60));
        self.done_at - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_all_read_and_write_together_keeps_to_the_rate() {
        let mut throttle = Throttle::default();
        assert_eq!(throttle.spend(SECOND, 100, 100.0), SECOND);
        assert_eq!(throttle.spend(SECOND, 50, 100.0), SECOND * 3 / 2);
        assert_eq!(throttle.spend(2 * SECOND, 50, 100.0), SECOND);
    }

    #[test]
    fn idle_time_is_not_saved_up() {
        let mut throttle = Throttle::default();
        throttle.spend(SECOND, 100, 100.0);
        assert_eq!(throttle.spend(100 * SECOND, 100, 100.0), SECOND);
    }

    #[test]
    fn without_a_limit_nobody_waits() {
        let mut throttle = Throttle::default();
        assert!(throttle.spend(SECOND, 1 << 40, f64::MAX) < SECOND / 1_000_000);
        assert!(throttle.spend(SECOND, 1 << 40, 0.0) >= SECOND);
        assert!(throttle.spend(SECOND, u64::MAX, -1.0) >= SECOND);
    }
}
