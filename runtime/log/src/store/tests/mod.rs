//! A store's directory: whose it is, what comes and goes in it, how modes change.

mod lost;
mod node;
mod refused;
mod removed;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use uuid::Uuid;

use super::changes::{Nobody, write_log_dir};
use super::*;
use crate::fs::FileSystem;
use crate::journal::{EntryKind, EntryRef, FlushListener};
use crate::log::LogId;
use crate::log::test_support::*;
use crate::testing::SimFs;
use crate::{Isolation, LogConfig, ReadError};

fn dirs(fs: &SimFs) -> Vec<String> {
    let entries = fs.read_dir(Path::new("/data")).unwrap();
    entries
        .into_iter()
        .filter(|entry| entry.is_dir)
        .map(|entry| entry.name)
        .collect()
}

#[test]
fn a_directory_is_opened_once_and_by_its_owner_only() {
    let rig = Rig::new(FlushMode::Os);
    let again = LogStore::open(options(&rig.fs, &rig.clock, FlushMode::Os)).unwrap_err();
    assert!(matches!(again, StoreError::Locked { .. }), "{again}");
    let cluster_id = rig.store.cluster_id().to_owned();
    let Rig {
        fs, clock, store, ..
    } = rig;
    drop(store);
    let other_node = StoreOptions {
        node_id: 2,
        ..options(&fs, &clock, FlushMode::Os)
    };
    let error = LogStore::open(other_node).unwrap_err();
    assert!(
        matches!(error, StoreError::ForeignDirectory { what: "node", .. }),
        "{error}"
    );
    for (cluster, is_ours) in [("another", false), (cluster_id.as_str(), true)] {
        let same_node = StoreOptions {
            cluster_id: Some(cluster.to_owned()),
            ..options(&fs, &clock, FlushMode::Os)
        };
        assert_eq!(LogStore::open(same_node).is_ok(), is_ours);
    }
}

#[test]
fn a_name_that_could_leave_the_directory_is_refused() {
    let rig = Rig::new(FlushMode::Os);
    for topic in ["", ".", "..", "../x", "a/b", "a b", "ä", &"x".repeat(250)] {
        let id = LogId {
            topic: topic.to_owned(),
            ..id(0)
        };
        let error = rig.store.create_log(id, LogConfig::default()).unwrap_err();
        assert!(matches!(error, StoreError::Name { .. }), "{topic}");
    }
}

#[test]
fn no_second_log_gets_the_name_or_the_id_of_another() {
    for mode in [FlushMode::Os, FlushMode::Journal] {
        let mut rig = Rig::new(mode);
        let last = append(&rig.log(0), &["a"]);
        flush(&rig.store, &last);
        let same_name = LogId {
            topic_id: Uuid::from_u128(8),
            ..id(0)
        };
        let same_id = LogId {
            topic: "departures".to_owned(),
            ..id(0)
        };
        for reopened in [false, true] {
            for other in [&same_name, &same_id] {
                let made = rig.store.create_log(other.clone(), LogConfig::default());
                let error = made.unwrap_err();
                assert!(matches!(error, StoreError::Taken { .. }), "{error}");
            }
            let log = rig.store.get(&id(0).topic_id, 0).unwrap();
            assert_eq!(
                values_from(&log, 0, Isolation::Uncommitted),
                [(0, "a".to_owned())]
            );
            drop(log);
            if !reopened {
                rig = rig.close_and_reopen();
            }
        }
    }
}

#[test]
fn a_deleted_log_stays_deleted_and_its_name_can_be_used_again() {
    for mode in [FlushMode::Os, FlushMode::Journal] {
        for checkpointed in [false, true] {
            let mut rig = Rig::new(mode);
            let log = rig.log(0);
            let last = append(&log, &["old"]);
            flush(&rig.store, &last);
            if checkpointed {
                rig.store.checkpoint().unwrap();
            }
            rig.store.delete_log(&id(0).topic_id, 0).unwrap();
            rig.shared().open_files.close_idle();
            rig.shared().open_files.close_idle();
            assert!(matches!(
                try_append(&log, &["x"]),
                Err(crate::AppendError::Deleted)
            ));
            let gone = log.read(0, 100, Isolation::Uncommitted, true).unwrap_err();
            assert!(matches!(gone, ReadError::Deleted), "{gone}");
            drop(log);
            assert!(rig.store.get(&id(0).topic_id, 0).is_none());
            let other = LogId {
                topic_id: Uuid::from_u128(8),
                ..id(0)
            };
            let log = rig
                .store
                .create_log(other.clone(), LogConfig::default())
                .unwrap();
            let last = append(&log, &["new"]);
            flush(&rig.store, &last);
            drop(log);
            rig = rig.kill_and_reopen(1);
            assert!(
                rig.store.get(&id(0).topic_id, 0).is_none(),
                "{mode} {checkpointed}"
            );
            let log = rig.store.get(&other.topic_id, 0).unwrap();
            assert_eq!(
                values_from(&log, 0, Isolation::Uncommitted),
                [(0, "new".to_owned())]
            );
        }
    }
}

