//! What is appended is read back, by the rules of visibility.

use super::support::*;
use crate::{FlushMode, Isolation, ReadError};

fn expected(values: &[&str]) -> Vec<(i64, String)> {
    (0..)
        .zip(values.iter().map(|value| (*value).to_owned()))
        .collect()
}

#[test]
fn appended_batches_get_the_next_offsets_and_come_back() {
    for mode in [FlushMode::Os, FlushMode::Journal] {
        let rig = Rig::new(mode);
        let log = rig.log(0);
        let first = append(&log, &["a", "b"]);
        let second = append(&log, &["c"]);
        assert_eq!((first.base_offset, first.last_offset), (0, 1));
        assert_eq!((second.base_offset, second.last_offset), (2, 2));
        flush(&rig.store, &second);
        assert_eq!(
            values_from(&log, 0, Isolation::Uncommitted),
            expected(&["a", "b", "c"])
        );
        assert_eq!(
            values_from(&log, 1, Isolation::Committed),
            expected(&["a", "b", "c"])[1..]
        );
        assert_eq!(log.offsets().high_watermark, 3);
    }
}

#[test]
fn a_log_takes_appends_of_its_writers_alone() {
    use crate::{AppendError, AppendOptions, AppendOrigin, LogConfig, Writers};
    let [client, task, coordinator] = [
        AppendOptions::client(0),
        AppendOptions::task(0),
        AppendOptions::coordinator(0),
    ];
    for (writers, admitted) in [
        (Writers::Anyone, [true, true, true]),
        (Writers::Node, [false, true, true]),
        (Writers::Coordinators, [false, false, true]),
    ] {
        let rig = Rig::new(FlushMode::Os);
        let config = LogConfig {
            writers,
            ..LogConfig::default()
        };
        let log = rig.log_with(0, config);
        for (options, is_admitted) in [client, task, coordinator].into_iter().zip(admitted) {
            let mut batch = batch_of(&["a"], None, false);
            let origin: AppendOrigin = options.origin;
            match log.append(&mut batch, options) {
                Ok(_) => assert!(is_admitted, "{writers:?} {origin}"),
                Err(AppendError::NotAdmitted { origin: told, .. }) => {
                    assert!(!is_admitted && told == origin, "{writers:?} {origin}");
                }
                Err(error) => panic!("{error}"),
            }
        }
        let appended = admitted.into_iter().filter(|is_admitted| *is_admitted);
        assert_eq!(log.offsets().log_end, appended.count() as i64);
    }
}

#[test]
fn offsets_outside_the_log_are_out_of_range_and_its_end_is_empty() {
    let rig = Rig::new(FlushMode::Os);
    let log = rig.log(0);
    append(&log, &["a"]);
    assert!(
        log.read(1, 100, Isolation::Uncommitted, true)
            .unwrap()
            .bytes
            .is_empty()
    );
    for outside in [-1, 2] {
        let error = log
            .read(outside, 100, Isolation::Uncommitted, true)
            .unwrap_err();
        assert!(
            matches!(
                error,
                ReadError::OffsetOutOfRange {
                    log_start: 0,
                    log_end: 1,
                    ..
                }
            ),
            "{error}"
        );
    }
}

#[test]
fn a_log_comes_back_after_a_clean_close_and_after_a_crash() {
    for mode in [FlushMode::Os, FlushMode::Journal] {
        let mut rig = Rig::new(mode);
        let log = rig.log(0);
        append(&log, &["a", "b"]);
        drop(log);
        rig = rig.close_and_reopen();
        assert!(rig.report.was_clean);
        let log = rig.log(0);
        assert_eq!(
            values_from(&log, 0, Isolation::Uncommitted),
            expected(&["a", "b"])
        );
        let last = append(&log, &["c"]);
        flush(&rig.store, &last);
        drop(log);
        rig = rig.reopen();
        assert!(!rig.report.was_clean);
        assert_eq!(rig.report.problems, []);
        assert_eq!(
            values_from(&rig.log(0), 0, Isolation::Uncommitted),
            expected(&["a", "b", "c"])
        );
    }
}

#[test]
fn a_watcher_is_woken_when_an_offset_moves_and_when_writes_stop() {
    use std::future::Future;
    use std::sync::Arc;
    use std::task::{Context, Waker};

    let woken = |notify: &tokio::sync::Notify| {
        let mut context = Context::from_waker(Waker::noop());
        std::pin::pin!(notify.notified())
            .poll(&mut context)
            .is_ready()
    };
    let rig = Rig::new(FlushMode::Journal);
    let log = rig.log(0);
    let notify = Arc::new(tokio::sync::Notify::new());
    let guard = log.watch(Arc::clone(&notify));
    assert!(!woken(&notify));
    let last = append(&log, &["a"]);
    assert!(woken(&notify), "the log end moved");
    flush(&rig.store, &last);
    // The flush may have come before the permit was taken.
    let last = append(&log, &["b"]);
    flush(&rig.store, &last);
    assert!(woken(&notify), "the high watermark moved");
    assert_eq!(log.offsets().high_watermark, 2);
    while woken(&notify) {}
    rig.store.close_blocking().unwrap();
    assert!(woken(&notify), "nothing more comes");
    drop(guard);
}

#[test]
fn readers_beside_appends_see_every_record_once_and_in_order() {
    use std::sync::atomic::{AtomicBool, Ordering};

    const RECORDS: i64 = 3000;
    for mode in [FlushMode::Os, FlushMode::Journal] {
        let rig = Rig::new(mode);
        let config = crate::LogConfig {
            segment_bytes: 5000,
            index_interval_bytes: 200,
            ..crate::LogConfig::default()
        };
        let log = rig.log_with(0, config);
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut next = 0;
                    loop {
                        let over = is_over.load(Ordering::Acquire);
                        let found = log.read(next, 1000, Isolation::Uncommitted, true).unwrap();
                        for batch in millstream_records::batches(&found.bytes) {
                            let header = *batch.unwrap().header();
                            assert_eq!(header.base_offset, next);
                            next = header.next_offset();
                        }
                        assert!(next <= log.offsets().high_watermark);
                        if over && found.bytes.is_empty() {
                            break;
                        }
                    }
                    assert_eq!(next, RECORDS);
                });
            }
            let write = || {
                let mut last = append(&log, &["v"]);
                for _ in 1..RECORDS / 2 {
                    last = append(&log, &["v"]);
                }
                last
            };
            let writers = [scope.spawn(write), scope.spawn(write)];
            for writer in writers {
                flush(&rig.store, &writer.join().unwrap());
            }
            rig.store.checkpoint().unwrap();
            is_over.store(true, Ordering::Release);
        });
    }
}
