//! A node in a temporary directory, and a client that speaks to it byte by byte.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use millstream_broker::{Broker, BrokerConfig, ListenerHandle};
use millstream_cluster::{ClusterMetadata, NodeIdentity};
use millstream_log::{FlushMode, LogStore, StoreOptions, testing::SimFs};
use millstream_records::{BatchBuilder, BatchOptions, Compression, ProducerStamp};
use millstream_wire::{
    ErrorCode, Request, RequestHeader,
    create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest},
    decode_response, encode_request,
    fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData},
    join_group::{JoinGroupRequest, JoinGroupRequestProtocol},
    produce::{PartitionProduceData, PartitionProduceResponse, ProduceRequest, TopicProduceData},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Nothing in these tests takes longer, unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Node {
    pub broker: Arc<Broker>,
    pub store: Arc<LogStore>,
    pub cluster: Arc<ClusterMetadata>,
    pub address: std::net::SocketAddr,
    pub listener: ListenerHandle,
    pub disk: Disk,
}

/// Where a node keeps its files.
pub enum Disk {
    Real(TempDir),
    /// In memory, under this path.
    Simulated(SimFs),
}

/// The data directory on a simulated disk.
pub const SIMULATED_DIR: &str = "/data";

impl Disk {
    fn options(&self, flush: FlushMode) -> StoreOptions {
        match self {
            Disk::Real(dir) => StoreOptions::new(dir.path(), flush),
            Disk::Simulated(fs) => StoreOptions {
                fs: Arc::new(fs.clone()),
                ..StoreOptions::new(SIMULATED_DIR, flush)
            },
        }
    }
}

impl Node {
    pub async fn start() -> Node {
        Node::with(&[]).await
    }

    /// A node with these settings.
    pub async fn with(settings: &[(&str, &str)]) -> Node {
        Node::open(
            Disk::Real(tempfile::tempdir().unwrap()),
            FlushMode::Journal,
            settings,
        )
        .await
    }

    /// A durable node on a simulated disk.
    pub async fn simulated(fs: &SimFs) -> Node {
        Node::open(Disk::Simulated(fs.clone()), FlushMode::Journal, &[]).await
    }

    pub async fn open(disk: Disk, flush: FlushMode, settings: &[(&str, &str)]) -> Node {
        let options = disk.options(flush);
        Node::on(disk, options, settings).await
    }

    pub async fn on(disk: Disk, options: StoreOptions, settings: &[(&str, &str)]) -> Node {
        let mut config = BrokerConfig::default();
        for (name, value) in settings {
            config.set(name, value).unwrap();
        }
        let (store, _) = LogStore::open(config.store_options(options)).unwrap();
        let identity = NodeIdentity {
            node_id: 1,
            host: "localhost".to_owned(),
            port: 9092,
        };
        let cluster = ClusterMetadata::open(&store, identity).await.unwrap();
        let broker = Broker::start(config, Arc::clone(&store), Arc::clone(&cluster))
            .await
            .unwrap();
        let listener = broker.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        Node {
            broker,
            store,
            cluster,
            address: listener.local_addr,
            listener,
            disk,
        }
    }

    /// Stops the node and starts it again on the same directory.
    pub async fn restart(self) -> Node {
        self.broker.shutdown(PATIENCE).await;
        self.store.close().await.unwrap();
        let flush = self.store.flush_mode();
        drop((self.broker, self.cluster, self.store));
        Node::open(self.disk, flush, &[]).await
    }

    /// The directory on a real disk.
    pub fn dir(&self) -> &std::path::Path {
        match &self.disk {
            Disk::Real(dir) => dir.path(),
            Disk::Simulated(_) => panic!("a simulated disk has no real directory"),
        }
    }

    pub async fn client(&self) -> Client {
        Client {
            stream: TcpStream::connect(self.address).await.unwrap(),
            correlation_id: 0,
        }
    }
}

pub struct Client {
    pub stream: TcpStream,
    correlation_id: i32,
}

impl Client {
    /// Sends a request and waits for its answer.
    pub async fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        let sent = self.send(version, request).await;
        let (received, response) = self.receive::<R>(version).await;
        assert_eq!(received, sent, "answers come in order");
        response
    }

    /// Sends a request and returns its correlation id.
    pub async fn send<R: Request>(&mut self, version: i16, request: &R) -> i32 {
        self.correlation_id += 1;
        let frame = encode_request(version, self.correlation_id, Some("test"), request).unwrap();
        self.stream.write_all(&frame).await.unwrap();
        self.correlation_id
    }

    pub async fn receive<R: Request>(&mut self, version: i16) -> (i32, R::Response) {
        decode_response::<R>(self.frame().await, version).unwrap()
    }

    pub async fn frame(&mut self) -> Bytes {
        let read = async {
            let length = self.stream.read_u32().await.unwrap();
            let mut frame = vec![0; length as usize];
            self.stream.read_exact(&mut frame).await.unwrap();
            Bytes::from(frame)
        };
        timeout(PATIENCE, read)
            .await
            .expect("an answer comes in time")
    }

    /// Sends bytes as they are.
    pub async fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Waits until the node closes the connection; nothing may come before that.
    pub async fn assert_closed(&mut self) {
        let mut rest = Vec::new();
        let read = timeout(PATIENCE, self.stream.read_to_end(&mut rest))
            .await
            .expect("the connection is closed");
        // A reset is a close too: the node may close before it has read everything.
        if read.is_ok() {
            assert!(rest.is_empty(), "{} unexpected bytes", rest.len());
        }
    }

    pub async fn create(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) {
        let configs = configs.iter().map(|(name, value)| CreatableTopicConfig {
            name: (*name).to_owned(),
            value: Some((*value).to_owned()),
        });
        let topic = CreatableTopic {
            name: name.to_owned(),
            num_partitions: partitions,
            replication_factor: 1,
            configs: configs.collect(),
            ..CreatableTopic::default()
        };
        let request = CreateTopicsRequest {
            topics: vec![topic],
            ..CreateTopicsRequest::default()
        };
        let response = self.call(5, &request).await;
        assert_eq!(
            response.topics[0].error_code, 0,
            "{:?}",
            response.topics[0].error_message
        );
    }

    /// Produces one record set to one partition.
    pub async fn produce(
        &mut self,
        topic: &str,
        index: i32,
        acks: i16,
        records: Vec<u8>,
    ) -> PartitionProduceResponse {
        let response = self
            .call(9, &produce_request(topic, index, acks, records))
            .await;
        response.responses[0].partition_responses[0].clone()
    }

    /// Fetches one partition, without waiting.
    pub async fn fetch(&mut self, topic: &str, index: i32, offset: i64) -> PartitionData {
        let response = self.call(11, &fetch_request(topic, index, offset)).await;
        only(response)
    }
}

