//! The coordinators' topics are compacted like any other, and read back as if they were not.

use millstream_log::{FlushMode, LogStore};

use crate::support::{MODES, Node};

const TRANSACTION_STATE: &str = "__transaction_state";
const OFFSETS: &str = "__consumer_offsets";

/// Compacts everything that the two topics have, and returns their bytes before and after.
fn compact(store: &LogStore) -> (u64, u64) {
    let logs = store.logs();
    let internal = logs
        .iter()
        .filter(|log| [TRANSACTION_STATE, OFFSETS].contains(&log.id().topic.as_str()));
    for log in internal.clone() {
        assert!(log.config().cleanup.compact, "{}", log.id());
        assert!(!log.config().cleanup.delete, "{}", log.id());
        log.roll_active().unwrap();
    }
    let before = internal.clone().map(|log| log.size()).sum();
    store.checkpoint().unwrap();
    while store.clean_dirtiest().unwrap().is_some() {}
    assert!(store.cleaner_metrics().uncleanable.is_empty());
    (before, internal.map(|log| log.size()).sum())
}

async fn live(flush: FlushMode, crashes: bool) {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::open(dir.path(), flush).await;
    let mut task = node.task(1).await;
    let mut expected: Vec<String> = Vec::new();
    for life in 1..=3 {
        for _ in 0..30 {
            let next = expected.len() as i64 + 1;
            task.transact(&next.to_string(), next).await.unwrap();
            expected.push(next.to_string());
        }
        // Aborted in between: neither its offset nor its record may come back.
        task.begin().await.unwrap();
        task.append(0, "aborted").await.unwrap();
        task.offsets(1_000_000).await.unwrap();
        task.end(false).await.unwrap();
        let position = expected.len() as i64;
        assert_eq!(node.position().await, Ok(Some(position)));
        let (before, after) = compact(&node.store);
        // The markers in the offsets' topic stay until their horizon has passed; all else is the last of its key.
        let markers = 100 * u64::try_from(life).unwrap() * 31;
        assert!(
            after < before / 2 && after < markers + 2000,
            "{before} {after}"
        );
        assert_eq!(node.position().await, Ok(Some(position)));
        let (id, epoch) = (task.id, task.epoch);
        drop(task);
        if crashes {
            drop(node);
        } else {
            node.close().await;
        }
        node = Node::open(dir.path(), flush).await;
        assert_eq!(node.position().await, Ok(Some(position)), "life {life}");
        task = node.task(life + 1).await;
        assert_eq!(task.id, id, "the transactional id is known");
        assert!(task.epoch > epoch, "its epochs go on");
    }
    assert_eq!(node.committed(0), expected);
}

#[tokio::test]
async fn coordinators_read_compacted_topics_back_after_a_clean_stop() {
    for flush in MODES {
        live(flush, false).await;
    }
}

#[tokio::test]
async fn coordinators_read_compacted_topics_back_after_a_crash() {
    live(FlushMode::Journal, true).await;
}
