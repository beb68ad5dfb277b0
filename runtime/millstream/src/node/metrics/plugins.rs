//! What the plugins count, with a label for their own name of it.

use millstream_console::{MetricKind, Sample};
use millstream_pipeline::plugin_metrics::{MetricValue, PluginMetric, PluginMetrics};

pub(super) fn samples(metrics: &PluginMetrics) -> Vec<Sample> {
    metrics.all().into_iter().map(sample).collect()
}

fn sample(metric: PluginMetric) -> Sample {
    let (name, help, kind, value) = match metric.value {
        MetricValue::Counter(count) => (
            "plugin_count",
            "Counters of plugins; the label metric is the plugin's own name",
            MetricKind::Counter,
            count as f64,
        ),
        MetricValue::Gauge(gauge) => (
            "plugin_gauge",
            "Gauges of plugins; the label metric is the plugin's own name",
            MetricKind::Gauge,
            gauge,
        ),
    };
    Sample {
        name,
        help,
        kind,
        labels: vec![
            ("pipeline", metric.pipeline),
            ("stage", metric.stage),
            ("partition", metric.partition.to_string()),
            ("metric", metric.name),
        ],
        value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugins_metric_keeps_its_name_as_a_label() {
        let found = sample(PluginMetric {
            pipeline: "p".to_owned(),
            stage: "s".to_owned(),
            partition: 2,
            name: "late flights".to_owned(),
            value: MetricValue::Counter(7),
        });
        assert_eq!(
            (found.name, found.kind, found.value),
            ("plugin_count", MetricKind::Counter, 7.0)
        );
        assert_eq!(found.labels[3], ("metric", "late flights".to_owned()));
    }
}
