//! DeleteTopics: by name, or by id from version 6 on.

use millstream_wire::{
    ErrorCode,
    delete_topics::{
        DeletableTopicResult, DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse,
    },
};

use crate::{context::RequestContext, topics::TopicFailure};

pub(super) async fn handle(
    context: &RequestContext,
    request: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let by_name = request.topic_names.into_iter();
    let by_name = by_name.map(|name| DeleteTopicState {
        name: Some(name),
        ..DeleteTopicState::default()
    });
    let mut responses = Vec::new();
    for wanted in by_name.chain(request.topics) {
        responses.push(delete(context, wanted).await);
    }
    DeleteTopicsResponse {
        throttle_time_ms: 0,
        responses,
    }
}

async fn delete(context: &RequestContext, wanted: DeleteTopicState) -> DeletableTopicResult {
    let name = match wanted.name {
        Some(_) if !wanted.topic_id.is_nil() => {
            let failure = TopicFailure {
                code: ErrorCode::InvalidRequest,
                message: "a topic is named by its name or by its id, not by both".to_owned(),
            };
            return refused(wanted.name, wanted.topic_id, failure);
        }
        Some(name) => name,
        None => match context
            .broker
            .cluster()
            .image()
            .topic_by_id(&wanted.topic_id)
        {
            Some(topic) => topic.name.clone(),
            None => {
                let code = ErrorCode::UnknownTopicId;
                let failure = TopicFailure {
                    code,
                    message: code.to_string(),
                };
                return refused(None, wanted.topic_id, failure);
            }
        },
    };
    match context.broker.delete_topic(&name).await {
        Ok(topic) => DeletableTopicResult {
            name: Some(name),
            topic_id: topic.id,
            error_code: ErrorCode::None.code(),
            error_message: None,
        },
        Err(failure) => refused(Some(name), wanted.topic_id, failure),
    }
}

fn refused(
    name: Option<String>,
    topic_id: uuid::Uuid,
    failure: TopicFailure,
) -> DeletableTopicResult {
    DeletableTopicResult {
        name,
        topic_id,
        error_code: failure.code.code(),
        error_message: Some(failure.message),
    }
}
