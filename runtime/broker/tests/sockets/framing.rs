//! What arrives on a connection is not always a request.

use std::time::{Duration, Instant};

use millstream_wire::{
    ApiKey, ErrorCode,
    api_versions::{ApiVersionsRequest, ApiVersionsResponse},
    metadata::MetadataRequest,
};
use tokio::{io::AsyncWriteExt, time::sleep};

use crate::support::{Node, assert_code, batch, fetch_request, frame_of, produce_request, values};

fn api_versions() -> ApiVersionsRequest {
    ApiVersionsRequest {
        client_software_name: "test".to_owned(),
        client_software_version: "1".to_owned(),
    }
}

#[tokio::test]
async fn a_malformed_frame_closes_its_connection_and_no_other() {
    let node = Node::start().await;
    let mut bystander = node.client().await;
    bystander.call(3, &api_versions()).await;
    let spoiled: Vec<(&str, Vec<u8>)> = vec![
        ("negative length", (-1_i32).to_be_bytes().to_vec()),
        ("empty frame", 0_i32.to_be_bytes().to_vec()),
        (
            "beyond socket.request.max.bytes",
            200_000_000_i32.to_be_bytes().to_vec(),
        ),
        (
            "unknown API",
            frame_of(3, 1, &[])
                .iter()
                .enumerate()
                .map(|(at, byte)| if at == 5 { 99 } else { *byte })
                .collect(),
        ),
        ("unsupported version", frame_of(3, 100, &[])),
        ("Produce before version 3", frame_of(0, 2, &[0; 20])),
        ("truncated body", frame_of(1, 4, &[0, 0, 0])),
        (
            "a count of two billion",
            frame_of(3, 1, &[0x7f, 0xff, 0xff, 0xff]),
        ),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("noise", (200..255).collect()),
    ];
    for (what, bytes) in spoiled {
        let mut client = node.client().await;
        client.raw(&bytes).await;
        println!("{what}");
        client.assert_closed().await;
        assert!(
            !bystander.call(3, &api_versions()).await.api_keys.is_empty(),
            "{what}"
        );
    }
}

#[tokio::test]
async fn every_prefix_of_a_request_is_waited_for_and_every_cut_is_survived() {
    let node = Node::start().await;
    let request =
        millstream_wire::encode_request(1, 5, Some("test"), &MetadataRequest::default()).unwrap();
    for cut in 1..request.len() {
        let mut client = node.client().await;
        client.raw(&request[..cut]).await;
        client.stream.flush().await.unwrap();
        client.raw(&request[cut..]).await;
        let (correlation_id, response) = client.receive::<MetadataRequest>(1).await;
        assert_eq!(correlation_id, 5);
        assert_eq!(response.brokers[0].port, i32::from(node.address.port()));
    }
    for cut in 1..request.len() {
        let mut client = node.client().await;
        client.raw(&request[..cut]).await;
    }
    assert!(
        !node
            .client()
            .await
            .call(3, &api_versions())
            .await
            .api_keys
            .is_empty()
    );
}

