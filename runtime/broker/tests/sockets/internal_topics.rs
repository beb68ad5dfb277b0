//! The node's own topics: clients read them at the most, and make them in the node's way alone.

use std::time::Duration;

use millstream_records::ProducerStamp;
use millstream_wire::{
    ErrorCode,
    create_topics::{
        CreatableTopic, CreatableTopicConfig, CreatableTopicResult, CreateTopicsRequest,
    },
    delete_records::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic},
    delete_topics::DeleteTopicsRequest,
    describe_configs::{DescribeConfigsRequest, DescribeConfigsResource},
    incremental_alter_configs::{
        AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
    },
    list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic},
    metadata::{MetadataRequest, MetadataRequestTopic},
    offset_commit::{OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic},
    offset_fetch::{OffsetFetchRequest, OffsetFetchRequestTopic},
};

use crate::{
    support::{
        BatchSpec, Client, Node, assert_code, batch, batch_of, fetch_request, only,
        produce_request, values,
    },
    transactions::{self, ID, init},
};

const OFFSETS: &str = "__consumer_offsets";
const TRANSACTIONS: &str = "__transaction_state";
const SOURCES: &str = "__millstream_sources";
const METADATA: &str = "__cluster_metadata";

/// A node with small internal topics that hold something: an offset of the group `readers`, and a producer.
async fn node() -> Node {
    let node = Node::with(&[
        ("offsets.topic.num.partitions", "1"),
        ("transaction.state.log.num.partitions", "1"),
    ])
    .await;
    let mut client = node.client().await;
    client.create("t", 1, &[]).await;
    assert_code(commit(&mut client, "t", 7).await, ErrorCode::None);
    assert_code(init(&mut client, 4).await.error_code, ErrorCode::None);
    let local = node.broker.local();
    local.ensure_topic(SOURCES, None, &[]).await.unwrap();
    node
}

async fn commit(client: &mut Client, topic: &str, offset: i64) -> i16 {
    let request = OffsetCommitRequest {
        group_id: "readers".to_owned(),
        topics: vec![OffsetCommitRequestTopic {
            name: topic.to_owned(),
            partitions: vec![OffsetCommitRequestPartition {
                committed_offset: offset,
                ..OffsetCommitRequestPartition::default()
            }],
        }],
        ..OffsetCommitRequest::default()
    };
    let response = client.call(7, &request).await;
    response.topics[0].partitions[0].error_code
}

async fn committed(client: &mut Client, topic: &str) -> (i64, i16) {
    let request = OffsetFetchRequest {
        group_id: "readers".to_owned(),
        topics: Some(vec![OffsetFetchRequestTopic {
            name: topic.to_owned(),
            partition_indexes: vec![0],
        }]),
        ..OffsetFetchRequest::default()
    };
    let response = client.call(7, &request).await;
    let partition = &response.topics[0].partitions[0];
    (partition.committed_offset, partition.error_code)
}

fn wanted(name: &str, partitions: i32, settings: &[(&str, &str)]) -> CreatableTopic {
    let setting = |(name, value): &(&str, &str)| CreatableTopicConfig {
        name: (*name).to_owned(),
        value: Some((*value).to_owned()),
    };
    CreatableTopic {
        name: name.to_owned(),
        num_partitions: partitions,
        replication_factor: -1,
        configs: settings.iter().map(setting).collect(),
        ..CreatableTopic::default()
    }
}

async fn create(
    client: &mut Client,
    topic: CreatableTopic,
    try_only: bool,
) -> CreatableTopicResult {
    let request = CreateTopicsRequest {
        topics: vec![topic],
        validate_only: try_only,
        ..CreateTopicsRequest::default()
    };
    client.call(7, &request).await.topics.remove(0)
}

/// Asks for a topic's metadata, and to have it made; returns the error.
async fn asked(client: &mut Client, version: i16, name: &str) -> i16 {
    let topic = MetadataRequestTopic {
        name: Some(name.to_owned()),
        ..MetadataRequestTopic::default()
    };
    let request = MetadataRequest {
        topics: Some(vec![topic]),
        allow_auto_topic_creation: true,
        ..MetadataRequest::default()
    };
    client.call(version, &request).await.topics[0].error_code
}

