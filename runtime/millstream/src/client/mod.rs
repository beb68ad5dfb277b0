//! A small Kafka client for the commands that talk to a node: one request at a time on each
//! connection. Must not know the command line. Read this file first, then `connection.rs`.

mod committed;
mod connection;
mod error;
mod fetcher;
mod offsets;
mod producer;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use millstream_wire::find_coordinator::FindCoordinatorRequest;
use millstream_wire::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use millstream_wire::{ErrorCode, Request};
use tokio::time::Instant;
use uuid::Uuid;

pub use committed::CommittedFilter;
use connection::Connection;
pub use error::ClientError;
pub use fetcher::{Chunk, Fetcher};
pub use offsets::{EARLIEST, LATEST, Offsets};
pub use producer::{NewHeaders, NewRecord, Producer, Written};

/// How long the client waits for a leader or coordinator before it gives up.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it waits before it asks again.
const PAUSE: Duration = Duration::from_millis(50);

/// Which records a reader sees; the number of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum Isolation {
    ReadUncommitted = 0,
    ReadCommitted = 1,
}

/// A topic as the node describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub name: String,
    pub id: Uuid,
    pub internal: bool,
    /// In the order of their index.
    pub partitions: Vec<Partition>,
}

/// A partition as the node describes it. Nodes are named by their id; -1 is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    pub index: i32,
    pub leader: i32,
    pub leader_epoch: i32,
    pub replicas: Vec<i32>,
    pub isr: Vec<i32>,
}

/// Connections to the nodes of one cluster.
#[derive(Debug)]
pub struct Client {
    /// The address that the user gave.
    bootstrap: String,
    /// The addresses that the nodes advertise.
    addresses: BTreeMap<i32, String>,
    connections: HashMap<String, Connection>,
}

/// Repeats a request that met a passing error until the client's patience ends.
#[derive(Debug)]
pub(crate) struct Patience(Instant);

impl Patience {
    pub fn new() -> Patience {
        Patience(Instant::now() + PATIENCE)
    }

    /// Waits a moment; false when it has lasted long enough.
    pub async fn wait(&self) -> bool {
        tokio::time::sleep(PAUSE).await;
        Instant::now() < self.0
    }
}

impl Client {
    /// Connects to the node at `bootstrap`, `HOST:PORT`.
    pub async fn connect(bootstrap: &str) -> Result<Client, ClientError> {
        let mut connections = HashMap::new();
        connections.insert(bootstrap.to_owned(), Connection::open(bootstrap).await?);
        Ok(Client {
            bootstrap: bootstrap.to_owned(),
            addresses: BTreeMap::new(),
            connections,
        })
    }

    /// Asks the node that the user named.
    pub async fn call<R: Request>(&mut self, request: &R) -> Result<R::Response, ClientError> {
        let address = self.bootstrap.clone();
        self.call_at(&address, request).await
    }

    /// Asks a node by its id, which must have come from the cluster's metadata.
    pub async fn call_node<R: Request>(
        &mut self,
        node: i32,
        request: &R,
    ) -> Result<R::Response, ClientError> {
        let Some(address) = self.addresses.get(&node).cloned() else {
            return Err(ClientError::UnknownNode { node });
        };
        self.call_at(&address, request).await
    }

    /// The ids of all nodes.
    pub fn nodes(&self) -> Vec<i32> {
        self.addresses.keys().copied().collect()
    }

    async fn call_at<R: Request>(
        &mut self,
        address: &str,
        request: &R,
    ) -> Result<R::Response, ClientError> {
        // A connection that failed, or whose request was abandoned, is out of step: only one that
        // answered is kept.
        let mut connection = match self.connections.remove(address) {
            Some(connection) => connection,
            None => Connection::open(address).await?,
        };
        let response = connection.call(request).await?;
        self.connections.insert(address.to_owned(), connection);
        Ok(response)
    }

    /// Describes some topics or, with `None`, all; learns the nodes' addresses. `create` lets the
    /// node create topics that are missing.
    pub async fn metadata(
        &mut self,
        topics: Option<&[String]>,
        create: bool,
    ) -> Result<MetadataResponse, ClientError> {
        let topics = topics.map(|names| {
            let topic = |name: &String| MetadataRequestTopic {
                name: Some(name.clone()),
                ..MetadataRequestTopic::default()
            };
            names.iter().map(topic).collect()
        });
        let request = MetadataRequest {
            topics,
            allow_auto_topic_creation: create,
            ..MetadataRequest::default()
        };
        let response = self.call(&request).await?;
        self.addresses = response
            .brokers
            .iter()
            .map(|broker| (broker.node_id, join_address(&broker.host, broker.port)))
            .collect();
        Ok(response)
    }

