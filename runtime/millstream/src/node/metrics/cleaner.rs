//! The cleaner's figures, by Kafka's meanings.

use millstream_console::{MetricKind, Sample};
use millstream_log::{CleanerMetrics, DirtyLog, LogStore};

use super::{counter, gauge};

pub(super) fn samples(store: &LogStore) -> Vec<Sample> {
    of(&store.cleaner_metrics())
}

fn of(metrics: &CleanerMetrics) -> Vec<Sample> {
    let mut samples = vec![
        gauge(
            "cleaner_max_dirty_percent",
            "Greatest dirty share of a compacted partition, percent (Kafka: max-dirty-percent)",
            metrics.max_dirty_percent,
        ),
        gauge(
            "cleaner_idle_ratio",
            "Share of their time that the cleaner's threads slept lately (Kafka: cleanerIdleRatio)",
            metrics.idle_ratio,
        ),
        gauge(
            "cleaner_threads",
            "Threads that compact logs",
            metrics.threads as f64,
        ),
        counter(
            "cleaner_passes",
            "Passes that came to their end",
            metrics.passes,
        ),
        counter(
            "cleaner_read_bytes",
            "Bytes that passes have read",
            metrics.bytes_read,
        ),
        counter(
            "cleaner_written_bytes",
            "Bytes that passes have written",
            metrics.bytes_written,
        ),
        gauge(
            "cleaner_uncleanable_partitions",
            "Partitions whose last pass failed (Kafka: uncleanable-partitions-count)",
            metrics.uncleanable.len() as f64,
        ),
    ];
    if let Some(since) = metrics.since_last_pass {
        samples.push(gauge(
            "cleaner_since_last_pass_seconds",
            "Time since a pass ended (Kafka: time-since-last-run-ms)",
            since.as_secs_f64(),
        ));
    }
    if let Some(last) = metrics.last_pass {
        samples.push(gauge(
            "cleaner_last_pass_seconds",
            "How long the last pass took (Kafka: max-clean-time-secs)",
            last.as_secs_f64(),
        ));
    }
    samples.extend(metrics.dirty.iter().map(dirty));
    samples
}

fn dirty(log: &DirtyLog) -> Sample {
    Sample {
        name: "cleaner_dirty_percent",
        help: "Dirty share of a compacted partition, percent (Kafka: percentDirty)",
        kind: MetricKind::Gauge,
        labels: vec![
            ("topic", log.topic.clone()),
            ("partition", log.partition.to_string()),
        ],
        value: log.percent,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn kafkas_names_stand_in_the_help_of_what_means_the_same() {
        let metrics = CleanerMetrics {
            dirty: vec![DirtyLog {
                topic: "t".to_owned(),
                partition: 1,
                percent: 40.0,
            }],
            since_last_pass: Some(Duration::from_millis(1_500)),
            ..CleanerMetrics::default()
        };
        let samples = of(&metrics);
        let value = |kafka: &str| {
            let found = samples.iter().find(|sample| sample.help.contains(kafka));
            found.unwrap_or_else(|| panic!("{kafka}")).value
        };
        assert_eq!(value("percentDirty"), 40.0);
        assert_eq!(value("cleanerIdleRatio"), 0.0);
        assert_eq!(value("time-since-last-run-ms"), 1.5);
        assert_eq!(value("uncleanable-partitions-count"), 0.0);
    }
}
