//! Malformed batches: every one an error, none a panic.

use proptest::prelude::*;

use super::golden::{BATCHES, golden, unhex};
use crate::builder::seal;
use crate::*;

const LIMIT: usize = 1 << 16;

/// Corrects length and CRC, so that damage reaches what lies behind those checks.
fn disguise(batch: &mut [u8]) {
    let length = batch.len() as i32 - 12;
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    seal(batch);
}

/// Runs every reader over `bytes`; true when they are a sound batch.
fn is_sound(bytes: &[u8]) -> bool {
    for batch in batches(bytes) {
        let _ = batch.map(|view| view.validate_produced(LIMIT));
    }
    let Ok(view) = BatchView::parse(bytes) else {
        return false;
    };
    let header = view.header();
    let _ = (
        header.last_offset(),
        header.next_offset(),
        header.last_sequence(),
        header.delete_horizon_ms(),
    );
    if let Ok(records) = view.records(LIMIT) {
        for record in records.iter().flatten() {
            let _ = ControlRecord::parse(&record);
            assert_eq!(record.headers.iter().count(), record.headers.count());
        }
    }
    view.validate(LIMIT).is_ok()
}

#[test]
fn a_batch_cut_anywhere_is_an_error_and_a_partial_tail() {
    for (name, text) in BATCHES {
        let bytes = unhex(text);
        for len in 0..bytes.len() {
            assert!(!is_sound(&bytes[..len]), "{name} {len}");
            let mut walk = batches(&bytes[..len]);
            assert!(walk.next().is_none(), "{name} {len}");
            assert_eq!(walk.complete_len(), 0);
        }
    }
}

#[test]
fn records_cut_anywhere_are_an_error() {
    for (name, text) in BATCHES {
        let bytes = unhex(text);
        for len in HEADER_LEN..bytes.len() {
            let mut cut = bytes[..len].to_vec();
            disguise(&mut cut);
            assert!(!is_sound(&cut), "{name} {len}");
        }
    }
}

#[test]
fn a_flipped_bit_is_found_or_harmless() {
    for (name, text) in BATCHES {
        let sound = unhex(text);
        for at in 0..sound.len() {
            for bit in 0..8 {
                let mut bytes = sound.clone();
                bytes[at] ^= 1 << bit;
                // The CRC covers neither base offset nor leader epoch, which the broker assigns.
                let uncovered = at < 8 || (12..16).contains(&at);
                assert!(uncovered || !is_sound(&bytes), "{name} {at} {bit}");
                // With a CRC that fits, the readers must cope by themselves.
                if at >= 21 {
                    seal(&mut bytes);
                    is_sound(&bytes);
                }
            }
        }
    }
}

#[test]
fn trailing_bytes_are_an_error() {
    for (name, text) in BATCHES {
        let mut bytes = unhex(text);
        bytes.push(0);
        assert!(
            matches!(
                BatchView::parse(&bytes),
                Err(BatchError::TrailingBytes { extra: 1, .. })
            ),
            "{name}"
        );
    }
    let mut bytes = golden("plain");
    bytes.push(0);
    disguise(&mut bytes);
    let error = BatchView::parse(&bytes)
        .unwrap()
        .validate(LIMIT)
        .unwrap_err();
    assert_eq!(
        error,
        BatchError::TrailingRecordBytes {
            record_count: 4,
            extra: 1
        }
    );
}

type Damage = fn(&mut BatchHeader);

fn damaged_header(damage: impl FnOnce(&mut BatchHeader)) -> Vec<u8> {
    let mut bytes = golden("plain");
    let mut header = BatchHeader::parse(&bytes).unwrap();
    damage(&mut header);
    bytes[..HEADER_LEN].copy_from_slice(&header.encode());
    seal(&mut bytes);
    bytes
}

