//! The product as a library: command line, settings, composition of a node, shutdown.
//! Must not know: how any layer does its work; it puts them together and maps errors to exit codes.
//! Read `cli.rs` first, then `node/mod.rs`.

mod asking;
pub mod cli;
mod client;
mod commands;
pub mod engine;
pub mod node;
pub mod outcome;
mod output;
pub mod pipelines;
mod screen;
pub mod settings;
mod usage;
