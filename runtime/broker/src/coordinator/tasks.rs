//! The background tasks of a coordinator: what both do, owned and ended with it.

use std::future::Future;
use std::sync::{Arc, Weak};
use std::time::Duration;

use millstream_wire::ErrorCode;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::Ports;
use crate::InternalTopic;

/// A set of tasks that end when the set is closed or dropped. After the close
/// nothing is started any more.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    running: Mutex<Option<JoinSet<()>>>,
}

impl Tasks {
    pub(crate) fn new() -> Self {
        Self {
            running: Mutex::new(Some(JoinSet::new())),
        }
    }

    /// Starts a task, unless the set is closed. Tasks that have ended are
    /// forgotten on the way.
    pub(crate) fn start(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(running) = self.running.lock().as_mut() {
            while running.try_join_next().is_some() {}
            running.spawn(task);
        }
    }

    /// Cancels what runs and waits until it is gone.
    pub(crate) async fn close(&self) {
        let running = self.running.lock().take();
        if let Some(mut running) = running {
            running.shutdown().await;
        }
    }
}

/// A coordinator with timers, an expiry and partitions of an internal topic.
pub(crate) trait Background: Send + Sync + 'static {
    /// The topic that keeps its state.
    const TOPIC: InternalTopic;

    fn tasks(&self) -> &Tasks;
    fn ports(&self) -> &Arc<dyn Ports>;
    /// Told when a deadline comes that is earlier than all others.
    fn earlier_deadline(&self) -> &Arc<Notify>;
    /// How often [`Background::expire`] runs.
    fn expiry_interval(&self) -> Duration;

    /// Does what is due, and says for how many ms nothing else is; for ever when it does not say.
    fn run_due(self: &Arc<Self>) -> impl Future<Output = Option<i64>> + Send;
    /// Forgets what is too old.
    fn expire(self: &Arc<Self>);
    /// Loads a partition, unless it is.
    fn load_partition(
        self: &Arc<Self>,
        partition: i32,
    ) -> impl Future<Output = Result<(), ErrorCode>> + Send;
}

/// Starts a coordinator's timers and expiry, and loads what is on disk. Nobody waits for that: who needs a partition
/// loads it at once.
///
/// The tasks hold the coordinator only while they work, so that it goes, and they with it, when its owner lets it go.
pub(crate) fn start_background<C: Background>(coordinator: &Arc<C>) {
    let tasks = coordinator.tasks();
    tasks.start(run_timers(Arc::downgrade(coordinator)));
    tasks.start(run_expiry(Arc::downgrade(coordinator)));
    tasks.start(load_all(Arc::downgrade(coordinator)));
}

async fn run_timers<C: Background>(coordinator: Weak<C>) {
    while let Some(this) = coordinator.upgrade() {
        let wait_ms = this.run_due().await;
        let earlier = Arc::clone(this.earlier_deadline());
        drop(this);
        sleep_until_earlier(wait_ms, &earlier).await;
    }
}

async fn run_expiry<C: Background>(coordinator: Weak<C>) {
    while let Some(this) = coordinator.upgrade() {
        let interval = this.expiry_interval();
        this.expire();
        drop(this);
        tokio::time::sleep(interval).await;
    }
}

async fn load_all<C: Background>(coordinator: Weak<C>) {
    let count = coordinator
        .upgrade()
        .and_then(|this| this.ports().partition_count(C::TOPIC));
    for partition in 0..count.unwrap_or(0) {
        let Some(this) = coordinator.upgrade() else {
            return;
        };
        match this.load_partition(partition).await {
            Ok(()) | Err(ErrorCode::NotCoordinator) => {}
            // Whoever could not read it has said why.
            Err(ErrorCode::CorruptMessage) => {}
            Err(error) => {
                tracing::error!(topic = C::TOPIC.name(), partition, %error, "a partition cannot be loaded");
            }
        }
    }
}

/// Sleeps until `wait_ms` are over, for ever when there are none, or until
/// somebody tells of an earlier deadline.
async fn sleep_until_earlier(wait_ms: Option<i64>, earlier: &Notify) {
    match wait_ms {
        None => earlier.notified().await,
        Some(wait_ms) => {
            let wait = Duration::from_millis(u64::try_from(wait_ms.max(1)).unwrap_or(1));
            // Which of the two it was makes no difference.
            let _ = tokio::time::timeout(wait, earlier.notified()).await;
        }
    }
}
