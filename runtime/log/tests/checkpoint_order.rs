//! A checkpoint that is taken while logs are written and the journal's flush is slow: what it makes durable must not
//! get ahead of the journal, or an entry would survive without those before it.
//!
//! Alone in its binary, because fail points belong to the process.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use millstream_log::failpoint::{self, FailAction};
use millstream_log::testing::{ManualClock, SimFs};
use millstream_log::{AppendOptions, FlushMode, Log, LogConfig, LogId, LogStore, StoreOptions};
use millstream_records::{BatchBuilder, BatchOptions};
use uuid::Uuid;

const LOGS: i32 = 100;
const NOW_MS: i64 = 1_700_000_000_000;

fn open(fs: &SimFs) -> Arc<LogStore> {
    let options = StoreOptions {
        fs: Arc::new(fs.clone()),
        clock: Arc::new(ManualClock::new(NOW_MS)),
        ..StoreOptions::new(Path::new("/data"), FlushMode::Journal)
    };
    LogStore::open(options).unwrap().0
}

fn logs(store: &LogStore) -> Vec<Arc<Log>> {
    (0..LOGS)
        .map(|partition| {
            let id = LogId {
                topic_id: Uuid::from_u128(7),
                topic: "orders".to_owned(),
                partition,
            };
            store.create_log(id, LogConfig::default()).unwrap()
        })
        .collect()
}

fn batch() -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.append(NOW_MS, None, Some(b"v"), []).unwrap();
    builder.build().unwrap()
}

/// One record into each log in turn, until told to stop or the power is gone.
fn write(logs: &[Arc<Log>], stops: &AtomicBool) -> i64 {
    for round in 0.. {
        for log in logs {
            let appended = log.append(&mut batch(), AppendOptions::client(0));
            if stops.load(Ordering::Relaxed) || appended.is_err() {
                return round;
            }
        }
    }
    unreachable!("the loop has no end")
}

#[test]
fn a_checkpoint_does_not_get_ahead_of_the_journal() {
    for seed in 0..10 {
        let fs = SimFs::new(seed);
        let store = open(&fs);
        let logs_before = logs(&store);
        let first = logs_before[0]
            .append(&mut batch(), AppendOptions::client(0))
            .unwrap();
        store.flushed_blocking(first.lsn).unwrap();
        // From now on nothing becomes durable by the journal until the power is cut.
        failpoint::arm(
            "journal.before_sync",
            FailAction::Pause(Duration::from_millis(400)),
            1,
        );
        let stops = AtomicBool::new(false);
        let after = std::thread::scope(|scope| {
            let writer = scope.spawn(|| write(&logs_before, &stops));
            let taker = scope.spawn(|| drop(store.checkpoint()));
            std::thread::sleep(Duration::from_millis(100));
            let after = fs.power_cut(seed);
            stops.store(true, Ordering::Relaxed);
            assert!(writer.join().unwrap() > 0, "nothing was written meanwhile");
            taker.join().unwrap();
            after
        });
        failpoint::disarm_all();
        drop(logs_before);
        drop(store);
        let store = open(&after);
        let ends: Vec<i64> = logs(&store)
            .iter()
            .map(|log| log.offsets().log_end)
            .collect();
        // The first log had one record more from the start. Records came in turn, so no log may have more than one
        // before it, and none may have more than the one before it.
        let mut rounds = ends;
        rounds[0] -= 1;
        assert!(
            rounds.is_sorted_by(|a, b| a >= b),
            "seed {seed}: {rounds:?}"
        );
        assert!(
            rounds[0] - rounds[rounds.len() - 1] <= 1,
            "seed {seed}: {rounds:?}"
        );
    }
}
