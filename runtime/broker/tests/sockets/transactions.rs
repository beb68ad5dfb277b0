//! Transactions as clients of v1 speak them.

use millstream_records::ProducerStamp;
use millstream_wire::{
    ErrorCode,
    add_offsets_to_txn::AddOffsetsToTxnRequest,
    add_partitions_to_txn::{AddPartitionsToTxnRequest, AddPartitionsToTxnTopic},
    end_txn::EndTxnRequest,
    init_producer_id::{InitProducerIdRequest, InitProducerIdResponse},
    offset_fetch::{OffsetFetchRequest, OffsetFetchRequestTopic},
    produce::ProduceRequest,
    txn_offset_commit::{
        TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
    },
};

use crate::support::{
    BatchSpec, Client, Node, assert_code, batch_of, fetch_request, only, produce_request, values,
};

pub const ID: &str = "writer";

pub async fn init(client: &mut Client, version: i16) -> InitProducerIdResponse {
    init_as(client, version, -1, -1).await
}

async fn init_as(client: &mut Client, version: i16, id: i64, epoch: i16) -> InitProducerIdResponse {
    let request = InitProducerIdRequest {
        transactional_id: Some(ID.to_owned()),
        transaction_timeout_ms: 60_000,
        producer_id: id,
        producer_epoch: epoch,
    };
    client.call(version, &request).await
}

pub async fn add(
    client: &mut Client,
    version: i16,
    producer: &InitProducerIdResponse,
    topics: &[(&str, &[i32])],
) -> Vec<i16> {
    let response = client.call(version, &adding(producer, topics)).await;
    response
        .results_by_topic_v3_and_below
        .iter()
        .flat_map(|topic| &topic.results_by_partition)
        .map(|one| one.partition_error_code)
        .collect()
}

fn adding(
    producer: &InitProducerIdResponse,
    topics: &[(&str, &[i32])],
) -> AddPartitionsToTxnRequest {
    let named = |(name, partitions): &(&str, &[i32])| AddPartitionsToTxnTopic {
        name: (*name).to_owned(),
        partitions: partitions.to_vec(),
    };
    AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: ID.to_owned(),
        v3_and_below_producer_id: producer.producer_id,
        v3_and_below_producer_epoch: producer.producer_epoch,
        v3_and_below_topics: topics.iter().map(named).collect(),
    }
}

pub fn data(producer: &InitProducerIdResponse, sequence: i32, value: &str) -> ProduceRequest {
    let batch = batch_of(
        &[value],
        &BatchSpec {
            producer: Some(ProducerStamp {
                id: producer.producer_id,
                epoch: producer.producer_epoch,
                base_sequence: sequence,
            }),
            transactional: true,
            ..BatchSpec::default()
        },
    );
    ProduceRequest {
        transactional_id: Some(ID.to_owned()),
        ..produce_request("out", 0, -1, batch)
    }
}

pub async fn produce(
    client: &mut Client,
    producer: &InitProducerIdResponse,
    sequence: i32,
    value: &str,
) -> i16 {
    let response = client.call(9, &data(producer, sequence, value)).await;
    response.responses[0].partition_responses[0].error_code
}

pub async fn end(
    client: &mut Client,
    version: i16,
    producer: &InitProducerIdResponse,
    committed: bool,
) -> i16 {
    let request = EndTxnRequest {
        transactional_id: ID.to_owned(),
        producer_id: producer.producer_id,
        producer_epoch: producer.producer_epoch,
        committed,
    };
    client.call(version, &request).await.error_code
}

/// What `read_committed` consumers get, before they filter.
async fn read_committed(client: &mut Client) -> (Vec<String>, usize) {
    let mut request = fetch_request("out", 0, 0);
    request.isolation_level = 1;
    let partition = only(client.call(11, &request).await);
    let aborted = partition
        .aborted_transactions
        .clone()
        .unwrap_or_default()
        .len();
    let bytes = partition.records.clone().unwrap_or_default();
    let markers = millstream_records::batches(&bytes)
        .filter(|batch| batch.as_ref().unwrap().header().is_control())
        .count();
    let all = if bytes.is_empty() || markers > 0 {
        data_values(&bytes)
    } else {
        values(&partition)
    };
    (all, aborted)
}

