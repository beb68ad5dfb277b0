//! Requests of the right form with values that no client sends: none makes the node panic, and each is answered or closes
//! its connection.

mod nasty;
mod requests;

use std::{
    panic,
    sync::{Mutex, Once},
    time::Duration,
};

use millstream_wire::{
    ApiKey, Request,
    api_versions::ApiVersionsRequest,
    create_topics::{CreatableTopic, CreateTopicsRequest},
    encode_request,
    init_producer_id::InitProducerIdRequest,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::support::{Node, PATIENCE, batch, values};

use nasty::Nasty;

/// Requests of each version of each API.
const ROUNDS: usize = 60;
/// How long an answer is waited for that may rightly wait: for a rebalance, or for new records.
const MOMENT: Duration = Duration::from_millis(15);

/// Panics of product code in this process.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Notes every panic whose place is not a test's source.
fn note_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let of_a_test = |file: &str| file.contains("/tests/");
            if !info.location().is_some_and(|at| of_a_test(at.file())) {
                PANICS.lock().unwrap().push(info.to_string());
            }
            before(info);
        }));
    });
}

fn panics() -> Vec<String> {
    PANICS.lock().unwrap().clone()
}

/// A node with something for every request to meet, and a connection to it.
struct Scene {
    node: Node,
    stream: TcpStream,
    nasty: Nasty,
    answered: usize,
    closed: usize,
}

impl Scene {
    async fn new() -> Scene {
        let node = Node::with(&[
            ("group.initial.rebalance.delay.ms", "0"),
            ("group.min.session.timeout.ms", "1"),
            ("offsets.topic.num.partitions", "2"),
            ("transaction.state.log.num.partitions", "2"),
        ])
        .await;
        let stream = TcpStream::connect(node.address).await.unwrap();
        let mut scene = Scene {
            node,
            stream,
            nasty: Nasty::new(1),
            answered: 0,
            closed: 0,
        };
        scene.furnish().await;
        scene
    }

    /// Topics with records, and producers of transactions. What an earlier request has removed is made again.
    async fn furnish(&mut self) {
        let mut client = self.node.client().await;
        let topics = ["t", "compacted"].map(|name| CreatableTopic {
            name: name.to_owned(),
            num_partitions: 2,
            replication_factor: 1,
            ..CreatableTopic::default()
        });
        let create = CreateTopicsRequest {
            topics: topics.to_vec(),
            ..CreateTopicsRequest::default()
        };
        client.call(5, &create).await;
        client.produce("t", 0, -1, batch(&["a", "b"])).await;
        for id in nasty::TRANSACTIONAL_IDS {
            let init = InitProducerIdRequest {
                transactional_id: Some(id.to_owned()),
                transaction_timeout_ms: 50,
                ..InitProducerIdRequest::default()
            };
            let response = client.call(4, &init).await;
            self.nasty
                .know_producer(response.producer_id, response.producer_epoch);
        }
    }

    /// Sends requests of an API in each of its versions.
    async fn attack<R: Request>(&mut self, make: fn(&mut Nasty, i16) -> R) {
        for version in R::API.valid_versions() {
            self.furnish().await;
            let mut sent = 0;
            for _ in 0..ROUNDS {
                let request = make(&mut self.nasty, version);
                // Not every version has a form for every value.
                if let Ok(frame) = encode_request(version, 1, None, &request) {
                    self.send(R::API, &frame).await;
                    sent += 1;
                }
                let panics = panics();
                assert!(
                    panics.is_empty(),
                    "{} version {version}: {panics:?}",
                    R::API
                );
            }
            assert!(
                sent > ROUNDS / 4,
                "{} version {version}: only {sent} requests could be sent",
                R::API
            );
        }
    }

    async fn send(&mut self, api: ApiKey, frame: &[u8]) {
        let may_wait = matches!(api, ApiKey::JoinGroup | ApiKey::SyncGroup | ApiKey::Fetch);
        let patience = if may_wait { MOMENT } else { PATIENCE };
        let exchange = async {
            self.stream.write_all(frame).await?;
            let length = self.stream.read_u32().await?;
            let mut answer = vec![0; length as usize];
            self.stream.read_exact(&mut answer).await
        };
        match timeout(patience, exchange).await {
            Ok(Ok(_)) => self.answered += 1,
            outcome => {
                assert!(
                    may_wait || outcome.is_ok(),
                    "{api} is neither answered nor closed: {frame:?}"
                );
                self.closed += 1;
                self.stream = TcpStream::connect(self.node.address).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn no_values_make_a_handler_panic() {
    note_panics();
    let mut scene = Scene::new().await;
    let attacked = requests::attack_every_api(&mut scene).await;
    assert_eq!(attacked, ApiKey::ALL);
    assert!(
        scene.answered > scene.closed,
        "most requests have an answer"
    );
    // Time-outs come due too.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut client = scene.node.client().await;
    let api_versions = ApiVersionsRequest {
        client_software_name: "test".to_owned(),
        client_software_version: "1".to_owned(),
    };
    client.call(3, &api_versions).await;
    // Some settings of the node are nasty by now.
    let own = [
        ("max.message.bytes", "1000000"),
        ("min.insync.replicas", "1"),
    ];
    client.create("afterwards", 1, &own).await;
    let produced = client.produce("afterwards", 0, 1, batch(&["x"])).await;
    assert_eq!(produced.error_code, 0, "{:?}", produced.error_message);
    let node = scene.node.restart().await;
    let mut client = node.client().await;
    assert_eq!(values(&client.fetch("afterwards", 0, 0).await), ["x"]);
    assert_eq!(panics(), [""; 0]);
}
