//! Throughput: producer → pipeline that maps every byte → `read_committed` reader, page-cache lane.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::client::{self, Tuning};
use crate::probe::process::{cpu_seconds, resident_mb};
use crate::report::Figure;
use crate::system::{self, Durability, INPUT, OUTPUT, PipelineSetup, Setup, SystemKind};

const RECORD_BYTES: usize = 100;
const RECORDS: f64 = 3_000_000.0;
const WARM_UP_RECORDS: f64 = 1_000_000.0;
const LIMIT: Duration = Duration::from_secs(180);

pub fn run(kind: SystemKind, scale: f64) -> Result<Vec<Figure>> {
    let dir = tempfile::tempdir()?;
    let pipeline = Some(PipelineSetup {
        commit_ms: 100,
        keep_bytes: 0,
    });
    let setup = Setup {
        settings: &[],
        data_dir: dir.path(),
        durability: Durability::Os,
        pipeline,
    };
    let system = system::start(kind, &setup)?;
    pass(&system.address(), (WARM_UP_RECORDS * scale) as u64)?;

    let records = (RECORDS * scale) as u64;
    let cpu_before = cpu_seconds(&system.processes())?;
    let begun = Instant::now();
    pass(&system.address(), records)?;
    let wall = begun.elapsed().as_secs_f64();
    let cpu = cpu_seconds(&system.processes())? - cpu_before;
    let millions = records as f64 / 1e6;
    Ok(vec![
        Figure::new("cpu_seconds_per_million", cpu / millions).aim("<= 1"),
        Figure::new("wall_seconds_per_million", wall / millions),
        Figure::new("records_per_second", records as f64 / wall),
        Figure::new("resident_mb_after", resident_mb(&system.processes())?),
    ])
}

/// Sends so many records and returns when all have been read at the other end.
fn pass(address: &str, records: u64) -> Result<()> {
    let reader = client::reader(address, OUTPUT)?;
    let sender = {
        let address = address.to_string();
        std::thread::spawn(move || -> Result<()> {
            let producer = client::producer(&address, Tuning::Throughput)?;
            let mut value = [b'x'; RECORD_BYTES];
            for number in 0..records {
                value[..20].copy_from_slice(format!("{number:020}").as_bytes());
                client::send(&producer, INPUT, &value)?;
            }
            client::flush(&producer)
        })
    };
    client::read(&reader, records, LIMIT)?;
    sender.join().expect("the sender does not panic")
}
