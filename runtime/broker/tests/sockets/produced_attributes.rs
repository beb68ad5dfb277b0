//! Each attribute bit of a produced batch, on topics of each kind: what Kafka 4.3 answers, but for the bits that only a
//! broker may set.

use millstream_records::{BatchHeader, Compression};
use millstream_wire::{ErrorCode, produce::PartitionProduceResponse};

use crate::{
    support::{
        BatchSpec, Client, Node, assert_code, batch, batch_of, produce_request, reseal, values,
    },
    transactions::ID,
};

const LOG_APPEND_TIME: u16 = 0x08;
const TRANSACTIONAL: u16 = 0x10;
const CONTROL: u16 = 0x20;
const DELETE_HORIZON: u16 = 0x40;
/// Where the attributes are in a batch.
const ATTRIBUTES: std::ops::Range<usize> = 21..23;

/// The batch with these bits set besides its own.
fn with_bits(mut batch: Vec<u8>, bits: u16) -> Vec<u8> {
    let [high, low] = bits.to_be_bytes();
    batch[ATTRIBUTES.start] |= high;
    batch[ATTRIBUTES.start + 1] |= low;
    reseal(&mut batch);
    batch
}

/// A node with a topic of each kind.
async fn node() -> Node {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.create("create-time", 1, &[]).await;
    client
        .create(
            "append-time",
            1,
            &[("message.timestamp.type", "LogAppendTime")],
        )
        .await;
    client
        .create("compacted", 1, &[("cleanup.policy", "compact")])
        .await;
    node
}

const TOPICS: [&str; 3] = ["create-time", "append-time", "compacted"];

async fn produce(
    client: &mut Client,
    topic: &str,
    transactional_id: Option<&str>,
    batch: Vec<u8>,
) -> PartitionProduceResponse {
    let mut request = produce_request(topic, 0, -1, batch);
    request.transactional_id = transactional_id.map(str::to_owned);
    let response = client.call(9, &request).await;
    response.responses[0].partition_responses[0].clone()
}

#[tokio::test]
async fn bits_that_only_a_broker_may_set_are_refused() {
    let node = node().await;
    let mut client = node.client().await;
    for topic in TOPICS {
        for codec in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let spec = BatchSpec {
                compression: codec,
                ..BatchSpec::default()
            };
            let plain = batch_of(&["a", "b"], &spec);
            for (bits, code, named) in [
                (LOG_APPEND_TIME, ErrorCode::InvalidTimestamp, 2),
                (DELETE_HORIZON, ErrorCode::InvalidRecord, 0),
                (CONTROL, ErrorCode::InvalidRecord, 0),
                (CONTROL | DELETE_HORIZON, ErrorCode::InvalidRecord, 0),
                (
                    LOG_APPEND_TIME | DELETE_HORIZON,
                    ErrorCode::InvalidRecord,
                    0,
                ),
            ] {
                for id in [None, Some(ID)] {
                    let sent = with_bits(plain.clone(), bits);
                    let found = produce(&mut client, topic, id, sent).await;
                    assert_code(found.error_code, code);
                    assert_eq!(found.record_errors.len(), named, "{topic} {bits:#x}");
                    assert!(found.error_message.is_some());
                }
            }
        }
        assert_eq!(client.fetch(topic, 0, 0).await.high_watermark, 0, "{topic}");
    }
}

#[tokio::test]
async fn a_batch_of_a_transaction_needs_its_id_and_nothing_else_when_it_names_no_producer() {
    let node = node().await;
    let mut client = node.client().await;
    for topic in TOPICS {
        let batch = batch(&["nobody's"]);
        for bits in [TRANSACTIONAL, TRANSACTIONAL | CONTROL] {
            let sent = with_bits(batch.clone(), bits);
            let found = produce(&mut client, topic, None, sent).await;
            assert_code(
                found.error_code,
                ErrorCode::TransactionalIdAuthorizationFailed,
            );
        }
        let marker = with_bits(batch.clone(), TRANSACTIONAL | CONTROL);
        let found = produce(&mut client, topic, Some(ID), marker).await;
        assert_code(found.error_code, ErrorCode::InvalidRecord);
        // No transaction is open by it: readers of committed records have it at once.
        let sent = with_bits(batch, TRANSACTIONAL);
        let found = produce(&mut client, topic, Some(ID), sent).await;
        assert_eq!((found.error_code, found.base_offset), (0, 0), "{topic}");
        let fetched = client.fetch(topic, 0, 0).await;
        assert_eq!((fetched.last_stable_offset, fetched.high_watermark), (1, 1));
    }
    let node = node.restart().await;
    let mut client = node.client().await;
    for topic in TOPICS {
        let fetched = client.fetch(topic, 0, 0).await;
        assert_eq!(fetched.last_stable_offset, 1, "{topic}");
        assert_eq!(values(&fetched), ["nobody's"]);
    }
}

#[tokio::test]
async fn bits_that_mean_nothing_yet_are_kept() {
    let node = node().await;
    let mut client = node.client().await;
    let bits: Vec<u16> = (7..16).map(|bit| 1 << bit).chain([0xff80]).collect();
    for topic in TOPICS {
        for (offset, bits) in (0..).zip(&bits) {
            let found = produce(&mut client, topic, None, with_bits(batch(&["x"]), *bits)).await;
            assert_eq!(
                (found.error_code, found.base_offset),
                (0, offset),
                "{bits:#x}"
            );
            let fetched = client.fetch(topic, 0, offset).await.records.unwrap();
            let header = BatchHeader::parse(&fetched).unwrap();
            assert_eq!(header.attributes as u16 & 0xff80, *bits);
        }
    }
}

#[tokio::test]
async fn a_codec_that_does_not_exist_or_is_not_the_contents_is_an_error_for_good() {
    let node = node().await;
    let mut client = node.client().await;
    for topic in TOPICS {
        for codec in 1..=7 {
            let sent = with_bits(batch(&["not compressed"]), codec);
            let found = produce(&mut client, topic, None, sent).await;
            assert_code(found.error_code, ErrorCode::UnknownServerError);
            let message = found.error_message.unwrap();
            let expected = if codec < 5 { "corrupt" } else { "codec" };
            assert!(message.contains(expected), "{message}");
        }
        assert_eq!(client.fetch(topic, 0, 0).await.high_watermark, 0);
    }
}
