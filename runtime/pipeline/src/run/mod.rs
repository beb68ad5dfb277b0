//! A running pipeline: its tasks on workers of their own, what they tell about themselves, and how
//! they are stopped.

mod drain;
mod histogram;
mod panics;
mod starts;
mod summary;
mod watch;
mod workers;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

pub use histogram::Histogram;
pub use starts::{Beginning, beginnings, fed_before, superseded_starts};
pub use summary::{DelaySummary, StageSummary, Summary, TopicCount};
pub use watch::{PipelineWatch, WatchedPart, WatchedTask};
pub use workers::Workers;

use crate::plan::Plan;
use crate::ports::{Engine, PortError, SOURCES_TOPIC, TopicSpec};
use crate::processor::ProcessorFactory;
use crate::source::{SourceContext, run_source_task};
use crate::task::stop::StopSender;
use crate::task::{StageContext, TaskSnapshot, TaskState, TaskStatus, run_stage_task};

/// Why a pipeline could not be started.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("the topic {topic} cannot be created: {error}")]
    Topic { topic: String, error: PortError },
    #[error("the topic {topic} has {found} partitions now; the pipeline was planned for {planned}")]
    Partitions {
        topic: String,
        found: i32,
        planned: i32,
    },
    #[error("stage {stage} has no plugin")]
    NoPlugin { stage: String },
}

/// A pipeline that runs. Dropping it stops the tasks without waiting for them; `stop` waits.
pub struct RunningPipeline<E: Engine> {
    engine: E,
    plan: Arc<Plan>,
    started: Instant,
    /// Sources first, then stages upstream first.
    tasks: Vec<RunningTask>,
    stops: Vec<StopSender>,
}

/// One task and what is known about it.
struct RunningTask {
    part: Part,
    status: Arc<TaskStatus>,
    handle: JoinHandle<()>,
}

/// Which source or stage of the plan a task belongs to, by index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Source(usize),
    Stage(usize),
}

/// A moment of a running pipeline; counts are of committed work.
#[derive(Debug, Clone)]
pub struct Progress {
    pub elapsed: Duration,
    /// Records that entered the pipeline.
    pub records_in: u64,
    /// Records on each topic that a stage writes, dead letters included.
    pub topics: Vec<TopicCount>,
    pub dead_letters: u64,
    pub skipped: u64,
    pub transactions: u64,
    /// Records below the last stable offset that are not committed, as far as the tasks know.
    pub lag: u64,
    pub tasks: Vec<TaskSnapshot>,
}

/// Creates the topics of a plan that are missing and starts its tasks. `plugins` has what each
/// stage runs, by stage.
pub async fn run<E: Engine, F: ProcessorFactory>(
    plan: Plan,
    engine: E,
    plugins: BTreeMap<String, Arc<F>>,
    workers: &Workers,
) -> Result<RunningPipeline<E>, RunError> {
    create_topics(&plan, &engine).await?;
    let plan = Arc::new(plan);
    let mut running = RunningPipeline {
        engine: engine.clone(),
        started: Instant::now(),
        tasks: Vec::new(),
        stops: Vec::new(),
        plan: Arc::clone(&plan),
    };
    for (index, source) in plan.sources.iter().enumerate() {
        let stop = StopSender::default();
        let status = Arc::new(TaskStatus::new(source.task.clone(), Vec::new()));
        let context = Arc::new(SourceContext {
            engine: engine.clone(),
            pipeline: plan.pipeline.clone(),
            source: source.clone(),
            commit_interval_max: plan.commit_interval_max,
            stop: stop.clone(),
        });
        let task = run_source_task(Arc::clone(&context), Arc::clone(&status));
        let ended = Arc::clone(&status);
        let task = panics::caught(task, move |message| {
            let failure = panics::failure(&context.pipeline, ended.task(), &message);
            ended.set_state(TaskState::Failed(failure));
        });
        running.add(Part::Source(index), status, workers.spawn(task));
        running.stops.push(stop);
    }
    for (index, stage) in plan.stages.iter().enumerate() {
        let factory = plugins.get(&stage.name);
        let factory = factory.ok_or_else(|| RunError::NoPlugin {
            stage: stage.name.clone(),
        })?;
        let stop = StopSender::default();
        let context = Arc::new(StageContext {
            engine: engine.clone(),
            pipeline: plan.pipeline.clone(),
            pipeline_id: plan.pipeline_id.clone(),
            stage: stage.clone(),
            factory: Arc::clone(factory),
            commit_interval_max: plan.commit_interval_max,
            stop: stop.clone(),
        });
        for partition in 0..stage.partitions {
            let id = stage.task(&plan.pipeline_id, partition);
            let inputs = stage.claim(partition).partitions;
            let status = Arc::new(TaskStatus::new(id, inputs));
            let task = run_stage_task(Arc::clone(&context), partition, Arc::clone(&status));
            let (shared, ended) = (Arc::clone(&context), Arc::clone(&status));
            let task = panics::caught(task, move |message| {
                let failure = panics::failure(&shared.pipeline, ended.task(), &message);
                ended.set_state(TaskState::Failed(failure));
                shared.stop.stop();
            });
            running.add(Part::Stage(index), status, workers.spawn(task));
        }
        running.stops.push(stop);
    }
    Ok(running)
}

