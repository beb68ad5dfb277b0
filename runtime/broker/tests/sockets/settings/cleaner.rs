//! How the settings of the cleaner are seen.

use std::time::Duration;

use millstream_log::CleanError;
use millstream_records::{BatchBuilder, BatchOptions};

use super::scene::{Row, Scene, rows, within_a_moment};
use crate::support::{BatchSpec, batch_of};

/// A compacted topic whose segments end soon, and no passes but those that the test runs.
const BY_HAND: [(&str, &str); 3] = [
    ("log.cleanup.policy", "compact"),
    ("log.segment.bytes", "1024"),
    ("log.cleaner.enable", "false"),
];
/// The same, with passes in the background that look for work all the time.
const BUSY: [(&str, &str); 3] = [
    ("log.cleanup.policy", "compact"),
    ("log.segment.bytes", "1024"),
    ("log.cleaner.backoff.ms", "20"),
];

pub(super) fn topic_rows() -> Vec<Row> {
    rows! {
        "delete.retention.ms" = "1000": "kept" => "gone",
            with [
                ("log.cleanup.policy", "compact"),
                ("log.segment.bytes", "1024"),
                ("log.cleaner.enable", "false"),
                ("log.cleaner.min.cleanable.ratio", "0.01"),
            ],
            |scene| tombstone(scene).await;
        "max.compaction.lag.ms" = "3600000": "left alone" => "compacted",
            with [
                ("log.cleanup.policy", "compact"),
                ("log.segment.bytes", "1024"),
                ("log.cleaner.enable", "false"),
                ("log.cleaner.min.cleanable.ratio", "1.0"),
            ],
            |scene| {
                scene.append(800).await;
                scene.pass(Duration::from_secs(7_200));
                ended_segments(scene).await;
                pass(scene)
            };
        "min.cleanable.dirty.ratio" = "1.0": "compacted" => "left alone",
            with BY_HAND,
            |scene| { ended_segments(scene).await; pass(scene) };
        "min.compaction.lag.ms" = "3600000": "compacted" => "left alone",
            with BY_HAND,
            |scene| { ended_segments(scene).await; pass(scene) };
    }
}

pub(super) fn node_rows() -> Vec<Row> {
    rows! {
        "log.cleaner.enable" = "false": "a pass" => "no pass",
            with BUSY,
            |scene| background_pass(scene).await;
        "log.cleaner.threads" = "3": "1" => "3",
            |scene| scene.node.store.cleaner_metrics().threads.to_string();
        "log.cleaner.dedupe.buffer.size" = "1024": "compacted" => "does not fit",
            with [
                ("log.cleanup.policy", "compact"),
                ("log.segment.bytes", "8192"),
                ("log.cleaner.enable", "false"),
            ],
            |scene| { hundred_keys(scene).await; pass(scene) };
        "log.cleaner.io.buffer.load.factor" = "0.01": "compacted" => "does not fit",
            with [
                ("log.cleanup.policy", "compact"),
                ("log.segment.bytes", "8192"),
                ("log.cleaner.enable", "false"),
                ("log.cleaner.dedupe.buffer.size", "8192"),
            ],
            |scene| { hundred_keys(scene).await; pass(scene) };
        "log.cleaner.io.buffer.size" = "131072": "large reads" => "small reads",
            with [
                ("log.cleanup.policy", "compact"),
                ("log.segment.bytes", "300000"),
                ("log.cleaner.enable", "false"),
            ],
            |scene| reads(scene).await;
        "log.cleaner.io.max.bytes.per.second" = "1000.0": "a pass" => "no pass",
            with BUSY,
            |scene| background_pass(scene).await;
        "log.cleaner.backoff.ms" = "20": "no pass" => "a pass",
            with [("log.cleanup.policy", "compact"), ("log.segment.bytes", "1024")],
            |scene| background_pass(scene).await;
    }
}

/// Writes the same key over several segments, of which all but the last are ended, and syncs them.
async fn ended_segments(scene: &mut Scene) {
    for _ in 0..6 {
        scene.append(800).await;
    }
    scene.node.store.checkpoint().unwrap();
}

/// A hundred keys in one segment, which is ended and synced.
async fn hundred_keys(scene: &mut Scene) {
    let spec = BatchSpec {
        timestamp: scene.now(),
        ..BatchSpec::default()
    };
    let values = vec!["a value of thirty-two bytes here"; 100];
    for _ in 0..3 {
        assert_eq!(scene.produce(batch_of(&values, &spec)).await, "NONE");
    }
    scene.node.store.checkpoint().unwrap();
}

/// Runs one pass on this thread and says what came of it.
fn pass(scene: &Scene) -> String {
    match scene.node.store.clean_dirtiest() {
        Ok(Some(_)) => "compacted".to_owned(),
        Ok(None) => "left alone".to_owned(),
        Err(CleanError::MapTooSmall { .. }) => "does not fit".to_owned(),
        Err(error) => panic!("{error}"),
    }
}

/// Whether the cleaner's own threads end a pass over new data within a moment.
async fn background_pass(scene: &mut Scene) -> String {
    let store = std::sync::Arc::clone(&scene.node.store);
    let before = store.cleaner_metrics().passes;
    ended_segments(scene).await;
    match within_a_moment(async || store.cleaner_metrics().passes > before).await {
        true => "a pass".to_owned(),
        false => "no pass".to_owned(),
    }
}

/// Whether a pass reads in blocks of more than 64 KiB.
async fn reads(scene: &mut Scene) -> String {
    for _ in 0..5 {
        scene.append(90_000).await;
    }
    scene.node.store.checkpoint().unwrap();
    scene.fs.take_reads();
    assert_eq!(pass(scene), "compacted");
    match scene.fs.take_reads().largest > 64 << 10 {
        true => "large reads".to_owned(),
        false => "small reads".to_owned(),
    }
}

/// What becomes of a tombstone in two passes that lie ten seconds apart.
async fn tombstone(scene: &mut Scene) -> String {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder
        .append(scene.now(), Some(b"gone"), None, [])
        .unwrap();
    assert_eq!(scene.produce(builder.build().unwrap()).await, "NONE");
    for _ in 0..2 {
        ended_segments(scene).await;
        assert_eq!(pass(scene), "compacted");
        scene.pass(Duration::from_secs(10));
    }
    let mut from = 0;
    loop {
        let data = scene.client.fetch("t", 0, from).await;
        let bytes = data.records.unwrap_or_default();
        let mut end = from;
        for batch in millstream_records::batches(&bytes) {
            let batch = batch.unwrap();
            end = batch.header().next_offset();
            let records = batch.records(1 << 20).unwrap();
            if records.iter().any(|record| record.unwrap().value.is_none()) {
                return "kept".to_owned();
            }
        }
        if end == from {
            return "gone".to_owned();
        }
        from = end;
    }
}
