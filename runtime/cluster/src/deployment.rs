//! What a pipeline's run begins with, as one batch of records: its tasks, and the topics that it creates or empties. A
//! crash leaves what was before or what is after, and nothing in between.

use uuid::Uuid;

use crate::{
    image::{Image, TopicImage},
    record::{ConfigResource, MetadataRecord, TaskKey, TaskTopics},
    topics::{TopicDefaults, TopicError, TopicSpec, create_topic},
};

/// The topics and tasks of a run, against what there was before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deployment {
    /// The pipeline's name: the creator of every topic here.
    pub pipeline: String,
    /// Topics (name and id) that are removed with all their records and made anew, with the partitions and the
    /// settings that they have.
    pub renewed: Vec<(String, Uuid)>,
    /// Topics to be created. One that exists is left as it is.
    pub created: Vec<TopicSpec>,
    /// Tasks that are no part of the pipeline any more.
    pub ended: Vec<TaskKey>,
    /// All tasks of the run.
    pub tasks: Vec<(TaskKey, TaskTopics)>,
}

/// The records of a deployment, all to be written in one batch. Tasks that exist keep their owner and their epoch, so
/// that a deployment that changes nothing has no records.
pub fn deploy(
    image: &Image,
    deployment: &Deployment,
    node_id: i32,
    defaults: TopicDefaults,
    mut new_id: impl FnMut() -> Uuid,
) -> Result<Vec<MetadataRecord>, TopicError> {
    let mut decision = Decision {
        image: image.clone(),
        records: Vec::new(),
    };
    for key in &deployment.ended {
        if image.task(key).is_some() {
            decision.add(vec![MetadataRecord::RemoveTask { key: key.clone() }])?;
        }
    }
    for (name, id) in &deployment.renewed {
        let topic = image.topic(name).filter(|topic| topic.id == *id);
        let topic = topic.ok_or_else(|| TopicError::Replaced { name: name.clone() })?;
        decision.add(renew(topic, new_id(), &deployment.pipeline))?;
    }
    for spec in &deployment.created {
        if decision.image.topic(&spec.name).is_some() {
            continue;
        }
        let mut spec = spec.clone();
        spec.created_by = Some(deployment.pipeline.clone());
        let records = create_topic(&decision.image, &spec, defaults, new_id())?;
        decision.add(records)?;
    }
    for (key, topics) in &deployment.tasks {
        let known = decision.image.task(key);
        if known.is_some_and(|known| known.topics == *topics) {
            continue;
        }
        decision.add(vec![MetadataRecord::Task {
            key: key.clone(),
            node_id: known.map_or(node_id, |known| known.node_id),
            epoch: known.map_or(0, |known| known.epoch),
            topics: topics.clone(),
        }])?;
    }
    Ok(decision.records)
}

/// What is decided so far, and the image with it.
struct Decision {
    image: Image,
    records: Vec<MetadataRecord>,
}

impl Decision {
    fn add(&mut self, records: Vec<MetadataRecord>) -> Result<(), TopicError> {
        let offset = self.image.offset().unwrap_or(0);
        self.image.advance(&records, offset)?;
        self.records.extend(records);
        Ok(())
    }
}

/// Removes a topic and makes it anew on the nodes where it is.
fn renew(topic: &TopicImage, id: Uuid, pipeline: &str) -> Vec<MetadataRecord> {
    let mut records = vec![
        MetadataRecord::RemoveTopic { id: topic.id },
        MetadataRecord::Topic {
            name: topic.name.clone(),
            id,
            created_by: Some(pipeline.to_owned()),
        },
    ];
    let partitions = topic.partitions.iter().zip(0..);
    records.extend(
        partitions.map(|(partition, index)| MetadataRecord::Partition {
            topic_id: id,
            index,
            leader: partition.leader,
            leader_epoch: 0,
            replicas: partition.replicas.clone(),
            isr: partition.isr.clone(),
        }),
    );
    let configs = topic.configs.iter();
    records.extend(configs.map(|(name, value)| MetadataRecord::Config {
        resource: ConfigResource::Topic(topic.name.clone()),
        name: name.clone(),
        value: Some(value.clone()),
    }));
    records
}

#[cfg(test)]
mod tests;
