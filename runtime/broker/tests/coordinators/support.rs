//! A node without sockets, and a stage's transaction on it.

use std::{path::Path, sync::Arc, time::Duration};

use millstream_broker::{
    Broker, BrokerConfig, Local, MemberStamp, OffsetCommit, SyntheticMember, TopicPartition,
    TransactionalProducer,
};
use millstream_cluster::{ClusterMetadata, NodeIdentity};
use millstream_log::{FlushMode, Isolation, LogStore, StoreError, StoreOptions};
use millstream_records::{
    BatchBuilder, BatchOptions, ControlRecord, Marker, ProducerStamp, batches,
};
use millstream_wire::ErrorCode;
use uuid::Uuid;

pub const MODES: [FlushMode; 2] = [FlushMode::Journal, FlushMode::Os];
pub const GROUP: &str = "millstream.p.clean";
pub const MEMBER: &str = "clean-0";
pub const ID: &str = "p/clean/0";
pub const TIMEOUT_MS: i32 = 60_000;
/// Nothing in these tests takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Node {
    pub broker: Arc<Broker>,
    pub store: Arc<LogStore>,
    pub local: Local,
}

impl Node {
    pub async fn open(dir: &Path, flush: FlushMode) -> Node {
        Node::with(dir, flush, &[]).await
    }

    /// A node with these settings. The lock of one that was just dropped may be held for a moment by a task of it.
    pub async fn with(dir: &Path, flush: FlushMode, settings: &[(&str, &str)]) -> Node {
        let store = eventually(|| match LogStore::open(StoreOptions::new(dir, flush)) {
            Ok((store, _)) => Some(store),
            Err(StoreError::Locked { .. }) => None,
            Err(error) => panic!("{error}"),
        })
        .await;
        let mut config = BrokerConfig::default();
        for (name, value) in settings {
            config.set(name, value).unwrap();
        }
        Node::start(config, store).await.unwrap()
    }

    /// A node over a store that is open already.
    pub async fn over(store: Arc<LogStore>) -> Node {
        Node::try_over(store).await.unwrap()
    }

    /// The same, when the store may fail meanwhile.
    pub async fn try_over(store: Arc<LogStore>) -> Result<Node, String> {
        Node::over_with(store, &[]).await
    }

    /// The same, with these settings.
    pub async fn over_with(
        store: Arc<LogStore>,
        settings: &[(&str, &str)],
    ) -> Result<Node, String> {
        let mut config = BrokerConfig::default();
        // A disk in memory makes no use of many partitions.
        for name in [
            "offsets.topic.num.partitions",
            "transaction.state.log.num.partitions",
        ] {
            config.set(name, "2").unwrap();
        }
        for (name, value) in settings {
            config.set(name, value).unwrap();
        }
        Node::start(config, store).await
    }

    async fn start(config: BrokerConfig, store: Arc<LogStore>) -> Result<Node, String> {
        let identity = NodeIdentity {
            node_id: 1,
            host: "localhost".to_owned(),
            port: 9092,
        };
        let cluster = ClusterMetadata::open(&store, identity)
            .await
            .map_err(|error| error.to_string())?;
        let broker = Broker::start(config, Arc::clone(&store), cluster)
            .await
            .map_err(|error| error.to_string())?;
        let local = broker.local();
        for (name, partitions) in [("in", 1), ("out", 2)] {
            local
                .ensure_topic(name, Some(partitions), &[])
                .await
                .map_err(|failure| failure.message)?;
        }
        Ok(Node {
            broker,
            store,
            local,
        })
    }

    /// A clean stop.
    pub async fn close(self) {
        self.broker.shutdown(PATIENCE).await;
        self.store.close().await.unwrap();
    }

    /// The stage's task takes its group and its producer.
    pub async fn task(&self, generation: i32) -> Task {
        self.try_task(generation).await.unwrap()
    }

    /// The same, when the store may fail meanwhile.
    pub async fn try_task(&self, generation: i32) -> Result<Task, ErrorCode> {
        self.try_task_in(GROUP, generation).await
    }

    /// The same, of a stage with another group.
    pub async fn try_task_in(
        &self,
        group: &'static str,
        generation: i32,
    ) -> Result<Task, ErrorCode> {
        let member = SyntheticMember {
            member_id: MEMBER.to_owned(),
            client_id: ID.to_owned(),
            generation,
            partitions: vec![TopicPartition::new("in", 0)],
        };
        self.local.hold_group(group, &[member]).await?;
        let (id, epoch) = self.local.init_producer_id(ID, TIMEOUT_MS).await?;
        let task = Task::new(self.local.clone(), ID, id, epoch, generation);
        Ok(task.in_group(group))
    }

    /// A task with a producer that it has already.
    pub fn task_of(&self, id: i64, epoch: i16) -> Task {
        Task::new(self.local.clone(), ID, id, epoch, 1)
    }

