//! When a segment is rolled, and what its indexes find.

use std::path::Path;
use std::sync::Arc;

use millstream_records::{BatchBuilder, BatchHeader, BatchOptions};

use super::*;
use crate::testing::SimFs;

const LIMITS: IndexLimits = IndexLimits {
    interval_bytes: 200,
    index_bytes: 1 << 20,
};

fn batch(base_offset: i64, count: usize, timestamp: i64) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions {
        base_offset,
        ..BatchOptions::default()
    });
    for _ in 0..count {
        builder
            .append(timestamp, None, Some(b"some value"), [])
            .unwrap();
    }
    builder.build().unwrap()
}

fn store(segment: &Segment, bytes: &[u8], limits: IndexLimits) {
    let header = BatchHeader::parse(bytes).unwrap();
    segment.write(bytes).unwrap();
    let batch = IndexedBatch::new(segment.size(), &header);
    segment.publish(&[batch], limits);
}

fn segment() -> (Arc<OpenFiles>, Segment) {
    let files = OpenFiles::new(Arc::new(SimFs::new(1)), 10);
    files.fs().create_dir_all(Path::new("/log")).unwrap();
    let segment = Segment::open(&files, Path::new("/log"), 100, SegmentSizes::default());
    (files, segment)
}

fn incoming() -> Incoming {
    Incoming {
        bytes: 100,
        last_offset: 150,
        max_timestamp: 1000,
        segment_bytes: 1 << 20,
        roll_after_ms: 500,
        now_ms: 0,
    }
}

#[test]
fn a_segment_rolls_by_bytes_age_and_offset_span() {
    let (_files, segment) = segment();
    let huge = Incoming {
        bytes: 1 << 30,
        ..incoming()
    };
    assert!(
        !segment.should_roll(&huge, LIMITS).unwrap(),
        "an empty one never does"
    );
    let first = batch(100, 1, 600);
    store(&segment, &first, LIMITS);
    let size = first.len() as u64;
    for (case, incoming, expected) in [
        ("nothing is reached", incoming(), false),
        (
            "just fits",
            Incoming {
                bytes: (1 << 20) - size,
                ..incoming()
            },
            false,
        ),
        (
            "one byte too many",
            Incoming {
                bytes: (1 << 20) - size + 1,
                ..incoming()
            },
            true,
        ),
        (
            "old enough",
            Incoming {
                max_timestamp: 1100,
                ..incoming()
            },
            false,
        ),
        (
            "too old",
            Incoming {
                max_timestamp: 1101,
                ..incoming()
            },
            true,
        ),
        (
            "largest span",
            Incoming {
                last_offset: 100 + i64::from(i32::MAX),
                ..incoming()
            },
            false,
        ),
        (
            "beyond an i32",
            Incoming {
                last_offset: 101 + i64::from(i32::MAX),
                ..incoming()
            },
            true,
        ),
    ] {
        assert_eq!(
            segment.should_roll(&incoming, LIMITS).unwrap(),
            expected,
            "{case}"
        );
    }
}

#[test]
fn a_full_index_rolls_the_segment() {
    let limits = IndexLimits {
        interval_bytes: 1,
        index_bytes: 36,
    };
    let (_files, segment) = segment();
    let mut appended = 0;
    while !segment.should_roll(&incoming(), limits).unwrap() {
        // The same time for all, so that only the offset index grows.
        store(&segment, &batch(100 + appended, 1, 600), limits);
        appended += 1;
        assert!(appended < 10);
    }
    assert_eq!(appended, 5, "four entries fit, the first batch has none");
}

#[test]
fn the_index_leads_to_a_batch_not_behind_the_asked_one_and_close_to_it() {
    let (files, segment) = segment();
    let mut positions = Vec::new();
    for number in 0..100_i64 {
        positions.push((100 + number * 3, segment.size()));
        store(&segment, &batch(100 + number * 3, 3, number), LIMITS);
    }
    segment.seal(&**files.fs(), Some(400)).unwrap();
    let sizes = |kind| {
        files
            .fs()
            .metadata(&path_of(Path::new("/log"), 100, kind))
            .unwrap()
            .len
    };
    let reopened = Segment::open(
        &files,
        Path::new("/log"),
        100,
        SegmentSizes {
            log: sizes(SegmentFile::Log),
            offset_index: sizes(SegmentFile::OffsetIndex),
            time_index: sizes(SegmentFile::TimeIndex),
            aborted_index: 0,
            has_sidecar: false,
        },
    );
    for segment in [&segment, &reopened] {
        for &(base_offset, position) in &positions {
            for offset in base_offset..base_offset + 3 {
                let found = position_before(segment, offset);
                assert!(found <= position, "offset {offset}");
                assert!(
                    position - found < 200 + 2 * 110,
                    "offset {offset} is {} bytes away",
                    position - found
                );
            }
        }
        let largest = segment.largest_timestamp().unwrap().unwrap();
        assert_eq!((largest.timestamp, largest.last_offset), (99, 100 + 299));
        for timestamp in 0..100 {
            let from = segment.offset_before_timestamp(timestamp).unwrap();
            assert!(from <= 100 + timestamp * 3 + 2, "timestamp {timestamp}");
        }
    }
}

#[test]
fn a_cut_takes_the_indexes_with_it() {
    let (_files, segment) = segment();
    let mut middle = (0, 0);
    for number in 0..40_i64 {
        if number == 20 {
            middle = (segment.size(), 120);
        }
        store(&segment, &batch(100 + number, 1, 1000 + number), LIMITS);
    }
    segment.truncate(middle.0, middle.1).unwrap();
    assert_eq!(segment.size(), middle.0);
    assert!(position_before(&segment, 1000) < middle.0);
    assert_eq!(
        segment.largest_timestamp().unwrap().unwrap().timestamp,
        1019
    );
    store(&segment, &batch(120, 1, 5), LIMITS);
    assert_eq!(
        segment.largest_timestamp().unwrap().unwrap().timestamp,
        1019
    );
}

#[test]
fn a_scan_names_the_position_of_the_first_bad_batch() {
    let (_files, segment) = segment();
    for number in 0..10 {
        store(&segment, &batch(100 + number, 1, 1), LIMITS);
    }
    let size = segment.size() / 10;
    let file = segment.log.get().unwrap();
    file.write_at(b"X", 5 * size + 70).unwrap();
    let around = Surroundings {
        lower: 100,
        upper: 110,
        epochs: &[],
    };
    let mut walk = Walk::new(file, 0, segment.size(), around, &[]);
    let mut found = Vec::new();
    while let Some(piece) = walk.next().unwrap() {
        match piece {
            Piece::Batch(batch) => found.push(batch.header.base_offset),
            Piece::Damage(region) => {
                assert_eq!(
                    (
                        region.position,
                        region.end,
                        region.first_offset,
                        region.next_offset
                    ),
                    (5 * size, 6 * size, 105, 106)
                );
            }
        }
    }
    assert_eq!(found, [100, 101, 102, 103, 104, 106, 107, 108, 109]);
    let mut headers = BatchScan::headers(&segment, 0);
    let mut count = 0;
    while headers.next().unwrap().is_some() {
        count += 1;
    }
    assert_eq!(count, 10, "headers alone are sound");
}

/// Where a scan that looks for `offset` begins.
fn position_before(segment: &Segment, offset: i64) -> u64 {
    let anchor = segment.anchor_before(offset).unwrap();
    anchor.map_or(0, |anchor| anchor.position)
}
