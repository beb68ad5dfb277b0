//! A stage's group: held, fenced by generation, left alone by others.

use std::{path::Path, sync::Arc, time::Duration};

use millstream_broker::{FetchedOffset, SyntheticMember, TopicPartition};
use millstream_cluster::{TaskKey, acquire_task};
use millstream_log::{
    FlushMode, LogStore, StoreOptions,
    testing::{ManualClock, SimFs},
};
use millstream_wire::ErrorCode;

use crate::support::{GROUP, MEMBER, MODES, Node, eventually_async, now_ms};

fn member(generation: i32) -> SyntheticMember {
    SyntheticMember {
        member_id: MEMBER.to_owned(),
        client_id: "p/clean/0".to_owned(),
        generation,
        partitions: vec![TopicPartition::new("in", 0)],
    }
}

#[tokio::test]
async fn only_the_present_generation_commits() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(dir.path(), MODES[1]).await;
    let mut task = node.task(3).await;
    task.begin().await.unwrap();
    for (generation, expected) in [
        (2, Err(ErrorCode::IllegalGeneration)),
        (4, Err(ErrorCode::IllegalGeneration)),
        (3, Ok(())),
    ] {
        assert_eq!(task.offsets_as(generation, 1).await, expected);
    }
    task.append(0, "a").await.unwrap();
    task.end(true).await.unwrap();
    assert_eq!(node.position().await, Ok(Some(1)));
}

#[tokio::test]
async fn an_older_task_cannot_take_a_group_back() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(dir.path(), MODES[1]).await;
    node.local.hold_group(GROUP, &[member(5)]).await.unwrap();
    assert_eq!(
        node.local.hold_group(GROUP, &[member(4)]).await,
        Err(ErrorCode::FencedInstanceId)
    );
    node.local.release_group(GROUP, MEMBER, 5).await.unwrap();
    node.local.hold_group(GROUP, &[member(4)]).await.unwrap();
}

#[tokio::test]
async fn offsets_of_a_group_nobody_knows_are_absent() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(dir.path(), MODES[1]).await;
    assert_eq!(node.position().await, Ok(None));
}

/// A stage that was never deployed as a pipeline's, so that its group is like any other once nobody holds it.
const UNDEPLOYED: &str = "millstream.q.clean";

async fn position_in(node: &Node, group: &str) -> Option<i64> {
    let asked = [TopicPartition::new("in", 0)];
    let fetched: Vec<FetchedOffset> = node.local.fetch_offsets(group, &asked, true).await.unwrap();
    let committed = fetched[0].1.clone().unwrap();
    committed.map(|committed| committed.offset)
}

#[tokio::test]
async fn a_deployed_stages_offsets_outlive_their_retention_while_no_task_runs() {
    let fs = SimFs::new(1);
    let clock = Arc::new(ManualClock::new(now_ms()));
    let open = || {
        let mut options = StoreOptions::new(Path::new("/data"), FlushMode::Journal);
        options.fs = Arc::new(fs.clone());
        options.clock = Arc::clone(&clock) as _;
        let store = LogStore::open(options).unwrap().0;
        Node::over_with(store, &[("offsets.retention.check.interval.ms", "5")])
    };
    let node = open().await.unwrap();
    let key = TaskKey {
        pipeline: "p".to_owned(),
        stage: "clean".to_owned(),
        partition: 0,
    };
    let cluster = node.broker.cluster();
    let acquired = cluster
        .change(|image| acquire_task(image, &key, 1).ok_or(()))
        .await;
    assert!(acquired.is_ok());
    for group in [GROUP, UNDEPLOYED] {
        let mut task = node.try_task_in(group, 1).await.unwrap();
        task.transact("one", 1).await.unwrap();
        assert_eq!(position_in(&node, group).await, Some(1), "{group}");
    }
    node.close().await;

    // `serve`, or a `run` of something else: nobody holds the groups, and a week and a day go by.
    let node = open().await.unwrap();
    assert_eq!(position_in(&node, GROUP).await, Some(1));
    clock.advance(Duration::from_secs(8 * 86_400));
    eventually_async(async || position_in(&node, UNDEPLOYED).await.is_none()).await;
    assert_eq!(position_in(&node, GROUP).await, Some(1));
    node.close().await;
    let node = open().await.unwrap();
    assert_eq!(position_in(&node, GROUP).await, Some(1));
    node.close().await;
}
