//! How the settings of the store's background work are seen.

use std::time::Duration;

use millstream_records::ProducerStamp;

use super::scene::{Row, Scene, rows, within_a_moment};
use crate::support::{BatchSpec, batch_of};

/// The store looks once a second at most whether retention is due.
const RETENTION_LOOK: Duration = Duration::from_secs(3);

pub(super) fn rows() -> Vec<Row> {
    rows! {
        "log.retention.check.interval.ms" = "20": "kept" => "deleted",
            with [("log.retention.ms", "1000")],
            |scene| {
                scene.append(10).await;
                scene.pass(Duration::from_secs(10));
                let log = scene.node.broker.partitions().led("t", 0).unwrap().log;
                let checked = async {
                    while log.offsets().log_start == 0 {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                };
                match tokio::time::timeout(RETENTION_LOOK, checked).await {
                    Ok(()) => "deleted".to_owned(),
                    Err(_) => "kept".to_owned(),
                }
            };
        "log.flush.offset.checkpoint.interval.ms" = "20": "not synced" => "synced",
            |scene| {
                scene.append(10).await;
                let fs = scene.fs.clone();
                match within_a_moment(async || fs.all_is_durable()).await {
                    true => "synced".to_owned(),
                    false => "not synced".to_owned(),
                }
            };
        "millstream.scrub.interval.ms" = "20": "no pass" => "passes",
            |scene| scrub_passes(scene).await;
        "millstream.scrub.bytes.per.second" = "100": "passes" => "no pass",
            with [("millstream.scrub.interval.ms", "20"), ("log.segment.bytes", "1024")],
            |scene| scrub_passes(scene).await;
        "producer.id.expiration.ms" = "1000": "remembered" => "forgotten",
            with [("log.flush.offset.checkpoint.interval.ms", "20")],
            |scene| remembered_or_forgotten(scene).await;
    }
}

/// Whether the scrub reads all ended segments within a moment.
async fn scrub_passes(scene: &mut Scene) -> String {
    for _ in 0..6 {
        scene.append(800).await;
    }
    // The pass that is under way may have begun before.
    let enough = scene.node.store.scrub_stats().passes + 2;
    let store = std::sync::Arc::clone(&scene.node.store);
    match within_a_moment(async || store.scrub_stats().passes >= enough).await {
        true => "passes".to_owned(),
        false => "no pass".to_owned(),
    }
}

/// Whether a log knows a producer that was silent for ten seconds.
async fn remembered_or_forgotten(scene: &mut Scene) -> String {
    let spec = BatchSpec {
        producer: Some(ProducerStamp {
            id: 7,
            epoch: 0,
            base_sequence: 0,
        }),
        timestamp: scene.now(),
        ..BatchSpec::default()
    };
    assert_eq!(scene.produce(batch_of(&["x"], &spec)).await, "NONE");
    let log = scene.node.broker.partitions().led("t", 0).unwrap().log;
    scene.pass(Duration::from_secs(10));
    match within_a_moment(async || log.producer_states().is_empty()).await {
        true => "forgotten".to_owned(),
        false => "remembered".to_owned(),
    }
}
