//! End to end at 1,000 records a second, open loop: producer → plugin → `read_committed` reader.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use rdkafka::message::Message;

use super::client::{self, Tuning};
use crate::probe::flush::FlushProbe;
use crate::probe::process::cpu_seconds;
use crate::report::Figure;
use crate::system::{self, Durability, INPUT, OUTPUT, PipelineSetup, Setup, SystemKind};

const RECORDS_PER_SECOND: u64 = 1_000;
const SECONDS: f64 = 20.0;
const WARM_UP_SECONDS: f64 = 8.0;
const RECORD_BYTES: usize = 100;
/// The time of sending, in nanoseconds since the run began, as hexadecimal digits.
const STAMP_BYTES: usize = 16;

pub fn run_os(kind: SystemKind, scale: f64) -> Result<Vec<Figure>> {
    let (histogram, mut figures) = run(kind, scale, Durability::Os)?;
    let quantile = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e6;
    figures.insert(0, Figure::new("p50_ms", quantile(0.5)).aim("< 1"));
    figures.insert(1, Figure::new("p99_ms", quantile(0.99)).aim("< 5"));
    Ok(figures)
}

pub fn run_flushed(kind: SystemKind, scale: f64) -> Result<Vec<Figure>> {
    let (histogram, mut figures) = run(kind, scale, Durability::Flushed)?;
    let quantile = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e6;
    figures.insert(
        0,
        Figure::new("p50_ms", quantile(0.5)).aim("<= disk_flush_p50_ms + 1"),
    );
    figures.insert(
        1,
        Figure::new("p99_ms", quantile(0.99)).aim("<= disk_flush_p99_ms + 5"),
    );
    Ok(figures)
}

fn run(
    kind: SystemKind,
    scale: f64,
    durability: Durability,
) -> Result<(Histogram<u64>, Vec<Figure>)> {
    let dir = tempfile::tempdir()?;
    // Streams is at its best with 10 ms; ours commits as soon as it has caught up.
    let pipeline = Some(PipelineSetup {
        commit_ms: 10,
        keep_bytes: STAMP_BYTES as u32,
    });
    let system = system::start(
        kind,
        &Setup {
            settings: &[],
            data_dir: dir.path(),
            durability,
            pipeline,
        },
    )?;
    pass(&system.address(), WARM_UP_SECONDS * scale)?;

    let seconds = SECONDS * scale;
    let probe = FlushProbe::start(dir.path());
    let cpu_before = cpu_seconds(&system.processes())?;
    let histogram = pass(&system.address(), seconds)?;
    let cpu = cpu_seconds(&system.processes())? - cpu_before;
    let disk = probe.stop()?;
    let figures = vec![
        Figure::new("max_ms", histogram.max() as f64 / 1e6),
        Figure::new("cpu_percent_of_a_core", cpu / seconds * 100.0),
        Figure::new("disk_flush_p50_ms", disk.p50_ms),
        Figure::new("disk_flush_p99_ms", disk.p99_ms),
    ];
    Ok((histogram, figures))
}

/// Sends on schedule, whatever comes back, and measures from the *scheduled* time of each record.
fn pass(address: &str, seconds: f64) -> Result<Histogram<u64>> {
    let records = (RECORDS_PER_SECOND as f64 * seconds) as u64;
    let reader = client::reader(address, OUTPUT)?;
    // The reader's first fetch must be under way before the clock starts.
    if let Some(message) = reader.poll(Duration::from_secs(1)) {
        message?;
    }
    let epoch = Instant::now();
    let sender = {
        let address = address.to_string();
        std::thread::spawn(move || send_on_schedule(&address, epoch, records))
    };
    let mut histogram = Histogram::new(3)?;
    let limit = Duration::from_secs_f64(seconds + 60.0);
    while histogram.len() < records {
        anyhow::ensure!(
            epoch.elapsed() < limit,
            "only {} of {records} records came",
            histogram.len()
        );
        if let Some(message) = reader.poll(Duration::from_millis(100)) {
            let message = message?;
            let now = u64::try_from(epoch.elapsed().as_nanos())?;
            let stamp = stamp_of(message.payload().unwrap_or_default())?;
            histogram.record(now.saturating_sub(stamp).max(1))?;
        }
    }
    sender.join().expect("the sender does not panic")?;
    Ok(histogram)
}

fn send_on_schedule(address: &str, epoch: Instant, records: u64) -> Result<()> {
    let producer = client::producer(address, Tuning::Latency)?;
    let interval = Duration::from_nanos(1_000_000_000 / RECORDS_PER_SECOND);
    let begun = epoch.elapsed() + Duration::from_millis(500);
    let mut value = [b'7'; RECORD_BYTES];
    for number in 0..records {
        let due = begun + interval * u32::try_from(number)?;
        if let Some(wait) = due.checked_sub(epoch.elapsed()) {
            std::thread::sleep(wait);
        }
        value[..STAMP_BYTES].copy_from_slice(format!("{:016x}", due.as_nanos()).as_bytes());
        client::send(&producer, INPUT, &value)?;
        producer.poll(Duration::ZERO);
    }
    client::flush(&producer)
}

fn stamp_of(value: &[u8]) -> Result<u64> {
    let stamp = value
        .get(..STAMP_BYTES)
        .context("a record that is too short")?;
    Ok(u64::from_str_radix(std::str::from_utf8(stamp)?, 16)?)
}
