//! `Broker`: the composition of a node's Kafka side, its start and its end.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use arc_swap::ArcSwap;
use millstream_cluster::ClusterMetadata;
use millstream_log::{Health, LogStore, StoreError};
use millstream_wire::ErrorCode;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::watch;

use crate::{
    config::{BrokerConfig, SettingError, Values},
    coordinator::{BrokerPorts, Ports, TopicPartition},
    group::GroupCoordinator,
    leftovers::settle_logs,
    local::Local,
    metrics::{BrokerStats, Metrics},
    partition::Partitions,
    producer_ids::ProducerIds,
    server::{self, ListenError, ListenerHandle},
    transaction::{Producer, TransactionCoordinator},
    verification::NamedPartition,
};

/// Why a broker does not start.
#[derive(Debug, Error)]
pub enum StartError {
    #[error(transparent)]
    Setting(#[from] SettingError),
    #[error("a log that belongs to no topic could be neither removed nor set aside: {0}")]
    Leftover(#[from] StoreError),
}

/// The Kafka side of a node.
pub struct Broker {
    /// The settings that the node was started with.
    started_with: BrokerConfig,
    config: Arc<ArcSwap<BrokerConfig>>,
    /// Held while changed settings are brought into effect, so that the newest ones come last.
    applying: Mutex<()>,
    store: Arc<LogStore>,
    cluster: Arc<ClusterMetadata>,
    partitions: Partitions,
    producer_ids: ProducerIds,
    metrics: Metrics,
    groups: Arc<GroupCoordinator>,
    transactions: Arc<TransactionCoordinator>,
    closing: watch::Sender<bool>,
    listeners: Mutex<Vec<server::Listener>>,
    group_notes: OnceLock<GroupNotes>,
}

/// What is to be said of a group beside its state.
type GroupNotes = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

impl Broker {
    /// Starts the broker over a recovered store and its metadata: removes logs of topics that were removed, sets aside
    /// those of topics that nobody knows, and is ready. Partitions are opened when they are first touched.
    pub async fn start(
        config: BrokerConfig,
        store: Arc<LogStore>,
        cluster: Arc<ClusterMetadata>,
    ) -> Result<Arc<Broker>, StartError> {
        config.advertised_address()?;
        settle_logs(&store, &cluster)?;
        let present = Arc::new(ArcSwap::from_pointee(with_dynamic(&config, &cluster)));
        let broker = Arc::new_cyclic(|broker| {
            let clock = store.clock();
            let ports: Arc<dyn Ports> = Arc::new(BrokerPorts::new(broker.clone()));
            let groups = GroupCoordinator::new(
                Arc::clone(&ports),
                Arc::clone(clock),
                config.group_settings(),
            );
            let transactions = TransactionCoordinator::new(
                ports,
                Arc::clone(&groups),
                Arc::clone(clock),
                config.transaction_settings(),
            );
            Broker {
                partitions: Partitions::new(
                    Arc::clone(&store),
                    Arc::clone(&cluster),
                    Arc::clone(&present),
                ),
                producer_ids: ProducerIds::new(Arc::clone(&cluster)),
                started_with: config,
                config: present,
                applying: Mutex::new(()),
                store,
                cluster,
                metrics: Metrics::default(),
                groups,
                transactions,
                closing: watch::Sender::new(false),
                listeners: Mutex::new(Vec::new()),
                group_notes: OnceLock::new(),
            }
        });
        broker.apply_settings();
        broker.groups.start();
        broker.transactions.start();
        let logs = broker.store.logs();
        broker.transactions.settle_after_loss(&logs).await;
        Ok(broker)
    }

    /// Opens a listener; port 0 takes a free port, which the handle tells.
    pub async fn listen(
        self: &Arc<Self>,
        address: SocketAddr,
    ) -> Result<ListenerHandle, ListenError> {
        let (listener, handle) =
            server::Listener::bind(Arc::clone(self), address, self.closing.subscribe()).await?;
        self.listeners.lock().push(listener);
        Ok(handle)
    }

    /// Stops taking connections and requests, lets the requests under way finish, and closes everything. What has not
    /// finished within `deadline` is cut off.
    pub async fn shutdown(&self, deadline: Duration) {
        self.closing.send_replace(true);
        // Members that wait for their group would hold their connections open.
        self.groups.dismiss();
        let listeners = std::mem::take(&mut *self.listeners.lock());
        let until = tokio::time::Instant::now() + deadline;
        for listener in listeners {
            listener.join(until).await;
        }
        self.transactions.close().await;
        self.groups.close().await;
    }

    /// Whom to ask for what DescribeGroups says of a group beside its state. The first call counts.
    pub fn set_group_notes(&self, notes: impl Fn(&str) -> Option<String> + Send + Sync + 'static) {
        let _ = self.group_notes.set(Box::new(notes));
    }

    /// What is to be said of a group: why the stage that holds it has stopped.
    pub(crate) fn group_note(&self, group: &str) -> Option<String> {
        self.group_notes.get().and_then(|notes| notes(group))
    }

    /// The same APIs without sockets.
    pub fn local(self: &Arc<Self>) -> Local {
        Local::new(Arc::clone(self))
    }

    /// The settings in effect.
    pub fn config(&self) -> Arc<BrokerConfig> {
        self.config.load_full()
    }

    /// Brings the settings of the committed metadata into effect: the node's own, and those of every log.
    pub(crate) fn apply_settings(&self) {
        let _applying = self.applying.lock();
        let config = with_dynamic(&self.started_with, &self.cluster);
        if self.store.cleaner_options() != config.cleaner_options() {
            // Its threads wake up and look for work.
            self.store.set_cleaner_options(config.cleaner_options());
        }
        self.store
            .set_producer_id_expiration_ms(config.producer_id_expiration_ms.into());
        self.config.store(Arc::new(config));
        self.partitions.renew_settings();
    }

    pub fn store(&self) -> &Arc<LogStore> {
        &self.store
    }

    pub fn cluster(&self) -> &Arc<ClusterMetadata> {
        &self.cluster
    }

    /// The partitions that this node leads, opened when they are asked for.
    pub fn partitions(&self) -> &Partitions {
        &self.partitions
    }

    /// Fresh producer ids.
    pub fn producer_ids(&self) -> &ProducerIds {
        &self.producer_ids
    }

    /// Host and port that clients are told, when the node's settings name them.
    pub fn advertised(&self) -> Option<(String, u16)> {
        // Checked before it was set.
        self.config.load().advertised_address().ok().flatten()
    }

    /// Whether the node can take writes: its store is sound and it is not shutting down.
    pub fn is_ready(&self) -> bool {
        matches!(self.store.health(), Health::Ok) && !*self.closing.borrow()
    }

    /// The group coordinator.
    pub(crate) fn groups(&self) -> &Arc<GroupCoordinator> {
        &self.groups
    }

    /// The transaction coordinator.
    pub(crate) fn transactions(&self) -> &Arc<TransactionCoordinator> {
        &self.transactions
    }

    /// Asks the transaction coordinator whether the open transaction holds the partitions; one answer for each.
    pub(crate) async fn verify_transaction(
        &self,
        transactional_id: &str,
        producer_id: i64,
        producer_epoch: i16,
        partitions: &[NamedPartition],
    ) -> Vec<ErrorCode> {
        let producer = Producer {
            id: producer_id,
            epoch: producer_epoch,
        };
        let mut verdicts = Vec::with_capacity(partitions.len());
        for (topic, index) in partitions {
            let partition = TopicPartition::new(topic.clone(), *index);
            let verdict = self
                .transactions
                .verify_partition(transactional_id, producer, &partition)
                .await;
            verdicts.push(match verdict {
                Ok(()) => ErrorCode::None,
                // What a producer knows from Produce itself.
                Err(ErrorCode::ProducerFenced) => ErrorCode::InvalidProducerEpoch,
                Err(error) => error,
            });
        }
        verdicts
    }

    /// Turns true when the node shuts down.
    pub fn closing(&self) -> watch::Receiver<bool> {
        self.closing.subscribe()
    }

    /// Counters since the start.
    pub fn stats(&self) -> BrokerStats {
        self.metrics.stats()
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}

fn with_dynamic(config: &BrokerConfig, cluster: &ClusterMetadata) -> BrokerConfig {
    let image = cluster.image();
    let own = image.broker_configs(cluster.node_id());
    config.with_dynamic(
        image.default_broker_configs(),
        own.unwrap_or(&Values::new()),
    )
}
