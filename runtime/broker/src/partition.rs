//! The partitions that this node leads: from a topic's name or id and an index to an open log, or to the error code
//! that the client gets.
//!
//! A log is made, or its settings renewed, when its partition is first asked for after its topic's metadata changed;
//! so a node with ten thousand idle partitions starts at once and keeps no file open for them.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use millstream_cluster::{ClusterMetadata, Image, TopicImage};
use millstream_log::{AppendOrigin, Log, LogId, LogStore, StoreError};
use millstream_wire::ErrorCode;
use parking_lot::RwLock;
use uuid::Uuid;

use crate::{
    config::BrokerConfig, error_codes::store_error, internal_topics::writers_of,
    topic_settings::TopicSettings,
};

/// The open partitions of this node.
pub struct Partitions {
    store: Arc<LogStore>,
    cluster: Arc<ClusterMetadata>,
    config: Arc<ArcSwap<BrokerConfig>>,
    open: RwLock<HashMap<(Uuid, i32), Partition>>,
    /// How often the settings of all logs were renewed.
    settings_version: AtomicU64,
}

/// A partition that this node leads, under the metadata of one moment.
#[derive(Clone, Debug)]
pub struct Partition {
    /// The topic as the metadata have it.
    pub topic: Arc<TopicImage>,
    pub index: i32,
    pub log: Arc<Log>,
    /// The leader epoch under which this node may append.
    pub leader_epoch: i32,
    /// Settings in effect.
    pub settings: Arc<TopicSettings>,
}

impl Partition {
    /// Whether enough replicas are in sync for a write with `acks=all`.
    pub fn has_enough_replicas(&self) -> bool {
        let position = usize::try_from(self.index).unwrap_or(usize::MAX);
        let isr = self
            .topic
            .partitions
            .get(position)
            .map_or(0, |partition| partition.isr.len());
        isr >= self.settings.min_insync_replicas
    }

    /// Whether clients may append at all: to a topic of the node's own they may not.
    pub fn takes_clients(&self) -> bool {
        self.settings.log.writers.admit(AppendOrigin::Client)
    }

    /// Checks the leader epoch that a client believes in; -1 is no belief.
    pub fn check_leader_epoch(&self, believed: i32) -> Result<(), ErrorCode> {
        match believed {
            -1 => Ok(()),
            older if older < self.leader_epoch => Err(ErrorCode::FencedLeaderEpoch),
            newer if newer > self.leader_epoch => Err(ErrorCode::UnknownLeaderEpoch),
            _ => Ok(()),
        }
    }
}

impl Partitions {
    pub(crate) fn new(
        store: Arc<LogStore>,
        cluster: Arc<ClusterMetadata>,
        config: Arc<ArcSwap<BrokerConfig>>,
    ) -> Partitions {
        Partitions {
            store,
            cluster,
            config,
            open: RwLock::new(HashMap::new()),
            settings_version: AtomicU64::new(0),
        }
    }

    /// The partition of a topic by name. Errors: UNKNOWN_TOPIC_OR_PARTITION, NOT_LEADER_OR_FOLLOWER,
    /// KAFKA_STORAGE_ERROR.
    pub fn led(&self, topic: &str, index: i32) -> Result<Partition, ErrorCode> {
        let image = self.cluster.image();
        let topic = image
            .topic(topic)
            .ok_or(ErrorCode::UnknownTopicOrPartition)?;
        self.of_topic(topic, index)
    }

    /// The partition of a topic by id. Errors as [`Partitions::led`], and UNKNOWN_TOPIC_ID.
    pub fn led_by_id(&self, topic_id: &Uuid, index: i32) -> Result<Partition, ErrorCode> {
        let image = self.cluster.image();
        let topic = image
            .topic_by_id(topic_id)
            .ok_or(ErrorCode::UnknownTopicId)?;
        self.of_topic(topic, index)
    }

