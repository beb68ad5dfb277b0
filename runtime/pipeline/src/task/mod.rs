//! Stage tasks.
pub mod partitioner;
