//! What becomes of offsets when their topic is deleted, and made anew.

use millstream_wire::Versioned;
use millstream_wire::coordinator_records::{ConsumerProtocolAssignment, OffsetCommitValue};

use super::super::stored;
use super::*;
use crate::coordinator::batch_of;

/// As the broker does it: the metadata first, then whoever keeps something.
fn delete_topic(node: &TestNode) {
    let topic_id = node.ports.remove_topic("in");
    node.groups.topics_deleted(&[topic_id]);
}

/// What Kafka before 4.3 writes, and we did: a value without the topic's id.
async fn commit_without_an_id(node: &TestNode, partition: i32, offset: i64) {
    node.groups.partition_of(GROUP).await.unwrap();
    let value = OffsetCommitValue {
        offset,
        commit_timestamp: node.clock.now_ms(),
        ..OffsetCommitValue::default()
    };
    let key = stored::offset_key(GROUP, &TopicPartition::new("in", partition)).unwrap();
    let value = value.to_bytes(3).unwrap();
    let batch = batch_of([(&key[..], Some(&value[..]))], node.clock.now_ms(), None).unwrap();
    let topic = InternalTopic::ConsumerOffsets.name();
    let led = node.ports.led(topic, partition_for(GROUP, 2)).unwrap();
    led.append(batch, None).unwrap();
}

/// Waits until everything that is in the group's partition is committed.
async fn all_flushed(node: &TestNode) {
    let topic = InternalTopic::ConsumerOffsets.name();
    let led = node.ports.led(topic, partition_for(GROUP, 2)).unwrap();
    led.all_committed().await.unwrap();
}

#[tokio::test]
async fn offsets_of_a_deleted_topic_are_none_and_go_with_the_expiry() {
    for flush in [FlushMode::Os, FlushMode::Journal] {
        for is_made_anew in [false, true] {
            let node = TestNode::new(flush, true);
            commit(&node, 0, 3).await;
            commit(&node, 1, 4).await;
            delete_topic(&node);
            if is_made_anew {
                node.ports.add_topic("in");
            }
            assert_eq!(committed(&node).await, []);
            let node = node.reloaded();
            assert_eq!(committed(&node).await, []);
            let before = records(&node);
            node.groups.expire();
            assert_eq!(committed(&node).await, []);
            for _ in 0..2 {
                assert_eq!(records(&node), before + 2, "two tombstones, once");
                all_flushed(&node).await;
                node.groups.expire();
            }
            assert_eq!(node.groups.list().await.unwrap(), []);
        }
    }
}

#[tokio::test]
async fn an_expiry_leaves_the_offsets_of_the_present_topic_alone() {
    let node = TestNode::new(FlushMode::Journal, true);
    commit(&node, 0, 3).await;
    commit(&node, 1, 4).await;
    delete_topic(&node);
    node.ports.add_topic("in");
    commit(&node, 1, 1).await;
    node.groups.expire();
    assert_eq!(committed(&node).await, [(1, 1)]);
    let node = node.reloaded();
    assert_eq!(committed(&node).await, [(1, 1)]);
}

#[tokio::test]
async fn offsets_of_a_deleted_topic_go_from_groups_with_members_and_from_stages_too() {
    let node = TestNode::new(FlushMode::Os, true);
    let member = stable(&node).await;
    commit_as(&node, &member, 1, 0, 3).await;
    node.ports.deploy(GROUP);
    delete_topic(&node);
    let before = records(&node);
    node.groups.expire();
    assert_eq!(records(&node), before + 1);
    assert_eq!(state(&node).await, Some(GroupState::Stable));
    let node = node.reloaded();
    node.ports.add_topic("in");
    assert_eq!(committed(&node).await, []);
}

/// It was on its way when the topic went.
#[tokio::test]
async fn a_commit_for_the_former_topic_is_refused() {
    let node = TestNode::new(FlushMode::Os, true);
    let late = offset_to_commit(&node, 0, 3);
    delete_topic(&node);
    for _ in 0..2 {
        let refused = node
            .groups
            .commit_offsets(GROUP, ANYBODY, None, vec![late.clone()])
            .await;
        assert_eq!(refused, [ErrorCode::UnknownTopicOrPartition]);
        node.ports.add_topic("in");
    }
    assert_eq!(commit(&node, 0, 1).await, ErrorCode::None);
    assert_eq!(committed(&node).await, [(0, 1)]);
}

#[tokio::test]
async fn offsets_without_an_id_are_good_until_their_topic_goes() {
    for flush in [FlushMode::Os, FlushMode::Journal] {
        let node = TestNode::new(flush, true);
        commit_without_an_id(&node, 0, 3).await;
        commit_without_an_id(&node, 1, 4).await;
        let node = node.reloaded();
        assert_eq!(committed(&node).await, [(0, 3), (1, 4)]);
        commit(&node, 1, 5).await;
        let before = records(&node);
        delete_topic(&node);
        assert_eq!(records(&node), before + 1, "one needs a tombstone at once");
        node.ports.add_topic("in");
        assert_eq!(committed(&node).await, []);
        let node = node.reloaded();
        assert_eq!(committed(&node).await, []);
    }
}

/// The node was killed after the topic was deleted, and before anything else.
#[tokio::test]
async fn offsets_without_an_id_go_when_their_topic_is_not_there_at_a_start() {
    let node = TestNode::new(FlushMode::Os, true);
    commit_without_an_id(&node, 0, 3).await;
    node.ports.remove_topic("in");
    let node = node.reloaded();
    assert_eq!(committed(&node).await, []);
    node.ports.add_topic("in");
    assert_eq!(committed(&node).await, []);
    let node = node.reloaded();
    assert_eq!(committed(&node).await, []);
}

/// More keys than one batch takes.
#[tokio::test]
async fn a_group_with_very_many_offsets_loses_them_all() {
    let node = TestNode::new(FlushMode::Os, true);
    let count = 12_000;
    for from in (0..count).step_by(2_000) {
        let offsets = (from..from + 2_000)
            .map(|partition| offset_to_commit(&node, partition, 1))
            .collect();
        let results = node.groups.commit_offsets(GROUP, ANYBODY, None, offsets);
        assert!(
            results
                .await
                .iter()
                .all(|result| *result == ErrorCode::None)
        );
    }
    let before = records(&node);
    delete_topic(&node);
    node.groups.expire();
    assert_eq!(records(&node), before + i64::from(count));
    assert_eq!(node.groups.list().await.unwrap(), []);
}

/// Kafka's tools ask for the ends of all that is assigned.
#[tokio::test]
async fn a_stages_member_is_shown_without_the_partitions_that_are_gone() {
    let node = TestNode::new(FlushMode::Os, true);
    hold(&node, 1).await;
    let assigned = async |node: &TestNode| {
        let group = node.groups.describe(GROUP).await.unwrap().unwrap();
        let assignment = group.members[0].assignment.clone();
        let assignment = ConsumerProtocolAssignment::from_bytes(assignment).unwrap();
        let topics = assignment.assigned_partitions.into_iter();
        topics.map(|topic| topic.topic).collect::<Vec<_>>()
    };
    assert_eq!(assigned(&node).await, ["in"]);
    delete_topic(&node);
    assert_eq!(assigned(&node).await, [""; 0]);
    node.ports.add_topic("in");
    assert_eq!(assigned(&node).await, ["in"]);
}
