//! The harness: starts the product as a program and drives it with clients that others wrote.
//! Must not know: the product's crates. What it sees is what a user sees.
//! Read `node.rs` first, then `clients.rs`.

mod clients;
mod dump;
mod node;

pub use clients::{Client, kafka_tool, kcat, kcat_read_committed, python};
pub use dump::check_files;
pub use node::{Node, NodeCommand, Stopped, program};
