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

/// Most partitions that one request may ask for, as in Kafka: a few bytes name many.
const PARTITIONS_PER_REQUEST_MAX: i64 = 10_000;

pub(super) async fn handle(
    context: &RequestContext,
    request: CreateTopicsRequest,
) -> CreateTopicsResponse {
    let asked = each_by_itself(context, &request.topics);
    let sound: Vec<TopicSpec> = asked.iter().flatten().cloned().collect();
    let created_topics = if asks_for_too_many(context, &sound) {
        vec![Err(too_many()); sound.len()]
    } else if request.validate_only {
        let checked = sound.iter().map(|spec| would_create(context, spec));
        checked.collect()
    } else {
        context.broker.create_topics(&sound).await
    };
    let mut results = created_topics.into_iter();
    let topics = asked.into_iter().zip(request.topics);
    let topics = topics.map(|(asked, CreatableTopic { name, .. })| {
        let result = asked.and_then(|_| results.next().unwrap_or_else(|| Err(not_made(&name))));
        match result {
            Ok(topic) => created(context, &topic, request.validate_only),
            Err(failure) => refused(name, failure),
        }
    });
    CreateTopicsResponse {
        throttle_time_ms: 0,
        topics: topics.collect(),
    }
}

/// What each topic of the request is to be. Of one that comes twice, nobody can know which is meant.
fn each_by_itself(
    context: &RequestContext,
    topics: &[CreatableTopic],
) -> Vec<Result<TopicSpec, TopicFailure>> {
    let mut times: HashMap<&str, usize> = HashMap::new();
    for topic in topics {
        *times.entry(&topic.name).or_default() += 1;
    }
    let asked = |topic: &CreatableTopic| match times.get(topic.name.as_str()) {
        Some(1) => context.broker.made_for_client(spec(topic)),
        _ => Err(named_twice(&topic.name)),
    };
    topics.iter().map(asked).collect()
}

fn asks_for_too_many(context: &RequestContext, specs: &[TopicSpec]) -> bool {
    let default = context.broker.config().num_partitions;
    let partitions = |spec: &TopicSpec| match spec.partitions {
        -1 if spec.assignments.is_empty() => i64::from(default),
        -1 => i64::try_from(spec.assignments.len()).unwrap_or(i64::MAX),
        // What is negative is refused for itself.
        partitions => i64::from(partitions.max(0)),
    };
    let total = specs.iter().map(partitions).fold(0, i64::saturating_add);
    total > PARTITIONS_PER_REQUEST_MAX
}

fn too_many() -> TopicFailure {
    TopicFailure {
        code: ErrorCode::PolicyViolation,
        message: format!(
            "a request creates at most {PARTITIONS_PER_REQUEST_MAX} partitions: ask for fewer at a time"
        ),
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
        created_by: None,
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
    topic.ok_or_else(|| not_made(&spec.name))
}

fn not_made(name: &str) -> TopicFailure {
    TopicFailure {
        code: ErrorCode::UnknownServerError,
        message: format!("topic {name} was not made"),
    }
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
