use millstream_records::{
    BatchBuilder, BatchOptions, Compression, ProducerStamp, build_marker, patch,
};

use super::*;

const NOW_MS: i64 = 1_700_000_000_000;
const RETENTION_MS: i64 = 1000;

type KeyValue = (&'static str, Option<&'static str>);

/// A batch of these records at `base_offset`, a millisecond apart from `NOW_MS` on.
fn data(
    base_offset: i64,
    records: &[KeyValue],
    producer: Option<ProducerStamp>,
    transactional: bool,
    compression: Compression,
) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions {
        base_offset,
        leader_epoch: 3,
        producer,
        transactional,
        compression,
        ..BatchOptions::default()
    });
    for (at, (key, value)) in (NOW_MS..).zip(records) {
        let value = value.map(str::as_bytes);
        builder.append(at, Some(key.as_bytes()), value, []).unwrap();
    }
    builder.build().unwrap()
}

fn plain(base_offset: i64, records: &[KeyValue]) -> Vec<u8> {
    data(base_offset, records, None, false, Compression::None)
}

fn of_producer(base_offset: i64, id: i64, base_sequence: i32, records: &[KeyValue]) -> Vec<u8> {
    let producer = ProducerStamp {
        id,
        epoch: 0,
        base_sequence,
    };
    data(
        base_offset,
        records,
        Some(producer),
        true,
        Compression::None,
    )
}

fn marker(offset: i64, id: i64, marker: Marker) -> Vec<u8> {
    let mut bytes = build_marker(marker, id, 0, 0, NOW_MS);
    patch::set_base_offset(&mut bytes, offset);
    bytes
}

/// What is handed to the filter and kept between batches.
struct Pass {
    map: OffsetMap,
    last_batches: HashMap<i64, LastBatch>,
    aborted: Vec<AbortedEntry>,
    now_ms: i64,
}

impl Pass {
    fn of(newest: &[(&str, i64)]) -> Self {
        let mut map = OffsetMap::new(24_000, 0.9, u64::MAX);
        for (key, offset) in newest {
            let hash = map.hash(key.as_bytes());
            map.put(hash, *offset).unwrap();
        }
        Self {
            map,
            last_batches: HashMap::new(),
            aborted: Vec::new(),
            now_ms: NOW_MS,
        }
    }

    /// What is left of the batches, and what the index of aborted transactions keeps.
    fn run(&self, batches: &[&[u8]]) -> (Vec<Vec<u8>>, Vec<AbortedEntry>) {
        let mut filter = Filter {
            map: &self.map,
            transactions: Transactions::new(self.aborted.clone()),
            last_batches: &self.last_batches,
            now_ms: self.now_ms,
            delete_retention_ms: RETENTION_MS,
            scratch: Scratch::default(),
        };
        let (mut left, mut aborted) = (Vec::new(), Vec::new());
        for bytes in batches {
            let mut out = Vec::new();
            let view = BatchView::parse(bytes).unwrap();
            let filtered = filter.batch(&view, &mut out).unwrap();
            match filtered.fate {
                Fate::Kept => left.push(bytes.to_vec()),
                Fate::Written => left.push(out),
                Fate::Dropped => {}
            }
            aborted.extend(filtered.aborted);
        }
        for bytes in &left {
            BatchView::parse(bytes).unwrap().validate(1 << 20).unwrap();
        }
        (left, aborted)
    }
}

/// Offset, timestamp, key and whether there is a value, of each record.
fn records(bytes: &[u8]) -> Vec<(i64, i64, String, bool)> {
    let view = BatchView::parse(bytes).unwrap();
    let records = view.records(1 << 20).unwrap();
    records
        .iter()
        .map(|record| {
            let record = record.unwrap();
            let key = String::from_utf8(record.key.unwrap().to_vec()).unwrap();
            (record.offset, record.timestamp, key, record.value.is_some())
        })
        .collect()
}

fn header(bytes: &[u8]) -> BatchHeader {
    BatchHeader::parse(bytes).unwrap()
}

