//! What a run has done, as numbers.

use std::time::Duration;

use serde::Serialize;

use super::{Histogram, Part, RunningPipeline};
use crate::ports::Engine;
use crate::task::{Counts, TaskFailure, TaskState};

/// Committed work of a run. Serializes to the JSON that `--output json` prints.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Summary {
    pub pipeline: String,
    pub pipeline_id: String,
    pub elapsed_ms: u64,
    /// Records that entered the pipeline: rows of sources, and records that stages read from topics
    /// which nothing in the pipeline writes.
    pub records_in: u64,
    /// Records on each topic through which records enter: those that sources feed, and those that stages read and
    /// nothing in the pipeline writes.
    pub inputs: Vec<TopicCount>,
    /// Records on each topic that a stage writes, dead-letter topics included (those of sources too), in the order of
    /// the flow.
    pub topics: Vec<TopicCount>,
    pub dead_letters: u64,
    pub skipped: u64,
    pub transactions: u64,
    /// Transactions that were given up and done again.
    pub retries: u64,
    /// From a record's append (or the moment when its task could first see it) to its commit, over
    /// all stages; `None` when nothing was committed.
    pub delay: Option<DelaySummary>,
    pub sources: Vec<StageSummary>,
    pub stages: Vec<StageSummary>,
    /// One message for each task that failed or was fenced.
    pub failures: Vec<String>,
}

/// Records on a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TopicCount {
    pub topic: String,
    pub records: u64,
    /// Whether they are dead letters and nothing else.
    pub dead_letters: bool,
}

/// One source or stage.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct StageSummary {
    pub name: String,
    pub records_in: u64,
    pub records_out: u64,
    pub dead_letters: u64,
    pub skipped: u64,
    pub transactions: u64,
    /// Offsets of its inputs (at most so many records) that were removed before it began at the earliest record.
    pub gone: u64,
    pub delay: Option<DelaySummary>,
}

/// Delays in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DelaySummary {
    pub p50_us: u64,
    pub p99_us: u64,
    pub max_us: u64,
}

impl DelaySummary {
    fn of(histogram: &Histogram) -> Option<Self> {
        let micros = |delay: Duration| u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        Some(DelaySummary {
            p50_us: micros(histogram.quantile(0.5)?),
            p99_us: micros(histogram.quantile(0.99)?),
            max_us: micros(histogram.max()),
        })
    }
}

/// What the tasks of one source or stage have done together.
#[derive(Default)]
struct Work {
    counts: Counts,
    gone: u64,
    delays: Histogram,
}

pub fn summarize<E: Engine>(pipeline: &RunningPipeline<E>) -> Summary {
    let plan = &pipeline.plan;
    let part = |part: Part| {
        let mut work = Work::default();
        for task in pipeline.tasks.iter().filter(|task| task.part == part) {
            let snapshot = task.status.snapshot();
            work.counts.add(&snapshot.counts);
            work.gone += snapshot.inputs.iter().map(|input| input.gone).sum::<u64>();
            task.status.delays(&mut work.delays);
        }
        work
    };
    let written = |topic: &str| {
        plan.sources.iter().any(|source| source.writes(topic))
            || plan.stages.iter().any(|stage| stage.writes(topic))
    };
    let mut total = Counts::default();
    let mut records_in = 0;
    let mut inputs = TopicCounts::default();
    let mut topics = TopicCounts::default();
    let mut all_delays = Histogram::default();
    let mut sources = Vec::with_capacity(plan.sources.len());
    for (index, source) in plan.sources.iter().enumerate() {
        let work = part(Part::Source(index));
        records_in += work.counts.records_in;
        inputs.add(&source.topic, work.counts.records_out.iter().sum());
        if let Some(dead) = &source.dead_letters {
            topics.add_dead(dead, work.counts.dead_letters);
        }
        sources.push(stage_summary(&source.name, &work));
        total.add(&work.counts);
    }
    let mut stages = Vec::with_capacity(plan.stages.len());
    for (index, stage) in plan.stages.iter().enumerate() {
        let work = part(Part::Stage(index));
        let counts = &work.counts;
        for (index, input) in stage.inputs.iter().enumerate() {
            if !written(&input.topic) {
                let records = counts.by_input.get(index).copied().unwrap_or(0);
                records_in += records;
                inputs.add(&input.topic, records);
            }
        }
        for (output, records) in stage.outputs.iter().zip(&counts.records_out) {
            topics.add(&output.topic, *records);
        }
        if let Some(dead) = &stage.dead_letters {
            topics.add_dead(dead, counts.dead_letters);
        }
        stages.push(stage_summary(&stage.name, &work));
        all_delays.merge(&work.delays);
        total.add(counts);
    }
    let snapshots: Vec<_> = pipeline
        .tasks
        .iter()
        .map(|task| task.status.snapshot())
        .collect();
    let failures = snapshots
        .iter()
        .filter_map(|snapshot| failure(&snapshot.state));
    Summary {
        pipeline: plan.pipeline.clone(),
        pipeline_id: plan.pipeline_id.clone(),
        elapsed_ms: u64::try_from(pipeline.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        records_in,
        inputs: inputs.0,
        topics: topics.0,
        dead_letters: total.dead_letters,
        skipped: total.skipped,
        transactions: total.transactions,
        retries: snapshots.iter().map(|snapshot| snapshot.retries).sum(),
        delay: DelaySummary::of(&all_delays),
        sources,
        stages,
        failures: failures.map(ToString::to_string).collect(),
    }
}

/// Records by topic, in the order in which topics are met.
#[derive(Default)]
struct TopicCounts(Vec<TopicCount>);

impl TopicCounts {
    fn add(&mut self, topic: &str, records: u64) {
        self.count(topic, records, false);
    }

    fn add_dead(&mut self, topic: &str, records: u64) {
        self.count(topic, records, true);
    }

    fn count(&mut self, topic: &str, records: u64, dead_letters: bool) {
        match self.0.iter_mut().find(|count| count.topic == topic) {
            Some(count) => {
                count.records += records;
                count.dead_letters &= dead_letters;
            }
            None => self.0.push(TopicCount {
                topic: topic.to_owned(),
                records,
                dead_letters,
            }),
        }
    }
}

fn failure(state: &TaskState) -> Option<&TaskFailure> {
    match state {
        TaskState::Failed(failure) | TaskState::Fenced(failure) => Some(failure),
        TaskState::Starting | TaskState::Running | TaskState::Done | TaskState::Stopped => None,
    }
}

fn stage_summary(name: &str, work: &Work) -> StageSummary {
    let counts = &work.counts;
    StageSummary {
        name: name.to_owned(),
        records_in: counts.records_in,
        records_out: counts.records_out.iter().sum(),
        dead_letters: counts.dead_letters,
        skipped: counts.skipped,
        transactions: counts.transactions,
        gone: work.gone,
        delay: DelaySummary::of(&work.delays),
    }
}
