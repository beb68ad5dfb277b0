//! A run's deployment: topics renewed and tasks exchanged in one change, whatever becomes of the node meanwhile.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use millstream_broker::{MemberStamp, TopicPartition};
use millstream_cluster::{Deployment, TaskKey, TaskTopics, TopicSpec, is_stage_group};
use millstream_log::{FlushMode, LogStore, StoreOptions, testing::SimFs};
use millstream_wire::ErrorCode;
use uuid::Uuid;

use crate::support::{GROUP, MODES, Node};

fn key(pipeline: &str) -> TaskKey {
    TaskKey {
        pipeline: pipeline.to_owned(),
        stage: "clean".to_owned(),
        partition: 0,
    }
}

fn topics() -> TaskTopics {
    TaskTopics {
        reads: vec!["in".to_owned()],
        writes: vec!["out".to_owned()],
    }
}

/// The first run: its task is recorded.
fn first() -> Deployment {
    Deployment {
        pipeline: "p".to_owned(),
        tasks: vec![(key("p"), topics())],
        ..Deployment::default()
    }
}

fn id_of(node: &Node, topic: &str) -> Uuid {
    node.local.topic(topic).unwrap().id
}

/// The run after it: `out` is made anew.
fn second(node: &Node) -> Deployment {
    Deployment {
        pipeline: "p".to_owned(),
        renewed: vec![("out".to_owned(), id_of(node, "out"))],
        created: vec![TopicSpec::named("more")],
        ended: vec![key("p")],
        tasks: vec![(key("p~2"), topics())],
    }
}

fn pipelines(node: &Node) -> Vec<String> {
    let image = node.broker.cluster().image();
    image.tasks().map(|(key, _)| key.pipeline.clone()).collect()
}

#[tokio::test]
async fn a_renewed_topic_begins_anew_and_its_neighbours_stay() {
    for flush in MODES {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::open(dir.path(), flush).await;
        node.local.deploy(&first()).await.unwrap();
        let mut task = node.task(1).await;
        task.transact("one", 1).await.unwrap();
        let before = node.local.topic("out").unwrap();
        drop(task);
        let in_id = id_of(&node, "in");

        node.local.deploy(&second(&node)).await.unwrap();
        let check = |node: &Node| {
            let after = node.local.topic("out").unwrap();
            assert_ne!(after.id, before.id);
            assert_eq!(
                (after.partitions, &after.configs),
                (before.partitions, &before.configs)
            );
            assert_eq!(id_of(node, "in"), in_id);
            assert_eq!(pipelines(node), ["p~2"]);
            for partition in 0..2 {
                assert_eq!(node.committed(partition), [""; 0]);
                let offsets = node.local.partition("out", partition).unwrap().offsets();
                assert_eq!((offsets.log_start, offsets.log_end), (0, 0));
                assert!(node.store.get(&before.id, partition).is_none());
            }
            let image = node.broker.cluster().image();
            let creator = |topic: &str| image.topic(topic).unwrap().created_by.clone();
            assert_eq!(creator("out").as_deref(), Some("p"));
            assert_eq!(creator("more").as_deref(), Some("p"));
            assert_eq!(creator("in"), None);
        };
        check(&node);
        node.close().await;
        let node = Node::open(dir.path(), flush).await;
        check(&node);
        // The same topic again is another one by now.
        let mut stale = second(&node);
        stale.renewed = vec![("out".to_owned(), before.id)];
        let refused = node.local.deploy(&stale).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::UnknownTopicId);
        node.close().await;
    }
}

#[tokio::test]
async fn a_node_that_deletes_no_topics_renews_none() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [("delete.topic.enable", "false")];
    let node = Node::with(dir.path(), FlushMode::Journal, &settings).await;
    let before = id_of(&node, "out");
    let refused = node.local.deploy(&second(&node)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::TopicDeletionDisabled);
    assert_eq!(id_of(&node, "out"), before);
    assert_eq!(pipelines(&node), [""; 0]);
    node.close().await;
}

