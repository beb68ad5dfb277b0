//! CreateTopics: each topic is created or refused by itself.

use std::{collections::HashMap, sync::Arc};

use millstream_cluster::{Image, TopicImage, TopicSpec, create_topic};
use millstream_wire::{
    ErrorCode,
    create_topics::{
        CreatableTopic, CreatableTopicConfigs, CreatableTopicResult, CreateTopicsRequest,
        CreateTopicsResponse,
    },
};
use uuid::Uuid;

use crate::{context::RequestContext, error_codes::topic_error, topics::TopicFailure};

pub(super) async fn handle(
    context: &RequestContext,
    request: CreateTopicsRequest,
) -> CreateTopicsResponse {
    let specs: Vec<TopicSpec> = request.topics.iter().map(spec).collect();
    // Of a topic that comes twice, nobody can know which one is meant.
    let mut times: HashMap<&str, usize> = HashMap::new();
    for spec in &specs {
        *times.entry(&spec.name).or_default() += 1;
    }
    let is_single = |spec: &TopicSpec| times.get(spec.name.as_str()) == Some(&1);
    let single: Vec<TopicSpec> = specs
        .iter()
        .filter(|spec| is_single(spec))
        .cloned()
        .collect();
    let created_topics = match request.validate_only {
        true => single
            .iter()
            .map(|spec| would_create(context, spec))
            .collect(),
        false => context.broker.create_topics(&single).await,
    };
    let mut results = created_topics.into_iter();
    let topics = specs.iter().map(|spec| {
        let result = if is_single(spec) {
            results.next()
        } else {
            None
        };
        match result.unwrap_or_else(|| Err(named_twice(&spec.name))) {
            Ok(topic) => created(context, &topic, request.validate_only),
            Err(failure) => refused(spec.name.clone(), failure),
        }
    });
    CreateTopicsResponse {
        throttle_time_ms: 0,
        topics: topics.collect(),
    }
}

fn named_twice(name: &str) -> TopicFailure {
    let message = format!("topic {name} comes twice in one request");
    TopicFailure {
        code: ErrorCode::InvalidRequest,
        message,
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
    let settings = context.broker.config().describe_topic(&topic.configs);
    let configs = settings.into_iter().map(|setting| CreatableTopicConfigs {
        name: setting.name.to_owned(),
        value: setting.value,
        read_only: setting.read_only,
        config_source: setting.source as i8,
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
