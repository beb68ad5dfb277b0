//! The log engine alone, in this process: appends, durable appends and reads against the least that a
//! plain program would do with the same bytes.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use millstream_log::{
    AppendOptions, FlushMode, Isolation, Log, LogConfig, LogId, LogStore, StoreOptions,
};
use uuid::Uuid;

use super::batches;
use crate::probe::process;
use crate::report::Figure;
use crate::system::SystemKind;

const BATCH_BYTES: usize = 65_536;
/// Bytes of one run of an append or a read at full scale.
const RUN_BYTES: f64 = 1e9;
/// As much as a journal holds between two checkpoints.
const WARM_UP_BYTES: usize = 512 << 20;
const READ_BYTES: usize = 1 << 20;
const SEGMENT_BYTES: u32 = 128 << 20;
/// How long each pair of writers and partitions is measured at full scale.
const FLUSHED_FOR: f64 = 2.0;
const CRC_COVERS_FROM: usize = 21;

/// Seconds of one run.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    cpu: f64,
    wall: f64,
}

fn cost_of(work: impl FnOnce() -> Result<()>) -> Result<Cost> {
    let own = [std::process::id()];
    let (cpu, begun) = (process::cpu_seconds(&own)?, Instant::now());
    work()?;
    Ok(Cost {
        wall: begun.elapsed().as_secs_f64(),
        cpu: process::cpu_seconds(&own)? - cpu,
    })
}

/// The floor, the work, the work, the floor; each pair added up.
fn against_floor(
    mut floor: impl FnMut() -> Result<Cost>,
    mut work: impl FnMut() -> Result<Cost>,
) -> Result<(Cost, Cost)> {
    let runs = [floor()?, work()?, work()?, floor()?];
    let sum = |a: Cost, b: Cost| Cost {
        cpu: a.cpu + b.cpu,
        wall: a.wall + b.wall,
    };
    Ok((sum(runs[0], runs[3]), sum(runs[1], runs[2])))
}

fn figures(name: &str, aim: &'static str, floor: Cost, work: Cost) -> Vec<Figure> {
    vec![
        Figure::new(format!("{name}_cpu_of_floor"), work.cpu / floor.cpu).aim(aim),
        Figure::new(format!("{name}_wall_of_floor"), work.wall / floor.wall),
        Figure::new(format!("{name}_cpu_s"), work.cpu / 2.0),
    ]
}

fn only_ours(kind: SystemKind) -> Result<()> {
    if kind != SystemKind::Millstream {
        bail!("this case runs our log engine only");
    }
    Ok(())
}

fn open(dir: &Path, flush: FlushMode) -> Result<Arc<LogStore>> {
    Ok(LogStore::open(StoreOptions::new(dir.join("log"), flush))?.0)
}

fn log_of(store: &LogStore, partition: i32) -> Result<Arc<Log>> {
    let id = LogId {
        topic_id: Uuid::from_u128(1),
        topic: "bench".to_owned(),
        partition,
    };
    let config = LogConfig {
        segment_bytes: SEGMENT_BYTES,
        ..LogConfig::default()
    };
    Ok(store.create_log(id, config)?)
}

/// Appends in batches of 64 KB against: read the bytes, compute their CRC-32C, write them once.
pub fn append(kind: SystemKind, scale: f64) -> Result<Vec<Figure>> {
    only_ours(kind)?;
    let mut all = Vec::new();
    for (record_bytes, name) in [(100, "100b"), (1_000, "1kb")] {
        let batch = batches::of_records(record_bytes, BATCH_BYTES)?;
        let count = (RUN_BYTES * scale / batch.len() as f64) as usize;
        for (flush, aim) in [(FlushMode::Os, "<= 1.5"), (FlushMode::Journal, "<= 2.5")] {
            let (floor, work) = against_floor(
                || append_plainly(&batch, count),
                || append_to_log(&batch, count, flush),
            )?;
            all.extend(figures(&format!("{name}_{flush}"), aim, floor, work));
        }
    }
    Ok(all)
}

fn append_plainly(batch: &[u8], count: usize) -> Result<Cost> {
    let dir = tempfile::tempdir()?;
    cost_of(|| {
        let file = File::create(dir.path().join("plain"))?;
        let mut checked = 0u32;
        for number in 0..count {
            checked ^= crc32c::crc32c(&batch[CRC_COVERS_FROM..]);
            file.write_all_at(batch, (number * batch.len()) as u64)?;
        }
        std::hint::black_box(checked);
        Ok(())
    })
}

fn append_to_log(batch: &[u8], count: usize, flush: FlushMode) -> Result<Cost> {
    let dir = tempfile::tempdir()?;
    let store = open(dir.path(), flush)?;
    let log = log_of(&store, 0)?;
    let mut batch = batch.to_vec();
    let mut append_all = |count: usize| {
        let mut last = None;
        for _ in 0..count {
            last = Some(log.append(&mut batch, AppendOptions::client(0))?.lsn);
        }
        if let Some(last) = last {
            store.flushed_blocking(last)?;
        }
        Ok(())
    };
    if flush == FlushMode::Journal {
        // A journal that has been running uses its files again; one that begins has to make them.
        append_all(WARM_UP_BYTES / BATCH_BYTES)?;
        store.checkpoint()?;
    }
    let cost = cost_of(|| append_all(count))?;
    // A checkpoint that is under way would write into the folder while it is removed.
    store.close_blocking()?;
    Ok(cost)
}

