//! The pipelines that run on this node, for those who show how they are.

use millstream_pipeline::run::PipelineWatch;
use parking_lot::RwLock;

/// All pipelines that this process has started. They stay when they end: their last state is of interest too.
#[derive(Debug, Default)]
pub struct Pipelines(RwLock<Vec<PipelineWatch>>);

impl Pipelines {
    /// Shows this pipeline from now on.
    pub fn add(&self, pipeline: PipelineWatch) {
        self.0.write().push(pipeline);
    }

    pub fn all(&self) -> Vec<PipelineWatch> {
        self.0.read().clone()
    }

    /// Why stages and sources of this node have stopped, a message each.
    pub fn failures(&self) -> Vec<String> {
        let all = self.all();
        let failures = all.iter().flat_map(PipelineWatch::failures);
        failures.map(|failure| failure.to_string()).collect()
    }

    /// Why the stage that holds this group has stopped.
    pub fn note_of_group(&self, group: &str) -> Option<String> {
        let all = self.all();
        let failures = all.iter().flat_map(|one| one.failures_of_group(group));
        let notes: Vec<String> = failures.map(|failure| failure.to_string()).collect();
        (!notes.is_empty()).then(|| notes.join("\n"))
    }
}
