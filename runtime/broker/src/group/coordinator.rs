//! The group coordinator's asynchronous face: finds a group's partition, loads
//! it, runs one synchronous step under its lock, and waits outside of it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use millstream_log::clock::Clock;
use millstream_log::{Appended, Lsn};
use millstream_records::Marker;
use millstream_wire::ErrorCode;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::machine::GroupLimits;
use super::shard::{Now, Shard};
use crate::InternalTopic;
use crate::coordinator::{Background, Deadlines, Ports, Tasks, partition_for, start_background};

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

/// One partition of `__consumer_offsets`, loaded or not.
#[derive(Default)]
struct Slot {
    /// Held while the partition is being loaded, so that it is read once.
    loading: tokio::sync::Mutex<()>,
    shard: Mutex<Option<Shard>>,
}

/// The group coordinator of this node.
pub(crate) struct GroupCoordinator {
    ports: Arc<dyn Ports>,
    clock: Arc<dyn Clock>,
    pub(super) settings: GroupSettings,
    slots: OnceLock<Box<[Slot]>>,
    deadlines: Mutex<Deadlines<(usize, String)>>,
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
            ports,
            clock,
            settings,
            slots: OnceLock::new(),
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
        for partition in 0..self.slot_count() {
            self.with_loaded_quietly(partition, Shard::dismiss);
        }
    }

    /// Ends the background tasks.
    pub(crate) async fn close(&self) {
        self.tasks.close().await;
    }

    pub(crate) fn now(&self) -> Now {
        Now {
            monotonic_ms: i64::try_from(self.clock.monotonic().as_millis()).unwrap_or(i64::MAX),
            wall_ms: self.clock.now_ms(),
        }
    }

    /// Whether the group is the one of a deployed stage: then nobody but the
    /// stage's tasks joins it or commits to it, and its offsets do not expire.
    pub(super) fn is_stage_group(&self, group: &str) -> bool {
        self.ports.is_stage_group(group)
    }

    /// The partition that keeps a group; makes the topic when it is missing.
    pub(crate) async fn partition_of(&self, group: &str) -> Result<i32, ErrorCode> {
        let slots = self.slots().await?;
        let count = i32::try_from(slots.len()).map_err(|_| ErrorCode::UnknownServerError)?;
        Ok(partition_for(group, count))
    }

    async fn slots(&self) -> Result<&[Slot], ErrorCode> {
        if let Some(slots) = self.slots.get() {
            return Ok(slots);
        }
        let count = self.ports.ensure(InternalTopic::ConsumerOffsets).await?;
        Ok(self.make_slots(count))
    }

    fn make_slots(&self, count: i32) -> &[Slot] {
        self.slots
            .get_or_init(|| (0..count.max(1)).map(|_| Slot::default()).collect())
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
        let index = usize::try_from(partition).ok()?;
        let slot = self.slots.get()?.get(index)?;
        let mut guard = slot.shard.lock();
        let shard = guard.as_mut()?;
        let now = self.now();
        shard.settle(now);
        let result = step(shard, now);
        shard.settle(now);
        let due = shard.take_deadlines();
        let waiting = shard.unsettled().filter(|_| shard.owes_replies());
        drop(guard);
        self.schedule(index, due);
        if let Some(lsn) = waiting {
            self.settle_later(partition, lsn);
        }
        Some(result)
    }

    /// Loads a partition, unless it is.
    pub(crate) async fn load(self: &Arc<Self>, partition: i32) -> Result<(), ErrorCode> {
        let slots = self.slots().await?;
        let index = usize::try_from(partition).map_err(|_| ErrorCode::NotCoordinator)?;
        let slot = slots.get(index).ok_or(ErrorCode::NotCoordinator)?;
        if slot.shard.lock().is_some() {
            return Ok(());
        }
        let _loading = slot.loading.lock().await;
        if slot.shard.lock().is_some() {
            return Ok(());
        }
        let name = InternalTopic::ConsumerOffsets.name();
        let led = self.ports.led(name, partition).map_err(coordinator_error)?;
        let (limits, now) = (self.settings.limits, self.now());
        let shard = tokio::task::spawn_blocking(move || Shard::load(led, limits, now))
            .await
            .map_err(|_| ErrorCode::CoordinatorNotAvailable)??;
        *slot.shard.lock() = Some(shard);
        // Looked at once, so that its groups' deadlines are known.
        self.with_loaded(partition, |_, _| ());
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

    /// Loads every partition, for who asks about all groups.
    pub(super) async fn load_all(self: &Arc<Self>) -> Result<(), ErrorCode> {
        let Some(count) = self.ports.partition_count(InternalTopic::ConsumerOffsets) else {
            return Ok(());
        };
        self.make_slots(count);
        for partition in 0..count {
            match self.load(partition).await {
                Ok(()) | Err(ErrorCode::NotCoordinator) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The number of partitions that may be loaded.
    pub(super) fn slot_count(&self) -> i32 {
        let count = self.slots.get().map_or(0, |slots| slots.len());
        i32::try_from(count).unwrap_or(i32::MAX)
    }

    /// Somebody waits for a change to be committed and for nothing else, and
    /// may go away meanwhile; so a task of ours waits for the flush.
    fn settle_later(self: &Arc<Self>, partition: i32, lsn: Lsn) {
        let led = self.with_loaded_quietly(partition, |shard| shard.led.clone());
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
            coordinator.with_loaded_quietly(partition, |shard| match flushed {
                Ok(()) => shard.settle(now),
                Err(_) => shard.fail_queue(now),
            });
            coordinator.reschedule(partition);
        });
    }

    /// As `with_loaded`, without settling and without starting tasks.
    fn with_loaded_quietly<R>(
        &self,
        partition: i32,
        step: impl FnOnce(&mut Shard) -> R,
    ) -> Option<R> {
        let index = usize::try_from(partition).ok()?;
        let slot = self.slots.get()?.get(index)?;
        slot.shard.lock().as_mut().map(step)
    }

    fn reschedule(self: &Arc<Self>, partition: i32) {
        let due = self.with_loaded_quietly(partition, Shard::take_deadlines);
        if let (Some(due), Ok(index)) = (due, usize::try_from(partition)) {
            self.schedule(index, due);
        }
    }

    fn schedule(&self, index: usize, due: Vec<(String, i64)>) {
        if due.is_empty() {
            return;
        }
        let mut deadlines = self.deadlines.lock();
        let mut earlier = false;
        for (group, deadline_ms) in due {
            earlier |= deadlines.set((index, group), deadline_ms);
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
            let Some((index, group)) = self.deadlines.lock().pop_due(now_ms) else {
                return;
            };
            let Ok(partition) = i32::try_from(index) else {
                continue;
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
        for partition in 0..self.slot_count() {
            let result = self.with_loaded(partition, |shard, now| {
                let is_stage_group = |group: &str| self.is_stage_group(group);
                shard.expire(self.settings.retention_ms, is_stage_group, now)
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

/// What a client is told when the partition of its coordinator cannot be had.
pub(crate) fn coordinator_error(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::NotLeaderOrFollower => ErrorCode::NotCoordinator,
        ErrorCode::UnknownTopicOrPartition | ErrorCode::KafkaStorageError => {
            ErrorCode::CoordinatorNotAvailable
        }
        other => other,
    }
}
