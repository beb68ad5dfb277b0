//! A histogram of delays: fixed memory, about 3 % wide buckets.

use std::time::Duration;

/// Buckets per doubling.
const STEPS: usize = 32;
/// Doublings from 1 µs on: up to about 73 minutes.
const DOUBLINGS: usize = 32;

/// Counts of delays in microseconds, by buckets that grow with the delay.
#[derive(Clone)]
pub struct Histogram {
    buckets: Box<[u64]>,
    count: u64,
    max: Duration,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram {
            buckets: vec![0; STEPS * (DOUBLINGS + 1)].into_boxed_slice(),
            count: 0,
            max: Duration::ZERO,
        }
    }
}

impl std::fmt::Debug for Histogram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Histogram")
            .field("count", &self.count)
            .field("p50", &self.quantile(0.5))
            .field("p99", &self.quantile(0.99))
            .field("max", &self.max)
            .finish()
    }
}

impl Histogram {
    /// Counts `weight` records with the same delay.
    pub fn record(&mut self, delay: Duration, weight: u64) {
        let micros = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        self.buckets[bucket_of(micros)] += weight;
        self.count += weight;
        self.max = self.max.max(delay);
    }

    pub fn merge(&mut self, other: &Histogram) {
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    pub fn max(&self) -> Duration {
        self.max
    }

    /// The delay that a share `q` (0 to 1) of the records did not exceed, rounded up to its
    /// bucket's end; `None` while nothing was counted.
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        if self.count == 0 {
            return None;
        }
        let wanted = ((self.count as f64 * q).ceil() as u64).clamp(1, self.count);
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Some(Duration::from_micros(bucket_end(index)).min(self.max));
            }
        }
        Some(self.max)
    }
}

fn bucket_of(micros: u64) -> usize {
    // Below STEPS a bucket is one microsecond wide.
    if micros < STEPS as u64 {
        return micros as usize;
    }
    let doubling = micros.ilog2() as usize - STEPS.ilog2() as usize;
    let step = (micros >> doubling) as usize - STEPS;
    ((doubling + 1) * STEPS + step).min(STEPS * (DOUBLINGS + 1) - 1)
}

fn bucket_end(index: usize) -> u64 {
    if index < STEPS {
        return index as u64;
    }
    let doubling = index / STEPS - 1;
    ((STEPS + index % STEPS + 1) as u64) << doubling
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_within_a_bucket() {
        let mut histogram = Histogram::default();
        for micros in 1..=10_000 {
            histogram.record(Duration::from_micros(micros), 1);
        }
        for (q, expected) in [(0.5, 5_000.0), (0.99, 9_900.0), (1.0, 10_000.0)] {
            let found = histogram.quantile(q).unwrap().as_micros() as f64;
            assert!(
                found >= expected && found <= expected * 1.04,
                "{q}: {found}"
            );
        }
        assert_eq!(histogram.count(), 10_000);
    }

    #[test]
    fn every_delay_has_a_bucket_and_buckets_rise() {
        let mut last = 0;
        for shift in 0..64 {
            let bucket = bucket_of(1 << shift);
            assert!(bucket >= last);
            last = bucket;
        }
        for micros in [0, 1, 31, 32, 33, 1000, 123_456, 1 << 30] {
            assert!(bucket_end(bucket_of(micros)) >= micros, "{micros}");
        }
        let mut histogram = Histogram::default();
        histogram.record(Duration::MAX, 1);
        assert!(histogram.quantile(0.5) > Some(Duration::from_secs(24 * 3600)));
    }

    #[test]
    fn an_empty_histogram_has_no_quantile() {
        assert_eq!(Histogram::default().quantile(0.5), None);
    }
}
