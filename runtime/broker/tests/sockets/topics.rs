//! Topics: created, described, deleted, made on demand.

use millstream_cluster::MetadataRecord;
use millstream_wire::{
    ErrorCode,
    create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest},
    delete_topics::{DeleteTopicState, DeleteTopicsRequest},
    metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponseTopic},
};
use uuid::Uuid;

use crate::support::{Client, Node, assert_code, batch, values};

fn named(name: &str, partitions: i32) -> CreatableTopic {
    CreatableTopic {
        name: name.to_owned(),
        num_partitions: partitions,
        replication_factor: 1,
        ..CreatableTopic::default()
    }
}

fn asked(name: &str) -> MetadataRequestTopic {
    MetadataRequestTopic {
        name: Some(name.to_owned()),
        topic_id: Uuid::nil(),
    }
}

async fn described(client: &mut Client, name: &str, may_create: bool) -> MetadataResponseTopic {
    let request = MetadataRequest {
        topics: Some(vec![asked(name)]),
        allow_auto_topic_creation: may_create,
        ..MetadataRequest::default()
    };
    client.call(12, &request).await.topics.remove(0)
}

#[tokio::test]
async fn metadata_describe_the_node_and_its_topics_in_every_version() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.create("a", 3, &[]).await;
    for version in 0..=12 {
        // In version 0 an empty list asks for all topics, and there is no other way to.
        let request = MetadataRequest {
            topics: (version == 0).then(Vec::new),
            ..MetadataRequest::default()
        };
        let response = client.call(version, &request).await;
        assert_eq!(response.brokers.len(), 1);
        assert_eq!(
            (
                response.brokers[0].host.as_str(),
                response.brokers[0].node_id
            ),
            ("127.0.0.1", 1)
        );
        assert_eq!(response.brokers[0].port, i32::from(node.address.port()));
        assert_eq!(response.topics.len(), 1, "version {version}");
        let topic = &response.topics[0];
        assert_eq!(topic.name.as_deref(), Some("a"));
        let partitions: Vec<_> = topic
            .partitions
            .iter()
            .map(|one| (one.partition_index, one.leader_id, one.isr_nodes.len()))
            .collect();
        assert_eq!(partitions, [(0, 1, 1), (1, 1, 1), (2, 1, 1)]);
        assert_eq!(topic.topic_id.is_nil(), version < 10);
    }
    let none = client
        .call(
            4,
            &MetadataRequest {
                topics: Some(Vec::new()),
                ..MetadataRequest::default()
            },
        )
        .await;
    assert!(
        none.topics.is_empty(),
        "an empty list asks for none from version 1 on"
    );
}

#[tokio::test]
async fn a_topic_is_found_by_its_id() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.create("a", 1, &[]).await;
    let id = described(&mut client, "a", false).await.topic_id;
    let by_id = |topic_id| MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            name: None,
            topic_id,
        }]),
        ..MetadataRequest::default()
    };
    let found = client.call(12, &by_id(id)).await.topics.remove(0);
    assert_eq!((found.error_code, found.name.as_deref()), (0, Some("a")));
    let missing = client
        .call(12, &by_id(Uuid::from_u128(77)))
        .await
        .topics
        .remove(0);
    assert_code(missing.error_code, ErrorCode::UnknownTopicId);
}

#[tokio::test]
async fn asking_for_a_topic_makes_it_when_client_and_node_allow_it() {
    let node = Node::with(&[("num.partitions", "4")]).await;
    let mut client = node.client().await;
    assert_code(
        described(&mut client, "t", false).await.error_code,
        ErrorCode::UnknownTopicOrPartition,
    );
    let made = described(&mut client, "t", true).await;
    assert_eq!((made.error_code, made.partitions.len()), (0, 4));
    assert_code(
        described(&mut client, "a b", true).await.error_code,
        ErrorCode::InvalidTopicException,
    );
    client.produce("t", 3, -1, batch(&["x"])).await;
    assert_eq!(values(&client.fetch("t", 3, 0).await), ["x"]);

    let closed = Node::with(&[("auto.create.topics.enable", "false")]).await;
    let mut client = closed.client().await;
    assert_code(
        described(&mut client, "t", true).await.error_code,
        ErrorCode::UnknownTopicOrPartition,
    );
}

