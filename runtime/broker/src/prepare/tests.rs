use std::collections::BTreeMap;

use millstream_cluster::configs::EffectiveConfig;
use proptest::prelude::*;

use super::*;

const NOW_MS: i64 = 4_000_000_000_000;

const LIMITS: BatchLimits = BatchLimits {
    decompressed_bytes_max: 1 << 20,
    zstd: true,
    now_ms: NOW_MS,
    record_errors_max: 100,
};

fn settings(topic: &[(&str, &str)]) -> TopicSettings {
    let topic: BTreeMap<String, String> = topic
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    TopicSettings::of(EffectiveConfig {
        topic: &topic,
        node: &BTreeMap::new(),
    })
}

type Content = (
    i64,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    Vec<(Vec<u8>, Option<Vec<u8>>)>,
);

fn build(
    records: &[Content],
    compression: Compression,
    producer: Option<ProducerStamp>,
    transactional: bool,
) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions {
        base_offset: 0,
        leader_epoch: -1,
        compression,
        timestamp_type: TimestampType::CreateTime,
        producer,
        transactional,
        control: false,
    });
    for (timestamp, key, value, headers) in records {
        let headers: Vec<(&[u8], Option<&[u8]>)> = headers
            .iter()
            .map(|(name, value)| (name.as_slice(), value.as_deref()))
            .collect();
        builder
            .append(*timestamp, key.as_deref(), value.as_deref(), headers)
            .unwrap();
    }
    builder.build().unwrap()
}

fn content(bytes: &[u8]) -> Vec<Content> {
    let batch = BatchView::parse(bytes).unwrap();
    let records = batch.records(1 << 20).unwrap();
    records
        .iter()
        .map(|record| {
            let record = record.unwrap();
            let headers = record
                .headers
                .iter()
                .map(|(name, value)| (name.to_vec(), value.map(<[u8]>::to_vec)))
                .collect();
            (
                record.timestamp,
                record.key.map(<[u8]>::to_vec),
                record.value.map(<[u8]>::to_vec),
                headers,
            )
        })
        .collect()
}

fn any_content() -> impl Strategy<Value = Content> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..30);
    (
        0_i64..4_000_000_000_000,
        prop::option::of(bytes()),
        prop::option::of(bytes()),
        prop::collection::vec((bytes(), prop::option::of(bytes())), 0..3),
    )
}

proptest! {
    #[test]
    fn another_codec_changes_no_record_and_no_producer(
        records in prop::collection::vec(any_content(), 1..20),
        from in prop::sample::select(&Compression::ALL),
        to in prop::sample::select(&["uncompressed", "gzip", "snappy", "lz4", "zstd"]),
        transactional in any::<bool>(),
    ) {
        let stamp = ProducerStamp { id: 77, epoch: 3, base_sequence: 41 };
        let sent = build(&records, from, Some(stamp), transactional);
        let (stored, header) = prepare(&sent, &settings(&[("compression.type", to)]), LIMITS).unwrap();
        let view = BatchView::parse(&stored).unwrap();
        view.validate(1 << 20).unwrap();
        prop_assert_eq!(view.header(), &header);
        let codec = if to == "uncompressed" { "none" } else { to };
        prop_assert_eq!(header.compression().name(), codec);
        prop_assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (77, 3, 41));
        prop_assert_eq!(header.is_transactional(), transactional);
        prop_assert_eq!(content(&stored), records);
    }

    #[test]
    fn a_sound_batch_is_stored_as_it_came(records in prop::collection::vec(any_content(), 1..20)) {
        for codec in Compression::ALL {
            let sent = build(&records, codec, None, false);
            let (stored, _) = prepare(&sent, &settings(&[]), LIMITS).unwrap();
            prop_assert_eq!(&stored, &sent);
        }
    }

    #[test]
    fn a_spoiled_batch_is_refused(
        records in prop::collection::vec(any_content(), 1..10),
        at in any::<prop::sample::Index>(),
        bit in 0_u8..8,
    ) {
        let mut bytes = build(&records, Compression::None, None, false);
        // The first 21 bytes are the log's to write or checked by structure; from there on the checksum holds.
        let at = 21 + at.index(bytes.len() - 21);
        bytes[at] ^= 1 << bit;
        prop_assert!(prepare(&bytes, &settings(&[]), LIMITS).is_err());
    }

    #[test]
    fn noise_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(prepare(&bytes, &settings(&[]), LIMITS).is_err());
    }
}

#[test]
fn each_fault_has_its_code() {
    let keyless = build(
        &[(1, None, Some(b"v".to_vec()), Vec::new())],
        Compression::None,
        None,
        false,
    );
    let zstd = build(
        &[(1, None, Some(b"v".to_vec()), Vec::new())],
        Compression::Zstd,
        None,
        false,
    );
    let early = BatchLimits {
        zstd: false,
        ..LIMITS
    };
    let code = |bytes: &[u8], topic: &[(&str, &str)], limits| {
        prepare(bytes, &settings(topic), limits).unwrap_err().code()
    };
    assert_eq!(code(&[], &[], LIMITS), ErrorCode::InvalidRecord);
    assert_eq!(
        code(&keyless, &[("cleanup.policy", "compact,delete")], LIMITS),
        ErrorCode::InvalidRecord
    );
    assert_eq!(
        code(&keyless, &[("max.message.bytes", "60")], LIMITS),
        ErrorCode::MessageTooLarge
    );
    assert_eq!(
        code(&zstd, &[], early),
        ErrorCode::UnsupportedCompressionType
    );
    assert_eq!(
        code(&[keyless.clone(), zstd].concat(), &[], LIMITS),
        ErrorCode::InvalidRecord
    );
    assert_eq!(code(&keyless[..30], &[], LIMITS), ErrorCode::CorruptMessage);
    let tiny = BatchLimits {
        decompressed_bytes_max: 10,
        ..LIMITS
    };
    let large = build(
        &[(1, None, Some(vec![0; 1_000]), Vec::new())],
        Compression::Gzip,
        None,
        false,
    );
    assert_eq!(code(&large, &[], tiny), ErrorCode::MessageTooLarge);
}

