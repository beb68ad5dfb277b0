//! What the machine itself says: CPU time and memory of processes, the disk's own flush.

pub mod flush;
pub mod process;
pub mod ram;
