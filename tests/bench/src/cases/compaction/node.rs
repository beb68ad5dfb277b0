//! A pass of a node's one cleaner thread, ours or Kafka's, and produce requests of a client beside it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::{RECORD_BYTES, RECORDS_PER_BATCH, batch, p99_us};
use crate::cases::client;
use crate::cases::raw::RawClient;
use crate::report::Figure;
use crate::system::{self, Durability, Setup, System, SystemKind};

const FILLED: &str = "filled";
const OTHER: &str = "other";
const LOG_BYTES: f64 = 2e9;
/// One record in so many is live.
const RECORDS_PER_KEY: u64 = 5;
const SEGMENT_BYTES: f64 = 128e6;
/// Of the client beside: a request of so many records as often as this.
const BESIDE_RECORDS: u64 = 32;
const BESIDE_EVERY: Duration = Duration::from_millis(1);
const WITHOUT: Duration = Duration::from_secs(4);
/// The cleaner comes soon, and what is on the disk is known to be there soon.
const SETTINGS: [&str; 3] = [
    "log.cleaner.threads=1",
    "log.cleaner.backoff.ms=200",
    "log.flush.offset.checkpoint.interval.ms=1000",
];
const LIMIT: Duration = Duration::from_secs(300);
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub fn run(kind: SystemKind, scale: f64) -> Result<Vec<Figure>> {
    let dir = tempfile::tempdir()?;
    let system = system::start(
        kind,
        &Setup {
            data_dir: dir.path(),
            durability: Durability::Os,
            pipeline: None,
            settings: &SETTINGS,
        },
    )?;
    client::create_topics(&system.address(), &[FILLED, OTHER])?;
    let mut client = RawClient::connect(system.address().parse()?)?;
    let segment_bytes = format!("{:.0}", (SEGMENT_BYTES * scale.min(1.0)).max(2e6));
    // The records are of one time, which is long ago.
    client.alter_topic(
        FILLED,
        &[("segment.bytes", &segment_bytes), ("retention.ms", "-1")],
    )?;
    client.alter_topic(OTHER, &[("retention.ms", "-1")])?;
    fill(&mut client, (LOG_BYTES * scale) as u64 / RECORD_BYTES)?;

    let address = system.address().parse()?;
    let quiet = produce(address, |begun| begun.elapsed() < WITHOUT)?;
    let before = rolled_bytes(&system.logs().join(format!("{FILLED}-0")))?;
    let is_over = AtomicBool::new(false);
    let (pass, beside) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| produce(address, |_| !is_over.load(Ordering::SeqCst)));
        let pass = compact(&*system, &mut client);
        is_over.store(true, Ordering::SeqCst);
        (pass, writer.join())
    });
    let (ended, took) = pass?;
    let beside =
        beside.map_err(|_| anyhow::anyhow!("the client beside the pass has panicked"))??;
    let is_beside = |sent: &Sent| sent.at + took >= ended && sent.at <= ended;
    let beside: Vec<_> = beside.into_iter().filter(is_beside).collect();
    let after = rolled_bytes(&system.logs().join(format!("{FILLED}-0")))?;
    let times = |sent: Vec<Sent>| sent.into_iter().map(|one| one.took).collect();
    Ok(vec![
        Figure::new("node_mb_per_s", before / took.as_secs_f64() / 1e6),
        Figure::new("node_left_percent", 100.0 * after / before),
        Figure::new("produce_p99_us_without", p99_us(times(quiet))),
        Figure::new("produce_p99_us_beside", p99_us(times(beside))),
    ])
}

fn fill(client: &mut RawClient, records: u64) -> Result<()> {
    let keys = (records / RECORDS_PER_KEY).max(1);
    for number in 0..records / RECORDS_PER_BATCH {
        let set = batch(number, RECORDS_PER_BATCH, keys)?;
        send(client, FILLED, &set)?;
    }
    Ok(())
}

fn send(client: &mut RawClient, topic: &str, set: &[u8]) -> Result<()> {
    let answers = client.produce(topic, &[(0, set)])?;
    ensure!(answers == [(0, 0)], "{topic} answered {answers:?}");
    Ok(())
}

/// A request, when it was sent and how long the answer took.
struct Sent {
    at: Instant,
    took: Duration,
}

fn produce(address: SocketAddr, goes_on: impl Fn(Instant) -> bool) -> Result<Vec<Sent>> {
    let mut client = RawClient::connect(address)?;
    let set = batch(0, BESIDE_RECORDS, 100)?;
    let begun = Instant::now();
    let mut sent = Vec::new();
    while goes_on(begun) {
        let at = Instant::now();
        send(&mut client, OTHER, &set)?;
        sent.push(Sent {
            at,
            took: at.elapsed(),
        });
        std::thread::sleep(BESIDE_EVERY);
    }
    Ok(sent)
}

/// Lets the cleaner have the topic; when its pass ended and how long it took, as the system says itself.
fn compact(system: &dyn System, client: &mut RawClient) -> Result<(Instant, Duration)> {
    client.alter_topic(FILLED, &[("cleanup.policy", "compact")])?;
    let begun = Instant::now();
    while begun.elapsed() < LIMIT {
        if let Some(took) = system.compaction_time(FILLED)? {
            return Ok((Instant::now(), took));
        }
        std::thread::sleep(LOOK_EVERY);
    }
    bail!("the cleaner has not come within {LIMIT:?}")
}

/// Bytes of a partition's segments but the active one.
fn rolled_bytes(dir: &Path) -> Result<f64> {
    let mut segments = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".log") {
            segments.push((name, entry.metadata()?.len()));
        }
    }
    segments.sort();
    segments.pop().context("no segments")?;
    Ok(segments.iter().map(|(_, bytes)| *bytes as f64).sum())
}
