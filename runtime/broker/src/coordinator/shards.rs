//! The partitions of an internal topic as a coordinator keeps them: each is read once, when it is first needed.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use millstream_wire::ErrorCode;
use parking_lot::Mutex;

use super::{LedLog, LoadError, Ports, partition_for};
use crate::InternalTopic;

/// One partition, loaded or not.
struct Slot<S> {
    /// Held while the partition is being loaded, so that it is read once.
    loading: tokio::sync::Mutex<()>,
    shard: Mutex<Option<S>>,
    /// Why it could not be loaded, when that was tried.
    failure: Mutex<Option<String>>,
}

/// What a coordinator knows, by partition of the topic that keeps it. `S` is what it knows of one partition.
pub(crate) struct Shards<S> {
    ports: Arc<dyn Ports>,
    topic: InternalTopic,
    slots: OnceLock<Box<[Slot<S>]>>,
}

impl<S: Send + 'static> Shards<S> {
    pub(crate) fn new(ports: Arc<dyn Ports>, topic: InternalTopic) -> Self {
        Self {
            ports,
            topic,
            slots: OnceLock::new(),
        }
    }

    /// The partition that keeps what has this name; makes the topic when it is missing.
    pub(crate) async fn partition_of(&self, name: &str) -> Result<i32, ErrorCode> {
        let slots = self.slots().await?;
        let count = i32::try_from(slots.len()).map_err(|_| ErrorCode::UnknownServerError)?;
        Ok(partition_for(name, count))
    }

    /// The partitions that may be loaded.
    pub(crate) fn partitions(&self) -> Range<i32> {
        let count = self.slots.get().map_or(0, |slots| slots.len());
        0..i32::try_from(count).unwrap_or(i32::MAX)
    }

    /// Loads a partition with `read`, which may block, unless it is loaded; whether it was not.
    pub(crate) async fn load(
        &self,
        partition: i32,
        read: impl FnOnce(LedLog) -> Result<S, LoadError> + Send + 'static,
    ) -> Result<bool, ErrorCode> {
        self.slots().await?;
        let slot = self.slot(partition).ok_or(ErrorCode::NotCoordinator)?;
        if slot.shard.lock().is_some() {
            return Ok(false);
        }
        let _loading = slot.loading.lock().await;
        if slot.shard.lock().is_some() {
            return Ok(false);
        }
        let led = self.ports.led(self.topic.name(), partition);
        let led = led.map_err(coordinator_error)?;
        let read = tokio::task::spawn_blocking(move || read(led))
            .await
            .map_err(|_| ErrorCode::CoordinatorNotAvailable)?;
        match read {
            Ok(shard) => {
                *slot.shard.lock() = Some(shard);
                *slot.failure.lock() = None;
                Ok(true)
            }
            Err(LoadError { code, reason }) => {
                let mut failure = slot.failure.lock();
                // Every request tries again, and would say the same.
                if failure.as_ref() != Some(&reason) {
                    let topic = self.topic.name();
                    tracing::error!(topic, partition, %reason, "nothing that this partition keeps can be served");
                }
                *failure = Some(reason);
                Err(code)
            }
        }
    }

    /// Runs `step` under the partition's lock, if it is loaded.
    pub(crate) fn with<R>(&self, partition: i32, step: impl FnOnce(&mut S) -> R) -> Option<R> {
        self.slot(partition)?.shard.lock().as_mut().map(step)
    }

    /// Why the partition that keeps what has this name could not be loaded, when that was tried last.
    pub(crate) fn failure_of(&self, name: &str) -> Option<String> {
        let partition = partition_for(name, self.partitions().end.max(1));
        self.slot(partition)?.failure.lock().clone()
    }

    fn slot(&self, partition: i32) -> Option<&Slot<S>> {
        self.slots.get()?.get(usize::try_from(partition).ok()?)
    }

    async fn slots(&self) -> Result<&[Slot<S>], ErrorCode> {
        if let Some(slots) = self.slots.get() {
            return Ok(slots);
        }
        let count = self.ports.ensure(self.topic).await?;
        let empty = |_| Slot {
            loading: tokio::sync::Mutex::default(),
            shard: Mutex::new(None),
            failure: Mutex::new(None),
        };
        Ok(self
            .slots
            .get_or_init(|| (0..count.max(1)).map(empty).collect()))
    }
}

/// What a client is told when the partition of its coordinator cannot be had.
fn coordinator_error(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::NotLeaderOrFollower => ErrorCode::NotCoordinator,
        ErrorCode::UnknownTopicOrPartition | ErrorCode::KafkaStorageError => {
            ErrorCode::CoordinatorNotAvailable
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use millstream_log::FlushMode;

    use super::*;
    use crate::coordinator::testing::TestNode;

    fn shards() -> Arc<Shards<u32>> {
        let node = TestNode::new(FlushMode::Os, true);
        Arc::new(Shards::new(node.ports, InternalTopic::TransactionState))
    }

    #[tokio::test]
    async fn a_partition_that_many_ask_for_is_read_once() {
        let shards = shards();
        let reads = Arc::new(AtomicU32::new(0));
        let asking: Vec<_> = (0..8)
            .map(|_| {
                let (shards, reads) = (Arc::clone(&shards), Arc::clone(&reads));
                tokio::spawn(async move {
                    shards
                        .load(1, move |_| Ok(reads.fetch_add(1, Relaxed)))
                        .await
                })
            })
            .collect();
        let mut loaded = 0;
        for one in asking {
            loaded += u32::from(one.await.unwrap().unwrap());
        }
        assert_eq!((loaded, reads.load(Relaxed)), (1, 1));
        assert_eq!(shards.with(1, |shard| *shard), Some(0));
        assert_eq!(shards.with(0, |shard| *shard), None);
        assert_eq!(shards.partitions(), 0..2);
    }

    #[tokio::test]
    async fn a_partition_that_could_not_be_read_is_read_again() {
        let shards = shards();
        let failed = shards.load(0, |_| Err(LoadError::corrupt("damaged"))).await;
        assert_eq!(failed, Err(ErrorCode::CorruptMessage));
        assert_eq!(shards.with(0, |_| ()), None);
        let (of_partition_0, of_partition_1) = ("b", "a");
        let reason = shards.failure_of(of_partition_0);
        assert_eq!(reason.as_deref(), Some("damaged"));
        assert_eq!(shards.failure_of(of_partition_1), None);
        assert_eq!(shards.load(0, |_| Ok(7)).await, Ok(true));
        assert_eq!(shards.failure_of(of_partition_0), None);
        assert_eq!(shards.with(0, |shard| *shard), Some(7));
    }

    #[tokio::test]
    async fn a_partition_that_the_topic_does_not_have_has_no_coordinator() {
        let shards = shards();
        for partition in [-1, 2, i32::MAX] {
            let refused = shards.load(partition, |_| Ok(0)).await;
            assert_eq!(refused, Err(ErrorCode::NotCoordinator), "{partition}");
        }
    }
}