#[test]
fn a_declared_count_that_does_not_fit_is_an_error() {
    for count in [5, 1_000_000, i32::MAX] {
        let bytes = damaged_header(|header| {
            header.record_count = count;
            header.last_offset_delta = count - 1;
        });
        let view = BatchView::parse(&bytes).unwrap();
        assert!(view.validate(LIMIT).is_err(), "{count}");
        assert!(view.validate_produced(LIMIT).is_err(), "{count}");
    }
    let bytes = damaged_header(|header| header.record_count = i32::MAX);
    let error = BatchView::parse(&bytes)
        .unwrap()
        .records(LIMIT)
        .unwrap_err();
    assert!(matches!(
        error,
        BatchError::CountBeyondBytes {
            record_count: i32::MAX,
            ..
        }
    ));
}

#[test]
fn impossible_header_fields_are_errors() {
    let damages: [(&str, Damage); 11] = [
        ("batch length", |header| header.batch_length = 48),
        ("negative batch length", |header| {
            header.batch_length = i32::MIN
        }),
        ("base offset", |header| header.base_offset = -1),
        ("base offset at the end", |header| {
            header.base_offset = i64::MAX - 3
        }),
        ("last offset delta", |header| header.last_offset_delta = -1),
        ("record count", |header| header.record_count = -1),
        ("more records than offsets", |header| {
            header.last_offset_delta = 2
        }),
        ("codec", |header| header.attributes = 5),
        ("producer id", |header| header.producer_id = -2),
        ("producer epoch", |header| header.producer_id = 1),
        ("base sequence", |header| header.base_sequence = -2),
    ];
    for (name, damage) in damages {
        assert!(!is_sound(&damaged_header(damage)), "{name}");
    }
}

#[test]
fn what_only_a_broker_may_write_is_refused_from_a_client() {
    let produced = |damage: Damage| {
        let bytes = damaged_header(damage);
        BatchView::parse(&bytes).unwrap().validate_produced(LIMIT)
    };
    let sound: [Damage; 4] = [
        |header| header.base_offset = 0,
        // Bits that mean nothing yet, and a transactional batch that is nobody's: as Kafka.
        |header| (header.base_offset, header.attributes) = (0, 0x10),
        |header| (header.base_offset, header.attributes) = (0, 0x80),
        |header| (header.base_offset, header.attributes) = (0, -0x100),
    ];
    for (index, damage) in sound.into_iter().enumerate() {
        assert_eq!(produced(damage), Ok(1_357_034_400_006), "{index}");
    }
    let refused: [Damage; 5] = [
        |_| {},
        |header| (header.base_offset, header.attributes) = (0, 0x20),
        |header| (header.base_offset, header.attributes) = (0, 0x40),
        |header| (header.base_offset, header.last_offset_delta) = (0, 9),
        |header| {
            header.base_offset = 0;
            (header.producer_id, header.producer_epoch) = (1, 1);
        },
    ];
    for (index, damage) in refused.into_iter().enumerate() {
        assert!(produced(damage).is_err(), "{index}");
    }
}

#[test]
fn another_magic_is_named() {
    let mut bytes = golden("plain");
    bytes[16] = 1;
    assert_eq!(
        BatchView::parse(&bytes).unwrap_err(),
        BatchError::Magic { found: 1 }
    );
    // An old batch may be shorter than our header; the walk still says what it is.
    let mut walk = batches(&bytes[..20]);
    assert_eq!(
        walk.next().unwrap().unwrap_err(),
        BatchError::Magic { found: 1 }
    );
    assert!(walk.next().is_none());
}

/// A batch of one record with these bytes.
fn with_record(record: &str) -> Vec<u8> {
    let mut bytes = golden("plain");
    bytes.truncate(HEADER_LEN);
    bytes.extend(unhex(record));
    let mut header = BatchHeader::parse(&bytes).unwrap();
    (header.record_count, header.last_offset_delta) = (1, 0);
    bytes[..HEADER_LEN].copy_from_slice(&header.encode());
    disguise(&mut bytes);
    bytes
}

