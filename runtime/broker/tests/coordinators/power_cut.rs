//! The power fails at any moment of a stage's transactions, on a disk that drops what was never flushed.

use std::sync::Arc;

use millstream_log::{FlushMode, LogStore, StoreOptions, testing::SimFs};

use crate::support::Node;

/// Operations of the disk that the path below takes, more or less; cuts fall within them.
const OPERATIONS: u64 = 400;

fn options(fs: &SimFs) -> StoreOptions {
    let mut options = StoreOptions::new("/data", FlushMode::Journal);
    options.fs = Arc::new(fs.clone());
    options
}

/// Commits until the power is off; how many commits were acknowledged, and how many were begun.
async fn run_until_dark(fs: &SimFs) -> (i64, i64) {
    let Ok((store, _)) = LogStore::open(options(fs)) else {
        return (0, 0);
    };
    let Ok(node) = Node::try_over(store).await else {
        return (0, 0);
    };
    let Ok(mut task) = node.try_task(1).await else {
        return (0, 0);
    };
    let mut acknowledged = 0;
    loop {
        let next = acknowledged + 1;
        if task.transact(&next.to_string(), next).await.is_err() {
            return (acknowledged, next);
        }
        acknowledged = next;
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_and_nothing_is_torn() {
    let mut with_commits = 0;
    for seed in 0..60 {
        let fs = SimFs::new(seed);
        fs.cut_power_after(1 + seed * 7919 % OPERATIONS);
        let (acknowledged, begun) = run_until_dark(&fs).await;
        let disk = fs.power_cut(seed);
        let (store, _) = LogStore::open(options(&disk)).unwrap();
        let node = Node::over(store).await;
        let mut task = node.task(2).await;
        let position = node.position().await.unwrap().unwrap_or(0);
        assert!(
            (acknowledged..=begun).contains(&position),
            "seed {seed}: {acknowledged} acknowledged, {begun} begun, {position} there"
        );
        let expected: Vec<String> = (1..=position).map(|one| one.to_string()).collect();
        for partition in 0..2 {
            assert_eq!(node.committed(partition), expected, "seed {seed}");
        }
        task.transact("after", position + 1).await.unwrap();
        assert_eq!(node.position().await, Ok(Some(position + 1)));
        with_commits += i64::from(acknowledged > 0);
    }
    assert!(with_commits > 20, "most cuts fall into the transactions");
}
