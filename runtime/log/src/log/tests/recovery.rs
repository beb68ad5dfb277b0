//! What a start makes of files that a crash, a power cut or decay has left.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use millstream_records::{BatchHeader, Marker};

use super::support::*;
use crate::fs::{FileSystem, OpenMode};
use crate::inspect::verify;
use crate::testing::SimFs;
use crate::{AppendOptions, FlushMode, Isolation, LogConfig, ReadError, StoreError};

fn log_path(base_offset: i64) -> PathBuf {
    PathBuf::from(format!("/data/flights-0/{base_offset:020}.log"))
}

/// Appends and makes everything durable by the mode's rules.
fn fill(rig: &Rig, count: usize) {
    let log = rig
        .store
        .get(&id(0).topic_id, 0)
        .unwrap_or_else(|| rig.log(0));
    for number in 0..count {
        let last = append(&log, &[&format!("value {number}")]);
        flush(&rig.store, &last);
    }
}

#[test]
fn without_a_journal_the_log_is_cut_at_the_first_bad_batch_behind_the_recovery_point() {
    let mut rig = Rig::new(FlushMode::Os);
    fill(&rig, 10);
    let size = rig.fs.metadata(&log_path(0)).unwrap().len / 10;
    rig.fs.damage(&log_path(0), 7 * size + 65, b"XX");
    rig = rig.kill_and_reopen(1);
    assert_eq!(rig.report.problems.len(), 1, "{:?}", rig.report.problems);
    let problem = &rig.report.problems[0];
    assert_eq!(
        (problem.path.clone(), problem.position),
        (log_path(0), 7 * size)
    );
    let log = rig.log(0);
    assert_eq!(log.offsets().log_end, 7);
    assert_eq!(values_from(&log, 0, Isolation::Uncommitted).len(), 7);
    assert_eq!(append(&log, &["on"]).base_offset, 7);
}

#[test]
fn segments_behind_a_bad_batch_go() {
    let mut rig = Rig::new(FlushMode::Os);
    let config = LogConfig {
        segment_bytes: 400,
        ..LogConfig::default()
    };
    rig.log_with(0, config);
    fill(&rig, 20);
    let second = rig.log(0).segments.read()[1].base_offset();
    rig.fs.damage(&log_path(second), 65, b"XX");
    rig = rig.kill_and_reopen(1);
    let log = rig.log(0);
    assert_eq!(log.offsets().log_end, second);
    assert_eq!(
        log.segments.read().len(),
        2,
        "the damaged one is empty, later ones are gone"
    );
    assert_eq!(
        values_from(&log, 0, Isolation::Uncommitted).len() as i64,
        second
    );
}

#[test]
fn damage_below_the_recovery_point_is_reported_with_its_place_and_not_served() {
    for mode in [FlushMode::Os, FlushMode::Journal] {
        let mut rig = Rig::new(mode);
        fill(&rig, 10);
        rig.store.checkpoint().unwrap();
        let size = rig.fs.metadata(&log_path(0)).unwrap().len / 10;
        rig.fs.damage(&log_path(0), 4 * size + 65, b"XX");
        rig = rig.kill_and_reopen(1);
        let log = rig.log(0);
        assert_eq!(log.offsets().log_end, 10, "nothing acknowledged is cut off");
        let before = log.read(0, 1 << 20, Isolation::Uncommitted, true).unwrap();
        assert_eq!(
            before.bytes.len() as u64,
            4 * size,
            "what is sound before it is served"
        );
        match log
            .read(4, 1 << 20, Isolation::Uncommitted, true)
            .unwrap_err()
        {
            ReadError::Corrupt { path, position, .. } => {
                assert_eq!((path, position), (log_path(0), 4 * size))
            }
            other => panic!("{other}"),
        }
        assert!(
            !log.read(5, 1 << 20, Isolation::Uncommitted, true)
                .unwrap()
                .bytes
                .is_empty()
        );
    }
}

#[test]
fn a_segment_that_lost_synced_bytes_is_reported_and_takes_appends_at_the_old_end() {
    let mut rig = Rig::new(FlushMode::Journal);
    fill(&rig, 10);
    rig.store.checkpoint().unwrap();
    let file = rig.fs.open(&log_path(0), OpenMode::ReadWrite).unwrap();
    let size = file.len().unwrap() / 10;
    file.set_len(6 * size + 10).unwrap();
    file.sync_all().unwrap();
    drop(file);
    rig = rig.kill_and_reopen(1);
    assert_eq!(rig.report.problems.len(), 1, "{:?}", rig.report.problems);
    assert_eq!(rig.report.problems[0].path, log_path(0));
    let log = rig.log(0);
    assert_eq!(log.offsets().log_end, 10, "an offset is never given twice");
    assert_eq!(append(&log, &["on"]).base_offset, 10);
}