async fn delete_topic(client: &mut Client, name: &str) -> i16 {
    let request = DeleteTopicsRequest {
        topic_names: vec![name.to_owned()],
        ..DeleteTopicsRequest::default()
    };
    client.call(4, &request).await.responses[0].error_code
}

async fn delete_records(client: &mut Client, topic: &str) -> i16 {
    let request = DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: topic.to_owned(),
            partitions: vec![DeleteRecordsPartition {
                partition_index: 0,
                offset: -1,
            }],
        }],
        timeout_ms: 10_000,
    };
    client.call(2, &request).await.topics[0].partitions[0].error_code
}

async fn alter(client: &mut Client, topic: &str, name: &str, operation: i8, value: &str) -> i16 {
    let change = AlterableConfig {
        name: name.to_owned(),
        config_operation: operation,
        value: Some(value.to_owned()),
    };
    let resource = AlterConfigsResource {
        resource_type: 2,
        resource_name: topic.to_owned(),
        configs: vec![change],
    };
    let request = IncrementalAlterConfigsRequest {
        resources: vec![resource],
        ..IncrementalAlterConfigsRequest::default()
    };
    client.call(1, &request).await.responses[0].error_code
}

/// The settings of a topic by name and value, or the error.
async fn settings(client: &mut Client, topic: &str) -> Result<Vec<(String, Option<String>)>, i16> {
    let resource = DescribeConfigsResource {
        resource_type: 2,
        resource_name: topic.to_owned(),
        configuration_keys: None,
    };
    let request = DescribeConfigsRequest {
        resources: vec![resource],
        ..DescribeConfigsRequest::default()
    };
    let result = client.call(4, &request).await.results.remove(0);
    match result.error_code {
        0 => {
            let settings = result.configs.into_iter();
            Ok(settings.map(|one| (one.name, one.value)).collect())
        }
        code => Err(code),
    }
}

#[tokio::test]
async fn no_client_writes_to_a_topic_of_the_node() {
    let node = node().await;
    let mut client = node.client().await;
    let garbage = || batch(&["neither a group nor a transaction"]);
    for topic in [OFFSETS, TRANSACTIONS, SOURCES] {
        let end = only(client.call(11, &fetch_request(topic, 0, 0)).await).high_watermark;
        for version in 3..=11 {
            for acks in [-1, 1] {
                let request = produce_request(topic, 0, acks, garbage());
                let response = client.call(version, &request).await;
                let partition = &response.responses[0].partition_responses[0];
                assert_code(partition.error_code, ErrorCode::InvalidTopicException);
                assert_eq!(partition.base_offset, -1);
            }
        }
        // Whatever the batch is like, and without an answer.
        let refused = client.produce(topic, 0, -1, b"no batch".to_vec()).await;
        assert_code(refused.error_code, ErrorCode::InvalidTopicException);
        let mut silent = node.client().await;
        silent
            .send(9, &produce_request(topic, 0, 0, garbage()))
            .await;
        silent.assert_closed().await;
        let after = only(client.call(11, &fetch_request(topic, 0, 0)).await).high_watermark;
        assert_eq!(after, end, "{topic}");
    }
    // What the node keeps there is as it was, also when it reads it again.
    let node = node.restart().await;
    let mut client = node.client().await;
    assert_eq!(committed(&mut client, "t").await, (7, 0));
    assert_code(init(&mut client, 4).await.error_code, ErrorCode::None);
}

#[tokio::test]
async fn the_nodes_own_appends_go_on() {
    let node = node().await;
    let local = node.broker.local();
    let append = async |topic: &str| {
        let mut bytes = batch(&["progress"]);
        let id = local.topic(topic).expect("it was made").id;
        let appended = local
            .append(None, &id, 0, &mut bytes, Duration::ZERO)
            .await?;
        local.partition(topic, 0)?.flushed(&appended).await?;
        Ok(appended.base_offset)
    };
    assert_eq!(append(SOURCES).await, Ok(0));
    // A source or stage is no coordinator.
    for topic in [OFFSETS, TRANSACTIONS] {
        assert_eq!(append(topic).await, Err(ErrorCode::InvalidTopicException));
    }
    let mut client = node.client().await;
    assert_eq!(values(&client.fetch(SOURCES, 0, 0).await), ["progress"]);
    assert_code(commit(&mut client, "t", 8).await, ErrorCode::None);
    assert_eq!(committed(&mut client, "t").await, (8, 0));
}