#[tokio::test]
async fn groups_are_found_by_the_topics_in_which_they_have_offsets() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(dir.path(), FlushMode::Journal).await;
    let mut task = node.task(1).await;
    task.transact("one", 1).await.unwrap();
    // Offsets of an open transaction count.
    let open = node.local.init_producer_id("x", 60_000).await.unwrap();
    let open = node.local.transactional_producer("x", open.0, open.1);
    open.add_offsets("pending").await.unwrap();
    let anonymous = MemberStamp {
        member_id: String::new(),
        generation: -1,
    };
    let offset = millstream_broker::OffsetCommit {
        partition: TopicPartition::new("out", 1),
        topic_id: id_of(&node, "out"),
        offset: 1,
        leader_epoch: -1,
        metadata: String::new(),
    };
    let committed = open.commit_offsets("pending", &anonymous, &[offset]).await;
    assert_eq!(committed, Ok(()));
    for (topics, expected) in [
        (&["in", "out"][..], &[(GROUP, "in"), ("pending", "out")][..]),
        (&["in"], &[(GROUP, "in")]),
        (&["out", "none"], &[("pending", "out")]),
        (&["none"], &[]),
    ] {
        let topics: BTreeSet<String> = topics.iter().map(ToString::to_string).collect();
        let found = node.local.groups_with_offsets(&topics).await.unwrap();
        let found: BTreeMap<&str, Vec<&str>> = found
            .iter()
            .map(|one| {
                let topics = one.topics.iter().map(String::as_str).collect();
                (one.group.as_str(), topics)
            })
            .collect();
        let expected = expected.iter().map(|(group, topic)| (*group, vec![*topic]));
        assert_eq!(found, expected.collect(), "{topics:?}");
    }
    let all = node.local.all_offsets(GROUP).await.unwrap();
    let all: Vec<_> = all
        .into_iter()
        .map(|(partition, offset)| (partition, offset.unwrap().unwrap().offset))
        .collect();
    assert_eq!(all, [(TopicPartition::new("in", 0), 1)]);
    node.close().await;
}

fn options(fs: &SimFs) -> StoreOptions {
    let mut options = StoreOptions::new("/data", FlushMode::Journal);
    options.fs = Arc::new(fs.clone());
    options
}

/// The power fails at each operation of the disk in turn.
#[tokio::test]
async fn a_power_cut_leaves_the_run_before_or_the_run_after() {
    let (mut unchanged, mut changed) = (0, 0);
    for cut in 1.. {
        let fs = SimFs::new(cut);
        let (store, _) = LogStore::open(options(&fs)).unwrap();
        let node = Node::over(store).await;
        node.local.deploy(&first()).await.unwrap();
        let mut task = node.task(1).await;
        task.transact("one", 1).await.unwrap();
        let before = id_of(&node, "out");
        let deployment = second(&node);
        fs.cut_power_after(cut);
        let deployed = node.local.deploy(&deployment).await;
        let disk = fs.power_cut(cut);
        drop((task, node));

        let (store, _) = LogStore::open(options(&disk)).unwrap();
        let node = Node::over(store).await;
        let image = node.broker.cluster().image();
        let is_before = id_of(&node, "out") == before;
        let (values, ids): (&[&str], &[&str]) = match is_before {
            true => (&["one"], &["p"]),
            false => (&[], &["p~2"]),
        };
        assert_eq!(pipelines(&node), ids, "cut {cut}");
        assert_eq!(is_stage_group(&image, GROUP), is_before, "cut {cut}");
        assert_eq!(image.topic("more").is_none(), is_before, "cut {cut}");
        for partition in 0..2 {
            assert_eq!(node.committed(partition), values, "cut {cut}");
        }
        assert!(deployed.is_err() || !is_before, "cut {cut}: acknowledged");
        // Whichever it is, the next run begins.
        if is_before {
            node.local.deploy(&deployment).await.unwrap();
            unchanged += 1;
        } else {
            changed += 1;
        }
        let mut task = node.task(2).await;
        task.transact("two", 2).await.unwrap();
        assert_eq!(node.committed(0), ["two"], "cut {cut}");
        node.close().await;
        if deployed.is_ok() {
            break;
        }
    }
    assert!(unchanged > 0 && changed > 1, "{unchanged} {changed}");
}
