//! Many logs at once: what a node with thousands of partitions goes through, with a hundred.

use std::sync::Arc;
use std::time::Duration;

use super::support::*;
use crate::fs::{FileSystem as _, OpenMode};
use crate::{FlushMode, Isolation};

const LOGS: i32 = 100;

/// So many logs are loaded and redone on several threads; each has to come out as if it were alone.
#[test]
fn many_logs_are_recovered_each_with_its_own_records() {
    for mode in [FlushMode::Os, FlushMode::Journal] {
        for seed in 0..4 {
            let mut rig = Rig::new(mode);
            for round in 0..6 {
                let mut last = None;
                for partition in 0..LOGS {
                    let log = rig.log(partition);
                    let value = format!("{partition}/{round}/{}", "x".repeat(partition as usize));
                    last = Some(append(&log, &[&value, &value]));
                }
                flush(&rig.store, &last.unwrap());
                if round == 2 {
                    rig.store.checkpoint().unwrap();
                }
            }
            rig = match mode {
                FlushMode::Journal if seed % 2 == 0 => rig.cut_power_and_reopen(seed),
                _ => rig.kill_and_reopen(seed),
            };
            assert_eq!(rig.report.problems, []);
            assert_eq!(rig.report.logs, LOGS as usize);
            if mode == FlushMode::Journal {
                assert_eq!(rig.report.redone_entries, 3 * LOGS as u64);
            }
            for partition in 0..LOGS {
                let log = rig.log(partition);
                append(&log, &["after"]);
                let found = values_from(&log, 0, Isolation::LogEnd);
                assert_eq!(found.len(), 13, "{mode} {partition}");
                for (offset, value) in &found[..12] {
                    let expected = format!("{partition}/{}/", offset / 2);
                    assert!(value.starts_with(&expected), "{mode} {partition}: {value}");
                }
            }
        }
    }
}

/// A redo writes over what the file has, and what the file has beyond the journal's end must not stay behind it.
#[test]
fn a_file_ends_where_its_log_does_after_a_redo_over_it() {
    let mut rig = Rig::new(FlushMode::Journal);
    let log = rig.log(0);
    append(&log, &["covered by the checkpoint"]);
    rig.store.checkpoint().unwrap();
    let last = append(&log, &["in the journal"]);
    flush(&rig.store, &last);
    let (path, end) = (log.dir().join("00000000000000000000.log"), log.size());
    drop(log);
    rig.fs = Arc::new(rig.fs.kill(1));
    let file = rig.fs.open(&path, OpenMode::ReadWrite).unwrap();
    file.write_at(&[7; 5_000], end).unwrap();
    drop(file);
    rig = rig.reopen();
    let log = rig.log(0);
    assert_eq!(
        (log.size(), rig.fs.metadata(&path).unwrap().len),
        (end, end)
    );
    assert_eq!(values_from(&log, 0, Isolation::LogEnd).len(), 2);
}

/// A checkpoint waits for the disk; appends do not.
#[test]
fn appends_go_on_while_a_checkpoint_waits_for_the_disk() {
    // Few logs are synced file by file, many by one call.
    for logs in [1, 40] {
        let rig = Rig::new(FlushMode::Os);
        for partition in 0..logs {
            append(&rig.log(partition), &["before"]);
        }
        let held = rig.fs.hold_syncs();
        let store = Arc::clone(&rig.store);
        let checkpoint = std::thread::spawn(move || store.checkpoint());
        // Whether the checkpoint waits already or not yet: both must let the appends through.
        std::thread::sleep(Duration::from_millis(20));
        for partition in 0..logs {
            append(&rig.log(partition), &["meanwhile"]);
        }
        assert!(!checkpoint.is_finished());
        drop(held);
        checkpoint.join().unwrap().unwrap();
    }
}
