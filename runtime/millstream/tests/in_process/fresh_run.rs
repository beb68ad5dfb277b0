//! A fresh run ends at each operation of the disk in turn, from its first decision to its last commit: the process is
//! killed, or the power fails. What runs next, be it a fresh run or one that goes on, leaves one run in every topic.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use millstream::outcome::Failure;
use millstream::pipelines::{Deployment, Start, pipeline_id};
use millstream_cluster::METADATA_TOPIC_ID;
use millstream_log::testing::SimFs;
use millstream_log::{FlushMode, StoreOptions};
use millstream_pipeline::ports::{Engine as _, TaskId, TaskLease, Transaction as _};
use millstream_pipeline::run::{Workers, run};
use millstream_pipeline::testing::FunctionPlugin;
use millstream_records::{BatchBuilder, BatchOptions, ProducerStamp};

use crate::rig::{PATIENCE, Rig, plan_as};

/// The topics that the pipeline writes.
const TOPICS: [&str; 3] = ["in", "out", "dead"];
const ROWS: [&str; 6] = ["a", "b", "no", "c", "d", "no"];

fn body(file: &Path) -> String {
    format!(
        "commit = {{ max_interval = \"2ms\" }}\n[topic.in]\npartitions = 2\n\
         [source.rows]\nfile = {file:?}\nformat = \"lines\"\ntopic = \"in\"\n\
         [stage.route]\nplugin = \"route\"\ninputs = \"in\"\noutputs = \"out\"\n\
         dead_letters = \"dead\"\non_error = {{ reject = \"dead-letter\" }}\n"
    )
}

fn one_run() -> BTreeMap<String, Vec<String>> {
    let sorted = |rows: &mut dyn Iterator<Item = &&str>| {
        let mut rows: Vec<String> = rows.map(ToString::to_string).collect();
        rows.sort();
        rows
    };
    BTreeMap::from([
        ("in".to_owned(), sorted(&mut ROWS.iter())),
        (
            "out".to_owned(),
            sorted(&mut ROWS.iter().filter(|row| **row != "no")),
        ),
        (
            "dead".to_owned(),
            sorted(&mut ROWS.iter().filter(|row| **row == "no")),
        ),
    ])
}

fn plugin() -> FunctionPlugin {
    let function = FunctionPlugin::new(1, |event, call| {
        match event.value {
            Some(b"no") => call.refuse(7, "no"),
            value => drop(call.emit(0, event.key, value)),
        }
        Ok(())
    });
    // So that there are several transactions.
    function.consuming(1)
}

fn options(fs: &SimFs, flush: FlushMode) -> StoreOptions {
    let mut options = StoreOptions::new("/data", flush);
    options.fs = Arc::new(fs.clone());
    options.checkpoint_interval_ms = 10;
    options.journal_file_bytes_max = 64 << 10;
    options
}

/// What all runs share.
struct Scene {
    body: String,
    flush: FlushMode,
    workers: Workers,
    _dir: tempfile::TempDir,
}

impl Scene {
    fn set(flush: FlushMode) -> Scene {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("rows");
        std::fs::write(&file, ROWS.map(|row| format!("{row}\n")).concat()).unwrap();
        Scene {
            body: body(&file),
            flush,
            workers: Workers::new(Some(2)).unwrap(),
            _dir: dir,
        }
    }

    /// Begins a run as the command does, and works everything off; its id.
    async fn run(&self, rig: &Rig, start: Start) -> Result<String, String> {
        let said = |failure: Failure| format!("{:#}", failure.error);
        let id = pipeline_id(&rig.broker.cluster().image(), "p", start);
        let plan = plan_as(&id, &self.body, &["out"], &rig.engine).await?;
        let deployment = Deployment::decide(&plan, &rig.broker, start);
        let deployment = deployment.await.map_err(said)?;
        assert_eq!(deployment.question, None, "all of it is the pipeline's own");
        deployment.carry_out(&rig.broker).await.map_err(said)?;
        let plugins = BTreeMap::from([("route".to_owned(), Arc::new(plugin()))]);
        let running = run(plan, rig.engine.clone(), plugins, &self.workers).await;
        let running = running.map_err(|error| error.to_string())?;
        running.drained().await.map_err(|error| error.to_string())?;
        let summary = running.stop(PATIENCE).await;
        match summary.failures.as_slice() {
            [] => Ok(id),
            failures => Err(failures.join("\n")),
        }
    }

