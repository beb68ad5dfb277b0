//! Cuts below what a checkpoint has, and crashes before the next one.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use millstream_records::Marker;

use super::support::*;
use crate::fs::FileSystem;
use crate::testing::FaultyCall;
use crate::{AppendError, FlushMode, Health, Isolation, Log, LogConfig, LogStore, inspect};

const TRUNCATIONS: &str = "truncation-checkpoint";
/// What each mode promises to survive, and whether it is a power cut.
const CRASHES: [(FlushMode, bool); 3] = [
    (FlushMode::Journal, true),
    (FlushMode::Journal, false),
    (FlushMode::Os, false),
];

fn small() -> LogConfig {
    LogConfig {
        segment_bytes: 700,
        index_interval_bytes: 100,
        ..LogConfig::keeping_all()
    }
}

/// Appends one record a batch, `name 0`, `name 1` and so on, and waits until they are durable.
fn fill(rig: &Rig, log: &Log, name: &str, count: usize) {
    for number in 0..count {
        let appended = append(log, &[&format!("{name} {number}")]);
        if number + 1 == count {
            flush(&rig.store, &appended);
        }
    }
}

fn values(log: &Log) -> Vec<String> {
    let from = log.offsets().log_start;
    let found = values_from(log, from, Isolation::LogEnd);
    assert!(
        found
            .iter()
            .map(|one| one.0)
            .eq(from..log.offsets().log_end)
    );
    found.into_iter().map(|one| one.1).collect()
}

/// `parts` are names and how many records of each are left.
fn expected(parts: &[(&str, usize)]) -> Vec<String> {
    let numbers = |(name, count): &(&str, usize)| {
        let name = (*name).to_owned();
        (0..*count).map(move |number| format!("{name} {number}"))
    };
    parts.iter().flat_map(numbers).collect()
}

/// A log of 40 records that a checkpoint has.
fn checkpointed(flush: FlushMode) -> (Rig, Arc<Log>) {
    let rig = Rig::new(flush);
    let log = rig.log_with(0, small());
    fill(&rig, &log, "old", 40);
    rig.store.checkpoint().unwrap();
    (rig, log)
}

fn crash(rig: Rig, cuts_power: bool, seed: u64) -> (Rig, Arc<Log>) {
    let rig = match cuts_power {
        true => rig.cut_power_and_reopen(seed),
        false => rig.kill_and_reopen(seed),
    };
    assert_eq!(rig.report.problems, [], "seed {seed}");
    let log = rig.log_with(0, small());
    (rig, log)
}

#[test]
fn what_follows_a_cut_is_redone_over_what_the_checkpoint_had() {
    for seed in 0..40 {
        for (flush, cuts_power) in CRASHES {
            let (rig, log) = checkpointed(flush);
            fill(&rig, &log, "lost", 3);
            // Each cut is deeper than what was appended since the one before.
            log.truncate_to(25).unwrap();
            fill(&rig, &log, "longer than what was there", 9);
            log.truncate_to(12).unwrap();
            fill(&rig, &log, "b", 20);
            log.truncate_to(30).unwrap();
            fill(&rig, &log, "c", 4);
            drop(log);
            let (rig, log) = crash(rig, cuts_power, seed);
            let left = expected(&[("old", 12), ("b", 18), ("c", 4)]);
            assert_eq!(values(&log), left, "seed {seed}, {flush:?}");
            // And once more, now from what the first recovery has left.
            fill(&rig, &log, "d", 2);
            drop(log);
            let (rig, log) = crash(rig, cuts_power, seed);
            let left = expected(&[("old", 12), ("b", 18), ("c", 4), ("d", 2)]);
            assert_eq!(values(&log), left, "seed {seed}, {flush:?}");
            rig.store.checkpoint().unwrap();
            let note = log.dir().join(TRUNCATIONS);
            assert!(
                !rig.shared().fs.exists(&note).unwrap(),
                "seed {seed}, {flush:?}"
            );
        }
    }
}

