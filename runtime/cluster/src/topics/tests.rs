use super::*;

const DEFAULTS: TopicDefaults = TopicDefaults {
    partitions: 2,
    replication_factor: 1,
};

fn image(nodes: &[i32]) -> Image {
    let brokers: Vec<MetadataRecord> = nodes
        .iter()
        .map(|node_id| MetadataRecord::Broker {
            node_id: *node_id,
            host: "h".to_owned(),
            port: 1,
        })
        .collect();
    Image::default().with(&brokers, 0).unwrap()
}

fn created(image: &Image, spec: &TopicSpec) -> Result<Image, TopicError> {
    let id = Uuid::from_u128(image.topics().len() as u128 + 1);
    let records = create_topic(image, spec, DEFAULTS, id)?;
    Ok(image
        .with(&records, image.offset().unwrap_or(0) + 1)
        .unwrap())
}

fn spec(name: &str, partitions: i32, replication_factor: i16) -> TopicSpec {
    TopicSpec {
        partitions,
        replication_factor,
        ..TopicSpec::named(name)
    }
}

#[test]
fn defaults_fill_in_what_is_not_asked_for() {
    let image = created(&image(&[1]), &TopicSpec::named("a")).unwrap();
    let topic = image.topic("a").unwrap();
    assert_eq!(topic.partitions.len(), 2);
    assert_eq!(topic.partitions[1].replicas, [1]);
    assert_eq!(topic.partitions[1].isr, [1]);
    assert_eq!(topic.partitions[1].leader_epoch, 0);
}

#[test]
fn leaders_take_turns_and_followers_sit_on_other_nodes() {
    let image = created(&image(&[1, 2, 3]), &spec("a", 4, 2)).unwrap();
    let replicas: Vec<_> = image
        .topic("a")
        .unwrap()
        .partitions
        .iter()
        .map(|p| p.replicas.clone())
        .collect();
    assert_eq!(replicas, [[1, 2], [2, 3], [3, 1], [1, 2]]);
    assert!(
        image
            .topic("a")
            .unwrap()
            .partitions
            .iter()
            .all(|p| p.leader == p.replicas[0])
    );
}

#[test]
fn names_follow_kafkas_rules() {
    let long = "x".repeat(250);
    for bad in ["", ".", "..", "a b", "ä", "a/b", "a\0", long.as_str()] {
        assert!(
            matches!(check_topic_name(bad), Err(TopicError::InvalidName { .. })),
            "{bad:?}"
        );
    }
    let longest = "x".repeat(249);
    for good in [
        "a",
        "A.b_c-9",
        "...",
        "__consumer_offsets",
        longest.as_str(),
    ] {
        assert_eq!(check_topic_name(good), Ok(()), "{good:?}");
    }
}

#[test]
fn what_cannot_be_is_refused_with_its_reason() {
    let base = created(&image(&[1]), &TopicSpec::named("a.b")).unwrap();
    let assigned = |assignments: Vec<(i32, Vec<i32>)>| TopicSpec {
        assignments,
        ..TopicSpec::named("n")
    };
    let config = |name: &str, value: &str| TopicSpec {
        configs: vec![(name.to_owned(), Some(value.to_owned()))],
        ..TopicSpec::named("n")
    };
    let check = |spec: TopicSpec, expected: fn(&TopicError) -> bool| {
        let error = created(&base, &spec).unwrap_err();
        assert!(expected(&error), "{spec:?} gave {error}");
    };
    check(TopicSpec::named("a.b"), |e| {
        matches!(e, TopicError::Exists { .. })
    });
    check(TopicSpec::named("a_b"), |e| {
        matches!(e, TopicError::InvalidName { .. })
    });
    check(TopicSpec::named("__cluster_metadata"), |e| {
        matches!(e, TopicError::Reserved { .. })
    });
    check(spec("n", 0, 1), |e| {
        matches!(e, TopicError::InvalidPartitions { partitions: 0, .. })
    });
    check(spec("n", -2, 1), |e| {
        matches!(e, TopicError::InvalidPartitions { partitions: -2, .. })
    });
    check(spec("n", i32::MAX, 1), |e| {
        matches!(e, TopicError::InvalidPartitions { .. })
    });
    check(spec("n", 1, 2), |e| {
        matches!(e, TopicError::InvalidReplicationFactor { brokers: 1, .. })
    });
    check(spec("n", 1, 0), |e| {
        matches!(e, TopicError::InvalidReplicationFactor { .. })
    });
    check(assigned(vec![(1, vec![1])]), |e| {
        matches!(e, TopicError::InvalidAssignment { .. })
    });
    check(assigned(vec![(0, vec![7])]), |e| {
        matches!(e, TopicError::InvalidAssignment { .. })
    });
    check(assigned(vec![(0, vec![1, 1])]), |e| {
        matches!(e, TopicError::InvalidAssignment { .. })
    });
    check(assigned(vec![(0, vec![])]), |e| {
        matches!(e, TopicError::InvalidAssignment { .. })
    });
    check(
        TopicSpec {
            partitions: 1,
            ..assigned(vec![(0, vec![1])])
        },
        |e| {
            matches!(
                e,
                TopicError::Ambiguous {
                    what: "partitions",
                    ..
                }
            )
        },
    );
    check(config("moon.phase", "full"), |e| {
        matches!(e, TopicError::InvalidConfig { .. })
    });
    check(config("retention.ms", "long"), |e| {
        matches!(e, TopicError::InvalidConfig { .. })
    });
}

#[test]
fn an_assignment_and_settings_are_taken_as_given() {
    let spec = TopicSpec {
        assignments: vec![(1, vec![2]), (0, vec![1])],
        configs: vec![
            ("retention.ms".to_owned(), Some("5".to_owned())),
            ("segment.ms".to_owned(), None),
        ],
        ..TopicSpec::named("n")
    };
    let image = created(&image(&[1, 2]), &spec).unwrap();
    let topic = image.topic("n").unwrap();
    assert_eq!(
        topic
            .partitions
            .iter()
            .map(|p| p.leader)
            .collect::<Vec<_>>(),
        [1, 2]
    );
    assert_eq!(topic.configs.len(), 1);
    assert_eq!(topic.configs["retention.ms"], "5");
}

#[test]
fn several_topics_are_created_and_deleted_together_or_not_at_all() {
    let base = image(&[1]);
    let specs = [TopicSpec::named("a"), TopicSpec::named("b")];
    let mut id = 0;
    let mut new_id = || {
        id += 1;
        Uuid::from_u128(id)
    };
    let image = base
        .with(
            &create_topics(&base, &specs, DEFAULTS, &mut new_id).unwrap(),
            1,
        )
        .unwrap();
    assert_eq!(image.topics().len(), 2);
    let twice = [TopicSpec::named("c"), TopicSpec::named("c")];
    assert!(matches!(
        create_topics(&image, &twice, DEFAULTS, &mut new_id),
        Err(TopicError::Exists { .. })
    ));
    assert!(matches!(
        delete_topics(&image, &["a", "x"]),
        Err(TopicError::Unknown { .. })
    ));
    let image = image
        .with(&delete_topics(&image, &["a", "b"]).unwrap(), 2)
        .unwrap();
    assert_eq!(image.topics().len(), 0);
}
