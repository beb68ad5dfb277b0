//! How each topic setting is seen.

use std::time::Duration;

use millstream_records::{BatchBuilder, BatchOptions};

use super::scene::{Row, Scene, rows};
use crate::support::{BatchSpec, batch_of};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

pub(super) fn rows() -> Vec<Row> {
    rows! {
        "cleanup.policy" = "compact": "NONE" => "INVALID_RECORD",
            |scene| { let batch = keyless(scene); scene.produce(batch).await };
        "compression.type" = "zstd": "None" => "Zstd",
            |scene| { scene.append(10).await; format!("{:?}", scene.last_batch().await.0) };
        "index.interval.bytes" = "1": "no entries" => "entries",
            |scene| index_entries(scene).await;
        "max.message.bytes" = "100": "NONE" => "MESSAGE_TOO_LARGE",
            |scene| { let batch = at(scene, 0); scene.produce(batch).await };
        "message.timestamp.after.max.ms" = "1000": "NONE" => "INVALID_TIMESTAMP",
            |scene| { let batch = at(scene, 60_000); scene.produce(batch).await };
        "message.timestamp.before.max.ms" = "1000": "NONE" => "INVALID_TIMESTAMP",
            |scene| { let batch = at(scene, -60_000); scene.produce(batch).await };
        "message.timestamp.type" = "LogAppendTime": "CreateTime" => "LogAppendTime",
            |scene| { scene.append(10).await; format!("{:?}", scene.last_batch().await.1) };
        "min.insync.replicas" = "2": "NONE" => "NOT_ENOUGH_REPLICAS",
            |scene| { let batch = at(scene, 0); scene.produce(batch).await };
        "file.delete.delay.ms" = "1000": "kept" => "removed",
            with [("log.retention.ms", "1000")],
            |scene| {
                // Files of an earlier look have been waiting under an earlier setting.
                scene.pass(2 * MINUTE);
                scene.node.store.remove_deleted_files();
                scene.append(10).await;
                scene.pass(MINUTE / 6);
                scene.node.store.apply_retention().unwrap();
                assert!(!scene.files(".deleted").is_empty());
                scene.pass(MINUTE / 6);
                scene.node.store.remove_deleted_files();
                match scene.files(".deleted").is_empty() {
                    true => "removed".to_owned(),
                    false => "kept".to_owned(),
                }
            };
        "preallocate" = "true": "as large as its records" => "as large as it may become",
            with [("log.segment.bytes", "4096")],
            |scene| {
                for _ in 0..6 {
                    scene.append(800).await;
                }
                let active = scene.files(".log").pop().unwrap();
                match scene.read(&active).len() {
                    4096 => "as large as it may become".to_owned(),
                    _ => "as large as its records".to_owned(),
                }
            };
        "retention.bytes" = "1000": "kept" => "deleted",
            with [("log.segment.bytes", "1024")],
            |scene| {
                for _ in 0..3 {
                    scene.append(800).await;
                }
                after_retention(scene)
            };
        "retention.ms" = "3600000": "kept" => "deleted",
            |scene| {
                scene.append(10).await;
                scene.pass(2 * HOUR);
                after_retention(scene)
            };
        "segment.bytes" = "1024": "one segment" => "several segments",
            |scene| { for _ in 0..2 { scene.append(800).await; } scene.segments() };
        "segment.index.bytes" = "24": "one segment" => "several segments",
            |scene| { for _ in 0..6 { scene.append(5_000).await; } scene.segments() };
        "segment.jitter.ms" = "604800000": "one segment" => "several segments",
            |scene| {
                scene.append(10).await;
                // Of all jitters of a week, all but one in a hundred million are longer.
                scene.pass(168 * HOUR - Duration::from_millis(6));
                scene.append(10).await;
                scene.segments()
            };
        "segment.ms" = "3600000": "one segment" => "several segments",
            |scene| {
                scene.append(10).await;
                scene.pass(2 * HOUR);
                scene.append(10).await;
                scene.segments()
            };
        "unclean.leader.election.enable" = "false": "" => "",
            |_scene| String::new();
    }
}

/// Whether a retention check moves the log start.
fn after_retention(scene: &Scene) -> String {
    scene.node.store.apply_retention().unwrap();
    let log = scene.node.broker.partitions().led("t", 0).unwrap().log;
    match log.offsets().log_start {
        0 => "kept".to_owned(),
        _ => "deleted".to_owned(),
    }
}

/// A record at this distance from the clock.
fn at(scene: &Scene, distance_ms: i64) -> Vec<u8> {
    let spec = BatchSpec {
        timestamp: scene.now() + distance_ms,
        ..BatchSpec::default()
    };
    batch_of(
        &["a value of some length, so that the batch has more than a hundred bytes"],
        &spec,
    )
}

fn keyless(scene: &Scene) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder
        .append(scene.now(), None, Some(b"value"), [])
        .unwrap();
    builder.build().unwrap()
}

/// Whether three small batches leave entries in the offset index.
async fn index_entries(scene: &mut Scene) -> String {
    for _ in 0..3 {
        scene.append(100).await;
    }
    scene.node.store.checkpoint().unwrap();
    let names = scene.files(".index");
    let is_entry = |entry: &[u8]| entry.iter().any(|byte| *byte != 0);
    let entries = names.iter().flat_map(|name| {
        let bytes = scene.read(name);
        bytes
            .chunks(8)
            .filter(|entry| is_entry(entry))
            .map(<[u8]>::to_vec)
            .collect::<Vec<_>>()
    });
    match entries.count() {
        0 => "no entries".to_owned(),
        _ => "entries".to_owned(),
    }
}
