//! A node: the log store, the cluster's metadata, the broker and the console, put together and taken
//! apart in order.

mod descriptors;
mod metrics;
mod pipelines;
mod signals;
mod unread;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use millstream_broker::{Broker, BrokerConfig};
use millstream_cluster::{ClusterMetadata, NodeIdentity};
use millstream_console::{Console, NodeHandles, Readiness};
use millstream_log::clock::{Clock, SystemClock};
use millstream_log::fs::{FileSystem, RealFs};
use millstream_log::{FlushMode, Health, LogStore, RecoveryReport, StoreOptions};
use millstream_pipeline::plugin_metrics::PluginMetrics;

use crate::outcome::{Failure, Outcome};
use crate::settings::{Flush, NodeSettings};
use metrics::NodeMetrics;
use pipelines::Pipelines;
use unread::UnreadWatch;

pub use signals::{StopSignal, stop_signal};

/// How long requests under way may take to finish when the node stops.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(10);

/// What a node stands on; tests put a simulated disk and a clock of their own here.
#[derive(Debug, Clone)]
pub struct Ground {
    pub files: Arc<dyn FileSystem>,
    pub clock: Arc<dyn Clock>,
}

impl Default for Ground {
    fn default() -> Ground {
        Ground {
            files: Arc::new(RealFs),
            clock: Arc::new(SystemClock),
        }
    }
}

/// A running node.
pub struct Node {
    store: Arc<LogStore>,
    broker: Arc<Broker>,
    console: Console,
    kafka_addr: SocketAddr,
    plugin_metrics: Arc<PluginMetrics>,
    pipelines: Arc<Pipelines>,
    unread: UnreadWatch,
}

impl Node {
    /// Recovers the data directory and starts to serve.
    pub async fn start(settings: &NodeSettings, ground: Ground) -> Outcome<Node> {
        let config = broker_config(settings)?;
        let limit = descriptors::raise_limit();
        let options = config.store_options(store_options(settings, ground, limit));
        let store = blocking(move || LogStore::open(options)).await?;
        let (store, recovery) =
            store.with_context(|| format!("cannot open {}", settings.data_dir.display()))?;
        report_recovery(&recovery);
        if let Some(complaint) = limit.complaint(store.logs().len()) {
            tracing::warn!("{complaint}");
        }
        if !settings.kafka_addr.ip().is_loopback() {
            tracing::warn!("{}", open_to_others(settings.kafka_addr));
        }
        let broker = start_broker(settings, config, &store).await?;
        let listener = broker.listen(settings.kafka_addr).await?;
        let kafka_addr = listener.local_addr;
        let plugin_metrics = Arc::default();
        let pipelines: Arc<Pipelines> = Arc::default();
        let shown = Arc::clone(&pipelines);
        broker.set_group_notes(move |group| shown.note_of_group(group));
        let handles = handles(&store, &broker, &plugin_metrics, &pipelines);
        let console = Console::start(settings.http_addr, handles).await?;
        Ok(Node {
            unread: UnreadWatch::start(&broker),
            store,
            broker,
            console,
            kafka_addr,
            plugin_metrics,
            pipelines,
        })
    }

    pub fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    pub fn store(&self) -> &Arc<LogStore> {
        &self.store
    }

    /// What the plugins of this node count; shown with the node's own metrics.
    pub fn plugin_metrics(&self) -> &Arc<PluginMetrics> {
        &self.plugin_metrics
    }

    /// The pipelines whose state this node shows.
    pub fn pipelines(&self) -> &Pipelines {
        &self.pipelines
    }

    /// Where Kafka clients connect.
    pub fn kafka_addr(&self) -> SocketAddr {
        self.kafka_addr
    }

    pub fn http_addr(&self) -> SocketAddr {
        self.console.local_addr()
    }

    /// Lets requests under way finish, then closes the store cleanly.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.broker.shutdown(SHUTDOWN_DEADLINE).await;
        self.unread.stop().await;
        let console = self.console.shutdown().await;
        self.store
            .close()
            .await
            .context("the log store did not close cleanly")?;
        Ok(console?)
    }
}

/// What it means that others than this machine can connect.
fn open_to_others(address: SocketAddr) -> String {
    format!(
        "Kafka clients on other machines can connect to {address}, and this node asks nobody who they are: \
        whoever reaches it may read, write and delete. Use 127.0.0.1 unless the network keeps others away"
    )
}

fn report_recovery(recovery: &RecoveryReport) {
    if !recovery.was_clean && recovery.logs > 0 {
        let RecoveryReport {
            logs,
            redone_entries,
            ..
        } = recovery;
        tracing::info!(logs, redone_entries, "recovered after an unclean stop");
    }
    for problem in &recovery.problems {
        tracing::error!("{problem}");
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .context("a start-up task panicked")
}

fn broker_config(settings: &NodeSettings) -> Outcome<BrokerConfig> {
    let mut config = BrokerConfig::default();
    for (name, value) in &settings.broker {
        config.set(name, value).map_err(Failure::usage)?;
    }
    Ok(config)
}

fn store_options(
    settings: &NodeSettings,
    ground: Ground,
    limit: descriptors::DescriptorLimit,
) -> StoreOptions {
    let flush = match settings.flush {
        Flush::Journal => FlushMode::Journal,
        Flush::Os => FlushMode::Os,
    };
    StoreOptions {
        fs: ground.files,
        clock: ground.clock,
        node_id: settings.node_id,
        open_files_max: limit.open_segments_max(),
        ..StoreOptions::new(&settings.data_dir, flush)
    }
}

async fn start_broker(
    settings: &NodeSettings,
    config: BrokerConfig,
    store: &Arc<LogStore>,
) -> Outcome<Arc<Broker>> {
    let identity = NodeIdentity {
        node_id: settings.node_id,
        host: settings.kafka_addr.ip().to_string(),
        port: settings.kafka_addr.port(),
    };
    let cluster = ClusterMetadata::open(store, identity)
        .await
        .context("cannot read the cluster's metadata")?;
    Ok(Broker::start(config, Arc::clone(store), cluster).await?)
}

fn handles(
    store: &Arc<LogStore>,
    broker: &Arc<Broker>,
    plugins: &Arc<PluginMetrics>,
    pipelines: &Arc<Pipelines>,
) -> NodeHandles {
    let judged = Arc::clone(store);
    let readiness = Arc::new(move || match judged.health() {
        Health::Ok => Readiness::Ready,
        Health::Full { reason } | Health::Poisoned { reason } => Readiness::NotReady { reason },
    });
    let metrics = Arc::new(NodeMetrics::new(
        Arc::clone(store),
        Arc::clone(broker),
        Arc::clone(plugins),
        Arc::clone(pipelines),
    ));
    let shown = Arc::clone(pipelines);
    let remarks = Arc::new(move || shown.failures());
    NodeHandles {
        metrics,
        readiness,
        remarks,
    }
}
