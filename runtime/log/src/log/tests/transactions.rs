//! Transactions: what `read_committed` sees, and when.

use millstream_records::Marker;

use super::support::*;
use crate::{AbortedTxn, AppendError, FlushMode, Isolation, LogConfig};

#[test]
fn a_committed_reader_stops_at_the_first_open_transaction() {
    let rig = Rig::new(FlushMode::Os);
    let log = rig.log(0);
    append(&log, &["plain"]);
    produce(&log, &["one"], (1, 0, 0), true).unwrap();
    produce(&log, &["two"], (2, 0, 0), true).unwrap();
    append(&log, &["behind"]);
    assert_eq!(log.offsets().last_stable, 1);
    assert_eq!(values_from(&log, 0, Isolation::Committed).len(), 1);
    assert_eq!(values_from(&log, 0, Isolation::Uncommitted).len(), 4);
    log.append_marker(Marker::Commit, 1, 0, 0, 0).unwrap();
    assert_eq!(log.offsets().last_stable, 2);
    log.append_marker(Marker::Commit, 2, 0, 0, 0).unwrap();
    assert_eq!(log.offsets().last_stable, 6);
    assert_eq!(values_from(&log, 0, Isolation::Committed).len(), 4);
}

#[test]
fn an_unflushed_marker_ends_nothing_but_for_stages_of_this_node() {
    let rig = Rig::new(FlushMode::Journal);
    let log = rig.log(0);
    let data = produce(&log, &["one"], (1, 0, 0), true).unwrap();
    flush(&rig.store, &data);
    rig.fail_journal_syncs();
    let marker = log.append_marker(Marker::Commit, 1, 0, 0, 0).unwrap();
    rig.store.flushed_blocking(marker.lsn).unwrap_err();
    let offsets = log.offsets();
    assert_eq!((offsets.high_watermark, offsets.last_stable), (1, 0));
    assert_eq!((offsets.log_end, offsets.appended_last_stable), (2, 2));
    assert_eq!(values_from(&log, 0, Isolation::Committed), []);
    assert_eq!(values_from(&log, 0, Isolation::CommittedUnflushed).len(), 1);
    let refused = try_append(&log, &["more"]).unwrap_err();
    assert!(matches!(refused, AppendError::Poisoned { .. }), "{refused}");
}

fn aborted_in(log: &crate::Log, from: i64, isolation: Isolation) -> Vec<AbortedTxn> {
    log.read(from, 1 << 20, isolation, true).unwrap().aborted
}

#[test]
fn aborted_transactions_are_named_over_segments_and_restarts() {
    for mode in [FlushMode::Os, FlushMode::Journal] {
        let mut rig = Rig::new(mode);
        let config = LogConfig {
            segment_bytes: 400,
            ..LogConfig::default()
        };
        let log = rig.log_with(0, config.clone());
        produce(&log, &["aborted"], (1, 0, 0), true).unwrap();
        for _ in 0..10 {
            append(&log, &["between"]);
        }
        log.append_marker(Marker::Abort, 1, 0, 0, 0).unwrap();
        produce(&log, &["kept"], (2, 0, 0), true).unwrap();
        let last = log.append_marker(Marker::Commit, 2, 0, 0, 0).unwrap();
        flush(&rig.store, &last);
        assert!(log.segments.read().len() > 2);
        drop(log);
        let expected = [AbortedTxn {
            producer_id: 1,
            first_offset: 0,
        }];
        for round in 0..4 {
            let log = rig.log_with(0, config.clone());
            assert_eq!(
                aborted_in(&log, 0, Isolation::Committed),
                expected,
                "round {round}"
            );
            assert_eq!(
                aborted_in(&log, 5, Isolation::Committed),
                expected,
                "it ends behind 5"
            );
            assert_eq!(aborted_in(&log, 12, Isolation::Committed), []);
            assert_eq!(aborted_in(&log, 0, Isolation::Uncommitted), []);
            drop(log);
            rig = match round {
                0 => rig.kill_and_reopen(1),
                1 => rig.close_and_reopen(),
                _ => {
                    rig.store.checkpoint().unwrap();
                    rig.cut_power_and_reopen(3)
                }
            };
            assert_eq!(rig.report.problems, []);
        }
    }
}

#[test]
fn a_transaction_without_data_here_is_not_indexed() {
    let rig = Rig::new(FlushMode::Os);
    let log = rig.log(0);
    append(&log, &["a"]);
    log.append_marker(Marker::Abort, 1, 0, 0, 0).unwrap();
    assert_eq!(aborted_in(&log, 0, Isolation::Committed), []);
    assert_eq!(log.offsets().last_stable, 2);
}

#[test]
fn an_open_transaction_is_open_after_a_restart() {
    for mode in [FlushMode::Os, FlushMode::Journal] {
        for restart in 0..3 {
            let mut rig = Rig::new(mode);
            let log = rig.log(0);
            append(&log, &["plain"]);
            let last = produce(&log, &["open"], (1, 3, 0), true).unwrap();
            flush(&rig.store, &last);
            drop(log);
            rig = match restart {
                0 => rig.close_and_reopen(),
                1 => rig.kill_and_reopen(1),
                _ => {
                    rig.store.checkpoint().unwrap();
                    rig.cut_power_and_reopen(1)
                }
            };
            let log = rig.log(0);
            assert_eq!(log.offsets().last_stable, 1, "{mode} {restart}");
            assert!(log.has_ongoing_transaction(1, 3));
            produce(&log, &["more"], (1, 3, 1), true).unwrap();
            let marker = log.append_marker(Marker::Commit, 1, 3, 0, 0).unwrap();
            flush(&rig.store, &marker);
            assert_eq!(log.offsets().last_stable, 4);
        }
    }
}

/// The checkpoint counts the entries of the active segment's indexes: whatever rewrites those must sync them.
#[test]
fn an_index_that_a_quiet_start_looked_at_survives_the_next_power_cut() {
    let expected = [AbortedTxn {
        producer_id: 1,
        first_offset: 0,
    }];
    for seed in 0..40 {
        let rig = Rig::new(FlushMode::Journal);
        let log = rig.log(0);
        produce(&log, &["aborted"], (1, 0, 0), true).unwrap();
        let marker = log.append_marker(Marker::Abort, 1, 0, 0, 0).unwrap();
        flush(&rig.store, &marker);
        rig.store.checkpoint().unwrap();
        drop(log);
        let rig = rig.kill_and_reopen(seed).close_and_reopen();
        assert_eq!(aborted_in(&rig.log(0), 0, Isolation::Committed), expected);
        rig.store.checkpoint().unwrap();
        let rig = rig.cut_power_and_reopen(seed);
        let found = aborted_in(&rig.log(0), 0, Isolation::Committed);
        assert_eq!(found, expected, "seed {seed}");
    }
}
