//! The forms that the oracle cannot show: frames, tags, record layouts, version rules.

use bytes::{BufMut, Bytes, BytesMut};

use crate::coordinator_records::{
    ConsumerOffsetsKey, ConsumerProtocolAssignment, ConsumerProtocolSubscription, GroupMetadataKey,
    OffsetCommitKey, OffsetCommitValue, TopicPartition, TransactionLogKey, TransactionLogValue,
};
use crate::fetch::{FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData};
use crate::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use crate::produce::ProduceRequest;
use crate::{
    DecodeError, EncodeError, Message, RequestHeader, Versioned, decode_response, encode_request,
    encode_response, encode_response_chunks,
};

fn fetch_response(records: Vec<Bytes>) -> FetchResponse {
    FetchResponse {
        responses: vec![FetchableTopicResponse {
            topic: "flights".to_owned(),
            partitions: records
                .into_iter()
                .map(|records| PartitionData {
                    records: Some(records),
                    ..PartitionData::default()
                })
                .collect(),
            ..FetchableTopicResponse::default()
        }],
        ..FetchResponse::default()
    }
}

#[test]
fn a_frame_in_pieces_has_the_same_bytes_and_copies_no_big_record_set() {
    let big: Bytes = vec![7u8; 100_000].into();
    let small: Bytes = vec![8u8; 100].into();
    let response = fetch_response(vec![big.clone(), small, big.clone()]);
    for version in FetchResponse::VALID_VERSIONS {
        let whole = encode_response::<FetchRequest>(version, 5, &response).expect("encodes");
        let pieces =
            encode_response_chunks::<FetchRequest>(version, 5, &response).expect("encodes");
        assert_eq!(whole, pieces.concat());
        let uncopied = pieces.iter().filter(|piece| piece.as_ptr() == big.as_ptr());
        assert_eq!(uncopied.count(), 2);
        let length = i32::from_be_bytes(whole[..4].try_into().expect("four bytes"));
        assert_eq!(length as usize, whole.len() - 4);
        let (correlation_id, body) =
            decode_response::<FetchRequest>(whole.slice(4..), version).expect("decodes");
        assert_eq!(correlation_id, 5);
        let [topic] = &body.responses[..] else {
            panic!("one topic");
        };
        for (read, written) in topic
            .partitions
            .iter()
            .zip(&response.responses[0].partitions)
        {
            assert!(read.records == written.records, "version {version}");
        }
        assert_eq!(topic.partitions.len(), 3);
    }
}

#[test]
fn a_record_set_is_a_slice_of_the_frame() {
    let mut request = ProduceRequest::default();
    request.topic_data.push(Default::default());
    request.topic_data[0]
        .partition_data
        .push(Default::default());
    request.topic_data[0].partition_data[0].records = Some(Bytes::from(vec![9; 50]));
    let frame = encode_request(9, 1, Some("me"), &request).expect("encodes");
    let mut body = frame.slice(4..);
    RequestHeader::decode(&mut body).expect("decodes");
    let read = ProduceRequest::decode(&mut body, 9).expect("decodes");
    let records = read.topic_data[0].partition_data[0].records.as_ref();
    let records = records.expect("records");
    assert_eq!(records.len(), 50);
    assert!(frame.as_ptr_range().contains(&records.as_ptr()));
}

#[test]
fn unknown_tagged_fields_are_skipped() {
    let request = HeartbeatRequest {
        group_id: "g".to_owned(),
        generation_id: 3,
        member_id: "m".to_owned(),
        group_instance_id: None,
    };
    let mut bytes = BytesMut::new();
    request.encode(&mut bytes, 4).expect("encodes");
    assert_eq!(bytes.last(), Some(&0), "no tagged fields");
    bytes.truncate(bytes.len() - 1);
    // Two fields: tag 5 with three bytes, tag 900 with none.
    bytes.put_slice(&[2, 5, 3, 1, 2, 3, 0x84, 0x07, 0, 0xaa]);
    let mut input = bytes.freeze();
    assert_eq!(HeartbeatRequest::decode(&mut input, 4), Ok(request));
    assert_eq!(&input[..], [0xaa], "what follows the message is left");
}

#[test]
fn a_known_tag_with_bytes_behind_its_value_is_an_error() {
    let mut bytes = BytesMut::new();
    bytes.put_slice(&[0; 8]); // throttle time, error code, and half of the session id
    bytes.put_slice(&[0, 0, 1]); // the rest of it, no responses
    bytes.put_slice(&[1, 0, 2, 1, 0]); // one tag: 0, two bytes, of which an empty array takes one
    let error = FetchResponse::decode(&mut bytes.freeze(), 16);
    let field = "FetchResponse.node_endpoints";
    assert_eq!(error, Err(DecodeError::TagTooLong { field, extra: 1 }));
}