#[test]
fn malformed_records_are_named() {
    // length, attributes, timestamp delta, offset delta, key length, value length, headers
    let cases = [
        ("0c 00 00 00 01 01 00", None),
        (
            "0e 00 00 00 01 01 00 00",
            Some(RecordFault::Length {
                declared: 7,
                used: 6,
            }),
        ),
        ("0a 00 00 00 01 01 00", Some(RecordFault::Truncated)),
        (
            "01 00 00 00 01 01 00",
            Some(RecordFault::NegativeLength(-1)),
        ),
        (
            "0c 00 00 00 03 01 00",
            Some(RecordFault::NegativeLength(-2)),
        ),
        (
            "0c 00 00 00 01 05 00",
            Some(RecordFault::NegativeLength(-3)),
        ),
        ("0c 00 00 00 08 01 00", Some(RecordFault::Truncated)),
        ("0c 00 00 00 01 01 02", Some(RecordFault::HeaderCount(1))),
        ("0c 00 00 00 01 01 01", Some(RecordFault::HeaderCount(-1))),
        (
            "10 00 00 00 01 01 02 01 01",
            Some(RecordFault::NegativeLength(-1)),
        ),
        (
            "0c 00 00 02 01 01 00",
            Some(RecordFault::OffsetDelta {
                delta: 1,
                previous: -1,
                last: 0,
            }),
        ),
        (
            "0c 00 00 01 01 01 00",
            Some(RecordFault::OffsetDelta {
                delta: -1,
                previous: -1,
                last: 0,
            }),
        ),
        ("ff ff ff ff ff ff ff", Some(RecordFault::Varint)),
        ("fe ff ff ff 0f 00 00", Some(RecordFault::Truncated)),
    ];
    for (record, expected) in cases {
        let bytes = with_record(record);
        let found = BatchView::parse(&bytes).unwrap().validate(LIMIT);
        match expected {
            None => assert_eq!(found, Ok(()), "{record}"),
            Some(fault) => assert_eq!(
                found,
                Err(BatchError::Record {
                    index: 0,
                    position: 0,
                    fault
                }),
                "{record}"
            ),
        }
    }
}

/// The record's offset would not even fit into its type.
#[test]
fn a_record_beyond_the_last_offset_of_all_is_an_error() {
    let mut bytes = with_record("0e 00 00 80 01 01 01 00");
    let mut header = BatchHeader::parse(&bytes).unwrap();
    header.base_offset = i64::MAX - 1;
    bytes[..HEADER_LEN].copy_from_slice(&header.encode());
    seal(&mut bytes);
    let found = BatchView::parse(&bytes).unwrap().validate(LIMIT);
    let fault = RecordFault::OffsetDelta {
        delta: 64,
        previous: -1,
        last: 0,
    };
    let expected = BatchError::Record {
        index: 0,
        position: 0,
        fault,
    };
    assert_eq!(found, Err(expected));
}

#[test]
fn offsets_may_have_gaps_but_never_go_back() {
    let two = |first: &str, second: &str| {
        let mut bytes = with_record(&format!(
            "0c 00 00 {first} 01 01 00 0c 00 00 {second} 01 01 00"
        ));
        let mut header = BatchHeader::parse(&bytes).unwrap();
        (header.record_count, header.last_offset_delta) = (2, 9);
        bytes[..HEADER_LEN].copy_from_slice(&header.encode());
        seal(&mut bytes);
        bytes
    };
    let thinned = two("04", "10");
    let view = BatchView::parse(&thinned).unwrap();
    view.validate(LIMIT).unwrap();
    assert!(view.validate_produced(LIMIT).is_err());
    assert!(!is_sound(&two("04", "04")));
    assert!(!is_sound(&two("04", "02")));
}

#[test]
fn batches_are_walked_up_to_the_partial_tail() {
    let whole = [golden("plain"), golden("zstd"), golden("commit")].concat();
    let tail = golden("gzip");
    let bytes = [whole.as_slice(), &tail[..tail.len() - 1]].concat();
    let mut walk = batches(&bytes);
    assert_eq!(
        walk.by_ref()
            .map(Result::unwrap)
            .map(|view| view.header().base_offset)
            .collect::<Vec<_>>(),
        [42, 42, 7]
    );
    assert_eq!(walk.complete_len(), whole.len());
}