#[test]
fn in_journal_mode_bytes_that_no_journal_has_are_discarded() {
    let mut rig = Rig::new(FlushMode::Journal);
    fill(&rig, 3);
    rig.store.checkpoint().unwrap();
    // A sound batch that the kernel wrote back before the power went, while its journal group was lost.
    let mut batch = batch_of(&["never durable"], None, false);
    millstream_records::patch::set_base_offset(&mut batch, 3);
    let file = rig.fs.open(&log_path(0), OpenMode::ReadWrite).unwrap();
    file.write_at(&batch, file.len().unwrap()).unwrap();
    file.sync_all().unwrap();
    drop(file);
    rig = rig.cut_power_and_reopen(1);
    let log = rig.log(0);
    assert_eq!(log.offsets().log_end, 3);
    assert_eq!(values_from(&log, 0, Isolation::LogEnd).len(), 3);
}

#[test]
fn after_a_clean_close_bytes_behind_the_end_are_discarded_in_journal_mode() {
    let mut rig = Rig::new(FlushMode::Journal);
    fill(&rig, 3);
    rig.store.close_blocking().unwrap();
    let mut batch = batch_of(&["never durable"], None, false);
    millstream_records::patch::set_base_offset(&mut batch, 3);
    let file = rig.fs.open(&log_path(0), OpenMode::ReadWrite).unwrap();
    file.write_at(&batch, file.len().unwrap()).unwrap();
    drop(file);
    rig = rig.reopen();
    assert_eq!(rig.log(0).offsets().log_end, 3);
}

/// Three segments with an aborted transaction in each, closed cleanly; the bases.
fn indexed_segments() -> (Rig, Vec<i64>) {
    let rig = Rig::new(FlushMode::Os);
    let config = LogConfig {
        segment_bytes: 2500,
        index_interval_bytes: 50,
        ..LogConfig::default()
    };
    let log = rig.log_with(0, config);
    for number in 0..30 {
        let value = [&*format!("value {number}")];
        append(&log, &value);
        produce(&log, &value, (number, 0, 0), true).unwrap();
        log.append_marker(Marker::Abort, number, 0, 0, 0).unwrap();
    }
    let bases: Vec<_> = log
        .segments
        .read()
        .iter()
        .map(|segment| segment.base_offset())
        .collect();
    assert!(bases.len() >= 3, "{bases:?}");
    rig.store.close_blocking().unwrap();
    (rig, bases)
}

fn check_indexed_segments(rig: &Rig, case: &str) {
    let log = rig.log(0);
    for offset in 0..90 {
        let found = log.read(offset, 1, Isolation::Committed, true).unwrap();
        let header = millstream_records::BatchHeader::parse(&found.bytes).unwrap();
        assert_eq!(header.base_offset, offset, "{case}");
        let aborted = if offset % 3 == 0 { 0 } else { 1 };
        assert_eq!(found.aborted.len(), aborted, "{case}: offset {offset}");
        if let Some(transaction) = found.aborted.first() {
            assert_eq!(transaction.first_offset, offset - offset % 3 + 1, "{case}");
        }
    }
    let first = log
        .offset_for_timestamp(NOW_MS, Isolation::Uncommitted)
        .unwrap();
    assert_eq!(first.map(|found| found.offset), Some(0), "{case}");
}

#[test]
fn an_index_that_does_not_match_its_checksum_is_built_anew() {
    for kind in ["index", "timeindex", "txnindex", "checksums"] {
        for segment in [0, 1, 2] {
            for way in ["missing", "changed", "longer", "shorter"] {
                let (mut rig, bases) = indexed_segments();
                let path = PathBuf::from(format!("/data/flights-0/{:020}.{kind}", bases[segment]));
                let bytes = rig.fs.read(&path, 1 << 20).unwrap();
                match way {
                    "missing" => rig.fs.remove_file(&path).unwrap(),
                    // A low byte of an offset, a position or a timestamp: plausible and wrong.
                    "changed" => rig.fs.damage(&path, 7, &[bytes[7] ^ 3]),
                    "longer" => rig.fs.damage(&path, bytes.len() as u64, &bytes),
                    _ => {
                        let file = rig.fs.open(&path, OpenMode::ReadWrite).unwrap();
                        file.set_len(bytes.len() as u64 / 2).unwrap();
                    }
                }
                rig = rig.reopen();
                let case = format!("{kind} of segment {segment} {way}");
                check_indexed_segments(&rig, &case);
                // What was built anew is right on disk too.
                rig.store.close_blocking().unwrap();
                rig = rig.reopen();
                check_indexed_segments(&rig, &case);
                let log = rig.log(0);
                for segment in log.segments.read().iter() {
                    let sidecar = segment.sidecar(&*rig.fs).unwrap().expect("a sound sidecar");
                    assert!(segment.indexes_match(&sidecar).unwrap(), "{case}");
                }
            }
        }
    }
}

