//! Round trips here; real Kafka's bytes, malformed bytes and codecs in the files beside.

mod codecs;
mod golden;
mod malformed;

use proptest::prelude::*;

use crate::*;

const LIMIT: usize = 1 << 20;
type OwnedHeader = (Vec<u8>, Option<Vec<u8>>);

#[derive(Debug, Clone, PartialEq)]
struct OwnedRecord {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<OwnedHeader>,
}

fn bytes(len_max: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..len_max),
        // Compressible, as real values are.
        (any::<u8>(), 0..len_max).prop_map(|(byte, len)| vec![byte; len]),
    ]
}

fn record() -> impl Strategy<Value = OwnedRecord> {
    (
        prop_oneof![
            0..2_000_000_000_000_i64,
            any::<i64>(),
            Just(i64::MIN),
            Just(i64::MAX),
            Just(-1)
        ],
        proptest::option::of(bytes(40)),
        proptest::option::of(bytes(300)),
        proptest::collection::vec((bytes(12), proptest::option::of(bytes(20))), 0..4),
    )
        .prop_map(|(timestamp, key, value, headers)| OwnedRecord {
            timestamp,
            key,
            value,
            headers,
        })
}

fn options() -> impl Strategy<Value = BatchOptions> {
    (
        0..1_i64 << 60,
        any::<i32>(),
        0..5_usize,
        proptest::option::of((0..i64::MAX, 0..i16::MAX, 0..=i32::MAX)),
        any::<bool>(),
    )
        .prop_map(
            |(base_offset, leader_epoch, codec, producer, transactional)| BatchOptions {
                base_offset,
                leader_epoch,
                compression: Compression::ALL[codec],
                timestamp_type: TimestampType::CreateTime,
                producer: producer.map(|(id, epoch, base_sequence)| ProducerStamp {
                    id,
                    epoch,
                    base_sequence,
                }),
                transactional: transactional && producer.is_some(),
                control: false,
            },
        )
}

fn build(options: BatchOptions, records: &[OwnedRecord]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options);
    for record in records {
        let headers = record
            .headers
            .iter()
            .map(|(name, value)| (name.as_slice(), value.as_deref()));
        builder
            .append(
                record.timestamp,
                record.key.as_deref(),
                record.value.as_deref(),
                headers,
            )
            .unwrap();
    }
    builder.build().unwrap()
}

fn read(batch: &[u8]) -> Result<Vec<(i64, OwnedRecord)>, BatchError> {
    let view = BatchView::parse(batch)?;
    view.verify_crc()?;
    view.records(LIMIT)?
        .iter()
        .map(|record| {
            let record = record?;
            Ok((
                record.offset,
                OwnedRecord {
                    timestamp: record.timestamp,
                    key: record.key.map(<[u8]>::to_vec),
                    value: record.value.map(<[u8]>::to_vec),
                    headers: record
                        .headers
                        .iter()
                        .map(|(name, value)| (name.to_vec(), value.map(<[u8]>::to_vec)))
                        .collect(),
                },
            ))
        })
        .collect()
}

proptest! {
    #[test]
    fn what_was_built_is_read_back(options in options(), records in proptest::collection::vec(record(), 1..20)) {
        let batch = build(options, &records);
        let expected: Vec<_> = (options.base_offset..).zip(records.clone()).collect();
        prop_assert_eq!(read(&batch).unwrap(), expected);

        let view = BatchView::parse(&batch).unwrap();
        view.validate(LIMIT).unwrap();
        let header = view.header();
        prop_assert_eq!(header.size_in_bytes(), batch.len());
        prop_assert_eq!(header.base_offset, options.base_offset);
        prop_assert_eq!(header.leader_epoch, options.leader_epoch);
        prop_assert_eq!(header.last_offset(), options.base_offset + records.len() as i64 - 1);
        prop_assert_eq!(header.next_offset(), options.base_offset + records.len() as i64);
        prop_assert_eq!(header.base_timestamp, records[0].timestamp);
        prop_assert_eq!(Some(header.max_timestamp), records.iter().map(|record| record.timestamp).max());
        prop_assert_eq!(header.compression(), options.compression);
        prop_assert_eq!(header.is_transactional(), options.transactional);
        prop_assert!(!header.is_control());
        prop_assert_eq!(header.has_producer_id(), options.producer.is_some());
        let stamp = options.producer.unwrap_or(ProducerStamp { id: -1, epoch: -1, base_sequence: -1 });
        prop_assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (stamp.id, stamp.epoch, stamp.base_sequence));
        prop_assert_eq!(BatchHeader::parse(&header.encode()).unwrap(), *header);
    }
}
