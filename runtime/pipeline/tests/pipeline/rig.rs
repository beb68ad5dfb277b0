//! The rig of the tests: manifests to plans, and runs to their end over the engine in memory.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use millstream_pipeline::manifest::Manifest;
use millstream_pipeline::plan::{Plan, PluginFacts, TopicFacts};
use millstream_pipeline::ports::Engine;
use millstream_pipeline::run::{RunningPipeline, Summary, Workers, run};
use millstream_pipeline::testing::{FunctionPlugin, MemoryEngine, StoredRecord};

pub const DEADLINE: Duration = Duration::from_secs(20);

/// The plugins of a test: stage, names of its outputs, function.
pub struct Plugins(BTreeMap<String, (PluginFacts, Arc<FunctionPlugin>)>);

impl Plugins {
    pub fn none() -> Self {
        Plugins(BTreeMap::new())
    }

    pub fn one(stage: &str, outputs: &[&str], plugin: FunctionPlugin) -> Self {
        Plugins(BTreeMap::new()).and(stage, outputs, plugin)
    }

    pub fn and(self, stage: &str, outputs: &[&str], plugin: FunctionPlugin) -> Self {
        self.with_inputs(stage, &["in"], outputs, plugin)
    }

    pub fn with_inputs(
        mut self,
        stage: &str,
        inputs: &[&str],
        outputs: &[&str],
        plugin: FunctionPlugin,
    ) -> Self {
        let facts = PluginFacts {
            name: stage.to_owned(),
            version: "0.1.0".to_owned(),
            inputs: inputs.iter().map(ToString::to_string).collect(),
            outputs: outputs.iter().map(ToString::to_string).collect(),
            config_schema: None,
        };
        self.0.insert(stage.to_owned(), (facts, Arc::new(plugin)));
        self
    }

    fn facts(&self) -> BTreeMap<String, PluginFacts> {
        let facts = self.0.iter();
        facts
            .map(|(stage, (facts, _))| (stage.clone(), facts.clone()))
            .collect()
    }

    pub fn factories(&self) -> BTreeMap<String, Arc<FunctionPlugin>> {
        let plugins = self.0.iter();
        plugins
            .map(|(stage, (_, plugin))| (stage.clone(), Arc::clone(plugin)))
            .collect()
    }
}

/// Plans a manifest whose head is given (`pipeline = "p"`), standing at `path`.
pub async fn plan_at(path: &Path, body: &str, engine: &MemoryEngine, plugins: &Plugins) -> Plan {
    let text = format!("manifest = 1\npipeline = \"p\"\n{body}");
    let (manifest, report) = Manifest::read_text(path, text);
    assert!(report.is_empty(), "{report}");
    let manifest = manifest.unwrap();
    let mut existing = BTreeMap::new();
    let stages = manifest.stages.iter();
    let named = stages.flat_map(|stage| stage.inputs.iter().chain(&stage.outputs));
    for endpoint in named {
        let name = endpoint.topic.get_ref();
        if let Some(info) = engine.topic(name).await.unwrap() {
            existing.insert(name.clone(), info);
        }
    }
    let facts = TopicFacts {
        existing,
        default_partitions: 1,
        defaults: BTreeMap::new(),
    };
    Plan::new(&manifest, &plugins.facts(), &facts, "p").unwrap_or_else(|report| panic!("{report}"))
}

pub async fn plan(body: &str, engine: &MemoryEngine, plugins: &Plugins) -> Plan {
    plan_at(Path::new("p.toml"), body, engine, plugins).await
}

pub fn workers() -> Workers {
    Workers::new(Some(2)).unwrap()
}

pub async fn start(
    plan: &Plan,
    engine: &MemoryEngine,
    plugins: &Plugins,
    workers: &Workers,
) -> RunningPipeline<MemoryEngine> {
    run(plan.clone(), engine.clone(), plugins.factories(), workers)
        .await
        .unwrap()
}

/// Runs until nothing is left to do, as `run --once` does.
pub async fn run_once(plan: &Plan, engine: &MemoryEngine, plugins: &Plugins) -> Summary {
    let workers = workers();
    let running = start(plan, engine, plugins, &workers).await;
    tokio::time::timeout(DEADLINE, running.drained())
        .await
        .unwrap_or_else(|_| panic!("not drained: {:#?}", running.progress()))
        .unwrap();
    running.stop(DEADLINE).await
}

/// Waits until `condition` holds.
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let patience = tokio::time::Instant::now() + DEADLINE;
    while !condition() {
        assert!(tokio::time::Instant::now() < patience, "never: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

pub fn text(bytes: Option<&Vec<u8>>) -> String {
    bytes.map_or("-".to_owned(), |bytes| {
        String::from_utf8_lossy(bytes).into_owned()
    })
}

/// `key=value` of each record, in order.
pub fn pairs(records: &[StoredRecord]) -> Vec<String> {
    records
        .iter()
        .map(|record| {
            format!(
                "{}={}",
                text(record.key.as_ref()),
                text(record.value.as_ref())
            )
        })
        .collect()
}

/// A stage that copies its records, in capitals.
pub fn capitals() -> FunctionPlugin {
    FunctionPlugin::new(1, |event, call| {
        let value = event.value.map(<[u8]>::to_ascii_uppercase);
        call.emit(0, event.key, value.as_deref());
        Ok(())
    })
}