#[tokio::test]
async fn many_clients_that_ask_for_the_same_new_topic_get_the_same_one() {
    let node = Node::start().await;
    let mut tasks = Vec::new();
    for _ in 0..16 {
        let mut client = node.client().await;
        tasks.push(tokio::spawn(async move {
            described(&mut client, "t", true).await
        }));
    }
    let mut ids = Vec::new();
    for task in tasks {
        let topic = task.await.unwrap();
        assert_eq!(topic.error_code, 0);
        ids.push(topic.topic_id);
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
}

#[tokio::test]
async fn an_internal_topic_is_made_with_its_own_settings_and_says_that_it_is_internal() {
    let node = Node::with(&[("offsets.topic.num.partitions", "7")]).await;
    let mut client = node.client().await;
    let topic = described(&mut client, "__consumer_offsets", true).await;
    assert_eq!(
        (topic.error_code, topic.is_internal, topic.partitions.len()),
        (0, true, 7)
    );
    let refused = client
        .call(
            4,
            &DeleteTopicsRequest {
                topic_names: vec!["__consumer_offsets".to_owned()],
                ..Default::default()
            },
        )
        .await;
    assert_code(
        refused.responses[0].error_code,
        ErrorCode::InvalidTopicException,
    );
}

#[tokio::test]
async fn each_topic_of_a_request_is_created_or_refused_by_itself() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.create("old", 1, &[]).await;
    let setting = |name: &str, value: &str| {
        vec![CreatableTopicConfig {
            name: name.to_owned(),
            value: Some(value.to_owned()),
        }]
    };
    let topics = vec![
        named("good", 2),
        named("old", 1),
        named("a b", 1),
        named("none", 0),
        CreatableTopic {
            replication_factor: 3,
            ..named("far", 1)
        },
        CreatableTopic {
            configs: setting("moon.phase", "full"),
            ..named("odd", 1)
        },
        CreatableTopic {
            configs: setting("retention.ms", "long"),
            ..named("odd2", 1)
        },
        named("twice", 1),
        named("twice", 1),
        CreatableTopic {
            num_partitions: -1,
            replication_factor: -1,
            ..named("default", -1)
        },
    ];
    let response = client
        .call(
            7,
            &CreateTopicsRequest {
                topics,
                ..Default::default()
            },
        )
        .await;
    let expected = [
        ("good", ErrorCode::None),
        ("old", ErrorCode::TopicAlreadyExists),
        ("a b", ErrorCode::InvalidTopicException),
        ("none", ErrorCode::InvalidPartitions),
        ("far", ErrorCode::InvalidReplicationFactor),
        ("odd", ErrorCode::InvalidConfig),
        ("odd2", ErrorCode::InvalidConfig),
        ("twice", ErrorCode::InvalidRequest),
        ("twice", ErrorCode::InvalidRequest),
        ("default", ErrorCode::None),
    ];
    for (result, (name, code)) in response.topics.iter().zip(expected) {
        assert_eq!(result.name, name);
        assert_code(result.error_code, code);
        assert_eq!(
            result.error_message.is_some(),
            code != ErrorCode::None,
            "{name}"
        );
    }
    let good = &response.topics[0];
    assert_eq!(
        (
            good.num_partitions,
            good.replication_factor,
            good.topic_id.is_nil()
        ),
        (2, 1, false)
    );
    assert!(
        good.configs
            .as_ref()
            .unwrap()
            .iter()
            .any(|config| config.name == "segment.bytes")
    );
}

#[tokio::test]
async fn validating_only_creates_nothing() {
    let node = Node::start().await;
    let mut client = node.client().await;
    let request = CreateTopicsRequest {
        topics: vec![named("t", 2)],
        validate_only: true,
        ..Default::default()
    };
    let response = client.call(7, &request).await;
    assert_eq!(
        (
            response.topics[0].error_code,
            response.topics[0].num_partitions
        ),
        (0, 2)
    );
    assert_code(
        described(&mut client, "t", false).await.error_code,
        ErrorCode::UnknownTopicOrPartition,
    );
}

