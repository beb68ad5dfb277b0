//! Segments that leave a log by age, by size, by request, and what a crash leaves of it.

use std::time::Duration;

use millstream_records::{BatchBuilder, BatchOptions, Marker};

use super::support::*;
use crate::checkpoint::{LEADER_EPOCHS, read_leader_epochs};
use crate::fs::FileSystem;
use crate::{
    AppendOptions, Appended, CleanupPolicy, DeleteRecordsError, FlushMode, Isolation, Log,
    LogConfig, ReadError,
};

pub(super) const MODES: [FlushMode; 2] = [FlushMode::Os, FlushMode::Journal];
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

pub(super) fn small() -> LogConfig {
    LogConfig {
        segment_bytes: 400,
        index_interval_bytes: 100,
        retention_ms: -1,
        segment_ms: 7 * DAY_MS,
        ..LogConfig::default()
    }
}

/// One record with this timestamp.
pub(super) fn append_at(log: &Log, timestamp: i64, value: &str) -> Appended {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder
        .append(timestamp, None, Some(value.as_bytes()), [])
        .unwrap();
    let mut batch = builder.build().unwrap();
    log.append(&mut batch, AppendOptions::client(0)).unwrap()
}

/// Thirty records, a second apart, the last one a second before now, all flushed.
pub(super) fn fill(rig: &Rig, log: &Log) {
    let mut last = None;
    for number in 0..30 {
        let at = NOW_MS - 1000 * (30 - number);
        last = Some(append_at(log, at, &format!("value {number}")));
    }
    flush(&rig.store, &last.unwrap());
}

pub(super) fn bases(log: &Log) -> Vec<i64> {
    let segments = log.segments.read();
    segments
        .iter()
        .map(|segment| segment.base_offset())
        .collect()
}

pub(super) fn names(rig: &Rig, log: &Log) -> Vec<String> {
    let entries = rig.fs.read_dir(log.dir()).unwrap();
    entries.into_iter().map(|entry| entry.name).collect()
}

pub(super) fn set(log: &Log, change: impl FnOnce(&mut LogConfig)) {
    let mut config = (*log.config()).clone();
    change(&mut config);
    log.set_config(config);
}

pub(super) fn advance(rig: &Rig, ms: i64) {
    rig.clock.advance(Duration::from_millis(ms.cast_unsigned()));
}

/// Everything from the log's start on is there, and nothing below.
pub(super) fn check_whole(log: &Log) {
    let offsets = log.offsets();
    let found = values_from(log, offsets.log_start, Isolation::LogEnd);
    let expected: Vec<_> = (offsets.log_start..offsets.log_end)
        .map(|offset| (offset, format!("value {offset}")))
        .collect();
    assert_eq!(found, expected);
    if offsets.log_start > 0 {
        let below = log.read(offsets.log_start - 1, 100, Isolation::LogEnd, true);
        assert!(matches!(below, Err(ReadError::OffsetOutOfRange { .. })));
    }
}

#[test]
fn old_segments_go_by_their_newest_record_and_stay_gone() {
    for mode in MODES {
        let mut rig = Rig::new(mode);
        let log = rig.log_with(0, small());
        fill(&rig, &log);
        let before = bases(&log);
        rig.store.apply_retention().unwrap();
        assert_eq!(bases(&log), before, "no limit is set");
        // The newest record of a segment is the one before the next segment's first.
        let third_goes_after = 1000 * (30 - (before[3] - 1));
        set(&log, |config| config.retention_ms = third_goes_after);
        rig.store.apply_retention().unwrap();
        assert_eq!(bases(&log), before[2..]);
        advance(&rig, 1);
        rig.store.apply_retention().unwrap();
        assert_eq!(bases(&log), before[3..], "it is older by a millisecond now");
        assert_eq!(log.offsets().log_start, before[3]);
        check_whole(&log);
        drop(log);
        for round in 0..4 {
            rig = match round {
                0 => rig.kill_and_reopen(1),
                1 if mode == FlushMode::Journal => rig.cut_power_and_reopen(2),
                _ => rig.close_and_reopen(),
            };
            assert_eq!(rig.report.problems, []);
            let log = rig.log_with(0, small());
            assert_eq!(log.offsets().log_start, before[3], "{mode} {round}");
            assert_eq!(bases(&log), before[3..]);
            check_whole(&log);
        }
    }
}

#[test]
fn the_oldest_segments_go_while_the_rest_has_retention_bytes() {
    for mode in MODES {
        let rig = Rig::new(mode);
        let log = rig.log_with(0, small());
        fill(&rig, &log);
        let (before, size) = (bases(&log), log.size());
        let first = log.segments.read()[0].size();
        set(&log, |config| {
            config.retention_bytes = (size - first + 1).cast_signed()
        });
        rig.store.apply_retention().unwrap();
        assert_eq!(bases(&log), before);
        set(&log, |config| {
            config.retention_bytes = (size - first).cast_signed()
        });
        rig.store.apply_retention().unwrap();
        assert_eq!(bases(&log), before[1..]);
        check_whole(&log);
    }
}

