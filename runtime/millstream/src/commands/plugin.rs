//! `millstream plugin`: write, build and check plugins.

mod fixtures;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use millstream_plugin_build::{SdkSource, WASM_TARGET};
use serde::Serialize;

use super::runtime;
use crate::outcome::{Failure, FailureKind, Outcome};
use crate::output::{OutputFormat, print_json};
use crate::pipelines::{PluginArguments, builder, load};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write the crate of a new plugin
    New {
        /// Its name; the folder is made where you are
        name: String,
    },
    /// Build a plugin's crate to wasm, and check that it loads
    Build {
        /// The crate's folder
        #[arg(default_value = ".")]
        path: PathBuf,
        #[command(flatten)]
        plugins: PluginArguments,
    },
    /// Run a plugin on fixtures: as one call, as one record a call, and with a fresh instance for each
    /// record, which must give the same bytes
    Test(fixtures::Arguments),
    /// Make the wasm toolchain available; each command is printed before it runs
    Setup,
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
    match &arguments.command {
        Command::New { name } => new(name, output),
        Command::Build { path, plugins } => build(path, plugins, output),
        Command::Test(test) => fixtures::run(test, output),
        Command::Setup => setup(output),
    }
}

fn new(name: &str, output: OutputFormat) -> Outcome {
    let files = millstream_plugin_build::new(Path::new("."), name, &SdkSource::find())
        .map_err(|error| Failure::new(FailureKind::Usage, error))?;
    if output.is_json() {
        return Ok(print_json(&files)?);
    }
    for file in &files {
        println!("{}", file.display());
    }
    println!("next: cd {name}, then `cargo test`, then `millstream plugin build`");
    Ok(())
}

fn build(path: &Path, arguments: &PluginArguments, output: OutputFormat) -> Outcome {
    let built = builder(arguments)?.build(path, &mut |line| eprintln!("+ {line}"))?;
    let plugin = runtime()?.block_on(load(&built.wasm, arguments))?;
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

fn setup(output: OutputFormat) -> Outcome {
    millstream_plugin_build::setup(Path::new("."), false, &mut |line| eprintln!("+ {line}"))?;
    if output.is_json() {
        return Ok(print_json(&serde_json::json!({ "target": WASM_TARGET }))?);
    }
    println!("{WASM_TARGET} is available");
    Ok(())
}
