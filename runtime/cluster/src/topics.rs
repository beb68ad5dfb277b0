//! Decisions about topics: may this topic be created or deleted, and which records say so.

use std::collections::BTreeMap;

use thiserror::Error;
use uuid::Uuid;

use crate::{
    configs::{self, ConfigError, EffectiveConfig},
    image::{ApplyError, Image},
    quorum::METADATA_TOPIC,
    record::{ConfigResource, MetadataRecord},
};

/// Longest topic name (Kafka's; with the partition number it still fits into a file name).
pub const TOPIC_NAME_LENGTH_MAX: usize = 249;

/// Most partitions that one topic may have here. Bounds what one CreateTopics request can ask of memory and disk.
const PARTITIONS_MAX: i32 = 100_000;

/// A topic that somebody wants. `-1` and `None` mean the node's default, as in Kafka's CreateTopics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    pub name: String,
    pub partitions: i32,
    pub replication_factor: i16,
    /// Replicas of each partition chosen by the caller; then `partitions` and `replication_factor` must be -1.
    pub assignments: Vec<(i32, Vec<i32>)>,
    pub configs: Vec<(String, Option<String>)>,
    /// The pipeline that creates it, by its name.
    pub created_by: Option<String>,
}

impl TopicSpec {
    /// A topic with the node's defaults in everything.
    pub fn named(name: impl Into<String>) -> TopicSpec {
        TopicSpec {
            name: name.into(),
            partitions: -1,
            replication_factor: -1,
            assignments: Vec::new(),
            configs: Vec::new(),
            created_by: None,
        }
    }
}

/// What `-1` stands for (`num.partitions`, `default.replication.factor`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicDefaults {
    pub partitions: i32,
    pub replication_factor: i16,
}

/// Why a topic cannot be created or deleted.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TopicError {
    #[error("topic name {name:?} is not valid: {reason}")]
    InvalidName { name: String, reason: String },
    #[error("topic {name} cannot be created: the node keeps its own metadata under that name")]
    Reserved { name: String },
    #[error("topic {name} already exists")]
    Exists { name: String },
    #[error("there is no topic {name}")]
    Unknown { name: String },
    #[error("topic {name} was deleted or made anew meanwhile")]
    Replaced { name: String },
    #[error("topic {name} cannot have {partitions} partitions: it takes 1 to {max}")]
    InvalidPartitions {
        name: String,
        partitions: i32,
        max: i32,
    },
    #[error("topic {name} cannot have {replication_factor} replicas: there are {brokers} nodes")]
    InvalidReplicationFactor {
        name: String,
        replication_factor: i16,
        brokers: usize,
    },
    #[error("the replica assignment of topic {name} is not valid: {reason}")]
    InvalidAssignment { name: String, reason: String },
    #[error("topic {name}: {source}")]
    InvalidConfig { name: String, source: ConfigError },
    #[error("topic {name} asks for {what} twice: by number and by assignment")]
    Ambiguous { name: String, what: &'static str },
    #[error("the records of a decision contradict the metadata: {0}")]
    Contradiction(#[from] ApplyError),
}

/// Checks a topic's name by Kafka's rules: 1 to 249 of letters, digits, `.`, `_` and `-`, and neither `.` nor `..`.
pub fn check_topic_name(name: &str) -> Result<(), TopicError> {
    let refuse = |reason: &str| {
        Err(TopicError::InvalidName {
            name: name.to_owned(),
            reason: reason.to_owned(),
        })
    };
    if name.is_empty() {
        return refuse("it is empty");
    }
    if name == "." || name == ".." {
        return refuse("it is a path of the file system");
    }
    if name.len() > TOPIC_NAME_LENGTH_MAX {
        return refuse("it is longer than 249 characters");
    }
    if !name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
    {
        return refuse("it may hold only ASCII letters and digits, '.', '_' and '-'");
    }
    Ok(())
}

/// The records that create one topic, all to be written in one batch.
pub fn create_topic(
    image: &Image,
    spec: &TopicSpec,
    defaults: TopicDefaults,
    id: Uuid,
) -> Result<Vec<MetadataRecord>, TopicError> {
    let name = &spec.name;
    check_topic_name(name)?;
    if name == METADATA_TOPIC {
        return Err(TopicError::Reserved { name: name.clone() });
    }
    if image.topic(name).is_some() {
        return Err(TopicError::Exists { name: name.clone() });
    }
    if let Some(other) = collision(image, name) {
        let reason =
            format!("it collides with topic {other} in metrics, where '.' and '_' are the same");
        return Err(TopicError::InvalidName {
            name: name.clone(),
            reason,
        });
    }
    let replicas = match spec.assignments.is_empty() {
        true => spread(image, spec, defaults)?,
        false => assigned(image, spec)?,
    };
    let mut records = vec![MetadataRecord::Topic {
        name: name.clone(),
        id,
        created_by: spec.created_by.clone(),
    }];
    records.extend(replicas.into_iter().zip(0..).map(|(replicas, index)| {
        MetadataRecord::Partition {
            topic_id: id,
            index,
            leader: replicas[0],
            leader_epoch: 0,
            isr: replicas.clone(),
            replicas,
        }
    }));
    let invalid = |source| TopicError::InvalidConfig {
        name: name.clone(),
        source,
    };
    let mut own = BTreeMap::new();
    for (key, value) in &spec.configs {
        let Some(value) = value else { continue };
        let value = configs::check_topic_setting(key, value).map_err(invalid)?;
        own.insert(key.clone(), value.clone());
        let resource = ConfigResource::Topic(name.clone());
        records.push(MetadataRecord::Config {
            resource,
            name: key.clone(),
            value: Some(value),
        });
    }
    let node = &BTreeMap::new();
    configs::check_together(EffectiveConfig { topic: &own, node }).map_err(invalid)?;
    Ok(records)
}

/// [`create_topic`] for several topics that succeed or fail together.
pub fn create_topics(
    image: &Image,
    specs: &[TopicSpec],
    defaults: TopicDefaults,
    mut new_id: impl FnMut() -> Uuid,
) -> Result<Vec<MetadataRecord>, TopicError> {
    let mut records = Vec::new();
    for (position, spec) in specs.iter().enumerate() {
        if specs[..position]
            .iter()
            .any(|earlier| earlier.name == spec.name)
        {
            return Err(TopicError::Exists {
                name: spec.name.clone(),
            });
        }
        records.extend(create_topic(image, spec, defaults, new_id())?);
    }
    Ok(records)
}

/// The records that delete the named topics.
pub fn delete_topics(image: &Image, names: &[&str]) -> Result<Vec<MetadataRecord>, TopicError> {
    let remove = |name: &&str| match image.topic(name) {
        Some(topic) => Ok(MetadataRecord::RemoveTopic { id: topic.id }),
        None => Err(TopicError::Unknown {
            name: (*name).to_owned(),
        }),
    };
    names.iter().map(remove).collect()
}

/// An existing topic whose name differs only in '.' and '_'.
fn collision<'a>(image: &'a Image, name: &str) -> Option<&'a str> {
    if !name.contains(['.', '_']) {
        return None;
    }
    let flat = name.replace('.', "_");
    let found = image
        .topics()
        .find(|topic| topic.name.replace('.', "_") == flat);
    found.map(|topic| topic.name.as_str())
}

