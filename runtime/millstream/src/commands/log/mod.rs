//! `millstream log dump | verify | repair`: a node's files, without the node.

mod consequences;
mod decode;
mod dump;
mod line;
mod repair;
mod times;
mod verify;

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
    /// Print batches, records, indexes, producer snapshots and checkpoints
    Dump(dump::Arguments),
    /// Check every checksum and say where files are damaged
    Verify(verify::Arguments),
    /// Show what is damaged in a log, and give it up where nothing else helps
    Repair(repair::Arguments),
}

/// Runs one of the subcommands.
pub fn run(arguments: &Arguments, output: OutputFormat) -> Outcome {
    match &arguments.command {
        Command::Dump(arguments) => dump::run(arguments, output),
        Command::Verify(arguments) => verify::run(arguments, output),
        Command::Repair(arguments) => repair::run(arguments, output),
    }
}
