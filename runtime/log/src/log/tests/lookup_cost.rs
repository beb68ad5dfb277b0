//! What a lookup reads: the index and the bytes around its answer, never a segment or the log from the start.

use std::sync::Arc;

use millstream_records::{BatchBuilder, BatchOptions};

use super::support::*;
use crate::{AppendOptions, FlushMode, Isolation, Log, LogConfig};

/// Records, each in a batch of its own; the time of each is its offset.
const RECORDS: i64 = 60_000;
/// What may be read for one answer, wherever it lies: blocks of indexes, and the window of a scan.
const BYTES_MAX: u64 = 96 << 10;

fn config(segment_bytes: u32) -> LogConfig {
    LogConfig {
        segment_bytes,
        ..LogConfig::keeping_all()
    }
}

fn fill(log: &Log) {
    for first in (0..RECORDS).step_by(100) {
        let mut bytes = Vec::new();
        for time in first..first + 100 {
            let mut builder = BatchBuilder::new(BatchOptions::default());
            builder.append(time, None, Some(&[7; 30]), []).unwrap();
            bytes.extend(builder.build().unwrap());
        }
        log.append(&mut bytes, AppendOptions::client(0)).unwrap();
    }
}

/// Looks for offsets and times all over the log, and returns the most bytes that one lookup has read.
fn dearest_lookup(rig: &Rig, log: &Arc<Log>) -> u64 {
    let mut most = 0;
    for percent in [99, 50, 2, 75, 100, 25] {
        let offset = (RECORDS - 1) * percent / 100;
        rig.fs.take_reads();
        let read = log.read(offset, 1, Isolation::LogEnd, true).unwrap();
        most = most.max(rig.fs.take_reads().bytes);
        let found = millstream_records::BatchHeader::parse(&read.bytes).unwrap();
        assert_eq!(found.base_offset, offset);
        let found = log.offset_for_timestamp(offset, Isolation::LogEnd).unwrap();
        most = most.max(rig.fs.take_reads().bytes);
        assert_eq!(found.map(|found| found.offset), Some(offset));
        assert_eq!(
            log.offset_for_timestamp(RECORDS, Isolation::LogEnd)
                .unwrap(),
            None
        );
        most = most.max(rig.fs.take_reads().bytes);
    }
    most
}

/// The dearest lookup while the log is written, and those after a restart: the very first one, and one that follows.
fn costs(segment_bytes: u32) -> (u64, [u64; 3], usize) {
    let mut rig = Rig::new(FlushMode::Os);
    let log = rig.log_with(0, config(segment_bytes));
    fill(&log);
    let written = dearest_lookup(&rig, &log);
    let (size, segments) = (log.size(), log.segments.read().len());
    drop(log);
    rig = rig.close_and_reopen();
    let log = rig.log_with(0, config(segment_bytes));
    let first = dearest_lookup(&rig, &log);
    let later = dearest_lookup(&rig, &log);
    (size, [written, first, later], segments)
}

#[test]
fn a_lookup_in_a_large_segment_reads_little_of_it() {
    let (size, [written, first, later], segments) = costs(1 << 30);
    assert_eq!(segments, 1);
    assert!(size > 50 * BYTES_MAX, "{size}");
    assert!(written <= BYTES_MAX, "{written} bytes of {size}");
    assert!(later <= BYTES_MAX, "{later} bytes of {size}");
    // The first use of indexes after a start compares them with their checksums.
    assert!(first <= BYTES_MAX + size / 100, "{first} bytes of {size}");
}

#[test]
fn a_lookup_over_many_segments_reads_little_of_them() {
    let (size, [written, first, later], segments) = costs(64 << 10);
    assert!(segments > 80, "{segments}");
    assert!(written <= BYTES_MAX, "{written} bytes of {size}");
    assert!(later <= BYTES_MAX, "{later} bytes of {size}");
    assert!(first <= BYTES_MAX + size / 100, "{first} bytes of {size}");
}
