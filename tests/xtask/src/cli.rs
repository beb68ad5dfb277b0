//! The command line of `cargo xtask`.

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::{bindings, check, docs, foreign, load, model, plugins, test, walk};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "The commands of Millstream's developers"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Formatting, lints, crate arrows, docs
    Check,
    /// Writes the pages of `docs/` that come from the code
    Docs,
    /// Writes the Rust SDK's bindings from the contract's WIT
    Bindings,
    /// Makes the ready-made plugins that are committed in `plugins/`
    Plugins(plugins::PluginArguments),
    /// The whole test suite; installs the foreign clients that it drives
    Test(test::TestArguments),
    /// The figures of the README, measured on this machine
    Bench(load::ToolArguments),
    /// Kills a running pipeline again and again and compares what it committed
    Storm(load::ToolArguments),
    /// Compares the log engine with its model through random histories
    Model(model::ModelArguments),
    /// Damages every file of a small node, and looks whether anything is lost
    Walk(walk::WalkArguments),
    /// Installs the foreign clients (kcat, confluent-kafka, Apache Kafka) and prints where they are
    Foreign,
}

pub fn run() -> Result<()> {
    match Arguments::parse().command {
        Command::Check => check::run(),
        Command::Docs => docs::write(),
        Command::Bindings => bindings::write(),
        Command::Plugins(arguments) => plugins::run(&arguments),
        Command::Test(arguments) => test::run(&arguments),
        Command::Bench(arguments) => load::bench(&arguments),
        Command::Storm(arguments) => load::storm(&arguments),
        Command::Model(arguments) => model::run(&arguments),
        Command::Walk(arguments) => walk::run(&arguments),
        Command::Foreign => {
            for (name, value) in foreign::install()?.environment() {
                println!("{name}={value}");
            }
            Ok(())
        }
    }
}