#[tokio::test]
async fn a_deleted_topic_takes_its_files_along_and_its_name_is_free() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.create("t", 1, &[]).await;
    client.create("u", 1, &[]).await;
    client.produce("t", 0, -1, batch(&["old"])).await;
    assert!(node.dir().join("t-0").exists());
    let request = DeleteTopicsRequest {
        topic_names: vec!["t".to_owned(), "missing".to_owned()],
        ..DeleteTopicsRequest::default()
    };
    let response = client.call(5, &request).await;
    assert_eq!(response.responses[0].error_code, 0);
    assert_code(
        response.responses[1].error_code,
        ErrorCode::UnknownTopicOrPartition,
    );
    let left = std::fs::read_dir(node.dir())
        .unwrap()
        .filter_map(Result::ok);
    let left: Vec<_> = left
        .map(|entry| entry.file_name())
        .filter(|name| name == "t-0")
        .collect();
    assert!(left.is_empty());
    assert_code(
        client.fetch("t", 0, 0).await.error_code,
        ErrorCode::UnknownTopicOrPartition,
    );
    client.create("t", 1, &[]).await;
    assert!(
        client
            .fetch("t", 0, 0)
            .await
            .records
            .unwrap_or_default()
            .is_empty()
    );

    let id = described(&mut client, "u", false).await.topic_id;
    let by_id = |topic_id| DeleteTopicsRequest {
        topics: vec![DeleteTopicState {
            name: None,
            topic_id,
        }],
        ..DeleteTopicsRequest::default()
    };
    let response = client.call(6, &by_id(id)).await;
    assert_eq!(
        (
            response.responses[0].error_code,
            response.responses[0].name.as_deref()
        ),
        (0, Some("u"))
    );
    assert_code(
        client.call(6, &by_id(id)).await.responses[0].error_code,
        ErrorCode::UnknownTopicId,
    );
}

#[tokio::test]
async fn topics_and_records_survive_a_restart_and_the_leader_epoch_rises() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.create("t", 2, &[("retention.ms", "5000000")]).await;
    client.produce("t", 1, -1, batch(&["a", "b"])).await;
    let before = described(&mut client, "t", false).await;
    let node = node.restart().await;
    let mut client = node.client().await;
    let after = described(&mut client, "t", false).await;
    assert_eq!(after.topic_id, before.topic_id);
    assert_eq!(
        after.partitions[1].leader_epoch,
        before.partitions[1].leader_epoch + 1
    );
    assert_eq!(values(&client.fetch("t", 1, 0).await), ["a", "b"]);
    let appended = client.produce("t", 1, -1, batch(&["c"])).await;
    assert_eq!((appended.error_code, appended.base_offset), (0, 2));
}

#[tokio::test]
async fn a_topic_that_is_asked_for_twice_is_described_once() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.create("a", 1, &[]).await;
    let topics = ["a", "missing"].repeat(3).into_iter().map(asked).collect();
    let request = MetadataRequest {
        topics: Some(topics),
        ..MetadataRequest::default()
    };
    let found = client.call(12, &request).await.topics;
    let names: Vec<_> = found.iter().map(|topic| topic.name.as_deref()).collect();
    assert_eq!(names, [Some("a"), Some("missing")]);
}

#[tokio::test]
async fn a_request_creates_only_so_many_partitions() {
    let node = Node::start().await;
    let mut client = node.client().await;
    for (sizes, code) in [
        ([6_000, 4_001], ErrorCode::PolicyViolation),
        ([i32::MAX, i32::MAX], ErrorCode::PolicyViolation),
        ([6_000, 4_000], ErrorCode::None),
    ] {
        let request = CreateTopicsRequest {
            topics: vec![named("a", sizes[0]), named("b", sizes[1])],
            validate_only: true,
            ..CreateTopicsRequest::default()
        };
        for topic in client.call(7, &request).await.topics {
            assert_code(topic.error_code, code);
        }
    }
}

/// A topic is removed and made anew in one change of the metadata, and a client comes before the old files are gone.
#[tokio::test]
async fn a_topic_that_is_used_before_its_forerunners_files_are_gone_keeps_its_records() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.create("t", 1, &[]).await;
    client.produce("t", 0, -1, batch(&["old"])).await;
    let old = node.cluster.image().topic("t").cloned().unwrap();
    let id = Uuid::new_v4();
    let anew = vec![
        MetadataRecord::RemoveTopic { id: old.id },
        MetadataRecord::Topic {
            name: "t".to_owned(),
            id,
            created_by: None,
        },
        MetadataRecord::Partition {
            topic_id: id,
            index: 0,
            leader: 1,
            leader_epoch: 0,
            replicas: vec![1],
            isr: vec![1],
        },
    ];
    node.cluster.submit(anew).await.unwrap();
    let produced = client.produce("t", 0, -1, batch(&["new"])).await;
    assert_eq!((produced.error_code, produced.base_offset), (0, 0));
    assert!(node.store.get(&old.id, 0).is_none());
    let dirs = || -> Vec<String> {
        let entries = std::fs::read_dir(node.dir()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("t-0")).collect()
    };
    assert_eq!(dirs(), ["t-0"]);
    let node = node.restart().await;
    let mut client = node.client().await;
    assert_eq!(values(&client.fetch("t", 0, 0).await), ["new"]);
}