#[test]
fn a_power_cut_at_any_moment_of_a_cut_leaves_the_log_before_or_after_it() {
    let (mut before, mut after) = (0, 0);
    for operations in 0.. {
        let (rig, log) = checkpointed(FlushMode::Journal);
        fill(&rig, &log, "lost", 3);
        rig.fs.cut_power_after(operations);
        let cut = log.truncate_to(12);
        let is_done = cut.is_ok();
        let mut followers = 0;
        while is_done && followers < 30 && try_append(&log, &[&format!("new {followers}")]).is_ok()
        {
            followers += 1;
        }
        let is_over = !rig.fs.is_off();
        drop(log);
        let (_rig, log) = crash(rig, true, operations);
        let found = values(&log);
        let kept = found.len().saturating_sub(12);
        if found == expected(&[("old", 40), ("lost", 3)]) {
            assert!(!is_done, "{operations} operations: the cut is undone");
            before += 1;
        } else {
            let left = expected(&[("old", 12), ("new", kept)]);
            assert!(kept <= followers + 1, "{operations} operations");
            assert_eq!(found, left, "{operations} operations");
            after += 1;
        }
        if is_over {
            break;
        }
    }
    assert!(before > 0 && after > 5, "{before} before, {after} after");
}

#[test]
fn a_cut_that_a_kill_has_cut_short_survives_a_power_cut_with_what_follows() {
    let (mut before, mut after) = (0, 0);
    let mut is_over = false;
    for operations in 0.. {
        for seed in 0..8 {
            let (rig, log) = checkpointed(FlushMode::Journal);
            log.truncate_to(25).unwrap();
            fill(&rig, &log, "b", 15);
            rig.fs.cut_power_after(operations);
            // The process is killed when the operations are used up.
            is_over = log.truncate_to(12).is_ok();
            drop(log);
            let (rig, log) = crash(rig, false, seed);
            let seen = values(&log);
            fill(&rig, &log, "c", 2);
            drop(log);
            let (_rig, log) = crash(rig, true, seed);
            let left = [seen.clone(), expected(&[("c", 2)])].concat();
            assert_eq!(values(&log), left, "{operations}, seed {seed}");
            match seen.len() {
                40 => before += 1,
                _ => after += 1,
            }
        }
        if is_over {
            break;
        }
    }
    assert!(before > 8 && after > 40, "{before} before, {after} after");
}

#[test]
fn a_cut_that_a_start_has_seen_does_not_come_undone_without_a_journal() {
    for (to, seed) in [(12, 0), (12, 1), (12, 2), (41, 0), (41, 1), (41, 2)] {
        let (mut before, mut after) = (0, 0);
        for operations in 0.. {
            let (rig, log) = checkpointed(FlushMode::Os);
            fill(&rig, &log, "lost", 3);
            rig.fs.cut_power_after(operations);
            // The process is killed when the operations are used up; a cut may be half done then.
            let is_done = log.truncate_to(to).is_ok();
            drop(log);
            let (rig, log) = crash(rig, false, seed);
            let seen = values(&log);
            drop(log);
            if seen.len() == 43 {
                assert!(!is_done, "{operations} operations");
                before += 1;
                continue;
            }
            after += 1;
            let (_rig, log) = crash(rig, true, seed);
            assert_eq!(values(&log), seen, "to {to}, {operations} operations");
            if is_done {
                break;
            }
        }
        assert!(before > 0 && after > 2, "{before} before, {after} after");
    }
}