fn data_values(bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for batch in millstream_records::batches(bytes) {
        let batch = batch.unwrap();
        if batch.header().is_control() {
            continue;
        }
        for record in batch.records(1 << 20).unwrap().iter() {
            found.push(String::from_utf8(record.unwrap().value.unwrap().to_vec()).unwrap());
        }
    }
    found
}

#[tokio::test]
async fn a_consume_transform_produce_loop_commits_and_aborts() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.create("out", 1, &[]).await;
    client.create("in", 1, &[]).await;
    let producer = init(&mut client, 4).await;
    assert_code(producer.error_code, ErrorCode::None);
    for (round, commit) in [(0, true), (1, false), (2, true)] {
        let added = add(&mut client, 0, &producer, &[("out", &[0])]).await;
        assert_eq!(added, [0]);
        let code = produce(&mut client, &producer, round, &format!("v{round}")).await;
        assert_code(code, ErrorCode::None);
        let request = AddOffsetsToTxnRequest {
            transactional_id: ID.to_owned(),
            producer_id: producer.producer_id,
            producer_epoch: producer.producer_epoch,
            group_id: "loop".to_owned(),
        };
        assert_code(client.call(0, &request).await.error_code, ErrorCode::None);
        let request = TxnOffsetCommitRequest {
            transactional_id: ID.to_owned(),
            group_id: "loop".to_owned(),
            producer_id: producer.producer_id,
            producer_epoch: producer.producer_epoch,
            topics: vec![TxnOffsetCommitRequestTopic {
                name: "in".to_owned(),
                partitions: vec![TxnOffsetCommitRequestPartition {
                    committed_offset: i64::from(round) + 1,
                    ..TxnOffsetCommitRequestPartition::default()
                }],
            }],
            ..TxnOffsetCommitRequest::default()
        };
        let response = client.call(3, &request).await;
        assert_code(response.topics[0].partitions[0].error_code, ErrorCode::None);
        assert_code(offset(&mut client).await.1, ErrorCode::UnstableOffsetCommit);
        assert_code(
            end(&mut client, 1, &producer, commit).await,
            ErrorCode::None,
        );
    }
    let (seen, aborted) = read_committed(&mut client).await;
    assert_eq!(seen, ["v0", "v1", "v2"]);
    assert_eq!(aborted, 1);
    assert_eq!(offset(&mut client).await, (3, 0));
}

async fn offset(client: &mut Client) -> (i64, i16) {
    let request = OffsetFetchRequest {
        group_id: "loop".to_owned(),
        topics: Some(vec![OffsetFetchRequestTopic {
            name: "in".to_owned(),
            partition_indexes: vec![0],
        }]),
        require_stable: true,
        ..OffsetFetchRequest::default()
    };
    let response = client.call(7, &request).await;
    let partition = &response.topics[0].partitions[0];
    (partition.committed_offset, partition.error_code)
}

#[tokio::test]
async fn a_fenced_producer_is_told_so_in_the_words_of_its_version() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.create("out", 1, &[]).await;
    let older = init(&mut client, 1).await;
    add(&mut client, 0, &older, &[("out", &[0])]).await;
    produce(&mut client, &older, 0, "older").await;
    let newer = init(&mut client, 1).await;
    assert_eq!(newer.producer_id, older.producer_id);
    for (version, expected) in [
        (0, ErrorCode::InvalidProducerEpoch),
        (1, ErrorCode::InvalidProducerEpoch),
        (2, ErrorCode::ProducerFenced),
        (3, ErrorCode::ProducerFenced),
    ] {
        assert_code(end(&mut client, version, &older, true).await, expected);
        let added = add(&mut client, version, &older, &[("out", &[0])]).await;
        assert_code(added[0], expected);
    }
    for (version, expected) in [
        (3, ErrorCode::InvalidProducerEpoch),
        (4, ErrorCode::ProducerFenced),
    ] {
        let again = init_as(
            &mut client,
            version,
            older.producer_id,
            older.producer_epoch,
        )
        .await;
        assert_code(again.error_code, expected);
    }
    assert_code(
        produce(&mut client, &older, 1, "zombie").await,
        ErrorCode::InvalidProducerEpoch,
    );
    let (seen, aborted) = read_committed(&mut client).await;
    assert_eq!((seen, aborted), (vec!["older".to_owned()], 1));
}

