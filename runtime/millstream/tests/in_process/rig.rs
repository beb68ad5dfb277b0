//! The node under test: what `Node` puts together, without its listeners.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use millstream::engine::LocalEngine;
use millstream_broker::{Broker, BrokerConfig, Local, LocalPartition};
use millstream_cluster::{ClusterMetadata, NodeIdentity, metadata_log};
use millstream_log::{Isolation, LogStore, RecoveryReport, StoreOptions};
use millstream_pipeline::manifest::Manifest;
use millstream_pipeline::plan::{Plan, PluginFacts, TopicFacts};
use millstream_pipeline::ports::{Engine, PortError, TaskId, TopicRef};
use millstream_records::{BatchView, ControlRecord, Marker, Record, batches};
use tokio::time::Instant;

use crate::effects::{ByPlace, Outputs, Seen};

/// Nothing in these tests takes longer, unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Records as the oracle takes them, with their offsets.
pub type InFull = ByPlace<(i64, millstream_oracle::Record)>;

/// A node in process.
pub struct Rig {
    pub store: Arc<LogStore>,
    pub broker: Arc<Broker>,
    pub local: Local,
    pub engine: LocalEngine,
    /// What the store said when it was opened.
    pub report: RecoveryReport,
}

impl Rig {
    /// Recovers the store and starts the rest over it; the error is what the node would say.
    pub async fn over(options: StoreOptions) -> Result<Rig, String> {
        let options = StoreOptions {
            metadata_log: Some(metadata_log()),
            ..options
        };
        let (store, report) = LogStore::open(options).map_err(|error| error.to_string())?;
        let identity = NodeIdentity {
            node_id: 1,
            host: "localhost".to_owned(),
            port: 9092,
        };
        let cluster = ClusterMetadata::open(&store, identity)
            .await
            .map_err(|error| error.to_string())?;
        let mut config = BrokerConfig::default();
        for name in [
            "offsets.topic.num.partitions",
            "transaction.state.log.num.partitions",
        ] {
            config.set(name, "2").map_err(|error| error.to_string())?;
        }
        let broker = Broker::start(config, Arc::clone(&store), cluster)
            .await
            .map_err(|error| error.to_string())?;
        Ok(Rig {
            local: broker.local(),
            engine: LocalEngine::new(&broker),
            broker,
            store,
            report,
        })
    }

    /// A clean stop.
    pub async fn close(self) {
        self.broker.shutdown(PATIENCE).await;
        self.store.close().await.unwrap();
    }

    pub async fn create_topic(&self, name: &str, partitions: i32) -> Result<(), String> {
        let created = self.local.ensure_topic(name, Some(partitions), &[]).await;
        created.map(drop).map_err(|failure| failure.message)
    }

