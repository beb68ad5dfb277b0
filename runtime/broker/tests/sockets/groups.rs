//! Classic groups over the protocol: joining, assigning, committing, leaving, tools.

use bytes::Bytes;
use millstream_broker::{SyntheticMember, TopicPartition, positions_in_user_data};
use millstream_wire::{
    ErrorCode, Versioned,
    coordinator_records::ConsumerProtocolAssignment,
    describe_groups::{DescribeGroupsRequest, DescribedGroup},
    find_coordinator::FindCoordinatorRequest,
    heartbeat::HeartbeatRequest,
    join_group::{JoinGroupRequest, JoinGroupResponse},
    leave_group::{LeaveGroupRequest, MemberIdentity},
    list_groups::ListGroupsRequest,
    offset_commit::{OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic},
    offset_fetch::{
        OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic,
        OffsetFetchRequestTopics,
    },
    sync_group::{SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse},
};

use crate::support::{Client, Node, assert_code, join_request};

const GROUP: &str = "readers";

async fn node() -> Node {
    let node = Node::with(&[
        ("group.initial.rebalance.delay.ms", "0"),
        ("offsets.topic.num.partitions", "4"),
    ])
    .await;
    node.client().await.create("flights", 2, &[]).await;
    node
}

/// Joins as new clients do: once without an id, once with the one that was told.
async fn join(client: &mut Client) -> JoinGroupResponse {
    let told = client.call(5, &join_request(GROUP, "")).await;
    assert_code(told.error_code, ErrorCode::MemberIdRequired);
    let joined = client.call(5, &join_request(GROUP, &told.member_id)).await;
    assert_code(joined.error_code, ErrorCode::None);
    joined
}

