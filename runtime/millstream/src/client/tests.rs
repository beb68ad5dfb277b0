//! The client against a node of this process, over a socket.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use millstream_records::{Compression, batches};
use millstream_wire::create_topics::{CreatableTopic, CreateTopicsRequest};
use tempfile::TempDir;

use super::{
    Client, ClientError, EARLIEST, Fetcher, Isolation, LATEST, NewRecord, Offsets, Producer,
};
use crate::node::{Ground, Node};
use crate::settings::{Flush, NodeSettings};

async fn start_node(folder: &TempDir) -> Node {
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let settings = NodeSettings {
        data_dir: folder.path().join("data"),
        kafka_addr: any_port,
        http_addr: any_port,
        flush: Flush::Os,
        node_id: 1,
        broker: BTreeMap::new(),
    };
    Node::start(&settings, Ground::default())
        .await
        .expect("the node starts")
}

async fn create_topic(client: &mut Client, name: &str, partitions: i32) {
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: name.to_owned(),
            num_partitions: partitions,
            replication_factor: -1,
            ..CreatableTopic::default()
        }],
        ..CreateTopicsRequest::default()
    };
    let response = client.call(&request).await.expect("is answered");
    assert_eq!(response.topics[0].error_code, 0);
}

fn record(key: Option<&str>, value: &str) -> NewRecord {
    NewRecord {
        key: key.map(|key| key.as_bytes().to_vec()),
        value: Some(value.as_bytes().to_vec()),
        headers: vec![(b"h".to_vec(), None)],
        ..NewRecord::default()
    }
}

/// Reads every partition to its end: (partition, offset, value).
async fn read_all(client: &mut Client, name: &str) -> Vec<(i32, i64, String)> {
    let topic = client.topic(name, false).await.expect("exists");
    let all: Vec<i32> = topic.partitions.iter().map(|p| p.index).collect();
    let isolation = Isolation::ReadCommitted;
    let starts = client.offsets(&topic, &all, EARLIEST, isolation).await;
    let ends = client.offsets(&topic, &all, LATEST, isolation).await;
    let ends: Offsets = ends.expect("ends");
    let mut fetcher = Fetcher::new(topic, isolation, starts.expect("starts"));
    let mut read = Vec::new();
    while fetcher.positions().iter().any(|(p, at)| *at < ends[p]) {
        for chunk in fetcher.poll(client, 100).await.expect("reads") {
            for batch in batches(&chunk.records) {
                let batch = batch.expect("sound");
                for record in batch.records(1 << 20).expect("sound").iter() {
                    let record = record.expect("sound");
                    let value = String::from_utf8_lossy(record.value.expect("is set")).into_owned();
                    assert_eq!(record.headers.count(), 1);
                    read.push((chunk.partition, record.offset, value));
                }
                fetcher.advance(chunk.partition, batch.header().next_offset());
            }
        }
    }
    read.sort();
    read
}

#[tokio::test]
async fn what_is_produced_with_any_compression_is_read_back_once_and_in_order() {
    let folder = TempDir::new().expect("a folder");
    let node = start_node(&folder).await;
    let mut client = Client::connect(&node.kafka_addr().to_string())
        .await
        .expect("connects");
    create_topic(&mut client, "t", 3).await;
    let mut expected = Vec::new();
    for compression in Compression::ALL {
        let topic = client.topic("t", false).await.expect("exists");
        let mut producer = Producer::start(&mut client, topic, compression)
            .await
            .expect("starts");
        // Two flushes, so that the second batch goes on in the producer's sequence.
        for turn in 0..2 {
            for number in 0..5 {
                let value = format!("{compression}-{turn}-{number}");
                let record = record(Some("k1"), &value);
                producer
                    .append(&mut client, &record)
                    .await
                    .expect("appends");
                expected.push(value);
            }
            producer.flush(&mut client).await.expect("is acknowledged");
            assert!(!producer.has_unsent());
        }
        // Kafka's default partitioner puts "k1" there.
        let written = producer.written()[&2];
        assert_eq!(written.records, 10);
        assert_eq!(written.last_offset, expected.len() as i64 - 1);
    }
    let read = read_all(&mut client, "t").await;
    let places: Vec<(i32, i64)> = read.iter().map(|(p, offset, _)| (*p, *offset)).collect();
    assert_eq!(
        places,
        (0..50).map(|offset| (2, offset)).collect::<Vec<_>>()
    );
    let values: Vec<String> = read.into_iter().map(|(_, _, value)| value).collect();
    assert_eq!(values, expected);
    node.stop().await.expect("stops");
}

