//! Fetch: limits, waiting, errors.

use std::time::{Duration, Instant};

use millstream_wire::{
    ErrorCode,
    fetch::{FetchPartition, FetchRequest, FetchTopic},
    metadata::MetadataRequest,
};
use tokio::time::sleep;

use crate::support::{Node, assert_code, batch, fetch_request, only, records, values};

#[tokio::test]
async fn every_version_reads_the_same_bytes() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.create("t", 1, &[]).await;
    client.produce("t", 0, -1, batch(&["a", "b"])).await;
    let topic_id = client.call(12, &MetadataRequest::default()).await.topics[0].topic_id;
    for version in 4..=16 {
        let mut request = fetch_request("t", 0, 0);
        if version >= 13 {
            request.topics[0].topic_id = topic_id;
            request.topics[0].topic.clear();
        }
        for isolation_level in [0, 1] {
            request.isolation_level = isolation_level;
            let data = only(client.call(version, &request).await);
            assert_eq!(values(&data), ["a", "b"], "version {version}");
            assert_eq!(data.aborted_transactions.is_some(), isolation_level == 1);
        }
        request.topics[0].topic_id = uuid::Uuid::from_u128(99);
        if version >= 13 {
            assert_code(
                only(client.call(version, &request).await).error_code,
                ErrorCode::UnknownTopicId,
            );
        }
    }
}

#[tokio::test]
async fn a_fetch_inside_a_batch_returns_the_whole_batch() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.create("t", 1, &[]).await;
    client.produce("t", 0, -1, batch(&["a", "b", "c"])).await;
    client.produce("t", 0, -1, batch(&["d"])).await;
    let offsets: Vec<i64> = records(&client.fetch("t", 0, 2).await)
        .into_iter()
        .map(|(offset, _)| offset)
        .collect();
    assert_eq!(offsets, [0, 1, 2, 3]);
    assert_eq!(values(&client.fetch("t", 0, 3).await), ["d"]);
    assert!(values(&client.fetch("t", 0, 4).await).is_empty());
}

#[tokio::test]
async fn offsets_outside_the_log_and_wrong_epochs_are_errors() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.create("t", 1, &[]).await;
    client.produce("t", 0, -1, batch(&["a"])).await;
    for offset in [-1, 2, i64::MAX, i64::MIN] {
        assert_code(
            client.fetch("t", 0, offset).await.error_code,
            ErrorCode::OffsetOutOfRange,
        );
    }
    assert_code(
        client.fetch("t", 3, 0).await.error_code,
        ErrorCode::UnknownTopicOrPartition,
    );
    let mut request = fetch_request("t", 0, 0);
    request.topics[0].partitions[0].current_leader_epoch = 9;
    assert_code(
        only(client.call(11, &request).await).error_code,
        ErrorCode::UnknownLeaderEpoch,
    );
    let mut session = fetch_request("t", 0, 0);
    session.session_id = 5;
    assert_code(
        client.call(11, &session).await.error_code,
        ErrorCode::FetchSessionIdNotFound,
    );
}

#[tokio::test]
async fn limits_hold_over_partitions_and_the_first_batch_always_comes() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.create("t", 3, &[]).await;
    let value = "x".repeat(1_000);
    for partition in 0..3 {
        for _ in 0..4 {
            client.produce("t", partition, -1, batch(&[&value])).await;
        }
    }
    let asked = |max_bytes: i32, partition_max_bytes: i32| {
        let partition = |index| FetchPartition {
            partition: index,
            partition_max_bytes,
            ..FetchPartition::default()
        };
        FetchRequest {
            min_bytes: 1,
            max_bytes,
            topics: vec![FetchTopic {
                topic: "t".to_owned(),
                partitions: (0..3).map(partition).collect(),
                ..FetchTopic::default()
            }],
            ..FetchRequest::default()
        }
    };
    // A batch of one such record has some 1,080 bytes.
    let table: [(i32, i32, [usize; 3]); 5] = [
        (1 << 20, 1 << 20, [4, 4, 4]),
        (1 << 20, 2_500, [2, 2, 2]),
        (6_000, 1 << 20, [4, 1, 0]),
        (1, 1, [1, 0, 0]),
        (0, 0, [1, 0, 0]),
    ];
    for (max_bytes, partition_max_bytes, expected) in table {
        let response = client
            .call(11, &asked(max_bytes, partition_max_bytes))
            .await;
        let counts: Vec<usize> = response.responses[0]
            .partitions
            .iter()
            .map(|data| values(data).len())
            .collect();
        assert_eq!(counts, expected, "{max_bytes} {partition_max_bytes}");
        assert!(
            response.responses[0]
                .partitions
                .iter()
                .all(|data| data.error_code == 0 && data.high_watermark == 4)
        );
    }
}

#[tokio::test]
async fn a_long_poll_ends_with_the_append_that_it_waited_for() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.create("t", 2, &[]).await;
    let mut reader = node.client().await;
    let mut request = fetch_request("t", 0, 0);
    request.max_wait_ms = 15_000;
    let second = FetchPartition {
        partition: 1,
        ..request.topics[0].partitions[0].clone()
    };
    request.topics[0].partitions.push(second);
    reader.send(11, &request).await;
    sleep(Duration::from_millis(50)).await;
    let began = Instant::now();
    client.produce("t", 1, -1, batch(&["late"])).await;
    let (_, response) = reader.receive::<FetchRequest>(11).await;
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(values(&response.responses[0].partitions[1]), ["late"]);
}

#[tokio::test]
async fn a_long_poll_waits_for_enough_bytes_and_then_has_them_all_once() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.create("t", 1, &[]).await;
    let mut reader = node.client().await;
    let mut request = fetch_request("t", 0, 0);
    request.max_wait_ms = 15_000;
    request.min_bytes = 2_000;
    client.produce("t", 0, -1, batch(&["0"])).await;
    reader.send(11, &request).await;
    let mut expected = vec!["0".to_owned()];
    for number in 1..40 {
        sleep(Duration::from_millis(2)).await;
        expected.push(number.to_string());
        client
            .produce("t", 0, -1, batch(&[&number.to_string()]))
            .await;
    }
    let (_, response) = reader.receive::<FetchRequest>(11).await;
    let data = only(response);
    let found = values(&data);
    assert!(data.records.as_ref().unwrap().len() >= 2_000);
    assert_eq!(found, expected[..found.len()], "in order, each once");
}

#[tokio::test]
async fn a_long_poll_without_news_ends_at_its_time() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.create("t", 1, &[]).await;
    let mut request = fetch_request("t", 0, 0);
    request.max_wait_ms = 120;
    let began = Instant::now();
    let data = only(client.call(11, &request).await);
    let took = began.elapsed();
    assert!(
        took >= Duration::from_millis(120) && took < Duration::from_secs(5),
        "{took:?}"
    );
    assert_eq!((data.error_code, data.high_watermark), (0, 0));
    request.topics[0].partitions[0].fetch_offset = 7;
    request.max_wait_ms = 60_000;
    assert_code(
        only(client.call(11, &request).await).error_code,
        ErrorCode::OffsetOutOfRange,
    );
}

#[tokio::test]
async fn an_append_is_fetched_at_once_when_its_answer_has_come() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.create("t", 1, &[]).await;
    for number in 0..300 {
        client.produce("t", 0, -1, batch(&["x"])).await;
        let data = client.fetch("t", 0, number).await;
        assert_eq!(values(&data).len(), 1, "after append {number}");
    }
}
