//! `millstream plugin test`: a plugin on fixtures, with the real host and without a broker.

mod expected;
mod subject;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use millstream_plugin_host::Silent;
use millstream_testkit::{RecordOutcome, parse_fixtures, run as run_fixtures};
use serde_json::Value;

use crate::commands::runtime;
use crate::outcome::{Failure, Outcome};
use crate::output::{OutputFormat, print_json};
use crate::pipelines::PluginArguments;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Records, one JSON object {key, value, headers, timestamp} a line
    fixtures: PathBuf,
    #[command(flatten)]
    subject: subject::Arguments,
    /// The outcomes that must come, one JSON object a line, as this command prints them
    #[arg(long, value_name = "FILE")]
    expect: Option<PathBuf>,
    /// Write the outcomes that come into the file of --expect, instead of comparing
    #[arg(long, requires = "expect")]
    update: bool,
    #[command(flatten)]
    plugins: PluginArguments,
}

pub fn run(arguments: &Arguments, output: OutputFormat) -> Outcome {
    let path = &arguments.fixtures;
    let fixtures = parse_fixtures(&read(path)?)
        .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
    let outcomes = runtime()?.block_on(async {
        let (plugin, options) = arguments.subject.load(&arguments.plugins).await?;
        Outcome::Ok(run_fixtures(&plugin, &fixtures, &options, Arc::new(Silent)).await?)
    })?;
    let outcomes: Vec<Value> = outcomes.iter().map(RecordOutcome::to_json).collect();
    match &arguments.expect {
        Some(path) if arguments.update => expected::update(path, &outcomes)?,
        Some(path) => expected::compare(path, &outcomes)?,
        None => {}
    }
    print(&outcomes, output)
}

fn read(path: &Path) -> Outcome<String> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))
}

fn print(outcomes: &[Value], output: OutputFormat) -> Outcome {
    if output.is_json() {
        return Ok(print_json(&outcomes)?);
    }
    for line in outcomes {
        println!("{line}");
    }
    let count = outcomes.len();
    eprintln!("{count} records: the same bytes in all three ways");
    Ok(())
}
