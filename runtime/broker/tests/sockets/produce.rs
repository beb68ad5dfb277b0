//! Produce and what Fetch gives back.

use millstream_log::FlushMode;
use millstream_records::{
    BatchBuilder, BatchOptions, BatchView, Compression, TimestampType, patch,
};
use millstream_wire::{
    ErrorCode,
    produce::{PartitionProduceData, ProduceRequest, TopicProduceData},
};

use crate::support::{
    BatchSpec, Disk, Node, assert_code, batch, batch_of, fetch_request, now_ms, only,
    produce_request, records, reseal, values,
};

#[tokio::test]
async fn records_come_back_as_they_were_sent_in_every_version_and_flush_mode() {
    for flush in [FlushMode::Journal, FlushMode::Os] {
        let node = Node::open(Disk::Real(tempfile::tempdir().unwrap()), flush, &[]).await;
        let mut client = node.client().await;
        client.create("t", 1, &[]).await;
        let mut expected = Vec::new();
        for version in 3..=11 {
            for acks in [1, -1] {
                let value = format!("{version} {acks}");
                let request = produce_request("t", 0, acks, batch(&[&value, "-"]));
                let response = client.call(version, &request).await;
                let partition = &response.responses[0].partition_responses[0];
                assert_code(partition.error_code, ErrorCode::None);
                assert_eq!(
                    partition.base_offset,
                    i64::try_from(expected.len()).unwrap()
                );
                assert_eq!(partition.log_append_time_ms, -1);
                expected.push((partition.base_offset, value));
                expected.push((partition.base_offset + 1, "-".to_owned()));
            }
        }
        let fetched = client.fetch("t", 0, 0).await;
        assert_eq!(records(&fetched), expected);
        assert_eq!(
            fetched.high_watermark,
            i64::try_from(expected.len()).unwrap()
        );
        assert_eq!(fetched.last_stable_offset, fetched.high_watermark);
    }
}

#[tokio::test]
async fn without_acknowledgement_there_is_no_answer_and_an_error_closes_the_connection() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.create("t", 1, &[]).await;
    client
        .send(9, &produce_request("t", 0, 0, batch(&["quiet"])))
        .await;
    assert_eq!(
        client
            .produce("t", 0, -1, batch(&["loud"]))
            .await
            .base_offset,
        1,
        "the next answer is the next one's"
    );
    assert_eq!(values(&client.fetch("t", 0, 0).await), ["quiet", "loud"]);
    client
        .send(9, &produce_request("missing", 0, 0, batch(&["lost"])))
        .await;
    client.assert_closed().await;
}

#[tokio::test]
async fn each_partition_fails_by_itself() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.create("t", 2, &[]).await;
    let data = |index, records: Option<Vec<u8>>| PartitionProduceData {
        index,
        records: records.map(Into::into),
    };
    let topic = |name: &str, partition_data| TopicProduceData {
        name: name.to_owned(),
        partition_data,
    };
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 1_000,
        topic_data: vec![
            topic(
                "t",
                vec![
                    data(0, Some(batch(&["a"]))),
                    data(7, Some(batch(&["b"]))),
                    data(1, Some(batch(&["c"]))),
                ],
            ),
            topic("missing", vec![data(0, Some(batch(&["d"])))]),
        ],
        ..ProduceRequest::default()
    };
    let response = client.call(9, &request).await;
    let codes: Vec<(i32, i16)> = response
        .responses
        .iter()
        .flat_map(|topic| &topic.partition_responses)
        .map(|partition| (partition.index, partition.error_code))
        .collect();
    let unknown = ErrorCode::UnknownTopicOrPartition.code();
    assert_eq!(codes, [(0, 0), (7, unknown), (1, 0), (0, unknown)]);
    assert_eq!(values(&client.fetch("t", 1, 0).await), ["c"]);
}

