//! A node whose clock and disk a test holds, and what observations have in common.

use std::{future::Future, path::Path, pin::Pin, sync::Arc, time::Duration};

use millstream_broker::ConfigSource;
use millstream_cluster::MetadataRecord;
use millstream_log::{
    FlushMode, StoreOptions,
    fs::{FileSystem, OpenMode},
    testing::{ManualClock, SimFs},
};
use millstream_records::{Compression, TimestampType};
use millstream_wire::{
    ErrorCode,
    create_topics::{CreatableTopic, CreateTopicsRequest},
    describe_configs::{
        DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
    },
    incremental_alter_configs::{
        AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
    },
    metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponseTopic},
};

use crate::support::{BatchSpec, Client, Disk, Node, SIMULATED_DIR, batch_of, now_ms};

/// How long an observation waits for something that should not happen.
pub const MOMENT: Duration = Duration::from_secs(1);

pub const TOPIC: i8 = 2;
pub const NODE: i8 = 4;

/// How a setting's effect is seen: a look at the node, put into words.
pub type Observe = for<'a> fn(&'a mut Scene) -> Pin<Box<dyn Future<Output = String> + 'a>>;

/// One setting's proof.
pub struct Row {
    /// The topic setting's name, or the first name of a setting of the node.
    pub setting: &'static str,
    pub value: &'static str,
    /// Settings of the node that the observation needs.
    pub with: &'static [(&'static str, &'static str)],
    /// What is seen with the default.
    pub before: &'static str,
    /// What is seen with the value.
    pub after: &'static str,
    pub observe: Observe,
}

/// Declares rows: `"setting" = "value": "before" => "after", with [...], |scene| ...`.
macro_rules! rows {
    ($($setting:literal = $value:literal: $before:literal => $after:literal, $(with $with:expr,)?
        |$scene:ident| $observe:expr;)*) => {
        vec![$($crate::settings::scene::Row {
            setting: $setting,
            value: $value,
            with: $crate::settings::scene::rows!(@with $($with)?),
            before: $before,
            after: $after,
            observe: |$scene| Box::pin(async move { $observe }),
        }),*]
    };
    (@with) => { &[] };
    (@with $with:expr) => { &$with };
}
pub(super) use rows;

pub struct Scene {
    pub node: Node,
    pub client: Client,
    pub clock: Arc<ManualClock>,
    pub fs: SimFs,
    topics: u32,
}

impl Scene {
    pub async fn start(settings: &[(&str, &str)]) -> Scene {
        let clock = Arc::new(ManualClock::new(now_ms()));
        let fs = SimFs::new(1);
        let options = StoreOptions {
            fs: Arc::new(fs.clone()),
            clock: clock.clone(),
            ..StoreOptions::new(SIMULATED_DIR, FlushMode::Journal)
        };
        let node = Node::on(Disk::Simulated(fs.clone()), options, settings).await;
        let client = node.client().await;
        Scene {
            node,
            client,
            clock,
            fs,
            topics: 0,
        }
    }

    /// Makes sure of the topic `t`, which takes all settings from its surroundings unless it was altered.
    pub async fn topic(&mut self) {
        self.topic_named("t").await;
    }

    pub async fn topic_named(&mut self, name: &str) {
        if self.node.cluster.image().topic(name).is_none() {
            self.client.create(name, 1, &[]).await;
        }
    }

    /// A name that no topic has yet.
    pub fn fresh_name(&mut self) -> String {
        self.topics += 1;
        format!("fresh-{}", self.topics)
    }

    /// Registers two more nodes, which nobody runs.
    pub async fn three_nodes(&mut self) {
        let node = |node_id| MetadataRecord::Broker {
            node_id,
            host: "nowhere".to_owned(),
            port: 1,
        };
        self.node
            .cluster
            .submit(vec![node(2), node(3)])
            .await
            .unwrap();
    }

