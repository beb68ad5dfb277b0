//! Where what can be made again is kept: built and compiled plugins, and the SDK's sources.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use crate::outcome::Outcome;

/// The flag of all commands that keep something there.
#[derive(Debug, Clone, Args)]
pub struct CacheArguments {
    /// Where built and compiled plugins and the SDK are kept [default: ~/.cache/millstream]
    #[arg(long, env = "MILLSTREAM_CACHE_DIR", value_name = "DIR")]
    cache_dir: Option<PathBuf>,
}

impl CacheArguments {
    /// The folder, whether it exists or not.
    pub fn dir(&self) -> Outcome<PathBuf> {
        if let Some(dir) = &self.cache_dir {
            return Ok(dir.clone());
        }
        let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let base =
            base.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")));
        let base = base.context("neither HOME nor XDG_CACHE_HOME is set: name a --cache-dir")?;
        Ok(base.join("millstream"))
    }
}
