//! Finding out that there is nothing left to do.

use std::time::Duration;

use super::{Part, RunningPipeline};
use crate::ports::{Engine, InputPartition, PortError};
use crate::task::TaskState;

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// See [`RunningPipeline::drained`]. A stage is looked at only after everything upstream was found
/// drained: nothing can be added to its inputs then, except from outside.
pub async fn drained<E: Engine>(pipeline: &RunningPipeline<E>) -> Result<(), PortError> {
    for task in &pipeline.tasks {
        match task.part {
            Part::Source(_) => {
                while matches!(
                    task.status.state(),
                    TaskState::Starting | TaskState::Running
                ) {
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            }
            Part::Stage(_) => wait_for_stage_task(pipeline, task).await?,
        }
    }
    Ok(())
}

async fn wait_for_stage_task<E: Engine>(
    pipeline: &RunningPipeline<E>,
    task: &super::RunningTask,
) -> Result<(), PortError> {
    let places: Vec<(String, i32)> = task
        .status
        .snapshot()
        .inputs
        .into_iter()
        .map(|input| (input.topic, input.partition))
        .collect();
    for (index, (topic, partition)) in places.iter().enumerate() {
        let port = pipeline.engine.input(topic, *partition).await?;
        let end = port.bounds().await?.last_stable;
        loop {
            let snapshot = task.status.snapshot();
            let reached = snapshot.inputs[index].committed.is_some_and(|at| at >= end);
            let ended = !matches!(snapshot.state, TaskState::Starting | TaskState::Running);
            if reached || ended {
                break;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
    Ok(())
}
