//! Topics come and go: what the APIs, auto-creation and the in-process surface share.

use std::{convert::Infallible, sync::Arc};

use millstream_cluster::{
    ChangeError, Image, TopicError, TopicImage, TopicSpec, create_topic, delete_topics,
};
use millstream_log::failpoint;
use millstream_wire::ErrorCode;
use uuid::Uuid;

use crate::{
    broker::Broker,
    error_codes::{submit_error, topic_error},
    internal_topics::{InternalTopic, is_internal, made_for_client},
};

/// Why a topic was not created or deleted: Kafka's code and a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicFailure {
    pub code: ErrorCode,
    pub message: String,
}

impl From<ChangeError<TopicError>> for TopicFailure {
    fn from(error: ChangeError<TopicError>) -> TopicFailure {
        let code = match &error {
            ChangeError::Refused(refused) => topic_error(refused),
            ChangeError::Submit(submit) => submit_error(submit),
        };
        TopicFailure {
            code,
            message: error.to_string(),
        }
    }
}

impl Broker {
    /// Creates a topic and returns it when that is durable.
    pub(crate) async fn create_topic(
        &self,
        spec: &TopicSpec,
    ) -> Result<Arc<TopicImage>, TopicFailure> {
        let mut results = self.create_topics(std::slice::from_ref(spec)).await;
        results.pop().unwrap_or_else(|| Err(unknown(&spec.name)))
    }

    /// Creates several topics, each or not by itself, with one flush for all. One result for each, in order.
    pub(crate) async fn create_topics(
        &self,
        specs: &[TopicSpec],
    ) -> Vec<Result<Arc<TopicImage>, TopicFailure>> {
        let defaults = self.config().topic_creation_defaults();
        let decide = |image: &Image| {
            let mut image = image.clone();
            let mut records = Vec::new();
            let mut verdicts = Vec::with_capacity(specs.len());
            for spec in specs {
                let created = create_topic(&image, spec, defaults, Uuid::new_v4());
                verdicts.push(created.and_then(|created| {
                    // The next topic is decided on as if this one were there already.
                    image.advance(&created, image.offset().unwrap_or(0))?;
                    records.extend(created);
                    Ok(())
                }));
            }
            Ok::<_, Infallible>((records, verdicts))
        };
        match self.cluster().change(decide).await {
            Ok((image, verdicts)) => {
                failpoint::hit("topic.after_creation");
                let result = |(spec, verdict): (&TopicSpec, Result<(), TopicError>)| {
                    verdict.map_err(|error| TopicFailure::from(ChangeError::Refused(error)))?;
                    found(&image, &spec.name)
                };
                specs.iter().zip(verdicts).map(result).collect()
            }
            Err(ChangeError::Refused(never)) => match never {},
            Err(ChangeError::Submit(error)) => {
                let failure = TopicFailure {
                    code: submit_error(&error),
                    message: error.to_string(),
                };
                vec![Err(failure); specs.len()]
            }
        }
    }

    /// Returns the topic, created as `spec` says when it does not exist.
    pub(crate) async fn ensure_topic(
        &self,
        spec: &TopicSpec,
    ) -> Result<Arc<TopicImage>, TopicFailure> {
        if let Some(topic) = self.cluster().image().topic(&spec.name) {
            return Ok(Arc::clone(topic));
        }
        let defaults = self.config().topic_creation_defaults();
        let decide = |image: &Image| match image.topic(&spec.name) {
            Some(_) => Ok((Vec::new(), ())),
            None => Ok((create_topic(image, spec, defaults, Uuid::new_v4())?, ())),
        };
        let (image, ()) = self
            .cluster()
            .change(decide)
            .await
            .map_err(TopicFailure::from)?;
        found(&image, &spec.name)
    }

    /// Returns an internal topic, created with its own settings when it does not exist.
    pub async fn ensure_internal_topic(
        &self,
        topic: InternalTopic,
    ) -> Result<Arc<TopicImage>, ErrorCode> {
        self.ensure_topic(&self.internal_spec(topic))
            .await
            .map_err(|failure| failure.code)
    }

    /// How an internal topic is made in this cluster.
    pub(crate) fn internal_spec(&self, topic: InternalTopic) -> TopicSpec {
        topic.spec(&self.config(), self.cluster().image().brokers().len())
    }

    /// The topic that a client's wish makes: an internal one has its own settings. An error for names and settings that
    /// are the node's.
    pub(crate) fn made_for_client(&self, asked: TopicSpec) -> Result<TopicSpec, TopicFailure> {
        let nodes = self.cluster().image().brokers().len();
        made_for_client(asked, &self.config(), nodes)
    }

    /// Deletes a topic: first from the metadata, then its files.
    pub(crate) async fn delete_topic(&self, name: &str) -> Result<Arc<TopicImage>, TopicFailure> {
        if is_internal(name) {
            let message = format!("topic {name} belongs to the node and cannot be deleted");
            return Err(TopicFailure {
                code: ErrorCode::InvalidTopicException,
                message,
            });
        }
        self.check_deletion()?;
        let decide = |image: &Image| {
            let records = delete_topics(image, &[name])?;
            Ok((records, image.topic(name).cloned()))
        };
        self.before_topics_go().await;
        failpoint::hit("topic.before_removal");
        let (image, topic) = self
            .cluster()
            .change(decide)
            .await
            .map_err(TopicFailure::from)?;
        failpoint::hit("topic.after_removal");
        let topic = topic.ok_or_else(|| unknown(name))?;
        self.after_topics_went(std::slice::from_ref(&topic), &image)
            .await?;
        Ok(topic)
    }

    /// To be waited for before the metadata lose topics; afterwards comes [`Broker::after_topics_went`]. Offsets whose
    /// records do not name their topic belong to the one that is there when they are read, so all are read before it
    /// goes. A partition that cannot be read hands out no offsets either, and holds up no deletion.
    pub(crate) async fn before_topics_go(&self) {
        if let Err(error) = self.groups().load_all().await {
            tracing::warn!(%error, "not all groups can be read while a topic is deleted");
        }
    }

    /// What follows when the metadata have lost topics: their offsets, and then their files.
    pub(crate) async fn after_topics_went(
        &self,
        topics: &[Arc<TopicImage>],
        image: &Image,
    ) -> Result<(), TopicFailure> {
        let ids: Vec<Uuid> = topics.iter().map(|topic| topic.id).collect();
        self.groups().topics_deleted(&ids);
        failpoint::hit("topic.before_files");
        let mut result = Ok(());
        for topic in topics {
            let removed = self.partitions().remove(topic, image).await;
            result = result.and(removed.map_err(|code| TopicFailure {
                code,
                message: format!(
                    "topic {} is deleted, but its files could not be removed",
                    topic.name
                ),
            }));
        }
        failpoint::hit("topic.after_files");
        result
    }

    /// Whether the node's settings let topics be deleted.
    pub(crate) fn check_deletion(&self) -> Result<(), TopicFailure> {
        if self.config().delete_topic_enable {
            return Ok(());
        }
        Err(TopicFailure {
            code: ErrorCode::TopicDeletionDisabled,
            message: "delete.topic.enable is false".to_owned(),
        })
    }
}

fn found(image: &Image, name: &str) -> Result<Arc<TopicImage>, TopicFailure> {
    image.topic(name).cloned().ok_or_else(|| unknown(name))
}

fn unknown(name: &str) -> TopicFailure {
    TopicFailure {
        code: ErrorCode::UnknownTopicOrPartition,
        message: format!("there is no topic {name}"),
    }
}
