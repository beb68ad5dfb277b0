//! The commands, a file each.

pub mod serve;

use anyhow::Context;

/// The threads on which connections and tasks run.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime's threads")
}
