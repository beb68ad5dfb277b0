//! A source goes on where it was when its progress topic has been compacted, beside it or before its start.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use millstream::engine::LocalEngine;
use millstream_log::testing::{Random, SimFs};
use millstream_log::{CleanerOptions, FlushMode, Log, LogConfig, StoreOptions};
use millstream_pipeline::ports::SOURCES_TOPIC;
use millstream_pipeline::run::{RunningPipeline, Workers, run};
use millstream_pipeline::testing::FunctionPlugin;
use tokio::time::Instant;

use crate::rig::{PATIENCE, Rig, plan};

const LINES: usize = 1_500;
/// Lines of a life before it ends.
const LINES_OF_A_LIFE: u64 = 200;
const LIVES: u64 = 5;

fn lines() -> Vec<String> {
    (0..LINES).map(|number| format!("line {number}")).collect()
}

fn options(fs: &SimFs) -> StoreOptions {
    StoreOptions {
        fs: Arc::new(fs.clone()),
        // Passes come when the test wants them.
        cleaner: CleanerOptions {
            enabled: false,
            ..CleanerOptions::default()
        },
        ..StoreOptions::new("/data", FlushMode::Journal)
    }
}

async fn start(
    rig: &Rig,
    file: &Path,
    workers: &Workers,
    rate: u32,
) -> RunningPipeline<LocalEngine> {
    let body = format!(
        "commit = {{ max_interval = \"2ms\" }}\n[topic.rows]\npartitions = 1\n\
         [source.s]\nfile = \"{}\"\nformat = \"lines\"\ntopic = \"rows\"\nrate = {rate}\n",
        file.display()
    );
    let plan = plan(&body, &[], &rig.engine).await.unwrap();
    let plugins = BTreeMap::<String, Arc<FunctionPlugin>>::new();
    run(plan, rig.engine.clone(), plugins, workers)
        .await
        .unwrap()
}

/// The newest progress that readers see.
fn rows_by_progress(rig: &Rig) -> u64 {
    let found = rig.committed(&[SOURCES_TOPIC]).unwrap();
    found.values().flatten().next_back().map_or(0, |newest| {
        let progress: serde_json::Value = serde_json::from_str(&newest.value).unwrap();
        progress["records"].as_u64().unwrap()
    })
}

/// How many progress records readers see.
fn progress_records(rig: &Rig) -> usize {
    let found = rig.committed(&[SOURCES_TOPIC]).unwrap();
    found.values().map(Vec::len).sum()
}

/// Compacts all that the progress topic has, but for what belongs to an open transaction.
fn compact(rig: &Rig) {
    let logs = rig.store.logs();
    let of_sources = |log: &&Arc<Log>| log.id().topic == SOURCES_TOPIC;
    for log in logs.iter().filter(of_sources) {
        log.set_config(LogConfig {
            min_cleanable_dirty_ratio: 0.0,
            ..LogConfig::clone(&log.config())
        });
        log.roll_active().unwrap();
    }
    rig.store.checkpoint().unwrap();
    while rig.store.clean_dirtiest().unwrap().is_some() {}
    assert_eq!(rig.store.cleaner_metrics().uncleanable, []);
}

/// How many progress records the last passes of the lives have dropped.
async fn live(seed: u64, file: &Path, workers: &Workers) -> usize {
    let mut random = Random::new(seed);
    let mut fs = SimFs::new(seed);
    let (mut rows, mut dropped) = (0, 0);
    for life in 0..LIVES {
        let rig = Rig::over(options(&fs)).await.unwrap();
        let pipeline = start(&rig, file, workers, 2_500).await;
        let until = Instant::now() + PATIENCE;
        while rows_by_progress(&rig) < rows + LINES_OF_A_LIFE {
            assert!(Instant::now() < until, "{:#?}", pipeline.progress());
            if life % 2 == 1 {
                compact(&rig);
            }
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        let summary = pipeline.stop(PATIENCE).await;
        assert!(summary.failures.is_empty(), "{:?}", summary.failures);
        rows = rows_by_progress(&rig);
        let before = progress_records(&rig);
        compact(&rig);
        assert_eq!(progress_records(&rig), 1, "only the newest is left");
        dropped += before - 1;
        assert_eq!(rows_by_progress(&rig), rows);
        if random.chance(50) {
            rig.close().await;
        } else {
            let next = fs.power_cut(random.next_u64());
            rig.broker.shutdown(Duration::ZERO).await;
            drop(rig);
            fs = next;
        }
    }
    let rig = Rig::over(options(&fs)).await.unwrap();
    assert_eq!(
        rows_by_progress(&rig),
        rows,
        "what was acknowledged is there"
    );
    let pipeline = start(&rig, file, workers, 1_000_000).await;
    tokio::time::timeout(PATIENCE, pipeline.drained())
        .await
        .unwrap()
        .unwrap();
    let summary = pipeline.stop(PATIENCE).await;
    assert_eq!(
        summary.records_in,
        LINES as u64 - rows,
        "no row is read again"
    );
    let found = rig.committed(&["rows"]).unwrap();
    let found: Vec<_> = found.into_values().flatten().map(|row| row.value).collect();
    assert_eq!(found, lines());
    rig.close().await;
    dropped
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_resumes_from_a_progress_topic_that_was_compacted() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rows");
    std::fs::write(&file, lines().join("\n") + "\n").unwrap();
    let workers = Workers::new(Some(2)).unwrap();
    let mut dropped = 0;
    for seed in 0..4 {
        dropped += live(seed, &file, &workers).await;
    }
    assert!(
        dropped >= 12,
        "only {dropped} records of progress were dropped"
    );
}