    /// Moves the clock.
    pub fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }

    pub fn now(&self) -> i64 {
        use millstream_log::clock::Clock;
        self.clock.now_ms()
    }

    /// Produces a batch to `t` and says what came of it.
    pub async fn produce(&mut self, batch: Vec<u8>) -> String {
        self.topic().await;
        let response = self.client.produce("t", 0, -1, batch).await;
        word(response.error_code)
    }

    /// Produces a record of about so many bytes at the clock's time.
    pub async fn append(&mut self, bytes: usize) {
        let value = "x".repeat(bytes);
        let spec = BatchSpec {
            timestamp: self.now(),
            ..BatchSpec::default()
        };
        assert_eq!(self.produce(batch_of(&[&value], &spec)).await, "NONE");
    }

    /// Compression and timestamp type of the last batch in `t`.
    pub async fn last_batch(&mut self) -> (Compression, TimestampType) {
        let data = self.client.fetch("t", 0, 0).await;
        let bytes = data.records.unwrap_or_default();
        let last = millstream_records::batches(&bytes).last().unwrap().unwrap();
        (last.header().compression(), last.header().timestamp_type())
    }

    /// Names of the files of partition 0 of `t`, with this ending.
    pub fn files(&self, ending: &str) -> Vec<String> {
        let dir = Path::new(SIMULATED_DIR).join("t-0");
        let entries = self.fs.read_dir(&dir).unwrap();
        let mut names: Vec<String> = entries
            .into_iter()
            .map(|entry| entry.name)
            .filter(|name| name.ends_with(ending))
            .collect();
        names.sort();
        names
    }

    /// The bytes of one of these files.
    pub fn read(&self, name: &str) -> Vec<u8> {
        let path = Path::new(SIMULATED_DIR).join("t-0").join(name);
        let file = self.fs.open(&path, OpenMode::Read).unwrap();
        let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    /// `one segment` or `several segments`.
    pub fn segments(&self) -> String {
        match self.files(".log").len() {
            1 => "one segment".to_owned(),
            _ => "several segments".to_owned(),
        }
    }

    /// Creates a topic with the node's defaults.
    pub async fn create_by_default(&mut self, replicas: i16) -> (String, String) {
        let name = self.fresh_name();
        let topic = CreatableTopic {
            name: name.clone(),
            num_partitions: -1,
            replication_factor: replicas,
            ..CreatableTopic::default()
        };
        let request = CreateTopicsRequest {
            topics: vec![topic],
            ..CreateTopicsRequest::default()
        };
        let response = self.client.call(5, &request).await;
        (name, word(response.topics[0].error_code))
    }

    /// A topic's metadata; with `create` it may be made.
    pub async fn metadata(&mut self, name: &str, create: bool) -> MetadataResponseTopic {
        let request = MetadataRequest {
            topics: Some(vec![MetadataRequestTopic {
                name: Some(name.to_owned()),
                ..MetadataRequestTopic::default()
            }]),
            allow_auto_topic_creation: create,
            ..MetadataRequest::default()
        };
        self.client.call(8, &request).await.topics[0].clone()
    }

    /// Sets a setting (or removes it) and says what came of it.
    pub async fn alter(
        &mut self,
        resource: (i8, &str),
        name: &str,
        value: Option<&str>,
    ) -> (ErrorCode, String) {
        let change = AlterableConfig {
            name: name.to_owned(),
            config_operation: if value.is_some() { 0 } else { 1 },
            value: value.map(str::to_owned),
        };
        let request = IncrementalAlterConfigsRequest {
            resources: vec![AlterConfigsResource {
                resource_type: resource.0,
                resource_name: resource.1.to_owned(),
                configs: vec![change],
            }],
            validate_only: false,
        };
        let response = self.client.call(1, &request).await.responses.remove(0);
        (
            ErrorCode::try_from(response.error_code).unwrap(),
            response.error_message.unwrap_or_default(),
        )
    }

    /// One setting as DescribeConfigs shows it.
    pub async fn describe(
        &mut self,
        resource: (i8, &str),
        name: &str,
    ) -> DescribeConfigsResourceResult {
        let request = DescribeConfigsRequest {
            resources: vec![DescribeConfigsResource {
                resource_type: resource.0,
                resource_name: resource.1.to_owned(),
                configuration_keys: Some(vec![name.to_owned()]),
            }],
            include_synonyms: true,
            include_documentation: true,
        };
        let result = self.client.call(4, &request).await.results.remove(0);
        assert_eq!(result.error_code, 0, "{:?}", result.error_message);
        let found = result.configs.into_iter().next();
        found.unwrap_or_else(|| panic!("{name} is not described"))
    }

    /// The value of a setting of a topic.
    pub async fn topic_value(&mut self, topic: &str, name: &str) -> String {
        self.describe((TOPIC, topic), name)
            .await
            .value
            .unwrap_or_default()
    }

    /// Asserts that a setting has this value from this source, under this name.
    pub async fn assert_described(
        &mut self,
        resource: (i8, &str),
        name: &str,
        value: &str,
        source: ConfigSource,
    ) {
        let found = self.describe(resource, name).await;
        assert_eq!(
            (found.value.as_deref(), found.config_source),
            (Some(value), source as i8),
            "{name} of {resource:?}"
        );
        assert!(found.documentation.is_some_and(|text| !text.is_empty()));
    }
}

/// Waits until `seen` is true, for a moment at most.
pub async fn within_a_moment(mut seen: impl AsyncFnMut() -> bool) -> bool {
    let watch = async {
        while !seen().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(MOMENT, watch).await.is_ok()
}

/// An error code's name.
pub fn word(code: i16) -> String {
    ErrorCode::try_from(code).unwrap().to_string()
}
