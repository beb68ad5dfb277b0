//! Who waits for a log to move.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// The waiters of one log. Costs one relaxed load when nobody waits.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    count: AtomicUsize,
    next: AtomicU64,
    list: Mutex<Vec<(u64, Arc<Notify>)>>,
}

impl Watchers {
    pub(crate) fn add(self: &Arc<Self>, notify: Arc<Notify>) -> WatchGuard {
        let key = self.next.fetch_add(1, Ordering::Relaxed);
        let mut list = self.list.lock();
        list.push((key, notify));
        // Sequentially consistent: whoever registers and then reads the offsets either sees the new offsets or
        // is seen by the one who publishes them.
        self.count.store(list.len(), Ordering::SeqCst);
        WatchGuard {
            key,
            watchers: Arc::downgrade(self),
        }
    }

    /// Wakes one waiter of each registered `Notify`, or leaves it a permit.
    pub(crate) fn notify(&self) {
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        for (_, notify) in self.list.lock().iter() {
            notify.notify_one();
        }
    }

    fn remove(&self, key: u64) {
        let mut list = self.list.lock();
        list.retain(|(other, _)| *other != key);
        self.count.store(list.len(), Ordering::SeqCst);
    }
}

/// Keeps a `Notify` registered with a log; dropping it ends that.
#[derive(Debug)]
#[must_use = "the log forgets the watcher when the guard is dropped"]
pub struct WatchGuard {
    key: u64,
    watchers: Weak<Watchers>,
}

impl Drop for WatchGuard {
    fn drop(&mut self) {
        if let Some(watchers) = self.watchers.upgrade() {
            watchers.remove(self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_guard_is_not_notified() {
        let watchers = Arc::new(Watchers::default());
        let kept = Arc::new(Notify::new());
        let dropped = Arc::new(Notify::new());
        let _guard = watchers.add(Arc::clone(&kept));
        drop(watchers.add(Arc::clone(&dropped)));
        watchers.notify();
        assert_eq!(Arc::strong_count(&dropped), 1);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let mut woken = std::pin::pin!(kept.notified());
        assert!(
            woken.as_mut().poll(&mut context).is_ready(),
            "a permit was left"
        );
        let mut silent = std::pin::pin!(dropped.notified());
        assert!(silent.as_mut().poll(&mut context).is_pending());
    }
}
