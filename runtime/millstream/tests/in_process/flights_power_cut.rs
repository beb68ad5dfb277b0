//! The power fails at any moment of the example's whole path: its file, the source that reads it, and both of its
//! plugins in their sandbox. After each cut the node starts over what is left of the disk, and every topic must hold
//! exactly what the oracle computes from the rows that were produced, and from the offsets that were committed.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use millstream::engine::LocalEngine;
use millstream_log::FlushMode;
use millstream_log::testing::SimFs;
use millstream_oracle::{Record, dead_letters, flights};
use millstream_pipeline::manifest::Manifest;
use millstream_pipeline::plan::{Plan, PluginFacts, TopicFacts};
use millstream_pipeline::ports::{Engine as _, SOURCES_TOPIC, TaskId};
use millstream_pipeline::processor::MeteredPlugin;
use millstream_pipeline::run::{RunningPipeline, Workers, run};
use millstream_plugin_build::Builder;
use millstream_plugin_host::{Engine, EngineOptions, Plugin};
use tokio::time::Instant;

use crate::effects::check_kept;
use crate::history::{Cuts, Fate, History, STOP_MAX, expect_complaint, live, seeds};
use crate::rig::{InFull, PATIENCE, Rig};

/// All topics of the example.
const TOPICS: [&str; 5] = [
    flights::SOURCE,
    flights::CLEAN,
    flights::LATE,
    flights::ONTIME,
    flights::DEAD,
];
/// The stages, with the topic that each reads.
const STAGES: [(&str, &str); 2] = [("clean", flights::SOURCE), ("route", flights::CLEAN)];
/// One row in so many of the example's file is taken.
const STRIDE: usize = 500;

/// What all histories share: the file, the manifest, the plugins, and what each row must become.
struct Scene {
    manifest: PathBuf,
    plugins: BTreeMap<String, Arc<Plugin>>,
    /// By row, and then in the order of the topics: the row's records on all topics.
    effects: Vec<Vec<Record>>,
    /// The row that a value of `flights` or of `flights.clean` stands for.
    row_of: HashMap<Vec<u8>, usize>,
    _dir: tempfile::TempDir,
}

impl Scene {
    async fn set() -> Scene {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/01-flights");
        let dir = tempfile::tempdir().unwrap();
        let mut lines = flights::lines(&example.join("data/flights.csv.zst")).unwrap();
        let columns = lines.remove(0);
        let rows: Vec<String> = lines.into_iter().step_by(STRIDE).collect();
        let csv = format!("{columns}\n{}\n", rows.join("\n"));
        std::fs::write(dir.path().join("flights.csv"), csv).unwrap();

        let effects: Vec<Vec<Record>> = rows
            .iter()
            .map(|row| flights::expected_from(format!("{columns}\n{row}\n").as_bytes(), &TOPICS))
            .collect::<Result<_, _>>()
            .unwrap();
        let mut row_of = HashMap::new();
        for (row, records) in effects.iter().enumerate() {
            for record in records {
                if [flights::SOURCE, flights::CLEAN].contains(&record.topic.as_str()) {
                    let value = record.value.clone().unwrap();
                    assert_eq!(row_of.insert(value, row), None, "two rows are the same");
                }
            }
        }
        Scene {
            manifest: write_manifest(&example, dir.path()),
            plugins: plugins(&example).await,
            effects,
            row_of,
            _dir: dir,
        }
    }

    async fn plan(&self, engine: &LocalEngine) -> Result<Plan, String> {
        let (manifest, report) = Manifest::read(&self.manifest);
        assert!(report.is_empty(), "{report}");
        let mut existing = BTreeMap::new();
        for topic in TOPICS {
            let found = engine.topic(topic).await;
            if let Some(info) = found.map_err(|error| error.to_string())? {
                existing.insert(topic.to_owned(), info);
            }
        }
        let facts = TopicFacts {
            existing,
            default_partitions: 1,
            defaults: BTreeMap::new(),
        };
        let described = self.plugins.iter();
        let plugins = described
            .map(|(stage, plugin)| (stage.clone(), PluginFacts::from(plugin.descriptor())))
            .collect();
        let plan = Plan::new(&manifest.unwrap(), &plugins, &facts, "flights");
        Ok(plan.unwrap_or_else(|report| panic!("{report}")))
    }

