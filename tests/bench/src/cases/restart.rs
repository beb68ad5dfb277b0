//! A node with much data, killed while all of its partitions are being written: how long until every
//! partition has acknowledged a write and served a read, with a warm cache, and in how much memory.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::batches;
use super::client;
use super::raw::RawClient;
use crate::probe::process;
use crate::report::Figure;
use crate::system::{Durability, Millstream, Setup, System, SystemKind};

const TOPICS: [&str; 10] = ["r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9"];
/// One topic after the other in requests of so many partitions.
const PARTITIONS_PER_REQUEST: usize = 50;
/// Bytes of a batch while the node is filled, and while it is killed.
const FILL_BATCH_BYTES: usize = 65_536;
const WRITE_BATCH_BYTES: usize = 1_000;
/// How long all partitions are written before the kill.
const WRITTEN_FOR: Duration = Duration::from_secs(4);
const LIMIT: Duration = Duration::from_secs(120);
/// Long enough for the disk to have what was written, so that the restart is not a wait for it.
const SETTLE: Duration = Duration::from_secs(3);

pub fn run_thousand(kind: SystemKind, scale: f64) -> Result<Vec<Figure>> {
    measure(kind, (1_000.0 * scale.min(1.0)) as i32, 10e9 * scale)
}

pub fn run_ten_thousand(kind: SystemKind, scale: f64) -> Result<Vec<Figure>> {
    let mut figures = measure(kind, (10_000.0 * scale.min(1.0)) as i32, 2e9 * scale)?;
    for figure in &mut figures {
        figure.aim = match figure.name.as_str() {
            "exec_to_all_written_and_read_ms" => "< 5000",
            "resident_mb" => "< 512",
            _ => "",
        };
    }
    Ok(figures)
}

fn measure(kind: SystemKind, partitions: i32, bytes: f64) -> Result<Vec<Figure>> {
    if kind != SystemKind::Millstream {
        bail!("this case runs our node only");
    }
    let dir = tempfile::tempdir()?;
    let per_topic = (partitions / TOPICS.len() as i32).max(1);
    let rounds = bytes / f64::from(per_topic * TOPICS.len() as i32) / FILL_BATCH_BYTES as f64;
    fill(dir.path(), per_topic, (rounds as usize).max(1))?;

    let node = start(dir.path(), Durability::Flushed)?;
    let written = write_until_killed(node, per_topic)?;
    std::thread::sleep(SETTLE);
    let begun = Instant::now();
    let node = start(dir.path(), Durability::Flushed)?;
    let listening = milliseconds(begun);
    let mut client = RawClient::connect(node.address().parse()?)?;
    for topic in TOPICS {
        write_everywhere(&mut client, topic, per_topic)?;
    }
    let all_written = milliseconds(begun);
    for topic in TOPICS {
        read_everywhere(&mut client, topic, per_topic)?;
    }
    let all_read = milliseconds(begun);
    let memory = process::resident_mb(&node.processes())?;
    let cpu = process::cpu_seconds(&node.processes())?;
    drop(client);
    let begun = Instant::now();
    node.stop()?;
    let stopped = milliseconds(begun);
    let begun = Instant::now();
    let node = start(dir.path(), Durability::Flushed)?;
    let clean = milliseconds(begun);
    RawClient::connect(node.address().parse()?)?.brokers()?;
    node.stop()?;
    Ok(vec![
        Figure::new("written_before_the_kill_mb", written as f64 / 1e6),
        Figure::new("exec_to_listening_ms", listening),
        Figure::new("exec_to_all_written_ms", all_written),
        Figure::new("exec_to_all_written_and_read_ms", all_read).aim("< 1000"),
        Figure::new("resident_mb", memory),
        Figure::new("cpu_s", cpu),
        Figure::new("clean_stop_ms", stopped),
        Figure::new("exec_to_listening_after_clean_stop_ms", clean),
    ])
}

fn milliseconds(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1e3
}

fn start(data_dir: &Path, durability: Durability) -> Result<Millstream> {
    Millstream::start(&Setup {
        settings: &[],
        data_dir,
        durability,
        pipeline: None,
    })
}

