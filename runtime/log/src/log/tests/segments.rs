//! A log of several segments.

use super::support::*;
use crate::checkpoint::{LEADER_EPOCHS, read_leader_epochs};
use crate::fs::FileSystem;
use crate::{AppendOptions, FlushMode, Isolation, LogConfig};

fn small() -> LogConfig {
    LogConfig {
        segment_bytes: 500,
        index_interval_bytes: 100,
        ..LogConfig::default()
    }
}

#[test]
fn a_log_rolls_and_reads_on_over_its_segments() {
    for mode in [FlushMode::Os, FlushMode::Journal] {
        let mut rig = Rig::new(mode);
        let log = rig.log_with(0, small());
        let words: Vec<String> = (0..60).map(|number| format!("value {number}")).collect();
        let mut last = None;
        for word in &words {
            last = Some(append(&log, &[word]));
        }
        flush(&rig.store, &last.unwrap());
        let bases: Vec<_> = log
            .segments
            .read()
            .iter()
            .map(|segment| segment.base_offset())
            .collect();
        assert!(bases.len() > 5, "{bases:?}");
        let expected: Vec<_> = (0..).zip(words).collect();
        drop(log);
        for round in 0..3 {
            let log = rig.log_with(0, small());
            for from in [0, 1, bases[2], bases[2] + 1, 59] {
                let found = values_from(&log, from, Isolation::Uncommitted);
                assert_eq!(
                    found,
                    expected[from as usize..],
                    "{mode} round {round} from {from}"
                );
            }
            drop(log);
            rig = if round == 0 {
                rig.kill_and_reopen(1)
            } else {
                rig.close_and_reopen()
            };
            assert_eq!(rig.report.problems, []);
        }
    }
}

#[test]
fn a_rolled_segment_has_kafkas_files_and_a_snapshot_at_the_next_base() {
    let rig = Rig::new(FlushMode::Os);
    let log = rig.log_with(0, small());
    for _ in 0..20 {
        append(&log, &["a value of some length"]);
    }
    let second = log.segments.read()[1].base_offset();
    let names: Vec<_> = rig.fs.read_dir(log.dir()).unwrap();
    let len = |name: String| {
        names
            .iter()
            .find(|entry| entry.name == name)
            .map(|entry| entry.len)
    };
    assert!(len(format!("{:020}.log", 0)).unwrap() <= 500);
    assert!(len(format!("{:020}.index", 0)).is_some_and(|len| len > 0 && len % 8 == 0));
    assert!(len(format!("{:020}.timeindex", 0)).is_some_and(|len| len > 0 && len % 12 == 0));
    assert_eq!(
        len(format!("{:020}.txnindex", 0)),
        None,
        "there was no abort"
    );
    assert_eq!(len(format!("{second:020}.snapshot")), Some(10));
    assert!(len(format!("{:020}.checksums", 0)).is_some());
    assert_eq!(len("partition.metadata".to_owned()), Some(43));
}

#[test]
fn leader_epochs_are_stamped_remembered_and_written() {
    for mode in [FlushMode::Os, FlushMode::Journal] {
        let mut rig = Rig::new(mode);
        let log = rig.log(0);
        for (epoch, value) in [(2, "a"), (2, "b"), (5, "c")] {
            let last = log
                .append(
                    &mut batch_of(&[value], None, false),
                    AppendOptions::client(epoch),
                )
                .unwrap();
            flush(&rig.store, &last);
        }
        drop(log);
        for round in 0..3 {
            rig = match round {
                0 => rig.kill_and_reopen(1),
                1 => {
                    rig.store.checkpoint().unwrap();
                    rig.cut_power_and_reopen(1)
                }
                _ => rig.close_and_reopen(),
            };
            let log = rig.log(0);
            assert_eq!(log.leader_epoch(), Some(5));
            assert_eq!(log.epoch_end_offset(4), Some((2, 2)));
            assert_eq!(log.epoch_end_offset(5), Some((5, 3)));
            assert_eq!(log.epoch_end_offset(1), None);
        }
        let path = rig.log(0).dir().join(LEADER_EPOCHS);
        let written = read_leader_epochs(&*rig.fs, &path).unwrap().unwrap();
        let written: Vec<_> = written
            .iter()
            .map(|entry| (entry.epoch, entry.start_offset))
            .collect();
        assert_eq!(written, [(2, 0), (5, 2)]);
    }
}

#[test]
fn truncation_and_a_moved_start_are_redone() {
    for mode in [FlushMode::Os, FlushMode::Journal] {
        for restart in 0..2 {
            let mut rig = Rig::new(mode);
            let log = rig.log_with(0, small());
            for number in 0..30 {
                produce(&log, &[&format!("old {number}")], (1, 0, number), false).unwrap();
            }
            log.truncate_to(12).unwrap();
            assert_eq!(log.offsets().log_end, 12);
            assert_eq!(
                log.producer_states()[0].last_sequence(),
                11,
                "what was cut is forgotten"
            );
            let last = produce(&log, &["new"], (1, 0, 12), false).unwrap();
            assert_eq!(last.base_offset, 12);
            flush(&rig.store, &last);
            let last = log.advance_log_start(3).unwrap();
            rig.store.flushed_blocking(last).unwrap();
            drop(log);
            rig = if restart == 0 {
                rig.kill_and_reopen(1)
            } else {
                rig.close_and_reopen()
            };
            if mode == FlushMode::Os && restart == 0 {
                // Without a journal the start is as old as the last checkpoint.
                continue;
            }
            let log = rig.log_with(0, small());
            let offsets = log.offsets();
            assert_eq!(
                (offsets.log_start, offsets.log_end, offsets.high_watermark),
                (3, 13, 13)
            );
            let found = values_from(&log, 3, Isolation::Uncommitted);
            assert_eq!(found.len(), 10);
            assert_eq!(found.last().unwrap().1, "new");
            log.read(2, 100, Isolation::Uncommitted, true).unwrap_err();
        }
    }
}

#[test]
fn a_reset_log_begins_anew() {
    let mut rig = Rig::new(FlushMode::Journal);
    let log = rig.log_with(0, small());
    for number in 0..30 {
        append(&log, &[&format!("old {number}")]);
    }
    log.reset_to(1000).unwrap();
    let last = append(&log, &["new"]);
    assert_eq!(last.base_offset, 1000);
    flush(&rig.store, &last);
    drop(log);
    rig = rig.kill_and_reopen(1);
    let log = rig.log(0);
    assert_eq!(
        values_from(&log, 1000, Isolation::Uncommitted),
        [(1000, "new".to_owned())]
    );
    log.read(999, 100, Isolation::Uncommitted, true)
        .unwrap_err();
}
