//! DeleteRecords.

use millstream_wire::{
    ErrorCode,
    delete_records::{
        DeleteRecordsPartition, DeleteRecordsPartitionResult, DeleteRecordsRequest,
        DeleteRecordsTopic,
    },
};

use crate::support::{Client, Node, assert_code, batch, values};

async fn delete(
    client: &mut Client,
    topic: &str,
    partition_index: i32,
    offset: i64,
) -> DeleteRecordsPartitionResult {
    let request = DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: topic.to_owned(),
            partitions: vec![DeleteRecordsPartition {
                partition_index,
                offset,
            }],
        }],
        timeout_ms: 10_000,
    };
    let response = client.call(2, &request).await;
    response.topics[0].partitions[0].clone()
}

#[tokio::test]
async fn records_below_an_offset_are_gone_at_once_and_after_a_restart() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.create("t", 1, &[]).await;
    for value in ["a", "b", "c"] {
        client.produce("t", 0, -1, batch(&[value])).await;
    }
    let deleted = delete(&mut client, "t", 0, 2).await;
    assert_eq!((deleted.error_code, deleted.low_watermark), (0, 2));
    // A smaller offset moves nothing back.
    assert_eq!(delete(&mut client, "t", 0, 1).await.low_watermark, 2);
    assert_code(
        client.fetch("t", 0, 1).await.error_code,
        ErrorCode::OffsetOutOfRange,
    );
    let node = node.restart().await;
    let mut client = node.client().await;
    let data = client.fetch("t", 0, 2).await;
    assert_eq!(
        (data.log_start_offset, values(&data)),
        (2, vec!["c".to_owned()])
    );
    let all = delete(&mut client, "t", 0, -1).await;
    assert_eq!((all.error_code, all.low_watermark), (0, 3));
}

#[tokio::test]
async fn what_cannot_be_deleted_says_why() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.create("t", 1, &[]).await;
    client
        .create("compacted", 1, &[("cleanup.policy", "compact")])
        .await;
    for (topic, partition, offset, code) in [
        ("missing", 0, 0, ErrorCode::UnknownTopicOrPartition),
        ("t", 5, 0, ErrorCode::UnknownTopicOrPartition),
        ("t", 0, 1, ErrorCode::OffsetOutOfRange),
        ("t", 0, -2, ErrorCode::OffsetOutOfRange),
        ("compacted", 0, 0, ErrorCode::PolicyViolation),
        ("__consumer_offsets", 0, 0, ErrorCode::InvalidTopicException),
    ] {
        let result = delete(&mut client, topic, partition, offset).await;
        assert_code(result.error_code, code);
        assert_eq!(result.low_watermark, -1, "{topic} {offset}");
    }
}
