//! Which records of a refused batch are at fault (KIP-467), and what else an error answer of Produce says.

use millstream_records::{BatchBuilder, BatchOptions, Compression};
use millstream_wire::{
    ErrorCode,
    delete_records::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic},
    incremental_alter_configs::{
        AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
    },
    produce::PartitionProduceResponse,
};

use crate::support::{Client, Node, assert_code, batch, now_ms, produce_request, values};

/// Records of a batch: key, and time beside now.
type Sent<'a> = (Option<&'a str>, i64);

fn batch_with(records: &[Sent<'_>], compression: Compression) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions {
        compression,
        ..BatchOptions::default()
    });
    let now = now_ms();
    for (key, time) in records {
        let key = key.map(str::as_bytes);
        builder.append(now + time, key, Some(b"value"), []).unwrap();
    }
    builder.build().unwrap()
}

async fn alter(client: &mut Client, operation: i8, value: &str) {
    let change = AlterableConfig {
        name: "cleanup.policy".to_owned(),
        config_operation: operation,
        value: Some(value.to_owned()),
    };
    let resource = AlterConfigsResource {
        resource_type: 2,
        resource_name: "t".to_owned(),
        configs: vec![change],
    };
    let request = IncrementalAlterConfigsRequest {
        resources: vec![resource],
        ..IncrementalAlterConfigsRequest::default()
    };
    let response = client.call(1, &request).await;
    assert_code(response.responses[0].error_code, ErrorCode::None);
}

const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

fn at_fault(response: &PartitionProduceResponse) -> Vec<i32> {
    let named = response.record_errors.iter();
    named.map(|error| error.batch_index).collect()
}

#[tokio::test]
async fn keyless_records_of_a_compacted_topic_are_named_and_their_batch_is_refused() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.create("t", 1, &[]).await;
    alter(&mut client, APPEND, "compact").await;
    let records: Vec<Sent<'_>> = (0..100)
        .map(|number| ((number % 10 != 0).then_some("key"), 0))
        .collect();
    let keyless: Vec<i32> = (0..100).step_by(10).collect();
    for compression in [Compression::None, Compression::Lz4] {
        for version in 3..=11 {
            let request = produce_request("t", 0, -1, batch_with(&records, compression));
            let response = client.call(version, &request).await;
            let partition = &response.responses[0].partition_responses[0];
            assert_code(partition.error_code, ErrorCode::InvalidRecord);
            assert_eq!(partition.base_offset, -1);
            match version {
                // What a version cannot say, its answer does not hold.
                ..8 => assert_eq!(
                    (at_fault(partition), &partition.error_message),
                    (vec![], &None)
                ),
                _ => {
                    assert_eq!(at_fault(partition), keyless);
                    let sentence = &partition.record_errors[3].batch_index_error_message;
                    assert!(sentence.as_ref().unwrap().contains("key"), "{sentence:?}");
                    let message = partition.error_message.as_ref().unwrap();
                    assert!(message.contains("10"), "{message}");
                }
            }
        }
    }
    assert_eq!(client.fetch("t", 0, 0).await.high_watermark, 0);
    // Each in a batch of its own, only they fail.
    let mut taken = 0;
    for (number, record) in (0..).zip(&records) {
        let sent = batch_with(&[*record], Compression::None);
        let response = client.produce("t", 0, -1, sent).await;
        if keyless.contains(&number) {
            assert_code(response.error_code, ErrorCode::InvalidRecord);
            assert_eq!(at_fault(&response), [0]);
        } else {
            assert_eq!((response.error_code, response.base_offset), (0, taken));
            taken += 1;
        }
    }
    assert_eq!(taken, 90);
    // And where keys are not needed, none.
    alter(&mut client, SUBTRACT, "compact").await;
    let whole = batch_with(&records, Compression::None);
    assert_eq!(client.produce("t", 0, -1, whole).await.base_offset, taken);
}

