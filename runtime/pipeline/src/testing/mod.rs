//! An engine in memory and plugins as plain functions, for tests of the pipeline and of what is
//! built on it. The engine has Kafka's transactions, fencing and sequence checks, and fails where
//! it is told to.

mod engine;
mod faults;
mod function;
mod partition;
mod ports;
mod state;

pub use engine::{KeyValue, MemoryEngine};
pub use faults::{Fault, Step};
pub use function::{Call, FunctionPlugin, FunctionProcessor};
pub use partition::StoredRecord;
pub use ports::{MemoryInput, MemoryTransaction};
