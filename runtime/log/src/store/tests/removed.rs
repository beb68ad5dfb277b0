//! Logs go, or are set aside, and others take their names, wherever the node is stopped meanwhile.

use super::node::*;
use super::*;

/// The log of another topic with the name of the former one.
fn successor() -> LogId {
    LogId {
        topic_id: Uuid::from_u128(9),
        ..id(0)
    }
}

/// Deletes `flights-0`, makes its successor, and appends to it; returns how many records were acknowledged.
fn replace(store: &Arc<LogStore>, checkpoints: bool) -> Result<usize, StoreError> {
    store.delete_log(&id(0).topic_id, 0)?;
    let log = store.create_log(successor(), LogConfig::default())?;
    for number in 0..2 {
        let Ok(appended) = try_append(&log, &[&format!("new {number}")]) else {
            return Ok(number);
        };
        if store.flushed_blocking(appended.lsn).is_err() {
            return Ok(number);
        }
        if checkpoints {
            let _ = store.checkpoint();
        }
    }
    Ok(2)
}

#[test]
fn a_topic_that_is_made_anew_under_its_name_keeps_its_records() {
    for flush in MODES {
        for stop in STOPS {
            for checkpoints in [false, true] {
                let fs = SimFs::new(1);
                let (store, _) = open_node(&fs, flush).unwrap();
                for id in [metadata_log(), id(0)] {
                    let log = store.create_log(id, LogConfig::default()).unwrap();
                    flush_all(&store, &log, &["former"]);
                }
                assert_eq!(replace(&store, checkpoints).unwrap(), 2);
                let fs = stopped(fs, store, stop);
                let (store, report) = open_node(&fs, flush).unwrap();
                let case = format!("{flush}, {stop:?}, {checkpoints}");
                assert_eq!(report.problems, [], "{case}");
                let log = store.get(&successor().topic_id, 0).expect(&case);
                let values = values_from(&log, 0, Isolation::LogEnd);
                let expected = [(0, "new 0".to_owned()), (1, "new 1".to_owned())];
                assert_eq!(values, expected, "{case}");
                assert!(store.get(&id(0).topic_id, 0).is_none(), "{case}");
            }
        }
    }
}

#[test]
fn a_deletion_may_be_cut_short_anywhere() {
    for flush in MODES {
        for cuts_power in [false, true] {
            let mut outcomes = [0, 0];
            for operations in 0.. {
                let fs = node_with_logs(flush, Stop::Kill, 3);
                let (store, _) = open_node(&fs, flush).unwrap();
                fs.cut_power_after(operations);
                let replaced = replace(&store, operations % 2 == 0);
                let is_over = !fs.is_off();
                let next = match cuts_power {
                    true => fs.power_cut(operations),
                    false => fs.kill(operations),
                };
                drop(store);
                let case = format!("{flush}, {operations} operations, power cut: {cuts_power}");
                let (store, _) =
                    open_node(&next, flush).unwrap_or_else(|error| panic!("{case}: {error}"));
                assert_eq!(store.lost_logs(), [], "{case}");
                check_records(&store.get(&id(1).topic_id, 1).unwrap());
                let former = store.get(&id(0).topic_id, 0);
                outcomes[usize::from(former.is_some())] += 1;
                if let Some(former) = former {
                    check_records(&former);
                }
                // Without a journal only a kill keeps what was appended.
                let acknowledged = replaced.unwrap_or(0);
                if flush == FlushMode::Journal || !cuts_power {
                    let log = store.get(&successor().topic_id, 0);
                    let end = log.map_or(0, |log| log.offsets().log_end);
                    assert!(
                        end >= acknowledged as i64,
                        "{case}: {end} of {acknowledged}"
                    );
                }
                if is_over {
                    break;
                }
            }
            assert!(
                outcomes.iter().all(|count| *count > 0),
                "{flush}: {outcomes:?}"
            );
        }
    }
}

#[test]
fn a_log_may_be_set_aside_and_the_node_stopped_anywhere() {
    for flush in MODES {
        for cuts_power in [false, true] {
            for operations in 0.. {
                let fs = node_with_logs(flush, Stop::Close, 3);
                let (store, _) = open_node(&fs, flush).unwrap();
                fs.cut_power_after(operations);
                let log = store.get(&id(0).topic_id, 0).unwrap();
                let aside = store.set_logs_aside(&[log]);
                let is_over = !fs.is_off();
                let next = match cuts_power {
                    true => fs.power_cut(operations),
                    false => fs.kill(operations),
                };
                drop(store);
                let case = format!("{flush}, {operations} operations, power cut: {cuts_power}");
                let (store, _) =
                    open_node(&next, flush).unwrap_or_else(|error| panic!("{case}: {error}"));
                assert_eq!(store.lost_logs(), [], "{case}");
                let dirs = dirs(&next);
                let place = dirs.iter().find(|name| name.starts_with("flights-0"));
                let place = place.unwrap_or_else(|| panic!("{case}: {dirs:?}"));
                let segment = format!("/data/{place}/00000000000000000000.log");
                let bytes = read(&next, &segment);
                assert_eq!(millstream_records::batches(&bytes).count(), 3, "{case}");
                if is_over {
                    let [moved] = &aside.unwrap()[..] else {
                        panic!("{case}");
                    };
                    assert!(place.ends_with("-stray") || cuts_power, "{case}: {place}");
                    assert!(moved.to_string_lossy().ends_with("-stray"));
                    break;
                }
            }
        }
    }
}

#[test]
fn only_directories_that_we_have_named_are_removed() {
    for flush in MODES {
        for stop in STOPS {
            let fs = node_with_logs(flush, stop, 3);
            let theirs = [
                "/data/my-delete/letter",
                "/data/flights-0-delete/letter",
                "/data/a-0.0123-delete/letter",
                "/data/flights-0.0123456789abcdef0123456789abcdef-stray/letter",
            ];
            for path in theirs {
                write(&fs, path, b"dear");
            }
            let ours =
                "/data/flights-7.0123456789abcdef0123456789abcdef-delete/00000000000000000000.log";
            write(&fs, ours, b"x");
            let (store, report) = open_node(&fs, flush).unwrap();
            assert_eq!(report.problems, []);
            assert!(
                theirs
                    .iter()
                    .all(|path| fs.exists(Path::new(path)).unwrap())
            );
            assert!(!dirs(&fs).iter().any(|name| name.starts_with("flights-7")));
            drop(store);
        }
    }
}

#[test]
fn a_full_disk_gets_room_by_a_deletion() {
    let fs = SimFs::new(1);
    let (store, _) = open_node(&fs, FlushMode::Os).unwrap();
    for id in [metadata_log(), id(0)] {
        let log = store.create_log(id, LogConfig::default()).unwrap();
        append(&log, &[&"x".repeat(10_000)]);
    }
    store.checkpoint().unwrap();
    fs.set_capacity(Some(fs.used_bytes()));
    store.delete_log(&id(0).topic_id, 0).unwrap();
    let segment = Path::new("/data/flights-0/00000000000000000000.log");
    assert!(!fs.exists(segment).unwrap());
    let used = fs.used_bytes();
    assert!(used < 20_000, "{used} bytes are still used");
    fs.set_capacity(None);
    let fs = stopped(fs, store, Stop::Kill);
    let (store, report) = open_node(&fs, FlushMode::Os).unwrap();
    assert_eq!((report.problems.len(), store.lost_logs().len()), (0, 0));
    assert_eq!(dirs(&fs), ["__cluster_metadata-0"]);
}
