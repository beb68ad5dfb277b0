//! `millstream compile-plugin`: the process that compiles one module under limits; started by the node itself.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use millstream_plugin_host::{CompileLimits, LoadError, MODULE_REFUSED, compile_limited};

use crate::outcome::Outcome;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Where the artifact goes
    #[arg(long)]
    cache_dir: PathBuf,
    #[arg(long)]
    memory_bytes: u64,
    #[arg(long)]
    cpu_seconds: u64,
}

/// Reads the module from standard input. Who started it reads our exit code and standard error.
pub fn run(arguments: &Arguments) -> Outcome {
    let limits = CompileLimits {
        memory_bytes: arguments.memory_bytes,
        cpu: Duration::from_secs(arguments.cpu_seconds),
        ..CompileLimits::default()
    };
    match compile_limited(&arguments.cache_dir, &limits, std::io::stdin().lock()) {
        Ok(()) => Ok(()),
        Err(LoadError::Host(failure)) => Err(failure.into()),
        Err(module) => {
            eprintln!("{module}");
            std::process::exit(MODULE_REFUSED.into())
        }
    }
}
