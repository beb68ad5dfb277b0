//! The group coordinator's asynchronous face: finds a group's partition, loads
//! it, runs one synchronous step under its lock, and waits outside of it.

use std::sync::Arc;
use std::time::Duration;

use millstream_log::clock::Clock;
use millstream_log::{Appended, Lsn};
use millstream_records::Marker;
use millstream_wire::ErrorCode;
use parking_lot::Mutex;
use tokio::sync::Notify;
use uuid::Uuid;

use super::expiry::ExpiryRules;
use super::machine::GroupLimits;
use super::shard::Shard;
use crate::InternalTopic;
use crate::coordinator::{
    Background, Deadlines, Now, Ports, Shards, Tasks, TopicPartition, start_background,
};

/// Settings of the node that the group coordinator follows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupSettings {
    pub(crate) limits: GroupLimits,
    /// `offset.metadata.max.bytes`
    pub(crate) metadata_bytes_max: usize,
    /// `offsets.commit.timeout.ms`
    pub(crate) commit_timeout_ms: u64,
    /// `offsets.retention.minutes`, in milliseconds
    pub(crate) retention_ms: i64,
    /// `offsets.retention.check.interval.ms`
    pub(crate) retention_check_ms: u64,
}

/// The group coordinator of this node.
pub(crate) struct GroupCoordinator {
    ports: Arc<dyn Ports>,
    clock: Arc<dyn Clock>,
    pub(super) settings: GroupSettings,
    /// By partition of `__consumer_offsets`.
    pub(super) shards: Shards<Shard>,
    deadlines: Mutex<Deadlines<(i32, String)>>,
    earlier_deadline: Arc<Notify>,
    tasks: Tasks,
}

impl GroupCoordinator {
    pub(crate) fn new(
        ports: Arc<dyn Ports>,
        clock: Arc<dyn Clock>,
        settings: GroupSettings,
    ) -> Arc<Self> {
        Arc::new(Self {
            shards: Shards::new(Arc::clone(&ports), InternalTopic::ConsumerOffsets),
            ports,
            clock,
            settings,
            deadlines: Mutex::new(Deadlines::default()),
            earlier_deadline: Arc::new(Notify::new()),
            tasks: Tasks::new(),
        })
    }

    /// Starts the timers, and loads what is on disk in the background. Nobody
    /// waits for that: who needs a partition loads it at once.
    pub(crate) fn start(self: &Arc<Self>) {
        start_background(self);
    }

    /// Answers whoever waits for a group, now and from now on.
    pub(crate) fn dismiss(self: &Arc<Self>) {
        for partition in self.shards.partitions() {
            self.shards.with(partition, Shard::dismiss);
        }
    }

    /// Ends the background tasks.
    pub(crate) async fn close(&self) {
        self.tasks.close().await;
    }

    pub(crate) fn now(&self) -> Now {
        Now::read(&*self.clock)
    }

    /// The id of the topic that has this name now.
    pub(super) fn topic_id(&self, topic: &str) -> Option<Uuid> {
        self.ports.topic_id(topic)
    }

    /// Whether there is this partition now.
    pub(super) fn has_partition(&self, partition: &TopicPartition) -> bool {
        self.ports.has_partition(partition)
    }

    /// Whether the group is the one of a deployed stage: then nobody but the
    /// stage's tasks joins it or commits to it, and its offsets do not expire.
    pub(super) fn is_stage_group(&self, group: &str) -> bool {
        self.ports.is_stage_group(group)
    }

    /// The partition that keeps a group; makes the topic when it is missing.
    pub(crate) async fn partition_of(&self, group: &str) -> Result<i32, ErrorCode> {
        self.shards.partition_of(group).await
    }

    /// Runs `step` on the loaded partition that keeps `group`, under its lock.
    pub(super) async fn with_group<R>(
        self: &Arc<Self>,
        group: &str,
        step: impl FnOnce(&mut Shard, Now) -> R,
    ) -> Result<R, ErrorCode> {
        let partition = self.partition_of(group).await?;
        self.load(partition).await?;
        self.with_loaded(partition, step)
            .ok_or(ErrorCode::NotCoordinator)
    }

    /// Runs `step` if the partition is loaded.
    pub(super) fn with_loaded<R>(
        self: &Arc<Self>,
        partition: i32,
        step: impl FnOnce(&mut Shard, Now) -> R,
    ) -> Option<R> {
        let (result, due, waiting) = self.shards.with(partition, |shard| {
            let now = self.now();
            shard.settle(now);
            let result = step(shard, now);
            shard.settle(now);
            let due = shard.take_deadlines();
            let waiting = shard.unsettled().filter(|_| shard.owes_replies());
            (result, due, waiting)
        })?;
        self.schedule(partition, due);
        if let Some(lsn) = waiting {
            self.settle_later(partition, lsn);
        }
        Some(result)
    }

    /// Loads a partition, unless it is.
    pub(crate) async fn load(self: &Arc<Self>, partition: i32) -> Result<(), ErrorCode> {
        let (limits, now) = (self.settings.limits, self.now());
        let ports = Arc::clone(&self.ports);
        let read = move |led| Shard::load(led, limits, &|topic| ports.topic_id(topic), now);
        if self.shards.load(partition, read).await? {
            // Looked at once, so that its groups' deadlines are known.
            self.drop_unnamed(partition, |topic_id| topic_id.is_nil());
        }
        Ok(())
    }