#[tokio::test]
async fn a_request_that_stops_arriving_is_cut_off() {
    // A connection may be idle for ten minutes, so only the stopped request can be what closes it.
    let node = Node::with(&[("millstream.partial.request.timeout.ms", "100")]).await;
    let began = Instant::now();
    let mut partial = node.client().await;
    partial.raw(&[0, 0, 0, 50, 0, 3]).await;
    let mut idle = node.client().await;
    idle.call(3, &api_versions()).await;
    partial.assert_closed().await;
    let cut_off = began.elapsed();
    assert!(cut_off >= Duration::from_millis(100), "{cut_off:?}");
    assert!(!idle.call(3, &api_versions()).await.api_keys.is_empty());
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let node = Node::with(&[("connections.max.idle.ms", "300")]).await;
    let began = Instant::now();
    let mut idle = node.client().await;
    idle.call(3, &api_versions()).await;
    idle.assert_closed().await;
    assert!(began.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn an_active_connection_is_not_idle() {
    let node = Node::with(&[("connections.max.idle.ms", "300")]).await;
    let mut client = node.client().await;
    for _ in 0..6 {
        sleep(Duration::from_millis(100)).await;
        client.call(3, &api_versions()).await;
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.create("t", 1, &[]).await;
    let mut sent = Vec::new();
    for number in 0..200 {
        let value = number.to_string();
        sent.push(
            client
                .send(9, &produce_request("t", 0, -1, batch(&[&value])))
                .await,
        );
        sent.push(client.send(1, &MetadataRequest::default()).await);
    }
    let last = client.send(11, &fetch_request("t", 0, 0)).await;
    for pair in sent.chunks(2) {
        let (produced, _) = client
            .receive::<millstream_wire::produce::ProduceRequest>(9)
            .await;
        let (described, _) = client.receive::<MetadataRequest>(1).await;
        assert_eq!([produced, described], pair);
    }
    let (fetched, response) = client
        .receive::<millstream_wire::fetch::FetchRequest>(11)
        .await;
    assert_eq!(fetched, last);
    let expected: Vec<String> = (0..200).map(|number| number.to_string()).collect();
    assert_eq!(values(&response.responses[0].partitions[0]), expected);
}

#[tokio::test]
async fn a_client_that_asks_for_much_and_reads_late_gets_everything() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.create("t", 1, &[]).await;
    let value = "x".repeat(900_000);
    client.produce("t", 0, -1, batch(&[&value])).await;
    let mut greedy = node.client().await;
    for _ in 0..60 {
        greedy.send(11, &fetch_request("t", 0, 0)).await;
    }
    sleep(Duration::from_millis(200)).await;
    // What the sockets hold and one answer more; the other requests have not begun.
    let sent = node.broker.stats().bytes_fetched;
    assert!(
        sent < 20_000_000,
        "{sent} bytes were read for a client that reads nothing"
    );
    for _ in 0..60 {
        let (_, response) = greedy
            .receive::<millstream_wire::fetch::FetchRequest>(11)
            .await;
        assert_eq!(
            values(&response.responses[0].partitions[0]),
            [value.as_str()]
        );
    }
}

#[tokio::test]
async fn the_answer_to_api_versions_is_readable_whatever_was_asked() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.raw(&frame_of(18, 77, &[1, 2, 3])).await;
    let mut frame = client.frame().await;
    let correlation_id = i32::from_be_bytes(frame.split_to(4)[..].try_into().unwrap());
    assert_eq!(correlation_id, 7);
    let response =
        <ApiVersionsResponse as millstream_wire::Message>::decode(&mut frame, 0).unwrap();
    assert_code(response.error_code, ErrorCode::UnsupportedVersion);
    let own: Vec<i16> = response.api_keys.iter().map(|api| api.api_key).collect();
    assert_eq!(own, [ApiKey::ApiVersions as i16]);
    let response = client.call(3, &api_versions()).await;
    let range = |api: ApiKey| {
        let found = response
            .api_keys
            .iter()
            .find(|one| one.api_key == api as i16)
            .unwrap();
        (found.min_version, found.max_version)
    };
    assert_eq!(
        range(ApiKey::Produce),
        (0, 11),
        "librdkafka before 2.11.1 drops compression otherwise"
    );
    assert_eq!(range(ApiKey::Fetch), (4, 16));
    assert_eq!(range(ApiKey::Metadata), (0, 12));
    let nameless = ApiVersionsRequest {
        client_software_name: " ".to_owned(),
        ..api_versions()
    };
    assert_code(
        client.call(3, &nameless).await.error_code,
        ErrorCode::InvalidRequest,
    );
}

#[tokio::test]
async fn a_shutdown_answers_what_was_begun_and_closes() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.create("t", 1, &[]).await;
    let mut waiting = fetch_request("t", 0, 0);
    waiting.max_wait_ms = 60_000;
    client.send(11, &waiting).await;
    let mut idle = node.client().await;
    idle.call(3, &api_versions()).await;
    sleep(Duration::from_millis(50)).await;
    let began = Instant::now();
    node.broker.shutdown(Duration::from_secs(10)).await;
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "the long poll was let go"
    );
    client
        .receive::<millstream_wire::fetch::FetchRequest>(11)
        .await;
    client.assert_closed().await;
    idle.assert_closed().await;
    assert!(!node.broker.is_ready());
}

#[tokio::test]
async fn connections_beyond_the_maximum_are_closed() {
    let node = Node::with(&[("max.connections", "2")]).await;
    let mut first = node.client().await;
    first.call(3, &api_versions()).await;
    let mut second = node.client().await;
    second.call(3, &api_versions()).await;
    node.client().await.assert_closed().await;
    drop(second);
    let until = Instant::now() + Duration::from_secs(10);
    while node.broker.stats().connections_open > 1 && Instant::now() < until {
        sleep(Duration::from_millis(5)).await;
    }
    node.client().await.call(3, &api_versions()).await;
}
