//! The coordinator over real logs: sessions, expiry, and what is read back.

use std::time::Duration;

use bytes::Bytes;
use millstream_log::FlushMode;
use millstream_log::clock::Clock;
use millstream_wire::ErrorCode;

use super::{Committer, GroupState, JoinRequest, OffsetToCommit, SyncRequest, held_member};
use crate::InternalTopic;
use crate::coordinator::testing::TestNode;
use crate::coordinator::{Ports, TopicPartition, partition_for};

mod deleted_topics;

const GROUP: &str = "readers";
const DAY: Duration = Duration::from_secs(86_400);
/// A client that manages its partitions itself.
const ANYBODY: Committer<'_> = Committer {
    member_id: "",
    instance_id: None,
    generation: -1,
};

fn join_request() -> JoinRequest {
    JoinRequest {
        request: 0,
        member_id: String::new(),
        instance_id: None,
        client_id: "client".into(),
        client_host: "/127.0.0.1".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        protocol_type: "consumer".into(),
        protocols: vec![("range".into(), Bytes::new())],
        require_known_member_id: false,
        supports_skipping_assignment: false,
        fresh_member_id: String::new(),
    }
}

/// A group of one, stable in generation 1; its member id.
async fn stable(node: &TestNode) -> String {
    let groups = node.groups.clone();
    let joining = tokio::spawn(async move { groups.join(GROUP, join_request()).await });
    // The initial delay of three seconds, on a clock that stands.
    while !joining.is_finished() {
        tokio::time::sleep(Duration::from_millis(1)).await;
        node.clock.advance(Duration::from_millis(500));
        node.groups.tick();
    }
    let joined = joining.await.unwrap();
    assert_eq!(joined.error, ErrorCode::None);
    let sync = SyncRequest {
        request: 0,
        member_id: joined.member_id.clone(),
        instance_id: None,
        generation: joined.generation,
        protocol_type: None,
        protocol: None,
        assignments: vec![(joined.member_id.clone(), Bytes::from_static(b"all"))],
    };
    assert_eq!(node.groups.sync(GROUP, sync).await.assignment, "all");
    joined.member_id
}

async fn state(node: &TestNode) -> Option<GroupState> {
    node.groups
        .describe(GROUP)
        .await
        .unwrap()
        .map(|group| group.state)
}

async fn commit(node: &TestNode, partition: i32, offset: i64) -> ErrorCode {
    commit_as(node, "", -1, partition, offset).await
}

async fn commit_as(
    node: &TestNode,
    member_id: &str,
    generation: i32,
    partition: i32,
    offset: i64,
) -> ErrorCode {
    let committer = Committer {
        member_id,
        instance_id: None,
        generation,
    };
    let offset = offset_to_commit(node, partition, offset);
    node.groups
        .commit_offsets(GROUP, committer, None, vec![offset])
        .await[0]
}

fn offset_to_commit(node: &TestNode, partition: i32, offset: i64) -> OffsetToCommit {
    OffsetToCommit {
        partition: TopicPartition::new("in", partition),
        topic_id: node.ports.topic_id("in").unwrap_or_default(),
        offset,
        leader_epoch: -1,
        metadata: String::new(),
    }
}

/// How many records the group's partition of `__consumer_offsets` has.
fn records(node: &TestNode) -> i64 {
    node.log_end(
        InternalTopic::ConsumerOffsets.name(),
        partition_for(GROUP, 2),
    )
}

async fn committed(node: &TestNode) -> Vec<(i32, i64)> {
    let fetched = node.groups.fetch_offsets(GROUP, None, true).await.unwrap();
    fetched
        .into_iter()
        .map(|(one, offset)| (one.partition, offset.unwrap().unwrap().offset))
        .collect()
}