pub fn produce_request(topic: &str, index: i32, acks: i16, records: Vec<u8>) -> ProduceRequest {
    let data = PartitionProduceData {
        index,
        records: Some(Bytes::from(records)),
    };
    ProduceRequest {
        acks,
        timeout_ms: 10_000,
        topic_data: vec![TopicProduceData {
            name: topic.to_owned(),
            partition_data: vec![data],
        }],
        ..ProduceRequest::default()
    }
}

pub fn fetch_request(topic: &str, index: i32, offset: i64) -> FetchRequest {
    let partition = FetchPartition {
        partition: index,
        fetch_offset: offset,
        partition_max_bytes: 1 << 20,
        ..FetchPartition::default()
    };
    FetchRequest {
        max_wait_ms: 0,
        min_bytes: 1,
        max_bytes: 1 << 24,
        topics: vec![FetchTopic {
            topic: topic.to_owned(),
            partitions: vec![partition],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    }
}

pub fn join_request(group: &str, member_id: &str) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: group.to_owned(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        member_id: member_id.to_owned(),
        protocol_type: "consumer".to_owned(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".to_owned(),
            metadata: Bytes::from_static(b"flights"),
        }],
        ..JoinGroupRequest::default()
    }
}

pub fn only(response: FetchResponse) -> PartitionData {
    assert_eq!(response.error_code, 0);
    assert_eq!(response.session_id, 0);
    response.responses[0].partitions[0].clone()
}

pub struct BatchSpec {
    pub compression: Compression,
    pub producer: Option<ProducerStamp>,
    pub transactional: bool,
    pub timestamp: i64,
}

impl Default for BatchSpec {
    fn default() -> BatchSpec {
        BatchSpec {
            compression: Compression::None,
            producer: None,
            transactional: false,
            timestamp: now_ms(),
        }
    }
}

pub fn now_ms() -> i64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// A batch with these values, keyed by their number.
pub fn batch_of(values: &[&str], spec: &BatchSpec) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions {
        compression: spec.compression,
        producer: spec.producer,
        transactional: spec.transactional,
        ..BatchOptions::default()
    });
    for (number, value) in values.iter().enumerate() {
        let key = number.to_string();
        builder
            .append(
                spec.timestamp,
                Some(key.as_bytes()),
                Some(value.as_bytes()),
                [],
            )
            .unwrap();
    }
    builder.build().unwrap()
}

pub fn batch(values: &[&str]) -> Vec<u8> {
    batch_of(values, &BatchSpec::default())
}

/// Gives a batch whose bytes were changed the checksum of what it has become.
pub fn reseal(batch: &mut [u8]) {
    let crc = crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
}

/// CRC-32C bit by bit, independent of the code under test.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 {
                (crc >> 1) ^ 0x82f6_3b78
            } else {
                crc >> 1
            }
        })
    })
}

/// Offsets and values of fetched records.
pub fn records(data: &PartitionData) -> Vec<(i64, String)> {
    let bytes = data.records.clone().unwrap_or_default();
    let mut found = Vec::new();
    for batch in millstream_records::batches(&bytes) {
        let batch = batch.unwrap();
        batch.verify_crc().unwrap();
        for record in batch.records(1 << 20).unwrap().iter() {
            let record = record.unwrap();
            found.push((
                record.offset,
                String::from_utf8(record.value.unwrap().to_vec()).unwrap(),
            ));
        }
    }
    found
}

pub fn values(data: &PartitionData) -> Vec<String> {
    records(data).into_iter().map(|(_, value)| value).collect()
}

#[track_caller]
pub fn assert_code(found: i16, expected: ErrorCode) {
    assert_eq!(
        found,
        expected.code(),
        "{:?} instead of {expected:?}",
        ErrorCode::try_from(found)
    );
}

/// A request's frame without its length, for tests that spoil it.
pub fn frame_of(api_key: i16, api_version: i16, body: &[u8]) -> Vec<u8> {
    let header = RequestHeader {
        api_key,
        api_version,
        correlation_id: 7,
        client_id: None,
    };
    let mut bytes = BytesMut::new();
    header.encode(&mut bytes).unwrap();
    bytes.extend_from_slice(body);
    let mut frame = u32::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
    frame.extend_from_slice(&bytes);
    frame
}