    /// Appends the end of a producer's transaction to a loaded partition.
    /// COORDINATOR_LOAD_IN_PROGRESS when it is not loaded.
    pub(crate) fn append_marker(
        self: &Arc<Self>,
        partition: i32,
        marker: Marker,
        producer: (i64, i16),
        coordinator_epoch: i32,
    ) -> Result<Appended, ErrorCode> {
        self.with_loaded(partition, |shard, now| {
            shard.append_marker(marker, producer, coordinator_epoch, now)
        })
        .unwrap_or(Err(ErrorCode::CoordinatorLoadInProgress))
    }

    /// Loads every partition, for who asks about all groups. The first error
    /// leaves no other partition out.
    pub(crate) async fn load_all(self: &Arc<Self>) -> Result<(), ErrorCode> {
        let count = self
            .ports
            .partition_count(InternalTopic::ConsumerOffsets)
            .unwrap_or(0);
        let mut result = Ok(());
        for partition in 0..count {
            match self.load(partition).await {
                Ok(()) | Err(ErrorCode::NotCoordinator) => {}
                Err(error) => result = result.and(Err(error)),
            }
        }
        result
    }

    /// The metadata have these topics no more, whatever has their names now.
    /// Their offsets are none already, by their topics' ids, and their records
    /// go with the expiry. Those whose records name no id go at once; that
    /// reaches every partition that was loaded while the topics were there.
    pub(crate) fn topics_deleted(self: &Arc<Self>, topic_ids: &[Uuid]) {
        for partition in self.shards.partitions() {
            self.drop_unnamed(partition, |topic_id| topic_ids.contains(&topic_id));
        }
    }

    fn drop_unnamed(self: &Arc<Self>, partition: i32, is_gone: impl Fn(Uuid) -> bool) {
        let result = self.with_loaded(partition, |shard, now| shard.drop_unnamed(is_gone, now));
        if let Some(Err(error)) = result {
            tracing::warn!(partition, %error, "offsets of deleted topics cannot be removed yet");
        }
    }

    /// Somebody waits for a change to be committed and for nothing else, and
    /// may go away meanwhile; so a task of ours waits for the flush.
    fn settle_later(self: &Arc<Self>, partition: i32, lsn: Lsn) {
        let led = self.shards.with(partition, |shard| shard.led.clone());
        let Some(led) = led else {
            return;
        };
        let coordinator = Arc::downgrade(self);
        self.tasks.start(async move {
            let flushed = led.flushed(lsn).await;
            let Some(coordinator) = coordinator.upgrade() else {
                return;
            };
            let now = coordinator.now();
            coordinator.shards.with(partition, |shard| match flushed {
                Ok(()) => shard.settle(now),
                Err(_) => shard.fail_queue(now),
            });
            coordinator.reschedule(partition);
        });
    }

    fn reschedule(&self, partition: i32) {
        if let Some(due) = self.shards.with(partition, Shard::take_deadlines) {
            self.schedule(partition, due);
        }
    }

    fn schedule(&self, partition: i32, due: Vec<(String, i64)>) {
        if due.is_empty() {
            return;
        }
        let mut deadlines = self.deadlines.lock();
        let mut earlier = false;
        for (group, deadline_ms) in due {
            earlier |= deadlines.set((partition, group), deadline_ms);
        }
        drop(deadlines);
        if earlier {
            self.earlier_deadline.notify_one();
        }
    }

    /// Runs every group whose deadline has passed.
    pub(crate) fn tick(self: &Arc<Self>) {
        loop {
            let now_ms = self.now().monotonic_ms;
            let Some((partition, group)) = self.deadlines.lock().pop_due(now_ms) else {
                return;
            };
            self.with_loaded(partition, |shard, now| {
                shard.drive(&group, now, |membership, limits| {
                    membership.tick(limits, now.monotonic_ms)
                });
                shard.forget_if_empty(&group);
            });
        }
    }

    /// Writes tombstones for what has outlived its retention.
    pub(crate) fn expire(self: &Arc<Self>) {
        for partition in self.shards.partitions() {
            let result = self.with_loaded(partition, |shard, now| {
                let rules = ExpiryRules {
                    retention_ms: self.settings.retention_ms,
                    is_stage_group: &|group| self.is_stage_group(group),
                    present: &|topic| self.topic_id(topic),
                };
                shard.expire(rules, now)
            });
            if let Some(Err(error)) = result {
                tracing::warn!(partition, %error, "expired offsets cannot be removed");
            }
        }
    }
}

impl Background for GroupCoordinator {
    const TOPIC: InternalTopic = InternalTopic::ConsumerOffsets;

    fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    fn ports(&self) -> &Arc<dyn Ports> {
        &self.ports
    }

    fn earlier_deadline(&self) -> &Arc<Notify> {
        &self.earlier_deadline
    }

    fn expiry_interval(&self) -> Duration {
        Duration::from_millis(self.settings.retention_check_ms.max(1))
    }

    async fn run_due(self: &Arc<Self>) -> Option<i64> {
        self.tick();
        let next_ms = self.deadlines.lock().next();
        next_ms.map(|next_ms| next_ms.saturating_sub(self.now().monotonic_ms))
    }

    fn expire(self: &Arc<Self>) {
        GroupCoordinator::expire(self);
    }

    async fn load_partition(self: &Arc<Self>, partition: i32) -> Result<(), ErrorCode> {
        self.load(partition).await
    }
}
