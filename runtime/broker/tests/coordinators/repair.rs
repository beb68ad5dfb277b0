//! Damage in what the node keeps of groups, transactions and topics: refused, and given up when somebody says so.

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use millstream_cluster::metadata_log;
use millstream_log::{
    FlushMode, LogStore, StoreError, StoreOptions,
    clock::SystemClock,
    fs::RealFs,
    inspect::{self, SegmentPiece, SegmentReader},
    repair::{Loss, RepairError, RepairTarget, examine, repair},
};
use millstream_records::HEADER_LEN;
use millstream_wire::ErrorCode;
use tempfile::TempDir;

use crate::support::{MODES, Node, eventually};

/// A batch in a segment file.
#[derive(Debug, Clone)]
struct Place {
    path: PathBuf,
    position: u64,
    offsets: Range<i64>,
}

/// All batches of a topic's logs that have records.
fn places(dir: &Path, topic: &str) -> Vec<Place> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let log = entry.unwrap().path();
        let name = log.file_name().unwrap().to_str().unwrap().to_owned();
        if name.rsplit_once('-').map(|(topic, _)| topic) != Some(topic) {
            continue;
        }
        for entry in fs::read_dir(&log).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|end| end != "log") {
                continue;
            }
            let mut reader = SegmentReader::open(&RealFs, &path).unwrap();
            while let Some(piece) = reader.next_piece().unwrap() {
                let SegmentPiece::Batch { position, header } = piece else {
                    panic!("{piece:?}");
                };
                found.push(Place {
                    path: path.clone(),
                    position,
                    offsets: header.base_offset..header.next_offset(),
                });
            }
        }
    }
    found.sort_by_key(|place| place.offsets.start);
    found
}

/// Flips a bit of each batch.
fn damage(places: &[Place]) {
    for place in places {
        let mut bytes = fs::read(&place.path).unwrap();
        let at = usize::try_from(place.position).unwrap() + HEADER_LEN + 3;
        bytes[at] ^= 0x20;
        fs::write(&place.path, bytes).unwrap();
    }
}

/// The log that holds a place.
fn target(dir: &Path, place: &Place) -> RepairTarget {
    let log = place.path.parent().unwrap().file_name().unwrap();
    RepairTarget {
        fs: Arc::new(RealFs),
        clock: Arc::new(SystemClock),
        dir: dir.to_owned(),
        log: log.to_str().unwrap().to_owned(),
        metadata_log: Some(metadata_log()),
    }
}

/// Gives up what is damaged in the log of these places, which must be what was damaged.
async fn give_up(dir: &Path, places: &[Place]) {
    let target = target(dir, &places[0]);
    let lost: Vec<i64> = places.iter().flat_map(|one| one.offsets.clone()).collect();
    let offsets_of = |losses: &[Loss]| -> Vec<i64> {
        losses.iter().flat_map(|one| one.offsets.clone()).collect()
    };
    let shown = examine(&target).unwrap();
    assert_eq!(offsets_of(&shown.losses), lost, "{:?}", shown.losses);
    // A task of the node that was stopped may hold the directory for a moment.
    let repaired = eventually(|| match repair(&target) {
        Ok(repaired) => Some(repaired),
        Err(RepairError::Locked { .. }) => None,
        Err(error) => panic!("{error}"),
    })
    .await;
    assert_eq!(offsets_of(&repaired.losses), lost, "{:?}", repaired.losses);
    let report = inspect::verify(&target.fs, dir, true).unwrap();
    assert_eq!(report.damages, []);
    let accepted = report.accepted.iter().map(|(_, loss)| loss);
    let accepted: Vec<i64> = accepted.flat_map(|loss| loss.offsets.clone()).collect();
    assert_eq!(accepted, lost);
}

/// A stage that has committed "a" and "b", with the positions 1 and 2.
async fn two_commits(flush: FlushMode) -> (TempDir, Node) {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(dir.path(), flush).await;
    let mut task = node.task(1).await;
    task.transact("a", 1).await.unwrap();
    task.transact("b", 2).await.unwrap();
    (dir, node)
}