#[test]
fn a_value_that_a_version_cannot_express_is_an_error() {
    let request = HeartbeatRequest {
        group_instance_id: Some("static".to_owned()),
        ..HeartbeatRequest::default()
    };
    let mut buf = BytesMut::new();
    let field = "HeartbeatRequest.group_instance_id";
    assert_eq!(
        request.encode(&mut buf, 2),
        Err(EncodeError::NotInVersion { field, version: 2 })
    );
    assert_eq!(request.encode(&mut buf, 3), Ok(()));
    // An ignorable field is dropped instead.
    let response = HeartbeatResponse {
        throttle_time_ms: 5,
        error_code: 0,
    };
    buf.clear();
    assert_eq!(response.encode(&mut buf, 0), Ok(()));
    assert_eq!(&buf[..], [0, 0]);
    assert!(matches!(
        response.encode(&mut buf, 5),
        Err(EncodeError::UnsupportedVersion { version: 5, .. })
    ));
    let long = HeartbeatRequest {
        group_id: "x".repeat(40_000),
        ..HeartbeatRequest::default()
    };
    assert!(matches!(
        long.encode(&mut buf, 0),
        Err(EncodeError::TooLong { limit: 32767, .. })
    ));
}

#[test]
fn null_is_refused_where_a_version_has_none() {
    let request = crate::metadata::MetadataRequest::default();
    let mut buf = BytesMut::new();
    let field = "MetadataRequest.topics";
    assert_eq!(
        request.encode(&mut buf, 0),
        Err(EncodeError::NullNotAllowed { field, version: 0 })
    );
    let mut null = Bytes::from_static(&[0xff; 4]);
    assert_eq!(
        crate::metadata::MetadataRequest::decode(&mut null, 0),
        Err(DecodeError::NullNotAllowed { field, version: 0 })
    );
}

#[test]
fn offset_records_have_kafkas_layout() {
    let key = OffsetCommitKey {
        group: "gr".to_owned(),
        topic: "t".to_owned(),
        partition: 3,
    };
    let bytes = key.to_bytes(1).expect("encodes");
    assert_eq!(&bytes[..], b"\x00\x01\x00\x02gr\x00\x01t\x00\x00\x00\x03");
    assert_eq!(
        ConsumerOffsetsKey::from_bytes(bytes),
        Ok(ConsumerOffsetsKey::Offset(key))
    );
    let value = OffsetCommitValue {
        offset: 258,
        leader_epoch: 2,
        metadata: "m".to_owned(),
        commit_timestamp: 1,
        ..OffsetCommitValue::default()
    };
    assert_eq!(
        &value.to_bytes(3).expect("encodes")[..],
        b"\x00\x03\0\0\0\0\0\0\x01\x02\0\0\0\x02\x00\x01m\0\0\0\0\0\0\0\x01"
    );
    let group = GroupMetadataKey {
        group: "gr".to_owned(),
    };
    let bytes = group.to_bytes(2).expect("encodes");
    assert_eq!(&bytes[..], b"\x00\x02\x00\x02gr");
    assert_eq!(
        ConsumerOffsetsKey::from_bytes(bytes),
        Ok(ConsumerOffsetsKey::Group(group))
    );
    assert_eq!(
        ConsumerOffsetsKey::from_bytes(Bytes::from_static(b"\x00\x05rest")),
        Ok(ConsumerOffsetsKey::Other { record_type: 5 })
    );
    assert!(ConsumerOffsetsKey::from_bytes(Bytes::from_static(b"\x00")).is_err());
}

#[test]
fn transaction_records_have_kafkas_layout() {
    let key = TransactionLogKey {
        transactional_id: "t".to_owned(),
    };
    assert_eq!(&key.to_bytes(0).expect("encodes")[..], b"\0\0\0\x01t");
    let value = TransactionLogValue {
        producer_id: 1,
        producer_epoch: 2,
        transaction_timeout_ms: 3,
        transaction_status: 4,
        transaction_last_update_timestamp_ms: 5,
        transaction_start_timestamp_ms: 6,
        ..TransactionLogValue::default()
    };
    assert_eq!(
        &value.to_bytes(0).expect("encodes")[..],
        b"\0\0\0\0\0\0\0\0\0\x01\0\x02\0\0\0\x03\x04\xff\xff\xff\xff\
          \0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x06"
    );
    assert!(TransactionLogValue::from_bytes(Bytes::from_static(&[0, 9, 0, 0])).is_err());
}

#[test]
fn a_newer_consumer_protocol_reads_as_the_newest_known() {
    let assignment = ConsumerProtocolAssignment {
        assigned_partitions: vec![TopicPartition {
            topic: "t".to_owned(),
            partitions: vec![0, 1],
        }],
        user_data: None,
    };
    let mut bytes = assignment.to_bytes(3).expect("encodes").to_vec();
    bytes[1] = 77;
    bytes.extend(b"fields of the future");
    let read = ConsumerProtocolAssignment::from_bytes(bytes.into());
    assert_eq!(read, Ok(assignment));
    assert!(ConsumerProtocolSubscription::from_bytes(Bytes::from_static(&[0xff, 0xff])).is_err());
}

#[test]
fn the_fixed_part_of_a_header_can_be_read_for_an_unknown_version() {
    let header = RequestHeader::peek(&[0, 18, 0, 99, 0, 0, 0, 7, 0xff, 0xff]).expect("long enough");
    assert_eq!((header.api_key, header.api_version), (18, 99));
    assert_eq!(header.correlation_id, 7);
    assert_eq!(RequestHeader::peek(&[0; 7]), None);
    let mut unknown = Bytes::from_static(&[0x7f, 0, 0, 0, 0, 0, 0, 7, 0xff, 0xff]);
    assert_eq!(
        RequestHeader::decode(&mut unknown),
        Err(DecodeError::UnknownApi(0x7f00))
    );
}
