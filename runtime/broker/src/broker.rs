//! `Broker`: the composition of a node's Kafka side, its start and its end.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use millstream_cluster::{ClusterMetadata, METADATA_TOPIC_ID};
use millstream_log::{Health, LogStore, StoreError};
use millstream_wire::ErrorCode;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::watch;

use crate::{
    config::{BrokerConfig, SettingError},
    local::Local,
    metrics::{BrokerStats, Metrics},
    partition::Partitions,
    producer_ids::ProducerIds,
    server::{self, ListenError, ListenerHandle},
    verification::{NamedPartition, VerifyTransaction},
};

/// Why a broker does not start.
#[derive(Debug, Error)]
pub enum StartError {
    #[error(transparent)]
    Setting(#[from] SettingError),
    #[error("the left-over log of a deleted topic could not be removed: {0}")]
    Leftover(#[from] StoreError),
}

/// The Kafka side of a node.
pub struct Broker {
    config: BrokerConfig,
    advertised: Option<(String, u16)>,
    store: Arc<LogStore>,
    cluster: Arc<ClusterMetadata>,
    partitions: Partitions,
    producer_ids: ProducerIds,
    metrics: Metrics,
    verifier: OnceLock<Arc<dyn VerifyTransaction>>,
    closing: watch::Sender<bool>,
    listeners: Mutex<Vec<server::Listener>>,
}

impl Broker {
    /// Starts the broker over a recovered store and its metadata: removes logs of topics that no longer exist, and is
    /// ready. Partitions are opened when they are first touched.
    pub async fn start(
        config: BrokerConfig,
        store: Arc<LogStore>,
        cluster: Arc<ClusterMetadata>,
    ) -> Result<Arc<Broker>, StartError> {
        let advertised = config.advertised_address()?;
        remove_leftovers(&store, &cluster)?;
        Ok(Arc::new(Broker {
            partitions: Partitions::new(
                Arc::clone(&store),
                Arc::clone(&cluster),
                config.topic_defaults.clone(),
            ),
            producer_ids: ProducerIds::new(Arc::clone(&cluster)),
            advertised,
            config,
            store,
            cluster,
            metrics: Metrics::default(),
            verifier: OnceLock::new(),
            closing: watch::Sender::new(false),
            listeners: Mutex::new(Vec::new()),
        }))
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
        let listeners = std::mem::take(&mut *self.listeners.lock());
        let until = tokio::time::Instant::now() + deadline;
        for listener in listeners {
            listener.join(until).await;
        }
    }

    /// The same APIs without sockets.
    pub fn local(self: &Arc<Self>) -> Local {
        Local::new(Arc::clone(self))
    }

    pub fn config(&self) -> &BrokerConfig {
        &self.config
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
    pub fn advertised(&self) -> Option<&(String, u16)> {
        self.advertised.as_ref()
    }

    /// Whether the node can take writes: its store is sound and it is not shutting down.
    pub fn is_ready(&self) -> bool {
        matches!(self.store.health(), Health::Ok) && !*self.closing.borrow()
    }

    /// Names whom partitions ask about transactions; the first one named stays.
    pub fn set_verifier(&self, verifier: Arc<dyn VerifyTransaction>) {
        // A second one would be another coordinator for the same logs, which nothing here makes.
        let _ = self.verifier.set(verifier);
    }

    /// Asks the transaction coordinator whether the open transaction holds the partitions; one answer for each.
    pub(crate) async fn verify_transaction(
        &self,
        transactional_id: &str,
        producer_id: i64,
        producer_epoch: i16,
        partitions: &[NamedPartition],
    ) -> Vec<ErrorCode> {
        match self.verifier.get() {
            Some(verifier) => {
                verifier
                    .verify(transactional_id, producer_id, producer_epoch, partitions)
                    .await
            }
            None => vec![ErrorCode::CoordinatorNotAvailable; partitions.len()],
        }
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

/// A crash between the metadata record that removes a topic and the removal of its files leaves logs behind.
fn remove_leftovers(store: &Arc<LogStore>, cluster: &ClusterMetadata) -> Result<(), StoreError> {
    let image = cluster.image();
    for log in store.logs() {
        let id = log.id();
        if id.topic_id != METADATA_TOPIC_ID && image.topic_by_id(&id.topic_id).is_none() {
            tracing::info!(topic = %id.topic, partition = id.partition, "removing the log of a deleted topic");
            store.delete_log(&id.topic_id, id.partition)?;
        }
    }
    Ok(())
}
