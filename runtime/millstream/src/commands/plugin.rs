//! `millstream plugin`: write, build and check plugins.

mod build;
mod fixtures;
mod list;
mod new;
mod sdk;
mod setup;

use clap::{Args, Subcommand};

use crate::outcome::Outcome;
use crate::output::OutputFormat;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write the crate of a new plugin
    New(new::Arguments),
    /// Build a plugin's crate to wasm, and check that it loads
    Build(build::Arguments),
    /// Run a plugin on fixtures: as one call, as one record a call, and with a fresh instance for each
    /// record, which must give the same bytes
    Test(fixtures::Arguments),
    /// List the ready-made plugins, which a manifest names without a path
    List(list::Arguments),
    /// Unpack the SDK's sources that plugins are built with, and print where they are
    Sdk(sdk::Arguments),
    /// Make the wasm toolchain available; each command is printed before it runs
    Setup,
}

pub fn run(arguments: &Arguments, output: OutputFormat) -> Outcome {
    match &arguments.command {
        Command::New(new) => new::run(new, output),
        Command::Build(build) => build::run(build, output),
        Command::Test(test) => fixtures::run(test, output),
        Command::List(list) => list::run(list, output),
        Command::Sdk(sdk) => sdk::run(sdk, output),
        Command::Setup => setup::run(output),
    }
}
