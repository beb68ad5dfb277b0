//! How the settings of transactions are seen.

use std::time::Duration;

use millstream_wire::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};

use super::scene::{MOMENT, Row, Scene, rows, within_a_moment, word};
use crate::transactions::{ID, add, produce};

const STATE: &str = "__transaction_state";

pub(super) fn rows() -> Vec<Row> {
    rows! {
        "transaction.state.log.num.partitions" = "2": "50" => "2",
            |scene| {
                init(scene).await;
                scene.metadata(STATE, false).await.partitions.len().to_string()
            };
        "transaction.state.log.replication.factor" = "1": "3" => "1",
            |scene| {
                scene.three_nodes().await;
                init(scene).await;
                scene.metadata(STATE, false).await.partitions[0].replica_nodes.len().to_string()
            };
        "transaction.state.log.min.isr" = "1": "2" => "1",
            |scene| {
                scene.three_nodes().await;
                init(scene).await;
                scene.topic_value(STATE, "min.insync.replicas").await
            };
        "transaction.state.log.segment.bytes" = "4096": "104857600" => "4096",
            |scene| {
                init(scene).await;
                scene.topic_value(STATE, "segment.bytes").await
            };
        "transaction.max.timeout.ms" = "1000": "NONE" => "INVALID_TRANSACTION_TIMEOUT",
            |scene| word(init(scene).await.error_code);
        "transactional.id.expiration.ms" = "1000": "remembered" => "forgotten",
            with [("transaction.remove.expired.transaction.cleanup.interval.ms", "20")],
            |scene| remembered_or_forgotten(scene).await;
        "transaction.remove.expired.transaction.cleanup.interval.ms" = "20":
            "remembered" => "forgotten",
            with [("transactional.id.expiration.ms", "1000")],
            |scene| remembered_or_forgotten(scene).await;
        "transaction.abort.timed.out.transaction.cleanup.interval.ms" = "20": "open" => "aborted",
            |scene| open_or_aborted(scene).await;
        "transaction.partition.verification.enable" = "false": "INVALID_TXN_STATE" => "NONE",
            |scene| {
                scene.topic_named("out").await;
                let producer = init(scene).await;
                word(produce(&mut scene.client, &producer, 0, "unannounced").await)
            };
    }
}

async fn init(scene: &mut Scene) -> InitProducerIdResponse {
    let request = InitProducerIdRequest {
        transactional_id: Some(ID.to_owned()),
        transaction_timeout_ms: 60_000,
        producer_id: -1,
        producer_epoch: -1,
    };
    scene.client.call(2, &request).await
}

/// Whether an id that was idle for ten seconds goes on with its producer id.
async fn remembered_or_forgotten(scene: &mut Scene) -> String {
    let first = init(scene).await;
    scene.pass(Duration::from_secs(10));
    tokio::time::sleep(MOMENT).await;
    let second = init(scene).await;
    match first.producer_id == second.producer_id {
        true => "remembered".to_owned(),
        false => "forgotten".to_owned(),
    }
}

/// Whether a transaction is aborted when the clock jumps over its time-out.
async fn open_or_aborted(scene: &mut Scene) -> String {
    scene.topic_named("out").await;
    let producer = init(scene).await;
    assert_eq!(
        add(&mut scene.client, 3, &producer, &[("out", &[0])]).await,
        [0]
    );
    assert_eq!(produce(&mut scene.client, &producer, 0, "hanging").await, 0);
    let log = scene.node.broker.partitions().led("out", 0).unwrap().log;
    // The timer has looked at the clock since, and sleeps.
    tokio::time::sleep(Duration::from_millis(50)).await;
    scene.pass(Duration::from_secs(61));
    let decided = within_a_moment(async || {
        let offsets = log.offsets();
        offsets.last_stable == offsets.log_end
    });
    match decided.await {
        true => "aborted".to_owned(),
        false => "open".to_owned(),
    }
}
