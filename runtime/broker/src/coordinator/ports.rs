//! What the coordinators need of the rest of the node.

use std::future::Future;
use std::pin::Pin;

use millstream_wire::ErrorCode;
use uuid::Uuid;

use super::{LedLog, TopicPartition};
use crate::InternalTopic;

/// A boxed future; what these ports do asynchronously is rare.
pub(crate) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The node, as a coordinator sees it. Tests put another one in its place.
pub(crate) trait Ports: Send + Sync + 'static {
    /// The partition, if this node leads it. Errors as a client gets them:
    /// UNKNOWN_TOPIC_OR_PARTITION, NOT_LEADER_OR_FOLLOWER, KAFKA_STORAGE_ERROR.
    fn led(&self, topic: &str, partition: i32) -> Result<LedLog, ErrorCode>;

    /// The partition count of an internal topic, if it exists.
    fn partition_count(&self, topic: InternalTopic) -> Option<i32>;

    /// Creates the internal topic when it does not exist; its partition count.
    fn ensure(&self, topic: InternalTopic) -> BoxFuture<'_, Result<i32, ErrorCode>>;

    /// The id of the topic that has this name now.
    fn topic_id(&self, topic: &str) -> Option<Uuid>;

    /// Whether there is this partition now.
    fn has_partition(&self, partition: &TopicPartition) -> bool;

    /// Whether the group is the one of a deployed stage, be a task of it
    /// running or not. Yes, when it cannot be told.
    fn is_stage_group(&self, group: &str) -> bool;

    /// A producer id that nobody has ever had.
    fn next_producer_id(&self) -> BoxFuture<'_, Result<i64, ErrorCode>>;
}
