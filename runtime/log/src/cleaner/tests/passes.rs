//! Single passes: what fits, what is left, what an error says.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{compacted, fill, put, put_at, settle, view};
use crate::checkpoint::{CLEANED_OFFSETS, read_offsets};
use crate::cleaner::CleanError;
use crate::fs::FileSystem;
use crate::log::test_support::{NOW_MS, Rig, id};
use crate::{CleanerOptions, FlushMode, LogConfig};

fn map_of(keys: u64) -> CleanerOptions {
    CleanerOptions {
        enabled: false,
        dedupe_buffer_bytes: keys * 24,
        io_buffer_load_factor: 1.0,
        ..CleanerOptions::default()
    }
}

#[test]
fn a_pass_leaves_the_last_record_of_each_key_where_it_was() {
    for mode in [FlushMode::Os, FlushMode::Journal] {
        let mut rig = Rig::new(mode);
        let log = rig.log_with(0, compacted());
        fill(&log, 100, 7);
        put(&log, "active", Some("x"));
        let before = view(&log);
        settle(&rig, &log);
        let size = log.size();
        let report = rig.store.clean_dirtiest().unwrap().unwrap();
        assert_eq!((report.cleaned_to, report.keys), (101, 8));
        assert!(report.bytes_after < report.bytes_before / 5, "{report:?}");
        assert!(log.size() < size / 5);
        let after = view(&log);
        assert_eq!(after.1, before.1);
        let last: Vec<i64> = (93..101).collect();
        assert_eq!(after.0, last);
        assert_eq!(
            rig.store.clean_dirtiest().unwrap(),
            None,
            "nothing is dirty any more"
        );
        drop(log);
        for _ in 0..2 {
            rig = rig.close_and_reopen();
            let log = rig.log_with(0, compacted());
            assert_eq!(view(&log), after);
            assert_eq!(
                rig.store.clean_dirtiest().unwrap(),
                None,
                "the next run knows too"
            );
        }
    }
}

