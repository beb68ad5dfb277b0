//! A whole node in this process, without sockets: log store, cluster metadata, broker, engine and pipeline. And the
//! processes that the node starts.

mod compiling;
mod effects;
mod failed_stage;
mod fencing;
mod flights_power_cut;
mod fresh_run;
mod history;
mod missing_metadata;
mod power_cut;
mod producer;
mod rig;
mod sources_compacted;
mod walk;
mod wasm_setup;
