//! When a segment ends, and what room a new one is given.

use std::sync::Arc;

use super::retention::{MODES, advance, append_at, bases, check_whole, fill, names, set, small};
use super::support::*;
use crate::fs::FileSystem;
use crate::testing::FaultyCall;
use crate::{AppendOptions, FlushMode, Isolation, Log, LogConfig};

#[test]
fn an_idle_log_is_rolled_when_it_is_old_and_jitter_brings_that_forward() {
    let rig = Rig::new(FlushMode::Os);
    let logs: Vec<_> = (0..20)
        .map(|partition| rig.log_with(partition, small()))
        .collect();
    for log in &logs {
        append_at(log, NOW_MS, "value 0");
        set(log, |config| {
            config.segment_ms = 10_000;
            config.segment_jitter_ms = 5000;
        });
    }
    let mut rolled = Vec::new();
    for _ in 0..11 {
        rig.store.apply_retention().unwrap();
        rolled.push(logs.iter().filter(|log| bases(log).len() == 2).count());
        advance(&rig, 1000);
    }
    assert_eq!(rolled[..5], [0; 5], "no jitter is more than 5 s");
    let different = rolled.iter().collect::<std::collections::BTreeSet<_>>();
    assert!(different.len() >= 4, "{rolled:?}");
    rig.store.apply_retention().unwrap();
    assert!(logs.iter().all(|log| bases(log) == [0, 1]));
    rig.store.apply_retention().unwrap();
    assert!(
        logs.iter().all(|log| bases(log) == [0, 1]),
        "an empty segment is not rolled"
    );
}

#[test]
fn a_log_that_is_written_to_is_rolled_by_the_time_of_its_records() {
    let rig = Rig::new(FlushMode::Os);
    let config = LogConfig {
        segment_ms: 10_000,
        ..small()
    };
    let log = rig.log_with(0, config.clone());
    for at in [5000, 14_999, 15_000, 15_001] {
        append_at(&log, at, "x");
    }
    assert_eq!(bases(&log), [0, 3]);
    // Old records that come now are no reason for the background to end the segment.
    advance(&rig, 9000);
    append_at(&log, 15_002, "x");
    advance(&rig, 9000);
    rig.store.apply_retention().unwrap();
    assert_eq!(bases(&log), [0, 3]);
    let without_time = rig.log_with(1, config);
    append_at(&without_time, -1, "x");
    advance(&rig, 10_000);
    append_at(&without_time, -1, "x");
    assert_eq!(bases(&without_time), [0]);
    advance(&rig, 1);
    append_at(&without_time, -1, "x");
    assert_eq!(bases(&without_time), [0, 2]);
}

#[test]
fn a_preallocated_segment_is_as_large_as_it_may_be_until_it_ends() {
    for mode in MODES {
        let mut rig = Rig::new(mode);
        let config = LogConfig {
            preallocate: true,
            ..small()
        };
        let log = rig.log_with(0, config.clone());
        let len = |rig: &Rig, log: &Log, base: i64| {
            let path = log.dir().join(format!("{base:020}.log"));
            rig.fs.metadata(&path).unwrap().len
        };
        assert!(!names(&rig, &log).iter().any(|name| name.ends_with(".log")));
        rig.store.checkpoint().unwrap();
        fill(&rig, &log);
        let last = append_at(&log, NOW_MS, "value 30");
        flush(&rig.store, &last);
        let bases = bases(&log);
        assert_eq!(len(&rig, &log, bases[0]), log.segments.read()[0].size());
        assert_eq!(len(&rig, &log, bases[bases.len() - 1]), 400);
        assert!(log.segments.read()[bases.len() - 1].size() < 400);
        drop(log);
        for round in 0..3 {
            rig = match round {
                0 => rig.kill_and_reopen(3),
                1 => rig.cut_power_or_kill(mode),
                _ => rig.close_and_reopen(),
            };
            assert_eq!(rig.report.problems, [], "{mode} {round}");
            let log = rig.log_with(0, config.clone());
            check_whole(&log);
            assert_eq!(log.offsets().log_end, 31 + round);
            let last = append_at(&log, NOW_MS, &format!("value {}", 31 + round));
            flush(&rig.store, &last);
        }
        rig.store.close_blocking().unwrap();
        let log = rig.store.get(&id(0).topic_id, 0).unwrap();
        let last = Arc::clone(log.segments.read().last().unwrap());
        assert_eq!(len(&rig, &log, last.base_offset()), last.size());
    }
}

#[test]
fn no_room_to_preallocate_refuses_the_append_and_heals() {
    let rig = Rig::new(FlushMode::Os);
    let config = LogConfig {
        preallocate: true,
        ..small()
    };
    let log = rig.log_with(0, config);
    rig.fs.set_capacity(Some(rig.fs.used_bytes() + 300));
    let full = try_append(&log, &["value 0"]).unwrap_err();
    assert!(matches!(full, crate::AppendError::Full { .. }), "{full}");
    rig.fs.set_capacity(None);
    append(&log, &["value 0"]);
    check_whole(&log);
}

#[test]
fn checksums_of_a_segment_whose_end_was_lost_are_not_held_against_what_follows() {
    let mut lost = 0;
    for seed in 0..40 {
        let rig = Rig::new(FlushMode::Journal);
        let log = rig.log(0);
        let first = append(&log, &["first"]);
        flush(&rig.store, &first);
        rig.store.checkpoint().unwrap();
        let rig = rig.cut_power_while(log, seed, |log| {
            append(log, &["gone!"]);
        });
        let log = rig.log(0);
        if log.offsets().log_end > 1 {
            continue;
        }
        lost += 1;
        let full = std::io::ErrorKind::StorageFull;
        rig.fs.inject(fault(FaultyCall::Write, "index", full));
        // As long as what was lost, and of another epoch.
        let mut batch = batch_of(&["other"], None, false);
        log.append(&mut batch, AppendOptions::client(7)).unwrap();
        log.roll_active().unwrap();
        let found = values_from(&log, 0, Isolation::LogEnd);
        let expected = [(0, "first".to_owned()), (1, "other".to_owned())];
        assert_eq!(found, expected, "seed {seed}");
    }
    assert!(lost > 5, "{lost}");
}