#[test]
fn a_log_that_is_made_again_under_its_id_does_not_get_its_former_entries() {
    let mut rig = Rig::new(FlushMode::Journal);
    let log = rig.log(0);
    append(&log, &["former", "life"]);
    rig.store.delete_log(&id(0).topic_id, 0).unwrap();
    drop(log);
    let log = rig.log(0);
    let last = append(&log, &["present"]);
    flush(&rig.store, &last);
    drop(log);
    rig = rig.cut_power_and_reopen(3);
    assert_eq!(
        values_from(&rig.log(0), 0, Isolation::Uncommitted),
        [(0, "present".to_owned())]
    );
}

#[test]
fn entries_of_another_life_of_a_log_are_skipped() {
    let mut rig = Rig::new(FlushMode::Journal);
    let log = rig.log(0);
    append(&log, &["mine"]);
    let mut foreign = batch_of(&["not mine"], None, false);
    millstream_records::patch::set_base_offset(&mut foreign, 1);
    let append_foreign = EntryKind::Append {
        base_offset: 1,
        bytes: &foreign,
    };
    for kind in [
        append_foreign,
        EntryKind::Truncate { to: 0 },
        EntryKind::Delete,
    ] {
        let entry = EntryRef {
            topic_id: id(0).topic_id,
            partition: 0,
            incarnation: log.incarnation() + 1,
            kind,
        };
        let nobody: Arc<dyn FlushListener> = Arc::new(Nobody);
        let within = std::time::Duration::ZERO;
        let lsn = rig
            .shared()
            .journal_append(entry, &nobody, -1, within)
            .unwrap();
        rig.store.flushed_blocking(lsn).unwrap();
    }
    drop(log);
    rig = rig.kill_and_reopen(1);
    let log = rig.store.get(&id(0).topic_id, 0).expect("the log is there");
    assert_eq!(
        values_from(&log, 0, Isolation::Uncommitted),
        [(0, "mine".to_owned())]
    );
}

#[test]
fn a_creation_is_durable_with_the_journal() {
    for seed in 0..20 {
        let mut rig = Rig::new(FlushMode::Journal);
        let log = rig.log(3);
        let last = append(&log, &["a"]);
        flush(&rig.store, &last);
        drop(log);
        rig = rig.cut_power_and_reopen(seed);
        let log = rig.store.get(&id(3).topic_id, 3).expect("the log is there");
        assert_eq!(
            values_from(&log, 0, Isolation::Uncommitted),
            [(0, "a".to_owned())]
        );
        assert_eq!(log.id(), &id(3));
    }
}

#[test]
fn a_directory_that_nothing_durable_knows_is_set_aside_in_journal_mode() {
    let mut rig = Rig::new(FlushMode::Journal);
    write_log_dir(rig.shared(), Path::new("/data/flights-9"), id(9).topic_id).unwrap();
    rig = rig.kill_and_reopen(1);
    assert_eq!(rig.report.problems.len(), 1);
    assert!(rig.store.get(&id(9).topic_id, 9).is_none());
    assert!(
        dirs(&rig.fs)
            .iter()
            .any(|name| name.starts_with("flights-9.") && name.ends_with("-stray"))
    );
    append(&rig.log(9), &["mine now"]);
}