#[tokio::test]
async fn the_metadata_are_no_topic_to_any_api() {
    let node = node().await;
    let mut client = node.client().await;
    client.produce("t", 0, -1, batch(&["kept"])).await;
    let unknown = ErrorCode::UnknownTopicOrPartition;
    for try_only in [true, false] {
        let refused = create(&mut client, wanted(METADATA, 1, &[]), try_only).await;
        assert_code(refused.error_code, ErrorCode::InvalidRequest);
        assert!(refused.error_message.is_some());
    }
    for version in 4..=12 {
        assert_code(asked(&mut client, version, METADATA).await, unknown);
    }
    let fetched = client.fetch(METADATA, 0, 0).await;
    assert_code(fetched.error_code, unknown);
    let produced = client.produce(METADATA, 0, -1, batch(&["x"])).await;
    assert_code(produced.error_code, unknown);
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: METADATA.to_owned(),
            partitions: vec![ListOffsetsPartition::default()],
        }],
        ..ListOffsetsRequest::default()
    };
    let listed = client.call(7, &request).await;
    assert_code(listed.topics[0].partitions[0].error_code, unknown);
    assert_code(delete_records(&mut client, METADATA).await, unknown);
    assert_code(delete_topic(&mut client, METADATA).await, unknown);
    assert_code(commit(&mut client, METADATA, 1).await, unknown);
    assert_eq!(settings(&mut client, METADATA).await, Err(unknown.code()));
    let altered = alter(&mut client, METADATA, "segment.ms", 0, "9").await;
    assert_code(altered, unknown);
    let producer = init(&mut client, 4).await;
    let added = transactions::add(&mut client, 3, &producer, &[(METADATA, &[0])]).await;
    assert_code(added[0], unknown);
    let local = node.broker.local();
    let failure = local.ensure_topic(METADATA, None, &[]).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::InvalidRequest);
    assert!(local.partition(METADATA, 0).is_err());
    drop(local);
    // The metadata are where they were, and the node reads them again.
    let mut twice = node.restart().await;
    for _ in 0..2 {
        let mut client = twice.client().await;
        assert_eq!(values(&client.fetch("t", 0, 0).await), ["kept"]);
        assert_eq!(committed(&mut client, "t").await, (7, 0));
        let names = std::fs::read_dir(twice.dir()).unwrap();
        for name in names.map(|entry| entry.unwrap().file_name().into_string().unwrap()) {
            assert!(!name.ends_with("-stray"), "{name}");
        }
        twice = twice.restart().await;
    }
}

#[tokio::test]
async fn an_internal_topic_is_made_with_the_nodes_settings_alone() {
    let node = Node::start().await;
    let mut client = node.client().await;
    for topic in [OFFSETS, TRANSACTIONS] {
        for setting in [("cleanup.policy", "delete"), ("segment.ms", "60000")] {
            for try_only in [true, false] {
                let refused = create(&mut client, wanted(topic, 1, &[setting]), try_only).await;
                assert_code(refused.error_code, ErrorCode::InvalidConfig);
            }
        }
        let made = create(&mut client, wanted(topic, 3, &[]), false).await;
        assert_code(made.error_code, ErrorCode::None);
        assert_eq!(made.num_partitions, 3);
        let found = settings(&mut client, topic).await.unwrap();
        let policy = ("cleanup.policy".to_owned(), Some("compact".to_owned()));
        assert!(found.contains(&policy), "{topic}: {found:?}");
    }
    assert_code(init(&mut client, 4).await.error_code, ErrorCode::None);
}

