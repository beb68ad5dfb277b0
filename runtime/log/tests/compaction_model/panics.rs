//! A pass that panics, as a bug would have it, at each of its stages.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use millstream_log::fs::FileSystem;
use millstream_log::testing::{ManualClock, SimFs};
use millstream_log::{
    AppendOptions, CleanerOptions, FlushMode, Log, LogId, LogStore, StoreOptions, failpoint,
};
use millstream_records::{BatchBuilder, BatchOptions};
use uuid::Uuid;

use super::{NOW_MS, config, read_committed};

fn open(fs: &SimFs, enabled: bool) -> Arc<LogStore> {
    let options = StoreOptions {
        fs: Arc::new(fs.clone()),
        clock: Arc::new(ManualClock::new(NOW_MS)),
        cleaner: CleanerOptions {
            enabled,
            threads: 1,
            // Nothing happens a second time unless this test wants it.
            backoff_ms: 3_600_000,
            ..CleanerOptions::default()
        },
        ..StoreOptions::new(Path::new("/data"), FlushMode::Os)
    };
    let (store, report) = LogStore::open(options).unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    store
}

fn log(store: &LogStore, partition: i32) -> Arc<Log> {
    let id = LogId {
        topic_id: Uuid::from_u128(7),
        topic: "flights".into(),
        partition,
    };
    store.create_log(id, config()).unwrap()
}

/// What a log of this test is to show: its newest records.
fn newest(log: &Log) -> Vec<(String, Option<String>)> {
    let mut last = std::collections::BTreeMap::new();
    for (_, key, value, _) in read_committed(log) {
        last.insert(key, value);
    }
    last.into_iter().collect()
}

fn fill(log: &Log) {
    for number in 0..60 {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        let (key, value) = (format!("key-{}", number % 7), format!("value {number:060}"));
        builder
            .append(NOW_MS, Some(key.as_bytes()), Some(value.as_bytes()), [])
            .unwrap();
        let mut bytes = builder.build().unwrap();
        log.append(&mut bytes, AppendOptions::client(0)).unwrap();
    }
    log.roll_active().unwrap();
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The one thread meets two logs, and panics over the first at this stage. It goes on with the other, and the first is
/// compacted when it is tried again.
pub fn one_log_suffers(stage: &'static str) {
    let fs = SimFs::new(3);
    let store = open(&fs, false);
    let logs = [log(&store, 0), log(&store, 1)];
    logs.iter().for_each(|log| fill(log));
    store.checkpoint().unwrap();
    let before = logs.each_ref().map(|log| newest(log));
    let sizes = logs.each_ref().map(|log| log.size());
    failpoint::arm_call(stage, 1, move || panic!("a bug at {stage}"));
    let options = CleanerOptions {
        enabled: true,
        ..store.cleaner_options()
    };
    store.set_cleaner_options(options.clone());
    let compacted = || {
        let pairs = logs.iter().zip(sizes);
        pairs.filter(|(log, size)| log.size() < size / 2).count()
    };
    let uncleanable = || store.cleaner_metrics().uncleanable;
    wait_until(stage, || uncleanable().len() == 1 && compacted() >= 1);
    let found = uncleanable();
    let message = format!("panicked: a bug at {stage}");
    assert!(found[0].reason.contains(&message), "{found:?}");
    let suffering = &logs[usize::try_from(found[0].partition).unwrap()];
    let other = &logs[usize::try_from(1 - found[0].partition).unwrap()];
    wait_until("the other log", || other.size() < sizes[0] / 2);
    assert_eq!(logs.each_ref().map(|log| newest(log)), before, "{stage}");
    // What it has left half done is ended without a restart.
    store.set_cleaner_options(options);
    wait_until("the second attempt", || uncleanable().is_empty());
    wait_until("its end", || suffering.size() < sizes[0] / 2);
    store.finish_replacing();
    assert_eq!(logs.each_ref().map(|log| newest(log)), before, "{stage}");
    store.close_blocking().unwrap();
    for log in &logs {
        let names = fs.read_dir(log.dir()).unwrap();
        let is_strange = |name: &str| name.ends_with(".swap") || name.ends_with(".cleaned");
        assert!(
            names.iter().all(|entry| !is_strange(&entry.name)),
            "{stage}: {names:?}"
        );
    }
    drop((logs, store));
    let store = open(&fs, false);
    let logs = [log(&store, 0), log(&store, 1)];
    assert_eq!(logs.each_ref().map(|log| newest(log)), before, "{stage}");
}
