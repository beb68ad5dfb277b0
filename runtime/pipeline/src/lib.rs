//! Manifest, plan, stage tasks, sources and the commit protocol: what turns a TOML file and some
//! plugins into exactly-once tasks over an engine.
//! Must not know the broker, its log or its files: it reaches them through `ports` alone.
//! Read `ports.rs` first, then `plan/mod.rs`, then `task/mod.rs`.

pub mod manifest;
pub mod plan;
pub mod plugin_metrics;
pub mod ports;
pub mod processor;
pub mod run;
pub mod source;
pub mod task;
pub mod testing;
