//! Idempotent producers through a log, over restarts.

use super::support::*;
use crate::{AppendError, FlushMode, Isolation, LogConfig, ProducerError};

fn offsets_of(result: Result<crate::Appended, AppendError>) -> (i64, i64, bool) {
    let appended = result.unwrap();
    (
        appended.base_offset,
        appended.last_offset,
        appended.duplicate,
    )
}

#[test]
fn a_retry_of_the_last_five_batches_gets_its_old_offsets() {
    let rig = Rig::new(FlushMode::Os);
    let log = rig.log(0);
    for sequence in 0..6 {
        produce(&log, &["a", "b"], (1, 0, sequence * 2), false).unwrap();
    }
    for sequence in 1..6 {
        let retried = produce(&log, &["a", "b"], (1, 0, sequence * 2), false);
        let base = i64::from(sequence) * 2;
        assert_eq!(offsets_of(retried), (base, base + 1, true));
    }
    let forgotten = produce(&log, &["a", "b"], (1, 0, 0), false).unwrap_err();
    assert!(matches!(
        forgotten,
        AppendError::Producer(ProducerError::OutOfOrderSequence { .. })
    ));
    assert_eq!(log.offsets().log_end, 12, "nothing of it was stored");
}

#[test]
fn a_retry_waits_for_the_flush_of_the_first_attempt() {
    let rig = Rig::new(FlushMode::Journal);
    let log = rig.log(0);
    let first = produce(&log, &["a"], (1, 0, 0), false).unwrap();
    let retried = produce(&log, &["a"], (1, 0, 0), false).unwrap();
    assert!(retried.duplicate);
    assert!(retried.lsn >= first.lsn);
}

#[test]
fn producers_are_known_after_every_kind_of_restart() {
    for mode in [FlushMode::Os, FlushMode::Journal] {
        for (restart, checkpointed) in [
            ("close", false),
            ("kill", false),
            ("kill", true),
            ("power", true),
        ] {
            let mut rig = Rig::new(mode);
            let log = rig.log(0);
            let mut last = None;
            for sequence in 0..4 {
                last = Some(produce(&log, &["a"], (1, 5, sequence), false).unwrap());
            }
            flush(&rig.store, &last.unwrap());
            if checkpointed {
                rig.store.checkpoint().unwrap();
            }
            drop(log);
            rig = match restart {
                "close" => rig.close_and_reopen(),
                "kill" => rig.kill_and_reopen(1),
                _ => rig.cut_power_and_reopen(1),
            };
            let case = format!("{mode} {restart} {checkpointed}");
            let log = rig.log(0);
            for sequence in 0..4 {
                let retried = produce(&log, &["a"], (1, 5, sequence), false);
                assert!(
                    retried.is_ok_and(|found| found.duplicate),
                    "{case}: sequence {sequence}"
                );
            }
            produce(&log, &["a"], (1, 4, 9), false).unwrap_err();
            let next = produce(&log, &["a"], (1, 5, 4), false);
            assert_eq!(offsets_of(next), (4, 4, false), "{case}");
        }
    }
}

#[test]
fn log_append_time_is_stamped_and_answered_again_for_a_retry() {
    let rig = Rig::new(FlushMode::Os);
    let config = LogConfig {
        timestamp_type: millstream_records::TimestampType::LogAppendTime,
        ..LogConfig::default()
    };
    let log = rig.log_with(0, config);
    rig.clock.advance(std::time::Duration::from_secs(5));
    let first = produce(&log, &["a"], (1, 0, 0), false).unwrap();
    assert_eq!(first.log_append_time, NOW_MS + 5000);
    rig.clock.advance(std::time::Duration::from_secs(5));
    let retried = produce(&log, &["a"], (1, 0, 0), false).unwrap();
    assert_eq!(
        (retried.duplicate, retried.log_append_time),
        (true, NOW_MS + 5000)
    );
    let bytes = log
        .read(0, 1000, Isolation::Uncommitted, true)
        .unwrap()
        .bytes;
    let batch = millstream_records::BatchView::parse(&bytes).unwrap();
    batch.verify_crc().unwrap();
    assert_eq!(batch.header().max_timestamp, NOW_MS + 5000);
}

#[test]
fn what_a_client_may_not_send_is_refused_and_leaves_no_trace() {
    let rig = Rig::new(FlushMode::Os);
    let config = LogConfig {
        max_message_bytes: 500,
        ..LogConfig::default()
    };
    let log = rig.log_with(0, config);
    let options = crate::AppendOptions::client(3);
    let sound = batch_of(&["a"], None, false);
    let mut flipped = sound.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let marker =
        millstream_records::build_marker(millstream_records::Marker::Commit, 1, 0, 0, NOW_MS);
    let large = "x".repeat(500);
    for (case, bytes) in [
        ("nothing", Vec::new()),
        ("a cut batch", sound[..sound.len() - 1].to_vec()),
        ("less than a header", sound[..30].to_vec()),
        ("a wrong checksum", flipped),
        ("a control batch", marker),
        ("too large", batch_of(&[&large], None, false)),
        ("one sound, one cut", [&sound[..], &sound[..40]].concat()),
    ] {
        let result = log.append(&mut bytes.clone(), options);
        assert!(result.is_err(), "{case}");
    }
    assert_eq!(log.offsets().log_end, 0);
    assert_eq!(
        log.append(&mut [&sound[..], &sound[..]].concat(), options)
            .unwrap()
            .last_offset,
        1
    );
    let older = log
        .append(&mut sound.clone(), crate::AppendOptions::client(2))
        .unwrap_err();
    assert!(matches!(
        older,
        AppendError::StaleLeaderEpoch {
            current: 3,
            found: 2
        }
    ));
}

#[test]
fn a_timestamp_far_from_the_clock_is_refused() {
    let rig = Rig::new(FlushMode::Os);
    let config = LogConfig {
        timestamp_after_max_ms: 1000,
        timestamp_before_max_ms: 5000,
        ..LogConfig::default()
    };
    let log = rig.log_with(0, config);
    for (date, is_taken) in [
        (NOW_MS - 1000, true),
        (NOW_MS - 1001, false),
        (NOW_MS + 5000, true),
        (NOW_MS + 5001, false),
    ] {
        rig.clock.set_date(date);
        let result = try_append(&log, &["a"]);
        assert_eq!(result.is_ok(), is_taken, "{date}: {result:?}");
    }
}
