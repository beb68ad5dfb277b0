//! The transactional ids of this node: found, loaded, timed out, expired.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use millstream_log::clock::Clock;
use millstream_wire::ErrorCode;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::after_loss::{OpenPartitions, lost_to};
use super::entry::Entry;
use super::machine::{NO_PRODUCER_ID, Transaction};
use super::state::TransactionState;
use super::stored;
use crate::InternalTopic;
use crate::coordinator::{
    Background, Deadlines, LedLog, LoadError, Now, Ports, Shards, Stored, Tasks, start_background,
};
use crate::group::GroupCoordinator;

/// Settings of the node that the transaction coordinator follows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TransactionSettings {
    /// `transaction.max.timeout.ms`
    pub(crate) timeout_ms_max: i32,
    /// `transactional.id.expiration.ms`
    pub(crate) expiration_ms: i64,
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`
    pub(crate) expiration_check_ms: u64,
    /// `transaction.abort.timed.out.transaction.cleanup.interval.ms`: an overdue
    /// transaction is looked for this often, whatever its timer does.
    pub(crate) timeout_check_ms: i64,
    /// How long a request waits for a transaction that is being finished
    /// before it is told CONCURRENT_TRANSACTIONS.
    pub(crate) wait_ms_max: u64,
}

/// Before an overdue transaction that could not be aborted is looked at again.
const ABORT_AGAIN_MS: i64 = 1_000;

type Ids = HashMap<Arc<str>, Arc<Entry>>;

/// A loaded partition of `__transaction_state`.
struct Shard {
    led: LedLog,
    ids: Ids,
}

/// The transaction coordinator of this node.
pub(crate) struct TransactionCoordinator {
    pub(super) ports: Arc<dyn Ports>,
    pub(super) groups: Arc<GroupCoordinator>,
    clock: Arc<dyn Clock>,
    pub(super) settings: TransactionSettings,
    shards: Shards<Shard>,
    /// When open transactions are overdue, by the monotonic clock.
    deadlines: Mutex<Deadlines<Arc<str>>>,
    earlier_deadline: Arc<Notify>,
    pub(super) tasks: Tasks,
}

impl TransactionCoordinator {
    pub(crate) fn new(
        ports: Arc<dyn Ports>,
        groups: Arc<GroupCoordinator>,
        clock: Arc<dyn Clock>,
        settings: TransactionSettings,
    ) -> Arc<Self> {
        Arc::new(Self {
            shards: Shards::new(Arc::clone(&ports), InternalTopic::TransactionState),
            ports,
            groups,
            clock,
            settings,
            deadlines: Mutex::new(Deadlines::default()),
            earlier_deadline: Arc::new(Notify::new()),
            tasks: Tasks::new(),
        })
    }

    /// Starts the timers, and loads what is on disk in the background: that
    /// sends the markers of decisions again that a crash left without.
    pub(crate) fn start(self: &Arc<Self>) {
        start_background(self);
    }

    /// Ends the background tasks.
    pub(crate) async fn close(&self) {
        self.tasks.close().await;
    }

    pub(super) fn now(&self) -> Now {
        Now::read(&*self.clock)
    }

    /// The partition that keeps a transactional id; makes the topic when it is
    /// missing.
    pub(crate) async fn partition_of(&self, id: &str) -> Result<i32, ErrorCode> {
        self.shards.partition_of(id).await
    }

    /// The entry of an id that is known. INVALID_PRODUCER_ID_MAPPING otherwise.
    pub(super) async fn entry(self: &Arc<Self>, id: &str) -> Result<Arc<Entry>, ErrorCode> {
        self.with_ids(id, |shard| shard.ids.get(id).cloned())
            .await?
            .ok_or(ErrorCode::InvalidProducerIdMapping)
    }

    /// The entry of an id, made when it is new.
    pub(super) async fn entry_or_new(self: &Arc<Self>, id: &str) -> Result<Arc<Entry>, ErrorCode> {
        self.with_ids(id, |shard| {
            if let Some(entry) = shard.ids.get(id) {
                return Ok(Arc::clone(entry));
            }
            let entry = Entry::new(id, shard.led.clone(), Transaction::default())?;
            let entry = Arc::new(entry);
            shard.ids.insert(Arc::clone(&entry.id), Arc::clone(&entry));
            Ok(entry)
        })
        .await?
    }

    async fn with_ids<R>(
        self: &Arc<Self>,
        id: &str,
        step: impl FnOnce(&mut Shard) -> R,
    ) -> Result<R, ErrorCode> {
        let partition = self.partition_of(id).await?;
        self.load(partition).await?;
        self.shards
            .with(partition, step)
            .ok_or(ErrorCode::NotCoordinator)
    }

    /// Loads a partition, unless it is.
    pub(super) async fn load(self: &Arc<Self>, partition: i32) -> Result<(), ErrorCode> {
        let now_ms = self.now().monotonic_ms;
        let read = move |led| read_shard(led, now_ms);
        if self.shards.load(partition, read).await? {
            let entries = |shard: &mut Shard| shard.ids.values().cloned().collect();
            let entries: Vec<Arc<Entry>> = self.shards.with(partition, entries).unwrap_or_default();
            for entry in entries {
                self.resume(&entry);
            }
        }
        Ok(())
    }

    /// Where transactions are open, by the loaded ones of so many partitions.
    pub(super) fn open_partitions(&self, count: i32) -> OpenPartitions {
        let mut found = OpenPartitions::new();
        for partition in 0..count {
            self.shards.with(partition, |shard| {
                for entry in shard.ids.values() {
                    let state = entry.lock();
                    let producer_id = state.transaction.producer_id;
                    let partitions = state.transaction.partitions.iter().cloned();
                    found.extend(partitions.map(|partition| (producer_id, partition)));
                }
            });
        }
        found
    }

    /// Goes on with what a loaded id was in the middle of.
    fn resume(self: &Arc<Self>, entry: &Arc<Entry>) {
        let mut state = entry.lock();
        if state.transaction.state.is_prepared() {
            tracing::info!(id = %entry.id, state = ?state.transaction.state, "sending the markers of a decided transaction again");
            self.finish_later(entry, &mut state);
        }
        self.watch_timeout(entry, &state.transaction);
    }

    /// Makes sure that an open transaction is looked at when it is overdue.
    pub(super) fn watch_timeout(&self, entry: &Entry, transaction: &Transaction) {
        if let Some(deadline_ms) = transaction.deadline_ms {
            self.look_again(entry, deadline_ms.saturating_add(1));
        }
    }

    fn look_again(&self, entry: &Entry, at_ms: i64) {
        let earlier = self.deadlines.lock().set(Arc::clone(&entry.id), at_ms);
        if earlier {
            self.earlier_deadline.notify_one();
        }
    }

    /// Aborts every transaction that is overdue, and fences its producer.
    pub(crate) async fn abort_overdue(self: &Arc<Self>) {
        loop {
            let now = self.now();
            let again_ms = now.monotonic_ms.saturating_add(ABORT_AGAIN_MS);
            let Some(id) = self.deadlines.lock().pop_due(now.monotonic_ms) else {
                return;
            };
            let Ok(entry) = self.entry(&id).await else {
                continue;
            };
            let mut state = entry.lock();
            if state.deciding {
                // It may fail, and leave the transaction open.
                self.look_again(&entry, again_ms);
            } else if let Some(prepare) = state.transaction.time_out(now) {
                tracing::info!(id = %entry.id, "aborting a transaction that timed out");
                if let Err(error) = self.decide(&entry, &mut state, prepare) {
                    tracing::warn!(id = %entry.id, %error, "a transaction that timed out cannot be aborted yet");
                    self.look_again(&entry, again_ms);
                }
            } else {
                self.watch_timeout(&entry, &state.transaction);
            }
        }
    }

    /// Replaces every id that has been idle for too long by a tombstone.
    pub(crate) fn expire(&self) {
        let now_ms = self.now().wall_ms;
        let expiration_ms = self.settings.expiration_ms;
        for partition in self.shards.partitions() {
            self.shards.with(partition, |shard| {
                let stays = |entry: &Entry| !expire_entry(entry, now_ms, expiration_ms);
                shard.ids.retain(|_, entry| stays(entry));
            });
        }
    }
}

impl Background for TransactionCoordinator {
    const TOPIC: InternalTopic = InternalTopic::TransactionState;

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
        Duration::from_millis(self.settings.expiration_check_ms.max(1))
    }

    async fn run_due(self: &Arc<Self>) -> Option<i64> {
        self.abort_overdue().await;
        let next_ms = self.deadlines.lock().next();
        next_ms.map(|next_ms| {
            let wait_ms = next_ms.saturating_sub(self.now().monotonic_ms);
            wait_ms.min(self.settings.timeout_check_ms)
        })
    }

    fn expire(self: &Arc<Self>) {
        TransactionCoordinator::expire(self);
    }

    async fn load_partition(self: &Arc<Self>, partition: i32) -> Result<(), ErrorCode> {
        self.load(partition).await
    }
}

/// Whether the id is gone now.
fn expire_entry(entry: &Entry, now_ms: i64, expiration_ms: i64) -> bool {
    let mut state = entry.lock();
    if state.deciding || !state.transaction.is_expired(now_ms, expiration_ms) {
        return false;
    }
    if state.transaction.producer_id != NO_PRODUCER_ID
        && let Err(error) = entry.append_tombstone(now_ms)
    {
        tracing::warn!(id = %entry.id, %error, "an expired transactional id cannot be removed");
        return false;
    }
    // Whoever still holds the entry finds it dead and looks the id up anew.
    let mut dead = state.transaction.clone();
    dead.state = TransactionState::Dead;
    dead.partitions.clear();
    state.transaction.install(dead);
    true
}

/// Reads a partition from its start to its end. Blocks.
fn read_shard(led: LedLog, now_ms: i64) -> Result<Shard, LoadError> {
    let mut transactions: HashMap<String, Transaction> = HashMap::new();
    let mut failed = None;
    let lost_to = lost_to(&led.log);
    led.read_all(|record| {
        let Stored::Record { at, key, value, .. } = record else {
            return;
        };
        match stored::read(key, value, now_ms) {
            Ok((id, Some(transaction))) => {
                let transaction = match at < lost_to {
                    true => transaction.after_loss(),
                    false => transaction,
                };
                transactions.insert(id, transaction);
            }
            Ok((id, None)) => {
                transactions.remove(&id);
            }
            Err(error) => {
                failed.get_or_insert(error);
            }
        }
    })?;
    if let Some(error) = failed {
        let reason = format!("a record of a transaction cannot be read: {error}");
        return Err(LoadError::corrupt(reason));
    }
    let mut ids = Ids::with_capacity(transactions.len());
    for (id, transaction) in transactions {
        let entry = Arc::new(Entry::new(&id, led.clone(), transaction)?);
        ids.insert(Arc::clone(&entry.id), entry);
    }
    Ok(Shard { led, ids })
}