#[tokio::test]
async fn a_member_that_falls_silent_is_removed_by_the_clock() {
    let node = TestNode::new(FlushMode::Os, true);
    let member = stable(&node).await;
    node.clock.advance(Duration::from_millis(9_999));
    node.groups.tick();
    assert_eq!(state(&node).await, Some(GroupState::Stable));
    let beat = node.groups.heartbeat(GROUP, &member, None, 1).await;
    assert_eq!(beat, Ok(()));
    node.clock.advance(Duration::from_millis(10_000));
    node.groups.tick();
    assert_eq!(state(&node).await, Some(GroupState::Empty));
    let beat = node.groups.heartbeat(GROUP, &member, None, 1).await;
    assert_eq!(beat, Err(ErrorCode::UnknownMemberId));
}

/// An administrator, or a time server, sets the clock by an hour.
#[tokio::test]
async fn a_wall_clock_that_jumps_expels_no_member_and_keeps_none() {
    for jump_ms in [3_600_000, -3_600_000] {
        let node = TestNode::new(FlushMode::Os, true);
        let member = stable(&node).await;
        node.clock.set_date(node.clock.now_ms() + jump_ms);
        node.groups.tick();
        node.groups.expire();
        assert_eq!(state(&node).await, Some(GroupState::Stable), "{jump_ms}");
        let beat = node.groups.heartbeat(GROUP, &member, None, 1).await;
        assert_eq!(beat, Ok(()));
        assert_eq!(
            commit_as(&node, &member, 1, 0, 3).await,
            ErrorCode::None,
            "{jump_ms}"
        );
        node.clock.advance(Duration::from_millis(9_999));
        node.groups.tick();
        assert_eq!(state(&node).await, Some(GroupState::Stable), "{jump_ms}");
        node.clock.advance(Duration::from_millis(1));
        node.groups.tick();
        assert_eq!(state(&node).await, Some(GroupState::Empty), "{jump_ms}");
    }
}

#[tokio::test]
async fn members_read_back_have_one_more_session() {
    for flush in [FlushMode::Os, FlushMode::Journal] {
        let node = TestNode::new(flush, true);
        let member = stable(&node).await;
        node.clock.advance(DAY);
        let node = node.reloaded();
        assert_eq!(state(&node).await, Some(GroupState::Stable));
        node.clock.advance(Duration::from_millis(9_999));
        node.groups.tick();
        let beat = node.groups.heartbeat(GROUP, &member, None, 1).await;
        assert_eq!(beat, Ok(()));
        node.clock.advance(Duration::from_millis(10_000));
        node.groups.tick();
        assert_eq!(state(&node).await, Some(GroupState::Empty));
        // That it is empty now is on disk too.
        let node = node.reloaded();
        assert_eq!(state(&node).await, Some(GroupState::Empty));
    }
}

#[tokio::test]
async fn a_new_record_replaces_the_old_one() {
    let node = TestNode::new(FlushMode::Journal, true);
    for offset in [3, 8, 5] {
        assert_eq!(commit(&node, 0, offset).await, ErrorCode::None);
    }
    assert_eq!(commit(&node, 1, 1).await, ErrorCode::None);
    assert_eq!(committed(&node).await, [(0, 5), (1, 1)]);
    let node = node.reloaded();
    assert_eq!(committed(&node).await, [(0, 5), (1, 1)]);
}

#[tokio::test]
async fn offsets_outlive_their_group_by_the_retention_and_no_longer() {
    let node = TestNode::new(FlushMode::Os, true);
    commit(&node, 0, 3).await;
    node.clock.advance(DAY * 6);
    commit(&node, 1, 4).await;
    node.groups.expire();
    assert_eq!(committed(&node).await, [(0, 3), (1, 4)]);
    node.clock.advance(DAY);
    node.groups.expire();
    assert_eq!(committed(&node).await, [(1, 4)]);
    let node = node.reloaded();
    assert_eq!(committed(&node).await, [(1, 4)]);
    node.clock.advance(DAY * 7);
    node.groups.expire();
    assert_eq!(node.groups.list().await.unwrap(), []);
}

