//! A running pipeline as others may look at it: its tasks by name, without the engine that they run over.

use std::sync::Arc;

use super::{Histogram, Part, RunningPipeline};
use crate::ports::Engine;
use crate::task::{TaskFailure, TaskSnapshot, TaskState, TaskStatus};

/// Looks at the tasks of one pipeline, for as long as anybody holds it.
#[derive(Debug, Clone)]
pub struct PipelineWatch(Arc<Watched>);

#[derive(Debug)]
struct Watched {
    pipeline: String,
    tasks: Vec<WatchedTask>,
}

/// One task of a watched pipeline.
#[derive(Debug)]
pub struct WatchedTask {
    pub part: WatchedPart,
    status: Arc<TaskStatus>,
}

/// Which source or stage a task belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchedPart {
    Source {
        name: String,
        topic: String,
    },
    Stage {
        name: String,
        /// The consumer group that keeps its offsets.
        group: String,
        /// Names and topics of its outputs, in the order of their counts.
        outputs: Vec<(String, String)>,
    },
}

impl PipelineWatch {
    pub fn pipeline(&self) -> &str {
        &self.0.pipeline
    }

    /// Sources first, then stages upstream first.
    pub fn tasks(&self) -> &[WatchedTask] {
        &self.0.tasks
    }

    /// Why tasks have stopped that were to go on.
    pub fn failures(&self) -> Vec<TaskFailure> {
        let tasks = self.0.tasks.iter();
        tasks.filter_map(WatchedTask::failure).collect()
    }

    /// Why tasks of this consumer group have stopped, if the group is a stage's.
    pub fn failures_of_group(&self, group: &str) -> Vec<TaskFailure> {
        let is_of = |task: &&WatchedTask| matches!(&task.part, WatchedPart::Stage { group: own, .. } if own == group);
        let tasks = self.0.tasks.iter().filter(is_of);
        tasks.filter_map(WatchedTask::failure).collect()
    }
}

impl WatchedTask {
    pub fn snapshot(&self) -> TaskSnapshot {
        self.status.snapshot()
    }

    /// From a record's append to its commit, of all records that the task has committed.
    pub fn delays(&self) -> Histogram {
        let mut delays = Histogram::default();
        self.status.delays(&mut delays);
        delays
    }

    fn failure(&self) -> Option<TaskFailure> {
        match self.status.state() {
            TaskState::Failed(failure) | TaskState::Fenced(failure) => Some(failure),
            TaskState::Starting | TaskState::Running | TaskState::Done | TaskState::Stopped => None,
        }
    }
}

impl<E: Engine> RunningPipeline<E> {
    /// What others may see of this pipeline.
    pub fn watch(&self) -> PipelineWatch {
        let tasks = self.tasks.iter().map(|task| {
            let part = match task.part {
                Part::Source(index) => {
                    let source = &self.plan.sources[index];
                    WatchedPart::Source {
                        name: source.name.clone(),
                        topic: source.topic.clone(),
                    }
                }
                Part::Stage(index) => {
                    let stage = &self.plan.stages[index];
                    let outputs = stage.outputs.iter();
                    WatchedPart::Stage {
                        name: stage.name.clone(),
                        group: stage.group.clone(),
                        outputs: outputs
                            .map(|output| (output.name.clone(), output.topic.clone()))
                            .collect(),
                    }
                }
            };
            WatchedTask {
                part,
                status: Arc::clone(&task.status),
            }
        });
        PipelineWatch(Arc::new(Watched {
            pipeline: self.plan.pipeline.clone(),
            tasks: tasks.collect(),
        }))
    }
}
