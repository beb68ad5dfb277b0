//! From samples, which any part of the node can hand over, to Prometheus' text format.

use std::collections::BTreeMap;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

/// Whether a value only grows or can also fall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Grows until the process ends; `_total` is appended to its name.
    Counter,
    Gauge,
}

/// One value of one metric at this moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Prometheus name without the `millstream_` prefix, unit last (`log_size_bytes`).
    pub name: &'static str,
    /// One sentence; names Kafka's metric where there is one.
    pub help: &'static str,
    pub kind: MetricKind,
    pub labels: Vec<(&'static str, String)>,
    pub value: f64,
}

/// A part of the node that can be asked for its figures. Asked once per scrape; must not block.
pub trait MetricSource: Send + Sync + 'static {
    fn samples(&self) -> Vec<Sample>;
}

/// A registry that asks `source` anew at every scrape.
pub(crate) fn registry(source: Arc<dyn MetricSource>) -> Registry {
    let mut registry = Registry::with_prefix("millstream");
    registry.register_collector(Box::new(SourceCollector { source }));
    registry
}

struct SourceCollector {
    source: Arc<dyn MetricSource>,
}

impl std::fmt::Debug for SourceCollector {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("SourceCollector")
    }
}

impl Collector for SourceCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        // The text format wants all samples of one metric behind one descriptor.
        let mut families: BTreeMap<&'static str, Vec<Sample>> = BTreeMap::new();
        for sample in self.source.samples() {
            families.entry(sample.name).or_default().push(sample);
        }
        for (name, samples) in families {
            match samples[0].kind {
                MetricKind::Counter => {
                    encode_family(&mut encoder, name, &samples, ConstCounter::new)?
                }
                MetricKind::Gauge => encode_family(&mut encoder, name, &samples, ConstGauge::new)?,
            }
        }
        Ok(())
    }
}

fn encode_family<M: EncodeMetric>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    samples: &[Sample],
    metric: impl Fn(f64) -> M,
) -> Result<(), std::fmt::Error> {
    let kind = metric(0.0).metric_type();
    let mut family = encoder.encode_descriptor(name, samples[0].help, None, kind)?;
    for sample in samples {
        if sample.labels.is_empty() {
            // Through a family it would be written as `name{}`.
            return metric(sample.value).encode(family);
        }
        let labelled = family.encode_family(&sample.labels)?;
        metric(sample.value).encode(labelled)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Two;

    impl MetricSource for Two {
        fn samples(&self) -> Vec<Sample> {
            let sample = |topic: &str, value| Sample {
                name: "log_size_bytes",
                help: "Bytes in the partition's segments (Kafka: Size)",
                kind: MetricKind::Gauge,
                labels: vec![("topic", topic.to_string())],
                value,
            };
            let requests = Sample {
                name: "requests",
                help: "Requests answered",
                kind: MetricKind::Counter,
                labels: vec![],
                value: 7.0,
            };
            vec![sample("a", 1.0), requests, sample("b", 2.5)]
        }
    }

    #[test]
    fn samples_of_one_metric_stand_behind_one_descriptor() {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry(Arc::new(Two))).unwrap();
        assert_eq!(
            text.matches("# TYPE millstream_log_size_bytes gauge")
                .count(),
            1,
            "{text}"
        );
        assert!(
            text.contains("millstream_log_size_bytes{topic=\"a\"} 1.0"),
            "{text}"
        );
        assert!(
            text.contains("millstream_log_size_bytes{topic=\"b\"} 2.5"),
            "{text}"
        );
        assert!(text.contains("millstream_requests_total 7.0"), "{text}");
    }
}
