//! When tombstones go, to the millisecond.

use std::time::Duration;

use super::{compacted, put, settle, view};
use crate::log::test_support::Rig;
use crate::{FlushMode, LogConfig};

const RETENTION_MS: u64 = 60_000;

fn keeps_tombstones() -> LogConfig {
    LogConfig {
        delete_retention_ms: RETENTION_MS as i64,
        ..compacted()
    }
}

/// Has another pass go over the whole log; whether offset 1 is left.
fn pass(rig: &Rig, log: &crate::Log) -> bool {
    put(log, "other", Some("value"));
    settle(rig, log);
    rig.store.clean_dirtiest().unwrap().unwrap();
    view(log).0.contains(&1)
}

#[test]
fn a_tombstone_goes_delete_retention_after_the_first_pass_and_not_before() {
    for mode in [FlushMode::Os, FlushMode::Journal] {
        let rig = Rig::new(mode);
        let log = rig.log_with(0, keeps_tombstones());
        put(&log, "gone", Some("value"));
        put(&log, "gone", None);
        // What counts is not how old it is.
        rig.clock.advance(Duration::from_millis(10 * RETENTION_MS));
        assert!(pass(&rig, &log));
        rig.clock.advance(Duration::from_millis(1));
        assert!(pass(&rig, &log));
        rig.clock.advance(Duration::from_millis(RETENTION_MS - 2));
        assert!(pass(&rig, &log), "a millisecond too early");
        rig.clock.advance(Duration::from_millis(1));
        assert!(view(&log).0.contains(&1), "no pass has come by");
        assert!(!pass(&rig, &log), "{mode}: its time has come");
        assert!(!view(&log).1.contains_key("gone"));
    }
}

#[test]
fn its_time_survives_restarts_and_other_settings() {
    let mut rig = Rig::new(FlushMode::Os);
    let log = rig.log_with(0, keeps_tombstones());
    put(&log, "gone", None);
    put(&log, "gone too", None);
    assert!(pass(&rig, &log));
    drop(log);
    rig = rig.close_and_reopen();
    let hasty = LogConfig {
        delete_retention_ms: 0,
        ..compacted()
    };
    let log = rig.log_with(0, hasty);
    rig.clock.advance(Duration::from_millis(RETENTION_MS - 1));
    assert!(pass(&rig, &log), "what the first pass has said holds");
    rig.clock.advance(Duration::from_millis(1));
    assert!(!pass(&rig, &log));
}

#[test]
fn a_tombstone_that_is_replaced_goes_at_once() {
    let rig = Rig::new(FlushMode::Os);
    let log = rig.log_with(0, keeps_tombstones());
    put(&log, "back", Some("value"));
    put(&log, "back", None);
    assert!(pass(&rig, &log));
    put(&log, "back", Some("again"));
    assert!(!pass(&rig, &log));
    assert_eq!(view(&log).1["back"], "again");
}