#[tokio::test]
async fn records_with_times_that_the_topic_does_not_take_are_named() {
    let node = Node::start().await;
    let mut client = node.client().await;
    let minute = 60_000;
    client
        .create(
            "t",
            1,
            &[
                ("cleanup.policy", "compact"),
                ("message.timestamp.before.max.ms", "60000"),
                ("message.timestamp.after.max.ms", "60000"),
            ],
        )
        .await;
    let records = [
        (Some("a"), 0),
        (Some("b"), -5 * minute),
        (None, 0),
        (Some("c"), 5 * minute),
        (Some("d"), 0),
    ];
    let sent = batch_with(&records, Compression::None);
    let response = client.produce("t", 0, -1, sent).await;
    // As in Kafka, a wrong time counts more than a missing key.
    assert_code(response.error_code, ErrorCode::InvalidTimestamp);
    assert_eq!(at_fault(&response), [1, 2, 3]);
    let sentences: Vec<_> = response
        .record_errors
        .iter()
        .map(|error| error.batch_index_error_message.as_deref().unwrap())
        .collect();
    assert!(sentences[0].contains("older"), "{sentences:?}");
    assert!(sentences[1].contains("key"), "{sentences:?}");
    assert!(sentences[2].contains("ahead"), "{sentences:?}");
}

#[tokio::test]
async fn a_small_request_gets_no_endless_answer() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client
        .create("t", 2, &[("cleanup.policy", "compact")])
        .await;
    let records = vec![(None, 0); 30_000];
    let sent = batch_with(&records, Compression::Zstd);
    let mut request = produce_request("t", 0, -1, sent);
    let mut second = request.topic_data[0].partition_data[0].clone();
    second.index = 1;
    request.topic_data[0].partition_data.push(second);
    let response = client.call(9, &request).await;
    let [first, second] = &response.responses[0].partition_responses[..] else {
        panic!("{response:?}");
    };
    assert_eq!(first.record_errors.len(), 10_000);
    assert_eq!(second.record_errors, []);
    for partition in [first, second] {
        assert_code(partition.error_code, ErrorCode::InvalidRecord);
        let message = partition.error_message.as_ref().unwrap();
        assert!(message.contains("30000"), "{message}");
    }
}

#[tokio::test]
async fn an_error_says_where_the_log_begins() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.create("t", 1, &[("max.message.bytes", "500")]).await;
    for value in ["a", "b", "c"] {
        client.produce("t", 0, -1, batch(&[value])).await;
    }
    let request = DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: "t".to_owned(),
            partitions: vec![DeleteRecordsPartition {
                partition_index: 0,
                offset: 2,
            }],
        }],
        timeout_ms: 10_000,
    };
    client.call(2, &request).await;
    let long = "x".repeat(1_000);
    let mut damaged = batch(&["d"]);
    *damaged.last_mut().unwrap() ^= 1;
    for (sent, code) in [
        (batch(&[&long]), ErrorCode::MessageTooLarge),
        (damaged, ErrorCode::CorruptMessage),
        (Vec::new(), ErrorCode::InvalidRecord),
        (batch(&["e"; 2]).repeat(2), ErrorCode::InvalidRecord),
    ] {
        for version in 5..=11 {
            let request = produce_request("t", 0, -1, sent.clone());
            let response = client.call(version, &request).await;
            let partition = &response.responses[0].partition_responses[0];
            assert_code(partition.error_code, code);
            assert_eq!(partition.log_start_offset, 2);
            assert_eq!(partition.error_message.is_some(), version >= 8);
        }
    }
    // Of a partition that is not here, nobody knows.
    let missing = client.produce("t", 7, -1, batch(&["x"])).await;
    assert_code(missing.error_code, ErrorCode::UnknownTopicOrPartition);
    assert_eq!(missing.log_start_offset, -1);
    assert_eq!(values(&client.fetch("t", 0, 2).await), ["c"]);
}