/// A batch of these keys and times, with these bits of the attributes set.
fn keyed(records: &[(Option<&str>, i64)], bits: i16) -> Vec<u8> {
    let contents: Vec<Content> = records
        .iter()
        .map(|(key, timestamp)| {
            let key = key.map(|key| key.as_bytes().to_vec());
            (*timestamp, key, Some(b"v".to_vec()), Vec::new())
        })
        .collect();
    let bytes = build(&contents, Compression::None, None, false);
    let mut header = BatchHeader::parse(&bytes).unwrap();
    header.attributes |= bits;
    let mut batch = Vec::new();
    header
        .write_batch(&bytes[HEADER_LEN..], &mut batch)
        .unwrap();
    batch
}

type Named = Vec<(i32, &'static str)>;
/// A batch, its topic's settings, the error that answers it, and the records that are named.
type Refused<'t> = (Vec<u8>, &'t [(&'t str, &'t str)], ErrorCode, Named);

#[test]
fn records_that_their_topic_does_not_take_are_named() {
    const HOUR_MS: i64 = 3_600_000;
    let compacted = &[("cleanup.policy", "compact")][..];
    let recent = &[("message.timestamp.before.max.ms", "1000")][..];
    let both = &[compacted[0], recent[0]][..];
    let own_times = &[("message.timestamp.type", "LogAppendTime")][..];
    let append_time = 0x08;
    let now = NOW_MS;
    let (keyless, old, new, stamped) = ("no key", "older", "further ahead", "LogAppendTime");
    let invalid = ErrorCode::InvalidRecord;
    let late = ErrorCode::InvalidTimestamp;
    let table: Vec<Refused<'_>> = vec![
        (
            keyed(
                &[(Some("a"), now), (None, now), (Some("b"), now), (None, now)],
                0,
            ),
            compacted,
            invalid,
            vec![(1, keyless), (3, keyless)],
        ),
        (
            keyed(&[(None, now - 1_001), (None, now - 1_000), (None, -1)], 0),
            recent,
            late,
            vec![(0, old)],
        ),
        (
            keyed(&[(None, now + HOUR_MS), (None, now + HOUR_MS + 1)], 0),
            &[],
            late,
            vec![(1, new)],
        ),
        // Of a record the key comes first, of a batch the time.
        (
            keyed(&[(None, 5), (Some("a"), 5), (Some("b"), now)], 0),
            both,
            late,
            vec![(0, keyless), (1, old)],
        ),
        (
            keyed(&[(None, i64::MIN), (None, i64::MAX)], 0),
            recent,
            late,
            vec![(0, old), (1, new)],
        ),
        (
            keyed(&[(None, now), (None, now)], append_time),
            own_times,
            late,
            vec![(0, stamped), (1, stamped)],
        ),
        (
            keyed(&[(None, now)], append_time),
            &[],
            late,
            vec![(0, stamped)],
        ),
    ];
    for (batch, topic, code, expected) in table {
        let error = prepare(&batch, &settings(topic), LIMITS).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        let named = error.records();
        let numbers = |index: &(i32, String)| index.0;
        let numbers: Vec<i32> = named.iter().map(numbers).collect();
        let wanted: Vec<i32> = expected.iter().map(|(index, _)| *index).collect();
        assert_eq!(numbers, wanted, "{error}");
        for ((_, message), (_, word)) in named.iter().zip(expected) {
            assert!(message.contains(word), "{message}");
        }
    }
    // A topic that gives its own times takes any.
    let any = keyed(&[(None, i64::MIN), (None, i64::MAX)], 0);
    assert!(prepare(&any, &settings(own_times), LIMITS).is_ok());
}

#[test]
fn no_more_refused_records_are_named_than_there_is_room_for() {
    let batch = keyed(&[(None, NOW_MS); 50], 0);
    let topic = settings(&[("cleanup.policy", "compact")]);
    for (room, named) in [(100, 50), (3, 3), (0, 0)] {
        let limits = BatchLimits {
            record_errors_max: room,
            ..LIMITS
        };
        let error = prepare(&batch, &topic, limits).unwrap_err();
        assert_eq!(error.records().len(), named);
        assert!(error.to_string().contains("50 of"), "{error}");
    }
}

#[test]
fn a_malformed_record_is_named_too() {
    let mut batch = keyed(&[(None, NOW_MS), (None, NOW_MS)], 0);
    // The length of the second record; both are as long.
    let at = HEADER_LEN + (batch.len() - HEADER_LEN) / 2;
    batch[at] = 0x7e;
    patch::set_max_timestamp(&mut batch, NOW_MS);
    let error = prepare(&batch, &settings(&[]), LIMITS).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidRecord);
    assert_eq!(error.records()[0].0, 1, "{error}");
}