/// Replicas of every partition, spread over the nodes: leaders in turn, followers on the nodes after the leader.
fn spread(
    image: &Image,
    spec: &TopicSpec,
    defaults: TopicDefaults,
) -> Result<Vec<Vec<i32>>, TopicError> {
    let name = spec.name.clone();
    let partitions = if spec.partitions == -1 {
        defaults.partitions
    } else {
        spec.partitions
    };
    if !(1..=PARTITIONS_MAX).contains(&partitions) {
        return Err(TopicError::InvalidPartitions {
            name,
            partitions,
            max: PARTITIONS_MAX,
        });
    }
    let replication_factor = if spec.replication_factor == -1 {
        defaults.replication_factor
    } else {
        spec.replication_factor
    };
    let nodes: Vec<i32> = image.brokers().map(|broker| broker.node_id).collect();
    let wanted = usize::try_from(replication_factor).unwrap_or(0);
    if wanted == 0 || wanted > nodes.len() {
        return Err(TopicError::InvalidReplicationFactor {
            name,
            replication_factor,
            brokers: nodes.len(),
        });
    }
    let partitions = usize::try_from(partitions).unwrap_or(0);
    let replicas = |index: usize| {
        (0..wanted)
            .map(|step| nodes[(index + step) % nodes.len()])
            .collect()
    };
    Ok((0..partitions).map(replicas).collect())
}

/// The caller's own assignment, when it is complete and names only nodes that exist.
fn assigned(image: &Image, spec: &TopicSpec) -> Result<Vec<Vec<i32>>, TopicError> {
    let name = || spec.name.clone();
    if spec.partitions != -1 {
        return Err(TopicError::Ambiguous {
            name: name(),
            what: "partitions",
        });
    }
    if spec.replication_factor != -1 {
        return Err(TopicError::Ambiguous {
            name: name(),
            what: "replicas",
        });
    }
    let refuse = |reason: String| {
        Err(TopicError::InvalidAssignment {
            name: name(),
            reason,
        })
    };
    let mut assignments = spec.assignments.clone();
    assignments.sort_by_key(|(index, _)| *index);
    for (position, (index, replicas)) in assignments.iter().enumerate() {
        if usize::try_from(*index) != Ok(position) {
            return refuse("partitions must be numbered from 0 without gaps".to_owned());
        }
        if replicas.is_empty() || replicas.len() != assignments[0].1.len() {
            return refuse(format!(
                "partition {index} has another number of replicas than the first, or none"
            ));
        }
        for (place, node) in replicas.iter().enumerate() {
            if image.broker(*node).is_none() {
                return refuse(format!(
                    "partition {index} names node {node}, which does not exist"
                ));
            }
            if replicas[..place].contains(node) {
                return refuse(format!("partition {index} names node {node} twice"));
            }
        }
    }
    Ok(assignments
        .into_iter()
        .map(|(_, replicas)| replicas)
        .collect())
}

#[cfg(test)]
mod tests;
