use std::future::ready;

use millstream_cluster::{ClusterMetadata, NodeIdentity};
use millstream_log::{FlushMode, LogStore, StoreOptions, testing::SimFs};
use millstream_wire::{api_versions::ApiVersionsRequest, decode_response, encode_request};
use tokio::net::TcpListener;

use super::*;
use crate::BrokerConfig;

async fn broker(config: BrokerConfig) -> Arc<Broker> {
    let mut options = StoreOptions::new("/data", FlushMode::Os);
    options.fs = Arc::new(SimFs::new(1));
    let (store, _) = LogStore::open(options).unwrap();
    let identity = NodeIdentity {
        node_id: 1,
        host: "localhost".to_owned(),
        port: 9092,
    };
    let cluster = ClusterMetadata::open(&store, identity).await.unwrap();
    Broker::start(config, store, cluster).await.unwrap()
}

/// A request that may not overtake an answer is here whole, and the answer is there by the time it is asked for: so the
/// request waits for nothing that would wake the connection.
#[tokio::test]
async fn a_request_begins_when_the_answer_that_it_waited_for_is_collected() {
    let mut config = BrokerConfig::default();
    // A connection that forgets the request takes it for one that never arrives whole, and ends.
    config
        .set("millstream.partial.request.timeout.ms", "100")
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (stream, peer) = listener.accept().await.unwrap();
    let (_open, closing) = watch::channel(false);
    let mut connection = Connection::new(broker(config).await, stream, peer, closing).unwrap();

    let earlier = Bytes::from_static(b"earlier");
    let answer = Slot::Waiting(Box::pin(ready(vec![earlier.clone()])));
    connection.answers.push_back(answer);
    let request = encode_request(2, 7, Some("test"), &ApiVersionsRequest::default()).unwrap();
    connection.received.room().extend_from_slice(&request);
    let serving = tokio::spawn(connection.run());

    let mut first = vec![0; earlier.len()];
    client.read_exact(&mut first).await.unwrap();
    assert_eq!(first, earlier);
    let length = client
        .read_u32()
        .await
        .expect("the request is answered, the connection stays");
    let mut second = vec![0; length as usize];
    client.read_exact(&mut second).await.unwrap();
    let (number, response) = decode_response::<ApiVersionsRequest>(Bytes::from(second), 2).unwrap();
    assert_eq!((number, response.error_code), (7, 0));
    drop(client);
    serving.await.unwrap();
}