    /// What a `read_committed` reader sees in a partition of `out`.
    pub fn committed(&self, partition: i32) -> Vec<String> {
        let partition = self.local.partition("out", partition).unwrap();
        let mut offset = partition.offsets().log_start;
        let mut open: Vec<(i64, String)> = Vec::new();
        let mut values = Vec::new();
        while offset < partition.offsets().last_stable {
            let read = partition
                .read(offset, 1 << 20, Isolation::Committed)
                .unwrap();
            for batch in batches(&read.bytes) {
                let batch = batch.unwrap();
                let producer = batch.header().producer_id;
                for record in batch.records(1 << 20).unwrap().iter() {
                    let record = record.unwrap();
                    if !batch.header().is_control() {
                        let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
                        open.push((producer, value));
                        continue;
                    }
                    let commit =
                        ControlRecord::parse(&record).unwrap().marker() == Some(Marker::Commit);
                    open.retain(|(of, value)| {
                        let ended = *of == producer;
                        if ended && commit {
                            values.push(value.clone());
                        }
                        !ended
                    });
                }
                offset = batch.header().next_offset();
            }
        }
        assert!(open.is_empty(), "data below the last stable offset is open");
        values
    }

    /// Whether a transaction is open in a partition of `out`.
    pub fn is_open(&self, partition: i32) -> bool {
        let offsets = self.local.partition("out", partition).unwrap().offsets();
        offsets.last_stable < offsets.high_watermark
    }

    /// The committed position in the input.
    pub async fn position(&self) -> Result<Option<i64>, ErrorCode> {
        self.position_in(GROUP).await
    }

    /// The same of another stage's group.
    pub async fn position_in(&self, group: &str) -> Result<Option<i64>, ErrorCode> {
        let fetched = self
            .local
            .fetch_offsets(group, &[TopicPartition::new("in", 0)], true)
            .await
            .unwrap();
        fetched[0]
            .1
            .clone()
            .map(|committed| committed.map(|committed| committed.offset))
    }
}

/// A stage's task: the producer of one transactional id.
pub struct Task {
    local: Local,
    name: String,
    group: &'static str,
    pub id: i64,
    pub epoch: i16,
    sequence: [i32; 2],
    pub generation: i32,
}

impl Task {
    pub fn new(local: Local, name: &str, id: i64, epoch: i16, generation: i32) -> Task {
        Task {
            local,
            name: name.to_owned(),
            group: GROUP,
            id,
            epoch,
            sequence: [0, 0],
            generation,
        }
    }

    pub fn producer(&self) -> TransactionalProducer<'_> {
        self.local
            .transactional_producer(&self.name, self.id, self.epoch)
    }

    /// The same with its positions in another group.
    pub fn in_group(self, group: &'static str) -> Task {
        Task { group, ..self }
    }

    pub async fn begin(&self) -> Result<(), ErrorCode> {
        let partitions = [TopicPartition::new("out", 0), TopicPartition::new("out", 1)];
        self.producer().add_partitions(&partitions).await
    }

    pub async fn append(&mut self, partition: i32, value: &str) -> Result<(), ErrorCode> {
        let sequence = &mut self.sequence[usize::try_from(partition).unwrap()];
        let mut builder = BatchBuilder::new(BatchOptions {
            producer: Some(ProducerStamp {
                id: self.id,
                epoch: self.epoch,
                base_sequence: *sequence,
            }),
            transactional: true,
            ..BatchOptions::default()
        });
        let now_ms = now_ms();
        builder
            .append(now_ms, None, Some(value.as_bytes()), [])
            .unwrap();
        let mut batch = builder.build().unwrap();
        self.local
            .append(
                Some(&self.name),
                &topic_id(&self.local, "out"),
                partition,
                &mut batch,
                Duration::from_millis(5),
            )
            .await?;
        *sequence += 1;
        Ok(())
    }

    pub async fn offsets(&self, position: i64) -> Result<(), ErrorCode> {
        self.offsets_as(self.generation, position).await
    }

    pub async fn offsets_as(&self, generation: i32, position: i64) -> Result<(), ErrorCode> {
        self.producer().add_offsets(self.group).await?;
        let member = MemberStamp {
            member_id: MEMBER.to_owned(),
            generation,
        };
        let offset = OffsetCommit {
            partition: TopicPartition::new("in", 0),
            topic_id: topic_id(&self.local, "in"),
            offset: position,
            leader_epoch: -1,
            metadata: String::new(),
        };
        self.producer()
            .commit_offsets(self.group, &member, &[offset])
            .await
    }

    pub async fn end(&self, commit: bool) -> Result<(), ErrorCode> {
        self.producer().end(commit).await
    }

    /// One whole transaction: a record to both partitions, and the position.
    pub async fn transact(&mut self, value: &str, position: i64) -> Result<(), ErrorCode> {
        self.begin().await?;
        self.append(0, value).await?;
        self.append(1, value).await?;
        self.offsets(position).await?;
        self.end(true).await
    }
}

/// The id of the topic of that name; nil when there is none.
pub fn topic_id(local: &Local, name: &str) -> Uuid {
    local.topic(name).map(|topic| topic.id).unwrap_or_default()
}

/// Waits until there is something.
pub async fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(tokio::time::Instant::now() < until, "it never came");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub fn now_ms() -> i64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// Waits until it is so.
pub async fn eventually_async(mut look: impl AsyncFnMut() -> bool) {
    let until = tokio::time::Instant::now() + PATIENCE;
    while !look().await {
        assert!(tokio::time::Instant::now() < until, "it never came");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
