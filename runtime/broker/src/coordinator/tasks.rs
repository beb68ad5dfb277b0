//! The background tasks of a coordinator: owned, and ended with it.

use std::future::Future;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinSet;

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

/// Sleeps until `wait_ms` are over, for ever when there are none, or until
/// somebody tells of an earlier deadline.
pub(crate) async fn sleep_until_earlier(wait_ms: Option<i64>, earlier: &Notify) {
    match wait_ms {
        None => earlier.notified().await,
        Some(wait_ms) => {
            let wait = Duration::from_millis(u64::try_from(wait_ms.max(1)).unwrap_or(1));
            // Which of the two it was makes no difference.
            let _ = tokio::time::timeout(wait, earlier.notified()).await;
        }
    }
}
