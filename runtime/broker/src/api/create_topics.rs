//! CreateTopics: each topic is created or refused by itself.

use std::sync::Arc;

use millstream_cluster::{
    Image, TopicImage, TopicSpec, configs::EffectiveConfig, configs::TOPIC_SETTINGS, create_topic,
};
use millstream_wire::{
    ErrorCode,
    create_topics::{
        CreatableTopic, CreatableTopicConfigs, CreatableTopicResult, CreateTopicsRequest,
        CreateTopicsResponse,
    },
};
use uuid::Uuid;

use super::describe_configs::{SOURCE_DEFAULT, SOURCE_NODE, SOURCE_TOPIC};
use crate::{context::RequestContext, error_codes::topic_error, topics::TopicFailure};

pub(super) async fn handle(
    context: &RequestContext,
    request: CreateTopicsRequest,
) -> CreateTopicsResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for (position, wanted) in request.topics.iter().enumerate() {
        let named_again = request.topics.iter().enumerate();
        let mut named_again =
            named_again.filter(|(other, topic)| *other != position && topic.name == wanted.name);
        let result = match named_again.next() {
            // Which of the two is meant nobody can know.
            Some(_) => Err(TopicFailure {
                code: ErrorCode::InvalidRequest,
                message: format!("topic {} comes twice in one request", wanted.name),
            }),
            None if request.validate_only => would_create(context, &spec(wanted)),
            None => context.broker.create_topic(&spec(wanted)).await,
        };
        topics.push(match result {
            Ok(topic) => created(context, &topic, request.validate_only),
            Err(failure) => refused(wanted.name.clone(), failure),
        });
    }
    CreateTopicsResponse {
        throttle_time_ms: 0,
        topics,
    }
}

fn spec(wanted: &CreatableTopic) -> TopicSpec {
    TopicSpec {
        name: wanted.name.clone(),
        partitions: wanted.num_partitions,
        replication_factor: wanted.replication_factor,
        assignments: wanted
            .assignments
            .iter()
            .map(|one| (one.partition_index, one.broker_ids.clone()))
            .collect(),
        configs: wanted
            .configs
            .iter()
            .map(|config| (config.name.clone(), config.value.clone()))
            .collect(),
    }
}

/// The topic as it would be, without a trace of it.
fn would_create(
    context: &RequestContext,
    spec: &TopicSpec,
) -> Result<Arc<TopicImage>, TopicFailure> {
    let refused = |code, message| TopicFailure { code, message };
    let image: Arc<Image> = context.broker.cluster().image();
    let defaults = context.broker.config().topic_creation_defaults();
    let records = create_topic(&image, spec, defaults, Uuid::nil())
        .map_err(|error| refused(topic_error(&error), error.to_string()))?;
    let tried = image.with(&records, image.offset().unwrap_or(0));
    let tried = tried.map_err(|error| refused(ErrorCode::UnknownServerError, error.to_string()))?;
    let topic = tried.topic(&spec.name).cloned();
    topic.ok_or_else(|| {
        refused(
            ErrorCode::UnknownServerError,
            format!("topic {} was not made", spec.name),
        )
    })
}

fn created(
    context: &RequestContext,
    topic: &TopicImage,
    validate_only: bool,
) -> CreatableTopicResult {
    let replicas = topic
        .partitions
        .first()
        .map_or(0, |partition| partition.replicas.len());
    let node = &context.broker.config().topic_defaults;
    let effective = EffectiveConfig {
        topic: &topic.configs,
        node,
    };
    let configs = TOPIC_SETTINGS.iter().map(|setting| CreatableTopicConfigs {
        name: setting.name.to_owned(),
        value: Some(effective.text(setting.name).to_owned()),
        read_only: false,
        config_source: match setting.name {
            name if topic.configs.contains_key(name) => SOURCE_TOPIC,
            name if node.contains_key(name) => SOURCE_NODE,
            _ => SOURCE_DEFAULT,
        },
        is_sensitive: false,
    });
    CreatableTopicResult {
        name: topic.name.clone(),
        topic_id: if validate_only { Uuid::nil() } else { topic.id },
        num_partitions: i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX),
        replication_factor: i16::try_from(replicas).unwrap_or(i16::MAX),
        configs: Some(configs.collect()),
        ..CreatableTopicResult::default()
    }
}

fn refused(name: String, failure: TopicFailure) -> CreatableTopicResult {
    CreatableTopicResult {
        name,
        error_code: failure.code.code(),
        error_message: Some(failure.message),
        configs: None,
        ..CreatableTopicResult::default()
    }
}
