//! A disk that is full or fails: nothing acknowledged is lost, nothing half-written is seen.

use std::io;
use std::path::Path;

use super::support::*;
use crate::fs::FileSystem;
use crate::testing::FaultyCall;
use crate::{AppendError, AppendOptions, FlushMode, Health, Isolation, LogConfig};

#[test]
fn a_failed_segment_write_leaves_the_log_as_before() {
    for mode in [FlushMode::Os, FlushMode::Journal] {
        for seed in 0..10 {
            let mut rig = Rig::new(mode);
            let log = rig.log(0);
            append(&log, &["before"]);
            rig.fs
                .inject(fault(FaultyCall::Write, ".log", io::ErrorKind::Other));
            let long = "x".repeat(2000);
            let error = produce(&log, &[&long], (1, 0, 0), false).unwrap_err();
            assert!(matches!(error, AppendError::Io { .. }), "{error}");
            assert_eq!(log.offsets().log_end, 1);
            let last = produce(&log, &["after"], (1, 0, 0), false).unwrap();
            assert_eq!((last.base_offset, last.duplicate), (1, false));
            flush(&rig.store, &last);
            drop(log);
            rig = rig.kill_and_reopen(seed);
            assert_eq!(rig.report.problems, []);
            let found = values_from(&rig.log(0), 0, Isolation::Uncommitted);
            assert_eq!(found, [(0, "before".to_owned()), (1, "after".to_owned())]);
        }
    }
}

#[test]
fn a_full_disk_refuses_appends_and_heals() {
    for mode in [FlushMode::Os, FlushMode::Journal] {
        let mut rig = Rig::new(mode);
        let log = rig.log(0);
        let mut stored = Vec::new();
        let long = "x".repeat(3000);
        let last = append(&log, &[&long]);
        flush(&rig.store, &last);
        stored.push((0, long.clone()));
        rig.fs.set_capacity(Some(rig.fs.used_bytes() + 4000));
        let mut refused = 0;
        for _ in 0..5 {
            match try_append(&log, &[&long]) {
                Ok(appended) => {
                    flush(&rig.store, &appended);
                    stored.push((appended.base_offset, long.clone()));
                }
                Err(error) => {
                    assert!(matches!(error, AppendError::Full { .. }), "{error}");
                    assert!(matches!(rig.store.health(), Health::Full { .. }));
                    refused += 1;
                }
            }
        }
        assert!(refused >= 3, "{mode}: {refused} were refused");
        assert_eq!(values_from(&log, 0, Isolation::Uncommitted), stored);
        rig.fs.set_capacity(None);
        let last = append(&log, &["room again"]);
        flush(&rig.store, &last);
        assert_eq!(rig.store.health(), Health::Ok);
        stored.push((last.base_offset, "room again".to_owned()));
        drop(log);
        rig = rig.cut_power_or_kill(mode);
        assert_eq!(
            values_from(&rig.log(0), 0, Isolation::Uncommitted),
            stored,
            "{mode}"
        );
    }
}

#[test]
fn a_failed_journal_flush_acknowledges_nothing_and_stops_writes() {
    let mut rig = Rig::new(FlushMode::Journal);
    let log = rig.log(0);
    let first = append(&log, &["durable"]);
    flush(&rig.store, &first);
    rig.fail_journal_syncs();
    let second = append(&log, &["not durable"]);
    rig.store.flushed_blocking(second.lsn).unwrap_err();
    assert_eq!(
        log.offsets().high_watermark,
        1,
        "nobody sees what is not durable"
    );
    assert!(matches!(rig.store.health(), Health::Poisoned { .. }));
    assert!(matches!(
        try_append(&log, &["x"]).unwrap_err(),
        AppendError::Poisoned { .. }
    ));
    rig.store.checkpoint().unwrap_err();
    rig.store.close_blocking().unwrap_err();
    drop(log);
    rig = rig.cut_power_and_reopen(1);
    assert!(
        !rig.report.was_clean,
        "a poisoned store is never closed cleanly"
    );
    let found = values_from(&rig.log(0), 0, Isolation::Uncommitted);
    assert_eq!(found[0].1, "durable");
}

