//! The power fails at any moment of the whole path, from an acknowledged input to a committed output, on a disk that
//! drops any part of what was never synced. Each time the node starts again over what is left, is judged, and goes on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millstream::engine::LocalEngine;
use millstream_log::testing::{Random, SimFs};
use millstream_log::{FlushMode, StoreOptions};
use millstream_pipeline::ports::TaskId;
use millstream_pipeline::run::{RunningPipeline, Workers, run};
use millstream_pipeline::task::TaskState;
use millstream_pipeline::testing::FunctionPlugin;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::effects::{Outputs, PARTITIONS, TOPICS, check_effects, check_kept, route};
use crate::producer::{Lanes, lanes, produce};
use crate::rig::{PATIENCE, Rig, plan};

const BODY: &str = "commit = { max_interval = \"2ms\" }\n\
[stage.route]\nplugin = \"route\"\ninputs = \"in\"\noutputs = { left = \"left\", right = \"right\" }\n\
dead_letters = \"dead\"\non_error = { reject = \"dead-letter\" }\n";
const GROUP: &str = "millstream.p.route";
/// Cuts of one disk's history.
const LIVES: u64 = 12;
/// A task may wait for a disk that is gone; it is dropped after this.
pub const STOP_MAX: Duration = Duration::from_secs(1);
/// A life in which the moment of the cut does not come is cut after this.
const LIFE_MAX: Duration = Duration::from_millis(300);

pub fn options(fs: &SimFs, flush: FlushMode) -> StoreOptions {
    let mut options = StoreOptions::new("/data", flush);
    options.fs = Arc::new(fs.clone());
    // Cuts should meet checkpoints and a journal of several files too.
    options.checkpoint_interval_ms = 10;
    options.journal_file_bytes_max = 64 << 10;
    options
}

fn plugin() -> FunctionPlugin {
    let function = FunctionPlugin::new(2, |event, call| {
        let text =
            |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or(b"")).into_owned();
        for topic in route(&text(event.key), &text(event.value)) {
            match topic {
                "left" => drop(call.emit(0, event.key, event.value)),
                "right" => drop(call.emit(1, event.key, event.value)),
                _ => call.refuse(7, "seven"),
            }
        }
        Ok(())
    });
    function.consuming(3)
}

/// What the histories met, to be sure that the cuts were worth their name.
#[derive(Debug, Default)]
struct Tally {
    cuts: u64,
    /// Cuts before the node was up again.
    cuts_in_recovery: u64,
    /// Cuts while a transaction was open.
    cuts_in_transactions: u64,
    /// Input records that the cuts took, none of them acknowledged.
    lost_inputs: i64,
    /// Starts that found a transaction open or undecided.
    open_transactions: u64,
    inputs: i64,
    transactions: u64,
}

impl Tally {
    fn add(&mut self, other: &Tally) {
        self.cuts += other.cuts;
        self.cuts_in_recovery += other.cuts_in_recovery;
        self.cuts_in_transactions += other.cuts_in_transactions;
        self.lost_inputs += other.lost_inputs;
        self.open_transactions += other.open_transactions;
        self.inputs += other.inputs;
        self.transactions += other.transactions;
    }
}

/// One disk's history, and what must hold in it.
struct History {
    seed: u64,
    flush: FlushMode,
    random: Random,
    workers: Workers,
    lanes: Lanes,
    /// What readers saw last, and the positions whose commits were acknowledged.
    seen: Outputs,
    positions: Vec<i64>,
    tally: Tally,
}

/// The node at work.
struct Running {
    pipeline: RunningPipeline<LocalEngine>,
    producer: JoinHandle<Result<(), String>>,
}

impl History {
    fn new(seed: u64, flush: FlushMode, workers: Workers) -> History {
        History {
            seed,
            flush,
            random: Random::new(seed),
            workers,
            lanes: lanes(),
            seen: Outputs::new(),
            positions: vec![0; PARTITIONS as usize],
            tally: Tally::default(),
        }
    }

    async fn live_on(mut self) -> Tally {
        let mut fs = SimFs::new(self.seed);
        for _ in 0..LIVES {
            fs = self.life(&fs).await;
        }
        self.last_life(&fs).await;
        self.tally
    }

