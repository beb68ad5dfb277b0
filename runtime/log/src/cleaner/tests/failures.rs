//! What a disk that fails costs: that log's pass, for a while, and nothing else.

use std::io::ErrorKind;
use std::path::PathBuf;

use super::{compacted, fill, put, settle, view, view_in_steps};
use crate::cleaner::CleanError;
use crate::fs::FileSystem;
use crate::log::test_support::Rig;
use crate::testing::{Fault, FaultyCall};
use crate::{FlushMode, Log};

fn fail(rig: &Rig, call: FaultyCall, path_contains: &str, nth: u64) {
    rig.fs.inject(Fault {
        call,
        path_contains: path_contains.to_owned(),
        nth,
        kind: ErrorKind::PermissionDenied,
    });
}

fn names(rig: &Rig, log: &Log) -> Vec<String> {
    let entries = rig.fs.read_dir(log.dir()).unwrap();
    entries.into_iter().map(|entry| entry.name).collect()
}

/// Segments that come, or that a swap has left half done.
fn strange(names: &[String]) -> Vec<&String> {
    let is_strange = |name: &&String| name.ends_with(".cleaned") || name.ends_with(".swap");
    names.iter().filter(is_strange).collect()
}

/// A log whose pass makes several segments of many, and what it holds.
fn dirty(rig: &Rig, partition: i32) -> std::sync::Arc<Log> {
    let log = rig.log_with(partition, compacted());
    fill(&log, 60, 40);
    settle(rig, &log);
    log
}

/// Lets what has failed be tried again at once, as a change of the options does.
fn retry(rig: &Rig) {
    rig.store.set_cleaner_options(rig.store.cleaner_options());
}

/// How many files a pass over such a log renames.
fn renames() -> u64 {
    (1..)
        .find(|nth| {
            let rig = Rig::new(FlushMode::Os);
            dirty(&rig, 0);
            fail(&rig, FaultyCall::Rename, "flights-0/", *nth);
            rig.store.clean_dirtiest().is_ok()
        })
        .unwrap()
        - 1
}

#[test]
fn a_file_that_cannot_be_renamed_delays_a_swap_and_nothing_else() {
    let renames = renames();
    assert!(renames > 20, "{renames}");
    for nth in 1..=renames {
        let rig = Rig::new(FlushMode::Os);
        let (log, other) = (dirty(&rig, 0), dirty(&rig, 1));
        let before = view(&log).1;
        fail(&rig, FaultyCall::Rename, "flights-0/", nth);
        // The other one may be first.
        let first = rig.store.clean_dirtiest();
        let second = rig.store.clean_dirtiest();
        assert!(first.is_ok() != second.is_ok(), "rename {nth}");
        let uncleanable = rig.store.cleaner_metrics().uncleanable;
        assert_eq!(uncleanable.len(), 1);
        assert_eq!(uncleanable[0].partition, 0);
        let reason = &uncleanable[0].reason;
        assert!(reason.contains("flights-0"), "{reason}");
        assert!(strange(&names(&rig, &other)).is_empty());
        assert!(other.size() < 4000, "the other log is compacted");

        assert_eq!(view(&log).1, before, "rename {nth}");
        rig.store.remove_deleted_files();
        assert_eq!(view(&log).1, before, "nothing that is read was removed");
        put(&log, "key-0", Some("later"));
        let mut expected = before.clone();
        expected.insert("key-0".to_owned(), "later".to_owned());

        rig.store.finish_replacing();
        rig.store.remove_deleted_files();
        let left = names(&rig, &log);
        let swaps: Vec<_> = left.iter().filter(|name| name.ends_with(".swap")).collect();
        assert!(swaps.is_empty(), "rename {nth}: {left:?}");
        assert_eq!(view(&log).1, expected, "rename {nth}");
        settle(&rig, &log);
        retry(&rig);
        rig.store.clean_dirtiest().unwrap().unwrap();
        assert_eq!(rig.store.cleaner_metrics().uncleanable, []);
        rig.store.remove_deleted_files();
        let left = names(&rig, &log);
        assert!(strange(&left).is_empty(), "rename {nth}: {left:?}");
        let logs: Vec<PathBuf> = left
            .iter()
            .filter(|name| name.ends_with(".log"))
            .map(|name| log.dir().join(name))
            .collect();
        // The active one is empty and has no file.
        assert_eq!(logs.len() + 1, log.compaction_view().segments.len());
        assert_eq!(view(&log).1, expected);
        drop((log, other));
        let rig = rig.close_and_reopen();
        assert_eq!(rig.report.problems, []);
        assert_eq!(view(&rig.log_with(0, compacted())).1, expected);
    }
}