    /// What these topics must hold of these rows, in the order of the rows.
    fn expected(&self, rows: &[usize], topics: &[&str]) -> Vec<Record> {
        let of_rows = rows.iter().flat_map(|row| &self.effects[*row]);
        of_rows
            .filter(|record| topics.contains(&record.topic.as_str()))
            .cloned()
            .collect()
    }
}

/// The example's manifest over the short file, slow enough to last over a few cuts.
fn write_manifest(example: &Path, dir: &Path) -> PathBuf {
    let mut text = std::fs::read_to_string(example.join("pipeline.toml")).unwrap();
    for (found, put) in [
        (
            "pipeline = \"flights\"",
            "pipeline = \"flights\"\ncommit = { max_interval = \"2ms\" }",
        ),
        ("\"data/flights.csv.zst\"", "\"flights.csv\"\nrate = 2000"),
        (
            "\"./clean\"",
            &format!("{:?}", example.join("clean").display().to_string()),
        ),
        (
            "\"./route\"",
            &format!("{:?}", example.join("route").display().to_string()),
        ),
    ] {
        assert_eq!(text.matches(found).count(), 1, "{found}");
        text = text.replace(found, put);
    }
    let path = dir.join("pipeline.toml");
    std::fs::write(&path, text).unwrap();
    path
}

async fn plugins(example: &Path) -> BTreeMap<String, Arc<Plugin>> {
    let notes = tempfile::tempdir().unwrap();
    let engine = Engine::new(EngineOptions::default()).unwrap();
    let mut plugins = BTreeMap::new();
    for (stage, _) in STAGES {
        let builder = Builder {
            cache_dir: notes.path().to_owned(),
            ..Builder::default()
        };
        let crate_dir = example.join(stage);
        let built = tokio::task::spawn_blocking(move || {
            builder.build(&crate_dir, &mut |command| eprintln!("+ {command}"))
        });
        let wasm = built.await.unwrap().unwrap().wasm;
        let plugin = engine.load_file(&wasm).await.unwrap();
        plugins.insert(stage.to_owned(), Arc::new(plugin));
    }
    plugins
}

/// What the histories met, to be sure that the cuts were worth their name.
#[derive(Debug, Default)]
struct Tally {
    cuts: Cuts,
    cuts_within_the_file: u64,
    dead_letters: usize,
}

/// The example at work, on one disk.
struct Flights {
    fate: Fate,
    workers: Workers,
    scene: Arc<Scene>,
    /// What readers saw last.
    seen: InFull,
    /// Rows whose commit the source was told of.
    acknowledged_rows: u64,
    /// Positions whose commit a task was told of, by topic and partition.
    acknowledged: BTreeMap<(String, i32), i64>,
    /// Cuts after which a part of the file was there and a part was not.
    cuts_within_the_file: u64,
    dead_letters: usize,
}

impl Flights {
    fn new(scene: &Arc<Scene>, seed: u64, flush: FlushMode, workers: &Workers) -> Flights {
        Flights {
            fate: Fate::new(seed, flush),
            workers: workers.clone(),
            scene: Arc::clone(scene),
            seen: InFull::new(),
            acknowledged_rows: 0,
            acknowledged: BTreeMap::new(),
            cuts_within_the_file: 0,
            dead_letters: 0,
        }
    }

    fn note_acknowledged(&mut self, pipeline: &RunningPipeline<LocalEngine>) {
        let before = self.acknowledged_rows;
        for task in pipeline.progress().tasks {
            if task.inputs.is_empty() {
                self.acknowledged_rows = before + task.counts.records_in;
            }
            for input in task.inputs {
                let position = self.acknowledged.entry((input.topic, input.partition));
                let position = position.or_default();
                *position = input.committed.unwrap_or(0).max(*position);
            }
        }
    }

