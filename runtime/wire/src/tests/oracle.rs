//! The crate `kafka-protocol` as the oracle: random messages must encode to the same bytes through
//! both, in every version that both know, and must come back from those bytes.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages as theirs;
use kafka_protocol::protocol::{Decodable, Encodable, Message as TheirMessage};

use crate::codec::random::{Random, RandomMessage};
use crate::coordinator_records as records;
use crate::{ApiKey, Message};

const MESSAGES_PER_VERSION: u64 = 300;

/// Fields that they drop where a version lacks them and that we, as Kafka, refuse to drop.
const DROPPED_BY_THEM: &[&str] = &["FetchRequest.replica_state"];

/// From these versions on a nullable field of the versions before is missing, so that it has its
/// default value: null with us, empty with them.
const RESTRUCTURED: &[(&str, i16)] = &[("OffsetFetchRequest", 8), ("FindCoordinatorResponse", 4)];

fn encode<M: Message>(message: &M, version: i16) -> Bytes {
    let mut buf = BytesMut::new();
    message.encode(&mut buf, version).expect("encodes");
    buf.freeze()
}

/// Our own round trip in one version.
fn round_trip<M>(version: i16)
where
    M: Message + RandomMessage + PartialEq + std::fmt::Debug,
{
    for seed in 0..MESSAGES_PER_VERSION {
        let message = M::random(&mut Random::new(seed), version);
        let bytes = encode(&message, version);
        let mut rest = bytes.clone();
        assert_eq!(M::decode(&mut rest, version).as_ref(), Ok(&message));
        assert!(rest.is_empty(), "{} bytes are left", rest.len());
    }
}

/// The same bytes through both in one version. Names and values must agree as well, because two
/// fields of one type that are swapped give the same bytes.
fn same_bytes<M, T>(version: i16)
where
    M: Message + RandomMessage + std::fmt::Debug,
    T: TheirMessage + Encodable + Decodable + std::fmt::Debug,
{
    for seed in 0..MESSAGES_PER_VERSION {
        let message = M::random(&mut Random::new(seed), version);
        let ours = encode(&message, version);
        let mut rest = ours.clone();
        let read = T::decode(&mut rest, version)
            .unwrap_or_else(|error| panic!("{message:?} v{version}: {error:#}"));
        assert!(rest.is_empty(), "{message:?} v{version}: bytes left");
        let mut written = BytesMut::new();
        read.encode(&mut written, version).expect("encodes");
        assert_eq!(ours, written, "{message:?} v{version}");
        let mut theirs = named_values(&read);
        for pair in named_values(&message) {
            let found = theirs.iter().position(|their_pair| *their_pair == pair);
            let found = found.unwrap_or_else(|| panic!("{pair:?} v{version}: {theirs:?}"));
            theirs.swap_remove(found);
        }
    }
}

/// A message read in one version and written in another: both refuse it, or both write the same.
fn same_bytes_in_older_versions<M, T>()
where
    M: Message + RandomMessage + std::fmt::Debug,
    T: TheirMessage + Encodable + Decodable + std::fmt::Debug,
{
    let common = shared_versions::<M, T>();
    let name = std::any::type_name::<M>().rsplit("::").next();
    let restructured = RESTRUCTURED.iter().find(|(other, _)| Some(*other) == name);
    for from in common.clone() {
        for to in *common.start()..from {
            if restructured.is_some_and(|(_, since)| (to + 1..=from).contains(since)) {
                continue;
            }
            for seed in 0..40 {
                let message = M::random(&mut Random::new(seed), from);
                let mut bytes = encode(&message, from);
                let read = T::decode(&mut bytes, from).expect("decodes");
                let mut ours = BytesMut::new();
                let mut written = BytesMut::new();
                let our_result = message.encode(&mut ours, to);
                let their_result = read.encode(&mut written, to);
                // They write null where a version has no null; we refuse it, as Kafka does.
                if matches!(our_result, Err(crate::EncodeError::NullNotAllowed { .. })) {
                    continue;
                }
                match (our_result, their_result) {
                    (Ok(()), Ok(())) => assert_eq!(ours, written, "{message:?} {from}->{to}"),
                    (Err(_), Err(_)) => {}
                    (Err(crate::EncodeError::NotInVersion { field, .. }), Ok(())) => {
                        assert!(DROPPED_BY_THEM.contains(&field), "{field}");
                    }
                    (our_result, their_result) => panic!(
                        "{message:?} v{from} as v{to}: ours {our_result:?}, theirs {their_result:?}"
                    ),
                }
            }
        }
    }
}

fn shared_versions<M: Message, T: TheirMessage>() -> std::ops::RangeInclusive<i16> {
    let low = *M::VALID_VERSIONS.start().max(&T::VERSIONS.min);
    let high = *M::VALID_VERSIONS.end().min(&T::VERSIONS.max);
    low..=high
}

