//! The node's figures under Prometheus-style names, by Kafka's meanings.

mod cleaner;
mod plugins;
mod scrub;
mod stages;
mod unread;

use std::sync::Arc;

use millstream_broker::Broker;
use millstream_console::{MetricKind, MetricSource, Sample};
use millstream_log::{Health, Log, LogStore};
use millstream_pipeline::plugin_metrics::PluginMetrics;

use super::pipelines::Pipelines;

pub struct NodeMetrics {
    store: Arc<LogStore>,
    broker: Arc<Broker>,
    plugins: Arc<PluginMetrics>,
    pipelines: Arc<Pipelines>,
}

impl NodeMetrics {
    pub fn new(
        store: Arc<LogStore>,
        broker: Arc<Broker>,
        plugins: Arc<PluginMetrics>,
        pipelines: Arc<Pipelines>,
    ) -> NodeMetrics {
        NodeMetrics {
            store,
            broker,
            plugins,
            pipelines,
        }
    }

    fn partitions(&self) -> Vec<Sample> {
        let logs = self.store.logs();
        let mut samples = vec![gauge(
            "partitions",
            "Partitions that this node holds (Kafka: PartitionCount)",
            logs.len() as f64,
        )];
        samples.push(gauge(
            "lost_partitions",
            "Partitions that this node knows and has lost: they answer with KAFKA_STORAGE_ERROR (Kafka: OfflineReplicaCount)",
            self.store.lost_logs().len() as f64,
        ));
        for log in &logs {
            samples.extend(partition(log));
        }
        samples
    }

    fn traffic(&self) -> Vec<Sample> {
        let stats = self.broker.stats();
        let mut samples = vec![
            gauge(
                "connections",
                "Open connections (Kafka: connection-count)",
                stats.connections_open as f64,
            ),
            counter(
                "connections_accepted",
                "Connections accepted",
                stats.connections_accepted,
            ),
            counter(
                "connections_refused",
                "Connections closed because of what they sent",
                stats.connections_refused,
            ),
            counter(
                "received_bytes",
                "Bytes received from clients",
                stats.bytes_received,
            ),
            counter("sent_bytes", "Bytes sent to clients", stats.bytes_sent),
            counter(
                "produced_bytes",
                "Bytes of batches appended by clients (Kafka: BytesInPerSec)",
                stats.bytes_produced,
            ),
            counter(
                "fetched_bytes",
                "Bytes of batches fetched by clients (Kafka: BytesOutPerSec)",
                stats.bytes_fetched,
            ),
            counter(
                "produced_records",
                "Records appended by clients (Kafka: MessagesInPerSec)",
                stats.records_produced,
            ),
        ];
        for api in stats.apis {
            let mut requests = counter(
                "requests",
                "Requests by API (Kafka: RequestsPerSec)",
                api.requests,
            );
            requests.labels = vec![("api", format!("{:?}", api.api))];
            samples.push(requests);
        }
        samples
    }
}

impl MetricSource for NodeMetrics {
    fn samples(&self) -> Vec<Sample> {
        let ready = matches!(self.store.health(), Health::Ok);
        let mut samples = vec![gauge(
            "ready",
            "1 when the node takes writes, else 0",
            f64::from(u8::from(ready)),
        )];
        samples.extend(self.traffic());
        samples.extend(self.partitions());
        samples.push(gauge(
            "journal_bytes",
            "Bytes of the journal's files",
            self.store.journal_bytes() as f64,
        ));
        samples.extend(scrub::samples(&self.store.scrub_stats()));
        samples.extend(cleaner::samples(&self.store));
        samples.extend(stages::samples(&self.pipelines));
        samples.extend(plugins::samples(&self.plugins));
        samples.extend(unread::samples(&self.broker.local()));
        samples
    }
}

fn partition(log: &Log) -> [Sample; 5] {
    let offsets = log.offsets();
    let labels = vec![
        ("topic", log.id().topic.clone()),
        ("partition", log.id().partition.to_string()),
    ];
    let labelled = |name, help, value: i64| Sample {
        name,
        help,
        kind: MetricKind::Gauge,
        labels: labels.clone(),
        value: value as f64,
    };
    [
        labelled(
            "log_size_bytes",
            "Bytes of the partition's segments (Kafka: Size)",
            i64::try_from(log.size()).unwrap_or(i64::MAX),
        ),
        labelled(
            "log_start_offset",
            "First offset of the partition (Kafka: LogStartOffset)",
            offsets.log_start,
        ),
        labelled(
            "log_end_offset",
            "Offset behind the last record (Kafka: LogEndOffset)",
            offsets.log_end,
        ),
        labelled(
            "high_watermark",
            "Offset up to which records are acknowledged",
            offsets.high_watermark,
        ),
        labelled(
            "last_stable_offset",
            "Offset up to which transactions are decided",
            offsets.last_stable,
        ),
    ]
}

fn counter(name: &'static str, help: &'static str, value: u64) -> Sample {
    sample(name, help, MetricKind::Counter, value as f64)
}

fn gauge(name: &'static str, help: &'static str, value: f64) -> Sample {
    sample(name, help, MetricKind::Gauge, value)
}

fn sample(name: &'static str, help: &'static str, kind: MetricKind, value: f64) -> Sample {
    Sample {
        name,
        help,
        kind,
        labels: Vec::new(),
        value,
    }
}
