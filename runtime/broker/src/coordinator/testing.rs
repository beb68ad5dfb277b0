//! Coordinators over a real store, with the rest of the node left out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use millstream_log::testing::{ManualClock, SimFs};
use millstream_log::{FlushMode, LogConfig, LogId, LogStore, StoreOptions};
use millstream_wire::ErrorCode;
use parking_lot::Mutex;
use uuid::Uuid;

use super::{BoxFuture, LedLog, Ports, TopicPartition};
use crate::group::GroupCoordinator;
use crate::transaction::TransactionCoordinator;
use crate::{BrokerConfig, InternalTopic};

const LEADER_EPOCH: i32 = 3;
const PARTITIONS: i32 = 2;
pub(crate) const START_MS: i64 = 1_700_000_000_000;

/// A node of two topics' worth of facts.
pub(crate) struct TestPorts {
    store: Arc<LogStore>,
    topics: Mutex<BTreeMap<String, Uuid>>,
    next_topic_id: AtomicU64,
    sole_replica: bool,
    next_producer_id: AtomicI64,
    stage_groups: Mutex<BTreeSet<String>>,
}

impl Ports for TestPorts {
    fn led(&self, topic: &str, partition: i32) -> Result<LedLog, ErrorCode> {
        let known = self.topics.lock().get(topic).copied();
        let topic_id = known.ok_or(ErrorCode::UnknownTopicOrPartition)?;
        if !(0..PARTITIONS).contains(&partition) {
            return Err(ErrorCode::UnknownTopicOrPartition);
        }
        let id = LogId {
            topic_id,
            topic: topic.to_owned(),
            partition,
        };
        let log = self
            .store
            .create_log(id, LogConfig::default())
            .map_err(|_| ErrorCode::KafkaStorageError)?;
        Ok(LedLog {
            log,
            leader_epoch: LEADER_EPOCH,
            sole_replica: self.sole_replica,
        })
    }

    fn partition_count(&self, topic: InternalTopic) -> Option<i32> {
        let known = self.topics.lock().contains_key(topic.name());
        known.then_some(PARTITIONS)
    }

    fn ensure(&self, topic: InternalTopic) -> BoxFuture<'_, Result<i32, ErrorCode>> {
        self.add_topic(topic.name());
        Box::pin(async { Ok(PARTITIONS) })
    }

    fn topic_id(&self, topic: &str) -> Option<Uuid> {
        self.topics.lock().get(topic).copied()
    }

    fn has_partition(&self, partition: &TopicPartition) -> bool {
        self.topic_id(&partition.topic).is_some() && (0..PARTITIONS).contains(&partition.partition)
    }

    fn is_stage_group(&self, group: &str) -> bool {
        self.stage_groups.lock().contains(group)
    }

    fn next_producer_id(&self) -> BoxFuture<'_, Result<i64, ErrorCode>> {
        let id = self.next_producer_id.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move { Ok(id) })
    }
}

impl TestPorts {
    /// A stage with this group is deployed.
    pub(crate) fn deploy(&self, group: &str) {
        self.stage_groups.lock().insert(group.to_owned());
    }

    pub(crate) fn add_topic(&self, name: &str) {
        let next = || Uuid::from_u128(self.next_topic_id.fetch_add(1, Ordering::Relaxed).into());
        let mut topics = self.topics.lock();
        topics.entry(name.to_owned()).or_insert_with(next);
    }

    /// The topic is deleted from the metadata; its former id.
    pub(crate) fn remove_topic(&self, name: &str) -> Uuid {
        self.topics.lock().remove(name).unwrap()
    }
}

/// Both coordinators on a disk in memory, with a clock that stands.
pub(crate) struct TestNode {
    pub(crate) fs: SimFs,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) ports: Arc<TestPorts>,
    pub(crate) groups: Arc<GroupCoordinator>,
    pub(crate) transactions: Arc<TransactionCoordinator>,
}

impl TestNode {
    pub(crate) fn new(flush: FlushMode, sole_replica: bool) -> Self {
        let fs = SimFs::new(1);
        let clock = Arc::new(ManualClock::new(START_MS));
        let mut options = StoreOptions::new("/data", flush);
        options.fs = Arc::new(fs.clone());
        options.clock = Arc::clone(&clock) as _;
        let (store, _) = LogStore::open(options).unwrap();
        let ports = Arc::new(TestPorts {
            store,
            topics: Mutex::new(BTreeMap::new()),
            next_topic_id: AtomicU64::new(1),
            sole_replica,
            next_producer_id: AtomicI64::new(1_000),
            stage_groups: Mutex::new(BTreeSet::new()),
        });
        ports.add_topic("out");
        ports.add_topic("in");
        Self::over(fs, clock, ports)
    }

    fn over(fs: SimFs, clock: Arc<ManualClock>, ports: Arc<TestPorts>) -> Self {
        let config = BrokerConfig::default();
        let groups = GroupCoordinator::new(
            Arc::clone(&ports) as _,
            Arc::clone(&clock) as _,
            config.group_settings(),
        );
        let transactions = TransactionCoordinator::new(
            Arc::clone(&ports) as _,
            Arc::clone(&groups),
            Arc::clone(&clock) as _,
            config.transaction_settings(),
        );
        Self {
            fs,
            clock,
            ports,
            groups,
            transactions,
        }
    }

    /// New coordinators over the same logs: everything is read back.
    pub(crate) fn reloaded(self) -> Self {
        Self::over(self.fs, self.clock, self.ports)
    }

    /// Appended records of a partition, committed or not.
    pub(crate) fn log_end(&self, topic: &str, partition: i32) -> i64 {
        self.ports
            .led(topic, partition)
            .unwrap()
            .log
            .offsets()
            .log_end
    }
}
