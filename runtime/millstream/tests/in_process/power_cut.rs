//! The power fails at any moment of the whole path, from an acknowledged input to a committed output, on a disk that
//! drops any part of what was never synced. Each time the node starts again over what is left, is judged, and goes on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millstream::engine::LocalEngine;
use millstream_log::FlushMode;
use millstream_log::testing::SimFs;
use millstream_pipeline::ports::TaskId;
use millstream_pipeline::run::{RunningPipeline, Workers, run};
use millstream_pipeline::testing::FunctionPlugin;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::effects::{Outputs, PARTITIONS, TOPICS, check_effects, check_kept, route};
use crate::history::{Cuts, Fate, History, STOP_MAX, expect_complaint, live, seeds};
use crate::producer::{Lanes, lanes, produce};
use crate::rig::{PATIENCE, Rig, plan};

const BODY: &str = "commit = { max_interval = \"2ms\" }\n\
[stage.route]\nplugin = \"route\"\ninputs = \"in\"\noutputs = { left = \"left\", right = \"right\" }\n\
dead_letters = \"dead\"\non_error = { reject = \"dead-letter\" }\n";
const GROUP: &str = "millstream.p.route";
/// A life in which the moment of the cut does not come is cut after this.
const LIFE_MAX: Duration = Duration::from_millis(300);
/// What the producer sends in a life that ends with a cut, and in the last one: batches.
const BATCHES: u64 = 200;
const LAST_BATCHES: u64 = 20;

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
    cuts: Cuts,
    /// Input records that the cuts took, none of them acknowledged.
    lost_inputs: i64,
    /// Starts that found a transaction open or undecided.
    open_transactions: u64,
    inputs: i64,
    transactions: u64,
}

impl Tally {
    fn add(&mut self, other: &Routed) {
        self.cuts.add(&other.fate.cuts);
        self.lost_inputs += other.lost_inputs;
        self.open_transactions += other.open_transactions;
        self.inputs += other.inputs();
        self.transactions += other.transactions;
    }
}

/// A producer fills the input, and a stage routes it.
struct Routed {
    fate: Fate,
    workers: Workers,
    lanes: Lanes,
    /// What readers saw last, and the positions whose commits were acknowledged.
    seen: Outputs,
    positions: Vec<i64>,
    /// The life ends when so many inputs are acknowledged.
    enough: Option<i64>,
    lost_inputs: i64,
    open_transactions: u64,
    transactions: u64,
}

/// The node at work.
struct Running {
    pipeline: RunningPipeline<LocalEngine>,
    producer: JoinHandle<Result<(), String>>,
}

impl Routed {
    fn new(seed: u64, flush: FlushMode, workers: Workers) -> Routed {
        Routed {
            fate: Fate::new(seed, flush),
            workers,
            lanes: lanes(),
            seen: Outputs::new(),
            positions: vec![0; PARTITIONS as usize],
            enough: None,
            lost_inputs: 0,
            open_transactions: 0,
            transactions: 0,
        }
    }

    fn acknowledged_inputs(&self) -> i64 {
        self.lanes.lock().iter().map(|lane| lane.acknowledged).sum()
    }

    fn inputs(&self) -> i64 {
        self.lanes.lock().iter().map(|lane| lane.sent).sum()
    }

    /// Judges what is there, and sets the pipeline and the producer to work.
    async fn start_with(&mut self, rig: &Rig, batches: u64) -> Result<Running, String> {
        rig.create_topic("in", PARTITIONS).await?;
        self.judge(rig).await?;
        let plan = plan(BODY, &["left", "right"], &rig.engine).await?;
        let plugins = BTreeMap::from([("route".to_owned(), Arc::new(plugin()))]);
        let pipeline = run(plan, rig.engine.clone(), plugins, &self.workers)
            .await
            .map_err(|error| error.to_string())?;
        let lanes = Arc::clone(&self.lanes);
        let seed = self.fate.random.next_u64();
        let producer = tokio::spawn(produce(rig.local.clone(), lanes, seed, batches));
        Ok(Running { pipeline, producer })
    }

    /// What a start must find, whatever was lost.
    async fn judge(&mut self, rig: &Rig) -> Result<(), String> {
        let seed = self.fate.seed;
        let inputs = self.judge_inputs(rig)?;
        let outputs = rig.committed(&TOPICS)?;
        self.fate.require(check_kept(&self.seen, &outputs));
        self.seen = outputs;
        self.open_transactions += u64::from(rig.has_open_transaction(&TOPICS)?);

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
        self.fate.require(check_kept(&self.seen, &outputs));
        self.fate.require(check_effects(&outputs, &positions));
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
                    self.fate.seed
                );
            }
            let count = records.len() as i64;
            assert!(
                count >= lane.acknowledged && lane.ends.contains(&count),
                "seed {}: {count} inputs in partition {partition} of {lane:?}",
                self.fate.seed
            );
            self.lost_inputs += lane.sent - count;
            lane.ends.split_off(&(count + 1));
            (lane.sent, lane.acknowledged) = (count, count);
            counts.push(count);
        }
        Ok(counts)
    }
}