#[tokio::test]
async fn a_partition_that_was_not_added_takes_no_data() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.create("out", 1, &[]).await;
    client.create("other", 1, &[]).await;
    let producer = init(&mut client, 4).await;
    add(&mut client, 0, &producer, &[("other", &[0])]).await;
    assert_code(
        produce(&mut client, &producer, 0, "hanging").await,
        ErrorCode::InvalidTxnState,
    );
    let refused = add(
        &mut client,
        0,
        &producer,
        &[("out", &[0]), ("nowhere", &[0]), ("out", &[5])],
    )
    .await;
    assert_code(refused[0], ErrorCode::OperationNotAttempted);
    assert_code(refused[1], ErrorCode::UnknownTopicOrPartition);
    assert_code(refused[2], ErrorCode::UnknownTopicOrPartition);
    assert_code(end(&mut client, 1, &producer, true).await, ErrorCode::None);
    assert_code(
        produce(&mut client, &producer, 0, "late").await,
        ErrorCode::InvalidTxnState,
    );
}

#[tokio::test]
async fn a_producer_may_bump_its_own_epoch_and_repeat_the_request() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.create("out", 1, &[]).await;
    let first = init(&mut client, 4).await;
    // In the middle of a transaction, as librdkafka does when its sequence is broken.
    add(&mut client, 0, &first, &[("out", &[0])]).await;
    produce(&mut client, &first, 0, "broken").await;
    let bumped = init_as(&mut client, 4, first.producer_id, first.producer_epoch).await;
    assert_code(bumped.error_code, ErrorCode::None);
    assert_eq!(bumped.producer_id, first.producer_id);
    assert!(bumped.producer_epoch > first.producer_epoch);
    add(&mut client, 0, &bumped, &[("out", &[0])]).await;
    assert_code(
        produce(&mut client, &bumped, 0, "sound").await,
        ErrorCode::None,
    );
    assert_code(end(&mut client, 1, &bumped, true).await, ErrorCode::None);
    let again = init_as(&mut client, 4, bumped.producer_id, bumped.producer_epoch).await;
    let repeated = init_as(&mut client, 4, bumped.producer_id, bumped.producer_epoch).await;
    assert_eq!(again, repeated);
    let (seen, aborted) = read_committed(&mut client).await;
    assert_eq!((seen.len(), aborted), (2, 1));
}

#[tokio::test]
async fn strange_requests_are_refused() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.create("out", 1, &[]).await;
    let stranger = InitProducerIdResponse {
        producer_id: 4_711,
        ..InitProducerIdResponse::default()
    };
    assert_code(
        end(&mut client, 1, &stranger, true).await,
        ErrorCode::InvalidProducerIdMapping,
    );
    let added = add(&mut client, 0, &stranger, &[("out", &[0])]).await;
    assert_code(added[0], ErrorCode::InvalidProducerIdMapping);
    let producer = init(&mut client, 4).await;
    assert_code(
        end(&mut client, 1, &producer, true).await,
        ErrorCode::InvalidTxnState,
    );
    let half = init_as(&mut client, 4, producer.producer_id, -1).await;
    assert_code(half.error_code, ErrorCode::InvalidRequest);
}

#[tokio::test]
async fn adding_no_partitions_begins_no_transaction() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.create("out", 1, &[]).await;
    let producer = init(&mut client, 4).await;
    let nothing: [&[(&str, &[i32])]; 2] = [&[], &[("out", &[])]];
    for version in 0..=3 {
        for topics in nothing {
            let response = client.call(version, &adding(&producer, topics)).await;
            assert_eq!(response.results_by_topic_v3_and_below, []);
            assert_code(
                end(&mut client, version, &producer, true).await,
                ErrorCode::InvalidTxnState,
            );
        }
    }
    // Beside others it takes part in nothing.
    let topics: [(&str, &[i32]); 2] = [("out", &[]), ("out", &[0])];
    assert_eq!(add(&mut client, 3, &producer, &topics).await, [0]);
    assert_code(end(&mut client, 3, &producer, true).await, ErrorCode::None);
}