#[tokio::test]
async fn records_without_a_key_take_turns_and_named_partitions_are_kept() {
    let folder = TempDir::new().expect("a folder");
    let node = start_node(&folder).await;
    let mut client = Client::connect(&node.kafka_addr().to_string())
        .await
        .expect("connects");
    create_topic(&mut client, "t", 2).await;
    let topic = client.topic("t", false).await.expect("exists");
    let mut producer = Producer::start(&mut client, topic, Compression::None)
        .await
        .expect("starts");
    for value in ["a", "b"] {
        let record = record(None, value);
        producer
            .append(&mut client, &record)
            .await
            .expect("appends");
        producer.flush(&mut client).await.expect("is acknowledged");
    }
    let mut named = record(Some("k1"), "c");
    named.partition = Some(1);
    producer.append(&mut client, &named).await.expect("appends");
    producer.flush(&mut client).await.expect("is acknowledged");
    named.partition = Some(2);
    let error = producer.append(&mut client, &named).await;
    assert!(matches!(error, Err(ClientError::NotFound(_))), "{error:?}");
    let expected = [(0, 0, "a"), (1, 0, "b"), (1, 1, "c")];
    let expected = expected.map(|(partition, offset, value)| (partition, offset, value.to_owned()));
    assert_eq!(read_all(&mut client, "t").await, expected);
    node.stop().await.expect("stops");
}

#[tokio::test]
async fn what_is_missing_and_what_is_out_of_range_is_said() {
    let folder = TempDir::new().expect("a folder");
    let node = start_node(&folder).await;
    let mut client = Client::connect(&node.kafka_addr().to_string())
        .await
        .expect("connects");
    let error = client.topic("nope", false).await.expect_err("is missing");
    assert!(matches!(error, ClientError::NotFound(_)), "{error}");
    create_topic(&mut client, "t", 1).await;
    let topic = client.topic("t", false).await.expect("exists");
    let positions = Offsets::from([(0, 7)]);
    let mut fetcher = Fetcher::new(topic, Isolation::ReadCommitted, positions);
    let error = fetcher.poll(&mut client, 100).await.expect_err("is beyond");
    let text = error.to_string();
    assert_eq!(text, "t-0 has no offset 7: it begins at 0 and ends at 0");
    node.stop().await.expect("stops");
}

#[tokio::test]
async fn a_client_goes_on_after_the_node_came_back_on_another_connection() {
    let folder = TempDir::new().expect("a folder");
    let node = start_node(&folder).await;
    let address = node.kafka_addr();
    let mut client = Client::connect(&address.to_string())
        .await
        .expect("connects");
    create_topic(&mut client, "t", 1).await;
    let topic = client.topic("t", false).await.expect("exists");
    let mut producer = Producer::start(&mut client, topic, Compression::None)
        .await
        .expect("starts");
    let first = record(None, "before");
    producer.append(&mut client, &first).await.expect("appends");
    producer.flush(&mut client).await.expect("is acknowledged");
    node.stop().await.expect("stops");
    let settings = NodeSettings {
        data_dir: folder.path().join("data"),
        kafka_addr: address,
        http_addr: SocketAddr::from(([127, 0, 0, 1], 0)),
        flush: Flush::Os,
        node_id: 1,
        broker: BTreeMap::new(),
    };
    let node = Node::start(&settings, Ground::default())
        .await
        .expect("the node starts again");
    let second = record(None, "after");
    producer
        .append(&mut client, &second)
        .await
        .expect("appends");
    producer.flush(&mut client).await.expect("is acknowledged");
    let values: Vec<String> = read_all(&mut client, "t")
        .await
        .into_iter()
        .map(|(_, _, value)| value)
        .collect();
    assert_eq!(values, ["before", "after"]);
    node.stop().await.expect("stops");
}