#[test]
fn only_the_newest_record_of_a_key_stays_and_its_batch_keeps_its_place() {
    for codec in Compression::ALL {
        let batch = [("a", Some("1")), ("b", Some("2")), ("c", Some("3"))];
        let bytes = data(40, &batch, None, false, codec);
        let (left, _) = Pass::of(&[("a", 50), ("b", 41), ("c", 90)]).run(&[&bytes]);
        assert_eq!(records(&left[0]), [(41, NOW_MS + 1, "b".to_owned(), true)]);
        let (before, after) = (header(&bytes), header(&left[0]));
        assert_eq!(after.base_offset, 40);
        assert_eq!(after.last_offset_delta, 2);
        assert_eq!(after.leader_epoch, 3);
        assert_eq!(after.compression(), codec);
        assert_eq!(after.max_timestamp, NOW_MS + 1);
        assert_eq!(after.base_sequence, before.base_sequence);
    }
}

#[test]
fn a_batch_that_loses_nothing_is_copied_byte_by_byte() {
    let bytes = plain(0, &[("a", Some("1")), ("b", Some(""))]);
    let (left, _) = Pass::of(&[("a", 0)]).run(&[&bytes]);
    assert_eq!(left, [bytes]);
}

#[test]
fn a_batch_that_loses_everything_goes() {
    let bytes = plain(0, &[("a", Some("1"))]);
    let (left, _) = Pass::of(&[("a", 7)]).run(&[&bytes]);
    assert!(left.is_empty());
}

#[test]
fn a_record_without_a_key_does_not_survive() {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.append(NOW_MS, None, Some(b"value"), []).unwrap();
    let (left, _) = Pass::of(&[]).run(&[&builder.build().unwrap()]);
    assert!(left.is_empty());
}

#[test]
fn a_tombstone_gets_its_horizon_first_and_goes_when_that_has_passed() {
    for codec in [Compression::None, Compression::Zstd] {
        let bytes = data(5, &[("a", Some("1")), ("b", None)], None, false, codec);
        let mut pass = Pass::of(&[("a", 5), ("b", 6)]);
        let (first, _) = pass.run(&[&bytes]);
        let horizon_ms = NOW_MS + RETENTION_MS;
        assert_eq!(header(&first[0]).delete_horizon_ms(), Some(horizon_ms));
        let both = [
            (5, NOW_MS, "a".to_owned(), true),
            (6, NOW_MS + 1, "b".to_owned(), false),
        ];
        assert_eq!(
            records(&first[0]),
            both,
            "timestamps count from the horizon now"
        );
        pass.now_ms = horizon_ms - 1;
        let (second, _) = pass.run(&[&first[0]]);
        assert_eq!(second, first, "not before");
        pass.now_ms = horizon_ms;
        let (third, _) = pass.run(&[&first[0]]);
        assert_eq!(records(&third[0]), both[..1]);
        assert_eq!(header(&third[0]).delete_horizon_ms(), Some(horizon_ms));
    }
}

#[test]
fn the_last_batch_of_a_producer_stays_without_records() {
    let bytes = of_producer(10, 7, 20, &[("a", Some("1")), ("b", Some("2"))]);
    let commit = marker(12, 7, Marker::Commit);
    let mut pass = Pass::of(&[("a", 90), ("b", 90)]);
    pass.last_batches.insert(7, LastBatch::EndsWith(11));
    let (left, _) = pass.run(&[&bytes, &commit]);
    let kept = header(&left[0]);
    assert_eq!((kept.record_count, kept.base_sequence), (0, 20));
    assert_eq!(
        (kept.base_offset, kept.last_offset(), kept.last_sequence()),
        (10, 11, 21)
    );
    assert_eq!(left[1], commit, "its transaction is not gone altogether");
    let (again, _) = pass.run(&[&left[0], &left[1]]);
    assert_eq!(again, left);
    pass.last_batches.clear();
    let (expired, _) = pass.run(&[&left[0], &left[1]]);
    assert_eq!(
        expired,
        [commit],
        "nobody remembers the producer, so its place is not needed"
    );
}