#[test]
fn a_log_that_expires_as_a_whole_is_empty_and_goes_on_at_its_end() {
    for mode in MODES {
        let mut rig = Rig::new(mode);
        let log = rig.log_with(0, small());
        fill(&rig, &log);
        set(&log, |config| config.retention_ms = 500);
        rig.store.apply_retention().unwrap();
        assert_eq!(bases(&log), [30]);
        let offsets = log.offsets();
        assert_eq!((offsets.log_start, offsets.log_end), (30, 30));
        assert_eq!(log.size(), 0);
        rig.store.apply_retention().unwrap();
        assert_eq!(bases(&log), [30], "an empty active segment stays");
        drop(log);
        rig = rig.cut_power_or_kill(mode);
        assert_eq!(rig.report.problems, []);
        let log = rig.log_with(0, small());
        let last = append_at(&log, NOW_MS, "value 30");
        assert_eq!(last.base_offset, 30);
        flush(&rig.store, &last);
        check_whole(&log);
    }
}

#[test]
fn records_without_a_timestamp_are_as_old_as_their_file() {
    let rig = Rig::new(FlushMode::Os);
    let config = LogConfig {
        retention_ms: DAY_MS,
        ..small()
    };
    let log = rig.log_with(0, config);
    for number in 0..28 {
        append_at(&log, -1, &format!("value {number}"));
    }
    let before = bases(&log);
    assert!(before.len() > 3);
    advance(&rig, DAY_MS);
    rig.store.apply_retention().unwrap();
    assert_eq!(bases(&log), before);
    append_at(&log, -1, "value 28");
    advance(&rig, 1);
    rig.store.apply_retention().unwrap();
    let active = *before.last().unwrap();
    assert_eq!(
        bases(&log)[0],
        active,
        "the active one was written to since"
    );
    check_whole(&log);
}

#[test]
fn a_compacted_log_keeps_its_old_segments_but_those_below_its_start() {
    let rig = Rig::new(FlushMode::Journal);
    let config = LogConfig {
        cleanup: CleanupPolicy {
            delete: false,
            compact: true,
        },
        retention_ms: 0,
        retention_bytes: 0,
        ..small()
    };
    let log = rig.log_with(0, config);
    fill(&rig, &log);
    let before = bases(&log);
    rig.store.apply_retention().unwrap();
    assert_eq!(bases(&log), before);
    let refused = log.delete_records(before[2]).unwrap_err();
    assert!(matches!(refused, DeleteRecordsError::Policy { .. }));
    log.advance_log_start(before[2]).unwrap();
    rig.store.apply_retention().unwrap();
    assert_eq!(bases(&log), before[2..]);
}

#[test]
fn nothing_above_the_high_watermark_goes() {
    let rig = Rig::new(FlushMode::Journal);
    let log = rig.log_with(0, small());
    fill(&rig, &log);
    let held = rig.fs.hold_syncs();
    let mut last = None;
    for number in 30..60 {
        last = Some(append_at(&log, NOW_MS, &format!("value {number}")));
    }
    assert_eq!(log.offsets().high_watermark, 30);
    let error = log.delete_records(31).unwrap_err();
    assert!(
        matches!(
            error,
            DeleteRecordsError::OffsetOutOfRange {
                offset: 31,
                high_watermark: 30
            }
        ),
        "{error}"
    );
    set(&log, |config| config.retention_bytes = 0);
    let waits = log.apply_retention().unwrap();
    assert!(waits);
    let start = log.offsets().log_start;
    assert!(start <= 30 && bases(&log).contains(&start), "{start}");
    drop(held);
    flush(&rig.store, &last.unwrap());
    rig.store.apply_retention().unwrap();
    assert_eq!(log.offsets().log_start, 60);
}

#[test]
fn retention_passes_over_an_open_transaction_and_its_abort_still_hides_the_rest() {
    for mode in MODES {
        let mut rig = Rig::new(mode);
        let log = rig.log_with(0, small());
        produce(&log, &["aborted"], (1, 0, 0), true).unwrap();
        for number in 1..20 {
            let last = produce(
                &log,
                &[&format!("plain {number}")],
                (2, 0, number - 1),
                false,
            );
            flush(&rig.store, &last.unwrap());
        }
        let last = produce(&log, &["aborted too"], (1, 0, 1), true).unwrap();
        flush(&rig.store, &last);
        let before = bases(&log);
        set(&log, |config| config.retention_bytes = 400);
        rig.store.apply_retention().unwrap();
        let start = log.offsets().log_start;
        assert!(start > before[1]);
        assert_eq!(log.offsets().last_stable, start);
        assert!(log.has_ongoing_transaction(1, 0));
        drop(log);
        rig = rig.cut_power_or_kill(mode);
        let log = rig.log_with(0, small());
        assert!(log.has_ongoing_transaction(1, 0));
        assert_eq!(log.offsets().last_stable, start);
        let last = log.append_marker(Marker::Abort, 1, 0, 0, 0).unwrap();
        flush(&rig.store, &last);
        assert_eq!(log.offsets().last_stable, last.base_offset + 1);
        let read = log.read(start, 10_000, Isolation::Committed, true).unwrap();
        assert_eq!(read.aborted.len(), 1);
        assert_eq!(read.aborted[0].producer_id, 1);
    }
}

