//! `millstream plugin build`: a plugin's crate to wasm.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::commands::runtime;
use crate::outcome::Outcome;
use crate::output::{OutputFormat, print_json};
use crate::pipelines::{PluginArguments, builder, load};

#[derive(Debug, Args)]
pub struct Arguments {
    /// The crate's folder
    #[arg(default_value = ".")]
    path: PathBuf,
    #[command(flatten)]
    plugins: PluginArguments,
}

#[derive(Serialize)]
struct Built {
    wasm: PathBuf,
    name: String,
    version: String,
    inputs: Vec<String>,
    outputs: Vec<String>,
    digest: String,
}

pub fn run(arguments: &Arguments, output: OutputFormat) -> Outcome {
    let builder = builder(&arguments.plugins)?;
    let built = builder.build(&arguments.path, &mut |line| eprintln!("+ {line}"))?;
    let plugin = runtime()?.block_on(load(&built.wasm, &arguments.plugins))?;
    let descriptor = plugin.descriptor();
    let built = Built {
        wasm: built.wasm,
        name: descriptor.name.clone(),
        version: descriptor.version.clone(),
        inputs: descriptor.inputs.clone(),
        outputs: descriptor.outputs.clone(),
        digest: plugin.digest().hex().to_owned(),
    };
    if output.is_json() {
        return Ok(print_json(&built)?);
    }
    let (inputs, outputs) = (built.inputs.join(", "), built.outputs.join(", "));
    println!("{} {}: {inputs} -> {outputs}", built.name, built.version);
    println!("{}", built.wasm.display());
    Ok(())
}