#[test]
fn a_swap_that_is_half_done_survives_a_crash_and_a_cut() {
    let renames = renames();
    for nth in 1..=renames {
        for ending in 0..5 {
            let rig = Rig::new(FlushMode::Os);
            let log = dirty(&rig, 0);
            let mut expected = view(&log).1;
            fail(&rig, FaultyCall::Rename, "flights-0/", nth);
            rig.store.clean_dirtiest().unwrap_err();
            let is_half_done = !rig.shared().half_done.lock().is_empty();
            // Not even the second attempt is all right; a cut waits for the third.
            if is_half_done {
                fail(&rig, FaultyCall::Rename, "flights-0/", 1);
            }
            if ending < 3 {
                rig.store.finish_replacing();
            }
            let rig = match ending {
                0 => {
                    drop(log);
                    rig.kill_and_reopen(nth)
                }
                1 => {
                    drop(log);
                    rig.cut_power_and_reopen(nth)
                }
                2 => {
                    drop(log);
                    rig.close_and_reopen()
                }
                3 => {
                    put(&log, "key-1", Some("of the end"));
                    assert_eq!(log.truncate_to(60).is_err(), is_half_done);
                    log.truncate_to(60).unwrap();
                    put(&log, "key-2", Some("instead"));
                    expected.insert("key-2".to_owned(), "instead".to_owned());
                    drop(log);
                    rig.kill_and_reopen(nth)
                }
                _ => {
                    assert_eq!(log.reset_to(0).is_err(), is_half_done);
                    log.reset_to(0).unwrap();
                    put(&log, "key-3", Some("all that is left"));
                    expected.clear();
                    expected.insert("key-3".to_owned(), "all that is left".to_owned());
                    drop(log);
                    rig.close_and_reopen()
                }
            };
            assert_eq!(rig.report.problems, [], "rename {nth}, ending {ending}");
            let log = rig.log_with(0, compacted());
            assert_eq!(view(&log).1, expected, "rename {nth}, ending {ending}");
            let left = names(&rig, &log);
            assert!(strange(&left).is_empty(), "{nth}, {ending}: {left:?}");
        }
    }
}

#[test]
fn a_power_cut_at_any_moment_of_a_pass_leaves_each_segment_old_or_new() {
    let (mut operations, mut is_over) = (0, false);
    while !is_over {
        for seed in 0..5 {
            let rig = Rig::new(FlushMode::Journal);
            let log = rig.log_with(0, compacted());
            // Several small segments become one.
            for _ in 0..10 {
                fill(&log, 5, 4);
                settle(&rig, &log);
            }
            let expected = view(&log).1;
            rig.fs.cut_power_after(operations);
            is_over = rig.store.clean_dirtiest().is_ok();
            drop(log);
            let rig = rig.cut_power_and_reopen(seed);
            assert_eq!(rig.report.problems, [], "{operations}, seed {seed}");
            let log = rig.log_with(0, compacted());
            let (offsets, values) = view(&log);
            assert_eq!(values, expected, "{operations}, seed {seed}");
            // A segment that has come back beside its successor would be found by its base offset.
            assert_eq!(view_in_steps(&log, 1).0, offsets);
            let left = names(&rig, &log);
            assert!(strange(&left).is_empty(), "{operations}, seed {seed}");
        }
        operations += 1;
    }
    assert!(operations > 50, "{operations}");
}

#[test]
fn a_power_cut_in_the_next_pass_does_not_undo_a_swap_that_a_kill_has_cut_short() {
    let (mut operations, mut is_over) = (0, false);
    while !is_over {
        for more in [0, 1, 2, 3, 4, 6, 9, 13] {
            let rig = Rig::new(FlushMode::Journal);
            let log = dirty(&rig, 0);
            let expected = view(&log).1;
            rig.fs.cut_power_after(operations);
            // The process is killed when the operations are used up.
            is_over = rig.store.clean_dirtiest().is_ok();
            drop(log);
            let rig = rig.kill_and_reopen(operations);
            rig.log_with(0, compacted());
            rig.fs.cut_power_after(more);
            // It may have come to its end.
            let _ = rig.store.clean_dirtiest();
            let rig = rig.cut_power_and_reopen(operations + more);
            assert_eq!(rig.report.problems, [], "{operations}, then {more}");
            let log = rig.log_with(0, compacted());
            assert_eq!(view(&log).1, expected, "{operations}, then {more}");
        }
        operations += 1;
    }
    assert!(operations > 50, "{operations}");
}

#[test]
fn what_a_pass_could_not_remove_is_gone_before_the_next_swap() {
    let rig = Rig::new(FlushMode::Os);
    let log = dirty(&rig, 0);
    let before = view(&log).1;
    // Nothing is written anew the second time, so what was written is removed.
    rig.store.clean_dirtiest().unwrap().unwrap();
    fill(&log, 1, 1);
    settle(&rig, &log);
    fail(&rig, FaultyCall::Remove, ".cleaned", 1);
    let error = rig.store.clean_dirtiest().unwrap_err();
    assert!(matches!(error, CleanError::Io { .. }), "{error}");
    assert!(!strange(&names(&rig, &log)).is_empty());
    retry(&rig);
    fail(&rig, FaultyCall::Remove, ".cleaned", 1);
    let error = rig.store.clean_dirtiest().unwrap_err();
    assert!(error.to_string().contains("removing"), "{error}");
    retry(&rig);
    rig.store.clean_dirtiest().unwrap().unwrap();
    assert!(strange(&names(&rig, &log)).is_empty());
    assert_eq!(view(&log).1, before);
}

#[test]
fn a_checkpoint_that_could_not_be_written_is_written_later() {
    let rig = Rig::new(FlushMode::Os);
    let log = dirty(&rig, 0);
    fail(&rig, FaultyCall::Rename, "cleaner-offset-checkpoint", 1);
    rig.store.clean_dirtiest().unwrap_err();
    assert_eq!(log.cleaned_to(), Some(60));
    assert_eq!(rig.store.cleaner_metrics().uncleanable.len(), 1);
    retry(&rig);
    // Nothing is left to be done in the log itself.
    assert_eq!(rig.store.clean_dirtiest().unwrap(), None);
    assert_eq!(rig.store.cleaner_metrics().uncleanable, []);
    let path = rig.store.dir().join(crate::checkpoint::CLEANED_OFFSETS);
    let text = rig.fs.read(&path, 1000).unwrap();
    assert_eq!(text, b"0\n1\nflights 0 60\n");
}