#[tokio::test]
async fn record_sets_that_are_not_sound_are_refused_and_leave_no_trace() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.create("t", 1, &[]).await;
    let good = batch(&["a"]);
    let spoil = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        bytes
    };
    let spoil_and_seal = |at: usize, value: u8| {
        let mut bytes = spoil(at, value);
        reseal(&mut bytes);
        bytes
    };
    let last = good.len() - 1;
    let cases = vec![
        ("nothing", Vec::new(), ErrorCode::InvalidRecord),
        (
            "two batches",
            [good.clone(), good.clone()].concat(),
            ErrorCode::InvalidRecord,
        ),
        (
            "a flipped byte",
            spoil(last, 0xff),
            ErrorCode::CorruptMessage,
        ),
        (
            "half a batch",
            good[..last].to_vec(),
            ErrorCode::CorruptMessage,
        ),
        (
            "a tail",
            [good.clone(), vec![0; 5]].concat(),
            ErrorCode::CorruptMessage,
        ),
        (
            "magic 1",
            spoil(16, 1),
            ErrorCode::UnsupportedForMessageFormat,
        ),
        (
            "a control batch",
            spoil_and_seal(22, 0x20),
            ErrorCode::InvalidRecord,
        ),
        (
            "codec 7",
            spoil_and_seal(22, 7),
            ErrorCode::UnknownServerError,
        ),
        (
            "a wrong record count",
            spoil_and_seal(60, 9),
            ErrorCode::InvalidRecord,
        ),
        (
            "a record of a wrong length",
            spoil_and_seal(61, 0x7e),
            ErrorCode::InvalidRecord,
        ),
    ];
    for (what, bytes, code) in cases {
        let response = client.produce("t", 0, -1, bytes).await;
        println!("{what}: {:?}", response.error_message);
        assert_code(response.error_code, code);
        assert_eq!(response.base_offset, -1);
    }
    assert_eq!(client.produce("t", 0, -1, good).await.base_offset, 0);
}

#[tokio::test]
async fn limits_of_size_time_and_acks_are_kept() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.create("t", 1, &[("max.message.bytes", "500")]).await;
    client
        .create("two", 1, &[("min.insync.replicas", "2")])
        .await;
    let long = "x".repeat(600);
    assert_code(
        client.produce("t", 0, -1, batch(&[&long])).await.error_code,
        ErrorCode::MessageTooLarge,
    );
    assert_code(
        client.produce("t", 0, 7, batch(&["a"])).await.error_code,
        ErrorCode::InvalidRequiredAcks,
    );
    let tomorrow = BatchSpec {
        timestamp: now_ms() + 86_400_000,
        ..BatchSpec::default()
    };
    let early = client
        .produce("t", 0, -1, batch_of(&["a"], &tomorrow))
        .await;
    assert_code(early.error_code, ErrorCode::InvalidTimestamp);
    let refused = client.produce("two", 0, -1, batch(&["a"])).await;
    assert_code(refused.error_code, ErrorCode::NotEnoughReplicas);
    assert_eq!(
        client.produce("two", 0, 1, batch(&["b"])).await.error_code,
        0,
        "only acks=all needs the replicas"
    );
    // Nobody waited for the flush, so the reader does.
    let mut patient = fetch_request("two", 0, 0);
    patient.max_wait_ms = 10_000;
    assert_eq!(values(&only(client.call(11, &patient).await)), ["b"]);
}

#[tokio::test]
async fn a_batch_that_unpacks_to_more_than_the_request_limit_is_refused() {
    let node = Node::with(&[("socket.request.max.bytes", "100000")]).await;
    let mut client = node.client().await;
    client.create("t", 1, &[]).await;
    let bomb = "0".repeat(1_000_000);
    for compression in [
        Compression::Gzip,
        Compression::Zstd,
        Compression::Lz4,
        Compression::Snappy,
    ] {
        let bytes = batch_of(
            &[&bomb],
            &BatchSpec {
                compression,
                ..BatchSpec::default()
            },
        );
        assert!(bytes.len() < 90_000, "{compression:?}");
        assert_code(
            client.produce("t", 0, -1, bytes).await.error_code,
            ErrorCode::MessageTooLarge,
        );
    }
}

