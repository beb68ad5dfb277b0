//! How the settings of groups and their offsets are seen.

use std::time::Duration;

use millstream_wire::{
    ErrorCode,
    find_coordinator::FindCoordinatorRequest,
    offset_commit::{OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic},
    offset_fetch::{OffsetFetchRequest, OffsetFetchRequestTopic},
};

use super::scene::{MOMENT, Row, Scene, rows, within_a_moment, word};
use crate::support::{Client, join_request};

const OFFSETS: &str = "__consumer_offsets";

pub(super) fn rows() -> Vec<Row> {
    rows! {
        "offsets.topic.num.partitions" = "2": "50" => "2",
            |scene| {
                coordinator(scene).await;
                scene.metadata(OFFSETS, false).await.partitions.len().to_string()
            };
        "offsets.topic.replication.factor" = "1": "3" => "1",
            |scene| {
                scene.three_nodes().await;
                coordinator(scene).await;
                scene.metadata(OFFSETS, false).await.partitions[0].replica_nodes.len().to_string()
            };
        "offsets.topic.segment.bytes" = "4096": "104857600" => "4096",
            |scene| {
                coordinator(scene).await;
                scene.topic_value(OFFSETS, "segment.bytes").await
            };
        "offsets.retention.minutes" = "1": "kept" => "gone",
            with [("offsets.retention.check.interval.ms", "20")],
            |scene| kept_or_gone(scene).await;
        "offsets.retention.check.interval.ms" = "20": "kept" => "gone",
            with [("offsets.retention.minutes", "1")],
            |scene| kept_or_gone(scene).await;
        "offset.metadata.max.bytes" = "3": "NONE" => "OFFSET_METADATA_TOO_LARGE",
            |scene| word(commit(scene).await);
        "offsets.commit.timeout.ms" = "20": "waits" => "COORDINATOR_NOT_AVAILABLE",
            |scene| {
                commit(scene).await;
                let held = scene.fs.hold_syncs();
                let answer = tokio::time::timeout(MOMENT, commit(scene)).await;
                drop(held);
                answer.map_or("waits".to_owned(), word)
            };
        "group.initial.rebalance.delay.ms" = "0": "waits" => "NONE",
            |scene| join_twice(&mut scene.node.client().await).await;
        "group.min.session.timeout.ms" = "20000": "MEMBER_ID_REQUIRED" => "INVALID_SESSION_TIMEOUT",
            |scene| word(scene.client.call(5, &join_request("g", "")).await.error_code);
        "group.max.session.timeout.ms" = "7000": "MEMBER_ID_REQUIRED" => "INVALID_SESSION_TIMEOUT",
            |scene| word(scene.client.call(5, &join_request("g", "")).await.error_code);
        "group.max.size" = "1": "waits" => "GROUP_MAX_SIZE_REACHED",
            with [("group.initial.rebalance.delay.ms", "0")],
            |scene| {
                let mut first = scene.node.client().await;
                assert_eq!(join_twice(&mut first).await, "NONE");
                let second = join_twice(&mut scene.node.client().await).await;
                drop(first);
                second
            };
    }
}

/// Asks for the coordinator, which makes the topic of the offsets.
async fn coordinator(scene: &mut Scene) {
    let request = FindCoordinatorRequest {
        key: "g".to_owned(),
        ..FindCoordinatorRequest::default()
    };
    scene.client.call(1, &request).await;
}

/// Commits an offset for a group without members.
async fn commit(scene: &mut Scene) -> i16 {
    scene.topic().await;
    let request = OffsetCommitRequest {
        group_id: "g".to_owned(),
        generation_id_or_member_epoch: -1,
        topics: vec![OffsetCommitRequestTopic {
            name: "t".to_owned(),
            partitions: vec![OffsetCommitRequestPartition {
                partition_index: 0,
                committed_offset: 7,
                committed_metadata: Some("a note".to_owned()),
                ..OffsetCommitRequestPartition::default()
            }],
        }],
        ..OffsetCommitRequest::default()
    };
    let response = scene.client.call(7, &request).await;
    response.topics[0].partitions[0].error_code
}

/// Whether an offset is still there two minutes later.
async fn kept_or_gone(scene: &mut Scene) -> String {
    assert_eq!(commit(scene).await, 0);
    // The first look at what has expired comes with the start, before anything has.
    tokio::time::sleep(Duration::from_millis(20)).await;
    scene.pass(Duration::from_secs(120));
    let request = OffsetFetchRequest {
        group_id: "g".to_owned(),
        topics: Some(vec![OffsetFetchRequestTopic {
            name: "t".to_owned(),
            partition_indexes: vec![0],
        }]),
        ..OffsetFetchRequest::default()
    };
    let client = &mut scene.client;
    let gone = within_a_moment(async || {
        let response = client.call(7, &request).await;
        response.topics[0].partitions[0].committed_offset == -1
    });
    match gone.await {
        true => "gone".to_owned(),
        false => "kept".to_owned(),
    }
}

/// Joins without an id and then with the one that was told; says what came, or that nothing came.
async fn join_twice(client: &mut Client) -> String {
    let told = client.call(5, &join_request("g", "")).await;
    if told.error_code != ErrorCode::MemberIdRequired.code() {
        return word(told.error_code);
    }
    let join = join_request("g", &told.member_id);
    match tokio::time::timeout(MOMENT, client.call(5, &join)).await {
        Ok(joined) => word(joined.error_code),
        Err(_) => "waits".to_owned(),
    }
}
