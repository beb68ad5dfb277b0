//! Topics in process.

use millstream_cluster::{TopicImage, TopicSpec};
use uuid::Uuid;

use super::Local;
use crate::{internal_topics::InternalTopic, topics::TopicFailure};

/// A topic as its users see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicInfo {
    pub name: String,
    pub id: Uuid,
    /// Number of partitions.
    pub partitions: i32,
    /// Settings that the topic itself has.
    pub configs: Vec<(String, String)>,
}

impl From<&TopicImage> for TopicInfo {
    fn from(topic: &TopicImage) -> TopicInfo {
        TopicInfo {
            name: topic.name.clone(),
            id: topic.id,
            partitions: i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX),
            configs: topic
                .configs
                .iter()
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        }
    }
}

impl Local {
    /// Returns the topic; creates it first when it does not exist, with the node's default number of partitions when
    /// none is given. An existing topic is returned as it is, whatever was asked for; so is an internal one, which the
    /// node makes in its own way. Other names of the node are an error.
    pub async fn ensure_topic(
        &self,
        name: &str,
        partitions: Option<i32>,
        configs: &[(String, String)],
    ) -> Result<TopicInfo, TopicFailure> {
        if let Some(topic) = self.topic(name) {
            return Ok(topic);
        }
        if let Some(internal) = InternalTopic::named(name) {
            let spec = self.broker.internal_spec(internal);
            return Ok(TopicInfo::from(&*self.broker.ensure_topic(&spec).await?));
        }
        let setting = |(name, value): &(String, String)| (name.clone(), Some(value.clone()));
        let asked = TopicSpec {
            partitions: partitions.unwrap_or(-1),
            configs: configs.iter().map(setting).collect(),
            ..TopicSpec::named(name)
        };
        let spec = self.broker.made_for_client(asked)?;
        Ok(TopicInfo::from(&*self.broker.ensure_topic(&spec).await?))
    }

    /// Creates a topic that must not exist yet, as a client would.
    pub async fn create_topic(&self, spec: &TopicSpec) -> Result<TopicInfo, TopicFailure> {
        let spec = self.broker.made_for_client(spec.clone())?;
        Ok(TopicInfo::from(&*self.broker.create_topic(&spec).await?))
    }

    /// Deletes a topic with all that is in it.
    pub async fn delete_topic(&self, name: &str) -> Result<(), TopicFailure> {
        self.broker.delete_topic(name).await.map(drop)
    }

    /// The topic, when it exists.
    pub fn topic(&self, name: &str) -> Option<TopicInfo> {
        self.broker
            .cluster()
            .image()
            .topic(name)
            .map(|topic| TopicInfo::from(&**topic))
    }

    /// Every topic, in order of name.
    pub fn topics(&self) -> Vec<TopicInfo> {
        self.broker
            .cluster()
            .image()
            .topics()
            .map(|topic| TopicInfo::from(&**topic))
            .collect()
    }
}
