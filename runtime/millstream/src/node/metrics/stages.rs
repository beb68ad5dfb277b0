//! The stages and sources of this node: what they have done, how far behind they are, and whether they are at work.

use millstream_console::{MetricKind, Sample};
use millstream_pipeline::run::{Histogram, PipelineWatch, WatchedPart, WatchedTask};
use millstream_pipeline::task::{TaskSnapshot, TaskState};

use crate::node::pipelines::Pipelines;

/// Which shares of the records the latency is given for.
const QUANTILES: [(&str, f64); 3] = [("0.5", 0.5), ("0.99", 0.99), ("1", 1.0)];

pub(super) fn samples(pipelines: &Pipelines) -> Vec<Sample> {
    let mut samples = Vec::new();
    for pipeline in pipelines.all() {
        for task in pipeline.tasks() {
            let mut series = Series::of(&pipeline, task);
            series.add(&task.snapshot(), &task.delays());
            samples.append(&mut series.samples);
        }
    }
    samples
}

/// Names and help of the series that a stage and a source both have.
struct Names {
    records_in: (&'static str, &'static str),
    records_out: (&'static str, &'static str),
    refused: (&'static str, &'static str),
    dead_letters: (&'static str, &'static str),
    commits: (&'static str, &'static str),
    latency: (&'static str, &'static str),
    restarts: (&'static str, &'static str),
    state: (&'static str, &'static str),
}

const STAGE: Names = Names {
    records_in: (
        "stage_records_in",
        "Records that the stage has processed and committed",
    ),
    records_out: (
        "stage_records_out",
        "Records that the stage has committed, by its output",
    ),
    refused: (
        "stage_records_refused",
        "Records that the stage has refused: dead letters and skipped ones",
    ),
    dead_letters: (
        "stage_dead_letters",
        "Refused records that went to the dead-letter topic",
    ),
    commits: ("stage_commits", "Transactions that the stage has committed"),
    latency: (
        "stage_commit_latency_seconds",
        "From a record's append to the commit of its effects, by quantile since the start",
    ),
    restarts: (
        "stage_restarts",
        "Times that the stage has begun again at its committed offsets",
    ),
    state: (
        "stage_state",
        "1 for the state that the stage is in; the label reason says why it has stopped or waits",
    ),
};

const SOURCE: Names = Names {
    records_in: (
        "source_records_in",
        "Rows that the source has read and committed",
    ),
    records_out: (
        "source_records_out",
        "Records that the source has committed, by its topic",
    ),
    refused: (
        "source_records_refused",
        "Rows that the source could not use: dead letters and skipped ones",
    ),
    dead_letters: (
        "source_dead_letters",
        "Rows that went to the dead-letter topic",
    ),
    commits: (
        "source_commits",
        "Transactions that the source has committed",
    ),
    latency: (
        "source_commit_latency_seconds",
        "From a row's reading to its commit, by quantile since the start",
    ),
    restarts: (
        "source_restarts",
        "Times that the source has begun again at its committed position",
    ),
    state: (
        "source_state",
        "1 for the state that the source is in; the label reason says why it has stopped or waits",
    ),
};

/// The samples of one task.
struct Series<'t> {
    part: &'t WatchedPart,
    names: &'static Names,
    labels: Vec<(&'static str, String)>,
    samples: Vec<Sample>,
}

