//! What the coordinators know after a restart, clean or not.

use millstream_wire::ErrorCode;

use crate::support::{MODES, Node, eventually};

#[tokio::test]
async fn an_open_transaction_goes_on_after_a_crash() {
    for flush in MODES {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::open(dir.path(), flush).await;
        let mut task = node.task(1).await;
        task.transact("before", 1).await.unwrap();
        task.begin().await.unwrap();
        task.append(0, "during").await.unwrap();
        task.offsets(2).await.unwrap();
        let (id, epoch) = (task.id, task.epoch);
        // Everything so far is flushed, then the node is gone without a word.
        let out = node.local.partition("out", 0).unwrap();
        eventually(|| (out.offsets().high_watermark == 3).then_some(())).await;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        drop((node, task, out));

        let node = Node::open(dir.path(), flush).await;
        assert!(node.is_open(0), "{flush:?}");
        assert_eq!(node.position().await, Err(ErrorCode::UnstableOffsetCommit));
        assert_eq!(node.committed(0), ["before"]);
        node.task_of(id, epoch).end(true).await.unwrap();
        assert_eq!(node.committed(0), ["before", "during"]);
        assert_eq!(node.position().await, Ok(Some(2)));
    }
}

#[tokio::test]
async fn a_restarted_task_aborts_what_its_forerunner_left() {
    for flush in MODES {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::open(dir.path(), flush).await;
        let mut task = node.task(1).await;
        task.transact("before", 1).await.unwrap();
        task.begin().await.unwrap();
        task.append(0, "lost").await.unwrap();
        task.offsets(2).await.unwrap();
        let epoch = task.epoch;
        drop((node, task));

        let node = Node::open(dir.path(), flush).await;
        let mut task = node.task(2).await;
        assert!(task.epoch > epoch);
        assert_eq!(node.position().await, Ok(Some(1)));
        task.transact("again", 2).await.unwrap();
        assert_eq!(node.committed(0), ["before", "again"]);
    }
}

#[tokio::test]
async fn a_finished_transaction_stays_finished() {
    for flush in MODES {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::open(dir.path(), flush).await;
        let mut task = node.task(1).await;
        task.transact("a", 4).await.unwrap();
        let (id, epoch) = (task.id, task.epoch);
        drop((node, task));

        let node = Node::open(dir.path(), flush).await;
        assert_eq!(node.position().await, Ok(Some(4)));
        assert_eq!(node.task_of(id, epoch).end(true).await, Ok(()));
        assert_eq!(
            node.task_of(id, epoch).end(false).await,
            Err(ErrorCode::InvalidTxnState)
        );
        assert_eq!(node.committed(0), ["a"]);
        node.close().await;

        // And after a clean stop.
        let node = Node::open(dir.path(), flush).await;
        assert_eq!(node.position().await, Ok(Some(4)));
        let mut task = node.task(2).await;
        assert_eq!(task.epoch, epoch + 1);
        task.transact("b", 5).await.unwrap();
        assert_eq!(node.committed(1), ["a", "b"]);
    }
}

#[tokio::test]
async fn producer_ids_are_never_given_twice() {
    let dir = tempfile::tempdir().unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for round in 0..3 {
        let node = Node::open(dir.path(), MODES[0]).await;
        for number in 0..3 {
            let name = format!("{round}/{number}");
            let (id, epoch) = node.local.init_producer_id(&name, 1_000).await.unwrap();
            assert_eq!(epoch, 0);
            assert!(seen.insert(id), "producer id {id} came twice");
        }
    }
}
