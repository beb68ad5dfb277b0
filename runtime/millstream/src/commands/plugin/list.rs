//! `millstream plugin list`: the ready-made plugins.

use clap::Args;
use millstream_plugin_build::ready_made::ready_made;
use serde::Serialize;

use crate::commands::runtime;
use crate::outcome::Outcome;
use crate::output::{OutputFormat, Table, print_json};
use crate::pipelines::{self, PluginArguments};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    plugins: PluginArguments,
}

#[derive(Serialize)]
struct Listed {
    name: &'static str,
    version: String,
    description: &'static str,
    inputs: Vec<String>,
    outputs: Vec<String>,
    /// JSON Schema; absent: it takes no config.
    #[serde(skip_serializing_if = "Option::is_none")]
    config_schema: Option<serde_json::Value>,
    digest: String,
}

pub fn run(arguments: &Arguments, output: OutputFormat) -> Outcome {
    let engine = pipelines::engine(&arguments.plugins)?;
    let listed = runtime()?.block_on(async {
        let mut listed = Vec::new();
        for ready in ready_made() {
            let plugin = pipelines::ready_made::load(&engine, ready).await?;
            let descriptor = plugin.descriptor().clone();
            listed.push(Listed {
                name: ready.name,
                version: descriptor.version,
                description: &ready.about.description,
                inputs: descriptor.inputs,
                outputs: descriptor.outputs,
                config_schema: descriptor.config_schema,
                digest: plugin.digest().hex().to_owned(),
            });
        }
        anyhow::Ok(listed)
    })?;
    if output.is_json() {
        return Ok(print_json(&listed)?);
    }
    let mut table = Table::new(&["NAME", "VERSION", "INPUTS", "OUTPUTS", "CONFIG", "DOES"]);
    for plugin in listed {
        table.row([
            plugin.name.to_owned(),
            plugin.version.clone(),
            plugin.inputs.join(", "),
            plugin.outputs.join(", "),
            config_keys(plugin.config_schema.as_ref()),
            plugin.description.to_owned(),
        ]);
    }
    Ok(table.print()?)
}

fn config_keys(schema: Option<&serde_json::Value>) -> String {
    let properties = schema.and_then(|schema| schema.get("properties")?.as_object());
    let keys = properties
        .into_iter()
        .flatten()
        .map(|(key, _)| key.as_str());
    keys.collect::<Vec<_>>().join(", ")
}