    /// All topics, in the order of their names.
    pub async fn topics(&mut self) -> Result<Vec<Topic>, ClientError> {
        let response = self.metadata(None, false).await?;
        let mut topics: Vec<Topic> = response.topics.into_iter().map(Topic::from).collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(topics)
    }

    /// One topic, once all its partitions have leaders.
    pub async fn topic(&mut self, name: &str, create: bool) -> Result<Topic, ClientError> {
        let names = [name.to_owned()];
        let patience = Patience::new();
        loop {
            let response = self.metadata(Some(&names), create).await?;
            let Some(topic) = response.topics.into_iter().next() else {
                return Err(ClientError::topic_not_found(name));
            };
            let code = ErrorCode::from_code(topic.error_code);
            let waiting = match code {
                ErrorCode::None => topic.partitions.iter().any(|p| p.leader_id < 0),
                ErrorCode::LeaderNotAvailable => true,
                ErrorCode::UnknownTopicOrPartition if create => true,
                ErrorCode::UnknownTopicOrPartition => {
                    return Err(ClientError::topic_not_found(name));
                }
                code => return Err(ClientError::refused(format!("topic {name:?}"), code)),
            };
            if !waiting {
                return Ok(topic.into());
            }
            if !patience.wait().await {
                return Err(ClientError::refused(
                    format!("topic {name:?}"),
                    ErrorCode::LeaderNotAvailable,
                ));
            }
        }
    }

    /// The node that coordinates a group. It can be asked by its id from then on.
    pub async fn coordinator(&mut self, group: &str) -> Result<i32, ClientError> {
        // Version 4 asks in a list, the versions before in fields of their own.
        let patience = Patience::new();
        loop {
            let batched = self.version::<FindCoordinatorRequest>().await? >= 4;
            let request = match batched {
                true => FindCoordinatorRequest {
                    coordinator_keys: vec![group.to_owned()],
                    ..FindCoordinatorRequest::default()
                },
                false => FindCoordinatorRequest {
                    key: group.to_owned(),
                    ..FindCoordinatorRequest::default()
                },
            };
            let response = self.call(&request).await?;
            let (code, node, host, port) = match response.coordinators.into_iter().next() {
                Some(found) => (found.error_code, found.node_id, found.host, found.port),
                None => (
                    response.error_code,
                    response.node_id,
                    response.host,
                    response.port,
                ),
            };
            match ErrorCode::from_code(code) {
                ErrorCode::None => {
                    self.addresses.insert(node, join_address(&host, port));
                    return Ok(node);
                }
                code if code.is_retriable() && patience.wait().await => {}
                code => {
                    let what = format!("looking for the coordinator of group {group:?}");
                    return Err(ClientError::refused(what, code));
                }
            }
        }
    }

    /// The version in which the node that the user named is asked.
    pub async fn version<R: Request>(&mut self) -> Result<i16, ClientError> {
        let address = self.bootstrap.clone();
        if !self.connections.contains_key(&address) {
            let connection = Connection::open(&address).await?;
            self.connections.insert(address.clone(), connection);
        }
        self.connections[&address].version::<R>()
    }
}

impl From<millstream_wire::metadata::MetadataResponseTopic> for Topic {
    fn from(topic: millstream_wire::metadata::MetadataResponseTopic) -> Topic {
        let mut partitions: Vec<Partition> = topic
            .partitions
            .into_iter()
            .map(|partition| Partition {
                index: partition.partition_index,
                leader: partition.leader_id,
                leader_epoch: partition.leader_epoch,
                replicas: partition.replica_nodes,
                isr: partition.isr_nodes,
            })
            .collect();
        partitions.sort_by_key(|partition| partition.index);
        Topic {
            name: topic.name.unwrap_or_default(),
            id: topic.topic_id,
            internal: topic.is_internal,
            partitions,
        }
    }
}

/// `HOST:PORT`, with brackets around an IPv6 address.
fn join_address(host: &str, port: i32) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}
