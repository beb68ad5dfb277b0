//! `millstream plugin test`: a plugin on fixtures, with the real host and without a broker.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, ensure};
use clap::Args;
use millstream_plugin_host::Silent;
use millstream_testkit::{RecordOutcome, TestOptions, parse_fixtures, run as run_fixtures};

use crate::commands::runtime;
use crate::outcome::{Failure, Outcome};
use crate::output::{OutputFormat, print_json};
use crate::pipelines::{PluginArguments, load};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Records, one JSON object {key, value, headers, timestamp} a line
    fixtures: PathBuf,
    /// The plugin: a crate's folder, or a wasm file
    #[arg(long, default_value = ".")]
    plugin: PathBuf,
    /// The stage's config, as JSON
    #[arg(long, value_name = "JSON")]
    config: Option<String>,
    /// The outcomes that must come, one JSON object a line, as this command prints them
    #[arg(long, value_name = "FILE")]
    expect: Option<PathBuf>,
    #[command(flatten)]
    plugins: PluginArguments,
}

pub fn run(arguments: &Arguments, output: OutputFormat) -> Outcome {
    let path = &arguments.fixtures;
    let fixtures = parse_fixtures(&read(path)?)
        .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
    let mut options = TestOptions::default();
    if let Some(config) = &arguments.config {
        options.config = serde_json::from_str(config)
            .map_err(|error| Failure::usage(format!("--config is not JSON: {error}")))?;
    }
    let outcomes = runtime()?.block_on(async {
        let plugin = load(&arguments.plugin, &arguments.plugins).await?;
        anyhow::Ok(run_fixtures(&plugin, &fixtures, &options, Arc::new(Silent)).await?)
    })?;
    if let Some(expect) = &arguments.expect {
        compare(&outcomes, expect)?;
    }
    print(&outcomes, output)
}

fn read(path: &Path) -> Outcome<String> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))
}

fn compare(outcomes: &[RecordOutcome], expect: &Path) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(expect).with_context(|| expect.display().to_string())?;
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    for (index, (line, outcome)) in lines.iter().zip(outcomes).enumerate() {
        let expected: serde_json::Value = serde_json::from_str(line)
            .with_context(|| format!("{}: line {}", expect.display(), index + 1))?;
        let found = outcome.to_json();
        ensure!(
            expected == found,
            "record {}: expected {expected}, found {found}",
            index + 1
        );
    }
    let (wanted, found) = (lines.len(), outcomes.len());
    ensure!(
        wanted == found,
        "{} has {wanted} outcomes, and {found} came",
        expect.display()
    );
    Ok(())
}

fn print(outcomes: &[RecordOutcome], output: OutputFormat) -> Outcome {
    let lines: Vec<serde_json::Value> = outcomes.iter().map(RecordOutcome::to_json).collect();
    if output.is_json() {
        return Ok(print_json(&lines)?);
    }
    for line in &lines {
        println!("{line}");
    }
    eprintln!("{} records: the same bytes in all three ways", lines.len());
    Ok(())
}
