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

use crate::record::{ConfigResource, MetadataRecord, TaskKey};

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

/// Who runs a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskImage {
    pub node_id: i32,
    pub epoch: i32,
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

    /// Whether a stage (or source) of a pipeline ever had a task.
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
            MetadataRecord::Topic { name, id } => self.add_topic(name, *id)?,
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
            } => {
                let task = TaskImage {
                    node_id: *node_id,
                    epoch: *epoch,
                };
                Arc::make_mut(&mut self.tasks).insert(key.clone(), task);
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

    fn add_topic(&mut self, name: &str, id: Uuid) -> Result<(), ApplyError> {
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
mod tests {
    use super::*;

    fn topic(name: &str, id: u128, leaders: &[i32]) -> Vec<MetadataRecord> {
        let topic_id = Uuid::from_u128(id);
        let mut records = vec![MetadataRecord::Topic {
            name: name.to_owned(),
            id: topic_id,
        }];
        records.extend(
            leaders
                .iter()
                .zip(0..)
                .map(|(leader, index)| MetadataRecord::Partition {
                    topic_id,
                    index,
                    leader: *leader,
                    leader_epoch: 0,
                    replicas: vec![*leader],
                    isr: vec![*leader],
                }),
        );
        records
    }

    #[test]
    fn a_restart_raises_the_epochs_of_the_partitions_that_the_node_leads_and_no_others() {
        let image = Image::default()
            .with(&topic("a", 1, &[1, 2, 1]), 3)
            .unwrap();
        let image = image
            .with(&[MetadataRecord::Restart { node_id: 1 }], 4)
            .unwrap();
        let epochs: Vec<i32> = image
            .topic("a")
            .unwrap()
            .partitions
            .iter()
            .map(|p| p.leader_epoch)
            .collect();
        assert_eq!(epochs, [1, 0, 1]);
        assert_eq!(image.offset(), Some(4));
    }

    #[test]
    fn a_removed_topic_takes_its_settings_along() {
        let set = MetadataRecord::Config {
            resource: ConfigResource::Topic("a".to_owned()),
            name: "retention.ms".to_owned(),
            value: Some("5".to_owned()),
        };
        let mut records = topic("a", 1, &[1]);
        records.push(set);
        let image = Image::default().with(&records, 2).unwrap();
        assert_eq!(image.topic("a").unwrap().configs["retention.ms"], "5");
        let mut again = vec![MetadataRecord::RemoveTopic {
            id: Uuid::from_u128(1),
        }];
        again.extend(topic("a", 2, &[1]));
        let image = image.with(&again, 5).unwrap();
        assert!(image.topic("a").unwrap().configs.is_empty());
        assert!(image.topic_by_id(&Uuid::from_u128(1)).is_none());
        assert_eq!(image.topic_by_id(&Uuid::from_u128(2)).unwrap().name, "a");
    }

    #[test]
    fn records_that_contradict_the_image_are_refused() {
        let image = Image::default().with(&topic("a", 1, &[1]), 1).unwrap();
        let id = Uuid::from_u128(9);
        let partition = |topic_id, index| MetadataRecord::Partition {
            topic_id,
            index,
            leader: 1,
            leader_epoch: 0,
            replicas: vec![1],
            isr: vec![1],
        };
        let cases = [
            (
                MetadataRecord::Topic {
                    name: "a".to_owned(),
                    id,
                },
                ApplyError::TopicExists {
                    name: "a".to_owned(),
                },
            ),
            (partition(id, 0), ApplyError::UnknownTopicId { id }),
            (
                partition(Uuid::from_u128(1), 2),
                ApplyError::PartitionGap {
                    topic: "a".to_owned(),
                    index: 2,
                    next: 1,
                },
            ),
            (
                MetadataRecord::RemoveTopic { id },
                ApplyError::UnknownTopicId { id },
            ),
            (
                MetadataRecord::Config {
                    resource: ConfigResource::Topic("b".to_owned()),
                    name: "x".to_owned(),
                    value: None,
                },
                ApplyError::UnknownTopic {
                    name: "b".to_owned(),
                },
            ),
            (
                MetadataRecord::ProducerIds { next: -1 },
                ApplyError::ProducerIdsGoBack {
                    current: 0,
                    next: -1,
                },
            ),
        ];
        for (record, expected) in cases {
            assert_eq!(
                image.with(std::slice::from_ref(&record), 2).unwrap_err(),
                expected,
                "{record:?}"
            );
        }
    }

    #[test]
    fn an_older_image_is_not_touched_by_later_changes() {
        let before = Image::default().with(&topic("a", 1, &[1]), 1).unwrap();
        let after = before.with(&topic("b", 2, &[1]), 3).unwrap();
        assert!(before.topic("b").is_none());
        assert!(after.topic("b").is_some());
        assert!(Arc::ptr_eq(
            before.topic("a").unwrap(),
            after.topic("a").unwrap()
        ));
    }
}
