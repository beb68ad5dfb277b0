//! ListOffsets.

use millstream_wire::{
    ErrorCode,
    list_offsets::{
        ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsTopic,
    },
};

use crate::support::{BatchSpec, Client, Node, assert_code, batch_of};

async fn offset(
    client: &mut Client,
    version: i16,
    topic: &str,
    timestamp: i64,
    epoch: i32,
) -> ListOffsetsPartitionResponse {
    let partition = ListOffsetsPartition {
        partition_index: 0,
        timestamp,
        current_leader_epoch: epoch,
    };
    let request = ListOffsetsRequest {
        replica_id: -1,
        isolation_level: i8::from(version > 1),
        topics: vec![ListOffsetsTopic {
            name: topic.to_owned(),
            partitions: vec![partition],
        }],
    };
    client.call(version, &request).await.topics[0].partitions[0].clone()
}

#[tokio::test]
async fn offsets_are_found_by_end_and_by_time() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.create("t", 1, &[]).await;
    for timestamp in [1_000, 2_000, 1_500] {
        let spec = BatchSpec {
            timestamp,
            ..BatchSpec::default()
        };
        client
            .produce("t", 0, -1, batch_of(&["a", "b"], &spec))
            .await;
    }
    let table = [
        (-1, (6, -1)),
        (-2, (0, -1)),
        (-3, (2, 2_000)),
        (0, (0, 1_000)),
        (1_000, (0, 1_000)),
        (1_001, (2, 2_000)),
        (2_000, (2, 2_000)),
        (2_001, (-1, -1)),
    ];
    for version in 1..=7 {
        for (asked, expected) in table {
            let found = offset(&mut client, version, "t", asked, -1).await;
            assert_eq!(
                (found.offset, found.timestamp),
                expected,
                "time {asked} in version {version}"
            );
            assert_eq!(found.error_code, 0);
        }
    }
}

#[tokio::test]
async fn what_cannot_be_answered_says_why() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.create("t", 1, &[]).await;
    assert_code(
        offset(&mut client, 7, "x", -1, -1).await.error_code,
        ErrorCode::UnknownTopicOrPartition,
    );
    assert_code(
        offset(&mut client, 7, "t", -1, 50).await.error_code,
        ErrorCode::UnknownLeaderEpoch,
    );
    assert_code(
        offset(&mut client, 7, "t", -9, -1).await.error_code,
        ErrorCode::UnsupportedVersion,
    );
    let node = node.restart().await;
    let mut client = node.client().await;
    assert_code(
        offset(&mut client, 7, "t", -1, 0).await.error_code,
        ErrorCode::FencedLeaderEpoch,
    );
    assert_eq!(offset(&mut client, 7, "t", -1, 1).await.leader_epoch, 1);
}