#[tokio::test]
async fn the_topics_codec_and_clock_win_over_the_producers() {
    let node = Node::start().await;
    let mut client = node.client().await;
    let settings = [
        ("compression.type", "zstd"),
        ("message.timestamp.type", "LogAppendTime"),
    ];
    client.create("t", 1, &settings).await;
    client
        .create("plain", 1, &[("compression.type", "uncompressed")])
        .await;
    let before = now_ms();
    for (number, compression) in Compression::ALL.into_iter().enumerate() {
        let spec = BatchSpec {
            compression,
            timestamp: 1_000,
            ..BatchSpec::default()
        };
        let values = ["a".repeat(500), "b".repeat(500)];
        let bytes = batch_of(&[&values[0], &values[1]], &spec);
        let appended = client.produce("t", 0, -1, bytes.clone()).await;
        assert_code(appended.error_code, ErrorCode::None);
        assert!((before..=now_ms()).contains(&appended.log_append_time_ms));
        let fetched = client
            .fetch("t", 0, i64::try_from(number * 2).unwrap())
            .await;
        let stored = fetched.records.unwrap();
        let view = BatchView::parse(&stored).unwrap();
        view.validate(1 << 20).unwrap();
        assert_eq!(view.header().compression(), Compression::Zstd);
        assert_eq!(view.header().timestamp_type(), TimestampType::LogAppendTime);
        assert_eq!(view.header().max_timestamp, appended.log_append_time_ms);

        client.produce("plain", 0, -1, bytes).await;
        let fetched = client
            .fetch("plain", 0, i64::try_from(number * 2).unwrap())
            .await;
        let stored = fetched.records.clone().unwrap();
        let view = BatchView::parse(&stored).unwrap();
        assert_eq!(view.header().compression(), Compression::None);
        assert_eq!(view.header().max_timestamp, 1_000);
        assert_eq!(crate::support::values(&fetched), values);
    }
}

#[tokio::test]
async fn a_wrong_greatest_timestamp_is_corrected() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.create("t", 1, &[]).await;
    let mut bytes = batch_of(
        &["a"],
        &BatchSpec {
            timestamp: 5_000,
            ..BatchSpec::default()
        },
    );
    patch::set_max_timestamp(&mut bytes, 7);
    assert_eq!(client.produce("t", 0, -1, bytes).await.error_code, 0);
    let stored = client.fetch("t", 0, 0).await.records.unwrap();
    assert_eq!(
        BatchView::parse(&stored).unwrap().header().max_timestamp,
        5_000
    );
}

#[tokio::test]
async fn a_record_without_a_key_is_refused_by_a_compacted_topic() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client
        .create("t", 1, &[("cleanup.policy", "compact")])
        .await;
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.append(now_ms(), None, Some(b"x"), []).unwrap();
    let keyless = client.produce("t", 0, -1, builder.build().unwrap()).await;
    assert_code(keyless.error_code, ErrorCode::InvalidRecord);
    assert_eq!(
        client
            .produce("t", 0, -1, batch(&["keyed"]))
            .await
            .error_code,
        0
    );
}

#[tokio::test]
async fn zstd_needs_version_7() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.create("t", 1, &[]).await;
    let bytes = batch_of(
        &["a"],
        &BatchSpec {
            compression: Compression::Zstd,
            ..BatchSpec::default()
        },
    );
    let old = client
        .call(6, &produce_request("t", 0, -1, bytes.clone()))
        .await;
    let code = old.responses[0].partition_responses[0].error_code;
    assert_code(code, ErrorCode::UnsupportedCompressionType);
    let new = client.call(7, &produce_request("t", 0, -1, bytes)).await;
    assert_code(
        new.responses[0].partition_responses[0].error_code,
        ErrorCode::None,
    );
}

#[tokio::test]
async fn a_transactional_batch_without_a_transaction_is_refused() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.create("t", 1, &[]).await;
    let spec = BatchSpec {
        producer: Some(millstream_records::ProducerStamp {
            id: 9,
            epoch: 0,
            base_sequence: 0,
        }),
        transactional: true,
        ..BatchSpec::default()
    };
    let nameless = client.produce("t", 0, -1, batch_of(&["a"], &spec)).await;
    assert_code(
        nameless.error_code,
        ErrorCode::TransactionalIdAuthorizationFailed,
    );
    let mut request = produce_request("t", 0, -1, batch_of(&["a"], &spec));
    request.transactional_id = Some("nobody".to_owned());
    let response = client.call(9, &request).await;
    assert_ne!(response.responses[0].partition_responses[0].error_code, 0);
    assert_eq!(client.fetch("t", 0, 0).await.high_watermark, 0);
}