    /// A topic that is there.
    pub fn topic<'t>(&self, name: &'t str) -> TopicRef<'t> {
        let id = self.local.topic(name).expect("it was created").id;
        TopicRef { name, id }
    }

    pub fn partition(&self, topic: &str, partition: i32) -> Result<LocalPartition, String> {
        let found = self.local.partition(topic, partition);
        found.map_err(|code| format!("{topic}-{partition}: {code}"))
    }

    /// What `read_committed` readers see in these topics; nothing where there is no such topic yet.
    pub fn committed(&self, topics: &[&str]) -> Result<Outputs, String> {
        let mut outputs = Outputs::new();
        for topic in topics {
            let Some(info) = self.local.topic(topic) else {
                continue;
            };
            for index in 0..info.partitions {
                let text =
                    |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or(b"-")).into();
                let mut records = Vec::new();
                read_committed(&self.partition(topic, index)?, |record| {
                    records.push(Seen {
                        offset: record.offset,
                        timestamp: record.timestamp,
                        key: text(record.key),
                        value: text(record.value),
                    });
                })?;
                outputs.insert(((*topic).to_owned(), index), records);
            }
        }
        Ok(outputs)
    }

    /// The same in full, as the oracle takes it, with offsets.
    pub fn committed_in_full(&self, topics: &[&str]) -> Result<InFull, String> {
        let mut found = InFull::new();
        for topic in topics {
            let partitions = self.local.topic(topic).map_or(0, |info| info.partitions);
            for index in 0..partitions {
                let mut records = Vec::new();
                read_committed(&self.partition(topic, index)?, |record| {
                    let headers = record.headers.iter();
                    let record_in_full = millstream_oracle::Record {
                        topic: (*topic).to_owned(),
                        partition: index,
                        key: record.key.map(<[u8]>::to_vec),
                        value: record.value.map(<[u8]>::to_vec),
                        headers: headers
                            .map(|(name, value)| (name.to_vec(), value.map(<[u8]>::to_vec)))
                            .collect(),
                        timestamp: record.timestamp,
                    };
                    records.push((record.offset, record_in_full));
                })?;
                found.insert(((*topic).to_owned(), index), records);
            }
        }
        Ok(found)
    }

    /// Whether a transaction is open in one of these topics.
    pub fn has_open_transaction(&self, topics: &[&str]) -> Result<bool, String> {
        for topic in topics {
            let partitions = self.local.topic(topic).map_or(0, |info| info.partitions);
            for index in 0..partitions {
                let offsets = self.partition(topic, index)?.offsets();
                if offsets.appended_last_stable < offsets.log_end {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Takes these tasks over, as the pipeline's start does: what their forerunners left is carried out or aborted.
    pub async fn settle(&self, tasks: &[TaskId]) -> Result<(), String> {
        for task in tasks {
            let until = Instant::now() + PATIENCE;
            loop {
                match self.engine.acquire_task(task, None).await {
                    Ok(_) => break,
                    Err(PortError::NotLeader { .. }) if Instant::now() < until => {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                    Err(error) => return Err(error.to_string()),
                }
            }
        }
        Ok(())
    }

    /// The committed offset of a group in each partition of a topic; 0 where nothing is committed.
    pub async fn positions(
        &self,
        group: &str,
        topic: &str,
        partitions: i32,
    ) -> Result<Vec<i64>, String> {
        let asked: Vec<_> = (0..partitions)
            .map(|index| (topic.to_owned(), index))
            .collect();
        let offsets = self.engine.committed(group, &asked).await;
        let offsets = offsets.map_err(|error| error.to_string())?;
        Ok(offsets
            .into_iter()
            .map(|offset| offset.unwrap_or(0))
            .collect())
    }
}

/// Reads a partition from its start to its last stable offset as Kafka's consumers do: by the list of aborted
/// transactions. Every batch is validated.
fn read_committed(
    partition: &LocalPartition,
    mut see: impl FnMut(&Record<'_>),
) -> Result<(), String> {
    let offsets = partition.offsets();
    let mut offset = offsets.log_start;
    while offset < offsets.last_stable {
        let read = partition
            .read(offset, 64 << 10, Isolation::Committed)
            .map_err(|code| format!("read at {offset}: {code}"))?;
        if read.bytes.is_empty() {
            return Err(format!("nothing at {offset}, below the last stable offset"));
        }
        let mut ahead: Vec<(i64, i64)> = read
            .aborted
            .iter()
            .map(|aborted| (aborted.first_offset, aborted.producer_id))
            .collect();
        let mut aborting: Vec<i64> = Vec::new();
        for batch in batches(&read.bytes) {
            let batch = batch.map_err(|error| error.to_string())?;
            batch.validate(1 << 24).map_err(|error| error.to_string())?;
            let header = batch.header();
            ahead.retain(|(first, producer)| {
                let begins = *first <= header.last_offset();
                if begins {
                    aborting.push(*producer);
                }
                !begins
            });
            if header.is_control() {
                if marker_of(&batch)? == Some(Marker::Abort) {
                    aborting.retain(|producer| *producer != header.producer_id);
                }
            } else if !(header.is_transactional() && aborting.contains(&header.producer_id)) {
                see_records(&batch, offset, &mut see)?;
            }
            offset = header.next_offset();
        }
    }
    Ok(())
}

fn marker_of(batch: &BatchView<'_>) -> Result<Option<Marker>, String> {
    let records = batch.records(1 << 10).map_err(|error| error.to_string())?;
    let first = records.iter().next().ok_or("an empty control batch")?;
    let first = first.map_err(|error| error.to_string())?;
    let control = ControlRecord::parse(&first).map_err(|error| error.to_string())?;
    Ok(control.marker())
}

fn see_records(
    batch: &BatchView<'_>,
    from: i64,
    see: &mut impl FnMut(&Record<'_>),
) -> Result<(), String> {
    let records = batch.records(1 << 24).map_err(|error| error.to_string())?;
    for record in records.iter() {
        let record = record.map_err(|error| error.to_string())?;
        if record.offset >= from {
            see(&record);
        }
    }
    Ok(())
}

/// The plan of a pipeline `p` with one stage `route`, whose plugin has these outputs.
pub async fn plan(body: &str, outputs: &[&str], engine: &LocalEngine) -> Result<Plan, String> {
    plan_as("p", body, outputs, engine).await
}

/// The same for one of its incarnations.
pub async fn plan_as(
    pipeline_id: &str,
    body: &str,
    outputs: &[&str],
    engine: &LocalEngine,
) -> Result<Plan, String> {
    let text = format!("manifest = 1\npipeline = \"p\"\n{body}");
    let (manifest, report) = Manifest::read_text(Path::new("p.toml"), text);
    assert!(report.is_empty(), "{report}");
    let manifest = manifest.unwrap();
    let facts = PluginFacts {
        name: "route".to_owned(),
        version: "0.1.0".to_owned(),
        inputs: vec!["in".to_owned()],
        outputs: outputs.iter().map(ToString::to_string).collect(),
        config_schema: None,
    };
    let mut existing = BTreeMap::new();
    for topic in ["in", "dead"].iter().chain(outputs) {
        let found = engine.topic(topic).await;
        if let Some(info) = found.map_err(|error| error.to_string())? {
            existing.insert((*topic).to_owned(), info);
        }
    }
    let topics = TopicFacts {
        existing,
        default_partitions: 1,
        defaults: BTreeMap::new(),
    };
    let plugins = BTreeMap::from([("route".to_owned(), facts)]);
    let plan = Plan::new(&manifest, &plugins, &topics, pipeline_id);
    Ok(plan.unwrap_or_else(|report| panic!("{report}")))
}