#[test]
fn a_directory_without_our_checkpoint_is_read_batch_by_batch() {
    let mut rig = Rig::new(FlushMode::Os);
    let config = LogConfig {
        segment_bytes: 400,
        ..LogConfig::default()
    };
    let log = rig.log_with(0, config);
    for number in 0..20 {
        produce(&log, &[&format!("value {number}")], (1, 0, number), false).unwrap();
    }
    drop(log);
    rig.store.close_blocking().unwrap();
    rig.fs
        .remove_file(&PathBuf::from("/data/millstream-checkpoint"))
        .unwrap();
    rig = rig.reopen();
    assert_eq!(rig.report.problems, []);
    let log = rig.log(0);
    assert_eq!(values_from(&log, 0, Isolation::Uncommitted).len(), 20);
    assert!(
        produce(&log, &["value 19"], (1, 0, 19), false)
            .unwrap()
            .duplicate
    );
}

#[test]
fn a_damaged_checkpoint_refuses_the_start() {
    let rig = Rig::new(FlushMode::Journal);
    fill(&rig, 3);
    rig.store.checkpoint().unwrap();
    rig.fs
        .damage(&PathBuf::from("/data/millstream-checkpoint"), 40, b"XXXX");
    let Rig {
        fs, clock, store, ..
    } = rig;
    drop(store);
    let error = crate::LogStore::open(options(&fs, &clock, FlushMode::Journal)).unwrap_err();
    assert!(
        matches!(error, StoreError::DamagedCheckpoint { .. }),
        "{error}"
    );
}

#[test]
fn a_producer_snapshot_of_a_lost_history_is_not_believed() {
    let mut lost = 0;
    for (flush, seed) in
        (0..40).flat_map(|seed| [(FlushMode::Journal, seed), (FlushMode::Os, seed)])
    {
        let rig = Rig::new(flush);
        let log = rig.log(0);
        produce(&log, &["first"], (1, 0, 0), false).unwrap();
        rig.store.checkpoint().unwrap();
        // A snapshot at 2 that knows of a producer 2.
        let rig = rig.cut_power_while(log, seed, |log| {
            produce(log, &["gone!"], (2, 0, 0), false).unwrap();
        });
        let log = rig.log(0);
        if log.offsets().log_end > 1 {
            continue;
        }
        lost += 1;
        // The log grows over that offset in another way.
        produce(&log, &["other"], (3, 0, 0), false).unwrap();
        log.roll_active().unwrap();
        produce(&log, &["later"], (3, 0, 1), false).unwrap();
        produce(&log, &["again"], (3, 0, 2), false).unwrap();
        rig.store.flushed_blocking(log.last_lsn()).unwrap();
        rig.store.checkpoint().unwrap();
        drop(log);
        let rig = rig.cut_power_and_reopen(seed + 1);
        let log = rig.log(0);
        log.truncate_to(3).unwrap();
        let states = log.producer_states();
        let known: BTreeSet<_> = states.iter().map(|state| state.producer_id).collect();
        assert_eq!(known, BTreeSet::from([1, 3]), "{flush:?}, seed {seed}");
    }
    assert!(lost > 10, "{lost}");
}

#[test]
fn leader_epochs_of_lost_records_are_not_held_against_those_that_follow() {
    let mut judged = 0;
    for seed in 0..600 {
        let rig = Rig::new(FlushMode::Os);
        let log = rig.log(0);
        let put = |log: &crate::Log, value: &str, epoch: i32| {
            let mut batch = batch_of(&[value, value], None, false);
            log.append(&mut batch, AppendOptions::client(epoch))
                .unwrap();
        };
        put(&log, "first", 0);
        rig.store.checkpoint().unwrap();
        put(&log, "gone", 0);
        put(&log, "gone", 1);
        // The kernel has written the small files already, and nothing else.
        for name in ["leader-epoch-checkpoint", "leader-epoch-checkpoint.crc"] {
            let file = rig.fs.open(&log.dir().join(name), OpenMode::ReadWrite);
            file.unwrap().sync_data().unwrap();
        }
        rig.fs.sync_dir(log.dir()).unwrap();
        drop(log);
        let rig = rig.cut_power_and_reopen(seed);
        let log = rig.log(0);
        if log.offsets().log_end > 2 {
            continue;
        }
        put(&log, "later", 2);
        drop(log);
        let rig = rig.cut_power_and_reopen(seed + 1);
        let log = rig.log(0);
        if log.offsets().log_end > 2 {
            judged += 1;
            let read = log.read(2, 1, Isolation::LogEnd, true).unwrap();
            let header = BatchHeader::parse(&read.bytes).unwrap();
            assert_eq!(header.leader_epoch, 2, "seed {seed}");
        }
    }
    assert!(judged > 40, "{judged}");
}