async fn create_topics<E: Engine>(plan: &Plan, engine: &E) -> Result<(), RunError> {
    let mut specs = plan.topics_to_create.clone();
    if !plan.sources.is_empty() {
        specs.push(TopicSpec {
            name: SOURCES_TOPIC.to_owned(),
            partitions: Some(1),
            config: vec![("cleanup.policy".to_owned(), "compact".to_owned())],
        });
    }
    for spec in &specs {
        let created = engine.ensure_topic(spec).await;
        let info = created.map_err(|error| RunError::Topic {
            topic: spec.name.clone(),
            error,
        })?;
        match spec.partitions {
            Some(planned) if planned != info.partitions => {
                return Err(RunError::Partitions {
                    topic: spec.name.clone(),
                    found: info.partitions,
                    planned,
                });
            }
            _ => {}
        }
    }
    Ok(())
}

impl<E: Engine> RunningPipeline<E> {
    fn add(&mut self, part: Part, status: Arc<TaskStatus>, handle: JoinHandle<()>) {
        self.tasks.push(RunningTask {
            part,
            status,
            handle,
        });
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Where the pipeline is now.
    pub fn progress(&self) -> Progress {
        let summary = self.summary();
        let tasks: Vec<TaskSnapshot> = self
            .tasks
            .iter()
            .map(|task| task.status.snapshot())
            .collect();
        let inputs = tasks.iter().flat_map(|task| &task.inputs);
        let lag = inputs
            .map(|input| input.last_stable - input.committed.unwrap_or(0))
            .map(|lag| u64::try_from(lag).unwrap_or(0))
            .sum();
        Progress {
            elapsed: self.started.elapsed(),
            records_in: summary.records_in,
            topics: summary.topics,
            dead_letters: summary.dead_letters,
            skipped: summary.skipped,
            transactions: summary.transactions,
            lag,
            tasks,
        }
    }

    /// Returns when there is nothing left to do: every source is at its end and every stage has
    /// committed everything up to the last stable offset of its inputs, upstream first. A part that
    /// has failed is not waited for; the summary tells why.
    pub async fn drained(&self) -> Result<(), PortError> {
        drain::drained(self).await
    }

    /// True while a task is at work or may go on by itself.
    pub fn is_alive(&self) -> bool {
        let alive = |task: &RunningTask| {
            matches!(
                task.status.state(),
                TaskState::Starting | TaskState::Running
            )
        };
        self.tasks.iter().any(alive)
    }

    /// What was done so far.
    pub fn summary(&self) -> Summary {
        summary::summarize(self)
    }

    /// Asks every task to commit what it has done and to stop; those that have not by the deadline
    /// are dropped, and what they left open is settled when they start again.
    pub async fn stop(mut self, deadline: Duration) -> Summary {
        for stop in &self.stops {
            stop.stop();
        }
        let deadline = tokio::time::Instant::now() + deadline;
        for task in &mut self.tasks {
            let joined = tokio::time::timeout_at(deadline, &mut task.handle).await;
            match joined {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::error!(%error, task = task.status.task().transactional_id(), "a task ended badly");
                }
                Err(_) => {
                    let id = task.status.task().transactional_id();
                    tracing::warn!(task = id, "the task did not stop in time and was dropped");
                    task.handle.abort();
                }
            }
        }
        self.summary()
    }
}

impl<E: Engine> Drop for RunningPipeline<E> {
    fn drop(&mut self) {
        for stop in &self.stops {
            stop.stop();
        }
        for task in &self.tasks {
            task.handle.abort();
        }
    }
}