    /// What a start must find, whatever was lost.
    async fn judge(&mut self, rig: &Rig) -> Result<(), String> {
        let seed = self.fate.seed;
        let plan = self.scene.plan(&rig.engine).await?;
        let before = rig.committed_in_full(&TOPICS)?;
        self.fate.require(check_kept(&self.seen, &before));
        rig.settle(&tasks(&plan)).await?;
        let found = rig.committed_in_full(&TOPICS)?;
        self.fate.require(check_kept(&before, &found));

        let rows = rows_by_progress(rig)?;
        assert!(
            rows >= self.acknowledged_rows,
            "seed {seed}: progress says {rows} rows, {} were acknowledged",
            self.acknowledged_rows
        );
        let all_rows = self.scene.effects.len() as u64;
        self.cuts_within_the_file += u64::from(0 < rows && rows < all_rows);
        self.acknowledged_rows = rows;
        let produced: Vec<usize> = (0..usize::try_from(rows).unwrap()).collect();
        self.compare(&found, &produced, &[flights::SOURCE]);

        for (stage, input) in STAGES {
            let worked_on = self.worked_on(rig, stage, input, &found).await?;
            match stage {
                "clean" => self.compare(&found, &worked_on, &[flights::CLEAN, flights::DEAD]),
                _ => self.compare(&found, &worked_on, &[flights::LATE, flights::ONTIME]),
            }
        }
        let dead = in_topics(&found, &[flights::DEAD]);
        self.dead_letters = dead.len();
        let inputs: Vec<(i64, Record)> = with_offsets(&found, flights::SOURCE).cloned().collect();
        let origins = dead_letters::check_origins(&dead, &inputs);
        self.fate
            .require(origins.map_err(|error| error.to_string()));
        self.seen = found;
        Ok(())
    }

    /// The rows, in order, of the records below a stage's committed positions.
    async fn worked_on(
        &mut self,
        rig: &Rig,
        stage: &str,
        input: &str,
        found: &InFull,
    ) -> Result<Vec<usize>, String> {
        let group = format!("millstream.flights.{stage}");
        let positions = rig.positions(&group, input, flights::PARTITIONS).await?;
        let mut rows = Vec::new();
        for (partition, position) in (0..).zip(positions) {
            let acknowledged = self
                .acknowledged
                .insert((input.to_owned(), partition), position)
                .unwrap_or(0);
            assert!(
                acknowledged <= position,
                "seed {}: {input}-{partition} was acknowledged up to {acknowledged} and stands at {position}",
                self.fate.seed
            );
            let records = found.get(&(input.to_owned(), partition)).into_iter();
            let below = records.flatten().filter(|(offset, _)| *offset < position);
            rows.extend(below.map(|(_, record)| self.scene.row_of[record.value.as_ref().unwrap()]));
        }
        rows.sort_unstable();
        Ok(rows)
    }

    /// Do these topics hold the effects of these rows, each once, and nothing else?
    fn compare(&self, found: &InFull, rows: &[usize], topics: &[&str]) {
        let expected = self.scene.expected(rows, topics);
        let found = in_topics(found, topics);
        if let Err(difference) = flights::comparison().compare(&expected, &found) {
            panic!("seed {}: {topics:?}: {difference}", self.fate.seed);
        }
    }
}

