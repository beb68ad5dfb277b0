//! Idempotent producers.

use millstream_records::ProducerStamp;
use millstream_wire::{ErrorCode, init_producer_id::InitProducerIdRequest};

use crate::support::{BatchSpec, Client, Node, assert_code, batch_of, values};

fn stamped(id: i64, epoch: i16, base_sequence: i32, records: &[&str]) -> Vec<u8> {
    let producer = Some(ProducerStamp {
        id,
        epoch,
        base_sequence,
    });
    batch_of(
        records,
        &BatchSpec {
            producer,
            ..BatchSpec::default()
        },
    )
}

async fn new_producer(client: &mut Client, version: i16) -> i64 {
    let response = client
        .call(version, &InitProducerIdRequest::default())
        .await;
    assert_eq!((response.error_code, response.producer_epoch), (0, 0));
    response.producer_id
}

#[tokio::test]
async fn producer_ids_are_unique_in_every_version_and_over_restarts() {
    let mut node = Node::start().await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let mut client = node.client().await;
        for version in 0..=4 {
            ids.push(new_producer(&mut client, version).await);
        }
        node = node.restart().await;
    }
    assert!(ids.iter().all(|id| *id >= 0));
    ids.sort_unstable();
    let count = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), count);
}

#[tokio::test]
async fn a_retry_gets_the_old_offset_and_is_stored_once() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.create("t", 1, &[]).await;
    let id = new_producer(&mut client, 4).await;
    for sequence in 0..5 {
        let value = sequence.to_string();
        assert_eq!(
            client
                .produce("t", 0, -1, stamped(id, 0, sequence, &[&value]))
                .await
                .base_offset,
            i64::from(sequence)
        );
    }
    for sequence in 0..5 {
        let value = sequence.to_string();
        let again = client
            .produce("t", 0, -1, stamped(id, 0, sequence, &[&value]))
            .await;
        assert_eq!(
            (again.error_code, again.base_offset),
            (0, i64::from(sequence))
        );
    }
    let node = node.restart().await;
    let mut client = node.client().await;
    let again = client.produce("t", 0, -1, stamped(id, 0, 4, &["4"])).await;
    assert_eq!(
        (again.error_code, again.base_offset),
        (0, 4),
        "the log remembers over a restart"
    );
    assert_eq!(
        values(&client.fetch("t", 0, 0).await),
        ["0", "1", "2", "3", "4"]
    );
}

#[tokio::test]
async fn gaps_and_old_epochs_are_refused() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.create("t", 1, &[]).await;
    let id = new_producer(&mut client, 4).await;
    assert_eq!(
        client
            .produce("t", 0, -1, stamped(id, 1, 0, &["a", "b"]))
            .await
            .error_code,
        0
    );
    let table = [
        (1, 3, ErrorCode::OutOfOrderSequenceNumber),
        (1, 1, ErrorCode::OutOfOrderSequenceNumber),
        (0, 2, ErrorCode::InvalidProducerEpoch),
        (2, 2, ErrorCode::OutOfOrderSequenceNumber),
        (1, 2, ErrorCode::None),
        (2, 0, ErrorCode::None),
    ];
    for (epoch, sequence, expected) in table {
        let response = client
            .produce("t", 0, -1, stamped(id, epoch, sequence, &["c"]))
            .await;
        println!("epoch {epoch}, sequence {sequence}");
        assert_code(response.error_code, expected);
    }
    assert_eq!(values(&client.fetch("t", 0, 0).await), ["a", "b", "c", "c"]);
}
