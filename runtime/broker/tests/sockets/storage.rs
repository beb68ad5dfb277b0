//! Disks that are slow, full, broken, damaged or without power.

use std::{io, path::Path, sync::Arc, time::Duration};

use millstream_cluster::{ClusterMetadata, MetadataRecord, NodeIdentity};
use millstream_log::{
    FlushMode, Isolation, LogStore, StoreOptions,
    testing::{Fault, FaultyCall, ManualClock, SimFs},
};
use millstream_wire::{ErrorCode, produce::ProduceRequest};
use tokio::time::{sleep, timeout};

use crate::support::{
    Client, Disk, Node, PATIENCE, SIMULATED_DIR, assert_code, batch, fetch_request, only,
    produce_request, values,
};

#[tokio::test]
async fn nothing_is_acknowledged_or_shown_before_its_flush_and_many_share_one() {
    let fs = SimFs::new(1);
    let node = Node::simulated(&fs).await;
    let mut client = node.client().await;
    client.create("t", 1, &[]).await;
    client.produce("t", 0, -1, batch(&["first"])).await;
    let held = fs.hold_syncs();
    let before = fs.syncs();
    for number in 0..20 {
        client
            .send(
                9,
                &produce_request("t", 0, -1, batch(&[&number.to_string()])),
            )
            .await;
    }
    let mut reader = node.client().await;
    let partition = node.broker.local().partition("t", 0).unwrap();
    while partition.offsets().log_end < 21 {
        sleep(Duration::from_millis(2)).await;
    }
    let shown = reader.fetch("t", 0, 0).await;
    assert_eq!(
        (values(&shown), shown.high_watermark),
        (vec!["first".to_owned()], 1)
    );
    let early = timeout(Duration::from_millis(100), client.frame()).await;
    assert!(early.is_err(), "answered before the flush");
    drop(held);
    for offset in 1..=20 {
        // The time-out above has taken nothing off the stream.
        let (_, response) = client.receive::<ProduceRequest>(9).await;
        let partition = &response.responses[0].partition_responses[0];
        assert_eq!((partition.error_code, partition.base_offset), (0, offset));
    }
    assert!(
        fs.syncs() - before <= 4,
        "{} flushes for 20 requests",
        fs.syncs() - before
    );
    assert_eq!(values(&reader.fetch("t", 0, 0).await).len(), 21);
}

#[tokio::test]
async fn a_failed_flush_is_not_acknowledged_and_stops_all_writes_but_no_reads() {
    let fs = SimFs::new(2);
    let node = Node::simulated(&fs).await;
    let mut client = node.client().await;
    client.create("t", 1, &[]).await;
    client.produce("t", 0, -1, batch(&["kept"])).await;
    assert!(node.broker.is_ready());
    fs.inject(Fault {
        call: FaultyCall::Sync,
        path_contains: ".journal".to_owned(),
        nth: 1,
        kind: io::ErrorKind::Other,
    });
    for value in ["lost", "refused"] {
        let response = client.produce("t", 0, -1, batch(&[value])).await;
        assert_code(response.error_code, ErrorCode::KafkaStorageError);
        assert!(response.error_message.is_some());
    }
    assert!(!node.broker.is_ready());
    assert_eq!(values(&client.fetch("t", 0, 0).await), ["kept"]);
}

#[tokio::test]
async fn a_full_disk_refuses_writes_loses_nothing_and_heals() {
    let fs = SimFs::new(3);
    let node = Node::simulated(&fs).await;
    let mut client = node.client().await;
    client.create("t", 1, &[]).await;
    let mut expected = 0;
    fs.set_capacity(Some(fs.used_bytes() + 200_000));
    let value = "x".repeat(20_000);
    let refused = loop {
        let response = client.produce("t", 0, -1, batch(&[&value])).await;
        if response.error_code != 0 {
            break response;
        }
        expected += 1;
        assert!(expected < 100, "the disk never got full");
    };
    assert_code(refused.error_code, ErrorCode::KafkaStorageError);
    assert!(refused.error_message.unwrap().contains("room"));
    assert_eq!(values(&client.fetch("t", 0, 0).await).len(), expected);
    fs.set_capacity(None);
    let healed = client.produce("t", 0, -1, batch(&["healed"])).await;
    assert_eq!(
        (healed.error_code, healed.base_offset),
        (0, i64::try_from(expected).unwrap())
    );
}