impl History for Routed {
    const LIVES: u64 = 12;
    const TOPICS: &'static [&'static str] = &TOPICS;
    const START_OPERATIONS: u64 = 120;
    type Work = Running;

    fn fate(&mut self) -> &mut Fate {
        &mut self.fate
    }

    async fn start(&mut self, rig: &Rig) -> Result<Running, String> {
        self.start_with(rig, BATCHES).await
    }

    fn pipeline(work: &Running) -> &RunningPipeline<LocalEngine> {
        &work.pipeline
    }

    /// After a random number of operations, or of acknowledged inputs.
    fn choose_moment(&mut self, fs: &SimFs) -> Instant {
        let by_operation = self.fate.random.chance(50);
        if by_operation {
            fs.cut_power_after(self.fate.random.below(400));
        }
        let enough = self.acknowledged_inputs() + self.fate.random.below(150) as i64;
        self.enough = (!by_operation).then_some(enough);
        Instant::now() + LIFE_MAX
    }

    fn is_time(&self) -> bool {
        self.enough
            .is_some_and(|enough| self.acknowledged_inputs() >= enough)
    }

    fn look(&mut self, rig: &Rig) {
        if let Ok(outputs) = rig.committed(&TOPICS) {
            self.seen = outputs;
        }
    }

    async fn stop(&mut self, work: Running) {
        let Running { pipeline, producer } = work;
        producer.abort();
        let produced = producer.await;
        if let Err(error) = produced {
            assert!(error.is_cancelled(), "seed {}: {error}", self.fate.seed);
        }
        for task in pipeline.progress().tasks {
            for input in task.inputs {
                let position = &mut self.positions[input.partition as usize];
                *position = input.committed.unwrap_or(0).max(*position);
            }
        }
        self.transactions += pipeline.stop(STOP_MAX).await.transactions;
    }

    async fn finish(&mut self, rig: &Rig) {
        let Running { pipeline, producer } = self.start_with(rig, LAST_BATCHES).await.unwrap();
        producer.await.unwrap().unwrap();
        self.fate.drain(&pipeline).await;
        let summary = pipeline.stop(PATIENCE).await;
        assert!(summary.failures.is_empty(), "{:?}", summary.failures);
        self.transactions += summary.transactions;
        self.judge(rig).await.unwrap();
        let sent: Vec<i64> = self.lanes.lock().iter().map(|lane| lane.sent).collect();
        assert_eq!(self.positions, sent, "seed {}", self.fate.seed);
    }
}

/// The stage's tasks.
async fn tasks(rig: &Rig) -> Result<Vec<TaskId>, String> {
    let plan = plan(BODY, &["left", "right"], &rig.engine).await?;
    let stage = &plan.stages[0];
    let tasks = (0..PARTITIONS).map(|partition| stage.task(&plan.pipeline_id, partition));
    Ok(tasks.collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_loses_nothing_acknowledged_and_tears_nothing() {
    let seeds = seeds(0..30);
    let histories = seeds.end - seeds.start;
    let workers = Workers::new(Some(2)).unwrap();
    let mut tally = Tally::default();
    let mut seeds = seeds.peekable();
    while seeds.peek().is_some() {
        let spawn = |seed| {
            let history = Routed::new(seed, FlushMode::Journal, workers.clone());
            tokio::spawn(live(history))
        };
        let together: Vec<_> = seeds.by_ref().take(4).map(spawn).collect();
        for history in together {
            tally.add(&history.await.unwrap());
        }
    }
    println!("{tally:?}");
    let cuts = &tally.cuts;
    assert_eq!(cuts.all, histories * Routed::LIVES);
    assert!(tally.lost_inputs > 0, "the cuts lost nothing: {tally:?}");
    assert!(
        cuts.in_transactions > histories / 2 && tally.open_transactions > 0,
        "few cuts hit a transaction: {tally:?}"
    );
    assert!(
        tally.transactions > cuts.all && tally.inputs > 0,
        "little was there to be lost: {tally:?}"
    );
    assert!(cuts.in_recovery > 0, "no cut hit a start: {tally:?}");
}

/// The same cuts where an acknowledgement does not wait for the disk: the judgement must find it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_acknowledges_without_flushing_is_found_out() {
    let workers = Workers::new(Some(2)).unwrap();
    for seed in 0..3 {
        expect_complaint(Routed::new(seed, FlushMode::Os, workers.clone())).await;
    }
}