#[test]
fn a_file_that_lost_its_end_can_be_put_back_after_a_start() {
    let rig = Rig::new(FlushMode::Journal);
    fill(&rig, 5);
    rig.store.checkpoint().unwrap();
    // In the file too, but by the journal.
    fill(&rig, 5);
    let fs = Arc::new(rig.fs.kill(1));
    let path = log_path(0);
    let whole = fs.read(&path, 1 << 20).unwrap();
    let cut = |fs: &SimFs, bytes: &[u8]| {
        let file = fs.open(&path, OpenMode::ReadWrite).unwrap();
        file.set_len(0).unwrap();
        file.write_at(bytes, 0).unwrap();
        file.sync_all().unwrap();
    };
    cut(&fs, &whole[..100]);
    let rig = Rig { fs, ..rig }.reopen();
    assert_ne!(rig.report.problems, []);
    assert!(!rig.log(0).damages().is_empty());
    rig.store.checkpoint().unwrap();
    let fs = Arc::new(rig.fs.kill(1));
    cut(&fs, &whole);
    let as_fs: Arc<dyn FileSystem> = Arc::new(fs.copy(1));
    let found = verify(&as_fs, std::path::Path::new("/data"), true).unwrap();
    assert_eq!(found.damages, []);
    let rig = Rig { fs, ..rig }.reopen();
    assert_eq!(rig.report.problems, []);
    let log = rig.log(0);
    assert_eq!(log.damages(), []);
    let values = values_from(&log, 0, Isolation::Uncommitted);
    let numbers = (0..5).chain(0..5);
    let expected: Vec<_> = (0..)
        .zip(numbers.map(|number| format!("value {number}")))
        .collect();
    assert_eq!(values, expected);
    append(&log, &["more"]);
    assert_eq!(log.offsets().log_end, 11);
}

#[test]
fn a_log_without_a_journal_ends_before_a_leader_epoch_that_nobody_announced() {
    let rig = Rig::new(FlushMode::Os);
    let log = rig.log(0);
    for value in ["first", "last"] {
        produce(&log, &[value], (1, 0, i32::from(value == "last")), false).unwrap();
    }
    let segment = Arc::clone(&log.segments.read()[0]);
    let read = log.read(1, 1, Isolation::LogEnd, true).unwrap();
    let position = segment.size() - read.bytes.len() as u64;
    // A bit of the last batch's epoch, which no checksum covers.
    rig.fs.damage(&segment.path(), position + 13, &[1]);
    drop((log, segment, read));
    let rig = rig.kill_and_reopen(1);
    let log = rig.log(0);
    assert_eq!(log.offsets().log_end, 1);
    let [problem] = &rig.report.problems[..] else {
        panic!("{:?}", rig.report.problems)
    };
    let reason = &problem.reason;
    assert!(reason.contains("leader epoch 65536"), "{reason}");
    assert!(
        produce(&log, &["last"], (1, 0, 1), false).is_ok_and(|again| !again.duplicate),
        "the producer sends it again"
    );
}

#[test]
fn a_new_leader_epoch_of_durable_records_is_durable_without_a_journal() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for seed in 0..100 {
        let rig = Rig::new(FlushMode::Os);
        let log = rig.log(0);
        for epoch in 0..3 {
            let mut batch = batch_of(&["metadata"], None, false);
            let appended = log
                .append(&mut batch, AppendOptions::client(epoch))
                .unwrap();
            runtime.block_on(log.durable(appended.lsn)).unwrap();
        }
        drop(log);
        let rig = rig.cut_power_and_reopen(seed);
        let log = rig.log(0);
        assert_eq!(
            log.offsets().log_end,
            3,
            "seed {seed}: {:?}",
            rig.report.problems
        );
        let read = log.read(2, 1, Isolation::LogEnd, true).unwrap();
        let header = BatchHeader::parse(&read.bytes).unwrap();
        assert_eq!(header.leader_epoch, 2, "seed {seed}");
    }
}
