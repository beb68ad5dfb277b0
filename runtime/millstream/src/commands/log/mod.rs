//! `millstream log dump | verify`: a node's files, read without the node.

mod decode;
mod dump;
mod line;
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
}

/// Runs one of the subcommands.
pub fn run(arguments: &Arguments, output: OutputFormat) -> Outcome {
    match &arguments.command {
        Command::Dump(arguments) => dump::run(arguments, output),
        Command::Verify(arguments) => verify::run(arguments, output),
    }
}