    /// The partition of a topic of the present image.
    pub fn of_topic(&self, topic: &Arc<TopicImage>, index: i32) -> Result<Partition, ErrorCode> {
        let position = usize::try_from(index).map_err(|_| ErrorCode::UnknownTopicOrPartition)?;
        let known = topic
            .partitions
            .get(position)
            .ok_or(ErrorCode::UnknownTopicOrPartition)?;
        if known.leader != self.cluster.node_id() {
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        if let Some(partition) = self.open.read().get(&(topic.id, index))
            && Arc::ptr_eq(&partition.topic, topic)
        {
            return Ok(partition.clone());
        }
        self.open(topic.id, index)
    }

    /// Opens the partition, or renews it after its topic's metadata changed.
    fn open(&self, topic_id: Uuid, index: i32) -> Result<Partition, ErrorCode> {
        let mut open = self.open.write();
        // Looked up again under the lock: the topic may have been deleted, and its log must not be made anew.
        let image = self.cluster.image();
        let topic = image
            .topic_by_id(&topic_id)
            .ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let position = usize::try_from(index).unwrap_or(usize::MAX);
        let known = topic
            .partitions
            .get(position)
            .ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let leader_epoch = known.leader_epoch;
        let settings = self.settings(topic);
        let log = match open.get(&(topic_id, index)) {
            Some(partition) => Arc::clone(&partition.log),
            None => {
                let made = self.make_log(&image, topic, index, &settings);
                made.map_err(|error| store_error(&error))?
            }
        };
        log.set_config(settings.log.clone());
        let partition = Partition {
            topic: Arc::clone(topic),
            index,
            log,
            leader_epoch,
            settings: Arc::new(settings),
        };
        open.insert((topic_id, index), partition.clone());
        Ok(partition)
    }

    /// Makes the log of a topic in the image. Where one of a topic that had its name before is still in the way, the
    /// removal of that topic is committed and its log is about to go; so it goes now.
    fn make_log(
        &self,
        image: &Image,
        topic: &TopicImage,
        partition: i32,
        settings: &TopicSettings,
    ) -> Result<Arc<Log>, StoreError> {
        let id = LogId {
            topic_id: topic.id,
            topic: topic.name.clone(),
            partition,
        };
        match self.store.create_log(id.clone(), settings.log.clone()) {
            Err(StoreError::Taken { holder_id, .. }) if image.topic_by_id(&holder_id).is_none() => {
                self.store.delete_log(&holder_id, partition)?;
                self.store.create_log(id, settings.log.clone())
            }
            made => made,
        }
    }

    /// A topic's settings in effect on this node.
    pub fn settings(&self, topic: &TopicImage) -> TopicSettings {
        let mut settings = TopicSettings::of(self.config.load().effective(&topic.configs));
        settings.log.writers = writers_of(&topic.name);
        settings
    }

    /// Gives every log of this node, opened here or not, the settings in effect.
    pub(crate) fn renew_settings(&self) {
        let mut open = self.open.write();
        let image = self.cluster.image();
        let mut known: HashMap<Uuid, Arc<TopicSettings>> = HashMap::new();
        for log in self.store.logs() {
            let id = log.id();
            let Some(topic) = image.topic_by_id(&id.topic_id) else {
                continue;
            };
            let settings = known
                .entry(topic.id)
                .or_insert_with(|| Arc::new(self.settings(topic)));
            log.set_config(settings.log.clone());
            if let Some(partition) = open.get_mut(&(topic.id, id.partition)) {
                partition.settings = Arc::clone(settings);
            }
        }
        self.settings_version.fetch_add(1, Ordering::Release);
    }

    /// Changes whenever settings of topics, or of the node for all of them, came into effect.
    pub fn settings_version(&self) -> u64 {
        self.settings_version.load(Ordering::Acquire)
    }

    /// Closes and removes the logs of a topic that the metadata no longer have.
    pub(crate) async fn remove(&self, topic: &TopicImage, image: &Image) -> Result<(), ErrorCode> {
        assert!(
            image.topic_by_id(&topic.id).is_none(),
            "files go after the metadata record"
        );
        let partitions = 0..i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        let deletion = {
            let mut open = self.open.write();
            for index in partitions.clone() {
                open.remove(&(topic.id, index));
            }
            self.store.begin_deletion(&topic.id, partitions)
        };
        let deletion = deletion.map_err(|error| store_error(&error))?;
        // Files take their time, and others look for their partitions meanwhile.
        let finished = tokio::task::spawn_blocking(|| deletion.finish()).await;
        finished
            .map_err(|_| ErrorCode::UnknownServerError)?
            .map_err(|error| store_error(&error))
    }
}
