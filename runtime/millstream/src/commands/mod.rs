//! The commands, a file each.

mod at_node;
pub mod compile_plugin;
pub mod completions;
pub mod config;
pub mod consume;
pub mod group;
pub mod log;
pub mod plugin;
pub mod produce;
mod record_json;
pub mod run;
pub mod serve;
mod settings;
pub mod topic;
pub mod validate;

use anyhow::Context;

/// The threads on which connections and tasks run.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime's threads")
}
