//! How the settings of connections, topics and requests are seen.

use std::time::Duration;

use millstream_wire::{delete_topics::DeleteTopicsRequest, metadata::MetadataRequest};
use tokio::io::AsyncReadExt;

use super::scene::{MOMENT, Row, Scene, rows, within_a_moment, word};
use crate::support::{Client, fetch_request, frame_of, only, produce_request};

pub(super) fn rows() -> Vec<Row> {
    rows! {
        "advertised.listeners" = "PLAINTEXT://elsewhere:9": "127.0.0.1" => "elsewhere",
            |scene| {
                let response = scene.client.call(8, &MetadataRequest::default()).await;
                response.brokers[0].host.clone()
            };
        "auto.create.topics.enable" = "false": "NONE" => "UNKNOWN_TOPIC_OR_PARTITION",
            |scene| {
                let name = scene.fresh_name();
                word(scene.metadata(&name, true).await.error_code)
            };
        "num.partitions" = "3": "1" => "3",
            |scene| {
                let (name, _) = scene.create_by_default(1).await;
                scene.metadata(&name, false).await.partitions.len().to_string()
            };
        "default.replication.factor" = "2": "NONE" => "INVALID_REPLICATION_FACTOR",
            |scene| scene.create_by_default(-1).await.1;
        "delete.topic.enable" = "false": "NONE" => "TOPIC_DELETION_DISABLED",
            |scene| {
                let (name, _) = scene.create_by_default(1).await;
                let request = DeleteTopicsRequest {
                    topic_names: vec![name],
                    timeout_ms: 1_000,
                    ..DeleteTopicsRequest::default()
                };
                word(scene.client.call(4, &request).await.responses[0].error_code)
            };
        "socket.request.max.bytes" = "2000": "answered" => "closed",
            |scene| {
                scene.topic().await;
                let mut client = scene.node.client().await;
                client.send(9, &produce_request("t", 0, 1, vec![0; 3_000])).await;
                answered_or_closed(&mut client).await
            };
        "socket.send.buffer.bytes" = "5000": "large" => "small",
            |scene| size(scene.node.listener.send_buffer_bytes);
        "socket.receive.buffer.bytes" = "5000": "large" => "small",
            |scene| size(scene.node.listener.receive_buffer_bytes);
        "connections.max.idle.ms" = "50": "open" => "closed",
            |scene| open_or_closed(&mut scene.node.client().await).await;
        "max.connections" = "1": "answered" => "closed",
            |scene| {
                let mut second = scene.node.client().await;
                second.send(8, &MetadataRequest::default()).await;
                answered_or_closed(&mut second).await
            };
        "millstream.partial.request.timeout.ms" = "50": "open" => "closed",
            |scene| {
                let mut client = scene.node.client().await;
                client.raw(&frame_of(3, 8, &[0; 40])[..20]).await;
                open_or_closed(&mut client).await
            };
        "millstream.max.in.flight.per.connection" = "1": "3 appended" => "1 appended",
            |scene| appended_before_a_flush(scene).await;
        "fetch.max.bytes" = "1500": "3 batches" => "1 batches",
            |scene| {
                for _ in 0..3 {
                    scene.append(1_000).await;
                }
                let mut request = fetch_request("t", 0, 0);
                request.max_bytes = 1 << 24;
                let data = only(scene.client.call(11, &request).await);
                let bytes = data.records.unwrap_or_default();
                format!("{} batches", millstream_records::batches(&bytes).count())
            };
    }
}

fn size(bytes: u32) -> String {
    if bytes < 50_000 {
        "small".to_owned()
    } else {
        "large".to_owned()
    }
}

async fn answered_or_closed(client: &mut Client) -> String {
    match client.stream.read_u32().await {
        Ok(_) => "answered".to_owned(),
        Err(_) => "closed".to_owned(),
    }
}

/// Whether the node closes a connection of its own accord.
async fn open_or_closed(client: &mut Client) -> String {
    match tokio::time::timeout(MOMENT, client.stream.read_u8()).await {
        Ok(_) => "closed".to_owned(),
        Err(_) => "open".to_owned(),
    }
}

/// How many of three requests are appended while nothing can be flushed.
async fn appended_before_a_flush(scene: &mut Scene) -> String {
    scene.append(10).await;
    let held = scene.fs.hold_syncs();
    let mut client = scene.node.client().await;
    for _ in 0..3 {
        let batch = crate::support::batch(&["one"]);
        client.send(9, &produce_request("t", 0, -1, batch)).await;
    }
    let log = scene.node.broker.partitions().led("t", 0).unwrap().log;
    let all = within_a_moment(async || log.offsets().log_end == 4).await;
    let appended = log.offsets().log_end - 1;
    drop(held);
    assert!(all == (appended == 3));
    tokio::time::sleep(Duration::from_millis(1)).await;
    format!("{appended} appended")
}