#[test]
fn a_cut_whose_sync_has_failed_does_not_come_undone_after_the_next_start() {
    // The first segment has nine records, the first batch of the second one three: a cut within leaves that one empty.
    for (to, seed) in (0..12).flat_map(|to| (0..8).map(move |seed| (to, seed))) {
        let rig = Rig::new(FlushMode::Os);
        let log = rig.log_with(0, small());
        fill(&rig, &log, "old", 9);
        rig.store.checkpoint().unwrap();
        append(&log, &["new 0", "new 1", "new 2"]);
        fill(&rig, &log, "newer", 20 + seed);
        rig.fs
            .inject(fault(FaultyCall::Sync, ".log", std::io::ErrorKind::Other));
        let cut = log.truncate_to(to);
        drop(log);
        let (rig, log) = crash(rig, false, seed as u64);
        let seen = values(&log);
        drop(log);
        let (_rig, log) = crash(rig, true, seed as u64);
        assert_eq!(values(&log), seen, "to {to}, {cut:?}");
    }
}

#[test]
fn a_cut_at_the_beginning_of_a_segment_does_not_reopen_the_one_before() {
    for seed in 0..20 {
        for (flush, cuts_power) in CRASHES {
            let rig = Rig::new(flush);
            let log = rig.log_with(0, small());
            fill(&rig, &log, "old", 5);
            log.roll_active().unwrap();
            // Everything up to here is in a segment that has ended.
            rig.store.checkpoint().unwrap();
            fill(&rig, &log, "lost", 3);
            log.truncate_to(5).unwrap();
            fill(&rig, &log, "new", 3);
            let left = expected(&[("old", 5), ("new", 3)]);
            assert_eq!(values(&log), left);
            drop(log);
            let (rig, log) = crash(rig, cuts_power, seed);
            assert_eq!(values(&log), left, "{flush:?}, seed {seed}");
            rig.store.checkpoint().unwrap();
            let fs: Arc<dyn FileSystem> = Arc::clone(&rig.fs) as _;
            let report = inspect::verify(&fs, Path::new("/data"), true).unwrap();
            assert_eq!(report.damages, [], "{flush:?}, seed {seed}");
        }
    }
}

#[test]
fn two_cuts_to_the_same_place_below_a_checkpoint_are_as_durable_as_one() {
    for (seed, to) in (0..40).flat_map(|seed| [(seed, 12), (seed, 13)]) {
        let (rig, log) = checkpointed(FlushMode::Journal);
        log.truncate_to(12).unwrap();
        // The next segment begins where the log was cut, and the second cut leaves nothing of it.
        log.roll_active().unwrap();
        append(&log, &["lost 0", "lost 1"]);
        fill(&rig, &log, "lost", 3);
        log.truncate_to(to).unwrap();
        fill(&rig, &log, "new", 2);
        drop(log);
        let (_rig, log) = crash(rig, true, seed);
        let left = expected(&[("old", 12), ("new", 2)]);
        assert_eq!(values(&log), left, "to {to}, seed {seed}");
    }
}

#[test]
fn a_reset_survives_a_crash_with_what_follows() {
    for to in [5, 12, 40, 1000] {
        for seed in 0..20 {
            for (flush, cuts_power) in CRASHES {
                let (rig, log) = checkpointed(flush);
                log.advance_log_start(10).unwrap();
                log.reset_to(to).unwrap();
                fill(&rig, &log, "new", 15);
                drop(log);
                let (_rig, log) = crash(rig, cuts_power, seed);
                assert_eq!(log.offsets().log_start, to, "seed {seed}, {flush:?}");
                assert_eq!(values(&log), expected(&[("new", 15)]), "seed {seed}");
                assert_eq!(log.leader_epoch(), Some(0));
            }
        }
    }
}

#[test]
fn a_cut_that_finds_no_room_is_refused_and_changes_nothing() {
    for flush in [FlushMode::Journal, FlushMode::Os] {
        let (rig, log) = checkpointed(flush);
        rig.fs.set_capacity(Some(rig.fs.used_bytes()));
        assert!(matches!(
            log.truncate_to(12),
            Err(AppendError::Full { .. } | AppendError::Io { .. })
        ));
        assert_eq!(values(&log), expected(&[("old", 40)]));
        rig.fs.set_capacity(None);
        log.truncate_to(12).unwrap();
        fill(&rig, &log, "new", 3);
        assert_eq!(rig.store.health(), Health::Ok);
        drop(log);
        let (_rig, log) = crash(rig, false, 1);
        assert_eq!(values(&log), expected(&[("old", 12), ("new", 3)]));
    }
}