impl History for Flights {
    const LIVES: u64 = 8;
    const TOPICS: &'static [&'static str] = &TOPICS;
    const START_OPERATIONS: u64 = 200;
    type Work = RunningPipeline<LocalEngine>;

    fn fate(&mut self) -> &mut Fate {
        &mut self.fate
    }

    async fn start(&mut self, rig: &Rig) -> Result<RunningPipeline<LocalEngine>, String> {
        self.judge(rig).await?;
        let plan = self.scene.plan(&rig.engine).await?;
        let metered = |(stage, plugin): (&String, &Arc<Plugin>)| {
            let plugin = MeteredPlugin::new(Plugin::clone(plugin), &Arc::default());
            (stage.clone(), Arc::new(plugin))
        };
        let plugins = self.scene.plugins.iter().map(metered).collect();
        run(plan, rig.engine.clone(), plugins, &self.workers)
            .await
            .map_err(|error| error.to_string())
    }

    fn pipeline(work: &RunningPipeline<LocalEngine>) -> &RunningPipeline<LocalEngine> {
        work
    }

    /// After a random number of operations, or a random time.
    fn choose_moment(&mut self, fs: &SimFs) -> Instant {
        if self.fate.random.chance(50) {
            fs.cut_power_after(self.fate.random.below(1_000));
        }
        Instant::now() + Duration::from_millis(5 + self.fate.random.below(60))
    }

    fn look(&mut self, rig: &Rig) {
        if let Ok(found) = rig.committed_in_full(&TOPICS) {
            self.seen = found;
        }
    }

    async fn stop(&mut self, pipeline: RunningPipeline<LocalEngine>) {
        self.note_acknowledged(&pipeline);
        pipeline.stop(STOP_MAX).await;
    }

    async fn finish(&mut self, rig: &Rig) {
        let pipeline = self.start(rig).await.unwrap();
        self.fate.drain(&pipeline).await;
        self.note_acknowledged(&pipeline);
        let summary = pipeline.stop(PATIENCE).await;
        assert!(summary.failures.is_empty(), "{:?}", summary.failures);
        self.judge(rig).await.unwrap();
        let all: Vec<usize> = (0..self.scene.effects.len()).collect();
        self.compare(&self.seen, &all, &TOPICS);
    }
}

fn tasks(plan: &Plan) -> Vec<TaskId> {
    let sources = plan.sources.iter().map(|source| source.task.clone());
    let stages = plan.stages.iter().flat_map(|stage| {
        (0..stage.partitions).map(|partition| stage.task(&plan.pipeline_id, partition))
    });
    sources.chain(stages).collect()
}

/// How many rows are produced, as the source's newest committed progress says; 0 before the first.
fn rows_by_progress(rig: &Rig) -> Result<u64, String> {
    let found = rig.committed(&[SOURCES_TOPIC])?;
    let newest = found.values().flatten().next_back();
    let Some(newest) = newest else {
        return Ok(0);
    };
    assert_eq!(newest.key, "flights/flights");
    let progress: serde_json::Value =
        serde_json::from_str(&newest.value).map_err(|error| error.to_string())?;
    progress["records"].as_u64().ok_or(newest.value.clone())
}

fn with_offsets<'f>(found: &'f InFull, topic: &str) -> impl Iterator<Item = &'f (i64, Record)> {
    let of_topic = found.iter().filter(move |((name, _), _)| name == topic);
    of_topic.flat_map(|(_, records)| records)
}

fn in_topics(found: &InFull, topics: &[&str]) -> Vec<Record> {
    let records = topics.iter().flat_map(|topic| with_offsets(found, topic));
    records.map(|(_, record)| record.clone()).collect()
}

/// `MILLSTREAM_POWER_CUT_SEEDS=1000..2000` searches longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_of_the_example_loses_no_row_and_doubles_none() {
    let seeds = seeds(0..8);
    let histories = seeds.end - seeds.start;
    let workers = Workers::new(Some(2)).unwrap();
    let scene = Arc::new(Scene::set().await);
    let mut tally = Tally::default();
    for seed in seeds {
        let lived = live(Flights::new(&scene, seed, FlushMode::Journal, &workers)).await;
        tally.cuts.add(&lived.fate.cuts);
        tally.cuts_within_the_file += lived.cuts_within_the_file;
        tally.dead_letters += lived.dead_letters;
    }
    println!("{tally:?}");
    let cuts = &tally.cuts;
    assert_eq!(cuts.all, histories * Flights::LIVES);
    assert!(cuts.in_recovery > 0, "no cut hit a start: {tally:?}");
    assert!(tally.dead_letters > 0, "no row was refused: {tally:?}");
    assert!(
        cuts.in_transactions > histories && tally.cuts_within_the_file > histories,
        "few cuts hit the source at work: {tally:?}"
    );
}

/// The same cuts where an acknowledgement does not wait for the disk: the judgement must find it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_of_the_example_is_found_out_where_nothing_is_flushed() {
    let workers = Workers::new(Some(2)).unwrap();
    let scene = Arc::new(Scene::set().await);
    expect_complaint(Flights::new(&scene, 0, FlushMode::Os, &workers)).await;
}
