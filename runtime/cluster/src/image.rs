//! The image: all metadata up to one offset of the metadata log, immutable, shared by `Arc`.
//!
//! Each part sits behind its own `Arc`, so a change copies only the part that it touches (a new task owner does not
//! copy ten thousand topics).

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use thiserror::Error;
use uuid::Uuid;

use crate::record::{ConfigResource, MetadataRecord, TaskKey, TaskTopics};

/// All metadata up to and including `offset`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    offset: Option<i64>,
    brokers: Arc<BTreeMap<i32, BrokerImage>>,
    topics: Arc<BTreeMap<String, Arc<TopicImage>>>,
    topic_names: Arc<HashMap<Uuid, String>>,
    broker_configs: Arc<BTreeMap<i32, BTreeMap<String, String>>>,
    default_broker_configs: Arc<BTreeMap<String, String>>,
    tasks: Arc<BTreeMap<TaskKey, TaskImage>>,
    next_producer_id: i64,
}

/// A node as clients see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerImage {
    pub node_id: i32,
    pub host: String,
    pub port: u16,
}

/// A topic with its partitions (index = position) and the settings that differ from the defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicImage {
    pub name: String,
    pub id: Uuid,
    pub partitions: Vec<PartitionImage>,
    pub configs: BTreeMap<String, String>,
    /// The pipeline that created it, by its name.
    pub created_by: Option<String>,
}

/// One partition's leadership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionImage {
    pub leader: i32,
    /// Rises with every change of leader and every restart of the leader.
    pub leader_epoch: i32,
    pub replicas: Vec<i32>,
    pub isr: Vec<i32>,
}

/// Who runs a task, and on which topics it works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskImage {
    pub node_id: i32,
    pub epoch: i32,
    pub topics: TaskTopics,
}

/// A record that contradicts the image: the metadata log is damaged or was written by a faulty program.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ApplyError {
    #[error("topic {name} is created twice")]
    TopicExists { name: String },
    #[error("record names topic id {id}, which does not exist")]
    UnknownTopicId { id: Uuid },
    #[error("record names topic {name}, which does not exist")]
    UnknownTopic { name: String },
    #[error("partition {index} of topic {topic} comes when {next} is the next one")]
    PartitionGap {
        topic: String,
        index: i32,
        next: usize,
    },
    #[error("record removes task {}/{}/{}, which does not exist", .key.pipeline, .key.stage, .key.partition)]
    UnknownTask { key: TaskKey },
    #[error("producer ids go back from {current} to {next}")]
    ProducerIdsGoBack { current: i64, next: i64 },
}

impl Image {
    /// Offset of the last record applied; `None` before the first.
    pub fn offset(&self) -> Option<i64> {
        self.offset
    }

    /// All nodes, by id.
    pub fn brokers(&self) -> impl ExactSizeIterator<Item = &BrokerImage> {
        self.brokers.values()
    }

    /// One node.
    pub fn broker(&self, node_id: i32) -> Option<&BrokerImage> {
        self.brokers.get(&node_id)
    }

    /// All topics, in order of name.
    pub fn topics(&self) -> impl ExactSizeIterator<Item = &Arc<TopicImage>> {
        self.topics.values()
    }

    /// A topic by name.
    pub fn topic(&self, name: &str) -> Option<&Arc<TopicImage>> {
        self.topics.get(name)
    }

    /// A topic by id.
    pub fn topic_by_id(&self, id: &Uuid) -> Option<&Arc<TopicImage>> {
        self.topic(self.topic_names.get(id)?)
    }

    /// Settings given to a node at run time.
    pub fn broker_configs(&self, node_id: i32) -> Option<&BTreeMap<String, String>> {
        self.broker_configs.get(&node_id)
    }

    /// Settings given to all nodes at run time; a node's own are stronger.
    pub fn default_broker_configs(&self) -> &BTreeMap<String, String> {
        &self.default_broker_configs
    }

    /// The owner of a task, if it ever had one.
    pub fn task(&self, key: &TaskKey) -> Option<&TaskImage> {
        self.tasks.get(key)
    }

    /// All tasks, in order of key.
    pub fn tasks(&self) -> impl ExactSizeIterator<Item = (&TaskKey, &TaskImage)> {
        self.tasks.iter()
    }

    /// Whether a stage (or source) of a pipeline has tasks, be they running or not.
    pub fn has_tasks(&self, pipeline: &str, stage: &str) -> bool {
        let first = TaskKey {
            pipeline: pipeline.to_owned(),
            stage: stage.to_owned(),
            partition: i32::MIN,
        };
        let mut from = self.tasks.range(first..);
        from.next()
            .is_some_and(|(key, _)| key.pipeline == pipeline && key.stage == stage)
    }

    /// The first producer id that was never given away.
    pub fn next_producer_id(&self) -> i64 {
        self.next_producer_id
    }

    /// This image with `records` applied, the last of which has offset `last_offset`.
    pub fn with(&self, records: &[MetadataRecord], last_offset: i64) -> Result<Image, ApplyError> {
        let mut next = self.clone();
        next.advance(records, last_offset)?;
        Ok(next)
    }

    /// Applies records in place, for a decision that goes on from what it has decided. After an error the image is
    /// of no use any more.
    pub fn advance(
        &mut self,
        records: &[MetadataRecord],
        last_offset: i64,
    ) -> Result<(), ApplyError> {
        for record in records {
            self.apply(record)?;
        }
        self.offset = Some(last_offset);
        Ok(())
    }

