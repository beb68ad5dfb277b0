use std::collections::BTreeMap;

use super::*;

const DEFAULTS: TopicDefaults = TopicDefaults {
    partitions: 1,
    replication_factor: 1,
};
const NODE: i32 = 1;

fn key(pipeline: &str, stage: &str, partition: i32) -> TaskKey {
    TaskKey {
        pipeline: pipeline.to_owned(),
        stage: stage.to_owned(),
        partition,
    }
}

fn topics(reads: &[&str], writes: &[&str]) -> TaskTopics {
    let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    TaskTopics {
        reads: owned(reads),
        writes: owned(writes),
    }
}

/// Ids from 100 on.
fn ids() -> impl FnMut() -> Uuid {
    let mut last = 99;
    move || {
        last += 1;
        Uuid::from_u128(last)
    }
}

fn decide(image: &Image, deployment: &Deployment) -> Result<Vec<MetadataRecord>, TopicError> {
    deploy(image, deployment, NODE, DEFAULTS, ids())
}

fn after(image: &Image, deployment: &Deployment) -> Image {
    let records = decide(image, deployment).unwrap();
    image.with(&records, 1_000).unwrap()
}

/// Node 1 with `in` (two partitions, created by nobody known) and `out` (created by `p`, with a setting), and a task
/// of the first run that has been acquired.
fn before() -> Image {
    let node = MetadataRecord::Broker {
        node_id: NODE,
        host: "h".to_owned(),
        port: 1,
    };
    let image = Image::default().with(&[node], 0).unwrap();
    let create = |image: &Image, spec: &TopicSpec, id| {
        let records = create_topic(image, spec, DEFAULTS, Uuid::from_u128(id)).unwrap();
        image.with(&records, 1).unwrap()
    };
    let input = TopicSpec {
        partitions: 2,
        ..TopicSpec::named("in")
    };
    let output = TopicSpec {
        partitions: 3,
        configs: vec![("retention.ms".to_owned(), Some("5".to_owned()))],
        created_by: Some("p".to_owned()),
        ..TopicSpec::named("out")
    };
    let image = create(&create(&image, &input, 1), &output, 2);
    let task = MetadataRecord::Task {
        key: key("p", "clean", 0),
        node_id: NODE,
        epoch: 4,
        topics: topics(&["in"], &["out"]),
    };
    let restart = MetadataRecord::Restart { node_id: NODE };
    image.with(&[task, restart], 2).unwrap()
}

#[test]
fn a_renewed_topic_is_another_one_with_the_same_partitions_and_settings() {
    let before = before();
    let deployment = Deployment {
        pipeline: "p".to_owned(),
        renewed: vec![("out".to_owned(), Uuid::from_u128(2))],
        ..Deployment::default()
    };
    let after = after(&before, &deployment);
    let (old, new) = (before.topic("out").unwrap(), after.topic("out").unwrap());
    assert_eq!(new.id, Uuid::from_u128(100));
    assert!(after.topic_by_id(&old.id).is_none());
    assert_eq!(new.configs, old.configs);
    assert_eq!(new.created_by.as_deref(), Some("p"));
    let epochs: Vec<_> = new.partitions.iter().map(|one| one.leader_epoch).collect();
    assert_eq!(epochs, [0, 0, 0]);
    for (new, old) in new.partitions.iter().zip(&old.partitions) {
        assert_eq!(
            (new.leader, &new.replicas, &new.isr),
            (old.leader, &old.replicas, &old.isr)
        );
    }
    assert_eq!(after.topic("in"), before.topic("in"));
}

#[test]
fn a_topic_that_is_another_one_by_now_is_not_removed() {
    let before = before();
    for (name, id) in [("out", 9), ("gone", 2)] {
        let deployment = Deployment {
            pipeline: "p".to_owned(),
            renewed: vec![(name.to_owned(), Uuid::from_u128(id))],
            ..Deployment::default()
        };
        let name = name.to_owned();
        assert_eq!(
            decide(&before, &deployment),
            Err(TopicError::Replaced { name })
        );
    }
}

#[test]
fn topics_are_created_for_the_pipeline_and_existing_ones_left_alone() {
    let before = before();
    let deployment = Deployment {
        pipeline: "p".to_owned(),
        created: ["in", "dead"].map(TopicSpec::named).to_vec(),
        ..Deployment::default()
    };
    let after = after(&before, &deployment);
    assert_eq!(after.topic("in"), before.topic("in"));
    let created = after.topic("dead").unwrap();
    assert_eq!(created.created_by.as_deref(), Some("p"));
}

#[test]
fn a_mistake_in_one_topic_refuses_everything() {
    let bad = TopicSpec {
        configs: vec![("compression.type".to_owned(), Some("zip".to_owned()))],
        ..TopicSpec::named("dead")
    };
    let deployment = Deployment {
        pipeline: "p".to_owned(),
        created: vec![TopicSpec::named("fine"), bad],
        ..Deployment::default()
    };
    let refused = decide(&before(), &deployment);
    assert!(matches!(refused, Err(TopicError::InvalidConfig { .. })));
}

/// What a run's tasks are, and which records that takes: (tasks ended, tasks of the run, records).
#[test]
fn only_what_differs_is_written() {
    let before = before();
    let old = key("p", "clean", 0);
    let new = key("p~2", "clean", 0);
    let same = topics(&["in"], &["out"]);
    let other = topics(&["in"], &["out", "dead"]);
    let task = |key: &TaskKey, epoch, topics: &TaskTopics| MetadataRecord::Task {
        key: key.clone(),
        node_id: NODE,
        epoch,
        topics: topics.clone(),
    };
    let remove = |key: &TaskKey| MetadataRecord::RemoveTask { key: key.clone() };
    let cases = [
        (vec![], vec![(old.clone(), same.clone())], vec![]),
        (
            vec![],
            vec![(old.clone(), other.clone())],
            vec![task(&old, 4, &other)],
        ),
        (
            vec![],
            vec![(new.clone(), same.clone())],
            vec![task(&new, 0, &same)],
        ),
        (
            vec![old.clone()],
            vec![(new.clone(), same.clone())],
            vec![remove(&old), task(&new, 0, &same)],
        ),
        (vec![key("p", "never", 0)], vec![], vec![]),
        // Ended and begun again in one: a task of another life.
        (
            vec![old.clone()],
            vec![(old.clone(), same.clone())],
            vec![remove(&old), task(&old, 0, &same)],
        ),
    ];
    for (ended, tasks, expected) in cases {
        let deployment = Deployment {
            pipeline: "p".to_owned(),
            ended,
            tasks,
            ..Deployment::default()
        };
        let records = decide(&before, &deployment).unwrap();
        assert_eq!(records, expected, "{deployment:?}");
    }
}

#[test]
fn an_ended_stages_group_is_like_any_other() {
    let before = before();
    assert!(crate::is_stage_group(&before, "millstream.p.clean"));
    let deployment = Deployment {
        pipeline: "p".to_owned(),
        ended: vec![key("p", "clean", 0)],
        tasks: vec![(key("p", "tidy", 0), TaskTopics::default())],
        ..Deployment::default()
    };
    let after = after(&before, &deployment);
    let is_stage_group: BTreeMap<_, _> = ["clean", "tidy"]
        .map(|stage| {
            let group = crate::stage_group("p", stage);
            (stage, crate::is_stage_group(&after, &group))
        })
        .into();
    assert_eq!(
        is_stage_group,
        BTreeMap::from([("clean", false), ("tidy", true)])
    );
}