    /// Starts a node and runs, until the disk goes off; whether the run came to its end.
    async fn run_until_off(&self, fs: &SimFs, start: Start) -> bool {
        let off = async || {
            while !fs.is_off() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let Ok(rig) = Rig::over(options(fs, self.flush)).await else {
            assert!(fs.is_off(), "the node does not start");
            return false;
        };
        let ended = tokio::select! {
            ended = self.run(&rig, start) => match ended {
                Ok(_) => true,
                Err(error) => {
                    assert!(fs.is_off(), "{error}");
                    false
                }
            },
            () = off() => false,
        };
        rig.broker.shutdown(Duration::ZERO).await;
        ended
    }

    /// Runs on a healthy disk; the run's id. Every topic holds one run then, and nothing else is left of the others.
    async fn run_well(&self, fs: &SimFs, start: Start, place: &str) -> String {
        let rig = Rig::over(options(fs, self.flush)).await;
        let rig = rig.unwrap_or_else(|error| panic!("{place}: {error}"));
        let ran = tokio::time::timeout(PATIENCE, self.run(&rig, start)).await;
        let ran = ran.unwrap_or_else(|_| panic!("{place}: the run does not end"));
        let id = ran.unwrap_or_else(|error| panic!("{place}: {error}"));
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for ((topic, _), records) in rig.committed(&TOPICS).unwrap() {
            let values = records.into_iter().map(|record| record.value);
            found.entry(topic).or_default().extend(values);
        }
        for values in found.values_mut() {
            values.sort();
        }
        assert_eq!(found, one_run(), "{place}: run {id}");
        let image = rig.broker.cluster().image();
        for log in rig.store.logs() {
            let id = log.id();
            let is_known =
                id.topic_id == METADATA_TOPIC_ID || image.topic_by_id(&id.topic_id).is_some();
            assert!(is_known, "{place}: {id:?} is left");
        }
        let pipelines: BTreeSet<&str> = image
            .tasks()
            .map(|(key, _)| key.pipeline.as_str())
            .collect();
        assert_eq!(pipelines, BTreeSet::from([id.as_str()]), "{place}");
        rig.close().await;
        id
    }
}

/// How a run ends before its time.
#[derive(Debug, Clone, Copy)]
enum Blow {
    Kill,
    PowerCut,
}

/// What the blows fell on.
#[derive(Debug, Default)]
struct Tally {
    blows: u64,
    /// Runs that went on afterwards, by their ids.
    went_on: BTreeMap<String, u64>,
}

/// Strikes a fresh run over this disk at every operation.
async fn strike(scene: &Scene, before: &SimFs, blow: Blow, tally: &mut Tally) {
    for operation in 0.. {
        let place = format!("{blow:?} at operation {operation}, {:?}", scene.flush);
        let fs = before.kill(operation);
        fs.cut_power_after(operation);
        let ended = scene.run_until_off(&fs, Start::Fresh).await;
        let after = match blow {
            Blow::Kill => fs.kill(operation),
            Blow::PowerCut => fs.power_cut(operation),
        };
        tally.blows += 1;
        // In turn.
        if operation % 2 == 0 {
            let id = scene.run_well(&after, Start::Resume, &place).await;
            *tally.went_on.entry(id).or_default() += 1;
        } else {
            scene.run_well(&after, Start::Fresh, &place).await;
        }
        if ended {
            return;
        }
    }
}

/// A disk on which the first run has ended.
async fn after_a_run(scene: &Scene) -> SimFs {
    let fs = SimFs::new(1);
    let id = scene.run_well(&fs, Start::Resume, "the first run").await;
    assert_eq!(id, "p");
    fs
}

/// A disk on which a task has ended within a transaction after the first run.
async fn within_a_transaction(scene: &Scene) -> SimFs {
    let fs = after_a_run(scene).await.kill(2);
    let rig = Rig::over(options(&fs, scene.flush)).await.unwrap();
    let task = TaskId {
        pipeline_id: "p".to_owned(),
        stage: "route".to_owned(),
        partition: 0,
    };
    rig.settle(std::slice::from_ref(&task)).await.unwrap();
    let lease = rig.engine.acquire_task(&task, None).await.unwrap();
    let mut batch = batch_of(&lease);
    let mut transaction = rig.engine.begin(&lease).await.unwrap();
    let appended = transaction.append(rig.topic("out"), 0, &mut batch).await;
    appended.unwrap();
    // What stands behind it in the journal is durable, and so is it.
    rig.create_topic("other", 1).await.unwrap();
    let disk = fs.kill(3);
    rig.broker.shutdown(Duration::ZERO).await;
    let probe = Rig::over(options(&disk.kill(4), scene.flush)).await;
    let probe = probe.unwrap();
    assert_eq!(probe.has_open_transaction(&TOPICS), Ok(true));
    probe.close().await;
    disk
}

fn batch_of(lease: &TaskLease) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions {
        producer: Some(ProducerStamp {
            id: lease.producer_id,
            epoch: lease.producer_epoch,
            base_sequence: 0,
        }),
        transactional: true,
        ..BatchOptions::default()
    });
    builder.append(1_000, None, Some(b"half"), []).unwrap();
    builder.build().unwrap()
}

fn judge(tally: &Tally) {
    println!("{tally:?}");
    for id in ["p", "p~2"] {
        assert!(
            tally.went_on.contains_key(id),
            "no blow fell there: {tally:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_run_that_ends_at_any_operation_leaves_one_run() {
    for (flush, blow) in [
        (FlushMode::Journal, Blow::Kill),
        (FlushMode::Journal, Blow::PowerCut),
        (FlushMode::Os, Blow::Kill),
    ] {
        let scene = Scene::set(flush);
        let mut tally = Tally::default();
        let before = after_a_run(&scene).await;
        strike(&scene, &before, blow, &mut tally).await;
        judge(&tally);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_run_after_one_that_left_a_transaction_open_does_too() {
    for (flush, blow) in [
        (FlushMode::Journal, Blow::PowerCut),
        (FlushMode::Os, Blow::Kill),
    ] {
        let scene = Scene::set(flush);
        let mut tally = Tally::default();
        let before = within_a_transaction(&scene).await;
        strike(&scene, &before, blow, &mut tally).await;
        judge(&tally);
    }
}