    /// Raises all epochs of partitions and tasks, and the producer ids that count as given away.
    pub(crate) fn raise_all(&mut self, epochs: i32, producer_ids: i64) {
        for topic in Arc::make_mut(&mut self.topics).values_mut() {
            for partition in &mut Arc::make_mut(topic).partitions {
                partition.leader_epoch = partition.leader_epoch.saturating_add(epochs);
            }
        }
        for task in Arc::make_mut(&mut self.tasks).values_mut() {
            task.epoch = task.epoch.saturating_add(epochs);
        }
        self.next_producer_id = self.next_producer_id.saturating_add(producer_ids);
    }

    pub(crate) fn set_offset(&mut self, last_offset: i64) {
        self.offset = Some(last_offset);
    }

    pub(crate) fn apply(&mut self, record: &MetadataRecord) -> Result<(), ApplyError> {
        match record {
            MetadataRecord::Broker {
                node_id,
                host,
                port,
            } => {
                let broker = BrokerImage {
                    node_id: *node_id,
                    host: host.clone(),
                    port: *port,
                };
                Arc::make_mut(&mut self.brokers).insert(*node_id, broker);
            }
            MetadataRecord::Restart { node_id } => self.raise_leader_epochs(*node_id),
            MetadataRecord::Topic {
                name,
                id,
                created_by,
            } => self.add_topic(name, *id, created_by.clone())?,
            MetadataRecord::Partition {
                topic_id,
                index,
                leader,
                leader_epoch,
                replicas,
                isr,
            } => {
                let partition = PartitionImage {
                    leader: *leader,
                    leader_epoch: *leader_epoch,
                    replicas: replicas.clone(),
                    isr: isr.clone(),
                };
                self.put_partition(topic_id, *index, partition)?;
            }
            MetadataRecord::RemoveTopic { id } => {
                let name = Arc::make_mut(&mut self.topic_names).remove(id);
                let name = name.ok_or(ApplyError::UnknownTopicId { id: *id })?;
                Arc::make_mut(&mut self.topics).remove(&name);
            }
            MetadataRecord::Config {
                resource,
                name,
                value,
            } => self.put_config(resource, name, value.as_ref())?,
            MetadataRecord::ProducerIds { next } => {
                if *next < self.next_producer_id {
                    return Err(ApplyError::ProducerIdsGoBack {
                        current: self.next_producer_id,
                        next: *next,
                    });
                }
                self.next_producer_id = *next;
            }
            MetadataRecord::Task {
                key,
                node_id,
                epoch,
                topics,
            } => {
                let task = TaskImage {
                    node_id: *node_id,
                    epoch: *epoch,
                    topics: topics.clone(),
                };
                Arc::make_mut(&mut self.tasks).insert(key.clone(), task);
            }
            MetadataRecord::RemoveTask { key } => {
                let removed = Arc::make_mut(&mut self.tasks).remove(key);
                removed.ok_or_else(|| ApplyError::UnknownTask { key: key.clone() })?;
            }
        }
        Ok(())
    }

    fn raise_leader_epochs(&mut self, node_id: i32) {
        for topic in Arc::make_mut(&mut self.topics).values_mut() {
            if topic
                .partitions
                .iter()
                .any(|partition| partition.leader == node_id)
            {
                let led = Arc::make_mut(topic)
                    .partitions
                    .iter_mut()
                    .filter(|partition| partition.leader == node_id);
                led.for_each(|partition| {
                    partition.leader_epoch = partition.leader_epoch.saturating_add(1)
                });
            }
        }
    }

    fn add_topic(
        &mut self,
        name: &str,
        id: Uuid,
        created_by: Option<String>,
    ) -> Result<(), ApplyError> {
        if self.topics.contains_key(name) || self.topic_names.contains_key(&id) {
            return Err(ApplyError::TopicExists {
                name: name.to_owned(),
            });
        }
        let topic = TopicImage {
            name: name.to_owned(),
            id,
            partitions: Vec::new(),
            configs: BTreeMap::new(),
            created_by,
        };
        Arc::make_mut(&mut self.topics).insert(name.to_owned(), Arc::new(topic));
        Arc::make_mut(&mut self.topic_names).insert(id, name.to_owned());
        Ok(())
    }

    fn put_partition(
        &mut self,
        id: &Uuid,
        index: i32,
        partition: PartitionImage,
    ) -> Result<(), ApplyError> {
        let unknown = || ApplyError::UnknownTopicId { id: *id };
        let name = self.topic_names.get(id).ok_or_else(unknown)?;
        let topic = Arc::make_mut(&mut self.topics)
            .get_mut(name)
            .ok_or_else(unknown)?;
        let topic = Arc::make_mut(topic);
        let next = topic.partitions.len();
        match usize::try_from(index) {
            Ok(position) if position < next => topic.partitions[position] = partition,
            Ok(position) if position == next => topic.partitions.push(partition),
            _ => {
                return Err(ApplyError::PartitionGap {
                    topic: topic.name.clone(),
                    index,
                    next,
                });
            }
        }
        Ok(())
    }

    fn put_config(
        &mut self,
        resource: &ConfigResource,
        name: &str,
        value: Option<&String>,
    ) -> Result<(), ApplyError> {
        let configs = match resource {
            ConfigResource::Topic(topic) => {
                let found = Arc::make_mut(&mut self.topics).get_mut(topic);
                &mut Arc::make_mut(found.ok_or_else(|| ApplyError::UnknownTopic {
                    name: topic.clone(),
                })?)
                .configs
            }
            ConfigResource::Broker(node_id) => Arc::make_mut(&mut self.broker_configs)
                .entry(*node_id)
                .or_default(),
            ConfigResource::DefaultBroker => Arc::make_mut(&mut self.default_broker_configs),
        };
        match value {
            Some(value) => configs.insert(name.to_owned(), value.clone()),
            None => configs.remove(name),
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests;
