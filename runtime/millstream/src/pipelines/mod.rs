//! From a manifest's file to a running pipeline: plugins found, built and loaded, the plan made.

mod incarnation;
mod plugins;

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;

use anyhow::anyhow;
use millstream_broker::Broker;
use millstream_pipeline::manifest::{Manifest, Report};
use millstream_pipeline::plan::{Plan, TopicFacts};
use millstream_pipeline::plugin_metrics::PluginMetrics;
use millstream_pipeline::ports::Engine as _;
use millstream_pipeline::processor::MeteredPlugin;
use millstream_plugin_host::Plugin;

use crate::engine::LocalEngine;
use crate::outcome::{Failure, FailureKind, Outcome};

pub use incarnation::Start;
pub use plugins::{PluginArguments, builder, load};

/// A manifest with everything that it names, checked as far as that is possible without a node.
pub struct Prepared {
    pub manifest: Manifest,
    pub plugins: BTreeMap<String, Arc<Plugin>>,
}

/// Reads a manifest and loads its plugins. All mistakes are reported in one go.
pub async fn prepare(path: &Path, arguments: &PluginArguments) -> Outcome<Prepared> {
    let (manifest, report) = Manifest::read(path);
    let Some(manifest) = manifest else {
        return Err(refused(&report));
    };
    let (plugins, problems) = plugins::load_all(&manifest, arguments).await?;
    let report = report.with(problems);
    // Topics of the node are not known yet, and none are taken to exist: what contradicts the
    // manifest itself shows already.
    let facts = TopicFacts {
        existing: BTreeMap::new(),
        default_partitions: 1,
    };
    let known = plugins::facts(&plugins);
    let planned = Plan::new(&manifest, &known, &facts, manifest.pipeline.get_ref());
    let report = match planned {
        Ok(_) => report,
        Err(planned) => report.with(planned.problems().to_vec()),
    };
    if !report.is_empty() {
        return Err(refused(&report));
    }
    Ok(Prepared { manifest, plugins })
}

/// Plans a prepared manifest over the topics of a node.
pub async fn plan(prepared: &Prepared, broker: &Arc<Broker>, start: Start) -> Outcome<Plan> {
    let engine = LocalEngine::new(broker);
    let mut existing = BTreeMap::new();
    for topic in broker.local().topics() {
        if let Some(info) = engine.topic(&topic.name).await? {
            existing.insert(topic.name, info);
        }
    }
    let facts = TopicFacts {
        existing,
        default_partitions: broker.config().num_partitions,
    };
    let name = prepared.manifest.pipeline.get_ref();
    let pipeline_id = incarnation::pipeline_id(&broker.cluster().image(), name, start);
    let known = plugins::facts(&prepared.plugins);
    Plan::new(&prepared.manifest, &known, &facts, &pipeline_id).map_err(|report| refused(&report))
}

/// The plugins as stages run them, with their metrics kept in `metrics`.
pub fn metered(
    plugins: &BTreeMap<String, Arc<Plugin>>,
    metrics: &Arc<PluginMetrics>,
) -> BTreeMap<String, Arc<MeteredPlugin>> {
    let metered = |(stage, plugin): (&String, &Arc<Plugin>)| {
        let plugin = MeteredPlugin::new(Plugin::clone(plugin), metrics);
        (stage.clone(), Arc::new(plugin))
    };
    plugins.iter().map(metered).collect()
}

fn refused(report: &Report) -> Failure {
    let text = report.render(std::io::stderr().is_terminal());
    Failure::new(
        FailureKind::Usage,
        anyhow!("the manifest is refused, nothing was changed\n{text}"),
    )
}
