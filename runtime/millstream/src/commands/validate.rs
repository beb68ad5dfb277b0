//! `millstream validate`: all mistakes of a manifest, and what may be one.

use std::path::PathBuf;

use clap::Args;
use millstream_pipeline::plan;
use serde::Serialize;

use super::runtime;
use crate::outcome::{Outcome, ProblemJson, problems_json};
use crate::output::{OutputFormat, print_json};
use crate::pipelines::{PluginArguments, prepare};
use crate::screen::print_warnings;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The manifest
    manifest: PathBuf,
    #[command(flatten)]
    plugins: PluginArguments,
}

#[derive(Serialize)]
struct Valid<'p> {
    pipeline: String,
    stages: Vec<String>,
    sources: Vec<String>,
    /// What the owner should know, though it is no mistake.
    notices: Vec<String>,
    /// What may not do what the owner means, with its places.
    warnings: Vec<ProblemJson<'p>>,
}

pub fn run(arguments: &Arguments, output: OutputFormat) -> Outcome {
    let prepared = runtime()?.block_on(prepare(&arguments.manifest, &arguments.plugins))?;
    let manifest = &prepared.manifest;
    let warnings = prepared.warnings.with(plan::warnings(manifest));
    let valid = Valid {
        pipeline: manifest.pipeline.get_ref().clone(),
        stages: manifest
            .stages
            .iter()
            .map(|stage| stage.name.get_ref().clone())
            .collect(),
        sources: manifest
            .sources
            .iter()
            .map(|source| source.name.get_ref().clone())
            .collect(),
        notices: plan::notices(manifest),
        warnings: problems_json(&warnings),
    };
    if output.is_json() {
        return Ok(print_json(&valid)?);
    }
    let (stages, sources) = (valid.stages.len(), valid.sources.len());
    println!(
        "pipeline {} is sound: {sources} source(s), {stages} stage(s)",
        valid.pipeline
    );
    for notice in &valid.notices {
        println!("note: {notice}");
    }
    print_warnings(&warnings);
    Ok(())
}
