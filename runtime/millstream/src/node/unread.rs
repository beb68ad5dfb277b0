//! Says when records leave a partition that a stage of this node has not consumed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millstream_broker::{Broker, Local, RemovedUnread};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Between two looks: a pass of retention moves the starts of many logs, one behind the other.
const PAUSE: Duration = Duration::from_secs(1);

/// Looks whenever the start of a log has moved, and first at what a start of the node finds. Dropped, it ends.
#[derive(Debug)]
pub struct UnreadWatch(JoinHandle<()>);

impl UnreadWatch {
    pub fn start(broker: &Arc<Broker>) -> UnreadWatch {
        let (local, moves) = (broker.local(), broker.store().log_start_moves());
        UnreadWatch(tokio::spawn(look_on(local, moves)))
    }

    /// Ends it and waits for that, so that it keeps nothing open.
    pub async fn stop(mut self) {
        self.0.abort();
        if let Err(error) = (&mut self.0).await
            && error.is_panic()
        {
            tracing::error!(%error, "the watch over what stages have not consumed panicked");
        }
    }
}

impl Drop for UnreadWatch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn look_on(local: Local, mut moves: watch::Receiver<u64>) {
    let mut told = Told::default();
    loop {
        // Marked as seen before the look: what moves meanwhile is looked at again.
        moves.borrow_and_update();
        match local.load_groups().await {
            Ok(()) => told.news(local.removed_unread()).iter().for_each(warn),
            Err(error) => tracing::debug!(%error, "not all groups are loaded yet"),
        }
        tokio::time::sleep(PAUSE).await;
        if moves.changed().await.is_err() {
            return;
        }
    }
}

fn warn(removed: &RemovedUnread) {
    let RemovedUnread {
        group,
        topic,
        partition,
        position,
        log_start,
    } = removed;
    tracing::warn!(
        group,
        topic,
        partition,
        "up to {} records (offsets {position} to {}) were removed by retention or DeleteRecords before the stage \
         consumed them; a larger retention.ms of {topic} keeps those that follow",
        removed.offsets(),
        log_start - 1,
    );
}

/// What was told: up to which log start, by group, topic and partition.
#[derive(Debug, Default)]
struct Told(BTreeMap<(String, String, i32), i64>);

impl Told {
    /// Of all that is gone what was not told yet. A stage that has gone on behind it is forgotten.
    fn news(&mut self, found: Vec<RemovedUnread>) -> Vec<RemovedUnread> {
        let before = std::mem::take(&mut self.0);
        let mut news = Vec::new();
        for one in found {
            let place = (one.group.clone(), one.topic.clone(), one.partition);
            let is_new = before.get(&place).is_none_or(|told| *told < one.log_start);
            self.0.insert(place, one.log_start);
            if is_new {
                news.push(one);
            }
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn removed(partition: i32, position: i64, log_start: i64) -> RemovedUnread {
        RemovedUnread {
            group: "millstream.p.s".to_owned(),
            topic: "t".to_owned(),
            partition,
            position,
            log_start,
        }
    }

    #[test]
    fn each_loss_is_told_once_and_again_when_it_grows() {
        let mut told = Told::default();
        let mut looks = |found: &[(i32, i64, i64)]| {
            let found = found.iter().map(|(p, at, start)| removed(*p, *at, *start));
            let news = told.news(found.collect());
            news.iter()
                .map(|one| (one.partition, one.offsets()))
                .collect::<Vec<_>>()
        };
        assert_eq!(looks(&[]), []);
        assert_eq!(looks(&[(0, 5, 9)]), [(0, 4)]);
        assert_eq!(looks(&[(0, 5, 9), (1, 0, 2)]), [(1, 2)]);
        assert_eq!(looks(&[(0, 5, 12), (1, 0, 2)]), [(0, 7)]);
        // The stage has gone on behind the gap of partition 1, which is made anew later and has another.
        assert_eq!(looks(&[(0, 5, 12)]), []);
        assert_eq!(looks(&[(0, 5, 12), (1, 0, 1)]), [(1, 1)]);
    }
}