/// The fields of a debug text with their values, as far as these are numbers or text that is not
/// empty. Their text has type names around many values; these are left out.
fn named_values(message: &impl std::fmt::Debug) -> Vec<(String, String)> {
    let text = format!("{message:?}");
    text.match_indices(": ")
        .map(|(end, _)| {
            let start = text[..end]
                .rfind(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .map_or(0, |at| at + 1);
            let value = text[end + 2..].trim_start_matches(|c: char| c.is_alphabetic() || c == '(');
            let length = value.find([',', ' ', ')', '}', ']']).unwrap_or(value.len());
            (text[start..end].to_owned(), value[..length].to_owned())
        })
        .filter(|(_, value)| !value.is_empty() && value != "\"\"" && !value.starts_with(['[', '{']))
        .collect()
}

/// Compares one message in every version; returns the versions that both know.
fn compare<M, T>() -> String
where
    M: Message + RandomMessage + PartialEq + std::fmt::Debug,
    T: TheirMessage + Encodable + Decodable + std::fmt::Debug,
{
    for version in M::VALID_VERSIONS {
        round_trip::<M>(version);
    }
    let shared = shared_versions::<M, T>();
    for version in shared.clone() {
        same_bytes::<M, T>(version);
    }
    same_bytes_in_older_versions::<M, T>();
    format!("{}-{}", shared.start(), shared.end())
}

/// Compares every API and collects which versions were compared.
macro_rules! compare_apis {
    ($($module:ident $request:ident $response:ident;)*) => {
        [$((
            <crate::$module::$request as crate::Request>::API,
            compare::<crate::$module::$request, theirs::$request>(),
            compare::<crate::$module::$response, theirs::$response>(),
        ),)*]
    };
}

#[test]
fn every_api_encodes_to_the_same_bytes_as_the_oracle() {
    let compared = super::every_api!(compare_apis);
    // Every version that we declare is known to the oracle; this list says so in full, so that
    // what is compared cannot shrink unseen.
    let expected = [
        (ApiKey::Produce, "3-11"),
        (ApiKey::Fetch, "4-16"),
        (ApiKey::ListOffsets, "1-7"),
        (ApiKey::Metadata, "0-12"),
        (ApiKey::OffsetCommit, "2-9"),
        (ApiKey::OffsetFetch, "1-9"),
        (ApiKey::FindCoordinator, "0-5"),
        (ApiKey::JoinGroup, "0-9"),
        (ApiKey::Heartbeat, "0-4"),
        (ApiKey::LeaveGroup, "0-5"),
        (ApiKey::SyncGroup, "0-5"),
        (ApiKey::DescribeGroups, "0-6"),
        (ApiKey::ListGroups, "0-5"),
        (ApiKey::ApiVersions, "0-4"),
        (ApiKey::CreateTopics, "2-7"),
        (ApiKey::DeleteTopics, "1-6"),
        (ApiKey::DeleteRecords, "0-2"),
        (ApiKey::InitProducerId, "0-4"),
        (ApiKey::AddPartitionsToTxn, "0-3"),
        (ApiKey::AddOffsetsToTxn, "0-3"),
        (ApiKey::EndTxn, "0-3"),
        (ApiKey::TxnOffsetCommit, "0-3"),
        (ApiKey::DescribeConfigs, "1-4"),
        (ApiKey::IncrementalAlterConfigs, "0-1"),
    ];
    assert_eq!(compared.len(), ApiKey::ALL.len());
    assert_eq!(compared.len(), expected.len());
    for ((api, request, response), (expected_api, versions)) in compared.iter().zip(expected) {
        println!("{api}: request {request}, response {response}");
        assert_eq!(
            (*api, request.as_str(), response.as_str()),
            (expected_api, versions, versions)
        );
        let ours = api.valid_versions();
        assert_eq!(versions, format!("{}-{}", ours.start(), ours.end()));
    }
}

#[test]
fn the_consumer_protocol_encodes_to_the_same_bytes_as_the_oracle() {
    let subscription =
        compare::<records::ConsumerProtocolSubscription, theirs::ConsumerProtocolSubscription>();
    let assignment =
        compare::<records::ConsumerProtocolAssignment, theirs::ConsumerProtocolAssignment>();
    assert_eq!((subscription.as_str(), assignment.as_str()), ("0-3", "0-3"));
}

#[test]
fn coordinator_records_come_back_in_every_version() {
    round_trip::<records::TransactionLogKey>(0);
    (0..=1).for_each(round_trip::<records::TransactionLogValue>);
    (0..=1).for_each(round_trip::<records::OffsetCommitKey>);
    (0..=4).for_each(round_trip::<records::OffsetCommitValue>);
    round_trip::<records::GroupMetadataKey>(2);
    (0..=4).for_each(round_trip::<records::GroupMetadataValue>);
}

#[test]
fn request_headers_encode_to_the_same_bytes_as_the_oracle() {
    for api in ApiKey::ALL {
        for version in api.valid_versions() {
            for client_id in [None, Some(String::new()), Some("kcat".to_owned())] {
                let header = crate::RequestHeader {
                    api_key: *api as i16,
                    api_version: version,
                    correlation_id: 77,
                    client_id,
                };
                let mut ours = BytesMut::new();
                header.encode(&mut ours).expect("encodes");
                let key = theirs::ApiKey::try_from(*api as i16).expect("a known key");
                let their_version = key.request_header_version(version);
                assert_eq!(crate::request_header_version(*api, version), their_version);
                assert_eq!(
                    crate::response_header_version(*api, version),
                    key.response_header_version(version)
                );
                let mut rest = ours.clone().freeze();
                let read = theirs::RequestHeader::decode(&mut rest, their_version);
                let mut written = BytesMut::new();
                read.expect("decodes")
                    .encode(&mut written, their_version)
                    .expect("encodes");
                assert_eq!(ours, written);
                let mut rest = ours.freeze();
                assert_eq!(crate::RequestHeader::decode(&mut rest), Ok(header));
                assert!(rest.is_empty());
            }
        }
    }
}
