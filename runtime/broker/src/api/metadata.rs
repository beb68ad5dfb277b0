//! Metadata: the nodes, the topics and who leads their partitions. May create the topics that are asked for.

use std::sync::Arc;

use millstream_cluster::{Image, TopicImage, TopicSpec, check_topic_name};
use millstream_wire::{
    ErrorCode,
    metadata::{
        MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker,
        MetadataResponsePartition, MetadataResponseTopic,
    },
};

use super::once::once;
use crate::{
    context::RequestContext,
    internal_topics::{is_internal, is_reserved},
};

/// Operations that a client without restrictions may do, as bits of Kafka's `AclOperation`: on a topic read, write,
/// create, delete, alter, describe and the configs; on the cluster create, alter, describe, cluster action, the
/// configs and idempotent write.
const TOPIC_OPERATIONS: i32 = bits(&[3, 4, 5, 6, 7, 8, 10, 11]);
const CLUSTER_OPERATIONS: i32 = bits(&[5, 7, 8, 9, 10, 11, 12]);

const fn bits(operations: &[u32]) -> i32 {
    let mut bits = 0;
    let mut position = 0;
    while position < operations.len() {
        bits |= 1 << operations[position];
        position += 1;
    }
    bits
}

pub(super) async fn handle(context: &RequestContext, request: MetadataRequest) -> MetadataResponse {
    let broker = &context.broker;
    let operations = |wanted: bool, all: i32| if wanted { all } else { i32::MIN };
    let topic_operations = operations(
        request.include_topic_authorized_operations,
        TOPIC_OPERATIONS,
    );
    // In version 0 an empty list asks for all topics, later only an absent one does.
    let wanted = request
        .topics
        .filter(|topics| context.api_version > 0 || !topics.is_empty());
    let mut topics = match wanted {
        None => broker.cluster().image().topics().map(described).collect(),
        Some(wanted) => {
            let wanted = once(wanted, |topic| (topic.topic_id, topic.name.clone()));
            let mut found = Vec::with_capacity(wanted.len());
            for topic in wanted {
                found.push(one(context, topic, request.allow_auto_topic_creation).await);
            }
            found
        }
    };
    for topic in &mut topics {
        topic.topic_authorized_operations = topic_operations;
    }
    MetadataResponse {
        throttle_time_ms: 0,
        brokers: brokers(context, &broker.cluster().image()),
        cluster_id: Some(broker.store().cluster_id().to_owned()),
        controller_id: broker.cluster().node_id(),
        topics,
        cluster_authorized_operations: operations(
            request.include_cluster_authorized_operations,
            CLUSTER_OPERATIONS,
        ),
    }
}

/// The nodes. This node's own address is the one that its settings name, else the one that the client has reached,
/// which is right for that client by definition.
pub(crate) fn brokers(context: &RequestContext, image: &Image) -> Vec<MetadataResponseBroker> {
    let node_id = context.broker.cluster().node_id();
    let address = |broker: &millstream_cluster::BrokerImage| {
        if broker.node_id != node_id {
            return (broker.host.clone(), broker.port);
        }
        own_address(context)
    };
    let describe = |broker| {
        let (host, port) = address(broker);
        MetadataResponseBroker {
            node_id: broker.node_id,
            host,
            port: i32::from(port),
            rack: None,
        }
    };
    image.brokers().map(describe).collect()
}

/// Host and port under which this client reaches this node.
pub(crate) fn own_address(context: &RequestContext) -> (String, u16) {
    match context.broker.advertised() {
        Some(advertised) => advertised,
        None => (
            context.local.ip().to_canonical().to_string(),
            context.local.port(),
        ),
    }
}

async fn one(
    context: &RequestContext,
    wanted: MetadataRequestTopic,
    may_create: bool,
) -> MetadataResponseTopic {
    let image = context.broker.cluster().image();
    let Some(name) = wanted.name else {
        return match image.topic_by_id(&wanted.topic_id) {
            Some(topic) => described(topic),
            None => MetadataResponseTopic {
                error_code: ErrorCode::UnknownTopicId.code(),
                topic_id: wanted.topic_id,
                ..MetadataResponseTopic::default()
            },
        };
    };
    if let Some(topic) = image.topic(&name) {
        return described(topic);
    }
    match create(context, &name, may_create).await {
        Ok(topic) => described(&topic),
        Err(error) => MetadataResponseTopic {
            error_code: error.code(),
            is_internal: is_internal(&name),
            name: Some(name),
            ..MetadataResponseTopic::default()
        },
    }
}

async fn create(
    context: &RequestContext,
    name: &str,
    may_create: bool,
) -> Result<Arc<TopicImage>, ErrorCode> {
    check_topic_name(name).map_err(|_| ErrorCode::InvalidTopicException)?;
    let broker = &context.broker;
    let may_create = may_create && broker.config().auto_create_topics_enable;
    if !may_create || is_reserved(name) {
        return Err(ErrorCode::UnknownTopicOrPartition);
    }
    let made = broker.made_for_client(TopicSpec::named(name));
    let topic = match made {
        Ok(spec) => broker.ensure_topic(&spec).await,
        Err(failure) => Err(failure),
    };
    topic.map_err(|failure| failure.code)
}

fn described(topic: &Arc<TopicImage>) -> MetadataResponseTopic {
    let partitions =
        topic
            .partitions
            .iter()
            .zip(0..)
            .map(|(partition, index)| MetadataResponsePartition {
                error_code: ErrorCode::None.code(),
                partition_index: index,
                leader_id: partition.leader,
                leader_epoch: partition.leader_epoch,
                replica_nodes: partition.replicas.clone(),
                isr_nodes: partition.isr.clone(),
                offline_replicas: Vec::new(),
            });
    MetadataResponseTopic {
        error_code: ErrorCode::None.code(),
        name: Some(topic.name.clone()),
        topic_id: topic.id,
        is_internal: is_internal(&topic.name),
        partitions: partitions.collect(),
        topic_authorized_operations: i32::MIN,
    }
}
