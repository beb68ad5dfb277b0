//! The ports of the coordinators, over the broker that owns them.

use std::sync::{Arc, Weak};

use millstream_wire::ErrorCode;
use uuid::Uuid;

use super::{BoxFuture, LedLog, Ports, TopicPartition};
use crate::InternalTopic;
use crate::broker::Broker;

/// Holds the broker weakly, because the broker holds the coordinators.
pub(crate) struct BrokerPorts {
    broker: Weak<Broker>,
}

impl BrokerPorts {
    pub(crate) fn new(broker: Weak<Broker>) -> Self {
        Self { broker }
    }

    fn broker(&self) -> Result<Arc<Broker>, ErrorCode> {
        self.broker
            .upgrade()
            .ok_or(ErrorCode::CoordinatorNotAvailable)
    }
}

impl Ports for BrokerPorts {
    fn led(&self, topic: &str, partition: i32) -> Result<LedLog, ErrorCode> {
        let broker = self.broker()?;
        let led = broker.partitions().led(topic, partition)?;
        let replicas = usize::try_from(led.index)
            .ok()
            .and_then(|index| led.topic.partitions.get(index))
            .map_or(&[][..], |one| &one.replicas[..]);
        Ok(LedLog {
            sole_replica: replicas == [broker.cluster().node_id()],
            leader_epoch: led.leader_epoch,
            log: led.log,
        })
    }

    fn partition_count(&self, topic: InternalTopic) -> Option<i32> {
        let image = self.broker().ok()?.cluster().image();
        let count = image.topic(topic.name())?.partitions.len();
        i32::try_from(count).ok().filter(|count| *count > 0)
    }

    fn ensure(&self, topic: InternalTopic) -> BoxFuture<'_, Result<i32, ErrorCode>> {
        Box::pin(async move {
            let broker = self.broker()?;
            let topic = broker
                .ensure_internal_topic(topic)
                .await
                .map_err(|_| ErrorCode::CoordinatorNotAvailable)?;
            i32::try_from(topic.partitions.len())
                .ok()
                .filter(|count| *count > 0)
                .ok_or(ErrorCode::CoordinatorNotAvailable)
        })
    }

    fn topic_id(&self, topic: &str) -> Option<Uuid> {
        let image = self.broker().ok()?.cluster().image();
        image.topic(topic).map(|topic| topic.id)
    }

    fn has_partition(&self, partition: &TopicPartition) -> bool {
        self.broker().is_ok_and(|broker| {
            let image = broker.cluster().image();
            let count = image
                .topic(&partition.topic)
                .map_or(0, |topic| topic.partitions.len());
            usize::try_from(partition.partition).is_ok_and(|index| index < count)
        })
    }

    fn is_stage_group(&self, group: &str) -> bool {
        // Without a broker the node is gone, and nothing of a stage may be lost with it.
        self.broker().map_or(true, |broker| {
            millstream_cluster::is_stage_group(&broker.cluster().image(), group)
        })
    }

    fn next_producer_id(&self) -> BoxFuture<'_, Result<i64, ErrorCode>> {
        Box::pin(async move { self.broker()?.producer_ids().next().await })
    }
}
