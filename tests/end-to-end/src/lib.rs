//! The harness: starts the product as a program and drives it with clients that others wrote.
//! Must not know: the product's crates. What it sees is what a user sees.
//! Read `node.rs` first, then `clients.rs`.

mod clients;
mod dump;
mod flights;
mod node;

pub use clients::{Client, kafka_tool, kcat, kcat_read_committed, python};
pub use flights::{check_flights_files, committed_flights};
pub use node::{Node, NodeCommand, Stopped, program};