impl<'t> Series<'t> {
    fn of(pipeline: &PipelineWatch, task: &'t WatchedTask) -> Series<'t> {
        let mut labels = vec![("pipeline", pipeline.pipeline().to_owned())];
        let names = match &task.part {
            WatchedPart::Source { name, .. } => {
                labels.push(("source", name.clone()));
                &SOURCE
            }
            WatchedPart::Stage { name, .. } => {
                labels.push(("stage", name.clone()));
                &STAGE
            }
        };
        Series {
            part: &task.part,
            names,
            labels,
            samples: Vec::new(),
        }
    }

    fn add(&mut self, snapshot: &TaskSnapshot, delays: &Histogram) {
        if matches!(self.part, WatchedPart::Stage { .. }) {
            let partition = snapshot.task.partition.to_string();
            self.labels.push(("partition", partition));
        }
        let (names, counts) = (self.names, &snapshot.counts);
        self.counter(names.records_in, counts.records_in as f64, []);
        self.outputs(&counts.records_out);
        let refused = counts.dead_letters + counts.skipped;
        self.counter(names.refused, refused as f64, []);
        self.counter(names.dead_letters, counts.dead_letters as f64, []);
        self.counter(names.commits, counts.transactions as f64, []);
        self.counter(names.restarts, snapshot.retries as f64, []);
        for (label, quantile) in QUANTILES {
            if let Some(delay) = delays.quantile(quantile) {
                let label = [("quantile", label.to_owned())];
                self.gauge(names.latency, delay.as_secs_f64(), label);
            }
        }
        if matches!(self.part, WatchedPart::Stage { .. }) {
            let cpu = (
                "stage_guest_cpu_seconds",
                "CPU that the stage's plugin has used, for work that was given up too",
            );
            self.counter(cpu, snapshot.guest_cpu.as_secs_f64(), []);
        }
        self.lag(snapshot);
        self.state(snapshot);
    }

    fn outputs(&mut self, records_out: &[u64]) {
        let part = self.part;
        match part {
            WatchedPart::Source { topic, .. } => {
                let count = records_out.first().copied().unwrap_or(0);
                let topic = [("topic", topic.clone())];
                self.counter(self.names.records_out, count as f64, topic);
            }
            WatchedPart::Stage { outputs, .. } => {
                for (index, (output, topic)) in outputs.iter().enumerate() {
                    // A stage that has not committed yet has not counted yet.
                    let count = records_out.get(index).copied().unwrap_or(0);
                    let labels = [("output", output.clone()), ("topic", topic.clone())];
                    self.counter(self.names.records_out, count as f64, labels);
                }
            }
        }
    }

    /// Unknown until the task has read the offsets.
    fn lag(&mut self, snapshot: &TaskSnapshot) {
        let name = (
            "stage_lag_records",
            "Offsets from the stage's committed one to the last stable one, by input topic (Kafka: records-lag)",
        );
        for input in &snapshot.inputs {
            if let Some(committed) = input.committed {
                let lag = input.last_stable.saturating_sub(committed).max(0);
                self.gauge(name, lag as f64, [("topic", input.topic.clone())]);
            }
        }
    }

    fn state(&mut self, snapshot: &TaskSnapshot) {
        let waits_for = || snapshot.last_error.clone().unwrap_or_default();
        let (state, reason) = match &snapshot.state {
            TaskState::Starting => ("starting", waits_for()),
            TaskState::Running => ("running", String::new()),
            TaskState::Done => ("done", String::new()),
            TaskState::Stopped => ("stopped", String::new()),
            TaskState::Fenced(failure) => ("fenced", failure.to_string()),
            TaskState::Failed(failure) => ("failed", failure.to_string()),
        };
        let labels = [("state", state.to_owned()), ("reason", reason)];
        self.gauge(self.names.state, 1.0, labels);
    }

    fn counter<const N: usize>(
        &mut self,
        name: (&'static str, &'static str),
        value: f64,
        labels: [(&'static str, String); N],
    ) {
        self.push(name, MetricKind::Counter, value, labels);
    }

    fn gauge<const N: usize>(
        &mut self,
        name: (&'static str, &'static str),
        value: f64,
        labels: [(&'static str, String); N],
    ) {
        self.push(name, MetricKind::Gauge, value, labels);
    }

    fn push<const N: usize>(
        &mut self,
        (name, help): (&'static str, &'static str),
        kind: MetricKind,
        value: f64,
        labels: [(&'static str, String); N],
    ) {
        self.samples.push(Sample {
            name,
            help,
            kind,
            labels: self.labels.iter().cloned().chain(labels).collect(),
            value,
        });
    }
}
