//! The surface without sockets sees and does the same as the APIs.

use std::{sync::Arc, time::Duration};

use millstream_cluster::TopicSpec;
use millstream_log::Isolation;
use millstream_records::{BatchBuilder, BatchOptions};
use millstream_wire::ErrorCode;
use tokio::{sync::Notify, time::timeout};

use crate::support::{Node, PATIENCE, batch, records, values};

#[tokio::test]
async fn a_topic_is_ensured_once_and_seen_by_all() {
    let node = Node::start().await;
    let local = node.broker.local();
    let configs = [("retention.ms".to_owned(), "7".to_owned())];
    let made = local.ensure_topic("t", Some(3), &configs).await.unwrap();
    assert_eq!(
        (made.partitions, made.configs.as_slice()),
        (3, configs.as_slice())
    );
    let again = local.ensure_topic("t", Some(9), &[]).await.unwrap();
    assert_eq!(again, made, "an existing topic stays as it is");
    assert_eq!(local.topic("t"), Some(made));
    assert_eq!(local.topic("x"), None);
    assert_eq!(local.topics().len(), 1);
    let refused = local.ensure_topic("bad name", None, &[]).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidTopicException);
    let exists = local
        .create_topic(&TopicSpec::named("t"))
        .await
        .unwrap_err();
    assert_eq!(exists.code, ErrorCode::TopicAlreadyExists);
    node.client().await.produce("t", 2, -1, batch(&["x"])).await;
    local.delete_topic("t").await.unwrap();
    assert_eq!(
        local.partition("t", 2).unwrap_err(),
        ErrorCode::UnknownTopicOrPartition
    );
}

#[tokio::test]
async fn appends_and_reads_go_both_ways() {
    let node = Node::start().await;
    let mut client = node.client().await;
    let local = node.broker.local();
    let topic = local.ensure_topic("t", None, &[]).await.unwrap();
    let partition = local.partition("t", 0).unwrap();
    let moved = Arc::new(Notify::new());
    let _watching = partition.watch(Arc::clone(&moved));
    let mut bytes = batch(&["a", "b"]);
    let appended = local
        .append(None, &topic.id, 0, &mut bytes, Duration::ZERO)
        .await
        .unwrap();
    assert_eq!((appended.base_offset, appended.last_offset), (0, 1));
    partition.flushed(&appended).await.unwrap();
    timeout(PATIENCE, moved.notified())
        .await
        .expect("whoever watches is told");
    assert_eq!(
        records(&client.fetch("t", 0, 0).await),
        [(0, "a".to_owned()), (1, "b".to_owned())]
    );

    client.produce("t", 0, -1, batch(&["c"])).await;
    let read = partition.read(2, 1 << 20, Isolation::Committed).unwrap();
    assert_eq!(read.offsets.last_stable, 3);
    let fetched = client.fetch("t", 0, 2).await;
    assert_eq!(values(&fetched), ["c"]);
    assert_eq!(Some(read.bytes), fetched.records);
    assert_eq!(
        partition.read(9, 1, Isolation::Committed).unwrap_err(),
        ErrorCode::OffsetOutOfRange
    );
}

#[tokio::test]
async fn the_rules_for_clients_hold_in_process_too() {
    let node = Node::start().await;
    let local = node.broker.local();
    local
        .ensure_topic(
            "two",
            None,
            &[("min.insync.replicas".to_owned(), "2".to_owned())],
        )
        .await
        .unwrap();
    local.ensure_topic("t", None, &[]).await.unwrap();
    let compacted = [("cleanup.policy".to_owned(), "compact,delete".to_owned())];
    local.ensure_topic("keys", None, &compacted).await.unwrap();
    let append = async |topic: &str, index: i32, mut bytes: Vec<u8>| {
        let id = local.topic(topic).expect("it was made").id;
        local
            .append(None, &id, index, &mut bytes, Duration::ZERO)
            .await
            .map(|appended| appended.base_offset)
    };
    assert_eq!(
        append("two", 0, batch(&["a"])).await,
        Err(ErrorCode::NotEnoughReplicas)
    );
    assert_eq!(
        append("t", 1, batch(&["a"])).await,
        Err(ErrorCode::UnknownTopicOrPartition)
    );
    // Compaction would drop what has no key.
    let mut keyless = BatchBuilder::new(BatchOptions::default());
    keyless.append(0, None, Some(b"a"), []).unwrap();
    assert_eq!(
        append("keys", 0, keyless.build().unwrap()).await,
        Err(ErrorCode::InvalidRecord)
    );
    assert_eq!(append("keys", 0, batch(&["a"])).await, Ok(0));
    let mut spoiled = batch(&["a"]);
    *spoiled.last_mut().unwrap() ^= 1;
    assert_eq!(
        append("t", 0, spoiled).await,
        Err(ErrorCode::CorruptMessage)
    );
    assert_eq!(append("t", 0, batch(&["a"])).await, Ok(0));
}