#[test]
fn a_cut_that_fails_half_way_stops_the_node_and_is_finished_by_the_next_start() {
    for (call, path) in [
        (FaultyCall::Sync, TRUNCATIONS),
        (FaultyCall::Remove, ".checksums"),
    ] {
        let (rig, log) = checkpointed(FlushMode::Journal);
        rig.fs.inject(fault(call, path, std::io::ErrorKind::Other));
        log.truncate_to(12).unwrap_err();
        assert!(matches!(rig.store.health(), Health::Poisoned { .. }));
        assert!(matches!(
            try_append(&log, &["x"]),
            Err(AppendError::Poisoned { .. })
        ));
        drop(log);
        let (rig, log) = crash(rig, true, 3);
        assert_eq!(values(&log), expected(&[("old", 12)]), "{path}");
        fill(&rig, &log, "new", 30);
    }
}

#[test]
fn a_snapshot_of_a_given_up_history_is_not_believed() {
    let mut rig = Rig::new(FlushMode::Journal);
    let log = rig.log_with(0, small());
    for number in 0..20 {
        produce(&log, &["old"], (1, 0, number), false).unwrap();
    }
    rig.store.close_blocking().unwrap();
    drop(log);
    // The close has left a snapshot at offset 20.
    rig = rig.reopen();
    let log = rig.log_with(0, small());
    log.truncate_to(5).unwrap();
    for number in 0..25 {
        produce(&log, &["new"], (2, 0, number), false).unwrap();
    }
    log.truncate_to(22).unwrap();
    let states = log.producer_states();
    let known: BTreeMap<_, _> = states
        .iter()
        .map(|state| (state.producer_id, state.last_sequence()))
        .collect();
    assert_eq!(known, BTreeMap::from([(1, 4), (2, 16)]));
}

#[test]
fn a_cut_before_a_crash_is_no_damage_and_a_changed_note_of_it_is() {
    let (rig, log) = checkpointed(FlushMode::Journal);
    log.truncate_to(12).unwrap();
    let note = log.dir().join(TRUNCATIONS);
    drop(log);
    let killed = rig.fs.kill(1);
    drop(rig.store);
    let fs: Arc<dyn FileSystem> = Arc::new(killed.clone());
    let report = inspect::verify(&fs, Path::new("/data"), true).unwrap();
    assert_eq!(report.damages, []);
    killed.damage(&note, 30, b"9");
    let report = inspect::verify(&fs, Path::new("/data"), true).unwrap();
    assert!(report.damages.iter().any(|damage| damage.path == note));
    let opened = LogStore::open(options(&Arc::new(killed), &rig.clock, FlushMode::Journal));
    let refused = opened.expect_err("a damaged note is not passed over");
    assert!(refused.to_string().contains(TRUNCATIONS), "{refused}");
}

#[test]
fn indexes_that_a_start_has_not_built_yet_are_not_checkpointed_as_empty() {
    let rig = Rig::new(FlushMode::Journal);
    let log = rig.log_with(0, small());
    produce(&log, &["aborted"], (1, 0, 0), true).unwrap();
    log.append_marker(Marker::Abort, 1, 0, 0, 0).unwrap();
    fill(&rig, &log, "old", 2);
    rig.store.checkpoint().unwrap();
    log.truncate_to(log.offsets().log_end - 1).unwrap();
    fill(&rig, &log, "new", 1);
    drop(log);
    let (rig, log) = crash(rig, false, 1);
    rig.store.checkpoint().unwrap();
    drop(log);
    let (_rig, log) = crash(rig, false, 2);
    let read = log.read(0, 1 << 20, Isolation::Committed, true).unwrap();
    assert_eq!(read.aborted.len(), 1);
}
