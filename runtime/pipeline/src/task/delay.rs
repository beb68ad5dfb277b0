//! How long records waited: from the moment when a task could first see a record to its commit.

use std::collections::VecDeque;
use std::time::Instant;

use crate::run::Histogram;

/// Sightings kept at most; beyond, neighbours are merged into the earlier one.
const SIGHTINGS_MAX: usize = 1024;

/// For one input partition: when its end was first seen where.
#[derive(Debug, Default)]
pub struct DelayTracker {
    /// (end, moment): records before `end` were there at `moment`; both rise.
    sightings: VecDeque<(i64, Instant)>,
    seen: i64,
}

impl DelayTracker {
    /// The partition's stable end was seen at `end`.
    pub fn saw(&mut self, end: i64, now: Instant) {
        if end <= self.seen {
            return;
        }
        self.seen = end;
        if self.sightings.len() >= SIGHTINGS_MAX
            && let Some(last) = self.sightings.back_mut()
        {
            last.0 = end;
            return;
        }
        self.sightings.push_back((end, now));
    }

    /// The records of `from..to` were committed.
    pub fn committed(&mut self, from: i64, to: i64, now: Instant, histogram: &mut Histogram) {
        let mut at = from;
        while at < to {
            let Some(&(end, moment)) = self.sightings.front() else {
                return;
            };
            if end > at {
                let upto = end.min(to);
                let delay = now.saturating_duration_since(moment);
                histogram.record(delay, (upto - at).unsigned_abs());
                at = upto;
            }
            if end <= to {
                self.sightings.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn every_record_counts_from_when_it_was_first_seen() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut tracker = DelayTracker::default();
        let mut histogram = Histogram::default();
        tracker.saw(10, at(0));
        tracker.saw(10, at(5));
        tracker.saw(20, at(100));
        tracker.committed(0, 15, at(110), &mut histogram);
        assert_eq!(histogram.count(), 15);
        assert_eq!(histogram.max(), Duration::from_millis(110));
        assert!(histogram.quantile(0.9).unwrap() >= Duration::from_millis(110));
        tracker.committed(15, 20, at(120), &mut histogram);
        assert_eq!(histogram.count(), 20);
        // Ten waited 110 ms, five 10 ms, five 20 ms.
        let median = histogram.quantile(0.5).unwrap();
        assert!(median >= Duration::from_millis(20) && median < Duration::from_millis(22));
    }

    #[test]
    fn sightings_are_bounded() {
        let start = Instant::now();
        let mut tracker = DelayTracker::default();
        for end in 1..100_000 {
            tracker.saw(end, start);
        }
        assert!(tracker.sightings.len() <= SIGHTINGS_MAX);
        let mut histogram = Histogram::default();
        tracker.committed(0, 99_999, start, &mut histogram);
        assert_eq!(histogram.count(), 99_999);
    }
}
