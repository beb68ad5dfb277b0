//! From a manifest's file to a running pipeline: plugins found, built and loaded, the plan made.

mod caches;
mod creation;
mod deployment;
mod incarnation;
mod plugins;
pub mod ready_made;
mod topic_settings;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use millstream_broker::Broker;
use millstream_pipeline::manifest::{Manifest, Report};
use millstream_pipeline::plan::{self, Plan, TopicFacts};
use millstream_pipeline::plugin_metrics::PluginMetrics;
use millstream_pipeline::ports::Engine as _;
use millstream_pipeline::processor::MeteredPlugin;
use millstream_pipeline::run::superseded_starts;
use millstream_pipeline::source::check_columns;
use millstream_plugin_host::Plugin;

use crate::engine::LocalEngine;
use crate::outcome::{Failure, FailureKind, Outcome};

pub use caches::CacheArguments;
pub use deployment::Deployment;
pub use incarnation::{Start, pipeline_id};
pub use plugins::{PluginArguments, builder, engine, load, load_stage};

use plugins::Effort;
use topic_settings::NodeTopicSettings;

/// A manifest with everything that it names, checked as far as that is possible without a node.
pub struct Prepared {
    pub manifest: Manifest,
    /// What may not do what its owner means, as far as files tell; the plan has the rest.
    pub warnings: Report,
    pub plugins: BTreeMap<String, Arc<Plugin>>,
}

/// Reads a manifest and loads its plugins. All mistakes are reported in one go; while there are any, no
/// crate is built and no toolchain is installed.
pub async fn prepare(path: &Path, arguments: &PluginArguments) -> Outcome<Prepared> {
    let (manifest, mut report) = Manifest::read(path);
    let Some(manifest) = manifest else {
        return Err(refused(report));
    };
    let columns = check_columns(&manifest);
    report = report.with(columns.clone()).with(plan::warnings(&manifest));
    let mut plugins = BTreeMap::new();
    for effort in [Effort::Read, Effort::Build] {
        let loaded = plugins::load_all(&manifest, effort, arguments).await?;
        plugins.extend(loaded.plugins);
        let known = plugins::facts(&plugins);
        let problems = plan::check(&manifest, &known, &NodeTopicSettings);
        report = report.with(loaded.problems).with(problems);
        if report.has_mistakes() {
            return Err(refused(report));
        }
    }
    Ok(Prepared {
        warnings: manifest.report(columns),
        manifest,
        plugins,
    })
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
        defaults: engine.default_settings(),
    };
    let name = prepared.manifest.pipeline.get_ref();
    let pipeline_id = pipeline_id(&broker.cluster().image(), name, start);
    let known = plugins::facts(&prepared.plugins);
    let mut plan = Plan::new(&prepared.manifest, &known, &facts, &pipeline_id).map_err(refused)?;
    let problems = creation::check(&prepared.manifest, &plan, broker);
    if !problems.is_empty() {
        return Err(refused(prepared.manifest.report(problems)));
    }
    let superseded = superseded_starts(&plan, &engine).await?;
    plan.notices.extend(superseded);
    Ok(plan)
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

/// The failure of a command whose manifest has mistakes.
pub fn refused(report: Report) -> Failure {
    let error = anyhow::Error::new(report).context("the manifest is refused, nothing was changed");
    Failure::new(FailureKind::Usage, error)
}