    /// Starts, works, and loses power; returns what the next start finds.
    async fn life(&mut self, fs: &SimFs) -> SimFs {
        if self.random.chance(25) {
            fs.cut_power_after(self.random.below(120));
        }
        let rig = Rig::over(options(fs, self.flush)).await;
        let started = match &rig {
            Ok(rig) => self.start(rig, 200).await,
            Err(error) => Err(error.clone()),
        };
        match (&rig, &started) {
            (Ok(rig), Ok(running)) => self.wait_for_the_moment(fs, rig, running).await,
            (_, Err(error)) => {
                assert!(fs.is_off(), "seed {}: {error}", self.seed);
                self.tally.cuts_in_recovery += 1;
            }
            (Err(_), Ok(_)) => unreachable!("nothing starts without a node"),
        }
        let next = fs.power_cut(self.random.next_u64());
        self.tally.cuts += 1;
        if let Ok(rig) = &rig {
            let open = rig.has_open_transaction(&TOPICS).unwrap_or(false);
            self.tally.cuts_in_transactions += u64::from(open);
        }
        if let Ok(running) = started {
            self.stop(running).await;
        }
        if let Ok(rig) = rig {
            rig.broker.shutdown(Duration::ZERO).await;
        }
        next
    }

    /// Judges what is there and sets the pipeline and the producer to work.
    async fn start(&mut self, rig: &Rig, batches: u64) -> Result<Running, String> {
        rig.create_topic("in", PARTITIONS).await?;
        self.judge(rig).await?;
        let plan = plan(BODY, &["left", "right"], &rig.engine).await?;
        let plugins = BTreeMap::from([("route".to_owned(), Arc::new(plugin()))]);
        let pipeline = run(plan, rig.engine.clone(), plugins, &self.workers)
            .await
            .map_err(|error| error.to_string())?;
        let lanes = Arc::clone(&self.lanes);
        let seed = self.random.next_u64();
        let producer = tokio::spawn(produce(rig.local.clone(), lanes, seed, batches));
        Ok(Running { pipeline, producer })
    }

    /// What a start must find, whatever was lost.
    async fn judge(&mut self, rig: &Rig) -> Result<(), String> {
        let seed = self.seed;
        let inputs = self.judge_inputs(rig)?;
        let outputs = rig.committed(&TOPICS)?;
        check_kept(&self.seen, &outputs).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        self.seen = outputs;
        self.tally.open_transactions += u64::from(rig.has_open_transaction(&TOPICS)?);

        rig.settle(&tasks(rig).await?).await?;
        let positions = rig.positions(GROUP, "in", PARTITIONS).await?;
        for (index, position) in positions.iter().enumerate() {
            let (acknowledged, inputs) = (self.positions[index], inputs[index]);
            assert!(
                (acknowledged..=inputs).contains(position),
                "seed {seed}: position {position} of partition {index}; \
                 {acknowledged} was acknowledged, {inputs} inputs are there"
            );
        }
        let outputs = rig.committed(&TOPICS)?;
        check_kept(&self.seen, &outputs).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        check_effects(&outputs, &positions).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        self.seen = outputs;
        self.positions = positions;
        Ok(())
    }

    /// Every acknowledged input is there, and what is there are whole batches of what was sent; how many records.
    fn judge_inputs(&mut self, rig: &Rig) -> Result<Vec<i64>, String> {
        let found = rig.committed(&["in"])?;
        let mut counts = Vec::new();
        for (partition, lane) in (0..).zip(self.lanes.lock().iter_mut()) {
            let records = &found[&("in".to_owned(), partition)];
            for (offset, record) in (0..).zip(records) {
                assert_eq!(
                    *record,
                    crate::effects::input(partition, offset),
                    "seed {}",
                    self.seed
                );
            }
            let count = records.len() as i64;
            assert!(
                count >= lane.acknowledged && lane.ends.contains(&count),
                "seed {}: {count} inputs in partition {partition} of {lane:?}",
                self.seed
            );
            self.tally.lost_inputs += lane.sent - count;
            lane.ends.split_off(&(count + 1));
            (lane.sent, lane.acknowledged) = (count, count);
            counts.push(count);
        }
        Ok(counts)
    }

