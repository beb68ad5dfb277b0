//! What the scrub has read and found.

use millstream_console::Sample;
use millstream_log::ScrubStats;

use super::{counter, gauge};

pub(super) fn samples(stats: &ScrubStats) -> Vec<Sample> {
    let mut samples = vec![
        counter(
            "scrub_read_bytes",
            "Bytes of ended segments that were read again and checked",
            stats.bytes,
        ),
        counter(
            "scrub_segments",
            "Segments that the scrub has read to their end",
            stats.segments,
        ),
        counter(
            "scrub_passes",
            "Passes of the scrub over all partitions",
            stats.passes,
        ),
        gauge(
            "damaged_regions",
            "Damaged regions of segments that are known now",
            stats.damaged_regions as f64,
        ),
    ];
    if let Some(ended_ms) = stats.last_pass_ms {
        samples.push(gauge(
            "scrub_last_pass_timestamp_seconds",
            "When the last pass of the scrub ended, seconds since 1970",
            ended_ms as f64 / 1000.0,
        ));
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_that_never_ended_has_no_time() {
        let never = samples(&ScrubStats::default());
        let once = samples(&ScrubStats {
            last_pass_ms: Some(1_500),
            ..ScrubStats::default()
        });
        assert_eq!(never.len() + 1, once.len());
        assert_eq!(once.last().map(|sample| sample.value), Some(1.5));
    }
}
