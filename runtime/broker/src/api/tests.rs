use bytes::{BufMut, BytesMut};
use proptest::prelude::*;

use super::*;

fn frame(api_key: i16, api_version: i16, rest: &[u8]) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_i16(api_key);
    frame.put_i16(api_version);
    frame.put_i32(1);
    frame.extend_from_slice(rest);
    frame.freeze()
}

#[test]
fn nothing_is_advertised_that_the_codec_does_not_know_and_nothing_twice() {
    for (position, (api, versions)) in ADVERTISED.iter().enumerate() {
        let known = api.valid_versions();
        assert!(versions.end() <= known.end(), "{api}");
        // Produce 0 to 2 are advertised for old librdkafka and refused, as in Kafka.
        assert!(
            versions.start() >= known.start() || *api == ApiKey::Produce,
            "{api}"
        );
        assert!(
            !ADVERTISED[..position].iter().any(|(other, _)| other == api),
            "{api}"
        );
    }
}

#[test]
fn minimums_are_not_above_kafkas() {
    // Kafka 4.3's lowest versions; old clients look for exactly these.
    let kafka = [
        (ApiKey::Produce, 0),
        (ApiKey::Fetch, 4),
        (ApiKey::ListOffsets, 1),
        (ApiKey::Metadata, 0),
        (ApiKey::ApiVersions, 0),
        (ApiKey::CreateTopics, 2),
        (ApiKey::DeleteTopics, 1),
        (ApiKey::InitProducerId, 0),
        (ApiKey::DescribeConfigs, 1),
    ];
    for (api, lowest) in kafka {
        let (_, versions) = ADVERTISED.iter().find(|(key, _)| *key == api).unwrap();
        assert!(*versions.start() <= lowest, "{api}");
    }
}

#[test]
fn only_known_apis_in_spoken_versions_are_taken() {
    let parse =
        |key, version| Incoming::parse(frame(key, version, &[0xff, 0xff, 0, 0, 0, 0])).err();
    assert!(parse(1, 4).is_none());
    assert!(matches!(
        parse(1, 99),
        Some(Refusal::UnsupportedVersion { version: 99, .. })
    ));
    assert!(matches!(
        parse(0, 2),
        Some(Refusal::UnsupportedVersion { version: 2, .. })
    ));
    assert!(matches!(
        parse(999, 0),
        Some(Refusal::UnknownApi { key: 999 })
    ));
    assert!(matches!(
        parse(-1, 0),
        Some(Refusal::UnknownApi { key: -1 })
    ));
    assert!(parse(18, 99).is_none(), "ApiVersions is always answered");
}

proptest! {
    #[test]
    fn no_frame_makes_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 8..200)) {
        let _ = Incoming::parse(Bytes::from(bytes));
    }

    #[test]
    fn no_body_makes_a_decoder_panic(
        api in prop::sample::select(ADVERTISED),
        version in 0_i16..20,
        body in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        if let Ok(request) = Incoming::parse(frame(api.0 as i16, version, &body)) {
            let _ = request.decode::<MetadataRequest>();
        }
    }
}