    /// Until the power is off, or a random number of acknowledged inputs and a random number of turns later.
    async fn wait_for_the_moment(&mut self, fs: &SimFs, rig: &Rig, running: &Running) {
        let acknowledged = |lanes: &Lanes| {
            let lanes = lanes.lock();
            lanes.iter().map(|lane| lane.acknowledged).sum::<i64>()
        };
        let by_operation = self.random.chance(50);
        if by_operation {
            fs.cut_power_after(self.random.below(400));
        }
        let enough = acknowledged(&self.lanes) + self.random.below(150) as i64;
        let until = Instant::now() + LIFE_MAX;
        while Instant::now() < until && !fs.is_off() {
            if !by_operation && acknowledged(&self.lanes) >= enough {
                break;
            }
            if let Ok(outputs) = rig.committed(&TOPICS) {
                self.seen = outputs;
            }
            for task in running.pipeline.progress().tasks {
                let ended = matches!(task.state, TaskState::Failed(_) | TaskState::Fenced(_));
                assert!(!ended || fs.is_off(), "seed {}: {task:?}", self.seed);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        for _ in 0..self.random.below(100) {
            tokio::task::yield_now().await;
        }
    }

    /// Stops what works, and notes which commits were acknowledged to it.
    async fn stop(&mut self, running: Running) {
        let Running { pipeline, producer } = running;
        producer.abort();
        let produced = producer.await;
        if let Err(error) = produced {
            assert!(error.is_cancelled(), "seed {}: {error}", self.seed);
        }
        for task in pipeline.progress().tasks {
            for input in task.inputs {
                let position = &mut self.positions[input.partition as usize];
                *position = input.committed.unwrap_or(0).max(*position);
            }
        }
        self.tally.transactions += pipeline.stop(STOP_MAX).await.transactions;
    }

    /// With power to the end: everything is worked on, once.
    async fn last_life(&mut self, fs: &SimFs) {
        let rig = Rig::over(options(fs, self.flush)).await.unwrap();
        let running = self.start(&rig, 20).await.unwrap();
        let Running { pipeline, producer } = running;
        producer.await.unwrap().unwrap();
        tokio::time::timeout(PATIENCE, pipeline.drained())
            .await
            .unwrap_or_else(|_| panic!("seed {}: {:#?}", self.seed, pipeline.progress()))
            .unwrap();
        let summary = pipeline.stop(PATIENCE).await;
        assert!(summary.failures.is_empty(), "{:?}", summary.failures);
        self.judge(&rig).await.unwrap();
        let sent: Vec<i64> = self.lanes.lock().iter().map(|lane| lane.sent).collect();
        assert_eq!(self.positions, sent, "seed {}", self.seed);
        self.tally.inputs = sent.iter().sum();
        self.tally.transactions += summary.transactions;
        rig.close().await;
    }
}

/// The stage's tasks.
async fn tasks(rig: &Rig) -> Result<Vec<TaskId>, String> {
    let plan = plan(BODY, &["left", "right"], &rig.engine).await?;
    let stage = &plan.stages[0];
    let tasks = (0..PARTITIONS).map(|partition| stage.task(&plan.pipeline_id, partition));
    Ok(tasks.collect())
}

/// The seeds to go through: these, or those of `MILLSTREAM_POWER_CUT_SEEDS=1000..2000` to search longer.
pub fn seeds(usual: std::ops::Range<u64>) -> (u64, u64) {
    let Ok(range) = std::env::var("MILLSTREAM_POWER_CUT_SEEDS") else {
        return (usual.start, usual.end);
    };
    let (from, to) = range.split_once("..").expect("a range as 1000..2000");
    (from.parse().unwrap(), to.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_loses_nothing_acknowledged_and_tears_nothing() {
    let (from, to) = seeds(0..30);
    let workers = Workers::new(Some(2)).unwrap();
    let mut tally = Tally::default();
    let mut seeds = from..to;
    loop {
        let together: Vec<_> = seeds
            .by_ref()
            .take(4)
            .map(|seed| {
                tokio::spawn(History::new(seed, FlushMode::Journal, workers.clone()).live_on())
            })
            .collect();
        if together.is_empty() {
            break;
        }
        for history in together {
            tally.add(&history.await.unwrap());
        }
    }
    println!("{tally:?}");
    let histories = to - from;
    assert_eq!(tally.cuts, histories * LIVES);
    assert!(tally.lost_inputs > 0, "the cuts lost nothing: {tally:?}");
    assert!(
        tally.cuts_in_transactions > histories / 2 && tally.open_transactions > 0,
        "few cuts hit a transaction: {tally:?}"
    );
    assert!(
        tally.transactions > tally.cuts && tally.inputs > 0,
        "little was there to be lost: {tally:?}"
    );
    assert!(tally.cuts_in_recovery > 0, "no cut hit a start: {tally:?}");
}

/// The same cuts where an acknowledgement does not wait for the disk: the judgement must find it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_acknowledges_without_flushing_is_found_out() {
    let workers = Workers::new(Some(2)).unwrap();
    for seed in 0..3 {
        let history = History::new(seed, FlushMode::Os, workers.clone());
        let failed = tokio::spawn(history.live_on()).await.unwrap_err();
        let reason = failed.into_panic();
        let reason = reason.downcast_ref::<String>().unwrap();
        assert!(reason.starts_with(&format!("seed {seed}: ")), "{reason}");
    }
}