#[test]
fn a_failed_sync_of_a_checkpoint_poisons_the_store_and_cuts_nothing() {
    for mode in [FlushMode::Os, FlushMode::Journal] {
        let mut rig = Rig::new(mode);
        let log = rig.log(0);
        let first = append(&log, &["acknowledged"]);
        flush(&rig.store, &first);
        rig.fs
            .inject(fault(FaultyCall::Sync, ".log", io::ErrorKind::Other));
        rig.store.checkpoint().unwrap_err();
        assert!(matches!(rig.store.health(), Health::Poisoned { .. }));
        assert!(matches!(
            try_append(&log, &["x"]).unwrap_err(),
            AppendError::Poisoned { .. }
        ));
        rig.store.checkpoint().unwrap_err();
        drop(log);
        if mode == FlushMode::Journal {
            rig = rig.cut_power_and_reopen(4);
            let found = values_from(&rig.log(0), 0, Isolation::Uncommitted);
            assert_eq!(found, [(0, "acknowledged".to_owned())]);
        }
    }
}

#[test]
fn a_refused_append_does_not_come_back_after_a_checkpoint() {
    for seed in 0..20 {
        let rig = Rig::new(FlushMode::Os);
        let log = rig.log(0);
        rig.fs
            .inject(fault(FaultyCall::Write, ".log", io::ErrorKind::Other));
        // The first batch is written and the second is not.
        let mut batches = batch_of(&["small"], None, false);
        batches.extend(batch_of(&["large".repeat(1000).as_str()], None, false));
        log.append(&mut batches, AppendOptions::client(0))
            .unwrap_err();
        rig.store.checkpoint().unwrap();
        drop(log);
        let rig = rig.cut_power_and_reopen(seed);
        assert_eq!(rig.log(0).offsets().log_end, 0, "seed {seed}");
    }
}

#[test]
fn a_checkpoint_that_finds_no_room_is_taken_again_later() {
    let mut rig = Rig::new(FlushMode::Journal);
    let log = rig.log(0);
    let last = append(&log, &["a"]);
    flush(&rig.store, &last);
    rig.fs.inject(fault(
        FaultyCall::Write,
        "checkpoint.tmp",
        io::ErrorKind::StorageFull,
    ));
    rig.store.checkpoint().unwrap_err();
    assert_eq!(rig.store.health(), Health::Ok);
    rig.store.checkpoint().unwrap();
    drop(log);
    rig = rig.cut_power_and_reopen(2);
    assert_eq!(rig.report.redone_entries, 0, "the second one has it");
    assert_eq!(values_from(&rig.log(0), 0, Isolation::Uncommitted).len(), 1);
}

#[test]
fn what_a_failed_sync_has_lost_is_written_again_by_the_next_start() {
    for path in [".log", "partition.metadata", ".index"] {
        for seed in 0..20 {
            let rig = Rig::new(FlushMode::Os);
            let config = LogConfig {
                segment_bytes: 700,
                index_interval_bytes: 100,
                ..LogConfig::keeping_all()
            };
            let log = rig.log_with(0, config);
            for number in 0..30 {
                append(&log, &[&format!("value {number}")]);
            }
            rig.fs
                .inject(fault(FaultyCall::Sync, path, io::ErrorKind::Other));
            rig.store.checkpoint().unwrap_err();
            drop(log);
            // The bytes are still seen, and the next sync reports success.
            let rig = rig.kill_and_reopen(seed);
            rig.store.checkpoint().unwrap();
            assert!(!rig.fs.exists(Path::new("/data/failed-sync")).unwrap());
            let rig = rig.cut_power_and_reopen(seed);
            assert_eq!(rig.report.problems, [], "{path}, seed {seed}");
            let found = values_from(&rig.log(0), 0, Isolation::LogEnd);
            assert_eq!(found.len(), 30, "{path}, seed {seed}");
        }
    }
}

#[test]
fn a_full_disk_does_not_keep_readers_from_a_segment_whose_index_is_damaged() {
    let rig = Rig::new(FlushMode::Journal);
    let config = LogConfig {
        segment_bytes: 2000,
        index_interval_bytes: 100,
        ..LogConfig::keeping_all()
    };
    let log = rig.log_with(0, config);
    for number in 0..60 {
        append(&log, &[&format!("value {number}")]);
    }
    let index = log.dir().join("00000000000000000000.index");
    drop(log);
    let rig = rig.close_and_reopen();
    rig.fs.damage(&index, 0, &[0xff; 8]);
    rig.fs.set_capacity(Some(0));
    let log = rig.log(0);
    assert_eq!(values_from(&log, 0, Isolation::LogEnd).len(), 60);
    let found = log.offset_for_timestamp(NOW_MS, Isolation::LogEnd).unwrap();
    assert_eq!(found.map(|found| found.offset), Some(0));
}