#[test]
fn a_directory_that_nothing_durable_knows_is_set_aside_from_the_place_of_a_deleted_log() {
    let successor = Uuid::from_u128(9);
    for deletes in [false, true] {
        let mut rig = Rig::new(FlushMode::Journal);
        let last = append(&rig.log(0), &["former"]);
        flush(&rig.store, &last);
        if deletes {
            rig.store.delete_log(&id(0).topic_id, 0).unwrap();
        } else {
            rig.fs.remove_dir_all(Path::new("/data/flights-0")).unwrap();
        }
        // The successor's creation is not in the journal.
        let path = Path::new("/data/flights-0");
        write_log_dir(rig.shared(), path, successor).unwrap();
        rig = rig.kill_and_reopen(1);
        assert_eq!(rig.report.problems.len(), 1, "{:?}", rig.report.problems);
        assert!(dirs(&rig.fs).iter().any(|name| name.ends_with("-stray")));
        assert!(rig.store.get(&successor, 0).is_none());
        let former = rig.store.get(&id(0).topic_id, 0);
        assert_eq!(former.is_none(), deletes);
        if let Some(former) = former {
            let values = values_from(&former, 0, Isolation::Uncommitted);
            assert_eq!(values, [(0, "former".to_owned())]);
        }
    }
}

#[test]
fn the_flush_mode_can_change_after_any_stop() {
    for first in [FlushMode::Os, FlushMode::Journal] {
        for clean in [false, true] {
            let second = if first == FlushMode::Os {
                FlushMode::Journal
            } else {
                FlushMode::Os
            };
            let mut rig = Rig::new(first);
            let last = append(&rig.log(0), &["a"]);
            flush(&rig.store, &last);
            for (round, mode) in [second, first, second].into_iter().enumerate() {
                rig.flush = mode;
                rig = if clean {
                    rig.close_and_reopen()
                } else {
                    rig.kill_and_reopen(1)
                };
                assert_eq!(rig.report.problems, [], "{first} to {mode}");
                let log = rig.log(0);
                assert_eq!(
                    log.offsets().high_watermark,
                    round as i64 + 1,
                    "{first} to {mode}, {:?}",
                    rig.report
                );
                let last = append(&log, &["b"]);
                flush(&rig.store, &last);
                assert_eq!(
                    values_from(&log, 0, Isolation::Uncommitted).len(),
                    round + 2
                );
                assert_eq!(
                    dirs(&rig.fs).contains(&JOURNAL_DIR.to_owned()),
                    mode == FlushMode::Journal
                );
            }
        }
    }
}

#[test]
fn a_checkpoint_covers_the_journal() {
    let mut rig = Rig::new(FlushMode::Journal);
    for partition in 0..3 {
        let last = append(&rig.log(partition), &["a", "b"]);
        flush(&rig.store, &last);
    }
    rig.store.checkpoint().unwrap();
    let last = append(&rig.log(1), &["c"]);
    flush(&rig.store, &last);
    rig = rig.cut_power_and_reopen(1);
    assert_eq!(
        rig.report.redone_entries, 1,
        "only what came behind the checkpoint"
    );
    assert_eq!(rig.log(1).offsets().log_end, 3);
    assert_eq!(rig.log(2).offsets().log_end, 2);
}

#[test]
fn a_checkpoint_that_a_start_has_seen_is_not_undone_by_a_power_cut() {
    let path = Path::new("/data/millstream-checkpoint");
    for flush in [FlushMode::Os, FlushMode::Journal] {
        let (mut operations, mut is_over) = (0, false);
        while !is_over {
            let rig = Rig::new(flush);
            let log = rig.log(0);
            let last = append(&log, &["first"]);
            rig.store.flushed_blocking(last.lsn).unwrap();
            rig.store.checkpoint().unwrap();
            let last = append(&log, &["second"]);
            rig.store.flushed_blocking(last.lsn).unwrap();
            rig.fs.cut_power_after(operations);
            // The process is killed when the operations are used up.
            is_over = rig.store.checkpoint().is_ok();
            drop(log);
            let rig = rig.kill_and_reopen(operations);
            let seen = rig.fs.read(path, 1 << 20).unwrap();
            for seed in 0..6 {
                let later = rig.fs.clone().power_cut(seed);
                let found = later.read(path, 1 << 20).unwrap();
                assert!(found == seen, "{flush:?}, {operations} operations");
            }
            operations += 1;
        }
        assert!(operations > 5, "{operations}");
    }
}

