//! What both coordinators share: placement, timers, the ports to the rest of
//! the node, and reading and writing the internal topics.

mod broker_ports;
mod deadlines;
mod led_log;
mod load_error;
mod now;
mod placement;
mod ports;
mod shards;
mod tasks;
#[cfg(test)]
pub(crate) mod testing;
mod topic_partition;

pub(crate) use broker_ports::BrokerPorts;
pub(crate) use deadlines::Deadlines;
pub(crate) use led_log::{LedLog, Origin, Stored, batch_of};
pub(crate) use load_error::LoadError;
pub(crate) use now::Now;
pub(crate) use placement::partition_for;
pub(crate) use ports::{BoxFuture, Ports};
pub(crate) use shards::Shards;
pub(crate) use tasks::{Background, Tasks, start_background};
pub use topic_partition::TopicPartition;
