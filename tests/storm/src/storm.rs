//! The storm itself: an undisturbed run, a run under kills, and the comparison of the two.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use millstream_end_to_end::{Client, NodeCommand, check_flights_files, committed_flights};
use millstream_oracle::flights;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::crime_scene::{OpenTransaction, open_transactions};
use crate::manifest::write_paced;

/// How long a node lives before it is killed.
const LIFE_MS: std::ops::Range<u64> = 100..400;
/// More kills than this that hit no open transaction mean that the pipeline has run dry.
const MISSES_PER_KILL_MAX: usize = 20;
const RUN_LIMIT: Duration = Duration::from_secs(300);

/// Kills a running pipeline again and again, then compares what it committed with an undisturbed run.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask storm")]
pub struct Arguments {
    /// Kills that must hit an open transaction
    #[arg(long, default_value_t = 25)]
    kills: usize,
    /// Seed of the random moments
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Records a second that the paced source yields
    #[arg(long, default_value_t = 6_000)]
    rate: u32,
    /// The pipeline
    #[arg(long, default_value = "examples/01-flights/pipeline.toml")]
    manifest: PathBuf,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let kcat = Client::Kcat
        .find()
        .context("the storm reads with kcat: start it with `cargo xtask storm`")?;
    let dir = tempfile::tempdir()?;
    let (calm, stormy) = (dir.path().join("calm"), dir.path().join("stormy"));
    let unpaced = write_paced(&arguments.manifest, 0, dir.path())?;
    let paced = write_paced(&arguments.manifest, arguments.rate, dir.path())?;

    println!("undisturbed run");
    run_once(&unpaced, &calm)?;
    let expected = committed_flights(&kcat, &calm)?;
    println!("  {} records committed", expected.len());

    kill_again_and_again(arguments, &paced, &stormy)?;

    println!("last restart: to the end");
    run_once(&unpaced, &stormy)?;
    let found = committed_flights(&kcat, &stormy)?;
    println!("  {} records committed", found.len());
    flights::comparison()
        .compare(&expected, &found)
        .map_err(|difference| anyhow::anyhow!("{difference}"))?;
    println!(
        "the same records in the same order per key: {} kills changed nothing",
        arguments.kills
    );
    if let Some(jars) = Client::ApacheKafka.find() {
        check_flights_files(&jars, &stormy)?;
        println!("Kafka's DumpLogSegments reads the files that the storm left");
    }
    Ok(())
}

fn kill_again_and_again(arguments: &Arguments, manifest: &Path, data_dir: &Path) -> Result<()> {
    let mut random = StdRng::seed_from_u64(arguments.seed);
    let (mut hits, mut misses) = (0, 0);
    while hits < arguments.kills {
        let node = NodeCommand::run(manifest, data_dir)
            .stderr(Stdio::null())
            .start()?;
        let life = Duration::from_millis(random.random_range(LIFE_MS));
        std::thread::sleep(life);
        node.kill()?;
        let open = open_transactions(data_dir)?;
        if open.is_empty() {
            misses += 1;
            println!("a kill after {life:?} met no open transaction and does not count");
            let allowed = arguments.kills * MISSES_PER_KILL_MAX;
            ensure!(
                misses <= allowed,
                "{misses} kills met no open transaction: lower --rate, so that the source lasts"
            );
            continue;
        }
        hits += 1;
        print_state(hits, life, &open);
    }
    Ok(())
}

fn print_state(number: usize, life: Duration, open: &[OpenTransaction]) {
    println!(
        "kill {number} after {life:?}, open transactions: {}",
        open.len()
    );
    for transaction in open {
        println!("  {transaction}");
    }
}

fn run_once(manifest: &Path, data_dir: &Path) -> Result<()> {
    let node = NodeCommand::run(manifest, data_dir)
        .argument("--once")
        .stderr(Stdio::null())
        .start()?;
    let stopped = node.wait_for(RUN_LIMIT)?;
    ensure!(
        stopped.status.success(),
        "the run ended with {}: {}",
        stopped.status,
        stopped.stdout
    );
    Ok(())
}
