//! A whole node in this process, without sockets: log store, cluster metadata, broker, engine and pipeline.

mod effects;
mod fencing;
mod power_cut;
mod producer;
mod rig;
