use proptest::prelude::*;

use super::*;

fn any_record() -> impl Strategy<Value = MetadataRecord> {
    let text = ".{0,20}";
    let id = any::<u128>().prop_map(Uuid::from_u128);
    let nodes = || prop::collection::vec(any::<i32>(), 0..4);
    let resource = prop_oneof![
        text.prop_map(ConfigResource::Topic),
        any::<i32>().prop_map(ConfigResource::Broker),
        Just(ConfigResource::DefaultBroker)
    ];
    let names = || prop::collection::vec(text, 0..3);
    let key = (text, text, any::<i32>()).prop_map(|(pipeline, stage, partition)| TaskKey {
        pipeline,
        stage,
        partition,
    });
    prop_oneof![
        (any::<i32>(), text, any::<u16>()).prop_map(|(node_id, host, port)| {
            MetadataRecord::Broker {
                node_id,
                host,
                port,
            }
        }),
        any::<i32>().prop_map(|node_id| MetadataRecord::Restart { node_id }),
        (text, id.clone(), prop::option::of(text)).prop_map(|(name, id, created_by)| {
            MetadataRecord::Topic {
                name,
                id,
                created_by,
            }
        }),
        (id.clone(), any::<(i32, i32, i32)>(), nodes(), nodes()).prop_map(
            |(topic_id, (index, leader, leader_epoch), replicas, isr)| {
                MetadataRecord::Partition {
                    topic_id,
                    index,
                    leader,
                    leader_epoch,
                    replicas,
                    isr,
                }
            }
        ),
        id.prop_map(|id| MetadataRecord::RemoveTopic { id }),
        (resource, text, prop::option::of(text)).prop_map(|(resource, name, value)| {
            MetadataRecord::Config {
                resource,
                name,
                value,
            }
        }),
        any::<i64>().prop_map(|next| MetadataRecord::ProducerIds { next }),
        (key.clone(), any::<(i32, i32)>(), names(), names()).prop_map(
            |(key, (node_id, epoch), reads, writes)| MetadataRecord::Task {
                key,
                node_id,
                epoch,
                topics: TaskTopics { reads, writes },
            }
        ),
        key.prop_map(|key| MetadataRecord::RemoveTask { key }),
    ]
}

proptest! {
    #[test]
    fn records_survive_the_round_trip(record in any_record()) {
        prop_assert_eq!(MetadataRecord::decode(&record.encode()).unwrap(), record);
    }

    #[test]
    fn foreign_bytes_are_an_error_and_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(MetadataRecord::decode(&bytes).is_err());
    }
}

#[test]
fn only_what_an_older_reader_does_not_know_has_a_newer_version() {
    let config = |resource| MetadataRecord::Config {
        resource,
        name: "a".to_owned(),
        value: None,
    };
    let key = TaskKey {
        pipeline: "p".to_owned(),
        stage: "s".to_owned(),
        partition: 0,
    };
    let topics = TaskTopics {
        reads: vec!["in".to_owned()],
        writes: vec!["out".to_owned()],
    };
    let task = MetadataRecord::Task {
        key: key.clone(),
        node_id: 1,
        epoch: 2,
        topics,
    };
    for (record, expected) in [
        (config(ConfigResource::Broker(1)), 1),
        (config(ConfigResource::DefaultBroker), 2),
        (task, 1),
        (MetadataRecord::RemoveTask { key }, 3),
    ] {
        let text = String::from_utf8(record.encode()).unwrap();
        let version = format!(r#""version":{expected},"#);
        assert!(text.contains(&version), "{text}");
    }
}

/// As the first versions wrote them.
#[test]
fn records_of_older_versions_are_read() {
    let id = "6c1b5a2e-1111-4222-8333-0123456789ab";
    let topic = format!(r#"{{"version":1,"type":"topic","name":"flights","id":"{id}"}}"#);
    assert_eq!(
        MetadataRecord::decode(topic.as_bytes()).unwrap(),
        MetadataRecord::Topic {
            name: "flights".to_owned(),
            id: Uuid::parse_str(id).unwrap(),
            created_by: None,
        }
    );
    let task = r#"{"version":1,"type":"task","pipeline":"p","stage":"s","partition":3,"node_id":1,"epoch":7}"#;
    assert_eq!(
        MetadataRecord::decode(task.as_bytes()).unwrap(),
        MetadataRecord::Task {
            key: TaskKey {
                pipeline: "p".to_owned(),
                stage: "s".to_owned(),
                partition: 3,
            },
            node_id: 1,
            epoch: 7,
            topics: TaskTopics::default(),
        }
    );
}

#[test]
fn an_unknown_field_is_ignored_and_a_newer_version_is_refused() {
    let read = |text: &str| MetadataRecord::decode(text.as_bytes());
    let known = read(r#"{"version":1,"type":"producer_ids","next":7,"colour":"red"}"#).unwrap();
    assert_eq!(known, MetadataRecord::ProducerIds { next: 7 });
    let newer = read(r#"{"version":4,"type":"producer_ids","next":7}"#);
    assert!(matches!(
        newer,
        Err(RecordError::TooNew {
            version: 4,
            supported: 3
        })
    ));
    assert!(matches!(
        read(r#"{"version":1,"type":"moon"}"#),
        Err(RecordError::Malformed { .. })
    ));
}
