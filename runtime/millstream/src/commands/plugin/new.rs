//! `millstream plugin new`: the crate of a new plugin.

use std::path::Path;

use clap::Args;
use millstream_plugin_build::Sdk;

use crate::outcome::{Failure, FailureKind, Outcome};
use crate::output::{OutputFormat, print_json};
use crate::pipelines::CacheArguments;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Its name; the folder is made where you are
    name: String,
    #[command(flatten)]
    cache: CacheArguments,
}

pub fn run(arguments: &Arguments, output: OutputFormat) -> Outcome {
    let sdk = Sdk::unpacked(&arguments.cache.dir()?)?;
    let files = millstream_plugin_build::new(Path::new("."), &arguments.name, &sdk)
        .map_err(|error| Failure::new(FailureKind::Usage, error))?;
    if output.is_json() {
        return Ok(print_json(&files)?);
    }
    for file in &files {
        println!("{}", file.display());
    }
    let name = &arguments.name;
    println!("next: cd {name}, then `millstream run pipeline.toml --once --print {name}.words`");
    Ok(())
}