/// The node must be usable again, from a position on.
async fn goes_on(node: &Node, generation: i32, before: &[&str], next: i64) {
    let mut task = node.task(generation).await;
    task.transact("next", next).await.unwrap();
    let mut expected = before.to_vec();
    expected.push("next");
    assert_eq!(node.committed(0), expected);
    assert_eq!(node.position().await, Ok(Some(next)));
    assert!(!node.is_open(0) && !node.is_open(1));
}

#[tokio::test]
async fn a_damaged_commit_of_offsets_refuses_its_groups_until_they_go_back() {
    for flush in MODES {
        let (dir, node) = two_commits(flush).await;
        node.close().await;
        // Offsets and marker of each commit.
        let all = places(dir.path(), "__consumer_offsets");
        assert_eq!(all.len(), 4, "{all:?}");
        for (lost, position) in [(2, 1), (0, 2)] {
            let (dir, node) = two_commits(flush).await;
            node.close().await;
            let all = places(dir.path(), "__consumer_offsets");
            let lost = [all[lost].clone()];
            damage(&lost);
            let node = Node::open(dir.path(), flush).await;
            let refused = node.try_task(2).await.map(drop);
            assert_eq!(refused, Err(ErrorCode::CorruptMessage), "{flush:?}");
            node.close().await;
            give_up(dir.path(), &lost).await;
            let node = Node::open(dir.path(), flush).await;
            assert_eq!(node.position().await, Ok(Some(position)), "{flush:?}");
            goes_on(&node, 2, &["a", "b"], 7).await;
            node.close().await;
        }
    }
}

#[tokio::test]
async fn a_damaged_marker_of_offsets_moves_no_group_forward() {
    for flush in MODES {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::open(dir.path(), flush).await;
        let mut task = node.task(1).await;
        task.transact("a", 1).await.unwrap();
        task.begin().await.unwrap();
        task.append(0, "aborted").await.unwrap();
        task.offsets(9).await.unwrap();
        task.end(false).await.unwrap();
        task.transact("b", 2).await.unwrap();
        task.begin().await.unwrap();
        task.offsets(3).await.unwrap();
        task.end(true).await.unwrap();
        drop(task);
        node.close().await;
        let all = places(dir.path(), "__consumer_offsets");
        assert_eq!(all.len(), 8, "{all:?}");
        // The abort of 9, and the commit of 3.
        let lost = [all[3].clone(), all[7].clone()];
        damage(&lost);
        give_up(dir.path(), &lost).await;
        let node = Node::open(dir.path(), flush).await;
        assert_eq!(node.position().await, Ok(Some(3)), "{flush:?}");
        assert_eq!(node.committed(0), ["a", "b"]);
        goes_on(&node, 2, &["a", "b"], 4).await;
    }
}

#[tokio::test]
async fn of_a_transaction_whose_records_are_lost_nothing_is_committed_and_nothing_stays_open() {
    for flush in MODES {
        // How many of the last records are lost, and of which transaction.
        for lost in 1..=4 {
            let (dir, node) = two_commits(flush).await;
            let mut task = node.task(2).await;
            task.begin().await.unwrap();
            task.append(0, "open").await.unwrap();
            task.append(1, "open").await.unwrap();
            task.offsets(3).await.unwrap();
            let (id, epoch) = (task.id, task.epoch);
            node.close().await;
            drop(task);
            let all = places(dir.path(), "__transaction_state");
            let lost = all[all.len() - lost..].to_vec();
            damage(&lost);
            let node = Node::open(dir.path(), flush).await;
            let refused = node.try_task(3).await.map(drop);
            assert_eq!(refused, Err(ErrorCode::CorruptMessage), "{flush:?}");
            node.close().await;
            give_up(dir.path(), &lost).await;

            let node = Node::open(dir.path(), flush).await;
            eventually(|| (!node.is_open(0) && !node.is_open(1)).then_some(())).await;
            assert_eq!(node.committed(0), ["a", "b"], "{flush:?}, {lost:?}");
            // Whoever had it is fenced, and no log meets its producer id again.
            let zombie = node.task_of(id, epoch).end(true).await;
            assert!(zombie.is_err(), "{flush:?}, {lost:?}");
            let task = node.task(4).await;
            assert_ne!(task.id, id);
            drop(task);
            assert_eq!(node.position().await, Ok(Some(2)));
            goes_on(&node, 5, &["a", "b"], 3).await;
            node.close().await;
            // All of that is so at the next start too.
            let node = Node::open(dir.path(), flush).await;
            assert_eq!(node.committed(0), ["a", "b", "next"]);
            goes_on(&node, 6, &["a", "b", "next"], 4).await;
        }
    }
}