#[test]
fn a_malformed_batch_ends_the_walk() {
    let first = golden("plain");
    let mut second = golden("zstd");
    second[8..12].copy_from_slice(&40_i32.to_be_bytes());
    let bytes = [first.as_slice(), &second].concat();
    let mut walk = batches(&bytes);
    assert!(walk.next().unwrap().is_ok());
    assert_eq!(
        walk.next().unwrap().unwrap_err(),
        BatchError::Length { length: 40 }
    );
    assert!(walk.next().is_none());
    assert_eq!(walk.complete_len(), first.len());
}

#[test]
fn control_records_that_are_none_are_errors() {
    let parse = |key: Option<&[u8]>, value: Option<&[u8]>| {
        ControlRecord::parse(&Record {
            offset: 0,
            timestamp: 0,
            key,
            value,
            headers: Headers::default(),
        })
    };
    let value: &[u8] = &[0, 0, 0, 0, 0, 9];
    assert_eq!(
        parse(Some(&[0, 0, 0, 1]), Some(value)).unwrap().marker(),
        Some(Marker::Commit)
    );
    assert_eq!(
        parse(Some(&[0, 0, 0, 2]), None).unwrap().kind,
        ControlKind::Other(2)
    );
    assert!(parse(None, Some(value)).is_err());
    assert!(parse(Some(&[0, 0, 0]), Some(value)).is_err());
    assert!(parse(Some(&[0xff, 0, 0, 0]), Some(value)).is_err());
    assert!(parse(Some(&[0, 0, 0, 0]), None).is_err());
    assert!(parse(Some(&[0, 0, 0, 0]), Some(&value[..5])).is_err());
    assert!(parse(Some(&[0, 0, 0, 0]), Some(&[0x80, 0, 0, 0, 0, 9])).is_err());
}

#[test]
fn what_cannot_be_built_is_refused() {
    assert_eq!(
        BatchBuilder::new(BatchOptions::default()).build(),
        Err(BuildError::Empty)
    );
    let mut builder = BatchBuilder::new(BatchOptions {
        transactional: true,
        ..BatchOptions::default()
    });
    builder.append(0, None, None, []).unwrap();
    assert_eq!(
        builder.build(),
        Err(BuildError::TransactionalWithoutProducer)
    );
}

#[test]
fn the_space_before_a_record_is_what_the_builder_says() {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    assert_eq!(
        (
            builder.estimated_size(),
            builder.count(),
            builder.max_timestamp()
        ),
        (HEADER_LEN, 0, None)
    );
    builder.append(5, Some(b"k"), Some(b"v"), []).unwrap();
    builder.append(3, None, None, [(&b"h"[..], None)]).unwrap();
    assert_eq!((builder.count(), builder.max_timestamp()), (2, Some(5)));
    let size = builder.estimated_size();
    assert_eq!(builder.build().unwrap().len(), size);
}

proptest! {
    #[test]
    fn random_bytes_are_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        is_sound(&bytes);
    }

    #[test]
    fn random_bytes_behind_a_sound_start_are_never_a_panic(
        attributes in any::<i16>(),
        count in prop_oneof![0..20_i32, any::<i32>()],
        delta in prop_oneof![0..20_i32, any::<i32>()],
        base_offset in any::<i64>(),
        mut body in proptest::collection::vec(prop_oneof![0..20_u8, any::<u8>()], 0..300),
    ) {
        let mut bytes = damaged_header(|header| {
            header.base_offset = base_offset;
            header.attributes = attributes;
            header.record_count = count;
            header.last_offset_delta = delta;
        });
        bytes.truncate(HEADER_LEN);
        bytes.append(&mut body);
        disguise(&mut bytes);
        is_sound(&bytes);
    }
}