#[test]
fn a_clean_close_leaves_nothing_to_redo_and_kafkas_files() {
    let mut rig = Rig::new(FlushMode::Journal);
    let last = append(&rig.log(0), &["a", "b"]);
    flush(&rig.store, &last);
    rig.store.close_blocking().unwrap();
    rig.store.close_blocking().unwrap();
    let text = |name: &str| {
        let bytes = rig
            .fs
            .read(&PathBuf::from(format!("/data/{name}")), 1000)
            .unwrap();
        String::from_utf8(bytes).unwrap()
    };
    assert_eq!(
        text("recovery-point-offset-checkpoint"),
        "0\n1\nflights 0 2\n"
    );
    assert_eq!(text("replication-offset-checkpoint"), "0\n1\nflights 0 2\n");
    assert!(text("meta.properties").contains("node.id=1"));
    assert!(
        rig.fs
            .exists(Path::new("/data/.kafka_cleanshutdown"))
            .unwrap()
    );
    assert!(
        rig.fs
            .exists(Path::new("/data/flights-0/00000000000000000002.snapshot"))
            .unwrap()
    );
    assert!(
        rig.fs
            .exists(Path::new("/data/flights-0/00000000000000000000.timeindex"))
            .unwrap()
    );
    rig = rig.cut_power_and_reopen(9);
    assert!(rig.report.was_clean);
    assert_eq!(rig.report.redone_entries, 0);
    assert!(
        !rig.fs
            .exists(Path::new("/data/.kafka_cleanshutdown"))
            .unwrap(),
        "a crash from now on is one"
    );
    assert_eq!(rig.log(0).offsets().log_end, 2);
}

#[test]
fn the_journal_is_checkpointed_away_before_it_is_too_large() {
    let rig = Rig::new(FlushMode::Journal);
    let Rig {
        fs, clock, store, ..
    } = rig;
    store.close_blocking().unwrap();
    drop(store);
    let small = StoreOptions {
        checkpoint_journal_bytes: 2 << 20,
        ..options(&fs, &clock, FlushMode::Journal)
    };
    let (store, _) = LogStore::open(small).unwrap();
    let log = store.create_log(id(0), LogConfig::default()).unwrap();
    let value = "x".repeat(200_000);
    for _ in 0..100 {
        let last = append(&log, &[&value]);
        flush(&store, &last);
    }
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    // The file in use stays; without a checkpoint there were 31 MiB.
    while store.journal_bytes() > 16 << 20 {
        assert!(
            std::time::Instant::now() < deadline,
            "{} bytes",
            store.journal_bytes()
        );
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn no_more_files_are_open_than_allowed() {
    let fs = Arc::new(SimFs::new(1));
    let rig = Rig::new(FlushMode::Os);
    let few = StoreOptions {
        open_files_max: 5,
        ..options(&fs, &rig.clock, FlushMode::Os)
    };
    let (store, _) = LogStore::open(few).unwrap();
    for round in 0..3 {
        for partition in 0..20 {
            let log = store
                .create_log(id(partition), LogConfig::default())
                .unwrap();
            assert_eq!(append(&log, &["a"]).base_offset, round);
            assert_eq!(
                values_from(&log, 0, Isolation::Uncommitted).len() as i64,
                round + 1
            );
            assert!(store.shared.open_files.open_count() <= 5);
        }
    }
    store.sweep();
    store.sweep();
    assert_eq!(
        store.shared.open_files.open_count(),
        0,
        "idle logs own no file"
    );
}

#[test]
fn a_checkpoint_file_comes_back_and_a_changed_one_is_refused() {
    let rig = Rig::new(FlushMode::Journal);
    let log = rig.log(0);
    produce(&log, &["a"], (1, 2, 3), false).unwrap();
    rig.store.checkpoint().unwrap();
    let file = rig.store.checkpoint.lock().clone();
    let read = NodeCheckpoint::read(&*rig.fs, Path::new("/data"))
        .unwrap()
        .unwrap();
    assert_eq!(read, file);
    assert_eq!(read.get(&(id(0).topic_id, 0)).unwrap().recovery_point, 1);
    let path = PathBuf::from("/data/millstream-checkpoint");
    let bytes = rig.fs.read(&path, 1000).unwrap();
    for (at, byte) in bytes.iter().enumerate() {
        rig.fs.damage(&path, at as u64, &[byte ^ 0x10]);
        let error = NodeCheckpoint::read(&*rig.fs, Path::new("/data")).unwrap_err();
        assert!(
            matches!(error, StoreError::DamagedCheckpoint { .. }),
            "byte {at}"
        );
        rig.fs.damage(&path, at as u64, &[*byte]);
    }
}