#[test]
fn records_are_deleted_up_to_an_offset_within_a_batch() {
    for mode in MODES {
        let mut rig = Rig::new(mode);
        let log = rig.log_with(0, small());
        let last = append(&log, &["value 0", "value 1", "value 2"]);
        flush(&rig.store, &last);
        for wrong in [-2, 4, i64::MAX] {
            let error = log.delete_records(wrong).unwrap_err();
            assert!(
                matches!(error, DeleteRecordsError::OffsetOutOfRange { .. }),
                "{error}"
            );
        }
        let deleted = log.delete_records(2).unwrap();
        rig.store.flushed_blocking(deleted.lsn).unwrap();
        assert_eq!(deleted.log_start, 2);
        assert_eq!(
            log.delete_records(1).unwrap().log_start,
            2,
            "it moves forward only"
        );
        rig.store.apply_retention().unwrap();
        check_whole(&log);
        if mode == FlushMode::Os {
            rig.store.checkpoint().unwrap();
        }
        drop(log);
        rig = rig.cut_power_or_kill(mode);
        let log = rig.log_with(0, small());
        assert_eq!(log.offsets().log_start, 2);
        check_whole(&log);
        assert_eq!(
            log.delete_records(Log::HIGH_WATERMARK).unwrap().log_start,
            3
        );
        assert_eq!(log.offsets().log_end, 3);
    }
}

#[test]
fn epochs_begin_at_the_log_start() {
    let rig = Rig::new(FlushMode::Journal);
    let log = rig.log_with(0, small());
    for number in 0..30 {
        let mut batch = batch_of(&[&format!("value {number}")], None, false);
        let options = AppendOptions::client(number / 5);
        flush(&rig.store, &log.append(&mut batch, options).unwrap());
    }
    set(&log, |config| config.retention_bytes = 400);
    rig.store.apply_retention().unwrap();
    let start = log.offsets().log_start;
    let path = log.dir().join(LEADER_EPOCHS);
    let epochs = read_leader_epochs(&*rig.fs, &path).unwrap().unwrap();
    assert_eq!(epochs[0].start_offset, start);
    assert_eq!(i64::from(epochs[0].epoch), start / 5);
}

#[test]
fn the_background_looks_at_retention_in_an_interval_that_can_be_changed() {
    let rig = Rig::new(FlushMode::Journal);
    let log = rig.log_with(0, small());
    fill(&rig, &log);
    set(&log, |config| {
        config.retention_ms = 500;
        config.file_delete_delay_ms = 0;
    });
    assert_eq!(rig.store.retention_check_interval_ms(), 300_000);
    rig.store.set_retention_check_interval_ms(1);
    let is_done = || {
        let left = names(&rig, &log);
        !left.iter().any(|name| name.contains(".log"))
    };
    // The worker looks every second; the test fails only when it never does.
    for _ in 0..3000 {
        if is_done() {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(is_done());
    assert_eq!(bases(&log), [30]);
}

/// The power goes, or the process, after each single operation of a retention: what is left is the log as before or
/// as after, and the next retention completes it.
#[test]
fn a_crash_at_any_operation_leaves_the_log_before_or_after() {
    for mode in MODES {
        for cut_after in 0.. {
            let mut rig = Rig::new(mode);
            let log = rig.log_with(0, small());
            fill(&rig, &log);
            rig.store.checkpoint().unwrap();
            let before = bases(&log);
            let limit = 1000 * (30 - (before[4] - 1)) - 1;
            set(&log, |config| {
                config.retention_ms = limit;
                config.file_delete_delay_ms = 0;
            });
            rig.fs.cut_power_after(cut_after);
            let _ = rig.store.apply_retention();
            rig.store.remove_deleted_files();
            let was_cut = rig.fs.is_off();
            drop(log);
            rig = match (mode, cut_after % 2) {
                (FlushMode::Journal, 0) => rig.cut_power_and_reopen(cut_after),
                _ => rig.kill_and_reopen(cut_after),
            };
            let case = format!("{mode}, {cut_after} operations");
            assert_eq!(rig.report.problems, [], "{case}");
            let log = rig.log_with(0, small());
            let start = log.offsets().log_start;
            assert!(start == 0 || start == before[4], "{case}: {start}");
            check_whole(&log);
            set(&log, |config| config.retention_ms = limit);
            rig.store.apply_retention().unwrap();
            assert_eq!(bases(&log), before[4..], "{case}");
            check_whole(&log);
            if !was_cut {
                assert!(
                    cut_after > 20,
                    "a retention does more than {cut_after} operations"
                );
                break;
            }
        }
    }
}
