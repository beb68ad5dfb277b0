//! Plugins of a manifest: crates are built, files are loaded, names are looked for among the ready-made ones.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use millstream_pipeline::manifest::{Manifest, PluginRef, Problem, StageSection};
use millstream_pipeline::plan::PluginFacts;
use millstream_plugin_build::Builder;
use millstream_plugin_host::{
    ChildCompiler, CompileLimits, Engine, EngineOptions, LoadError, Plugin,
};

use super::caches::CacheArguments;
use super::ready_made;
use crate::outcome::{Outcome, said};

/// Flags of all commands that may have to build a plugin.
#[derive(Debug, Clone, Args)]
pub struct PluginArguments {
    /// Never install a wasm toolchain
    #[arg(long)]
    pub no_setup: bool,
    #[command(flatten)]
    pub cache: CacheArguments,
    /// Address space that compiling one plugin may take
    #[arg(
        long,
        env = "MILLSTREAM_COMPILE_MEMORY_MIB",
        value_name = "MIB",
        default_value = "2048",
        hide_short_help = true
    )]
    pub compile_memory_mib: NonZeroU32,
    /// CPU seconds that compiling one plugin may take; by the clock it may be four times as many
    #[arg(
        long,
        env = "MILLSTREAM_COMPILE_SECONDS",
        value_name = "SECONDS",
        default_value = "120",
        hide_short_help = true
    )]
    pub compile_seconds: NonZeroU32,
}

pub fn builder(arguments: &PluginArguments) -> Outcome<Builder> {
    Ok(Builder {
        cache_dir: arguments.cache.dir()?.join("builds"),
        no_setup: arguments.no_setup,
        ..Builder::default()
    })
}

pub fn engine(arguments: &PluginArguments) -> Outcome<Engine> {
    let cache_dir = Some(arguments.cache.dir()?.join("compiled"));
    let compiler = Some(ChildCompiler {
        // Ourselves, even when the file was replaced meanwhile.
        program: "/proc/self/exe".into(),
        arguments: vec!["compile-plugin".into()],
        limits: CompileLimits {
            memory_bytes: u64::from(arguments.compile_memory_mib.get()) << 20,
            cpu: Duration::from_secs(arguments.compile_seconds.get().into()),
            wall: Duration::from_secs(u64::from(arguments.compile_seconds.get()) * 4),
        },
    });
    Ok(Engine::new(EngineOptions {
        cache_dir,
        compiler,
    })?)
}

/// Builds what `path` is if it is a crate's folder, and loads it.
pub async fn load(path: &Path, arguments: &PluginArguments) -> anyhow::Result<Plugin> {
    let engine = engine(arguments).map_err(|failure| failure.error)?;
    load_with(&engine, path, arguments).await
}

async fn load_with(
    engine: &Engine,
    path: &Path,
    arguments: &PluginArguments,
) -> anyhow::Result<Plugin> {
    let wasm = if path.is_dir() {
        let builder = builder(arguments).map_err(|failure| failure.error)?;
        let crate_dir = path.to_owned();
        tokio::task::spawn_blocking(move || {
            builder.build(&crate_dir, &mut |line| eprintln!("+ {line}"))
        })
        .await??
        .wasm
    } else {
        path.to_owned()
    };
    engine.load_file(&wasm).await.map_err(|error| {
        let is_limit = matches!(error, LoadError::CompileLimit { .. });
        let error = anyhow::Error::new(error);
        match is_limit {
            true => error.context(format!(
                "{}: --compile-memory-mib and --compile-seconds raise the limits",
                wasm.display()
            )),
            false => error,
        }
    })
}

/// What may be done to have a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// Files are read.
    Read,
    /// Crates are built, with a toolchain that may have to be installed.
    Build,
}

impl Effort {
    fn of(plugin: &PluginRef) -> Effort {
        match plugin {
            PluginRef::File(_) | PluginRef::Named { .. } => Effort::Read,
            PluginRef::Crate(_) => Effort::Build,
        }
    }
}

/// The plugins that could be had, by stage, and those that could not.
pub struct Loaded {
    pub plugins: BTreeMap<String, Arc<Plugin>>,
    pub problems: Vec<Problem>,
}

/// The plugin of a stage, or the problem at its place in the manifest.
pub async fn load_stage(
    engine: &Engine,
    stage: &StageSection,
    arguments: &PluginArguments,
) -> Result<Plugin, Problem> {
    let span = stage.plugin.span();
    let plugin = match stage.plugin.get_ref() {
        PluginRef::Crate(path) | PluginRef::File(path) => load_with(engine, path, arguments).await,
        PluginRef::Named { name, version } => {
            let plugin = ready_made::find(name, version.as_deref());
            let plugin = plugin.map_err(|unknown| unknown.problem().at(span.clone()))?;
            ready_made::load(engine, plugin).await
        }
    };
    let name = stage.name.get_ref();
    plugin.map_err(|error| {
        Problem::new(format!(
            "the plugin of stage {name} cannot be used: {}",
            said(&error)
        ))
        .at(span)
        .label("this plugin")
    })
}

/// Loads the plugins of all stages that take this effort; what cannot be had is a problem at its place in the
/// manifest.
pub async fn load_all(
    manifest: &Manifest,
    effort: Effort,
    arguments: &PluginArguments,
) -> Outcome<Loaded> {
    let engine = engine(arguments)?;
    let mut loaded = Loaded {
        plugins: BTreeMap::new(),
        problems: Vec::new(),
    };
    let stages = manifest.stages.iter();
    for stage in stages.filter(|stage| Effort::of(stage.plugin.get_ref()) == effort) {
        match load_stage(&engine, stage, arguments).await {
            Ok(plugin) => {
                let name = stage.name.get_ref().clone();
                loaded.plugins.insert(name, Arc::new(plugin));
            }
            Err(problem) => loaded.problems.push(problem),
        }
    }
    Ok(loaded)
}

/// What plans need to know of plugins.
pub fn facts(plugins: &BTreeMap<String, Arc<Plugin>>) -> BTreeMap<String, PluginFacts> {
    plugins
        .iter()
        .map(|(stage, plugin)| (stage.clone(), PluginFacts::from(plugin.descriptor())))
        .collect()
}
