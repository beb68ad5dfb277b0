//! From exec to the first answered Metadata, and to the first committed output of a pipeline whose
//! plugin is compiled already.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::client::{self, Tuning};
use super::raw::RawClient;
use crate::report::Figure;
use crate::system::{
    Durability, INPUT, Kafka, Millstream, OUTPUT, PipelineSetup, Setup, System, SystemKind,
};

const ROUNDS: usize = 5;
const LIMIT: Duration = Duration::from_secs(60);

pub fn run(kind: SystemKind, _scale: f64) -> Result<Vec<Figure>> {
    let dir = tempfile::tempdir()?;
    match kind {
        SystemKind::Millstream => {
            let metadata = median(ROUNDS, || millstream_metadata(dir.path()))?;
            let output = millstream_outputs(dir.path())?;
            Ok(vec![
                Figure::new("exec_to_metadata_ms", metadata).aim("< 100"),
                Figure::new("exec_to_committed_output_ms", output).aim("< 200"),
            ])
        }
        SystemKind::Kafka => Ok(vec![Figure::new(
            "exec_to_metadata_ms",
            kafka_metadata(dir.path())?,
        )]),
    }
}

fn median(rounds: usize, mut measure: impl FnMut() -> Result<f64>) -> Result<f64> {
    let mut values = (0..rounds)
        .map(|_| measure())
        .collect::<Result<Vec<f64>>>()?;
    values.sort_by(f64::total_cmp);
    Ok(values[rounds / 2])
}

fn milliseconds(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1e3
}

fn millstream_metadata(dir: &Path) -> Result<f64> {
    let setup = Setup {
        settings: &[],
        data_dir: dir,
        durability: Durability::Flushed,
        pipeline: None,
    };
    let begun = Instant::now();
    let node = Millstream::start(&setup)?;
    RawClient::connect(node.address().parse()?)?.brokers()?;
    Ok(milliseconds(begun))
}

/// Puts one record into the input while no pipeline runs, then starts the pipeline and waits for what
/// comes out.
fn millstream_outputs(dir: &Path) -> Result<f64> {
    let pipeline = Some(PipelineSetup {
        commit_ms: 10,
        keep_bytes: 0,
    });
    let with_pipeline = Setup {
        settings: &[],
        data_dir: dir,
        durability: Durability::Flushed,
        pipeline,
    };
    // Creates the topics, and builds and compiles the plugin.
    let node = Millstream::start(&with_pipeline)?;
    client::wait_for_pipeline(&node.address(), LIMIT)?;
    node.stop()?;
    median(ROUNDS, || {
        let broker_alone = Millstream::start(&Setup {
            settings: &[],
            pipeline: None,
            ..with_pipeline
        })?;
        let address = broker_alone.address();
        let producer = client::producer(&address, Tuning::Latency)?;
        let end = client::end_offset(&address, OUTPUT)?;
        client::send(&producer, INPUT, b"12345")?;
        client::flush(&producer)?;
        broker_alone.stop()?;

        let begun = Instant::now();
        let node = Millstream::start(&with_pipeline)?;
        let mut raw = RawClient::connect(node.address().parse()?)?;
        while raw
            .fetch(OUTPUT, end, Duration::from_millis(500))?
            .is_empty()
        {
            anyhow::ensure!(begun.elapsed() < LIMIT, "no output within {LIMIT:?}");
        }
        let taken = milliseconds(begun);
        node.stop()?;
        Ok(taken)
    })
}

/// The peer's address is known from a first start, which also formats its folder.
fn kafka_metadata(dir: &Path) -> Result<f64> {
    let setup = Setup {
        settings: &[],
        data_dir: dir,
        durability: Durability::Os,
        pipeline: None,
    };
    let address: SocketAddr = Kafka::start(&setup)?.address().parse()?;
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let starter = scope.spawn(|| Kafka::start(&setup));
        while RawClient::connect(address)
            .and_then(|mut raw| raw.brokers())
            .is_err()
        {
            anyhow::ensure!(begun.elapsed() < LIMIT, "no Metadata within {LIMIT:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
        let taken = milliseconds(begun);
        drop(
            starter
                .join()
                .expect("the starter does not panic")
                .context("Kafka's second start")?,
        );
        Ok(taken)
    })
}
