//! Batches written by Apache Kafka 4.3.1 (`golden/Golden.java`), read and built again here.

use super::{OwnedRecord, build, read};
use crate::*;

const T: i64 = 1_357_034_400_000;

pub(super) const BATCHES: [(&str, &str); 9] = [
    ("plain", include_str!("golden/plain.hex")),
    ("gzip", include_str!("golden/gzip.hex")),
    ("snappy", include_str!("golden/snappy.hex")),
    ("lz4", include_str!("golden/lz4.hex")),
    ("zstd", include_str!("golden/zstd.hex")),
    (
        "log-append-time",
        include_str!("golden/log-append-time.hex"),
    ),
    ("transactional", include_str!("golden/transactional.hex")),
    ("commit", include_str!("golden/commit.hex")),
    ("abort", include_str!("golden/abort.hex")),
];

pub(super) fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    let digit = |byte: u8| (byte as char).to_digit(16).unwrap() as u8;
    digits
        .chunks(2)
        .map(|pair| digit(pair[0]) * 16 + digit(pair[1]))
        .collect()
}

pub(super) fn golden(name: &str) -> Vec<u8> {
    let (_, text) = BATCHES.iter().find(|(found, _)| *found == name).unwrap();
    unhex(text)
}

fn records() -> Vec<OwnedRecord> {
    let record = |timestamp, key: Option<&[u8]>, value: Option<&[u8]>| OwnedRecord {
        timestamp,
        key: key.map(<[u8]>::to_vec),
        value: value.map(<[u8]>::to_vec),
        headers: Vec::new(),
    };
    let long = b"a value without a key, ".repeat(20);
    let mut records = vec![
        record(T, Some(b"key"), Some(b"value")),
        record(T - 70_000, None, Some(&long)),
        record(T + 5, Some(b"tombstone"), None),
        record(T + 6, Some(b""), Some(b"")),
    ];
    records[3].headers = vec![
        (b"a".to_vec(), Some(b"1".to_vec())),
        (b"a".to_vec(), None),
        (Vec::new(), Some(Vec::new())),
    ];
    records
}

fn options(compression: Compression) -> BatchOptions {
    BatchOptions {
        base_offset: 42,
        leader_epoch: 5,
        compression,
        ..BatchOptions::default()
    }
}

#[test]
fn every_codec_of_kafka_is_read() {
    let codecs = [
        ("plain", Compression::None),
        ("gzip", Compression::Gzip),
        ("snappy", Compression::Snappy),
        ("lz4", Compression::Lz4),
        ("zstd", Compression::Zstd),
        ("transactional", Compression::Lz4),
    ];
    let expected: Vec<_> = (42..).zip(records()).collect();
    for (name, codec) in codecs {
        let bytes = golden(name);
        let view = BatchView::parse(&bytes).unwrap();
        view.validate(1 << 16).unwrap();
        assert_eq!(view.header().compression(), codec, "{name}");
        assert_eq!(view.header().leader_epoch, 5, "{name}");
        assert_eq!(read(&bytes).unwrap(), expected, "{name}");
    }
}

#[test]
fn what_is_not_compressed_is_built_byte_for_byte_as_kafka_does() {
    assert_eq!(
        build(options(Compression::None), &records()),
        golden("plain")
    );
}

#[test]
fn the_header_is_read_as_kafka_wrote_it() {
    let bytes = golden("transactional");
    let header = *BatchView::parse(&bytes).unwrap().header();
    assert_eq!(
        header,
        BatchHeader {
            base_offset: 42,
            batch_length: bytes.len() as i32 - 12,
            leader_epoch: 5,
            crc: header.crc,
            attributes: 0x13,
            last_offset_delta: 3,
            base_timestamp: T,
            max_timestamp: T + 6,
            producer_id: 4001,
            producer_epoch: 3,
            base_sequence: 17,
            record_count: 4,
        }
    );
    assert!(header.is_transactional() && header.has_producer_id() && !header.is_control());
    assert_eq!(header.last_sequence(), 20);
}

#[test]
fn log_append_time_is_patched_in_as_kafka_writes_it() {
    let mut bytes = golden("plain");
    patch::set_log_append_time(&mut bytes, T + 999);
    assert_eq!(bytes, golden("log-append-time"));
    for (_, record) in read(&bytes).unwrap() {
        assert_eq!(record.timestamp, T + 999);
    }
}

#[test]
fn markers_are_built_byte_for_byte_as_kafka_does() {
    for (name, marker, offset) in [("commit", Marker::Commit, 7), ("abort", Marker::Abort, 8)] {
        let mut bytes = build_marker(marker, 4001, 3, 9, T);
        patch::set_base_offset(&mut bytes, offset);
        patch::set_leader_epoch(&mut bytes, 5);
        assert_eq!(bytes, golden(name), "{name}");

        let view = BatchView::parse(&bytes).unwrap();
        view.validate(0).unwrap();
        assert!(view.header().is_control() && view.header().is_transactional());
        let records = view.records(0).unwrap();
        let record = records.iter().next().unwrap().unwrap();
        let control = ControlRecord::parse(&record).unwrap();
        assert_eq!(control.marker(), Some(marker));
        assert_eq!(control.coordinator_epoch, 9);
    }
}

#[test]
fn patches_change_their_field_and_keep_the_crc_sound() {
    let mut bytes = golden("zstd");
    patch::set_base_offset(&mut bytes, 1_000);
    patch::set_leader_epoch(&mut bytes, 77);
    let stamp = ProducerStamp {
        id: 12,
        epoch: 1,
        base_sequence: i32::MAX - 1,
    };
    patch::restamp_producer(&mut bytes, stamp);
    patch::set_max_timestamp(&mut bytes, T + 10);
    let view = BatchView::parse(&bytes).unwrap();
    view.validate(1 << 16).unwrap();
    let header = view.header();
    assert_eq!((header.base_offset, header.leader_epoch), (1_000, 77));
    assert_eq!((header.producer_id, header.producer_epoch), (12, 1));
    assert_eq!(header.max_timestamp, T + 10);
    // Sequences wrap from i32::MAX to 0: four records, so MAX - 1, MAX, 0, 1.
    assert_eq!(header.last_sequence(), 1);
    assert_eq!(read(&bytes).unwrap()[2].0, 1_002);
}