#[test]
fn a_marker_goes_in_the_pass_after_its_horizon_which_comes_after_its_data() {
    let batch = of_producer(10, 7, 0, &[("a", Some("1"))]);
    let commit = marker(11, 7, Marker::Commit);
    let mut pass = Pass::of(&[("a", 90)]);
    let (left, _) = pass.run(&[&batch, &commit]);
    assert_eq!(
        left,
        std::slice::from_ref(&commit),
        "the data was there in this pass"
    );
    let (left, _) = pass.run(&[&commit]);
    assert_eq!(
        header(&left[0]).delete_horizon_ms(),
        Some(NOW_MS + RETENTION_MS)
    );
    let view = BatchView::parse(&left[0]).unwrap();
    assert_eq!(marker_of(&view).unwrap(), Some(Marker::Commit));
    assert_eq!(header(&left[0]).max_timestamp, NOW_MS);
    pass.now_ms += RETENTION_MS - 1;
    assert_eq!(pass.run(&[&left[0]]).0, left);
    pass.now_ms += 1;
    assert!(pass.run(&[&left[0]]).0.is_empty());
    pass.last_batches
        .insert(7, LastBatch::MarkerOf { epoch: 0 });
    let (kept, _) = pass.run(&[&left[0]]);
    assert_eq!(header(&kept[0]).record_count, 0, "its epoch still fences");
    assert_eq!(pass.run(&[&kept[0]]).0, kept);
}

#[test]
fn aborted_data_goes_and_its_entry_in_the_index_outlives_it_by_one_pass() {
    let batch = of_producer(10, 7, 0, &[("a", Some("1"))]);
    let other = of_producer(11, 8, 0, &[("a", Some("2"))]);
    let abort = marker(12, 7, Marker::Abort);
    let commit = marker(13, 8, Marker::Commit);
    let mut pass = Pass::of(&[("a", 11)]);
    let entry = AbortedEntry {
        producer_id: 7,
        first_offset: 10,
        last_offset: 12,
        last_stable: 11,
    };
    pass.aborted.push(entry);
    let (left, aborted) = pass.run(&[&batch, &other, &abort, &commit]);
    assert_eq!(left, [other.clone(), abort.clone(), commit.clone()]);
    assert_eq!(aborted, [entry]);
    let (left, aborted) = pass.run(&[&other, &abort, &commit]);
    assert!(header(&left[1]).delete_horizon_ms().is_some());
    assert!(aborted.is_empty());
}

#[test]
fn a_placeholder_belongs_to_nobody_and_goes_in_the_next_pass() {
    let batch = of_producer(10, 7, 20, &[("a", Some("1")), ("b", Some("2"))]);
    let mut out = Vec::new();
    let placeholder = write_placeholder(&header(&batch), &mut out).unwrap();
    assert_eq!(
        (placeholder.base_offset, placeholder.last_offset()),
        (10, 11)
    );
    assert!(!placeholder.has_producer_id() && !placeholder.is_transactional());
    BatchView::parse(&out).unwrap().validate(0).unwrap();
    assert!(Pass::of(&[]).run(&[&out]).0.is_empty());
}

#[test]
fn log_append_time_stays_the_batchs_own() {
    let mut bytes = plain(0, &[("a", Some("1")), ("b", None)]);
    patch::set_log_append_time(&mut bytes, NOW_MS + 500);
    let (left, _) = Pass::of(&[("a", 9)]).run(&[&bytes]);
    assert_eq!(
        records(&left[0]),
        [(1, NOW_MS + 500, "b".to_owned(), false)]
    );
    assert!(header(&left[0]).delete_horizon_ms().is_some());
}

#[test]
fn damaged_records_are_an_error_and_never_a_panic() {
    let bytes = plain(0, &[("a", Some("1")), ("b", None)]);
    let pass = Pass::of(&[("a", 9)]);
    for at in millstream_records::HEADER_LEN..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            let view = BatchView::parse(&damaged).unwrap();
            let mut filter = Filter {
                map: &pass.map,
                transactions: Transactions::default(),
                last_batches: &pass.last_batches,
                now_ms: NOW_MS,
                delete_retention_ms: RETENTION_MS,
                scratch: Scratch::default(),
            };
            let _ = filter.batch(&view, &mut Vec::new());
        }
    }
}