/// The tombstone would stand behind the new commit, and end it.
#[tokio::test]
async fn an_expiry_does_not_end_a_commit_that_is_under_way() {
    let node = TestNode::new(FlushMode::Journal, true);
    commit(&node, 0, 3).await;
    node.clock.advance(DAY * 8);
    let held = node.fs.hold_syncs();
    let appended = records(&node);
    let (groups, anew) = (node.groups.clone(), offset_to_commit(&node, 0, 4));
    let committing = tokio::spawn(async move {
        groups
            .commit_offsets(GROUP, ANYBODY, None, vec![anew])
            .await
    });
    while records(&node) == appended {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    node.groups.expire();
    drop(held);
    assert_eq!(committing.await.unwrap(), [ErrorCode::None]);
    assert_eq!(committed(&node).await, [(0, 4)]);
    let node = node.reloaded();
    assert_eq!(committed(&node).await, [(0, 4)]);
}

#[tokio::test]
async fn a_group_with_members_keeps_its_offsets() {
    let node = TestNode::new(FlushMode::Os, true);
    commit(&node, 0, 3).await;
    let member = stable(&node).await;
    node.clock.advance(DAY * 30);
    let beat = node.groups.heartbeat(GROUP, &member, None, 1).await;
    assert_eq!(beat, Ok(()));
    node.groups.expire();
    assert_eq!(committed(&node).await, [(0, 3)]);
    // Once it is empty, the retention begins.
    node.clock.advance(Duration::from_secs(11));
    node.groups.tick();
    node.groups.expire();
    assert_eq!(committed(&node).await, [(0, 3)]);
    node.clock.advance(DAY * 7);
    node.groups.expire();
    assert_eq!(state(&node).await, None);
    let node = node.reloaded();
    assert_eq!(state(&node).await, None);
}

/// The stage's task takes the group.
async fn hold(node: &TestNode, generation: i32) {
    let partitions = vec![TopicPartition::new("in", 0)];
    let member = held_member("clean-0", "p/clean/0", generation, partitions);
    assert_eq!(node.groups.hold(GROUP, member).await, Ok(()));
}

#[tokio::test]
async fn a_held_group_keeps_its_offsets_until_it_is_let_go() {
    let node = TestNode::new(FlushMode::Os, true);
    hold(&node, 1).await;
    assert_eq!(commit_as(&node, "clean-0", 1, 0, 3).await, ErrorCode::None);
    node.clock.advance(DAY * 8);
    node.groups.expire();
    assert_eq!(committed(&node).await, [(0, 3)]);
    node.groups.release(GROUP, "clean-0", 1).await.unwrap();
    node.groups.expire();
    assert_eq!(committed(&node).await, []);
}

#[tokio::test]
async fn a_deployed_stages_offsets_do_not_expire_while_no_task_runs() {
    for flush in [FlushMode::Os, FlushMode::Journal] {
        let node = TestNode::new(flush, true);
        node.ports.deploy(GROUP);
        hold(&node, 1).await;
        assert_eq!(commit_as(&node, "clean-0", 1, 0, 3).await, ErrorCode::None);
        let node = node.reloaded();
        assert_eq!(committed(&node).await, [(0, 3)]);
        node.clock.advance(DAY * 8);
        node.groups.expire();
        assert_eq!(committed(&node).await, [(0, 3)]);
        let node = node.reloaded();
        assert_eq!(committed(&node).await, [(0, 3)]);
    }
}

#[tokio::test]
async fn a_deployed_stages_group_is_nobody_elses_while_no_task_runs() {
    let node = TestNode::new(FlushMode::Os, true);
    node.ports.deploy(GROUP);
    hold(&node, 1).await;
    assert_eq!(commit_as(&node, "clean-0", 1, 0, 3).await, ErrorCode::None);
    let node = node.reloaded();
    assert_eq!(commit(&node, 0, 5).await, ErrorCode::UnknownMemberId);
    assert_eq!(
        commit_as(&node, "clean-0", 1, 0, 6).await,
        ErrorCode::UnknownMemberId
    );
    let joined = node.groups.join(GROUP, join_request()).await;
    assert_eq!(joined.error, ErrorCode::InconsistentGroupProtocol);
    assert_eq!(committed(&node).await, [(0, 3)]);
    // The stage itself is not kept out.
    hold(&node, 2).await;
    assert_eq!(commit_as(&node, "clean-0", 2, 0, 4).await, ErrorCode::None);
}
