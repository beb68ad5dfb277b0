//! Which log is next, the threads, and what the metrics say.

use std::time::{Duration, Instant};

use super::{compacted, fill, settle, view};
use crate::log::test_support::{Rig, id};
use crate::{CleanerOptions, FlushMode, LogConfig};

fn percent_of(rig: &Rig, partition: i32) -> f64 {
    let metrics = rig.store.cleaner_metrics();
    let found = metrics.dirty.iter().find(|one| one.partition == partition);
    found.unwrap().percent
}

#[test]
fn the_dirtiest_log_is_next() {
    let rig = Rig::new(FlushMode::Os);
    let (first, second) = (rig.log_with(0, compacted()), rig.log_with(1, compacted()));
    for (log, count) in [(&first, 100), (&second, 100)] {
        fill(log, count, 90);
        settle(&rig, log);
    }
    while rig.store.clean_dirtiest().unwrap().is_some() {}
    fill(&first, 10, 90);
    settle(&rig, &first);
    fill(&second, 60, 90);
    settle(&rig, &second);
    assert!(percent_of(&rig, 0) > 1.0 && percent_of(&rig, 0) < percent_of(&rig, 1));
    let metrics = rig.store.cleaner_metrics();
    assert!((metrics.max_dirty_percent - percent_of(&rig, 1)).abs() < 0.01);
    assert_eq!(rig.store.clean_dirtiest().unwrap().unwrap().cleaned_to, 160);
    assert!(percent_of(&rig, 1) < 0.01);
    assert_eq!(rig.store.clean_dirtiest().unwrap().unwrap().cleaned_to, 110);
    let metrics = rig.store.cleaner_metrics();
    assert_eq!(metrics.passes, 4);
    assert!(metrics.bytes_read > metrics.bytes_written && metrics.bytes_written > 0);
    assert!(metrics.since_last_pass.is_some() && metrics.last_pass.is_some());
}

#[test]
fn a_log_that_is_only_deleted_from_is_left_alone() {
    let rig = Rig::new(FlushMode::Os);
    let log = rig.log_with(
        0,
        LogConfig {
            cleanup: LogConfig::default().cleanup,
            ..compacted()
        },
    );
    fill(&log, 50, 5);
    settle(&rig, &log);
    assert_eq!(rig.store.clean_dirtiest().unwrap(), None);
    assert!(rig.store.cleaner_metrics().dirty.is_empty());
    log.set_config(compacted());
    assert!(rig.store.clean_dirtiest().unwrap().is_some());
}

#[test]
fn younger_records_than_the_lag_wait_and_older_ones_than_the_other_lag_do_not() {
    let rig = Rig::new(FlushMode::Os);
    let lazy = LogConfig {
        min_compaction_lag_ms: 1000,
        min_cleanable_dirty_ratio: 1.0,
        max_compaction_lag_ms: 5000,
        ..compacted()
    };
    let log = rig.log_with(0, lazy);
    fill(&log, 50, 5);
    settle(&rig, &log);
    assert_eq!(rig.store.clean_dirtiest().unwrap(), None);
    rig.clock.advance(Duration::from_millis(4999));
    assert_eq!(
        rig.store.clean_dirtiest().unwrap(),
        None,
        "the ratio is never above 1"
    );
    rig.clock.advance(Duration::from_millis(2));
    assert!(rig.store.clean_dirtiest().unwrap().is_some());
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "{what} does not come"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_log_that_is_due_but_for_a_checkpoint_does_not_wait_for_the_one_in_the_background() {
    for flush in [FlushMode::Journal, FlushMode::Os] {
        let rig = Rig::new(flush);
        let log = rig.log_with(0, compacted());
        rig.store.set_cleaner_options(CleanerOptions {
            backoff_ms: 20,
            ..CleanerOptions::default()
        });
        for _ in 0..2 {
            fill(&log, 100, 5);
            log.roll_active().unwrap();
            rig.store.flushed_blocking(log.last_lsn()).unwrap();
            let end = log.offsets().log_end;
            let last: Vec<_> = (end - 5..end).collect();
            // The background takes a checkpoint once a minute.
            wait_until("the pass", || view(&log).0 == last);
        }
    }
}

#[test]
fn threads_come_and_go_at_run_time() {
    let rig = Rig::new(FlushMode::Os);
    let log = rig.log_with(0, compacted());
    fill(&log, 100, 5);
    settle(&rig, &log);
    assert_eq!(rig.store.cleaner_metrics().threads, 0);
    let mut options = CleanerOptions {
        threads: 3,
        backoff_ms: 1,
        ..CleanerOptions::default()
    };
    let passes = || rig.store.cleaner_metrics().passes;
    rig.store.set_cleaner_options(options.clone());
    wait_until("the first pass", || passes() == 1);
    assert_eq!(rig.store.cleaner_metrics().threads, 3);
    assert_eq!(view(&log).0, [95, 96, 97, 98, 99]);
    options.enabled = false;
    rig.store.set_cleaner_options(options.clone());
    assert_eq!(rig.store.cleaner_metrics().threads, 0);
    fill(&log, 100, 5);
    settle(&rig, &log);
    let dirty = percent_of(&rig, 0);
    assert!(dirty > 0.0);
    options.enabled = true;
    options.threads = 1;
    rig.store.set_cleaner_options(options);
    wait_until("the second pass", || passes() == 2);
    let ratio = rig.store.cleaner_metrics().idle_ratio;
    assert!((0.0..=1.0).contains(&ratio), "{ratio}");
    rig.store.close_blocking().unwrap();
}

#[test]
fn a_throttled_pass_ends_when_the_store_is_closed_or_the_log_deleted() {
    for closes in [true, false] {
        let rig = Rig::new(FlushMode::Os);
        let log = rig.log_with(0, compacted());
        fill(&log, 100, 5);
        settle(&rig, &log);
        rig.store.set_cleaner_options(CleanerOptions {
            // Less than a byte an hour would be enough to wait for ever; this is a day.
            io_max_bytes_per_second: 1.0,
            backoff_ms: 1,
            ..CleanerOptions::default()
        });
        wait_until("the pass", || log.is_being_cleaned());
        if closes {
            rig.store.close_blocking().unwrap();
        } else {
            let id = id(0);
            rig.store.delete_log(&id.topic_id, id.partition).unwrap();
            assert_eq!(rig.store.cleaner_metrics().dirty, []);
        }
        assert_eq!(rig.store.cleaner_metrics().passes, 0);
    }
}
