//! The log engine: one partition is one log of segment files, and one shared journal makes appends durable.
//! It knows files, record batches and offsets; it must not know connections, Kafka's messages, groups or pipelines.
//! Read `journal/mod.rs` first for how an append becomes durable; the files below it are named after what they hold.

pub mod checkpoint;
pub mod clock;
pub mod failpoint;
pub mod fs;
pub mod journal;
pub mod testing;