#[tokio::test]
async fn settings_that_would_change_an_internal_topic_or_stop_its_coordinator_stay() {
    let node = node().await;
    let mut client = node.client().await;
    for topic in [OFFSETS, TRANSACTIONS, SOURCES] {
        let before = settings(&mut client, topic).await.unwrap();
        for (name, value) in [
            ("cleanup.policy", "delete"),
            ("retention.ms", "1"),
            ("retention.bytes", "1"),
            ("max.message.bytes", "1"),
            ("min.insync.replicas", "2"),
            ("message.timestamp.type", "LogAppendTime"),
            ("message.timestamp.before.max.ms", "1"),
            ("message.timestamp.after.max.ms", "1"),
        ] {
            for operation in [0, 1] {
                let code = alter(&mut client, topic, name, operation, value).await;
                assert_code(code, ErrorCode::InvalidConfig);
            }
        }
        let code = alter(&mut client, topic, "cleanup.policy", 2, "delete").await;
        assert_code(code, ErrorCode::InvalidConfig);
        assert_eq!(settings(&mut client, topic).await.unwrap(), before);
        // How it is kept may change.
        let code = alter(&mut client, topic, "min.cleanable.dirty.ratio", 0, "0.1").await;
        assert_code(code, ErrorCode::None);
    }
}

#[tokio::test]
async fn no_client_makes_or_deletes_what_has_the_prefix_of_the_node() {
    let node = node().await;
    let mut client = node.client().await;
    let refused = ErrorCode::InvalidTopicException;
    // Also what would stand in the way of such a topic: names that differ in '.' and '_' alone exclude one another.
    for name in [
        "__millstream_mine",
        "__millstream.mine",
        "__consumer.offsets",
    ] {
        let made = create(&mut client, wanted(name, 1, &[]), false).await;
        assert_code(made.error_code, refused);
        let code = asked(&mut client, 12, name).await;
        assert_code(code, ErrorCode::UnknownTopicOrPartition);
        let failure = node.broker.local().ensure_topic(name, None, &[]).await;
        assert_eq!(failure.unwrap_err().code, refused, "{name}");
    }
    for topic in [OFFSETS, TRANSACTIONS, SOURCES] {
        assert_code(delete_topic(&mut client, topic).await, refused);
        assert_code(delete_records(&mut client, topic).await, refused);
    }
    assert_code(
        delete_topic(&mut client, "__millstream_mine").await,
        refused,
    );
    assert_code(asked(&mut client, 12, SOURCES).await, ErrorCode::None);
}

#[tokio::test]
async fn internal_topics_join_no_clients_transaction() {
    let node = node().await;
    let mut client = node.client().await;
    let producer = init(&mut client, 4).await;
    for version in 0..=3 {
        for internal in [OFFSETS, TRANSACTIONS, SOURCES] {
            let topics: [(&str, &[i32]); 2] = [("t", &[0]), (internal, &[0, 77])];
            let found = transactions::add(&mut client, version, &producer, &topics).await;
            assert_code(found[0], ErrorCode::OperationNotAttempted);
            assert_code(found[1], ErrorCode::TopicAuthorizationFailed);
            assert_code(found[2], ErrorCode::TopicAuthorizationFailed);
        }
        let ended = transactions::end(&mut client, version, &producer, true).await;
        assert_code(ended, ErrorCode::InvalidTxnState);
    }
    // Produce says so too, even inside a transaction.
    transactions::add(&mut client, 3, &producer, &[("t", &[0])]).await;
    let spec = BatchSpec {
        producer: Some(ProducerStamp {
            id: producer.producer_id,
            epoch: producer.producer_epoch,
            base_sequence: 0,
        }),
        transactional: true,
        ..BatchSpec::default()
    };
    let mut request = produce_request(OFFSETS, 0, -1, batch_of(&["forged"], &spec));
    request.transactional_id = Some(ID.to_owned());
    let response = client.call(9, &request).await;
    let code = response.responses[0].partition_responses[0].error_code;
    assert_code(code, ErrorCode::InvalidTopicException);
}

#[tokio::test]
async fn a_group_may_read_an_internal_topic_and_keep_its_place() {
    let node = node().await;
    let mut client = node.client().await;
    for topic in [OFFSETS, SOURCES] {
        assert_code(commit(&mut client, topic, 3).await, ErrorCode::None);
        assert_eq!(committed(&mut client, topic).await, (3, 0));
    }
}