#[tokio::test]
async fn a_power_cut_loses_nothing_that_was_acknowledged() {
    for seed in 0..12 {
        let fs = SimFs::new(seed);
        let node = Node::simulated(&fs).await;
        let mut client = node.client().await;
        client.create("t", 2, &[]).await;
        fs.cut_power_after(20 + seed * 17);
        let mut acknowledged = [Vec::new(), Vec::new()];
        for number in 0..200_usize {
            let partition = number % 2;
            let value = number.to_string();
            let index = i32::try_from(partition).unwrap();
            let response = client.produce("t", index, -1, batch(&[&value])).await;
            if response.error_code != 0 {
                break;
            }
            acknowledged[partition].push(value);
        }
        let node = Node::simulated(&fs.power_cut(seed)).await;
        let mut client = node.client().await;
        for (index, expected) in (0..).zip(acknowledged) {
            let found = values(&client.fetch("t", index, 0).await);
            assert!(
                found.starts_with(&expected),
                "seed {seed}: {found:?} does not begin with {expected:?}"
            );
            assert!(
                found.len() <= expected.len() + 1,
                "at most the one that was under way may be there too"
            );
        }
        let appended = client.produce("t", 0, -1, batch(&["after"])).await;
        assert_eq!(appended.error_code, 0);
    }
}

#[tokio::test]
async fn damaged_bytes_are_never_served() {
    let fs = SimFs::new(4);
    let node = Node::simulated(&fs).await;
    let mut client = node.client().await;
    client.create("t", 1, &[]).await;
    for value in ["a", "b", "c"] {
        client.produce("t", 0, -1, batch(&[value])).await;
    }
    let size = batch(&["a"]).len() as u64;
    let segment = Path::new(SIMULATED_DIR).join("t-0/00000000000000000000.log");
    fs.damage(&segment, size + 65, &[0xaa]);
    assert_eq!(values(&fetch_some(&mut client, 0, size).await), ["a"]);
    assert_code(
        client.fetch("t", 0, 1).await.error_code,
        ErrorCode::CorruptMessage,
    );
    assert_eq!(values(&client.fetch("t", 0, 2).await), ["c"]);
    let local = node.broker.local().partition("t", 0).unwrap();
    assert_eq!(
        local.read(1, 1_000, Isolation::Uncommitted).unwrap_err(),
        ErrorCode::CorruptMessage
    );
}

async fn fetch_some(
    client: &mut Client,
    offset: i64,
    max_bytes: u64,
) -> millstream_wire::fetch::PartitionData {
    let mut request = fetch_request("t", 0, offset);
    request.topics[0].partitions[0].partition_max_bytes = i32::try_from(max_bytes).unwrap();
    only(client.call(11, &request).await)
}

#[tokio::test]
async fn the_log_of_a_topic_whose_deletion_was_interrupted_goes_at_the_next_start() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.create("gone", 1, &[]).await;
    client.create("kept", 1, &[]).await;
    for topic in ["gone", "kept"] {
        client.produce(topic, 0, -1, batch(&["x"])).await;
    }
    // The metadata record is written, and then the node stops before it removes the files.
    let id = node.cluster.image().topic("gone").unwrap().id;
    node.cluster
        .submit(vec![MetadataRecord::RemoveTopic { id }])
        .await
        .unwrap();
    assert!(node.dir().join("gone-0").exists());
    let node = node.restart().await;
    assert!(!node.dir().join("gone-0").exists());
    let mut client = node.client().await;
    assert_eq!(values(&client.fetch("kept", 0, 0).await), ["x"]);
    assert_code(
        client.fetch("gone", 0, 0).await.error_code,
        ErrorCode::UnknownTopicOrPartition,
    );
}

#[tokio::test]
async fn nothing_is_deleted_before_the_settings_of_its_topic_are_known() {
    let clock = Arc::new(ManualClock::new(crate::support::now_ms()));
    let fs = SimFs::new(1);
    let options = || StoreOptions {
        fs: Arc::new(fs.clone()),
        clock: clock.clone(),
        ..StoreOptions::new(SIMULATED_DIR, FlushMode::Journal)
    };
    let node = Node::on(Disk::Simulated(fs.clone()), options(), &[]).await;
    let mut client = node.client().await;
    client.create("kept", 1, &[("retention.ms", "-1")]).await;
    client.produce("kept", 0, -1, batch(&["x"])).await;
    node.broker.shutdown(PATIENCE).await;
    node.store.close().await.unwrap();
    drop((node, client));
    clock.advance(Duration::from_secs(30 * 86_400));
    let (store, _) = LogStore::open(options()).unwrap();
    store.apply_retention().unwrap();
    // The metadata are among them.
    assert!(store.logs().len() >= 2);
    for log in store.logs() {
        assert_eq!(log.offsets().log_start, 0, "{}", log.id());
    }
    let identity = NodeIdentity {
        node_id: 1,
        host: "localhost".to_owned(),
        port: 1,
    };
    let cluster = ClusterMetadata::open(&store, identity).await.unwrap();
    store.apply_retention().unwrap();
    assert!(cluster.image().topic("kept").is_some());
    for log in store.logs() {
        assert_eq!(log.offsets().log_start, 0, "{}", log.id());
    }
}
