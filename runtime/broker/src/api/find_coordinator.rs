//! FindCoordinator: which node keeps a group or a transactional id.

use millstream_wire::{
    ErrorCode,
    find_coordinator::{Coordinator, FindCoordinatorRequest, FindCoordinatorResponse},
};

use super::metadata::brokers;
use crate::{context::RequestContext, coordinator::partition_for, internal_topics::InternalTopic};

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
/// The first version that asks for several keys at once.
const BATCHED_FROM: i16 = 4;

pub(super) async fn handle(
    context: &RequestContext,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    if context.api_version >= BATCHED_FROM {
        let mut coordinators = Vec::with_capacity(request.coordinator_keys.len().min(1_024));
        for key in request.coordinator_keys {
            coordinators.push(find(context, request.key_type, key).await);
        }
        return FindCoordinatorResponse {
            coordinators,
            ..FindCoordinatorResponse::default()
        };
    }
    let found = find(context, request.key_type, request.key).await;
    FindCoordinatorResponse {
        error_code: found.error_code,
        error_message: found.error_message,
        node_id: found.node_id,
        host: found.host,
        port: found.port,
        ..FindCoordinatorResponse::default()
    }
}

async fn find(context: &RequestContext, key_type: i8, key: String) -> Coordinator {
    match leader(context, key_type, &key).await {
        Ok(node_id) => match brokers(context, &context.broker.cluster().image())
            .into_iter()
            .find(|broker| broker.node_id == node_id)
        {
            Some(broker) => Coordinator {
                key,
                node_id,
                host: broker.host,
                port: broker.port,
                error_code: ErrorCode::None.code(),
                error_message: None,
            },
            None => failed(key, ErrorCode::CoordinatorNotAvailable),
        },
        Err(error) => failed(key, error),
    }
}

fn failed(key: String, error: ErrorCode) -> Coordinator {
    Coordinator {
        key,
        node_id: -1,
        host: String::new(),
        port: -1,
        error_code: error.code(),
        error_message: Some(error.to_string()),
    }
}

/// The leader of the partition of the internal topic that keeps the key.
async fn leader(context: &RequestContext, key_type: i8, key: &str) -> Result<i32, ErrorCode> {
    let internal = match key_type {
        GROUP => InternalTopic::ConsumerOffsets,
        TRANSACTION if key.is_empty() => return Err(ErrorCode::InvalidRequest),
        TRANSACTION => InternalTopic::TransactionState,
        _ => return Err(ErrorCode::InvalidRequest),
    };
    let topic = context
        .broker
        .ensure_internal_topic(internal)
        .await
        .map_err(|_| ErrorCode::CoordinatorNotAvailable)?;
    let count = i32::try_from(topic.partitions.len()).map_err(|_| ErrorCode::UnknownServerError)?;
    if count == 0 {
        return Err(ErrorCode::CoordinatorNotAvailable);
    }
    let partition =
        usize::try_from(partition_for(key, count)).map_err(|_| ErrorCode::UnknownServerError)?;
    topic
        .partitions
        .get(partition)
        .map(|partition| partition.leader)
        .filter(|leader| *leader >= 0)
        .ok_or(ErrorCode::CoordinatorNotAvailable)
}