#[test]
fn when_not_even_one_segment_fits_the_error_says_what_would() {
    let rig = Rig::new(FlushMode::Os);
    let log = rig.log_with(0, compacted());
    fill(&log, 60, 60);
    settle(&rig, &log);
    rig.store.set_cleaner_options(map_of(3));
    let before = view(&log);
    let error = rig.store.clean_dirtiest().unwrap_err();
    let CleanError::MapTooSmall {
        partition,
        segment_base,
        needed_bytes,
        budget_bytes,
        keys_max,
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!((partition.as_str(), *segment_base), ("flights-0", 0));
    assert_eq!((*budget_bytes, *keys_max), (72, 3));
    assert!(
        (72..2400).contains(needed_bytes) && needed_bytes % 24 == 0,
        "{needed_bytes}"
    );
    let text = error.to_string();
    for part in [
        "flights-0",
        "72 bytes",
        "log.cleaner.dedupe.buffer.size",
        "log.cleaner.threads",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let uncleanable = rig.store.cleaner_metrics().uncleanable;
    assert_eq!(uncleanable.len(), 1);
    assert_eq!(uncleanable[0].reason, text);
    assert_eq!(
        rig.store.clean_dirtiest().unwrap(),
        None,
        "it is tried again later"
    );
    assert_eq!(view(&log), before);
    // What is named is enough, and a change of the options is worth a try.
    rig.store.set_cleaner_options(map_of(needed_bytes / 24));
    assert!(rig.store.clean_dirtiest().unwrap().is_some());
    assert!(rig.store.cleaner_metrics().uncleanable.is_empty());
}

#[test]
fn when_only_some_segments_fit_the_oldest_go_first_and_the_rest_stays_dirty() {
    let rig = Rig::new(FlushMode::Os);
    let log = rig.log_with(0, compacted());
    fill(&log, 90, 90);
    fill(&log, 90, 90);
    settle(&rig, &log);
    let before = view(&log);
    rig.store.set_cleaner_options(map_of(40));
    let mut cleaned_to = Vec::new();
    while let Some(report) = rig.store.clean_dirtiest().unwrap() {
        assert!(report.keys <= 40);
        cleaned_to.push(report.cleaned_to);
        assert_eq!(view(&log).1, before.1);
    }
    assert!(
        cleaned_to.len() >= 4 && cleaned_to.is_sorted(),
        "{cleaned_to:?}"
    );
    assert!(cleaned_to[0] <= 40, "{cleaned_to:?}");
    assert_eq!(cleaned_to.last(), Some(&180));
    let left: BTreeSet<i64> = view(&log).0.into_iter().collect();
    assert_eq!(left, (90..180).collect());
}

#[test]
fn the_checkpoint_of_compacted_offsets_is_kafkas() {
    let rig = Rig::new(FlushMode::Os);
    let (first, second) = (rig.log_with(0, compacted()), rig.log_with(1, compacted()));
    fill(&first, 50, 5);
    fill(&second, 70, 5);
    settle(&rig, &first);
    settle(&rig, &second);
    while rig.store.clean_dirtiest().unwrap().is_some() {}
    let path = rig.store.dir().join(CLEANED_OFFSETS);
    let text = rig.fs.read(&path, 1000).unwrap();
    assert_eq!(text, b"0\n2\nflights 0 50\nflights 1 70\n");
    let deleted = id(0);
    rig.store
        .delete_log(&deleted.topic_id, deleted.partition)
        .unwrap();
    let left = read_offsets(&*rig.fs, &path).unwrap().unwrap();
    assert_eq!(
        left.into_iter().collect::<Vec<_>>(),
        [(("flights".to_owned(), 1), 70)]
    );
}

#[test]
fn a_log_that_was_cut_is_dirty_from_there_on() {
    let rig = Rig::new(FlushMode::Os);
    let log = rig.log_with(0, compacted());
    fill(&log, 50, 5);
    settle(&rig, &log);
    rig.store.clean_dirtiest().unwrap().unwrap();
    log.truncate_to(48).unwrap();
    fill(&log, 50, 3);
    let before = view(&log);
    settle(&rig, &log);
    let report = rig.store.clean_dirtiest().unwrap().unwrap();
    assert_eq!(report.cleaned_to, 98);
    assert_eq!(view(&log).1, before.1);
    log.reset_to(500).unwrap();
    fill(&log, 10, 1);
    settle(&rig, &log);
    assert_eq!(rig.store.clean_dirtiest().unwrap().unwrap().cleaned_to, 510);
    assert_eq!(view(&log).0, [509]);
}

#[test]
fn what_is_not_synced_is_not_touched() {
    let rig = Rig::new(FlushMode::Journal);
    let log = rig.log_with(0, compacted());
    fill(&log, 100, 5);
    rig.store.flushed_blocking(log.last_lsn()).unwrap();
    let durable = rig.store.clean_dirtiest().unwrap();
    assert_eq!(durable, None, "durable, but not in its own files");
    rig.store.checkpoint().unwrap();
    let report = rig.store.clean_dirtiest().unwrap().unwrap();
    let active = report.cleaned_to < 100;
    assert!(active, "the active segment stays: {report:?}");
}

#[test]
fn a_batch_that_is_damaged_ends_the_pass_and_names_its_place() {
    let rig = Rig::new(FlushMode::Os);
    let log = rig.log_with(0, compacted());
    fill(&log, 50, 5);
    settle(&rig, &log);
    let path = log.dir().join("00000000000000000000.log");
    rig.fs.damage(&path, 200, &[0x55; 4]);
    match rig.store.clean_dirtiest().unwrap_err() {
        CleanError::Damaged {
            path: found,
            position,
            ..
        } => {
            assert_eq!(found, path);
            assert!((100..=200).contains(&position), "{position}");
        }
        other => panic!("{other}"),
    }
    let names = rig.fs.read_dir(log.dir()).unwrap();
    assert!(
        names.iter().all(|entry| !entry.name.ends_with(".cleaned")),
        "{names:?}"
    );
}

fn compacted_and_deleted() -> LogConfig {
    LogConfig {
        cleanup: crate::CleanupPolicy {
            delete: true,
            compact: true,
        },
        retention_ms: 1000,
        ..compacted()
    }
}

#[test]
fn compact_and_delete_together_lose_old_segments_too() {
    let rig = Rig::new(FlushMode::Os);
    let log = rig.log_with(0, compacted_and_deleted());
    fill(&log, 50, 50);
    settle(&rig, &log);
    rig.store.clean_dirtiest().unwrap().unwrap();
    assert_eq!(view(&log).0.len(), 50);
    rig.clock.advance(std::time::Duration::from_secs(10));
    rig.store.apply_retention().unwrap();
    assert_eq!(view(&log).0.len(), 0);
    assert_eq!(log.offsets().log_start, 50);
    fill(&log, 20, 2);
    settle(&rig, &log);
    assert_eq!(rig.store.clean_dirtiest().unwrap().unwrap().cleaned_to, 70);
    assert_eq!(view(&log).0, [68, 69]);
}

/// Both policies, and a batch of one record in a segment of its own, written at `NOW_MS`.
fn compact_and_delete(rig: &Rig, timestamp: i64) -> std::sync::Arc<crate::Log> {
    let log = rig.log_with(0, compacted_and_deleted());
    for value in ["first", "second"] {
        put_at(&log, timestamp, "key", Some(value));
    }
    settle(rig, &log);
    log
}

#[test]
fn a_compacted_segment_lives_no_longer_than_its_records_would_have() {
    // Without timestamps it is the file's date that counts, and it stays what it was.
    for timestamp in [-1, NOW_MS] {
        let rig = Rig::new(FlushMode::Os);
        let log = compact_and_delete(&rig, timestamp);
        rig.clock.advance(Duration::from_millis(900));
        rig.store.clean_dirtiest().unwrap().unwrap();
        assert_eq!(view(&log).0, [1]);
        rig.clock.advance(Duration::from_millis(100));
        rig.store.apply_retention().unwrap();
        assert_eq!(view(&log).0, [1], "{timestamp}: a millisecond too early");
        rig.clock.advance(Duration::from_millis(1));
        rig.store.apply_retention().unwrap();
        assert_eq!(view(&log).0, [0; 0], "{timestamp}");
    }
}

#[test]
fn a_compacted_segment_dies_no_sooner_than_its_newest_record() {
    for timestamp in [-1, NOW_MS] {
        let rig = Rig::new(FlushMode::Os);
        let log = compact_and_delete(&rig, timestamp);
        rig.clock.advance(Duration::from_millis(800));
        // One segment comes of both; the younger one's date is its.
        let younger = if timestamp < 0 { -1 } else { NOW_MS + 800 };
        put_at(&log, younger, "other", Some("third"));
        settle(&rig, &log);
        rig.clock.advance(Duration::from_millis(100));
        rig.store.clean_dirtiest().unwrap().unwrap();
        assert_eq!(log.compaction_view().segments.len(), 2);
        rig.clock.advance(Duration::from_millis(900));
        rig.store.apply_retention().unwrap();
        assert_eq!(view(&log).0, [1, 2], "{timestamp}: a millisecond too early");
        rig.clock.advance(Duration::from_millis(1));
        rig.store.apply_retention().unwrap();
        assert_eq!(view(&log).0, [0; 0], "{timestamp}");
    }
}

#[test]
fn a_full_disk_fails_the_pass_and_nothing_else() {
    let rig = Rig::new(FlushMode::Os);
    let log = rig.log_with(0, compacted());
    fill(&log, 100, 90);
    settle(&rig, &log);
    let before = view(&log);
    rig.fs.set_capacity(Some(rig.fs.used_bytes() + 100));
    let error = rig.store.clean_dirtiest().unwrap_err();
    assert!(matches!(error, CleanError::Io { .. }), "{error}");
    assert_eq!(view(&log), before);
    rig.fs.set_capacity(None);
    let options = rig.store.cleaner_options();
    rig.store.set_cleaner_options(options);
    rig.store.clean_dirtiest().unwrap().unwrap();
    assert_eq!(view(&log).1, before.1);
}
