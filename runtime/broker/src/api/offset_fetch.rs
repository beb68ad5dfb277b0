//! OffsetFetch: a group's committed positions.

use std::collections::HashSet;

use millstream_wire::{
    ErrorCode,
    offset_fetch::{
        OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchResponse, OffsetFetchResponseGroup,
        OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
        OffsetFetchResponseTopics,
    },
};

use crate::{context::RequestContext, coordinator::TopicPartition, group::FetchedOffset};

/// From here on one request asks for several groups.
const BATCHED_FROM: i16 = 8;
/// From here on the response has an error of its own.
const TOP_ERROR_FROM: i16 = 2;

pub(super) async fn handle(
    context: &RequestContext,
    request: OffsetFetchRequest,
) -> OffsetFetchResponse {
    if context.api_version >= BATCHED_FROM {
        let mut groups = Vec::with_capacity(request.groups.len().min(1_024));
        let mut asked = request.groups;
        // As in `once.rs`: all offsets of a group are told once.
        let mut whole = HashSet::new();
        asked.retain(|group| group.topics.is_some() || whole.insert(group.group_id.clone()));
        for group in asked {
            groups.push(fetch_group(context, group, request.require_stable).await);
        }
        return OffsetFetchResponse {
            groups,
            ..OffsetFetchResponse::default()
        };
    }
    fetch_one(context, request).await
}

async fn fetch_group(
    context: &RequestContext,
    group: OffsetFetchRequestGroup,
    require_stable: bool,
) -> OffsetFetchResponseGroup {
    let named = group.topics.map(|topics| {
        topics
            .into_iter()
            .flat_map(|topic| named(topic.name, topic.partition_indexes))
            .collect::<Vec<_>>()
    });
    match context
        .broker
        .groups()
        .fetch_offsets(&group.group_id, named.as_deref(), require_stable)
        .await
    {
        Ok(fetched) => OffsetFetchResponseGroup {
            group_id: group.group_id,
            topics: by_topic(fetched)
                .into_iter()
                .map(|(name, partitions)| OffsetFetchResponseTopics { name, partitions })
                .collect(),
            error_code: ErrorCode::None.code(),
        },
        Err(error) => OffsetFetchResponseGroup {
            group_id: group.group_id,
            error_code: error.code(),
            ..OffsetFetchResponseGroup::default()
        },
    }
}

/// Versions 1 to 7: one group, whose fields are the request's own.
async fn fetch_one(context: &RequestContext, request: OffsetFetchRequest) -> OffsetFetchResponse {
    let named = request.topics.map(|topics| {
        topics
            .into_iter()
            .flat_map(|topic| named(topic.name, topic.partition_indexes))
            .collect::<Vec<_>>()
    });
    let fetched = context
        .broker
        .groups()
        .fetch_offsets(&request.group_id, named.as_deref(), request.require_stable)
        .await;
    let (fetched, error) = match fetched {
        Ok(fetched) => (fetched, ErrorCode::None),
        Err(error) if context.api_version < TOP_ERROR_FROM => {
            let all = named
                .unwrap_or_default()
                .into_iter()
                .map(|partition| (partition, Err(error)))
                .collect();
            (all, error)
        }
        Err(error) => (Vec::new(), error),
    };
    let topics = by_topic(fetched)
        .into_iter()
        .map(|(name, partitions)| OffsetFetchResponseTopic {
            name,
            partitions: partitions
                .into_iter()
                .map(|partition| OffsetFetchResponsePartition {
                    partition_index: partition.partition_index,
                    committed_offset: partition.committed_offset,
                    committed_leader_epoch: partition.committed_leader_epoch,
                    metadata: partition.metadata,
                    error_code: partition.error_code,
                })
                .collect(),
        })
        .collect();
    OffsetFetchResponse {
        topics,
        error_code: error.code(),
        ..OffsetFetchResponse::default()
    }
}

fn named(topic: String, indexes: Vec<i32>) -> impl Iterator<Item = TopicPartition> {
    indexes
        .into_iter()
        .map(move |index| TopicPartition::new(topic.clone(), index))
}

/// The offsets under their topics, neighbours of one topic together.
fn by_topic(fetched: Vec<FetchedOffset>) -> Vec<(String, Vec<OffsetFetchResponsePartitions>)> {
    let mut topics: Vec<(String, Vec<OffsetFetchResponsePartitions>)> = Vec::new();
    for (partition, result) in fetched {
        let answer = answered(partition.partition, result);
        match topics.last_mut() {
            Some((name, partitions)) if *name == partition.topic => partitions.push(answer),
            _ => topics.push((partition.topic, vec![answer])),
        }
    }
    topics
}

fn answered(
    partition_index: i32,
    result: Result<Option<crate::group::CommittedOffset>, ErrorCode>,
) -> OffsetFetchResponsePartitions {
    let (committed, error) = match result {
        Ok(committed) => (committed, ErrorCode::None),
        Err(error) => (None, error),
    };
    let none = OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: -1,
        committed_leader_epoch: -1,
        metadata: Some(String::new()),
        error_code: error.code(),
    };
    match committed {
        None => none,
        Some(committed) => OffsetFetchResponsePartitions {
            committed_offset: committed.offset,
            committed_leader_epoch: committed.leader_epoch,
            metadata: Some(committed.metadata),
            ..none
        },
    }
}
