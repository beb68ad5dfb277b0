//! How much of their time the cleaner's threads sleep: Kafka's `cleanerIdleRatio`. Pure: the caller says what time it is.

use std::collections::BTreeMap;
use std::time::Duration;

/// The ratio speaks of the last one to two of these.
const WINDOW: Duration = Duration::from_secs(60);

/// Sleep and time of all threads in two windows, the present one and the one before.
#[derive(Debug, Default)]
pub(super) struct IdleMeter {
    /// Threads that sleep, and since when.
    asleep: BTreeMap<usize, Duration>,
    began: Duration,
    slept: Duration,
    before: Option<(Duration, Duration)>,
}

impl IdleMeter {
    pub(super) fn falls_asleep(&mut self, thread: usize, now: Duration) {
        self.asleep.insert(thread, now);
    }

    pub(super) fn wakes(&mut self, thread: usize, now: Duration) {
        self.settle(now);
        self.asleep.remove(&thread);
    }

    /// Sleep by time of `threads` threads, 0 to 1; 1 when nothing is known.
    pub(super) fn ratio(&mut self, threads: usize, now: Duration) -> f64 {
        self.settle(now);
        let (slept_before, time_before) = self.before.unwrap_or_default();
        let time = (now - self.began) + time_before;
        let all = time.as_secs_f64() * threads as f64;
        match all > 0.0 {
            true => ((self.slept + slept_before).as_secs_f64() / all).clamp(0.0, 1.0),
            false => 1.0,
        }
    }

    /// Counts the sleep up to now, and begins a new window when this one is over.
    fn settle(&mut self, now: Duration) {
        for since in self.asleep.values_mut() {
            self.slept += now.saturating_sub(*since);
            *since = now;
        }
        let time = now.saturating_sub(self.began);
        if time >= WINDOW {
            self.before = Some((self.slept, time));
            self.began = now;
            self.slept = Duration::ZERO;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_thread_that_sleeps_half_of_the_time_is_half_idle() {
        let mut meter = IdleMeter::default();
        assert!((meter.ratio(1, at(0)) - 1.0).abs() < 0.01);
        meter.falls_asleep(0, at(0));
        meter.wakes(0, at(10));
        assert!((meter.ratio(1, at(20)) - 0.5).abs() < 0.01);
        assert!(
            (meter.ratio(2, at(20)) - 0.25).abs() < 0.01,
            "the other works all the time"
        );
    }

    #[test]
    fn sleep_that_lasts_counts_already() {
        let mut meter = IdleMeter::default();
        meter.falls_asleep(0, at(0));
        assert!((meter.ratio(1, at(50)) - 1.0).abs() < 0.01);
    }

    #[test]
    fn what_was_long_ago_is_forgotten() {
        let mut meter = IdleMeter::default();
        meter.falls_asleep(0, at(0));
        meter.wakes(0, at(1000));
        assert!(meter.ratio(1, at(1000)) > 0.9);
        assert!((meter.ratio(1, at(1060)) - 0.0).abs() < 0.01);
    }
}
