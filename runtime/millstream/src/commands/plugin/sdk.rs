//! `millstream plugin sdk`: the SDK that belongs to this program.

use std::path::PathBuf;

use clap::Args;
use millstream_plugin_build::Sdk;

use crate::outcome::Outcome;
use crate::output::{OutputFormat, print_json};
use crate::pipelines::CacheArguments;

#[derive(Debug, Args)]
pub struct Arguments {
    /// A plugin's crate, which is made to use it: one of another machine, or of another version
    path: Option<PathBuf>,
    #[command(flatten)]
    cache: CacheArguments,
}

pub fn run(arguments: &Arguments, output: OutputFormat) -> Outcome {
    let sdk = Sdk::unpacked(&arguments.cache.dir()?)?;
    if let Some(path) = &arguments.path {
        sdk.use_in(path)?;
    }
    if output.is_json() {
        return Ok(print_json(&serde_json::json!({ "sdk": sdk.crate_dir() }))?);
    }
    println!("{}", sdk.crate_dir().display());
    Ok(())
}