/// Reads rolled segments from their start to their end against `pread` of the same bytes.
pub fn read(kind: SystemKind, scale: f64) -> Result<Vec<Figure>> {
    only_ours(kind)?;
    let dir = tempfile::tempdir()?;
    let store = open(dir.path(), FlushMode::Os)?;
    let log = log_of(&store, 0)?;
    let mut batch = batches::of_records(1_000, BATCH_BYTES)?;
    let count = ((RUN_BYTES * scale) as usize).max(2 * SEGMENT_BYTES as usize) / batch.len();
    for _ in 0..count {
        log.append(&mut batch, AppendOptions::client(0))?;
    }
    // As on a node that has been running: the scrub has been over what was rolled.
    anyhow::ensure!(store.scrub().is_empty(), "the scrub found damage");
    let mut files: Vec<_> = std::fs::read_dir(log.dir())?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.retain(|path| path.extension().is_some_and(|one| one == "log"));
    let (floor, work) = against_floor(
        || {
            cost_of(|| {
                let mut buffer = vec![0; READ_BYTES];
                for path in &files {
                    let file = File::open(path)?;
                    let mut at = 0;
                    loop {
                        let read = file.read_at(&mut buffer, at)?;
                        if read == 0 {
                            break;
                        }
                        at += read as u64;
                    }
                }
                Ok(())
            })
        },
        || {
            cost_of(|| {
                let end = log.offsets().log_end;
                let mut at = 0;
                while at < end {
                    let read = log.read(at, READ_BYTES, Isolation::Uncommitted, true)?;
                    at = next_offset(&read.bytes)?;
                }
                Ok(())
            })
        },
    )?;
    store.close_blocking()?;
    let mut all = figures("read", "<= 1.3", floor, work);
    all.push(Figure::new(
        "read_mb_per_cpu_s",
        2.0 * (count * batch.len()) as f64 / 1e6 / work.cpu,
    ));
    Ok(all)
}

/// The offset behind the last of these batches.
fn next_offset(bytes: &[u8]) -> Result<i64> {
    let mut next = None;
    for batch in millstream_records::batches(bytes) {
        next = Some(batch?.header().next_offset());
    }
    next.ok_or_else(|| anyhow::anyhow!("a read gave nothing"))
}

/// Durable appends per second, and how many of them share a flush, beside the disk's own flushes.
pub fn flush(kind: SystemKind, scale: f64) -> Result<Vec<Figure>> {
    only_ours(kind)?;
    let dir = tempfile::tempdir()?;
    let lasts = Duration::from_secs_f64(FLUSHED_FOR * scale);
    let mut all = Vec::new();
    for partitions in [1, 16, 1_000] {
        for writers in [1, 64] {
            let before = plain_flushes(dir.path(), lasts / 2)?;
            let (appends, flushes) = durable_appends(partitions, writers, lasts)?;
            let after = plain_flushes(dir.path(), lasts / 2)?;
            let name = format!("{partitions}p_{writers}w");
            let floor = (before + after) / 2.0;
            all.push(Figure::new(format!("{name}_appends_per_s"), appends));
            all.push(Figure::new(
                format!("{name}_appends_per_flush"),
                appends / flushes,
            ));
            all.push(Figure::new(
                format!("{name}_flushes_of_plain_loop"),
                flushes / floor,
            ));
        }
    }
    Ok(all)
}

/// A plain loop of write and fdatasync on a file that has its blocks: flushes per second.
fn plain_flushes(dir: &Path, lasts: Duration) -> Result<f64> {
    let path = dir.join("plain");
    let file = File::create(&path)?;
    let block = vec![1; 4_096];
    file.write_all_at(&vec![0; 1 << 20], 0)?;
    file.sync_all()?;
    let begun = Instant::now();
    let mut count = 0u64;
    while begun.elapsed() < lasts {
        file.write_all_at(&block, count % 256 * 4_096)?;
        file.sync_data()?;
        count += 1;
    }
    let rate = count as f64 / begun.elapsed().as_secs_f64();
    std::fs::remove_file(&path)?;
    Ok(rate)
}

/// Appends and flushes per second.
fn durable_appends(partitions: i32, writers: i32, lasts: Duration) -> Result<(f64, f64)> {
    let dir = tempfile::tempdir()?;
    let store = open(dir.path(), FlushMode::Journal)?;
    let logs: Vec<Arc<Log>> = (0..partitions)
        .map(|partition| log_of(&store, partition))
        .collect::<Result<_>>()?;
    let mut batch = batches::of_records(100, 100)?;
    // A log makes its files at its first append.
    for log in &logs {
        log.append(&mut batch, AppendOptions::client(0))?;
    }
    store.checkpoint()?;
    let (flushes, begun) = (store.journal_flushes(), Instant::now());
    let appends = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..writers)
            .map(|writer| {
                let (store, logs, mut batch) = (&store, &logs, batch.clone());
                scope.spawn(move || -> Result<u64> {
                    let mut count = 0;
                    let mut turn = writer as usize;
                    while begun.elapsed() < lasts {
                        let log = &logs[turn % logs.len()];
                        let appended = log.append(&mut batch, AppendOptions::client(0))?;
                        store.flushed_blocking(appended.lsn)?;
                        count += 1;
                        turn += writers as usize;
                    }
                    Ok(count)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a writer does not panic"))
            .sum::<Result<u64>>()
    })?;
    let seconds = begun.elapsed().as_secs_f64();
    let flushes = store.journal_flushes() - flushes;
    store.close_blocking()?;
    Ok((appends as f64 / seconds, flushes as f64 / seconds))
}