/// Makes the topics and fills every partition; without a journal, which would write it twice.
fn fill(dir: &Path, per_topic: i32, rounds: usize) -> Result<()> {
    let node = start(dir, Durability::Os)?;
    client::create_topics_of(&node.address(), &TOPICS, per_topic)?;
    let mut client = RawClient::connect(node.address().parse()?)?;
    // What is read after the restart: the first record of each partition, in a batch of its own.
    let first = batches::of_records(WRITE_BATCH_BYTES, WRITE_BATCH_BYTES)?;
    for topic in TOPICS {
        send_to_all(&mut client, topic, per_topic, &first)?;
    }
    let batch = batches::of_records(1_000, FILL_BATCH_BYTES)?;
    for _ in 0..rounds {
        for topic in TOPICS {
            send_to_all(&mut client, topic, per_topic, &batch)?;
        }
    }
    drop(client);
    node.stop()
}

/// Bytes that were acknowledged in the last seconds of the node's life.
fn write_until_killed(node: Millstream, per_topic: i32) -> Result<usize> {
    let address: SocketAddr = node.address().parse()?;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| -> Result<usize> {
            let mut client = RawClient::connect(address)?;
            let batch = batches::of_records(WRITE_BATCH_BYTES, WRITE_BATCH_BYTES)?;
            let mut written = 0;
            loop {
                for topic in TOPICS {
                    match send_to_all(&mut client, topic, per_topic, &batch) {
                        Ok(()) => written += batch.len() * per_topic as usize,
                        Err(_) if stop.load(Ordering::SeqCst) => return Ok(written),
                        Err(error) => return Err(error),
                    }
                }
            }
        });
        std::thread::sleep(WRITTEN_FOR);
        stop.store(true, Ordering::SeqCst);
        node.kill()?;
        writer.join().expect("the writer does not panic")
    })
}

fn send_to_all(client: &mut RawClient, topic: &str, per_topic: i32, batch: &[u8]) -> Result<()> {
    let sets: Vec<(i32, &[u8])> = (0..per_topic).map(|index| (index, batch)).collect();
    for chunk in sets.chunks(PARTITIONS_PER_REQUEST) {
        let refused = client.produce(topic, chunk)?;
        ensure!(
            refused.len() == chunk.len(),
            "an answer for {topic} is short"
        );
        if let Some((partition, code)) = refused.iter().find(|(_, code)| *code != 0) {
            bail!("{topic}-{partition} answered {code}");
        }
    }
    Ok(())
}

/// Until each partition has acknowledged a write.
fn write_everywhere(client: &mut RawClient, topic: &str, per_topic: i32) -> Result<()> {
    let batch = batches::of_records(WRITE_BATCH_BYTES, WRITE_BATCH_BYTES)?;
    let begun = Instant::now();
    let mut left: Vec<i32> = (0..per_topic).collect();
    while !left.is_empty() {
        ensure!(
            begun.elapsed() < LIMIT,
            "{} partitions take nothing",
            left.len()
        );
        for chunk in left.clone().chunks(PARTITIONS_PER_REQUEST) {
            let sets: Vec<(i32, &[u8])> = chunk.iter().map(|index| (*index, &batch[..])).collect();
            for (partition, code) in client.produce(topic, &sets)? {
                if code == 0 {
                    left.retain(|one| *one != partition);
                }
            }
        }
    }
    Ok(())
}

/// Until each partition has served its first record.
fn read_everywhere(client: &mut RawClient, topic: &str, per_topic: i32) -> Result<()> {
    let begun = Instant::now();
    let mut left: Vec<i32> = (0..per_topic).collect();
    while !left.is_empty() {
        ensure!(
            begun.elapsed() < LIMIT,
            "{} partitions serve nothing",
            left.len()
        );
        for chunk in left.clone().chunks(PARTITIONS_PER_REQUEST) {
            let from: Vec<(i32, i64)> = chunk.iter().map(|index| (*index, 0)).collect();
            let served = client
                .fetch_many(topic, &from)
                .with_context(|| format!("reading {topic}"))?;
            left.retain(|one| !served.contains(one));
        }
    }
    Ok(())
}
