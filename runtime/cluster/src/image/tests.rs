use super::*;

fn topic(name: &str, id: u128, leaders: &[i32]) -> Vec<MetadataRecord> {
    let topic_id = Uuid::from_u128(id);
    let mut records = vec![MetadataRecord::Topic {
        name: name.to_owned(),
        id: topic_id,
        created_by: None,
    }];
    records.extend(
        leaders
            .iter()
            .zip(0..)
            .map(|(leader, index)| MetadataRecord::Partition {
                topic_id,
                index,
                leader: *leader,
                leader_epoch: 0,
                replicas: vec![*leader],
                isr: vec![*leader],
            }),
    );
    records
}

#[test]
fn a_restart_raises_the_epochs_of_the_partitions_that_the_node_leads_and_no_others() {
    let image = Image::default()
        .with(&topic("a", 1, &[1, 2, 1]), 3)
        .unwrap();
    let image = image
        .with(&[MetadataRecord::Restart { node_id: 1 }], 4)
        .unwrap();
    let epochs: Vec<i32> = image
        .topic("a")
        .unwrap()
        .partitions
        .iter()
        .map(|p| p.leader_epoch)
        .collect();
    assert_eq!(epochs, [1, 0, 1]);
    assert_eq!(image.offset(), Some(4));
}

#[test]
fn a_removed_topic_takes_its_settings_along() {
    let set = MetadataRecord::Config {
        resource: ConfigResource::Topic("a".to_owned()),
        name: "retention.ms".to_owned(),
        value: Some("5".to_owned()),
    };
    let mut records = topic("a", 1, &[1]);
    records.push(set);
    let image = Image::default().with(&records, 2).unwrap();
    assert_eq!(image.topic("a").unwrap().configs["retention.ms"], "5");
    let mut again = vec![MetadataRecord::RemoveTopic {
        id: Uuid::from_u128(1),
    }];
    again.extend(topic("a", 2, &[1]));
    let image = image.with(&again, 5).unwrap();
    assert!(image.topic("a").unwrap().configs.is_empty());
    assert!(image.topic_by_id(&Uuid::from_u128(1)).is_none());
    assert_eq!(image.topic_by_id(&Uuid::from_u128(2)).unwrap().name, "a");
}

#[test]
fn records_that_contradict_the_image_are_refused() {
    let image = Image::default().with(&topic("a", 1, &[1]), 1).unwrap();
    let id = Uuid::from_u128(9);
    let partition = |topic_id, index| MetadataRecord::Partition {
        topic_id,
        index,
        leader: 1,
        leader_epoch: 0,
        replicas: vec![1],
        isr: vec![1],
    };
    let key = TaskKey {
        pipeline: "p".to_owned(),
        stage: "s".to_owned(),
        partition: 0,
    };
    let cases = [
        (
            MetadataRecord::Topic {
                name: "a".to_owned(),
                id,
                created_by: None,
            },
            ApplyError::TopicExists {
                name: "a".to_owned(),
            },
        ),
        (partition(id, 0), ApplyError::UnknownTopicId { id }),
        (
            partition(Uuid::from_u128(1), 2),
            ApplyError::PartitionGap {
                topic: "a".to_owned(),
                index: 2,
                next: 1,
            },
        ),
        (
            MetadataRecord::RemoveTopic { id },
            ApplyError::UnknownTopicId { id },
        ),
        (
            MetadataRecord::Config {
                resource: ConfigResource::Topic("b".to_owned()),
                name: "x".to_owned(),
                value: None,
            },
            ApplyError::UnknownTopic {
                name: "b".to_owned(),
            },
        ),
        (
            MetadataRecord::RemoveTask { key: key.clone() },
            ApplyError::UnknownTask { key },
        ),
        (
            MetadataRecord::ProducerIds { next: -1 },
            ApplyError::ProducerIdsGoBack {
                current: 0,
                next: -1,
            },
        ),
    ];
    for (record, expected) in cases {
        assert_eq!(
            image.with(std::slice::from_ref(&record), 2).unwrap_err(),
            expected,
            "{record:?}"
        );
    }
}

#[test]
fn an_older_image_is_not_touched_by_later_changes() {
    let before = Image::default().with(&topic("a", 1, &[1]), 1).unwrap();
    let after = before.with(&topic("b", 2, &[1]), 3).unwrap();
    assert!(before.topic("b").is_none());
    assert!(after.topic("b").is_some());
    assert!(Arc::ptr_eq(
        before.topic("a").unwrap(),
        after.topic("a").unwrap()
    ));
}