async fn sync(
    client: &mut Client,
    member_id: &str,
    generation: i32,
    shares: &[(&str, &'static str)],
) -> SyncGroupResponse {
    let request = SyncGroupRequest {
        group_id: GROUP.to_owned(),
        generation_id: generation,
        member_id: member_id.to_owned(),
        assignments: shares
            .iter()
            .map(|(member_id, share)| SyncGroupRequestAssignment {
                member_id: (*member_id).to_owned(),
                assignment: Bytes::from_static(share.as_bytes()),
            })
            .collect(),
        ..SyncGroupRequest::default()
    };
    client.call(3, &request).await
}

async fn heartbeat(client: &mut Client, member_id: &str, generation: i32) -> i16 {
    let request = HeartbeatRequest {
        group_id: GROUP.to_owned(),
        generation_id: generation,
        member_id: member_id.to_owned(),
        ..HeartbeatRequest::default()
    };
    client.call(3, &request).await.error_code
}

async fn commit(
    client: &mut Client,
    member_id: &str,
    generation: i32,
    offset: i64,
    metadata: &str,
) -> i16 {
    let request = OffsetCommitRequest {
        group_id: GROUP.to_owned(),
        generation_id_or_member_epoch: generation,
        member_id: member_id.to_owned(),
        topics: vec![OffsetCommitRequestTopic {
            name: "flights".to_owned(),
            partitions: vec![OffsetCommitRequestPartition {
                partition_index: 1,
                committed_offset: offset,
                committed_metadata: Some(metadata.to_owned()),
                ..OffsetCommitRequestPartition::default()
            }],
        }],
        ..OffsetCommitRequest::default()
    };
    let response = client.call(7, &request).await;
    response.topics[0].partitions[0].error_code
}

async fn committed(client: &mut Client) -> Vec<(i32, i64, Option<String>)> {
    let request = OffsetFetchRequest {
        group_id: GROUP.to_owned(),
        topics: Some(vec![OffsetFetchRequestTopic {
            name: "flights".to_owned(),
            partition_indexes: vec![0, 1],
        }]),
        require_stable: true,
        ..OffsetFetchRequest::default()
    };
    let response = client.call(7, &request).await;
    assert_code(response.error_code, ErrorCode::None);
    response.topics[0]
        .partitions
        .iter()
        .map(|one| {
            assert_code(one.error_code, ErrorCode::None);
            (
                one.partition_index,
                one.committed_offset,
                one.metadata.clone(),
            )
        })
        .collect()
}

#[tokio::test]
async fn a_group_of_two_rebalances_and_divides_the_work() {
    let node = node().await;
    let (mut first, mut second) = (node.client().await, node.client().await);
    let alone = join(&mut first).await;
    assert_eq!((alone.generation_id, alone.members.len()), (1, 1));
    assert_eq!(alone.leader, alone.member_id);
    let one = alone.member_id.clone();
    let synced = sync(&mut first, &one, 1, &[(&one, "all")]).await;
    assert_eq!(synced.assignment, "all");

    let told = second.call(5, &join_request(GROUP, "")).await;
    let two = told.member_id;
    second.send(5, &join_request(GROUP, &two)).await;
    // The first one learns of the rebalance by its heartbeat, and joins again.
    while heartbeat(&mut first, &one, 1).await == 0 {}
    assert_code(
        heartbeat(&mut first, &one, 1).await,
        ErrorCode::RebalanceInProgress,
    );
    let again = first.call(5, &join_request(GROUP, &one)).await;
    assert_eq!((again.generation_id, again.members.len()), (2, 2));
    let (_, joined) = second.receive::<JoinGroupRequest>(5).await;
    assert_eq!((joined.generation_id, joined.members.len()), (2, 0));
    assert_eq!(joined.leader, one);

    second
        .send(
            3,
            &SyncGroupRequest {
                group_id: GROUP.to_owned(),
                generation_id: 2,
                member_id: two.clone(),
                ..SyncGroupRequest::default()
            },
        )
        .await;
    let synced = sync(&mut first, &one, 2, &[(&one, "left"), (&two, "right")]).await;
    assert_eq!(synced.assignment, "left");
    let (_, synced) = second.receive::<SyncGroupRequest>(3).await;
    assert_eq!(synced.assignment, "right");
    assert_code(heartbeat(&mut second, &two, 2).await, ErrorCode::None);
    assert_code(
        heartbeat(&mut second, &two, 1).await,
        ErrorCode::IllegalGeneration,
    );

    let leave = LeaveGroupRequest {
        group_id: GROUP.to_owned(),
        members: vec![
            MemberIdentity {
                member_id: two.clone(),
                ..MemberIdentity::default()
            },
            MemberIdentity {
                member_id: "stranger".to_owned(),
                ..MemberIdentity::default()
            },
        ],
        ..LeaveGroupRequest::default()
    };
    let left = second.call(3, &leave).await;
    assert_code(left.members[0].error_code, ErrorCode::None);
    assert_code(left.members[1].error_code, ErrorCode::UnknownMemberId);
    assert_code(
        heartbeat(&mut first, &one, 2).await,
        ErrorCode::RebalanceInProgress,
    );
}

#[tokio::test]
async fn commits_are_kept_over_a_restart_and_checked_against_the_generation() {
    let node = node().await;
    let mut client = node.client().await;
    let joined = join(&mut client).await;
    let member = joined.member_id;
    sync(&mut client, &member, 1, &[(&member, "all")]).await;
    for (generation, offset, expected) in [
        (1, 10, ErrorCode::None),
        (2, 99, ErrorCode::IllegalGeneration),
        (-1, 99, ErrorCode::IllegalGeneration),
        (1, 11, ErrorCode::None),
    ] {
        let code = commit(&mut client, &member, generation, offset, "note").await;
        assert_code(code, expected);
    }
    assert_code(
        commit(&mut client, "stranger", 1, 99, "").await,
        ErrorCode::UnknownMemberId,
    );
    assert_code(
        commit(&mut client, "", -1, 99, "").await,
        ErrorCode::UnknownMemberId,
    );
    assert_code(
        commit(&mut client, &member, 1, 99, &"x".repeat(4_097)).await,
        ErrorCode::OffsetMetadataTooLarge,
    );
    let expected = [
        (0, -1, Some(String::new())),
        (1, 11, Some("note".to_owned())),
    ];
    assert_eq!(committed(&mut client).await, expected);

    let node = node.restart().await;
    let mut client = node.client().await;
    assert_eq!(committed(&mut client).await, expected);
    // The member goes on as if nothing had happened.
    assert_code(heartbeat(&mut client, &member, 1).await, ErrorCode::None);
    let again = sync(&mut client, &member, 1, &[]).await;
    assert_eq!(again.assignment, "all");
    assert_code(
        commit(&mut client, &member, 1, 12, "").await,
        ErrorCode::None,
    );
}

#[tokio::test]
async fn a_client_without_a_group_protocol_may_keep_offsets() {
    let node = node().await;
    let mut client = node.client().await;
    assert_code(commit(&mut client, "", -1, 5, "").await, ErrorCode::None);
    assert_code(
        commit(&mut client, "", 3, 6, "").await,
        ErrorCode::UnknownMemberId,
    );
    assert_eq!(committed(&mut client).await[1].1, 5);
    // All topics, in the form for many groups.
    let request = OffsetFetchRequest {
        groups: vec![
            OffsetFetchRequestGroup {
                group_id: GROUP.to_owned(),
                topics: None,
                ..OffsetFetchRequestGroup::default()
            },
            OffsetFetchRequestGroup {
                group_id: "nobody".to_owned(),
                topics: Some(vec![OffsetFetchRequestTopics {
                    name: "flights".to_owned(),
                    partition_indexes: vec![0],
                }]),
                ..OffsetFetchRequestGroup::default()
            },
        ],
        ..OffsetFetchRequest::default()
    };
    let response = client.call(8, &request).await;
    assert_eq!(response.groups.len(), 2);
    let known = &response.groups[0].topics;
    assert_eq!(known.len(), 1);
    assert_eq!(known[0].partitions[0].partition_index, 1);
    assert_eq!(known[0].partitions[0].committed_offset, 5);
    assert_eq!(
        response.groups[1].topics[0].partitions[0].committed_offset,
        -1
    );
}

#[tokio::test]
async fn offsets_of_topics_that_do_not_exist_are_refused() {
    let node = node().await;
    let mut client = node.client().await;
    let request = OffsetCommitRequest {
        group_id: GROUP.to_owned(),
        topics: vec![
            OffsetCommitRequestTopic {
                name: "nowhere".to_owned(),
                partitions: vec![OffsetCommitRequestPartition::default()],
            },
            OffsetCommitRequestTopic {
                name: "flights".to_owned(),
                partitions: vec![
                    OffsetCommitRequestPartition {
                        partition_index: 7,
                        ..OffsetCommitRequestPartition::default()
                    },
                    OffsetCommitRequestPartition {
                        partition_index: 1,
                        committed_offset: 3,
                        ..OffsetCommitRequestPartition::default()
                    },
                ],
            },
        ],
        ..OffsetCommitRequest::default()
    };
    let response = client.call(2, &request).await;
    assert_code(
        response.topics[0].partitions[0].error_code,
        ErrorCode::UnknownTopicOrPartition,
    );
    assert_code(
        response.topics[1].partitions[0].error_code,
        ErrorCode::UnknownTopicOrPartition,
    );
    assert_code(response.topics[1].partitions[1].error_code, ErrorCode::None);
    assert_eq!(committed(&mut client).await[1].1, 3);
}

#[tokio::test]
async fn tools_see_groups_and_their_members() {
    let node = node().await;
    let mut client = node.client().await;
    let joined = join(&mut client).await;
    let member = joined.member_id;
    sync(&mut client, &member, 1, &[(&member, "all")]).await;
    let list = client.call(4, &ListGroupsRequest::default()).await;
    assert_eq!(list.groups.len(), 1);
    assert_eq!(list.groups[0].group_id, GROUP);
    assert_eq!(list.groups[0].group_state, "Stable");
    let none = client
        .call(
            4,
            &ListGroupsRequest {
                states_filter: vec!["Empty".to_owned()],
                ..ListGroupsRequest::default()
            },
        )
        .await;
    assert_eq!(none.groups, []);
    let request = DescribeGroupsRequest {
        groups: vec![GROUP.to_owned(), "nobody".to_owned()],
        include_authorized_operations: false,
    };
    let described = client.call(5, &request).await;
    let group = &described.groups[0];
    assert_eq!(group.group_state, "Stable");
    assert_eq!(group.protocol_data, "range");
    assert_eq!(group.members[0].member_id, member);
    assert_eq!(group.members[0].client_id, "test");
    assert_eq!(group.members[0].client_host, "/127.0.0.1");
    assert_eq!(group.members[0].member_metadata, "flights");
    assert_eq!(group.members[0].member_assignment, "all");
    assert_eq!(described.groups[1].group_state, "Dead");
    let described = client.call(6, &request).await;
    assert_code(described.groups[1].error_code, ErrorCode::GroupIdNotFound);
}

#[tokio::test]
async fn a_held_group_is_shown_and_refuses_strangers() {
    let node = node().await;
    let held = SyntheticMember {
        member_id: "clean-0".to_owned(),
        client_id: "p/clean/0".to_owned(),
        generation: 3,
        partitions: vec![TopicPartition::new("flights", 1)],
    };
    node.broker
        .local()
        .hold_group(GROUP, &[held])
        .await
        .unwrap();
    let mut client = node.client().await;
    let refused = client.call(5, &join_request(GROUP, "")).await;
    assert_code(refused.error_code, ErrorCode::InconsistentGroupProtocol);
    assert_code(
        commit(&mut client, "", -1, 5, "").await,
        ErrorCode::UnknownMemberId,
    );
    let request = DescribeGroupsRequest {
        groups: vec![GROUP.to_owned()],
        include_authorized_operations: false,
    };
    let described = client.call(5, &request).await;
    let group = &described.groups[0];
    assert_eq!(group.group_state, "Stable");
    assert_eq!(group.protocol_type, "consumer");
    assert_eq!(group.members.len(), 1);
    assert_eq!(group.members[0].member_id, "clean-0");
    let positions = |group: &DescribedGroup| {
        let assignment = group.members[0].member_assignment.clone();
        let assignment = ConsumerProtocolAssignment::from_bytes(assignment).unwrap();
        positions_in_user_data(assignment.user_data.unwrap(), 1)
    };
    assert_eq!(positions(group), [None]);
    let local = node.broker.local();
    let older = local.read_positions(GROUP, "clean-0", 2).await.unwrap();
    assert!(older.is_none());
    let reads = local.read_positions(GROUP, "clean-0", 3).await.unwrap();
    reads.unwrap().set("flights", 1, 42);
    let described = client.call(5, &request).await;
    assert_eq!(positions(&described.groups[0]), [Some(42)]);
    // And the other way round: a group with members cannot be held.
    local.release_group(GROUP, "clean-0", 3).await.unwrap();
    join(&mut client).await;
    let held = SyntheticMember {
        member_id: "clean-0".to_owned(),
        client_id: "p/clean/0".to_owned(),
        generation: 4,
        partitions: Vec::new(),
    };
    assert_eq!(
        local.hold_group(GROUP, &[held]).await,
        Err(ErrorCode::NonEmptyGroup)
    );
}

#[tokio::test]
async fn coordinators_are_found_in_every_version() {
    let node = node().await;
    let mut client = node.client().await;
    for version in 0..=3 {
        let request = FindCoordinatorRequest {
            key: GROUP.to_owned(),
            ..FindCoordinatorRequest::default()
        };
        let found = client.call(version, &request).await;
        assert_code(found.error_code, ErrorCode::None);
        assert_eq!(found.node_id, 1);
        assert_eq!(found.port, i32::from(node.address.port()));
    }
    let request = FindCoordinatorRequest {
        key_type: 1,
        coordinator_keys: vec!["p/clean/0".to_owned(), String::new()],
        ..FindCoordinatorRequest::default()
    };
    let found = client.call(4, &request).await;
    assert_code(found.coordinators[0].error_code, ErrorCode::None);
    assert_eq!(found.coordinators[0].key, "p/clean/0");
    assert_code(found.coordinators[1].error_code, ErrorCode::InvalidRequest);
    let strange = FindCoordinatorRequest {
        key: GROUP.to_owned(),
        key_type: 9,
        ..FindCoordinatorRequest::default()
    };
    assert_code(
        client.call(2, &strange).await.error_code,
        ErrorCode::InvalidRequest,
    );
}

#[tokio::test]
async fn a_stop_does_not_wait_for_parked_members() {
    let node = node().await;
    let (mut first, mut second) = (node.client().await, node.client().await);
    let alone = join(&mut first).await;
    let one = alone.member_id;
    sync(&mut first, &one, 1, &[(&one, "all")]).await;
    let told = second.call(5, &join_request(GROUP, "")).await;
    second.send(5, &join_request(GROUP, &told.member_id)).await;
    while heartbeat(&mut first, &one, 1).await == 0 {}
    // The second one is parked until the first one joins again, which it never does.
    let stopped = std::time::Instant::now();
    node.broker
        .shutdown(std::time::Duration::from_secs(15))
        .await;
    assert!(stopped.elapsed() < std::time::Duration::from_secs(5));
    let (_, answer) = second.receive::<JoinGroupRequest>(5).await;
    assert_code(answer.error_code, ErrorCode::CoordinatorNotAvailable);
}
