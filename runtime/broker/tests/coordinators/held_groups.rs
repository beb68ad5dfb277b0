//! A stage's group: held, fenced by generation, left alone by others.

use millstream_broker::{SyntheticMember, TopicPartition};
use millstream_wire::ErrorCode;

use crate::support::{GROUP, MEMBER, MODES, Node};

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
