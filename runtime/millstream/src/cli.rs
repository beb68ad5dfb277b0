//! The command line's root: global options and the list of commands, a file each under `commands/`.

use std::io::IsTerminal;

use clap::{Parser, Subcommand};

use crate::commands::{
    compile_plugin, config, consume, group, log, plugin, produce, run, serve, topic, validate,
};
use crate::outcome::Outcome;
use crate::output::OutputFormat;

#[derive(Debug, Parser)]
#[command(
    name = "millstream",
    version,
    about,
    propagate_version = true,
    max_term_width = 100
)]
pub struct Arguments {
    /// How results are printed
    #[arg(long, global = true, value_enum, default_value_t)]
    pub output: OutputFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a pipeline, with a node of its own, in one process
    Run(run::Arguments),
    /// Say all that is wrong with a manifest
    Validate(validate::Arguments),
    /// Write, build and test plugins
    Plugin(plugin::Arguments),
    /// Run a node
    Serve(serve::Arguments),
    /// Make, list, describe, alter and delete topics
    Topic(topic::Arguments),
    /// Show and change the settings of nodes
    Config(config::Arguments),
    /// Write lines from standard input to a topic
    Produce(produce::Arguments),
    /// Print the records of a topic
    Consume(consume::Arguments),
    /// List and describe consumer groups
    Group(group::Arguments),
    /// What the node starts to compile a plugin under limits
    #[command(hide = true)]
    CompilePlugin(compile_plugin::Arguments),
    /// Look into a node's files, and check them
    Log(log::Arguments),
}

/// Log lines go to standard error; `MILLSTREAM_LOG` filters them as `RUST_LOG` would.
fn start_logging() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_env("MILLSTREAM_LOG")
        .unwrap_or_else(|_| EnvFilter::new("warn,millstream=info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .compact()
        .init();
}

/// Parses the command line and runs what it asks for. Wrong usage ends the process with code 2.
pub fn run() -> Outcome {
    let arguments = Arguments::parse();
    start_logging();
    let output = arguments.output;
    match arguments.command {
        Command::Run(run) => run::run(&run, output),
        Command::Validate(validate) => validate::run(&validate, output),
        Command::Plugin(plugin) => plugin::run(&plugin, output),
        Command::Serve(serve) => serve::run(&serve, output),
        Command::Topic(topic) => topic::run(&topic, output),
        Command::Config(config) => config::run(&config, output),
        Command::Produce(produce) => produce::run(&produce, output),
        Command::Consume(consume) => consume::run(&consume, output),
        Command::Group(group) => group::run(&group, output),
        Command::CompilePlugin(compile) => compile_plugin::run(&compile),
        Command::Log(log) => log::run(&log, output),
    }
}
