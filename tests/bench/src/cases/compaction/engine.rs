//! A pass over a log of our engine, in this process.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use millstream_log::{
    AppendOptions, CleanerOptions, CleanupPolicy, FlushMode, LogConfig, LogId, LogStore,
    StoreOptions,
};
use uuid::Uuid;

use super::{RECORD_BYTES, RECORDS_PER_BATCH, batch, p99_us};
use crate::report::Figure;

const LOG_BYTES: f64 = 4e9;
/// One record in so many is live.
const RECORDS_PER_KEY: u64 = 10;
/// How often the writer beside the pass writes.
const WRITE_EVERY: Duration = Duration::from_millis(1);

pub fn run(scale: f64) -> Result<Vec<Figure>> {
    let dir = tempfile::tempdir()?;
    let store = open(dir.path())?;
    let compacted = LogConfig {
        cleanup: CleanupPolicy {
            delete: false,
            compact: true,
        },
        ..LogConfig::default()
    };
    let log = store.create_log(id("filled"), compacted.clone())?;
    let records = (LOG_BYTES * scale) as u64 / RECORD_BYTES;
    let keys = (records / RECORDS_PER_KEY).max(1);
    for number in 0..records / RECORDS_PER_BATCH {
        log.append(
            &mut batch(number, RECORDS_PER_BATCH, keys)?,
            AppendOptions::client(0),
        )?;
    }
    log.roll_active()?;
    store.checkpoint()?;
    let other = store.create_log(id("other"), compacted)?;
    let quiet = append_for(&other, |begun| begun.elapsed() < Duration::from_secs(2))?;
    let is_over = AtomicBool::new(false);
    let (report, took, beside) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| append_for(&other, |_| !is_over.load(Ordering::Relaxed)));
        let begun = Instant::now();
        let report = store.clean_dirtiest();
        let took = begun.elapsed();
        is_over.store(true, Ordering::Relaxed);
        (report, took, writer.join())
    });
    let report = report?.context("the log was not due")?;
    let beside = match beside {
        Ok(times) => times?,
        Err(_) => bail!("the writer beside the pass has panicked"),
    };
    let live = report.bytes_after as f64 / report.bytes_before as f64;
    Ok(vec![
        Figure::new(
            "engine_mb_per_s",
            report.bytes_before as f64 / took.as_secs_f64() / 1e6,
        )
        .aim(">= 500"),
        Figure::new("engine_left_percent", 100.0 * live),
        Figure::new("engine_append_p99_us_without", p99_us(quiet)),
        Figure::new("engine_append_p99_us_beside", p99_us(beside)),
    ])
}

fn open(dir: &Path) -> Result<std::sync::Arc<LogStore>> {
    let options = StoreOptions {
        // The pass runs on this thread, when it is wanted.
        cleaner: CleanerOptions {
            enabled: false,
            ..CleanerOptions::default()
        },
        ..StoreOptions::new(dir.join("log"), FlushMode::Os)
    };
    Ok(LogStore::open(options)?.0)
}

fn id(topic: &str) -> LogId {
    LogId {
        topic_id: Uuid::new_v4(),
        topic: topic.to_owned(),
        partition: 0,
    }
}

/// Appends a batch now and then; how long each took.
fn append_for(
    log: &millstream_log::Log,
    goes_on: impl Fn(Instant) -> bool,
) -> Result<Vec<Duration>> {
    let begun = Instant::now();
    let mut times = Vec::new();
    while goes_on(begun) {
        let mut bytes = batch(0, RECORDS_PER_BATCH, 100)?;
        let each = Instant::now();
        log.append(&mut bytes, AppendOptions::client(0))?;
        times.push(each.elapsed());
        std::thread::sleep(WRITE_EVERY);
    }
    Ok(times)
}