#[tokio::test]
async fn a_decided_transaction_whose_end_is_lost_stays_as_its_markers_say() {
    for flush in MODES {
        for lost in 1..=2 {
            let (dir, node) = two_commits(flush).await;
            node.close().await;
            // Decision and completion of "b", or the completion alone.
            let all = places(dir.path(), "__transaction_state");
            let lost = all[all.len() - lost..].to_vec();
            damage(&lost);
            give_up(dir.path(), &lost).await;
            let node = Node::open(dir.path(), flush).await;
            assert_eq!(node.committed(0), ["a", "b"], "{flush:?}");
            assert_eq!(node.position().await, Ok(Some(2)));
            goes_on(&node, 2, &["a", "b"], 3).await;
        }
    }
}

#[tokio::test]
async fn damaged_metadata_refuse_the_start_with_the_command_that_gives_them_up() {
    for flush in MODES {
        let (dir, node) = two_commits(flush).await;
        node.close().await;
        let count = places(dir.path(), "__cluster_metadata").len();
        assert!(count > 5, "{count}");
        for index in 0..count {
            let (dir, node) = two_commits(flush).await;
            let id = node.task(2).await.id;
            node.close().await;
            let lost = [places(dir.path(), "__cluster_metadata")[index].clone()];
            let kept = fs::read(dir.path().join("out-0/00000000000000000000.log")).unwrap();
            damage(&lost);
            let command = format!(
                "millstream log repair {} --log __cluster_metadata-0",
                dir.path().display()
            );
            // A store that knows which log it is, and the node itself.
            let options = StoreOptions::new(dir.path(), flush);
            let knowing = StoreOptions {
                metadata_log: Some(metadata_log()),
                ..options.clone()
            };
            let refused = eventually(|| match LogStore::open(knowing.clone()) {
                Err(StoreError::Locked { .. }) => None,
                result => Some(result.map(drop).unwrap_err().to_string()),
            })
            .await;
            assert!(refused.contains(&command), "{refused}");
            let (store, _) = LogStore::open(options).unwrap();
            let refused = Node::over_with(store, &[]).await.map(drop).unwrap_err();
            assert!(refused.contains(&command), "{refused}");
            give_up(dir.path(), &lost).await;

            // What the batch had is unknown; all else is as it was, and nothing is given twice.
            for generation in 3..5 {
                let node = Node::open(dir.path(), flush).await;
                let mut task = node.task(generation).await;
                task.transact("next", 7).await.unwrap();
                assert!(node.committed(0).ends_with(&["next".to_owned()]));
                assert!(!node.is_open(0), "{flush:?}, batch {index}");
                let fresh = node.broker.producer_ids().next().await.unwrap();
                assert!(fresh > id, "{flush:?}, batch {index}: {fresh} after {id}");
                node.close().await;
            }
            assert!(
                is_kept(dir.path(), "out-0", &kept),
                "{flush:?}, batch {index}"
            );
        }
    }
}

/// Whether a log, or what of it was set aside, still has these bytes.
fn is_kept(dir: &Path, log: &str, bytes: &[u8]) -> bool {
    let entries = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let named = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(log);
    entries.filter(named).any(|path| {
        let segment = fs::read(path.join("00000000000000000000.log"));
        segment.is_ok_and(|found| found.starts_with(bytes))
    })
}
